//! How far the database was read, in a form that outlives the process.

use serde::{Deserialize, Serialize};

/// A row by its id, and a checksum of what tells it from the row of the same id in another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) id: i64,
    pub(super) sum: u32,
}

/// How far one table was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Track {
    /// The last row that was told; 0 before the first.
    pub(super) last: i64,
    /// The last row that lay there at first contact; 0 where there was none.
    pub(super) prior: i64,
    /// A row that must be there still, or this is another file: the last that was told, or at
    /// first contact the last that was there.
    pub(super) mark: Option<Mark>,
}

impl Track {
    /// At first contact, with `newest` as the last row.
    pub(super) fn before(newest: Option<Mark>) -> Self {
        Self { last: 0, prior: newest.map_or(0, |mark| mark.id), mark: newest }
    }

    /// Whether rows that lay there at first contact are still to be told.
    pub(super) fn is_prior(&self) -> bool {
        self.last < self.prior
    }

    /// Up to which row the next step may go.
    pub(super) fn up_to(&self, prior: bool) -> i64 {
        if prior { self.prior } else { i64::MAX }
    }

    /// A row was told.
    pub(super) fn told(&mut self, mark: Mark) {
        self.last = mark.id;
        if !self.is_prior() {
            self.mark = Some(mark);
        }
    }

    /// Every row up to the border was told, whether or not it is there still.
    pub(super) fn border_reached(&mut self) {
        self.last = self.last.max(self.prior);
    }
}

/// How far both tables were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    pub(super) completions: Track,
    pub(super) calls: Track,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stays_on_the_border_until_it_is_passed() {
        let border = Mark { id: 3, sum: 30 };
        let mut track = Track::before(Some(border));
        assert!(track.is_prior());
        track.told(Mark { id: 2, sum: 20 });
        assert_eq!((track.is_prior(), track.mark), (true, Some(border)));
        track.told(border);
        assert_eq!((track.is_prior(), track.mark), (false, Some(border)));
        let next = Mark { id: 9, sum: 90 };
        track.told(next);
        assert_eq!((track.last, track.prior, track.mark), (9, 3, Some(next)));
        assert!(!Track::before(None).is_prior());
    }
}
