//! One chat: who it is, whether it lives, and its book.

use serde::{Deserialize, Serialize};

use super::births::Birth;
use super::book::{Book, Life, LifeKey};
use super::names::Name;
use super::owed::Slip;
use super::totals::Outcome;
use super::word::OptMicros;
use crate::model::{ChatSnapshot, Instant, Mono, RuntimeId, Source, Timestamp};

/// Whether a chat lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not ended, or moving again after its end.
    Live,
    /// Its witness said that it ended.
    Ended,
    /// It vanished from the answers of its runtime.
    Lost,
}

/// What a snapshot said of the life that began last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// The life was not known before, nor told of by others.
    pub(super) begun: bool,
    /// One of its counters rose.
    pub(super) moved: bool,
    /// The end that was stated before.
    pub(super) previous_end: Option<Timestamp>,
}

/// What a snapshot did to the phase of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Turned {
    /// A workflow began.
    pub(super) started: bool,
    /// It came to its first end.
    pub(super) ended: Option<Outcome>,
    /// From start to that end in seconds, where both are known.
    pub(super) session_seconds: Option<f64>,
}

/// One chat.
#[expect(clippy::struct_excessive_bools, reason = "none of them follows from another")]
#[derive(Debug)]
pub struct Chat {
    /// Its accounts.
    pub book: Book,
    pub(super) id: Box<str>,
    pub(super) app: Name,
    pub(super) workflow_name: Name,
    pub(super) user: Name,
    /// When it last did something, as far as we saw.
    pub last_update: Timestamp,
    /// Duration of its last turn in seconds.
    pub last_turn_seconds: Option<f64>,
    /// When its series began.
    pub birth: Birth,
    /// When we saw it end.
    pub(super) closed_at: OptMicros,
    /// What the shared store has of it; nothing is known of that where there is no slip.
    pub(super) slip: Option<Box<Slip>>,
    /// Start of the life with which it stood in the last complete answer that named it.
    pub(super) listed_life: Timestamp,
    /// Since when it is missing from the answers of its runtime.
    pub(super) absent_since: OptMicros,
    /// When it was last told of.
    pub(super) told: Mono,
    pub(super) moved: Mono,
    pub(super) closed: Mono,
    /// Its place among the ended chats that have series: when it was closed.
    pub(super) ended_key: OptMicros,
    /// The last answer of its runtime that named it.
    pub(super) answer: u64,
    /// Row of its workflow.
    pub(super) workflow_row: u32,
    /// Row of its user.
    pub(super) user_row: u32,
    /// The runtime where it was first seen.
    pub runtime: RuntimeId,
    /// Whether it lives.
    pub phase: Phase,
    /// Beyond the bound: it has no series of its own.
    pub folded: bool,
    /// Its series are gone; the book stays while its runtime still tells of it.
    pub evicted: bool,
    /// Its run failed; the end that is still to come is that of a failure.
    pub(super) failing: bool,
    /// Events of it were pushed to us.
    pub(super) pushed: bool,
    /// It stood in a complete answer once, so that it can be missed in another.
    pub(super) listed: bool,
}

impl Chat {
    /// Its id, bounded.
    pub fn chat_id(&self) -> &str {
        &self.id
    }

    /// The app that it belongs to, as first given.
    pub fn app_id(&self) -> &str {
        &self.app
    }

    /// What runs in it, as first given.
    pub fn workflow_name(&self) -> &str {
        &self.workflow_name
    }

    /// Who runs it, as first given.
    pub fn user_id(&self) -> &str {
        &self.user
    }

    /// Whether it stood in the last complete answer of its runtime.
    pub(super) fn is_present(&self) -> bool {
        self.listed && !self.absent_since.is_some()
    }

