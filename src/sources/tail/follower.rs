//! All followed files: whose turn it is, and what is to be kept of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tracing::warn;

use super::chunk::{Chunk, Content};
use super::place::Place;
use super::read::{Limits, Outcome, read_on};
use super::track::{Track, open};
use super::{Backlog, Counters, Options, Problem};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// For so long a rotated file must not have grown until its last line is taken without a newline.
const LAST_LINE_AFTER: Duration = Duration::from_secs(5);
/// Files that are followed; of more, the current ones and the youngest.
pub(super) const MAX_FILES: usize = 1000;
/// Under this key stands that the tail was started once.
const BEGUN: &str = "begun";

/// What there was to be had.
#[derive(Debug)]
pub(super) enum Taken {
    /// Lines, or places.
    Chunk(Chunk),
    /// So many bytes of a line that has not come to its end.
    Searched(u64),
    /// Nothing for now.
    Nothing,
}

/// All followed files.
#[expect(clippy::struct_excessive_bools, reason = "none of them follows from another")]
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) options: Options,
    pub(super) limits: Limits,
    pub(super) opener: fn(&Path) -> io::Result<File>,
    #[cfg(test)]
    pub(super) is_blind_to_births: bool,
    pub(super) tracks: BTreeMap<u64, Track>,
    pub(super) next_key: u64,
    /// The very first start: what is there now is prior.
    pub(super) is_first: bool,
    pub(super) has_looked: bool,
    /// How often we looked.
    pub(super) looks: u64,
    /// Something changed under our hands: look again soon.
    pub(super) again: bool,
    /// Where to wait for more.
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) counters: Counters,
    pub(super) listing_problems: BTreeMap<PathBuf, String>,
    /// Files to read, by family, the oldest first.
    pub(super) order: Vec<Vec<u64>>,
    turn: usize,
    wake_at: Option<Instant>,
    is_caught_up: bool,
    is_begun: bool,
    /// Places that changed.
    dirty: BTreeSet<u64>,
    /// Keys under which nothing is to be kept any more.
    removed: BTreeSet<String>,
}

impl Follower {
    /// Goes on from what was kept.
    pub(super) fn new(options: Options, kept: Vec<(String, String)>, now: Instant) -> Self {
        let limits = Limits {
            chunk: CHUNK_BYTES,
            line: options.max_line_bytes,
            last_line_after: LAST_LINE_AFTER,
        };
        let mut follower = Self {
            options,
            limits,
            opener: open,
            #[cfg(test)]
            is_blind_to_births: false,
            tracks: BTreeMap::new(),
            next_key: 1,
            is_first: kept.is_empty(),
            has_looked: false,
            looks: 0,
            again: false,
            folders: BTreeSet::new(),
            counters: Counters::default(),
            listing_problems: BTreeMap::new(),
            order: Vec::new(),
            turn: 0,
            wake_at: None,
            is_caught_up: false,
            is_begun: !kept.is_empty(),
            dirty: BTreeSet::new(),
            removed: BTreeSet::new(),
        };
        for (key, place) in kept.into_iter().filter(|(key, _)| key != BEGUN) {
            let parsed = key.parse::<u64>().ok().filter(|key| *key < u64::MAX);
            match (parsed, serde_json::from_str::<Place>(&place)) {
                (Some(number), Ok(place)) => {
                    // Nor is the key of an original used again that was forgotten before its copy.
                    let used = number.max(place.twin.unwrap_or(0));
                    follower.next_key = follower.next_key.max(used.saturating_add(1));
                    follower.tracks.insert(number, Track::kept(place, now));
                }
                _ => {
                    warn!(
                        key,
                        "the place of a followed file cannot be understood; its file is new"
                    );
                    follower.removed.insert(key);
                }
            }
        }
        let twins: Vec<_> = follower.tracks.values().filter_map(|track| track.place.twin).collect();
        for original in twins {
            if let Some(track) = follower.tracks.get_mut(&original) {
                track.has_twin = true;
            }
        }
        follower
    }

    /// Notes that a place is to be kept.
    pub(super) fn keep(&mut self, key: u64) {
        self.dirty.insert(key);
    }

    /// Follows one more file.
    pub(super) fn admit(&mut self, track: Track) -> u64 {
        let key = self.next_key;
        self.next_key += 1;
        self.tracks.insert(key, track);
        key
    }

    /// Follows a file no more.
    pub(super) fn dismiss(&mut self, key: u64) {
        self.dirty.remove(&key);
        if self.tracks.remove(&key).is_some_and(|track| track.is_kept) {
            self.removed.insert(key.to_string());
        }
    }

