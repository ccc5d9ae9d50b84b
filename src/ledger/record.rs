//! What outlives the process: the ledger as rows of text, and back.
//!
//! A row is named by its kind and a number and holds one object as JSON. The state store keeps
//! rows without knowing what is in them.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Ledger;
use super::touched::Touched;
use crate::model::Instant;

/// What a row holds. The discriminant is what the state store keeps; restoring goes in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Births, tally and numbering; one row.
    Meta = 0,
    /// A [`Runtime`].
    Runtime = 1,
    /// A [`Workflow`].
    Workflow = 2,
    /// A [`User`].
    User = 3,
    /// A [`Chat`].
    Chat = 4,
    /// A [`Breakdown`].
    Breakdown = 5,
    /// Which chat a session of AG2's log belongs to.
    Session = 6,
    /// Events of somebody who was not introduced yet.
    Guest = 7,
    /// A place that a follower has got to.
    Bookmark = 8,
    /// Ids of events that were handed in.
    Seen = 9,
}

impl Kind {
    /// The kind that the state store kept as this number.
    pub fn from_number(number: i64) -> Option<Self> {
        [
            Self::Meta,
            Self::Runtime,
            Self::Workflow,
            Self::User,
            Self::Chat,
            Self::Breakdown,
            Self::Session,
            Self::Guest,
            Self::Bookmark,
            Self::Seen,
        ]
        .into_iter()
        .find(|kind| *kind as i64 == number)
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it holds.
    pub kind: Kind,
    /// Which of its kind.
    pub id: u64,
    /// The object as JSON; `None` where the row is to be removed.
    pub body: Option<String>,
}

/// Why rows are no ledger.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// A row does not hold what its kind says.
    #[error("row {id} of kind {kind:?} cannot be read")]
    Row {
        /// Kind of the row.
        kind: Kind,
        /// Number of the row.
        id: u64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// Rows are missing that others refer to.
    #[error("row {id} of kind {kind:?} is missing or refers to a row that is")]
    Gap {
        /// Kind of the row.
        kind: Kind,
        /// Number of the row.
        id: u64,
    },
}

/// What has changed since the last [`Ledger::take_changes`].
#[derive(Debug, Default)]
pub(super) struct Dirty {
    pub(super) meta: bool,
    pub(super) runtimes: BTreeSet<u16>,
    pub(super) workflows: BTreeSet<usize>,
    pub(super) users: BTreeSet<usize>,
    pub(super) chats: Touched,
    pub(super) breakdowns: BTreeSet<usize>,
    pub(super) sessions: BTreeSet<u64>,
    pub(super) guests: BTreeSet<u64>,
    pub(super) bookmarks: BTreeSet<u64>,
    pub(super) seen: BTreeSet<u64>,
}

impl Dirty {
    fn is_empty(&self) -> bool {
        !self.meta
            && self.runtimes.is_empty()
            && self.workflows.is_empty()
            && self.users.is_empty()
            && self.chats.is_empty()
            && self.breakdowns.is_empty()
            && self.sessions.is_empty()
            && self.guests.is_empty()
            && self.bookmarks.is_empty()
            && self.seen.is_empty()
    }
}

impl Ledger {
    /// Gives the current state a new version if anything is to be kept.
    pub(super) fn settle_version(&mut self) {
        let touched = self.dirty.chats.take_fresh();
        self.chats.revise(&touched);
        self.owe(touched);
        if !self.dirty.is_empty() {
            self.version += 1;
        }
    }

    /// Takes out all rows that have changed, and the version that they bring the store to.
    pub fn take_changes(&mut self, now: Instant) -> (u64, Vec<Entry>) {
        let dirty = std::mem::take(&mut self.dirty);
        let (mut entries, mut scratch) = (Vec::new(), Vec::new());
        let mut put = |kind, id, body| entries.push(Entry { kind, id, body });
        if !dirty.is_empty()
            && let Some(meta) = self.news(now)
        {
            put(Kind::Meta, 0, Some(json(meta)));
        }
        for id in dirty.runtimes {
            put(Kind::Runtime, id.into(), self.runtimes.get(id as usize).map(json));
        }
        for id in dirty.workflows {
            put(Kind::Workflow, id as u64, self.workflows.rows().get(id).map(json));
        }
        for id in dirty.users {
            put(Kind::User, id as u64, self.users.rows().get(id).map(json));
        }
        for id in dirty.chats.numbers() {
            put(Kind::Chat, id, self.chats.get(id).map(|chat| self.chat_row(chat, &mut scratch)));
        }
        for id in dirty.breakdowns {
            put(Kind::Breakdown, id as u64, self.breakdowns.rows().get(id).map(json));
        }
        for id in dirty.sessions {
            put(Kind::Session, id, self.sessions.get(id).map(json));
        }
        for id in dirty.guests {
            put(Kind::Guest, id, self.guests.get(id).map(json));
        }
        for id in dirty.bookmarks {
            put(Kind::Bookmark, id, self.bookmarks.get(id).map(json));
        }
        for id in dirty.seen {
            put(Kind::Seen, id, self.seen.get(id).map(json));
        }
        (self.version, entries)
    }

    /// Marks everything as changed, so that the next changes are the whole ledger.
    pub fn mark_all(&mut self) {
        self.dirty.meta = true;
        self.kept_meta = None;
        self.dirty.runtimes.extend((0_u16..).zip(&self.runtimes).map(|(id, _)| id));
        self.dirty.workflows.extend(0..self.workflows.rows().len());
        self.dirty.users.extend(0..self.users.rows().len());
        self.chats.iter().for_each(|(no, _)| self.dirty.chats.note(no));
        self.dirty.breakdowns.extend(0..self.breakdowns.rows().len());
        self.dirty.sessions.extend(self.sessions.numbers());
        self.dirty.guests.extend(self.guests.iter().map(|(no, _)| no));
        self.dirty.bookmarks.extend(self.bookmarks.iter().map(|(no, _)| no));
        self.dirty.seen.extend(self.seen.numbers());
        self.settle_version();
    }

    pub(super) fn has(&self, runtime: crate::model::RuntimeId) -> bool {
        (runtime.0 as usize) < self.runtimes.len()
    }
}

fn json<T: Serialize>(value: &T) -> String {
    // As long as most rows: one piece of memory instead of three that grow.
    let mut body = Vec::with_capacity(512);
    let written = serde_json::to_writer(&mut body, value);
    written.expect("structs of numbers and strings are always JSON");
    String::from_utf8(body).expect("JSON is UTF-8")
}
