//! What is pushed comes in: each thing once, and whose it is.
//!
//! Whoever pushes an event may name the chat's app, workflow and user, and a start has to. That
//! introduces a chat that is new. Events that name a chat which nobody has introduced wait for it like
//! those of a log: a start may overtake nothing, but it may be overtaken.

use super::waiting::Told;
use super::{Identity, Ledger, Standing};
use crate::model::{About, Answer, Delivery, Event, EventId, Instant, RuntimeId, Source, UNKNOWN};

/// What became of something that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// It counts from now on.
    New,
    /// It was handed in before, and counted then.
    Duplicate,
}

impl Ledger {
    /// A source that is told and not asked is open from now on: it has no past to tell of.
    pub fn open(&mut self, id: RuntimeId, source: Source, now: Instant) {
        // What it adds comes on top of what others have told of a chat before.
        if source == Source::Receive {
            self.join(id, source);
        }
        self.caught_up(id, source, now);
    }

    /// Books events that were pushed, in their order. What it says of each stands at its place.
    pub fn receive(
        &mut self,
        runtime: RuntimeId,
        events: impl IntoIterator<Item = Delivery<Event>>,
        now: Instant,
    ) -> Vec<Received> {
        self.tick_in_passing(now);
        if self.runtime(runtime).is_none() {
            return Vec::new();
        }
        let events = events.into_iter();
        let mut outcomes = Vec::with_capacity(events.size_hint().0);
        for Delivery { id, content } in events {
            let outcome = self.note(id, now);
            if outcome == Received::New {
                self.admit(runtime, content, now);
            }
            outcomes.push(outcome);
        }
        self.thin_out(now);
        self.settle_version();
        outcomes
    }

    /// Applies what a source said of its own accord.
    pub fn receive_answer(
        &mut self,
        id: Option<EventId>,
        answer: &Answer<'_>,
        now: Instant,
    ) -> Received {
        let outcome = self.note(id, now);
        if outcome == Received::New {
            self.hear(answer, 0, now);
            self.thin_out(now);
        }
        self.settle_version();
        outcome
    }

    /// Whether an id is new; it is known from now on.
    fn note(&mut self, id: Option<EventId>, now: Instant) -> Received {
        let Some(id) = id else { return Received::New };
        if self.seen.knows(id) {
            return Received::Duplicate;
        }
        let chunk = self.seen.add(id, now.mono);
        self.dirty.seen.insert(chunk);
        while let Some((chunk, too_many)) = self.seen.surplus(self.settings.dedup_window, now.mono)
        {
            let forgotten = self.seen.forget(chunk);
            self.tally.ids_forgotten += if too_many { forgotten as u64 } else { 0 };
            self.dirty.seen.insert(chunk);
        }
        Received::New
    }

    /// Books an event, introduces its chat where it can, or lets it wait.
    fn admit(&mut self, runtime: RuntimeId, event: Event, now: Instant) {
        let told = Told { source: Source::Receive, event };
        let Event { about, app_id, workflow_name, user_id, .. } = &told.event;
        let (About::Chat(chat_id), Some(app_id), Some(workflow_name)) =
            (about, app_id, workflow_name)
        else {
            self.take(runtime, told, true, now);
            return;
        };
        let user_id = user_id.as_deref().unwrap_or(UNKNOWN);
        let identity = Identity { chat_id, app_id, workflow_name, user_id };
        let (no, is_new) = self.chat_no(runtime, &identity, Standing::Whole, now);
        let waiting = if is_new { self.guests.number(runtime, about) } else { None };
        self.book(no, &told, now);
        for told in waiting.and_then(|no| self.dismiss(no)).into_iter().flat_map(|g| g.events) {
            self.book(no, &told, now);
        }
    }
}
