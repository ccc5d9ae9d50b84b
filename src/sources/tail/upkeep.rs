//! Files that are gone, and the order of those that are there.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::follower::{Follower, MAX_FILES};
use super::place::FileId;
use super::rotation::Age;
use super::track::{Standing, Track};

/// A place is forgotten when its file has been gone for so long while others lie in its folder.
const FORGET_AFTER: Duration = Duration::from_mins(10);
/// Places that are remembered, those of files that are gone included.
const MAX_PLACES: usize = 2 * MAX_FILES;

/// What says when a file is read: its age if it is there, else where it stood.
type Turn<'a> = (Option<&'a Age>, (u64, usize), u64);

impl Follower {
    /// Files that are gone may be held open, and may still grow.
    pub(super) fn see_lost(&mut self, now: Instant) {
        let live: HashSet<FileId> =
            self.tracks.values().filter(|t| t.is_live()).map(|t| t.place.id).collect();
        let mut superseded = Vec::new();
        for (key, track) in &mut self.tracks {
            let Standing::Lost(since) = track.standing else { continue };
            if live.contains(&track.place.id) {
                track.file = None;
                if track.place.twin.is_some() {
                    superseded.push(*key);
                }
            }
            if let Some(size) = track.file.as_ref().and_then(|file| file.metadata().ok()) {
                track.see_size(size.len(), now);
            }
            let is_read = track.size <= track.place.offset;
            if is_read && now.saturating_duration_since(since) >= self.limits.last_line_after {
                track.file = None;
            }
        }
        for key in superseded {
            self.dismiss(key);
        }
    }

    /// Forgets files that are gone.
    pub(super) fn forget(&mut self, now: Instant) {
        let folder = |track: &Track| Path::new(&track.place.base).parent().map(Path::to_owned);
        let alive: HashSet<PathBuf> =
            self.tracks.values().filter(|track| track.is_live()).filter_map(folder).collect();
        let mut lost = Vec::new();
        let mut forgotten = Vec::new();
        for (key, track) in &self.tracks {
            let Standing::Lost(since) = track.standing else { continue };
            // An empty folder may be a disk that is not mounted.
            let is_alive = folder(track).is_some_and(|folder| alive.contains(&folder));
            let is_over = is_alive && now.saturating_duration_since(since) >= FORGET_AFTER;
            if track.file.is_none() && (is_over || !track.is_worth_keeping()) {
                forgotten.push(*key);
            } else {
                lost.push((since, *key));
            }
        }
        lost.sort_unstable();
        let count = self.tracks.len() - forgotten.len();
        let too_many = count.saturating_sub(MAX_PLACES);
        forgotten.extend(lost.into_iter().take(too_many).map(|(_, key)| key));
        for key in forgotten {
            self.dismiss(key);
        }
    }

    /// Puts the files of each family into the order in which they are read: what is gone, as it was
    /// ordered when it was last there, and then the oldest first.
    pub(super) fn arrange(&mut self) {
        self.looks += 1;
        let mut families: BTreeMap<&str, Vec<Turn<'_>>> = BTreeMap::new();
        for (key, track) in &self.tracks {
            if (track.is_live() && track.place.twin.is_none()) || track.file.is_some() {
                let age = Some(&track.age).filter(|_| track.is_live());
                families.entry(&track.place.base).or_default().push((age, track.rank, *key));
            }
        }
        let order = families.into_values().map(|mut family| {
            family.sort();
            family.into_iter().map(|(.., key)| key).collect()
        });
        self.order = order.collect();
        for (place, key) in self.order.iter().flat_map(|family| family.iter().enumerate()) {
            if let Some(track) = self.tracks.get_mut(key).filter(|track| track.is_live()) {
                track.rank = (self.looks, place);
            }
        }
    }
}
