//! Looks which files are there, and brings the followed ones up to date.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tracing::{info, warn};

use super::discover::{Found, Listing, discover};
use super::follower::{Follower, MAX_FILES};
use super::place::{Content, FileId, is_prefix, last_line};
use super::reconcile::{Fate, Left, may_be_copy, reconcile};
use super::rotation::Age;
use super::track::{Standing, Track};

/// So often names and files are read again where they change while we look.
const ATTEMPTS: usize = 4;
/// Files that are held open.
const MAX_HELD: usize = 256;
/// A place is forgotten when its file has been gone for so long while others lie in its folder.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Places that are remembered, those of files that are gone included.
const MAX_PLACES: usize = 2 * MAX_FILES;

/// Files that were opened while we look.
struct Opened {
    files: HashMap<usize, Result<(File, u64), io::Error>>,
    opener: fn(&Path) -> io::Result<File>,
    /// A name led to another file than a moment before.
    has_moved: bool,
}

impl Opened {
    fn get(&mut self, at: usize, found: &Found) -> Result<&(File, u64), &io::Error> {
        let opener = self.opener;
        let has_moved = &mut self.has_moved;
        let entry = self.files.entry(at).or_insert_with(|| {
            let result = opener(&found.path).and_then(|file| {
                let metadata = file.metadata()?;
                if FileId::of(&metadata) != found.id {
                    return Err(io::ErrorKind::NotFound.into());
                }
                Ok((file, metadata.len()))
            });
            *has_moved |= matches!(&result, Err(e) if e.kind() == io::ErrorKind::NotFound);
            result
        });
        entry.as_ref()
    }
}

