//! The ledger as it was kept, row by row.

use serde::de::DeserializeOwned;

use super::births::Births;
use super::meta::Meta;
use super::names::Name;
use super::old::OldChat;
use super::record::{Entry, Kind, RestoreError};
use super::row::Row;
use super::waiting::Guest;
use super::{Breakdown, Chat, Ledger, Runtime, Settings, User, Workflow};
use crate::model::{Instant, RuntimeId};

/// Takes rows in the order of their kinds and numbers, and makes a ledger of them. None is kept as
/// text: at 100,000 chats that would be 40 MB, and as many allocations.
#[derive(Debug)]
pub struct Restorer {
    ledger: Ledger,
    /// How many rows there were of each kind but the first.
    rows: Vec<usize>,
    /// Names of the rows of workflows and users, so that nobody has to look them up for each chat.
    apps: Vec<Name>,
    workflows: Vec<Name>,
    users: Vec<Name>,
    /// Chats that have ended. They are put in order once, which fills the nodes of the tree.
    ended: Vec<(i64, u64)>,
    now: Instant,
}

impl Restorer {
    /// Without any row yet.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            ledger: Ledger::new(settings),
            rows: vec![0; 9],
            apps: Vec::new(),
            workflows: Vec::new(),
            users: Vec::new(),
            ended: Vec::new(),
            now,
        }
    }

    /// Takes a row. After an error, there is no ledger to be had.
    pub fn take(&mut self, kind: Kind, id: u64, body: &str) -> Result<(), RestoreError> {
        let ledger = &mut self.ledger;
        let gap = Err(RestoreError::Gap { kind, id });
        match kind {
            Kind::Meta => {
                let meta: Meta = parse(kind, id, body)?;
                ledger.next_chat = meta.next_chat;
                self.rows = meta.rows;
                ledger.seen.resume(meta.uptime, self.now.mono);
                ledger.births = Births::restore(meta.births, self.now);
                ledger.tally = meta.tally;
                ledger.own_name = meta.own_name;
            }
            Kind::Runtime => {
                let runtime: Runtime = parse(kind, id, body)?;
                if id != ledger.runtimes.len() as u64 {
                    return gap;
                }
                ledger.runtimes.push(runtime);
            }
            Kind::Workflow => {
                let mut row: Workflow = parse(kind, id, body)?;
                if id != ledger.workflows.rows().len() as u64 || !ledger.has(row.runtime) {
                    return gap;
                }
                let names = [&row.app_id, &row.workflow_name].map(|name| ledger.names.name(name));
                [row.app_id, row.workflow_name] = names.each_ref().map(|name| name.text().clone());
                let [app, workflow] = names;
                self.apps.push(app);
                self.workflows.push(workflow);
                ledger.workflows.push(row);
            }
            Kind::User => {
                let mut row: User = parse(kind, id, body)?;
                if id != ledger.users.rows().len() as u64 || !ledger.has(row.runtime) {
                    return gap;
                }
                row.app_id = ledger.names.intern(&row.app_id);
                let user = ledger.names.name(&row.user_id);
                row.user_id = user.text().clone();
                self.users.push(user);
                ledger.users.push(row);
            }
            Kind::Chat => {
                let (row, is_old) = match Row::parse(body) {
                    Ok(row) => (row, false),
                    Err(source) => match OldChat::parse(body) {
                        Ok(old) => (old.row(), true),
                        Err(_) => return Err(RestoreError::Row { kind, id, source }),
                    },
                };
                let (workflow, user) = (row.w as usize, row.u as usize);
                let refers = workflow < ledger.workflows.rows().len()
                    && user < ledger.users.rows().len()
                    && ledger.has(RuntimeId(row.r))
                    && id < ledger.next_chat;
                if !refers {
                    return gap;
                }
                let names = &mut ledger.names;
                let app = row.a.as_deref().map(|name| names.name(name));
                let app = app.unwrap_or_else(|| self.apps[workflow].clone());
                let workflow_name = row.f.as_deref().map(|name| names.name(name));
                let workflow_name =
                    workflow_name.unwrap_or_else(|| self.workflows[workflow].clone());
                let user_id = row.n.as_deref().map(|name| names.name(name));
                let user_id = user_id.unwrap_or_else(|| self.users[user].clone());
                let mut chat = row.chat(app, workflow_name, user_id, self.now);
                if !chat.is_live() && !chat.evicted {
                    chat.ended_key = chat.closed.into();
                    self.ended.push((chat.closed.0, id));
                }
                ledger.restore_chat(id, chat);
                if is_old {
                    // So that all rows look alike to whoever looks at them.
                    ledger.dirty.chats.note(id);
                }
            }
            Kind::Breakdown => {
                let mut row: Breakdown = parse(kind, id, body)?;
                if id != ledger.breakdowns.rows().len() as u64 || !ledger.has(row.runtime) {
                    return gap;
                }
                let names = &mut ledger.names;
                row.names.iter_mut().for_each(|name| *name = names.intern(name));
                ledger.breakdowns.push(row);
            }
            Kind::Session => ledger.sessions.restore(id, parse(kind, id, body)?),
            Kind::Guest => {
                let guest: Guest = parse(kind, id, body)?;
                if !ledger.has(guest.runtime) {
                    return gap;
                }
                ledger.guests.restore(id, guest, self.now);
            }
            Kind::Bookmark => ledger.bookmarks.restore(id, parse(kind, id, body)?),
            Kind::Seen => ledger.seen.restore(id, parse(kind, id, body)?),
        }
        Ok(())
    }

    /// The ledger, if no row is missing.
    pub fn finish(self) -> Result<Ledger, RestoreError> {
        let Self { mut ledger, rows, ended, now, .. } = self;
        if !ledger.rows().starts_with(&rows) {
            return Err(RestoreError::Gap { kind: Kind::Meta, id: 0 });
        }
        ledger.ended = ended.into_iter().collect();
        ledger.index_chats();
        ledger.restore_debt(now);
        ledger.settle_version();
        Ok(ledger)
    }
}