    /// Whether it lives.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Start of the life that began last.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.book.latest().map(|life| life.key.started_at).filter(|at| at.0 != 0)
    }

    /// The end that its witness gave, if it has not moved on since.
    pub fn ended_at(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Live => None,
            Phase::Ended | Phase::Lost => {
                self.book.latest().and_then(|life| life.ended_at).or(self.closed_at.wall())
            }
        }
    }

    /// From its start to its end, or to now while it lives, in seconds. Never negative.
    pub fn runtime_seconds(&self, now: Timestamp) -> f64 {
        let start = self.started_at().unwrap_or(self.last_update);
        self.ended_at().unwrap_or(now).since(start).as_secs_f64()
    }

    /// Whether it moves on although its witness says that it ended.
    pub fn is_resumed(&self) -> bool {
        self.is_live() && self.book.latest().is_some_and(|life| life.ended_at.is_some())
    }

    /// Whether only those tell of it who tell what changes: nobody would say that it is gone.
    pub fn is_hearsay(&self) -> bool {
        let speaker = self.book.latest().map(|life| life.key.source);
        speaker != Some(Source::Scrape)
    }

    /// Whether somebody tells of its sums who does not say when it began.
    pub(super) fn is_summed(&self) -> bool {
        self.book.lives().any(|life| life.key.source == Source::UsageIngest)
    }

    /// Settles the phase after something was told of the life that began last.
    pub(super) fn settle(&mut self, told: Told, now: Instant) -> Turned {
        let before = self.phase;
        let Some(life) = self.book.latest() else {
            return Turned::default();
        };
        let began = told.begun && before != Phase::Live;
        let Some(end) = life.ended_at else {
            self.phase = Phase::Live;
            return Turned { started: began, ..Turned::default() };
        };
        if !life.end_counted {
            self.book.note_end(&life.key, Some(end), true);
            let session_seconds = session_seconds(&life);
            let outcome = if self.failing { Outcome::Failed } else { Outcome::Completed };
            self.close(Phase::Ended, now);
            return Turned { started: began, ended: Some(outcome), session_seconds };
        }
        // The runtime keeps the old end when a chat moves on after it, and moves it at the next.
        let end_moved = told.previous_end != Some(end);
        if end_moved {
            self.close(Phase::Ended, now);
        } else if told.moved {
            self.phase = Phase::Live;
        } else if before == Phase::Lost {
            self.phase = Phase::Ended;
        }
        Turned { started: began, ..Turned::default() }
    }

    /// Settles the phase after something was told of another life than the one that speaks for
    /// the chat: one that moved, or of a chat that was lost, shows that it lives.
    pub(super) fn settle_aside(&mut self, source: Source, moved: bool) {
        let Some(speaker) = self.book.latest() else {
            return;
        };
        let lost = self.phase == Phase::Lost;
        if (lost || self.phase == Phase::Ended && speaker.key.source == source) && moved {
            self.phase = Phase::Live;
        } else if lost {
            self.phase = match speaker.ended_at {
                Some(_) => Phase::Ended,
                None => Phase::Live,
            };
        }
    }

    /// Whether other witnesses have told of this life, under a start of their own: it began before
    /// the end that they told. Then neither its start nor that end is another one.
    pub(super) fn told_before(&self, key: &LifeKey) -> bool {
        let by_others = self.book.lives().any(|life| life.key.source != key.source);
        let end = self.ended_at().filter(|_| self.phase == Phase::Ended);
        by_others && end.is_some_and(|end| key.started_at <= end)
    }

    /// Notes when it last did something. One that has done nothing yet did so at its start.
    pub(super) fn note_update(
        &mut self,
        snapshot: &ChatSnapshot<'_>,
        moved: bool,
        is_first: bool,
        now: Instant,
    ) {
        let seen = if moved { now.wall } else { snapshot.started_at.unwrap_or(now.wall) };
        let at = snapshot.updated_at.unwrap_or(seen).min(now.wall);
        // A clock that was set back makes no chat look stalled, and none look younger.
        self.last_update = at.max(self.last_update.min(now.wall));
        self.moved = match snapshot.updated_at.map(|at| now.mono_at(at)) {
            Some(at) if is_first => at,
            Some(at) => self.moved.max(at),
            None => now.mono,
        };
    }

    /// Ends it for the ledger.
    pub(super) fn close(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.failing = false;
        self.closed_at = Some(now.wall).into();
        self.closed = now.mono;
    }
}

/// From start to end of a life, where both are known.
fn session_seconds(life: &Life) -> Option<f64> {
    let end = life.ended_at?;
    (life.key.started_at.0 != 0).then(|| end.since(life.key.started_at).as_secs_f64())
}
