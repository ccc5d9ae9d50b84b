//! What outlives the process: the ledger as rows of text, and back.
//!
//! A row is named by its kind and a number and holds one object as JSON. The state store keeps
//! rows without knowing what is in them.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::births::Births;
use super::meta::Meta;
use super::waiting::Guest;
use super::{Breakdown, Chat, Ledger, Runtime, Settings, User, Workflow};
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

/// Chats that have changed: all of them, and those since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Touched {
    all: BTreeSet<u64>,
    fresh: Vec<u64>,
}

impl Touched {
    /// A chat has changed, and it shows.
    pub(super) fn insert(&mut self, no: u64) {
        self.all.insert(no);
        if self.fresh.last() != Some(&no) {
            self.fresh.push(no);
        }
    }

    /// Of a chat, something is to be kept that concerns only us.
    pub(super) fn note(&mut self, no: u64) {
        self.all.insert(no);
    }

    /// The chats that have changed since the last call; one may stand there twice.
    pub(super) fn take_fresh(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.fresh)
    }
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
            && self.chats.all.is_empty()
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
        let mut entries = Vec::new();
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
        for id in dirty.chats.all {
            put(Kind::Chat, id, self.chats.get(id).map(json));
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
        self.dirty.chats.all.extend(self.chats.iter().map(|(no, _)| no));
        self.dirty.breakdowns.extend(0..self.breakdowns.rows().len());
        self.dirty.sessions.extend(self.sessions.numbers());
        self.dirty.guests.extend(self.guests.iter().map(|(no, _)| no));
        self.dirty.bookmarks.extend(self.bookmarks.iter().map(|(no, _)| no));
        self.dirty.seen.extend(self.seen.numbers());
        self.settle_version();
    }

    /// Goes on where rows ended. They may come in any order.
    pub fn restore(
        settings: Settings,
        mut entries: Vec<Entry>,
        now: Instant,
    ) -> Result<Self, RestoreError> {
        entries.sort_by_key(|entry| (entry.kind, entry.id));
        let mut ledger = Self::new(settings);
        let mut rows = vec![0; 9];
        for entry in entries {
            let Entry { kind, id, body: Some(body) } = entry else {
                continue;
            };
            let gap = Err(RestoreError::Gap { kind, id });
            match kind {
                Kind::Meta => {
                    let meta: Meta = parse(kind, id, &body)?;
                    ledger.next_chat = meta.next_chat;
                    rows = meta.rows;
                    ledger.seen.resume(meta.uptime, now.mono);
                    ledger.births = Births::restore(meta.births, now);
                    ledger.tally = meta.tally;
                    ledger.own_name = meta.own_name;
                }
                Kind::Runtime => {
                    let runtime: Runtime = parse(kind, id, &body)?;
                    if id != ledger.runtimes.len() as u64 {
                        return gap;
                    }
                    ledger.runtimes.push(runtime);
                }
                Kind::Workflow => {
                    let mut row: Workflow = parse(kind, id, &body)?;
                    if id != ledger.workflows.rows().len() as u64 || !ledger.has(row.runtime) {
                        return gap;
                    }
                    row.app_id = super::intern(&mut ledger.names, &row.app_id);
                    row.workflow_name = super::intern(&mut ledger.names, &row.workflow_name);
                    ledger.workflows.push(row);
                }
                Kind::User => {
                    let mut row: User = parse(kind, id, &body)?;
                    if id != ledger.users.rows().len() as u64 || !ledger.has(row.runtime) {
                        return gap;
                    }
                    row.app_id = super::intern(&mut ledger.names, &row.app_id);
                    row.user_id = super::intern(&mut ledger.names, &row.user_id);
                    ledger.users.push(row);
                }
                Kind::Chat => {
                    let chat: Chat = parse(kind, id, &body)?;
                    let refers = chat.workflow < ledger.workflows.rows().len()
                        && chat.user < ledger.users.rows().len()
                        && ledger.has(chat.runtime)
                        && id < ledger.next_chat;
                    if !refers {
                        return gap;
                    }
                    ledger.restore_chat(id, chat, now);
                }
                Kind::Breakdown => {
                    let mut row: Breakdown = parse(kind, id, &body)?;
                    if id != ledger.breakdowns.rows().len() as u64 || !ledger.has(row.runtime) {
                        return gap;
                    }
                    let names = &mut ledger.names;
                    row.names.iter_mut().for_each(|name| *name = super::intern(names, name));
                    ledger.breakdowns.push(row);
                }
                Kind::Session => ledger.sessions.restore(id, parse(kind, id, &body)?),
                Kind::Guest => {
                    let guest: Guest = parse(kind, id, &body)?;
                    if !ledger.has(guest.runtime) {
                        return gap;
                    }
                    ledger.guests.restore(id, guest, now);
                }
                Kind::Bookmark => ledger.bookmarks.restore(id, parse(kind, id, &body)?),
                Kind::Seen => ledger.seen.restore(id, parse(kind, id, &body)?),
            }
        }
        if !ledger.rows().starts_with(&rows) {
            return Err(RestoreError::Gap { kind: Kind::Meta, id: 0 });
        }
        ledger.restore_debt(now);
        Ok(ledger)
    }

    fn restore_chat(&mut self, no: u64, mut chat: Chat, now: Instant) {
        chat.app_id = super::intern(&mut self.names, &chat.app_id);
        chat.workflow_name = super::intern(&mut self.names, &chat.workflow_name);
        chat.user_id = super::intern(&mut self.names, &chat.user_id);
        chat.moved = now.mono_at(chat.last_update);
        chat.closed = chat.closed_at.map_or(now.mono, |at| now.mono_at(at));
        chat.told = now.mono;
        let runtime = &mut self.runtimes[chat.runtime.0 as usize];
        runtime.chats.insert(std::sync::Arc::clone(&chat.id), no);
        runtime.present += usize::from(chat.is_present());
        if !chat.evicted {
            runtime.sums.chats += 1;
            runtime.sums.totals.add(chat.book.published());
        }
        self.shown += usize::from(!chat.folded && !chat.evicted);
        self.drifts.add(&chat.book);
        self.chats.insert(no, chat);
        self.index_phase(no, false);
    }

    fn has(&self, runtime: crate::model::RuntimeId) -> bool {
        (runtime.0 as usize) < self.runtimes.len()
    }
}

fn json<T: Serialize>(value: &T) -> String {
    // As long as the row of most chats: one piece of memory instead of four that grow.
    let mut body = Vec::with_capacity(768);
    let written = serde_json::to_writer(&mut body, value);
    written.expect("structs of numbers and strings are always JSON");
    String::from_utf8(body).expect("JSON is UTF-8")
}

fn parse<T: DeserializeOwned>(kind: Kind, id: u64, body: &str) -> Result<T, RestoreError> {
    serde_json::from_str(body).map_err(|source| RestoreError::Row { kind, id, source })
}