    /// The next lines, from each family in turn, and in a family from the oldest file that has some.
    pub(super) fn take(&mut self, now: Instant) -> Taken {
        self.wake_at = None;
        let families = self.order.len();
        for step in 0..families {
            let family = (self.turn + step) % families;
            let keys = self.order.get(family).cloned().unwrap_or_default();
            for key in keys {
                let Some(outcome) = self.read_from(key, now) else { continue };
                match outcome {
                    Outcome::Lines { lines, prior, bytes } => {
                        self.turn = family + 1;
                        return Taken::Chunk(self.hand_out(key, lines, prior, bytes));
                    }
                    Outcome::Searched { bytes } => return Taken::Searched(bytes),
                    Outcome::Nothing => {}
                    // The younger ones wait for the older.
                    Outcome::Waits { until } => {
                        self.wake_at = Some(self.wake_at.map_or(until, |at| at.min(until)));
                        break;
                    }
                    Outcome::Changed => {
                        self.again = true;
                        break;
                    }
                }
            }
        }
        self.note_caught_up();
        let places = self.take_places();
        if places.is_empty() {
            return Taken::Nothing;
        }
        Taken::Chunk(Chunk::places_only(places))
    }

    /// `None` where it cannot be read.
    fn read_from(&mut self, key: u64, now: Instant) -> Option<Outcome> {
        let track = self.tracks.get_mut(&key)?;
        if track.undecided {
            self.again = true;
            return Some(Outcome::Changed);
        }
        let held = track.file.take();
        let is_held = held.is_some();
        let file = match held {
            Some(file) => Ok(file),
            None if track.behind() == 0 => return Some(Outcome::Nothing),
            None if track.is_barred() => return None,
            None => (self.opener)(&track.path),
        };
        let result = file.and_then(|file| {
            if !is_held && !track.place.is_of(&file.metadata()?) {
                return Ok((file, Outcome::Changed));
            }
            let outcome = read_on(track, &file, &self.limits, now)?;
            Ok((file, outcome))
        });
        match result {
            Ok((file, outcome)) => {
                track.recover();
                // Nobody will find out what became of a file that is gone.
                if outcome == Outcome::Changed && !track.is_live() {
                    return Some(Outcome::Nothing);
                }
                if is_held {
                    track.file = Some(file);
                }
                Some(outcome)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Outcome::Changed),
            Err(error) => {
                track.fail(&error);
                None
            }
        }
    }

    fn hand_out(&mut self, key: u64, content: Content, prior: bool, bytes: u64) -> Chunk {
        self.dirty.insert(key);
        let path = self.tracks.get(&key).map(|track| track.path.clone()).unwrap_or_default();
        let mut chunk = Chunk { content, path, prior, places: Vec::new() };
        self.counters.bytes += bytes;
        for line in chunk.lines() {
            match line {
                super::Line::Whole(_) => self.counters.lines += 1,
                super::Line::TooLong { .. } => self.counters.too_long += 1,
            }
        }
        self.note_caught_up();
        chunk.places = self.take_places();
        chunk
    }

    /// What is to be kept since the last time.
    fn take_places(&mut self) -> Vec<(String, Option<String>)> {
        let mut places: Vec<_> =
            std::mem::take(&mut self.removed).into_iter().map(|key| (key, None)).collect();
        if !std::mem::replace(&mut self.is_begun, true) {
            places.push((BEGUN.to_owned(), Some("{}".to_owned())));
        }
        for key in std::mem::take(&mut self.dirty) {
            let Some(track) = self.tracks.get_mut(&key) else { continue };
            if track.is_worth_keeping() {
                // A place is numbers and text: it can be written.
                track.is_kept = true;
                places.push((key.to_string(), serde_json::to_string(&track.place).ok()));
            } else if std::mem::take(&mut track.is_kept) {
                places.push((key.to_string(), None));
            }
        }
        places
    }

    fn note_caught_up(&mut self) {
        self.is_caught_up = self.is_caught_up
            || self.has_looked && self.tracks.values().all(Track::has_reached_goal);
    }

    /// When to come back even if nothing is written.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Everything that lay there at the first look was handed out.
    pub(super) fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    /// Bytes that are to be handed out, as last seen.
    pub(super) fn bytes_behind(&self) -> u64 {
        self.tracks.values().map(Track::behind).sum()
    }

    /// Files that are there.
    pub(super) fn files(&self) -> usize {
        self.tracks.values().filter(|track| track.is_live()).count()
    }

    /// What cannot be looked at or read now.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let files = self.tracks.values().filter(|track| track.is_live()).filter_map(|track| {
            let error = track.failed.clone()?;
            Some(Problem { path: track.path.clone(), error })
        });
        let listings = self.listing_problems.iter();
        let problem = |(path, error): (&PathBuf, &String)| Problem {
            path: path.clone(),
            error: error.clone(),
        };
        listings.map(problem).chain(files).collect()
    }

    /// Whether what is there now is not read at all.
    pub(super) fn skips_backlog(&self) -> bool {
        self.options.backlog == Backlog::Skip
    }
}
