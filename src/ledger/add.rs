//! What an event adds: to its chat, to the label sets it belongs to, and to whether the chat lives.

use std::sync::Arc;

use smallvec::SmallVec;

use super::book::{Begun, Life, rank};
use super::breakdown::{Addition, Dimension, Names, is_nothing};
use super::chat::{Chat, Phase, Told as Stage, Turned};
use super::histogram::{CALL_BOUNDS, TOOL_BOUNDS, TURN_BOUNDS};
use super::waiting::Told;
use super::{Ledger, LifeKey};
use crate::model::{
    Count, Counters, Event, Instant, Level, RuntimeId, Source, Timestamp, UNKNOWN, Usage, What,
    Witness,
};

/// An event this much later than the end of its chat shows that the chat goes on. Micros.
const AFTER_THE_END: i64 = 1_000_000;

impl Ledger {
    /// Books an event of a chat.
    pub(super) fn book(&mut self, no: u64, told: &Told, now: Instant) {
        self.add(no, told, now);
        self.live(no, told, now);
    }

    /// Adds what an event counts.
    pub(super) fn add(&mut self, no: u64, told: &Told, now: Instant) {
        let Told { source, event } = told;
        let Some(chat) = self.chats.get_mut(no) else { return };
        let (id, workflow) = (chat.runtime, chat.workflow_row);
        let Some(runtime) = self.runtimes.get(id.0 as usize) else { return };
        if *source == Source::Receive && !std::mem::replace(&mut chat.pushed, true) {
            self.dirty.chats.insert(no);
        }
        let is_log = *source == Source::Logs;
        if is_log && is_bare_turn(&event.what) && runtime.expects(Source::Scrape) {
            return;
        }
        let failed = matches!(event.what, What::Failed | What::Aborted);
        if failed && (chat.is_live() || chat.book.is_unborn()) {
            chat.failing = true;
            self.dirty.chats.insert(no);
        }
        let Some(growth) = growth(&event.what) else { return };
        let witness = voice(*source, &event.what);
        let published = self.drifts.tell(&mut chat.book, witness, &growth);
        let then = moment(event.at, now);
        if let What::Turn { seconds: Some(seconds), .. } = event.what
            && then.wall >= chat.last_update
        {
            chat.last_turn_seconds = Some(seconds);
        }
        chat.last_update = chat.last_update.max(then.wall);
        chat.moved = chat.moved.max(then.mono);
        let chat_id = Arc::from(chat.chat_id());
        self.dirty.chats.insert(no);
        self.credit(no, &published, true, Turned::default(), now);
        let Some(row) = self.workflows.rows().get(workflow as usize) else { return };
        let place = [row.app_id.clone(), row.workflow_name.clone()];
        let turns = published.get(Count::Turns);
        self.break_down(id, &place, told, Some((chat_id, turns)), now);
        if let What::Turn { seconds: None, .. } = event.what
            && let Some(row) = self.workflows.row_mut(workflow as usize)
        {
            row.turns_unobserved = row.turns_unobserved.saturating_add(turns);
        }
    }

    /// Adds what an event counts that cannot be laid to a chat.
    pub(super) fn book_nobodys(&mut self, runtime: RuntimeId, told: &Told, now: Instant) {
        let Event { app_id, workflow_name, .. } = &told.event;
        let place = [app_id, workflow_name]
            .map(|name| self.names.intern(name.as_deref().unwrap_or(UNKNOWN)));
        self.break_down(runtime, &place, told, None, now);
    }