impl Follower {
    /// Looks which files are there. Reads no lines.
    pub(super) fn look(&mut self, now: Instant) {
        self.again = false;
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
        let left = |(key, track): (&u64, &'_ Track)| (*key, track.is_live());
        let keys: Vec<_> = self.tracks.iter().map(left).collect();
        let left: Vec<_> = keys
            .iter()
            .zip(self.tracks.values())
            .map(|((key, is_live), track)| Left {
                key: *key,
                place: &track.place,
                is_live: *is_live,
            })
            .collect();
        let tracks: Vec<_> = self.tracks.values().collect();
        let fates =
            reconcile(&left, found, |place, file| match (tracks.get(place), found.get(file)) {
                (Some(track), Some(of_file)) => compare(track, of_file, file, opened),
                _ => Content::Unknown,
            });
        keys.into_iter().map(|(key, _)| key).zip(fates).collect()
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
        self.tell_copies(&found);
        self.forget(now);
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
                return;
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
                if let Ok((open, size)) = opened.get_if_open(at) {
                    track.see_size(*size, now);
                    track.note_verified(file, SystemTime::now());
                    let result = if matches!(fate, Fate::SetBack(_) | Fate::Consumed(_)) {
                        self.counters.truncations += u64::from(matches!(fate, Fate::SetBack(_)));
                        track.go_to_end(open)
                    } else {
                        track.extend_head(open)
                    };
                    if let Err(error) = result {
                        track.fail(&error);
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
                let size = track.size;
                let skips = self.is_first && self.skips_backlog();
                let start = match file.age {
                    _ if !skips => Ok(0),
                    // The rest of a line that is being written is not half a line.
                    Age::Current => last_line(open, size, longest),
                    _ => Ok(size),
                };
                start.and_then(|start| {
                    track.place.offset = start;
                    track.place.take_prints(open, size)
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
            if !is_wanted {
                held -= usize::from(track.file.take().is_some());
                continue;
            }
            if track.file.is_some() {
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

    /// Files that are gone may be held open, and may still grow.
    fn see_lost(&mut self, now: Instant) {
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
        superseded.into_iter().for_each(|key| self.dismiss(key));
    }

    /// Finds copies of files that are still there: they are told by their originals.
    fn tell_copies(&mut self, found: &[Found]) {
        let by_id: HashMap<FileId, &Found> = found.iter().map(|found| (found.id, found)).collect();
        let current: HashMap<&str, u64> = self
            .tracks
            .iter()
            .filter(|(_, track)| track.is_current())
            .map(|(key, track)| (track.place.base.as_str(), *key))
            .collect();
        let candidates: Vec<(u64, u64)> = self
            .tracks
            .iter()
            .filter(|(_, track)| track.is_live() && track.age != Age::Current)
            .filter_map(|(key, track)| {
                let original = match track.place.twin {
                    Some(twin) => twin,
                    None if track.place.offset > 0 || track.size == 0 => return None,
                    None => {
                        let original = *current.get(track.place.base.as_str())?;
                        let id = self.tracks.get(&original)?.place.id;
                        let is_possible = may_be_copy(by_id.get(&track.place.id)?, by_id.get(&id)?);
                        is_possible.then_some(original)?
                    }
                };
                Some((*key, original))
            })
            .collect();
        for track in self.tracks.values_mut() {
            track.undecided = false;
        }
        for (copy, original) in candidates {
            self.tell_copy(copy, original);
        }
    }

    fn tell_copy(&mut self, copy: u64, original: u64) {
        let Some(mut track) = self.tracks.remove(&copy) else { return };
        let was_twin = track.place.twin.is_some();
        let before = track.place.clone();
        match self.tracks.get(&original) {
            // Its original is gone for good: from here on it speaks for itself.
            None => track.place.twin = None,
            Some(other) if other.is_live() => {
                let is_same = was_twin && track.size == track.place.offset;
                match if is_same { Ok(Some(true)) } else { self.is_copy(&track, other) } {
                    Ok(Some(true)) if is_same => {}
                    Ok(Some(true)) => {
                        track.place.twin = Some(original);
                        let result = match track.file.take() {
                            Some(file) => track.go_to_end(&file),
                            None => self.open(&track).and_then(|file| match file {
                                Some(file) => track.go_to_end(&file),
                                None => Err(io::ErrorKind::NotFound.into()),
                            }),
                        };
                        if let Err(error) = result {
                            track.fail(&error);
                        }
                    }
                    Ok(Some(false)) if was_twin => track.restart(),
                    Ok(Some(false)) => {}
                    Ok(None) => {
                        track.undecided = !was_twin;
                        self.again = true;
                    }
                    Err(error) => track.fail(&error),
                }
            }
            Some(_) => {}
        }
        let has_changed = before != track.place;
        self.tracks.insert(copy, track);
        if has_changed {
            self.keep(copy);
        }
    }

    /// `None` where another file has the name now.
    fn open(&self, track: &Track) -> io::Result<Option<File>> {
        let file = match &track.file {
            Some(file) => file.try_clone()?,
            None => (self.opener)(&track.path)?,
        };
        let is_it = FileId::of(&file.metadata()?) == track.place.id;
        Ok(Some(file).filter(|_| is_it))
    }

    /// Whether a file holds what its original holds. `None` where that cannot be said now.
    fn is_copy(&self, copy: &Track, original: &Track) -> io::Result<Option<bool>> {
        let Some(one) = self.open(copy)? else { return Ok(None) };
        // Where the original cannot be read, it does not speak for anyone.
        let two = match self.open(original) {
            Ok(Some(two)) => two,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) => return Ok(Some(false)),
        };
        let is_prefix = is_prefix((&one, copy.size), (&two, two.metadata()?.len()))?;
        if is_prefix == Some(false) {
            // Unless the original has just been cut.
            let size = two.metadata()?.len();
            if !matches!(original.place.compare(&two, size)?, Content::Same { .. }) {
                return Ok(None);
            }
        }
        Ok(is_prefix)
    }

    /// Forgets files that are gone.
    fn forget(&mut self, now: Instant) {
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
        forgotten.into_iter().for_each(|key| self.dismiss(key));
    }

    /// Puts the files of each family into the order in which they are read.
    fn arrange(&mut self) {
        let mut families: BTreeMap<&str, Vec<(bool, &Age, u64)>> = BTreeMap::new();
        for (key, track) in &self.tracks {
            if (track.is_live() && track.place.twin.is_none()) || track.file.is_some() {
                let family = families.entry(&track.place.base).or_default();
                family.push((track.is_live(), &track.age, *key));
            }
        }
        let order = families.into_values().map(|mut family| {
            family.sort();
            family.into_iter().map(|(.., key)| key).collect()
        });
        self.order = order.collect();
    }

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

impl Opened {
    fn get_if_open(&self, at: usize) -> Result<&(File, u64), ()> {
        self.files.get(&at).and_then(|result| result.as_ref().ok()).ok_or(())
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
