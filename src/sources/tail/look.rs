//! Looks which files are there, and brings the followed ones up to date.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use tracing::{info, warn};

use super::discover::{Found, Listing, discover};
use super::follower::{Follower, MAX_FILES};
use super::place::{Content, FileId, born, last_line};
use super::reconcile::{Fate, Left, reconcile};
use super::rotation::Age;
use super::track::{Standing, Track};

/// So often names and files are read again where they change while we look.
const ATTEMPTS: usize = 4;
/// Files that are held open. With those that are opened while we look, far below the 1,024 that a
/// process may open where nobody allowed it more.
const MAX_HELD: usize = 256;
/// Files that are open at once while we look, besides.
const MAX_OPENED: usize = 128;

/// Files that were opened while we look.
struct Opened {
    files: HashMap<usize, Result<(File, u64), io::Error>>,
    opener: fn(&Path) -> io::Result<File>,
    /// A name led to another file than a moment before.
    has_moved: bool,
}

impl Opened {
    fn get(&mut self, at: usize, found: &Found) -> Result<&(File, u64), &io::Error> {
        if self.files.len() >= MAX_OPENED && !self.files.contains_key(&at) {
            self.files.retain(|_, result| result.is_err());
        }
        let opener = self.opener;
        let has_moved = &mut self.has_moved;
        let entry = self.files.entry(at).or_insert_with(|| {
            let result = opener(&found.path).and_then(|file| {
                let metadata = file.metadata()?;
                let is_another = found.born.is_some() && found.born != born(&metadata);
                if FileId::of(&metadata) != found.id || is_another {
                    return Err(io::ErrorKind::NotFound.into());
                }
                Ok((file, metadata.len()))
            });
            *has_moved |= matches!(&result, Err(e) if e.kind() == io::ErrorKind::NotFound);
            result
        });
        entry.as_ref()
    }

    fn get_if_open(&self, at: usize) -> Option<&(File, u64)> {
        self.files.get(&at)?.as_ref().ok()
    }
}

impl Follower {
    /// Looks which files are there. Reads no lines.
    pub(super) fn look(&mut self, now: Instant) {
        self.look_once(now);
        // A file that is new can be read after it was there when a look began.
        if self.tracks.values().any(Track::is_unglimpsed) {
            self.look_once(now);
        }
    }

    fn look_once(&mut self, now: Instant) {
        self.again = false;
        self.glimpse();
        let mut listed_again = false;
        for attempt in 1.. {
            let listing = discover(&self.options.patterns, &self.options.exclude, MAX_FILES);
            #[cfg(test)]
            let listing = self.without_births(listing);
            let mut opened =
                Opened { files: HashMap::new(), opener: self.opener, has_moved: false };
            let fates = self.fates(&listing.found, &mut opened);
            // A copy is whole before its original is cut. So a list that is read after the cut was
            // seen has the copy on it.
            let is_cut = fates.iter().any(|(key, fate)| *fate == Fate::Cut && self.was_there(*key));
            let unclear = opened.has_moved || (is_cut && !listed_again);
            listed_again |= is_cut;
            if !unclear || attempt >= ATTEMPTS {
                self.bring_up_to_date(listing, &fates, &mut opened, now);
                self.again |= opened.has_moved;
                return;
            }
        }
    }

    fn was_there(&self, key: u64) -> bool {
        let standing = self.tracks.get(&key).map(|track| track.standing);
        !matches!(standing, None | Some(Standing::Lost(_)))
    }

    fn fates(&self, found: &[Found], opened: &mut Opened) -> Vec<(u64, Fate)> {
        let left: Vec<_> = self
            .tracks
            .iter()
            .map(|(key, track)| Left { key: *key, place: &track.place, is_live: track.is_live() })
            .collect();
        let tracks: Vec<_> = self.tracks.values().collect();
        let fates =
            reconcile(&left, found, |place, file| match (tracks.get(place), found.get(file)) {
                (Some(track), Some(of_file)) => compare(track, of_file, file, opened),
                _ => Content::Unknown,
            });
        self.tracks.keys().copied().zip(fates).collect()
    }

    fn bring_up_to_date(
        &mut self,
        listing: Listing,
        fates: &[(u64, Fate)],
        opened: &mut Opened,
        now: Instant,
    ) {
        let Listing { found, folders, problems } = listing;
        self.folders = folders;
        self.note_problems(problems);
        let mut taken = HashSet::new();
        for (key, fate) in fates {
            self.settle(*key, *fate, &found, opened, now);
            if let Fate::Stays(file)
            | Fate::SetBack(file)
            | Fate::Moves(file)
            | Fate::Consumed(file) = fate
            {
                taken.insert(*file);
            }
        }
        for (at, file) in found.iter().enumerate().filter(|(at, _)| !taken.contains(at)) {
            self.welcome(at, file, opened, now);
        }
        self.hold(opened, &found);
        self.see_lost(now);
        // Before the copies: whose original is forgotten speaks for itself at once.
        self.forget(now);
        self.tell_copies(&found);
        self.arrange();
        if !std::mem::replace(&mut self.has_looked, true) {
            self.tracks.values_mut().for_each(|track| track.goal = track.size);
        }
        self.is_first = false;
    }

