//! How far a collection was read that is read in the order of its last changes.
//!
//! A time of last change is written by whichever runtime changed the chat, by its own clock, and can
//! be read a little later than it was taken. So each pass begins somewhat before the place that the
//! last one reached. Several documents may have one time, even more than a page holds.

use std::time::Duration;

use crate::model::Timestamp;

/// How far before its place a pass begins: clocks of one cluster differ, and what was written may
/// take a while to be seen. What is read twice changes nothing.
pub(super) const OVERLAP: Duration = Duration::from_mins(2);
/// Where nothing changes, the place follows our clock at this distance, so that a burst of changes
/// is not read again for ever. A runtime whose clock is slow by less than this is still heard.
const TRAIL: Duration = Duration::from_mins(10);
/// The place follows in steps, since each is a write to the disk.
const STEP: i64 = 60_000_000;

/// One way through what has changed since a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pass {
    /// The next page begins at this time.
    pub(super) from: Timestamp,
    /// And leaves out so many of it: they have that very time and were read.
    pub(super) skip: u64,
    /// The latest time that was read and is not ahead of our clock.
    seen: Timestamp,
    /// All is read.
    pub(super) done: bool,
}

fn minus(time: Timestamp, span: Duration) -> Timestamp {
    Timestamp(time.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
}

impl Pass {
    /// Begins a little before `place`; where there is none yet, `past` before now.
    pub(super) fn begin(place: Option<Timestamp>, past: Duration, now: Timestamp) -> Self {
        // A clock that was set back must not make us wait for the future.
        let seen = place.map_or(minus(now, past), |place| place.min(now));
        let from = if place.is_some() { minus(seen, OVERLAP) } else { seen };
        Self { from, skip: 0, seen, done: false }
    }

    /// Takes note of a page with documents of these times, in their order. `full` says that there
    /// may be more.
    pub(super) fn turn(&mut self, times: &[Timestamp], full: bool, now: Timestamp) {
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            self.done = true;
            return;
        };
        let latest = times.iter().rev().find(|time| **time <= now);
        self.seen = latest.map_or(self.seen, |latest| self.seen.max(*latest));
        // The rest is the future's. It comes again with each pass, and holds up nothing.
        self.done = !full || *first > now;
        if first == last && *first == self.from {
            self.skip += times.len() as u64;
        } else if first == last {
            (self.from, self.skip) = (*last, times.len() as u64);
        } else {
            (self.from, self.skip) = (*last, 0);
        }
    }

    /// The place to keep: never ahead of our clock.
    pub(super) fn place(&self, now: Timestamp) -> Timestamp {
        let reached = self.seen.min(now);
        if !self.done {
            return reached;
        }
        let behind = minus(now, TRAIL).0;
        reached.max(Timestamp(behind - behind.rem_euclid(STEP)))
    }

    /// How much of the past is still to be read.
    pub(super) fn behind(&self, now: Timestamp) -> Duration {
        if self.done { Duration::ZERO } else { now.since(self.seen) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const DAY: Duration = Duration::from_hours(24);

    fn at(second: i64) -> Timestamp {
        Timestamp(second * 1_000_000)
    }

    #[test]
    fn it_begins_with_the_last_day_and_goes_on_a_little_before_its_place() {
        let now = at(NOW);
        assert_eq!(Pass::begin(None, DAY, now).from, at(NOW - 86_400));
        assert_eq!(Pass::begin(Some(at(NOW - 30)), DAY, now).from, at(NOW - 150));
        assert_eq!(Pass::begin(Some(at(NOW + 9_000)), DAY, now).from, at(NOW - 120));
    }

    #[test]
    fn the_far_future_blinds_nobody() {
        let now = at(NOW);
        let mut pass = Pass::begin(Some(at(NOW - 30)), DAY, now);
        pass.turn(&[at(NOW - 20), at(4_000_000_000)], false, now);
        assert_eq!(pass.place(now), at(NOW - 20));
        // Nor do a thousand of them keep a pass from its end.
        let mut pass = Pass::begin(Some(at(NOW - 30)), DAY, now);
        pass.turn(&[at(4_000_000_000), at(4_000_000_001)], true, now);
        assert!(pass.done);
        assert_eq!(pass.place(now), at(NOW - 30));
    }

    #[test]
    fn where_nothing_changes_the_place_follows_at_a_distance() {
        let mut pass = Pass::begin(Some(at(NOW - 9_000)), DAY, at(NOW));
        pass.turn(&[], false, at(NOW));
        assert_eq!(pass.place(at(NOW)), at((NOW - 600) / 60 * 60));
        assert_eq!(pass.behind(at(NOW)), Duration::ZERO);
    }

    #[test]
    fn more_of_one_time_than_a_page_holds_are_passed_by_number() {
        let now = at(NOW);
        let mut pass = Pass::begin(None, DAY, now);
        let tie = at(NOW - 50);
        pass.turn(&[at(NOW - 60), tie, tie], true, now);
        assert_eq!((pass.from, pass.skip), (tie, 0));
        pass.turn(&[tie, tie, tie], true, now);
        pass.turn(&[tie, tie, tie], true, now);
        assert_eq!((pass.from, pass.skip, pass.done), (tie, 6, false));
        pass.turn(&[tie, at(NOW - 40)], false, now);
        assert!(pass.done);
    }

    proptest! {
        /// Whatever the times and however small the pages, every document of the past is read, and
        /// the place never passes one that was not.
        #[test]
        fn nothing_is_left_out(
            mut times in proptest::collection::vec(NOW - 200..NOW + 50, 0..60),
            page in 1_usize..7,
        ) {
            times.sort_unstable();
            let now = at(NOW);
            let mut pass = Pass::begin(None, DAY, now);
            let mut read = vec![false; times.len()];
            for _ in 0..200 {
                if pass.done {
                    break;
                }
                let from = times.partition_point(|time| at(*time) < pass.from);
                let from = from + usize::try_from(pass.skip).unwrap();
                let to = (from + page).min(times.len());
                let found: Vec<_> = times[from.min(to)..to].iter().map(|time| at(*time)).collect();
                read[from.min(to)..to].fill(true);
                pass.turn(&found, found.len() == page, now);
                let place = pass.place(now);
                prop_assert!(place <= now);
                if !pass.done {
                    let missed = times.iter().zip(&read).find(|(time, r)| at(**time) < place && !**r);
                    prop_assert_eq!(missed, None);
                }
            }
            prop_assert!(pass.done);
            let missed = times.iter().zip(&read).find(|(time, read)| at(**time) <= now && !**read);
            prop_assert_eq!(missed, None);
        }
    }
}
