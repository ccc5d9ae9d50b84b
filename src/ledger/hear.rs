//! An answer comes in, chat by chat.
//!
//! A runtime forgets no chat while it lives, so nearly all of what it answers it has answered before.
//! Whoever finds the same bytes in the same place need not read them: [`Hear::still`] does for a
//! chat what [`Hear::say`] would do if the same was said of it again, and refuses wherever that
//! would do more than to note that the chat is there. A property holds the two against each other.

use std::collections::HashSet;

use super::runtimes::Newcomers;
use super::word::OptMicros;
use super::{Chat, Ledger, LifeKey, Phase, Runtime};
use crate::model::{
    Answer, ChatSnapshot, Counters, Hear, Heard, Instant, Mark, Mention, Source, Timestamp,
};

/// An answer that is coming in. Holds the ledger for itself: half an answer is none.
#[derive(Debug)]
pub struct Hearing<'l, 'a> {
    ledger: &'l mut Ledger,
    answer: &'l Answer<'a>,
    newcomers: Newcomers,
    now: Instant,
    duplicates: u64,
    sum: Counters,
}

impl Ledger {
    /// Applies everything that one witness said at one time. `unread` is the number of chats in
    /// the answer that could not be understood.
    pub fn hear(&mut self, answer: &Answer<'_>, unread: usize, now: Instant) {
        let mentions = answer.chats.iter().map(Mention::New);
        let Some(mut hearing) = self.hearing(answer, unread, mentions, now) else { return };
        for snapshot in &answer.chats {
            hearing.say(snapshot);
        }
        hearing.end();
    }

    /// Begins to apply what one witness said at one time. Its chats are those in `mentions`, which
    /// are then to be told one by one; those in the answer itself are not looked at. `None` if it is
    /// about nobody that is watched.
    pub fn hearing<'l, 'a, 'm>(
        &'l mut self,
        answer: &'l Answer<'a>,
        unread: usize,
        mentions: impl Iterator<Item = Mention<'m>>,
        now: Instant,
    ) -> Option<Hearing<'l, 'a>> {
        self.tick(now);
        let holds_last = answer.process.is_none() && self.holds_last(answer, mentions);
        let runtime = self.runtimes.get_mut(answer.runtime.0 as usize)?;
        if answer.source == Source::Scrape {
            runtime.up = Some(true);
        }
        runtime.answer += 1;
        runtime.named = 0;
        let newcomers = runtime.hear(answer, unread, holds_last, now);
        if std::mem::take(&mut runtime.changed) {
            self.dirty.runtimes.insert(answer.runtime.0);
        }
        let (duplicates, sum) = (self.tally.duplicates, Counters::default());
        Some(Hearing { ledger: self, answer, newcomers, now, duplicates, sum })
    }

    /// Whether it holds each life of the last complete answer.
    fn holds_last<'m>(
        &self,
        answer: &Answer<'_>,
        mentions: impl Iterator<Item = Mention<'m>>,
    ) -> bool {
        let Some(runtime) = self.runtimes.get(answer.runtime.0 as usize) else {
            return false;
        };
        let mut held = HashSet::new();
        for mention in mentions {
            let (no, life) = match mention {
                Mention::Same(mark) => (mark.no, mark.started_at),
                Mention::New(snapshot) => match runtime.chats.get(&snapshot.chat_id, &self.chats) {
                    Some(no) => (no, life_key(answer, snapshot).started_at),
                    None => continue,
                },
            };
            let same = |chat: &Chat| chat.is_present() && chat.listed_life == life;
            if self.chats.get(no).is_some_and(same) {
                held.insert(no);
            }
        }
        answer.complete && held.len() == runtime.present
    }
}

impl Hear for Hearing<'_, '_> {
    fn say(&mut self, snapshot: &ChatSnapshot<'_>) -> Option<Mark> {
        let totals = snapshot.totals.or(&Counters::default());
        self.sum.add(&totals);
        let no = self.ledger.apply(self.answer, snapshot, self.newcomers, self.now);
        // Without a start of its own the life would be another one in another process.
        let started_at = snapshot.started_at.filter(|_| self.answer.complete)?;
        let chat = self.ledger.chats.get(no)?;
        let key = life_key(self.answer, snapshot);
        let life = chat.book.life(&key)?;
        // What stands below its mark counts as a regression each time that it is said.
        let settled = life.marks == totals && chat.runtime == self.answer.runtime;
        let last_turn_seconds = snapshot.last_turn_seconds;
        settled.then_some(Mark { no, started_at, last_turn_seconds })
    }

    /// What is said again raises no mark of its life and no account. So it changes the chat only if it
    /// is not in the phase that the same once put it in, or if another source has told of a later turn
    /// meanwhile.
    fn still(&mut self, mark: &Mark) -> bool {
        let (id, now) = (self.answer.runtime, self.now);
        let Some(runtime) = self.ledger.runtimes.get_mut(id.0 as usize) else { return false };
        let Some(chat) = self.ledger.chats.get_mut(mark.no) else { return false };
        let key = LifeKey { source: self.answer.source, runtime: id, started_at: mark.started_at };
        let Some(life) = chat.book.life(&key) else { return false };
        let is_latest = || chat.book.latest().is_some_and(|latest| latest.key == key);
        let same_turn = mark.last_turn_seconds.is_none()
            || mark.last_turn_seconds.map(f64::to_bits) == chat.last_turn_seconds.map(f64::to_bits);
        let settled = match chat.phase {
            Phase::Live => !chat.evicted,
            Phase::Ended => life.ended_at.is_some() || !is_latest(),
            Phase::Lost => false,
        };
        let is_vain = self.answer.complete
            && chat.listed
            && chat.answer != runtime.answer
            && (life.ended_at.is_none() || life.end_counted)
            && settled
            && (same_turn || !is_latest());
        if !is_vain {
            return false;
        }
        self.sum.add(&life.marks);
        named(chat, runtime, Some(mark.started_at), now);
        true
    }

    fn end(self) -> Heard {
        let Self { ledger, answer, now, duplicates, sum, .. } = self;
        for chat_id in &answer.unreadable {
            ledger.note_present(answer.runtime, chat_id);
        }
        if answer.complete {
            ledger.note_absent(answer.runtime, now);
        }
        for bookmark in &answer.bookmarks {
            ledger.keep_place(bookmark);
        }
        ledger.try_meet(now);
        ledger.settle_version();
        Heard { sum, distinct: ledger.tally.duplicates == duplicates }
    }
}

/// Notes that a chat stands in the answer that is being applied; with which life, if that is a complete
/// one. Returns whether it stood there before.
pub(super) fn named(
    chat: &mut Chat,
    runtime: &mut Runtime,
    listed_life: Option<Timestamp>,
    now: Instant,
) -> bool {
    let again = chat.answer == runtime.answer;
    let was_present = chat.is_present();
    chat.answer = runtime.answer;
    if let Some(life) = listed_life {
        chat.listed = true;
        chat.listed_life = life;
    }
    chat.absent_since = OptMicros::NONE;
    chat.told = now.mono;
    runtime.present += usize::from(chat.is_present() && !was_present);
    runtime.named += usize::from(!again);
    again
}

pub(super) fn life_key(answer: &Answer<'_>, snapshot: &ChatSnapshot<'_>) -> LifeKey {
    LifeKey {
        source: answer.source,
        runtime: answer.runtime,
        started_at: snapshot.started_at.or(answer.process).unwrap_or_default(),
    }
}