    /// What became of a followed file.
    fn settle(&mut self, key: u64, fate: Fate, found: &[Found], opened: &mut Opened, now: Instant) {
        let Some(track) = self.tracks.get_mut(&key) else { return };
        let before = (track.place.id, track.place.born, track.place.base.clone());
        match fate {
            Fate::Lost | Fate::Cut => {
                if fate == Fate::Cut {
                    // What is under the inode now belongs to another place.
                    track.file = None;
                }
                if !matches!(track.standing, Standing::Lost(_)) {
                    track.standing = Standing::Lost(now);
                    track.verified = None;
                    if fate == Fate::Cut {
                        self.counters.truncations += 1;
                        info!(path = %track.path.display(), "a followed file was cut");
                    }
                }
            }
            Fate::Stays(at) | Fate::SetBack(at) | Fate::Moves(at) | Fate::Consumed(at) => {
                let Some(file) = found.get(at) else { return };
                let was_current = track.is_current();
                if matches!(fate, Fate::Moves(_) | Fate::Consumed(_)) {
                    if found.iter().any(|found| found.id == track.place.id) {
                        self.counters.truncations += 1;
                        info!(path = %track.path.display(), "a followed file was copied and cut");
                    }
                    track.file = None;
                    track.searched = 0;
                    track.place.twin = None;
                } else if was_current && file.age != Age::Current {
                    self.counters.rotations += 1;
                }
                track.see(file, now);
                if let Some((_, size)) = opened.get_if_open(at) {
                    track.see_size(*size, now);
                    track.note_verified(file, SystemTime::now());
                }
                if matches!(fate, Fate::SetBack(_) | Fate::Consumed(_)) {
                    self.counters.truncations += u64::from(matches!(fate, Fate::SetBack(_)));
                    match opened.get(at, file) {
                        Ok((open, _)) => {
                            track.go_to_end(open).unwrap_or_else(|error| track.fail(&error));
                        }
                        Err(error) => track.fail(error),
                    }
                }
                let moved = !matches!(fate, Fate::Stays(_))
                    || before != (track.place.id, track.place.born, track.place.base.clone());
                if moved {
                    self.keep(key);
                }
            }
        }
    }

    /// A file that is not known.
    fn welcome(&mut self, at: usize, file: &Found, opened: &mut Opened, now: Instant) {
        let mut track = Track::new(file, now);
        let longest = self.limits.line as u64;
        let result = match opened.get(at, file) {
            Ok((open, size)) => {
                track.see_size(*size, now);
                let skips = self.is_first && self.skips_backlog();
                let start = match file.age {
                    _ if !skips => Ok(0),
                    // The rest of a line that is being written is not half a line.
                    Age::Current => last_line(open, *size, longest),
                    _ => Ok(*size),
                };
                start.and_then(|start| {
                    track.place.offset = start;
                    track.place.border = if self.is_first { *size } else { 0 };
                    track.place.take_prints(open)
                })
            }
            // It will be found again under another name.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_first => return,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    track.fail(error);
                }
                if self.is_first && self.skips_backlog() {
                    track.place.offset = track.size;
                }
                Ok(())
            }
        };
        if let Err(error) = result {
            track.fail(&error);
        }
        if self.is_first {
            // Also where it could not be opened.
            track.place.border = track.size;
        }
        let key = self.admit(track);
        if self.is_first {
            self.keep(key);
        }
    }

    /// Opens what may be read, and closes what is not.
    fn hold(&mut self, opened: &mut Opened, found: &[Found]) {
        let by_id: HashMap<FileId, usize> =
            found.iter().enumerate().map(|(at, found)| (found.id, at)).collect();
        let mut held = self.tracks.values().filter(|track| track.file.is_some()).count();
        for track in self.tracks.values_mut().filter(|track| track.is_live()) {
            let is_wanted = track.age == Age::Current || track.behind() > 0;
            if track.file.is_some() && is_wanted {
                continue;
            }
            if !is_wanted {
                held -= usize::from(track.file.take().is_some());
                continue;
            }
            let at = by_id.get(&track.place.id).copied();
            let Some((at, file)) = at.and_then(|at| Some((at, found.get(at)?))) else { continue };
            match opened.get(at, file) {
                Ok(_) => {
                    track.may_retry = true;
                    if track.behind() == 0 {
                        track.recover();
                    }
                    if held < MAX_HELD
                        && let Some(Ok((file, _))) = opened.files.remove(&at)
                    {
                        track.file = Some(file);
                        held += 1;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.again = true,
                Err(error) => track.fail(error),
            }
        }
    }

    /// Says once what cannot be looked for.
    fn note_problems(&mut self, problems: Vec<(PathBuf, String)>) {
        let problems: BTreeMap<_, _> = problems.into_iter().collect();
        for (path, error) in &problems {
            if !self.listing_problems.contains_key(path) {
                warn!(path = %path.display(), error, "log files cannot be looked for");
            }
        }
        let solved: BTreeSet<_> =
            self.listing_problems.keys().filter(|path| !problems.contains_key(*path)).collect();
        for path in solved {
            info!(path = %path.display(), "log files can be looked for again");
        }
        self.listing_problems = problems;
    }
}

/// Compares a place with a file, and opens it only where that is needed.
fn compare(track: &Track, found: &Found, at: usize, opened: &mut Opened) -> Content {
    let place = &track.place;
    let is_same_inode = place.id == found.id;
    if is_same_inode
        && track.is_live()
        && track.verified.zip(found.modified).is_some_and(|(v, m)| v == (found.size, m))
    {
        return Content::Same { verified: place.strength() };
    }
    if is_same_inode && place.strength() == 0 && place.offset == 0 {
        return Content::Same { verified: 0 };
    }
    match opened.get(at, found) {
        Ok((file, size)) => place.compare(file, *size).unwrap_or(Content::Unknown),
        Err(_) if found.size < place.offset => Content::Differs,
        Err(_) => Content::Unknown,
    }
}
