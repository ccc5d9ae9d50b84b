//! Which events were handed in before: their ids, for as long as somebody may hand them in again.
//!
//! Ids are kept in chunks, in the order in which they came. A chunk is one row of the state store, so
//! that a commit writes what is new and not all of them; the oldest chunk goes as a whole. Their age
//! is taken in uptime, summed over restarts: while the exporter was down, nobody could hand in anything
//! again.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{EventId, Mono};

/// Ids of one chunk. It is written again with each commit until it is full: a third of a kilobyte on
/// average, and never so large that it needs a page of the store for itself.
const CHUNK: usize = 32;
/// Ids known at once, some 30 MB.
pub(super) const MAX_IDS: usize = 1_000_000;

/// Ids that came one after the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Chunk {
    /// The uptime at which the first of them came.
    since: Mono,
    ids: Vec<EventId>,
}

/// All of them, by number.
#[derive(Debug, Default)]
pub(super) struct Seen {
    chunks: BTreeMap<u64, Chunk>,
    ids: HashSet<EventId>,
    next: u64,
    /// When the uptime was zero, by the clock of this process.
    origin: Mono,
}

impl Seen {
    /// Whether an event of that id was handed in before.
    pub(super) fn knows(&self, id: EventId) -> bool {
        self.ids.contains(&id)
    }

    /// Remembers an id that is not known. Returns the number of its chunk.
    pub(super) fn add(&mut self, id: EventId, now: Mono) -> u64 {
        self.ids.insert(id);
        if let Some(mut open) = self.chunks.last_entry()
            && open.get().ids.len() < CHUNK
        {
            open.get_mut().ids.push(id);
            return *open.key();
        }
        let no = self.next;
        self.next += 1;
        let mut ids = Vec::with_capacity(CHUNK);
        ids.push(id);
        self.chunks.insert(no, Chunk { since: self.uptime(now), ids });
        no
    }

    /// The oldest chunk, where its time is over or there are too many; and whether it was the latter.
    pub(super) fn surplus(&self, window: Duration, now: Mono) -> Option<(u64, bool)> {
        let (no, _) = self.chunks.first_key_value()?;
        // The last of a chunk came before the first of the next.
        let is_over = self
            .chunks
            .values()
            .nth(1)
            .is_some_and(|next| self.uptime(now).since(next.since) >= window);
        let too_many = self.ids.len() > MAX_IDS;
        (is_over || too_many).then_some((*no, !is_over))
    }

    /// Forgets a chunk. Returns how many ids were in it.
    pub(super) fn forget(&mut self, no: u64) -> usize {
        let Some(chunk) = self.chunks.remove(&no) else { return 0 };
        for id in &chunk.ids {
            self.ids.remove(id);
        }
        chunk.ids.len()
    }

    pub(super) fn get(&self, no: u64) -> Option<&Chunk> {
        self.chunks.get(&no)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.chunks.keys().copied()
    }

    /// How many chunks there are.
    pub(super) fn len(&self) -> usize {
        self.chunks.len()
    }

    /// How long the exporter has been up by now, over all restarts.
    pub(super) fn uptime(&self, now: Mono) -> Mono {
        Mono(now.0.saturating_sub(self.origin.0))
    }

    /// Goes on at that uptime.
    pub(super) fn resume(&mut self, uptime: Mono, now: Mono) {
        self.origin = Mono(now.0.saturating_sub(uptime.0));
    }

    /// Puts back a chunk that the state store kept.
    pub(super) fn restore(&mut self, no: u64, chunk: Chunk) {
        self.ids.extend(&chunk.ids);
        self.next = self.next.max(no + 1);
        self.chunks.insert(no, chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(second: i64) -> Mono {
        Mono(second * 1_000_000)
    }

    fn full_and_one_more() -> Seen {
        let mut seen = Seen::default();
        for n in 0..=CHUNK as u64 {
            seen.add(EventId(n), at(0));
        }
        seen
    }

    #[test]
    fn an_id_is_known_for_its_window_at_least() {
        let mut seen = full_and_one_more();
        assert_eq!(seen.len(), 2);
        assert_eq!(seen.surplus(HOUR, at(3599)), None);
        assert_eq!(seen.surplus(HOUR, at(3600)), Some((0, false)));
        assert_eq!(seen.forget(0), CHUNK);
        assert!(!seen.knows(EventId(0)) && seen.knows(EventId(CHUNK as u64)));
        assert_eq!(seen.surplus(HOUR, at(9999)), None, "the open chunk stays");
    }

    #[test]
    fn the_time_of_being_down_does_not_count() {
        let mut back = full_and_one_more();
        for (uptime, start) in [(600, 0), (1200, 5)] {
            let chunks = std::mem::take(&mut back.chunks);
            back = Seen::default();
            back.resume(at(uptime), at(start));
            for (no, chunk) in chunks {
                back.restore(no, chunk);
            }
        }
        assert_eq!(back.surplus(HOUR, at(2404)), None);
        assert_eq!(back.surplus(HOUR, at(2405)), Some((0, false)));
    }
}