    /// Adds an event to the label sets that it belongs to. `chat` is its chat, and by how much the
    /// chat's turns rose with it: a turn that others told of before was timed by them.
    fn break_down(
        &mut self,
        runtime: RuntimeId,
        place: &[Arc<str>; 2],
        told: &Told,
        chat: Option<(Arc<str>, u64)>,
        now: Instant,
    ) {
        let Told { source, event } = told;
        let witness = voice(*source, &event.what);
        let at = moment(event.at, now).wall;
        let rose = chat.as_ref().is_none_or(|(_, turns)| *turns > 0);
        let chat_id = chat.map(|(chat_id, _)| chat_id);
        let told_by_ag2 = self.runtimes[runtime.0 as usize].expects(Source::Ag2);
        let mut put = |dimension, names: &[&str], addition| {
            let mut all: SmallVec<[&str; 5]> = place.iter().map(|name| &**name).collect();
            all.extend_from_slice(names);
            let row = self.label_set(runtime, dimension, &all, now);
            self.breakdowns.rows_mut()[row].add(witness, addition);
            self.dirty.breakdowns.insert(row);
            self.dirty.meta = true;
        };
        match &event.what {
            What::Turn { agent, model, usage, seconds } => {
                let seconds = seconds.filter(|_| rose);
                let bounds = TURN_BOUNDS;
                let turn = Addition { number: 1, usage: *usage, seconds, bounds, chat_id, at };
                put(Dimension::Agent, &[agent, model], turn);
            }
            What::Call { agent, model, usage, seconds, cached, failed } => {
                if !is_nothing(usage) {
                    let spent = Addition { usage: *usage, ..Addition::default() };
                    put(Dimension::Agent, &[agent, model], spent);
                }
                // The log leaves out calls, and cannot tell one that failed from one that was free.
                if *source == Source::Logs && told_by_ag2 {
                    return;
                }
                let outcome = if *failed { "failed" } else { "success" };
                // What comes out of a cache, or not at all, says nothing of how fast models are.
                let seconds = seconds.filter(|_| !cached && !failed);
                let names = [model.as_str(), if *cached { "true" } else { "false" }, outcome];
                let bounds = CALL_BOUNDS;
                let usage = Usage::default();
                put(
                    Dimension::Call,
                    &names,
                    Addition { number: 1, usage, seconds, bounds, chat_id, at },
                );
            }
            What::Tool { tool, ok, seconds, .. } => {
                let outcome = if *ok { "success" } else { "failed" };
                let (usage, bounds, seconds) = (Usage::default(), TOOL_BOUNDS, *seconds);
                let call = Addition { number: 1, usage, seconds, bounds, chat_id, at };
                put(Dimension::Tool, &[tool, outcome], call);
            }
            What::SessionOpened { .. }
            | What::Started
            | What::Recorded { .. }
            | What::Failed
            | What::Ended
            | What::Aborted => {}
        }
    }

    pub(super) fn count_lines(
        &mut self,
        source: Source,
        runtime: RuntimeId,
        level: Level,
        logger: &str,
        number: u64,
        now: Instant,
    ) {
        let row = self.label_set(runtime, Dimension::Lines, &[level.label(), logger], now);
        let lines = Addition { number, ..Addition::default() };
        self.breakdowns.rows_mut()[row].add(source.witnesses()[0], lines);
        self.dirty.breakdowns.insert(row);
        self.dirty.meta = true;
    }

    /// The row of a label set. Its names are looked up among all names only if it is new.
    fn label_set(
        &mut self,
        runtime: RuntimeId,
        dimension: Dimension,
        names: &[&str],
        now: Instant,
    ) -> usize {
        if let Some(row) = self.breakdowns.find(runtime, dimension, names) {
            return row;
        }
        let names: Names = names.iter().map(|name| self.names.intern(name)).collect();
        let silent = !self.runtimes[runtime.0 as usize].is_met();
        let births = &mut self.births;
        let birth = || if silent { 0 } else { births.born(now) };
        let max = self.settings.max_breakdowns;
        let found = self.breakdowns.find_or_add(runtime, dimension, names, max, birth);
        self.tally.folded_breakdowns += u64::from(found.folded);
        found.row
    }

