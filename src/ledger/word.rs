//! Optional numbers in one word, where `Option` takes two.

use crate::model::{Mono, Timestamp};

/// An optional point in time. The smallest number stands for none; nobody can tell it from the one
/// after it, 292,000 years before the epoch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct OptMicros(i64);

impl OptMicros {
    pub(super) const NONE: Self = Self(i64::MIN);

    fn some(micros: i64) -> Self {
        Self(micros.max(i64::MIN + 1))
    }

    fn get(self) -> Option<i64> {
        (self != Self::NONE).then_some(self.0)
    }

    pub(super) fn is_some(self) -> bool {
        self != Self::NONE
    }

    pub(super) fn wall(self) -> Option<Timestamp> {
        self.get().map(Timestamp)
    }

    pub(super) fn mono(self) -> Option<Mono> {
        self.get().map(Mono)
    }
}

impl From<Option<Timestamp>> for OptMicros {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::NONE, |at| Self::some(at.0))
    }
}

impl From<Mono> for OptMicros {
    fn from(at: Mono) -> Self {
        Self::some(at.0)
    }
}

impl std::fmt::Debug for OptMicros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}
