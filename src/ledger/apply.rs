//! What a snapshot does to the ledger: from there to booked growth.

use super::book::Standing;
use super::chat::{Chat, Phase, Told, Turned};
use super::hear::{life_key, named};
use super::histogram::{SESSION_BOUNDS, TURN_BOUNDS};
use super::runtimes::Newcomers;
use super::totals::Spending;
use super::word::OptMicros;
use super::{Book, Identity, Ledger};
use crate::model::{Answer, ChatSnapshot, Count, Counters, Instant, RuntimeId, Source, Timestamp};

impl Ledger {
    /// Applies a snapshot. Returns the number of its chat.
    pub(super) fn apply(
        &mut self,
        answer: &Answer<'_>,
        snapshot: &ChatSnapshot<'_>,
        newcomers: Newcomers,
        now: Instant,
    ) -> u64 {
        let forgotten = self.runtime(answer.runtime).and_then(|runtime| runtime.forgotten);
        let standing = match snapshot.started_at {
            Some(_) if snapshot.started_at <= forgotten => Standing::Prior,
            Some(_) => newcomers.standing(snapshot.started_at),
            None => newcomers.standing(answer.process),
        };
        let identity = Identity {
            chat_id: &snapshot.chat_id,
            app_id: &snapshot.app_id,
            workflow_name: &snapshot.workflow_name,
            user_id: &snapshot.user_id,
        };
        let (no, is_new) = self.chat_no(answer.runtime, &identity, standing, now);
        if is_new {
            self.welcome(no, now);
        }
        let (Some(chat), Some(runtime)) =
            (self.chats.get_mut(no), self.runtimes.get_mut(answer.runtime.0 as usize))
        else {
            return no;
        };
        if answer.complete && !chat.listed {
            self.dirty.chats.insert(no);
        }
        let key = life_key(answer, snapshot);
        if named(chat, runtime, answer.complete.then_some(key.started_at), now) {
            self.tally.duplicates += 1;
            self.dirty.meta = true;
        }

        let first_life = chat.book.is_unborn();
        let told_before = chat.told_before(&key);
        let booked = self.drifts.record(&mut chat.book, key, &snapshot.totals, standing);
        let aligned = booked.new_life && standing == Standing::Prior;
        let mut tally = |is_so: bool, count: &mut u64| {
            *count += u64::from(is_so);
            self.dirty.meta |= is_so;
        };
        tally(booked.too_old, &mut self.tally.ancient_lives);
        tally(aligned, &mut self.tally.aligned);
        if booked.regressed {
            tally(true, self.tally.regressions.entry(answer.source).or_default());
        }
        if booked.too_old {
            return no;
        }
        let told_before = told_before && booked.new_life;
        let begun = booked.new_life && !told_before;
        let mut told = Told { begun, moved: false, previous_end: None };
        let mut life_changed = booked.new_life || booked.learnt;
        if let Some(life) = chat.book.life(&key) {
            told.previous_end = life.ended_at;
            // An end that lay before our time is not news.
            let counted = life.end_counted || told_before || aligned && snapshot.ended_at.is_some();
            life_changed |= life.ended_at != snapshot.ended_at;
            chat.book.note_end(&key, snapshot.ended_at, counted);
        }
        let moved = !booked.life.is_zero();
        told.moved = moved && !booked.new_life;
        let is_latest = chat.book.latest().is_some_and(|life| life.key == key);
        let was_live = chat.is_live() && !first_life;
        let (phase, closed) = (chat.phase, chat.closed);
        let turned = if is_latest {
            chat.failing |= snapshot.failed && snapshot.ended_at.is_some();
            chat.settle(told, now)
        } else {
            chat.settle_aside(answer.source, told.moved);
            Turned::default()
        };
        if is_latest && snapshot.last_turn_seconds.is_some() {
            life_changed |= chat.last_turn_seconds != snapshot.last_turn_seconds;
            chat.last_turn_seconds = snapshot.last_turn_seconds;
        }
        if moved || booked.new_life {
            chat.note_update(snapshot, moved, first_life, now);
        }
        let revived = chat.evicted && (moved || chat.is_live() || chat.closed != closed);
        if moved || life_changed || phase != chat.phase || revived {
            self.dirty.chats.insert(no);
        }
        let turned = Turned { started: turned.started && !aligned, ..turned };
        let workflow = chat.workflow_row;
        if revived {
            self.revive(no, &booked.published);
        }
        self.index_phase(no, was_live);
        let priced = snapshot.totals.cost.is_some();
        self.credit(no, &booked.published, priced, turned, now);
        let turns = booked.published.get(Count::Turns);
        let seconds = snapshot.last_turn_seconds.filter(|_| answer.source == Source::Scrape);
        self.time_turns(workflow, turns, seconds);
        no
    }

