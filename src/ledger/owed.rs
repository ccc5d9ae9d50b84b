//! What a shared store is owed: chats that were pushed to us and whose state it does not have yet.
//!
//! The debt is a mark on the chat and a place in a queue, never a copy: a store that is away for
//! hours costs nothing but the delay, and what it is told in the end is the state of that time.
//! The mark is kept with the chat, so the debt outlives the process. What is told twice is told in
//! absolute numbers, so a debt that is paid twice does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Chat, Ledger, Phase, Workflow};
use crate::model::{Counters, Instant, Timestamp};

/// Whether the shared store has the state of a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stored {
    /// Nobody knows: no store is configured, or none was when the chat last changed.
    #[default]
    Unknown,
    /// It does not have what has changed since then.
    Owed(Timestamp),
    /// It has.
    Kept,
}

/// What the shared store has of a chat. Only chats that are pushed while there is one have a slip.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slip {
    pub(super) stored: Stored,
    /// Its place among those that are owed; 0 where it is not.
    ticket: u64,
    /// Tells the states of an owed chat apart.
    revision: u64,
}

impl Slip {
    /// What the state store says of a chat; none where that is nothing.
    pub(super) fn of(stored: Stored) -> Option<Box<Self>> {
        let slip = Self { stored, ..Self::default() };
        (stored != Stored::Unknown).then(|| Box::new(slip))
    }
}

impl Chat {
    /// Whether the shared store is owed it.
    pub(super) fn is_owed(&self) -> bool {
        self.slip.as_ref().is_some_and(|slip| slip.ticket != 0)
    }

    /// Whether the shared store has its state.
    pub(super) fn stored(&self) -> Stored {
        self.slip.as_ref().map(|slip| slip.stored).unwrap_or_default()
    }
}

/// The chats that are owed, in the order in which they came to be.
#[derive(Debug, Default)]
pub(super) struct Owed {
    queue: BTreeMap<u64, u64>,
    last_ticket: u64,
    revision: u64,
    endings: u64,
    /// The time of what goes on in the ledger.
    time: Timestamp,
}

/// The state of an owed chat at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Owing {
    /// Its number, for [`Ledger::settle_debt`].
    pub no: u64,
    /// Its place in the queue.
    pub ticket: u64,
    /// Tells this state from later ones.
    pub revision: u64,
    /// Who it is.
    pub chat_id: Arc<str>,
    /// Whose it is.
    pub app_id: Arc<str>,
    /// What runs in it.
    pub workflow_name: Arc<str>,
    /// Who runs it.
    pub user_id: Arc<str>,
    /// Whether it lives.
    pub phase: Phase,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended, where it does not live.
    pub ended_at: Option<Timestamp>,
    /// When it last did something.
    pub last_update: Timestamp,
    /// From its start to its end, or to now.
    pub runtime_seconds: f64,
    /// How long its last turn took.
    pub last_turn_seconds: Option<f64>,
    /// What it came to, as it is published.
    pub totals: Counters,
}

/// How much is owed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Debt {
    /// Chats.
    pub chats: usize,
    /// Since when the first of them is.
    pub since: Option<Timestamp>,
}

/// An app and one of its workflows.
pub type Pair = (Arc<str>, Arc<str>);

impl Ledger {
    /// Up to `limit` owed chats that came to be owed after the one with the ticket `after` and not
    /// after that with the ticket `until`, oldest first.
    pub fn owed(&self, after: u64, until: u64, limit: usize, now: Timestamp) -> Vec<Owing> {
        let from = after.saturating_add(1);
        if from > until {
            return Vec::new();
        }
        let queue = self.owed.queue.range(from..=until).take(limit);
        queue
            .filter_map(|(ticket, no)| Some(owing(*no, *ticket, self.chats.get(*no)?, now)))
            .collect()
    }

    /// The ticket of the chat that came to be owed last.
    pub fn last_ticket(&self) -> u64 {
        self.owed.last_ticket
    }

    /// How much is owed.
    pub fn debt(&self) -> Debt {
        let first = self.owed.queue.first_key_value().and_then(|(_, no)| self.chats.get(*no));
        let since = first.and_then(|chat| match chat.stored() {
            Stored::Owed(since) => Some(since),
            Stored::Unknown | Stored::Kept => None,
        });
        Debt { chats: self.owed.queue.len(), since }
    }

    /// Rises whenever a chat that does not live comes to be owed: somebody may look for it soon.
    pub fn endings(&self) -> u64 {
        self.owed.endings
    }

