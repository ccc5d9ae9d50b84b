//! The accounts of a chat in short: one witness, one life, and the same numbers for all of it.

use super::book::{Life, LifeKey};
use super::word::OptMicros;
use crate::model::{Counters, RuntimeId, Source, Timestamp, Witness};

/// At most one account and at most one life, with one set of numbers for all of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plain {
    pub(super) started_at: Timestamp,
    pub(super) ended_at: OptMicros,
    pub(super) runtime: RuntimeId,
    /// Who tells of the life; none where there is no life.
    pub(super) source: Option<Source>,
    /// Whose account is what is published; none where there is no account.
    pub(super) witness: Option<Witness>,
    pub(super) end_counted: bool,
    /// Whether the marks of the life are what is published, too; else they are zero.
    pub(super) marked: bool,
}

impl Plain {
    pub(super) const NOTHING: Self = Self {
        started_at: Timestamp(0),
        ended_at: OptMicros::NONE,
        runtime: RuntimeId(0),
        source: None,
        witness: None,
        end_counted: false,
        marked: false,
    };

    pub(super) fn key(&self) -> Option<LifeKey> {
        let Self { runtime, started_at, .. } = *self;
        self.source.map(|source| LifeKey { source, runtime, started_at })
    }

    /// Its life, where it has one.
    pub(super) fn life(&self, published: &Counters) -> Option<Life> {
        let marks = if self.marked { *published } else { Counters::default() };
        let (ended_at, end_counted) = (self.ended_at.wall(), self.end_counted);
        self.key().map(|key| Life { key, marks, ended_at, end_counted, unstated: 0 })
    }
}