    /// Takes the duration of turns that nobody told of before. Of several between two looks, only
    /// the last one's is told.
    fn time_turns(&mut self, workflow: u32, turns: u64, last_turn_seconds: Option<f64>) {
        let Some(row) = self.workflows.row_mut(workflow as usize).filter(|_| turns > 0) else {
            return;
        };
        if let Some(seconds) = last_turn_seconds {
            row.turns.observe(TURN_BOUNDS, seconds);
        }
        let observed = u64::from(last_turn_seconds.is_some());
        row.turns_unobserved = row.turns_unobserved.saturating_add(turns - observed);
        self.dirty.workflows.insert(workflow as usize);
    }

    /// The number of a chat, and whether it was given now because the chat is new.
    pub(super) fn chat_no(
        &mut self,
        runtime: RuntimeId,
        identity: &Identity<'_>,
        standing: Standing,
        now: Instant,
    ) -> (u64, bool) {
        let index = runtime.0 as usize;
        if let Some(no) = self.runtimes[index].chats.get(identity.chat_id, &self.chats) {
            return (no, false);
        }
        // A baseline is shown at once: there is no first increment to be seen.
        let silent = !self.runtimes[index].is_met();
        let births = &mut self.births;
        let mut birth = || if silent { 0 } else { births.born(now) };
        let app = self.names.name(identity.app_id);
        let workflow_name = self.names.name(identity.workflow_name);
        let user = self.names.name(identity.user_id);
        let workflow_row = self.workflows.find_or_add(
            runtime,
            app.text(),
            workflow_name.text(),
            self.settings.max_workflows,
            &mut birth,
        );
        let max_users = self.settings.max_users;
        let user_row =
            self.users.find_or_add(runtime, app.text(), user.text(), max_users, &mut birth);
        if *self.workflows.rows()[workflow_row].workflow_name != *workflow_name {
            self.tally.folded_workflows += 1;
        }
        let row = &self.users.rows()[user_row];
        if !row.shown || *row.user_id != *user {
            self.tally.folded_users += 1;
        }
        let birth = birth();
        let folded = !self.make_room();
        let no = self.next_chat;
        self.next_chat += 1;
        self.shown += usize::from(!folded);
        self.runtimes[index].sums.chats += 1;
        self.dirty.workflows.insert(workflow_row);
        self.dirty.users.insert(user_row);
        self.dirty.meta = true;
        let known_before = standing == Standing::Prior && !silent;
        self.chats.insert(
            no,
            Chat {
                runtime,
                id: identity.chat_id.into(),
                app,
                workflow_name,
                user,
                book: Book::default(),
                phase: Phase::Ended,
                last_update: Timestamp::default(),
                closed_at: OptMicros::NONE,
                last_turn_seconds: None,
                // What began before our time has no first increment either.
                birth: if known_before { 0 } else { birth },
                folded,
                evicted: false,
                failing: false,
                pushed: false,
                slip: None,
                listed: false,
                listed_life: Timestamp::default(),
                workflow_row: row_number(workflow_row),
                user_row: row_number(user_row),
                absent_since: OptMicros::NONE,
                told: now.mono,
                moved: now.mono,
                closed: now.mono,
                ended_key: OptMicros::NONE,
                answer: 0,
            },
        );
        self.runtimes[index].chats.insert(no, identity.chat_id, &self.chats);
        self.dirty.chats.insert(no);
        (no, true)
    }

