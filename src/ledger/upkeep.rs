//! What time alone does: chats get lost, fall quiet, are abandoned and lose their series.

use std::time::Duration;

use super::word::OptMicros;
use super::{Chat, Ledger, Outcome, Phase};
use crate::model::{Instant, Mono, RuntimeId};

/// How often those who come often make time pass: to look after all live chats costs as much as
/// there are.
const PASSING: Duration = Duration::from_secs(1);
/// How often the costly parts run.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);

impl Ledger {
    /// As [`Ledger::tick`], for those who come often.
    pub(super) fn tick_in_passing(&mut self, now: Instant) {
        self.owed.set_time(now.wall);
        self.try_meet(now);
        if self.last_tick.is_none_or(|at| now.mono.since(at) >= PASSING) {
            self.tick(now);
        }
    }

    /// Settles everything that is due by now. Costs as much as there are live chats.
    pub fn tick(&mut self, now: Instant) {
        self.last_tick = Some(now.mono);
        self.owed.set_time(now.wall);
        self.try_meet(now);
        let patience = self.settings.introduction_wait;
        if self.guests.first_arrival().is_some_and(|at| now.mono.since(at) >= patience) {
            self.release_due(None, now);
        }
        self.close_overdue(now);
        while let Some((closed, no)) = self.ended.first().copied() {
            if now.mono.since(Mono(closed)) < self.settings.retention {
                break;
            }
            self.evict(no);
            self.tally.evicted_by_age += 1;
        }
        let swept = self.last_sweep.is_some_and(|at| now.mono.since(at) < SWEEP_INTERVAL);
        if !swept {
            self.last_sweep = Some(now.mono);
            self.forget_evicted(now);
            let births = &mut self.births;
            let promoted = self.users.promote(|| births.born(now));
            self.dirty.meta |= !promoted.is_empty();
            self.dirty.users.extend(promoted);
        }
        self.dirty.meta |= self.births.reveal(now);
        self.settle_version();
    }

    /// Ends the gathering of baselines that are complete.
    pub(super) fn try_meet(&mut self, now: Instant) {
        for index in (0_u16..).take(self.runtimes.len()) {
            if !self.runtimes[index as usize].is_ready(self.settings.grace, now) {
                continue;
            }
            // What was not introduced by now belongs to the baseline all the same.
            self.release_due(Some(RuntimeId(index)), now);
            self.runtimes[index as usize].meet();
            self.dirty.runtimes.insert(index);
        }
    }

    /// Notes that a chat was in the last answer, although nothing of it could be understood.
    pub(super) fn note_present(&mut self, runtime: RuntimeId, chat_id: &str) {
        let Some(runtime) = self.runtimes.get_mut(runtime.0 as usize) else { return };
        let no = runtime.chats.get(chat_id, &self.chats);
        let Some(chat) = no.and_then(|no| self.chats.get_mut(no)) else { return };
        let is_first = std::mem::replace(&mut chat.answer, runtime.answer) != runtime.answer;
        runtime.named += usize::from(chat.listed && is_first);
        runtime.present += usize::from(chat.listed && chat.absent_since.is_some());
        chat.absent_since = OptMicros::NONE;
    }

    /// Notes which chats of a runtime were not in its last complete answer.
    pub(super) fn note_absent(&mut self, id: RuntimeId, now: Instant) {
        let Some(runtime) = self.runtimes.get(id.0 as usize) else {
            return;
        };
        // Nearly always nobody is: then there is no need to look for them among all.
        if runtime.named == runtime.present {
            return;
        }
        let answer = runtime.answer;
        let is_missing = |c: &Chat| c.runtime == id && c.is_present() && c.answer != answer;
        let missing: Vec<u64> =
            self.chats.iter().filter(|(_, chat)| is_missing(chat)).map(|(no, _)| no).collect();
        for no in missing {
            self.mark_absent(no, now);
        }
    }

    pub(super) fn mark_absent(&mut self, no: u64, now: Instant) {
        let Some(chat) = self.chats.get_mut(no) else {
            return;
        };
        if chat.absent_since.is_some() {
            return;
        }
        chat.absent_since = now.mono.into();
        if let Some(runtime) = self.runtimes.get_mut(chat.runtime.0 as usize) {
            runtime.present -= usize::from(chat.listed);
        }
    }

