//! What a source may want to know of the ledger before it tells: whom it knows, and whom to ask for.

use std::sync::Arc;
use std::time::Duration;

use super::{Chat, Ledger};
use crate::model::{
    About, Acquaintance, Count, Counters, Instant, Mono, RuntimeId, Source, Witness,
};

impl Ledger {
    /// Distinct users of the live chats of runtimes that are wanted, by the row of their workflow.
    pub fn users_by_workflow(&self, is_wanted: impl Fn(RuntimeId) -> bool) -> Vec<usize> {
        // A name is kept once, so a user is known by where it is kept.
        let place = |chat: &Chat| (chat.workflow_row, chat.user.as_ptr().addr());
        let wanted = self.live_chats().filter(|chat| is_wanted(chat.runtime));
        let mut places: Vec<(u32, usize)> = wanted.map(place).collect();
        places.sort_unstable();
        places.dedup();
        let mut users = vec![0; self.workflows().len()];
        for (row, _) in places {
            if let Some(users) = users.get_mut(row as usize) {
                *users += 1;
            }
        }
        users
    }

    /// What is known of a chat, when `source` is about to tell of it.
    pub fn acquaintance(&self, runtime: RuntimeId, chat_id: &str, source: Source) -> Acquaintance {
        let here =
            self.runtime(runtime).and_then(|runtime| runtime.chats.get(chat_id, &self.chats));
        let chat = here.and_then(|no| self.chats.get(no));
        let own = source.witnesses();
        let counts_turns = |(witness, account): (Witness, &Counters)| {
            !own.contains(&witness) && account.get(Count::Turns) > 0
        };
        let waits = || self.guests.number(runtime, &About::Chat(chat_id.to_owned())).is_some();
        let mut others = (0_u16..).zip(&self.runtimes).filter(|(id, _)| *id != runtime.0);
        Acquaintance {
            known: chat.is_some() || waits(),
            elsewhere: chat.is_none()
                && others.any(|(_, other)| {
                    other.configured && other.chats.get(chat_id, &self.chats).is_some()
                }),
            turns_counted: chat.is_some_and(|chat| chat.book.accounts().any(counts_turns)),
        }
    }

    /// Ids of the chats of a runtime that may change soon: those that live, longest unheard of
    /// first, and then those that were closed within that time.
    pub fn restless(
        &self,
        runtime: RuntimeId,
        within: Duration,
        most: usize,
        now: Instant,
    ) -> Vec<Arc<str>> {
        let chats = self.live_chats().filter(|chat| chat.runtime == runtime);
        let mut live: Vec<_> = chats.map(|chat| (chat.told, &chat.id)).collect();
        live.sort_unstable();
        let lately = |(closed, _): &&(i64, u64)| now.mono.since(Mono(*closed)) <= within;
        let closed = self.ended.iter().rev().take_while(lately);
        let closed = closed.filter_map(|(_, no)| self.chats.get(*no));
        let closed = closed.filter(|chat| chat.runtime == runtime).map(|chat| &chat.id);
        live.into_iter()
            .map(|(_, id)| id)
            .chain(closed)
            .take(most)
            .map(|id| Arc::from(&**id))
            .collect()
    }
}