    /// Gives an evicted chat that moves or lives again its series back, where there is room.
    /// `uncredited` is what it has gained and is yet to be credited with.
    pub(super) fn revive(&mut self, no: u64, uncredited: &Counters) {
        let has_room = self.chats.get(no).is_some_and(|chat| chat.folded) || self.make_room();
        let Some(chat) = self.chats.get_mut(no) else { return };
        let sums = &mut self.runtimes[chat.runtime.0 as usize].sums;
        sums.chats += 1;
        sums.totals.add(chat.book.published());
        sums.totals.remove(uncredited);
        chat.evicted = false;
        chat.folded |= !has_room;
        self.shown += usize::from(!chat.folded);
    }

    /// Keeps the indexes of live and ended chats in step with a chat's phase.
    pub(super) fn index_phase(&mut self, no: u64, was_live: bool) {
        let Some(chat) = self.chats.get_mut(no) else {
            return;
        };
        let live = chat.is_live();
        let has_ended = !live && !chat.evicted;
        let key = if has_ended { chat.closed.into() } else { OptMicros::NONE };
        if chat.ended_key != key {
            if let Some(old) = std::mem::replace(&mut chat.ended_key, key).mono() {
                self.ended.remove(&(old.0, no));
            }
            self.ended.extend(key.mono().map(|closed| (closed.0, no)));
        }
        if live == was_live {
            return;
        }
        let sums = &mut self.runtimes[chat.runtime.0 as usize].sums;
        sums.live = sums.live.saturating_add_signed(if live { 1 } else { -1 });
        if let Some(workflow) = self.workflows.row_mut(chat.workflow_row as usize) {
            workflow.active = workflow.active.saturating_add_signed(if live { 1 } else { -1 });
        }
        self.chats.set_live(no, live);
    }

    /// Adds what a chat has gained to the totals that outlive it. `priced` says whether who told of it
    /// tells of money at all.
    pub(super) fn credit(
        &mut self,
        no: u64,
        gained: &Counters,
        priced: bool,
        turned: Turned,
        now: Instant,
    ) {
        let Some(chat) = self.chats.get(no) else {
            return;
        };
        if gained.is_zero() && turned == Turned::default() {
            return;
        }
        let runtime = &mut self.runtimes[chat.runtime.0 as usize];
        if !chat.evicted {
            runtime.sums.totals.add(gained);
        }
        let silent = !runtime.is_met();
        let births = &mut self.births;
        let mut birth = || if silent { 0 } else { births.born(now) };
        if let Some(workflow) = self.workflows.row_mut(chat.workflow_row as usize) {
            workflow.totals.add(gained);
            workflow.starts += u64::from(turned.started);
            if priced && gained.tokens() > 0 && gained.cost.is_zero() {
                workflow.unpriced_tokens = workflow.unpriced_tokens.saturating_add(gained.tokens());
            }
            if let Some(outcome) = turned.ended {
                workflow.ends[outcome as usize] += 1;
            }
            if let Some(seconds) = turned.session_seconds {
                workflow.sessions.observe(SESSION_BOUNDS, seconds);
            }
            self.dirty.workflows.insert(chat.workflow_row as usize);
        }
        let chats = u64::from(turned.started);
        let spent = Spending { chats, tokens: gained.tokens(), cost: gained.cost };
        if spent != Spending::default() {
            let other = self.users.spend(chat.user_row as usize, &spent, &mut birth);
            self.dirty.users.extend([Some(chat.user_row as usize), other].into_iter().flatten());
        }
        if chat.folded && !gained.is_zero() {
            let runtime = &mut self.runtimes[chat.runtime.0 as usize];
            runtime.folded.add(gained);
            if runtime.folded_birth.is_none() {
                runtime.folded_birth = Some(birth());
            }
            self.dirty.runtimes.insert(chat.runtime.0);
        }
        self.dirty.meta = true;
    }
}

/// The number of a row of one of the bounded tables.
fn row_number(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX)
}