    /// Settles whether the chat lives after an event.
    fn live(&mut self, no: u64, told: &Told, now: Instant) {
        let Told { source, event } = told;
        let Some(chat) = self.chats.get_mut(no) else { return };
        // Of what AG2 tells, nothing says when a chat begins or ends.
        if *source == Source::Ag2 || matches!(event.what, What::SessionOpened { .. }) {
            return;
        }
        let then = moment(event.at, now);
        let was_live = chat.is_live() && !chat.book.is_unborn();
        let (phase, closed) = (chat.phase, chat.closed);
        let key = LifeKey { source: *source, runtime: chat.runtime, started_at: then.wall };
        let outranks = |life: Life| rank(life.key.source) <= rank(*source);
        let speaks = chat.book.latest().is_none_or(outranks);
        let is_start = matches!(event.what, What::Started);
        let is_end = matches!(event.what, What::Ended | What::Aborted);
        // Who pushes events says of each start that it is one; a log may say it twice.
        let is_pushed = *source == Source::Receive;
        let mut turned = Turned::default();
        if speaks {
            let begun = chat.book.begin(key, is_pushed && is_start);
            let new_life = begun != Begun::Before;
            let previous_end = chat.book.latest().and_then(|life| life.ended_at);
            if let (true, Some(life)) = (is_end, chat.book.latest()) {
                chat.book.note_end(&life.key, Some(then.wall), life.end_counted);
            }
            let moved = !new_life && !is_end && goes_on(chat, then.wall);
            if new_life || chat.last_update < then.wall {
                self.dirty.chats.insert(no);
            }
            chat.last_update = chat.last_update.max(then.wall);
            chat.moved = chat.moved.max(then.mono);
            turned = chat.settle(Stage { begun: new_life, moved, previous_end }, then);
            turned.started &= is_start || is_pushed;
            turned.started |= begun == Begun::Anew;
        } else if chat.phase == Phase::Ended && goes_on(chat, then.wall) {
            chat.phase = Phase::Live;
        }
        if chat.phase == phase && chat.closed == closed && turned == Turned::default() && was_live {
            return;
        }
        let revived = chat.evicted && (chat.is_live() || chat.closed != closed);
        self.dirty.chats.insert(no);
        if revived {
            self.revive(no, &Counters::default());
        }
        self.index_phase(no, was_live);
        self.credit(no, &Counters::default(), true, turned, now);
    }
}

/// Whether nothing is told but that there was a turn, as in the pretty form of the log. The routes
/// tell as much, and how long it took.
fn is_bare_turn(what: &What) -> bool {
    let What::Turn { agent, model, usage, seconds } = what else { return false };
    agent == UNKNOWN && model == UNKNOWN && is_nothing(usage) && seconds.is_none()
}

/// Whether something that happened then is later than the end of the chat.
fn goes_on(chat: &Chat, at: Timestamp) -> bool {
    chat.ended_at().is_some_and(|end| at.0 > end.0.saturating_add(AFTER_THE_END))
}

/// When it happened, by our clocks: never later than now.
fn moment(at: Timestamp, now: Instant) -> Instant {
    Instant { wall: at.min(now.wall), mono: now.mono_at(at) }
}

/// Which account an event goes to.
fn voice(source: Source, what: &What) -> Witness {
    match (source, what) {
        (Source::Logs, What::Recorded { .. }) => Witness::LogUsage,
        (Source::Logs, What::Call { .. }) => Witness::LogCalls,
        (source, _) => source.witnesses()[0],
    }
}

/// What an event adds to its chat; `None` where it counts nothing.
fn growth(what: &What) -> Option<Counters> {
    let mut growth = Counters::default();
    let usage = match what {
        What::Turn { usage, .. } => {
            growth.counts[Count::Turns as usize] = 1;
            *usage
        }
        What::Recorded { usage } | What::Call { usage, .. } => *usage,
        What::Tool { ok, as_call, .. } => {
            growth.counts[Count::ToolCalls as usize] = u64::from(*ok || *as_call);
            growth.counts[Count::Errors as usize] = u64::from(!ok);
            Usage::default()
        }
        What::SessionOpened { .. } | What::Started | What::Failed | What::Ended | What::Aborted => {
            return None;
        }
    };
    growth.counts[Count::PromptTokens as usize] = usage.prompt_tokens;
    growth.counts[Count::CompletionTokens as usize] = usage.completion_tokens;
    growth.cost = usage.cost;
    Some(growth)
}
