//! Copies of files that are still there, and files of which nothing was read yet: what must be clear
//! before the first line of a file is handed out.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use super::discover::Found;
use super::follower::Follower;
use super::place::{Content, FileId, is_prefix};
use super::read::glimpse;
use super::reconcile::may_be_copy;
use super::rotation::Age;
use super::track::Track;

impl Follower {
    /// Looks how current files begin of which nothing was read yet.
    ///
    /// Belongs before the names are read: whatever was copied away before the file began like that
    /// is then among them, and is read before it.
    pub(super) fn glimpse(&mut self) {
        let opener = self.opener;
        for track in self.tracks.values_mut().filter(|track| track.is_current()) {
            if track.place.strength() > 0 || track.is_barred() {
                continue;
            }
            let result = match track.file.take() {
                Some(file) => glimpse(track, &file).map(|()| track.file = Some(file)),
                // Should the name lead elsewhere by now, reading will see it.
                None => opener(&track.path).and_then(|file| glimpse(track, &file)),
            };
            match result {
                Err(error) if error.kind() != io::ErrorKind::NotFound => track.fail(&error),
                _ => {}
            }
        }
    }

    /// Finds copies of files that are still there: they are told by their originals.
    pub(super) fn tell_copies(&mut self, found: &[Found]) {
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
                // Of an original that was never read, nothing would say that it was cut.
                let is_same = was_twin
                    && track.size == track.place.offset
                    && other.place.strength() > 0
                    && other.size >= track.size;
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
        let twin = track.place.twin;
        self.tracks.insert(copy, track);
        if has_changed {
            self.keep(copy);
        }
        if let Some(other) = twin.and_then(|twin| self.tracks.get_mut(&twin))
            && !std::mem::replace(&mut other.has_twin, true)
        {
            // The two must be kept together: alone, the copy would pass for one that was read.
            self.keep(original);
        }
    }

    /// `None` where another file has the name now.
    fn open(&self, track: &Track) -> io::Result<Option<File>> {
        let file = match &track.file {
            Some(file) => file.try_clone()?,
            None => (self.opener)(&track.path)?,
        };
        let is_it = track.place.is_of(&file.metadata()?);
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
}