    /// The store has the state `revision` of a chat, which was read at that time. What has changed
    /// since then stays owed, behind all others.
    pub fn settle_debt(&mut self, no: u64, revision: u64, read_at: Timestamp) {
        let Some(slip) = self.chats.get_mut(no).and_then(|chat| chat.slip.as_mut()) else { return };
        if self.owed.queue.remove(&slip.ticket).is_none() {
            return;
        }
        slip.ticket = 0;
        slip.stored = Stored::Kept;
        if slip.revision != revision {
            slip.stored = Stored::Owed(read_at);
            slip.ticket = self.owed.enqueue(no);
        }
        self.dirty.chats.note(no);
        self.settle_version();
    }

    /// What the chats of these pairs came to, all runtimes together. Pairs that share a row with
    /// others because there are too many are left out.
    pub fn pair_totals(&self, pairs: &BTreeSet<Pair>) -> BTreeMap<Pair, Workflow> {
        let mut totals: BTreeMap<Pair, Workflow> = BTreeMap::new();
        for row in self.workflows.rows() {
            let pair = (Arc::clone(&row.app_id), Arc::clone(&row.workflow_name));
            if !pairs.contains(&pair) {
                continue;
            }
            match totals.get_mut(&pair) {
                Some(sum) => sum.merge(row),
                None => drop(totals.insert(pair, row.clone())),
            }
        }
        totals
    }

    /// The name that this ledger goes by where several write their sums to one place. It lives as
    /// long as the sums.
    pub fn own_name(&mut self, fresh: impl FnOnce() -> String) -> String {
        if self.own_name.is_empty() {
            self.own_name = fresh();
            self.dirty.meta = true;
            self.settle_version();
        }
        self.own_name.clone()
    }

    /// Notes the debt for chats that have changed.
    pub(super) fn owe(&mut self, touched: Vec<u64>) {
        if !self.settings.shared_store {
            return;
        }
        for no in touched {
            let Some(chat) = self.chats.get_mut(no).filter(|chat| chat.pushed) else {
                continue;
            };
            self.owed.revision += 1;
            self.owed.endings += u64::from(!chat.is_live());
            let slip = chat.slip.get_or_insert_default();
            slip.revision = self.owed.revision;
            if slip.ticket == 0 {
                slip.stored = Stored::Owed(self.owed.time);
                slip.ticket = self.owed.enqueue(no);
            }
        }
    }

    /// A chat is forgotten. Whether the store was owed it.
    pub(super) fn forgive(&mut self, chat: &Chat) -> bool {
        chat.slip.as_ref().is_some_and(|slip| self.owed.queue.remove(&slip.ticket).is_some())
    }

    /// Finds out what is owed after a restart. What was pushed while no store was configured is.
    pub(super) fn restore_debt(&mut self, now: Instant) {
        let on = self.settings.shared_store;
        let mut owed = Vec::new();
        for (no, chat) in self.chats.iter_mut() {
            let stored = match chat.stored() {
                // Once it changes, nobody knows any more; its row is written then.
                _ if !on => Stored::Unknown,
                Stored::Unknown if chat.pushed => Stored::Owed(chat.last_update.min(now.wall)),
                known => known,
            };
            chat.slip = Slip::of(stored);
            if let Stored::Owed(since) = stored {
                owed.push((since, no));
            }
        }
        owed.sort_unstable();
        for (_, no) in owed {
            let ticket = self.owed.enqueue(no);
            self.owed.revision += 1;
            if let Some(slip) = self.chats.get_mut(no).and_then(|chat| chat.slip.as_mut()) {
                (slip.ticket, slip.revision) = (ticket, self.owed.revision);
            }
        }
    }
}

impl Owed {
    /// What comes to be owed from now on is owed since then, whenever it happened.
    pub(super) fn set_time(&mut self, now: Timestamp) {
        self.time = now;
    }

    /// Puts a chat at the end. Tickets begin at 1.
    fn enqueue(&mut self, no: u64) -> u64 {
        self.last_ticket += 1;
        self.queue.insert(self.last_ticket, no);
        self.last_ticket
    }
}

fn owing(no: u64, ticket: u64, chat: &Chat, now: Timestamp) -> Owing {
    Owing {
        no,
        ticket,
        revision: chat.slip.as_ref().map_or(0, |slip| slip.revision),
        chat_id: chat.chat_id().into(),
        app_id: Arc::clone(chat.app.text()),
        workflow_name: Arc::clone(chat.workflow_name.text()),
        user_id: Arc::clone(chat.user.text()),
        phase: chat.phase,
        started_at: chat.started_at(),
        ended_at: chat.ended_at(),
        last_update: chat.last_update,
        runtime_seconds: chat.runtime_seconds(now),
        last_turn_seconds: chat.last_turn_seconds,
        totals: *chat.book.published(),
    }
}