impl Ledger {
    /// Goes on where rows ended. They may come in any order.
    pub fn restore(
        settings: Settings,
        mut entries: Vec<Entry>,
        now: Instant,
    ) -> Result<Self, RestoreError> {
        entries.sort_by_key(|entry| (entry.kind, entry.id));
        let mut restorer = Restorer::new(settings, now);
        for Entry { kind, id, body } in entries {
            if let Some(body) = body {
                restorer.take(kind, id, &body)?;
            }
        }
        restorer.finish()
    }

    fn restore_chat(&mut self, no: u64, chat: Chat) {
        let runtime = &mut self.runtimes[chat.runtime.0 as usize];
        let live = chat.is_live();
        runtime.present += usize::from(chat.is_present());
        runtime.sums.live += usize::from(live);
        if !chat.evicted {
            runtime.sums.chats += 1;
            runtime.sums.totals.add(chat.book.published());
        }
        if let Some(workflow) = self.workflows.row_mut(chat.workflow_row as usize) {
            workflow.active += u64::from(live);
        }
        self.shown += usize::from(!chat.folded && !chat.evicted);
        self.drifts.add(&chat.book);
        self.chats.insert(no, chat);
        if live {
            self.chats.set_live(no, true);
        }
    }

    /// Makes it possible to find chats by their ids, each runtime's in a table of the right size.
    fn index_chats(&mut self) {
        let mut numbers = vec![0; self.runtimes.len()];
        self.chats.iter().for_each(|(_, chat)| numbers[chat.runtime.0 as usize] += 1);
        for (runtime, number) in self.runtimes.iter_mut().zip(numbers) {
            runtime.chats.reserve(number, &self.chats);
        }
        for (no, chat) in self.chats.iter() {
            self.runtimes[chat.runtime.0 as usize].chats.insert(no, chat.chat_id(), &self.chats);
        }
    }
}

fn parse<T: DeserializeOwned>(kind: Kind, id: u64, body: &str) -> Result<T, RestoreError> {
    serde_json::from_str(body).map_err(|source| RestoreError::Row { kind, id, source })
}