    /// Closes live chats that are lost or abandoned, or that moved on after their end and have
    /// fallen quiet.
    fn close_overdue(&mut self, now: Instant) {
        let mut overdue = Vec::new();
        for (no, chat) in self.chats.live() {
            let Some(runtime) = self.runtimes.get(chat.runtime.0 as usize) else {
                continue;
            };
            // Workers answer in turns, so a chat is missing from the answers of all but its own.
            let is_lost = |since: Mono| {
                let patience = self.settings.lost_after.saturating_mul(runtime.workers(now));
                now.mono.since(since) >= patience
            };
            // All live chats are looked at, and nearly all are in order: times are compared first.
            let quiet = now.mono.since(chat.moved);
            if chat.absent_since.mono().is_some_and(is_lost) {
                overdue.push((no, Phase::Lost, Some(Outcome::Lost)));
            } else if quiet >= self.settings.quiet_after && chat.is_resumed() {
                overdue.push((no, Phase::Ended, None));
            } else if quiet >= self.settings.abandoned_after && chat.is_hearsay() {
                overdue.push((no, Phase::Ended, Some(Outcome::Abandoned)));
            }
        }
        for (no, phase, outcome) in overdue {
            self.close(no, phase, outcome, now);
        }
    }

    /// Closes a live chat of which nobody says that it ended.
    pub(super) fn close(&mut self, no: u64, phase: Phase, outcome: Option<Outcome>, now: Instant) {
        let Some(chat) = self.chats.get_mut(no) else { return };
        chat.close(phase, now);
        let workflow = chat.workflow_row as usize;
        self.dirty.chats.insert(no);
        self.index_phase(no, true);
        if let (Some(outcome), Some(row)) = (outcome, self.workflows.row_mut(workflow)) {
            row.ends[outcome as usize] += 1;
            self.dirty.workflows.insert(workflow);
        }
    }

    /// Drops the series of an ended chat. Its book stays while its runtime still tells of it,
    /// since the runtime forgets nothing and would otherwise be counted again.
    pub(super) fn evict(&mut self, no: u64) {
        if let Some(chat) = self.chats.get_mut(no) {
            let sums = &mut self.runtimes[chat.runtime.0 as usize].sums;
            sums.chats -= 1;
            sums.totals.remove(chat.book.published());
            chat.evicted = true;
            self.shown -= usize::from(!chat.folded);
            let key = std::mem::replace(&mut chat.ended_key, OptMicros::NONE);
            if let Some(closed) = key.mono() {
                self.ended.remove(&(closed.0, no));
            }
            self.dirty.chats.insert(no);
            self.dirty.meta = true;
        }
    }

    /// Makes room for one more chat with series, at the cost of the one that ended first.
    pub(super) fn make_room(&mut self) -> bool {
        if self.shown < self.settings.max_chats {
            return true;
        }
        let shown = |(_, no): &&(i64, u64)| self.chats.get(*no).is_some_and(|chat| !chat.folded);
        let Some((_, no)) = self.ended.iter().find(shown).copied() else {
            self.tally.folded_chats += 1;
            self.dirty.meta = true;
            return false;
        };
        self.evict(no);
        self.tally.evicted_by_bound += 1;
        true
    }

    /// Forgets evicted chats that no answer has named for the retention time. Whatever began up to
    /// then is not booked again if it is told after all.
    fn forget_evicted(&mut self, now: Instant) {
        let retention = self.settings.retention;
        let mut gone: Vec<u64> = self
            .chats
            .iter()
            .filter(|(_, c)| c.evicted && !c.is_present())
            .filter(|(_, c)| now.mono.since(c.absent_since.mono().unwrap_or(c.told)) >= retention)
            .map(|(no, _)| no)
            .collect();
        // What the runtime pushes is a chat's sum since ever, and nothing in it says when the chat
        // began: one that comes back after weeks would count again.
        let is_summed = |no: &u64| self.chats.get(*no).is_some_and(Chat::is_summed);
        let summed = gone.iter().filter(|no| is_summed(no)).count();
        let mut forgettable = summed.saturating_sub(self.settings.max_chats);
        gone.retain(|no| {
            let stays = is_summed(no) && forgettable == 0;
            forgettable = forgettable.saturating_sub(usize::from(is_summed(no)));
            !stays
        });
        for no in gone {
            if let Some(chat) = self.remove(no)
                && let Some(runtime) = self.runtimes.get_mut(chat.runtime.0 as usize)
            {
                let last = chat.book.lives().map(|life| life.key.started_at).max();
                runtime.forgotten = runtime.forgotten.max(last);
                self.dirty.runtimes.insert(chat.runtime.0);
            }
        }
        self.names.sweep();
    }

    /// Forgets an evicted chat.
    pub(super) fn remove(&mut self, no: u64) -> Option<Chat> {
        let runtime = self.chats.get(no)?.runtime;
        self.runtimes[runtime.0 as usize].chats.remove(no, &self.chats);
        let chat = self.chats.remove(no)?;
        self.drifts.remove(&chat.book);
        self.tally.forgotten_owed += u64::from(self.forgive(&chat));
        self.dirty.chats.insert(no);
        Some(chat)
    }
}
