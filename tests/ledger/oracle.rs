//! A ledger that forgets nothing: it keeps all that was ever said of every life of every chat,
//! and adds it all up anew for each question.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mozaiks_exporter::ledger::{Phase, Settings};
use mozaiks_exporter::model::{Instant, OTHER, Source, Timestamp};

use super::world::{Amounts, Fact, Heard, RUNTIMES, Said, add, app_id, workflow_name};

/// A worker that was silent for longer no longer counts as one.
const WORKER_SILENCE: Duration = Duration::from_mins(10);

#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    settings: Settings,
    expected: [Vec<Source>; RUNTIMES],
    pub(crate) runtimes: Vec<Runtime>,
    /// The chats that the ledger remembers, by runtime and chat.
    pub(crate) chats: BTreeMap<(usize, usize), Chat>,
    /// Those that it has forgotten.
    pub(crate) forgotten: Vec<Chat>,
    /// Runtime, app and workflow.
    pub(crate) workflows: Vec<(usize, String, String)>,
    pub(crate) regressions: u64,
    pub(crate) duplicates: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Runtime {
    pub(crate) met: bool,
    since: i64,
    first_heard: BTreeMap<Source, Timestamp>,
    processes: BTreeMap<Timestamp, Process>,
    /// No life that began up to here is news.
    forgotten_until: Option<Timestamp>,
    /// Growth of chats while they were beyond the bound.
    pub(crate) folded: Amounts,
}

#[derive(Debug, Clone)]
struct Process {
    told_all: bool,
    last_heard: Option<i64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Chat {
    pub(crate) runtime: usize,
    pub(crate) number: usize,
    /// Index of its workflow.
    pub(crate) workflow: usize,
    lives: Vec<Life>,
    /// What the account of each witness began with.
    openings: BTreeMap<Source, Amounts>,
    pub(crate) phase: Phase,
    absent_since: Option<i64>,
    /// It stood in a complete answer, so that it can be missed.
    listed: bool,
    moved: i64,
    pub(crate) closed: i64,
    closed_at: Timestamp,
    pub(crate) last_update: Timestamp,
    pub(crate) starts: u64,
    pub(crate) completed: u64,
    pub(crate) sessions: u64,
    pub(crate) lost: u64,
    /// Turns that it gained.
    pub(crate) turns: u128,
    /// How much of what is published has been put down to it, or to those beyond the bound.
    credited: Amounts,
}

#[derive(Debug, Clone)]
struct Life {
    source: Source,
    start: Timestamp,
    /// It began before its witness was heard.
    prior: bool,
    heard: Vec<Heard>,
    ended_at: Option<Timestamp>,
    end_counted: bool,
}

impl Life {
    /// What it adds: the highest that was heard, less what it held before our time.
    fn worth(&self) -> Amounts {
        let mut worth = [0; 6];
        for (n, worth) in worth.iter_mut().enumerate() {
            let mut heard = self.heard.iter().filter_map(|heard| heard[n]);
            let held = if self.prior { heard.clone().next().unwrap_or(0) } else { 0 };
            *worth = heard.by_ref().max().unwrap_or(0).saturating_sub(held);
        }
        worth
    }

    fn is_above(&self, heard: &Heard) -> bool {
        (0..6).any(|n| {
            let mark = self.heard.iter().filter_map(|heard| heard[n]).max().unwrap_or(0);
            heard[n].is_some_and(|heard| heard < mark)
        })
    }
}

impl Chat {
    fn new(runtime: usize, number: usize, workflow: usize, now: Instant) -> Self {
        Self {
            runtime,
            number,
            workflow,
            lives: Vec::new(),
            openings: BTreeMap::new(),
            phase: Phase::Ended,
            absent_since: None,
            listed: false,
            moved: now.mono.0,
            closed: now.mono.0,
            closed_at: now.wall,
            last_update: Timestamp::default(),
            starts: 0,
            completed: 0,
            sessions: 0,
            lost: 0,
            turns: 0,
            credited: [0; 6],
        }
    }

    pub(crate) fn account(&self, source: Source) -> Option<Amounts> {
        let mut account = *self.openings.get(&source)?;
        for life in self.lives.iter().filter(|life| life.source == source) {
            add(&mut account, &life.worth());
        }
        Some(account)
    }

    pub(crate) fn accounts(&self) -> BTreeMap<Source, Amounts> {
        self.openings.keys().map(|s| (*s, self.account(*s).unwrap_or_default())).collect()
    }

    pub(crate) fn published(&self) -> Amounts {
        let mut highest = [0; 6];
        for account in self.accounts().values() {
            for (highest, n) in highest.iter_mut().zip(account) {
                *highest = (*highest).max(*n);
            }
        }
        highest
    }

    /// The life that speaks for the chat: of the witness that knows best whether chats live, the
    /// one that began last.
    fn speaker(&self) -> Option<usize> {
        let rank = |source| {
            let ranks =
                [Source::Ag2, Source::Logs, Source::Mongodb, Source::Receive, Source::Scrape];
            ranks.iter().position(|s| *s == source)
        };
        (0..self.lives.len()).max_by_key(|n| (rank(self.lives[*n].source), self.lives[*n].start))
    }

    fn is_resumed(&self) -> bool {
        self.is_live() && self.speaker().is_some_and(|n| self.lives[n].ended_at.is_some())
    }

    pub(crate) fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    pub(crate) fn knows(&self, source: Source, start: Timestamp) -> bool {
        self.lives.iter().any(|life| life.source == source && life.start == start)
    }

    fn close(&mut self, phase: Phase, now: Instant) {
        (self.phase, self.closed, self.closed_at) = (phase, now.mono.0, now.wall);
    }

    /// Hears of one life. Returns whether a counter stood below its mark.
    fn hear(
        &mut self,
        source: Source,
        start: Timestamp,
        fact: &Fact,
        prior: bool,
        now: Instant,
    ) -> bool {
        let published = self.published();
        let known = self.lives.iter().position(|l| l.source == source && l.start == start);
        let first_of_all = self.lives.is_empty();
        // Another witness may have told of all of it before, as of what has ended since.
        let end = self.speaker().and_then(|n| self.lives[n].ended_at).unwrap_or(self.closed_at);
        let by_others = self.lives.iter().any(|life| life.source != source);
        let told_before =
            known.is_none() && by_others && self.phase == Phase::Ended && start <= end;
        let opening = if prior { published } else { [0; 6] };
        self.openings.entry(source).or_insert(opening);
        let n = known.unwrap_or_else(|| {
            let heard = Vec::new();
            let end_counted = told_before || prior && fact.ended_at.is_some();
            self.lives.push(Life { source, start, prior, heard, ended_at: None, end_counted });
            self.lives.len() - 1
        });
        let is_no_start = known.is_none() && prior || told_before;
        let life = &mut self.lives[n];
        let (worth, previous_end) = (life.worth(), life.ended_at);
        let regressed = life.is_above(&fact.totals);
        life.heard.push(fact.totals);
        life.ended_at = fact.ended_at;
        let moved = life.worth() != worth;
        self.settle(n, known.is_none(), moved, previous_end, first_of_all, is_no_start, now);
        self.turns += self.published()[0] - published[0];
        if moved {
            self.last_update = now.wall;
        } else if known.is_none() {
            let start = fact.started_at.unwrap_or(now.wall).min(now.wall);
            self.last_update = start.max(self.last_update.min(now.wall));
        }
        if moved || known.is_none() {
            self.moved = now.mono.0;
        }
        regressed
    }

    #[expect(clippy::too_many_arguments, reason = "each is one thing that was learnt")]
    #[expect(clippy::fn_params_excessive_bools, reason = "each is one thing that was learnt")]
    fn settle(
        &mut self,
        n: usize,
        is_new: bool,
        moved: bool,
        previous_end: Option<Timestamp>,
        first_of_all: bool,
        is_no_start: bool,
        now: Instant,
    ) {
        let Some(speaker) = self.speaker() else {
            return;
        };
        let was = self.phase;
        let moved_on = moved && !is_new;
        if speaker != n {
            let ended = self.lives[speaker].ended_at.is_some();
            let same_witness = self.lives[speaker].source == self.lives[n].source;
            match was {
                Phase::Lost if ended && !moved_on => self.phase = Phase::Ended,
                Phase::Lost => self.phase = Phase::Live,
                Phase::Ended if same_witness && moved_on => self.phase = Phase::Live,
                Phase::Live | Phase::Ended => {}
            }
            return;
        }
        let life = &mut self.lives[n];
        let began = is_new && (first_of_all || was != Phase::Live);
        self.starts += u64::from(began && !is_no_start);
        match life.ended_at {
            None => self.phase = Phase::Live,
            Some(_) if !life.end_counted => {
                life.end_counted = true;
                self.completed += 1;
                self.sessions += u64::from(life.start.0 != 0);
                self.close(Phase::Ended, now);
            }
            Some(_) if life.ended_at != previous_end => self.close(Phase::Ended, now),
            Some(_) if moved_on => self.phase = Phase::Live,
            Some(_) if was == Phase::Lost => self.phase = Phase::Ended,
            Some(_) => {}
        }
    }
}

fn at_least(since: i64, now: Instant, duration: Duration) -> bool {
    now.mono.0 - since >= i64::try_from(duration.as_micros()).unwrap()
}

impl Oracle {
    pub(crate) fn new(settings: Settings, expected: [Vec<Source>; RUNTIMES], now: Instant) -> Self {
        let runtime = Runtime { since: now.mono.0, ..Runtime::default() };
        Self {
            settings,
            expected,
            runtimes: vec![runtime; RUNTIMES],
            chats: BTreeMap::new(),
            forgotten: Vec::new(),
            workflows: Vec::new(),
            regressions: 0,
            duplicates: 0,
        }
    }

    /// Every chat there ever was.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Chat> {
        self.chats.values().chain(&self.forgotten)
    }

    /// What an exporter that starts now goes on with.
    pub(crate) fn reopened(&self, now: Instant) -> Self {
        let mut oracle = self.clone();
        let mono_at = |wall: Timestamp| now.mono.0 - (now.wall.0.saturating_sub(wall.0)).max(0);
        for runtime in &mut oracle.runtimes {
            runtime.since = now.mono.0;
            for process in runtime.processes.values_mut() {
                process.last_heard = None;
            }
        }
        for chat in oracle.chats.values_mut() {
            chat.absent_since = None;
            chat.moved = mono_at(chat.last_update);
            chat.closed = mono_at(chat.closed_at);
        }
        oracle
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.try_meet(now);
        for chat in self.chats.values_mut().filter(|chat| chat.is_live()) {
            let processes = self.runtimes[chat.runtime].processes.values();
            let silence = i64::try_from(WORKER_SILENCE.as_micros()).unwrap();
            let workers = processes
                .filter(|p| p.last_heard.is_some_and(|at| now.mono.0 - at <= silence))
                .count()
                .max(1);
            let patience = self.settings.lost_after * u32::try_from(workers).unwrap();
            if chat.absent_since.is_some_and(|since| at_least(since, now, patience)) {
                chat.close(Phase::Lost, now);
                chat.lost += 1;
            } else if chat.is_resumed() && at_least(chat.moved, now, self.settings.quiet_after) {
                chat.close(Phase::Ended, now);
            }
        }
    }

    fn try_meet(&mut self, now: Instant) {
        for (runtime, expected) in self.runtimes.iter_mut().zip(&self.expected) {
            let all = expected.iter().all(|source| runtime.first_heard.contains_key(source));
            let waited = at_least(runtime.since, now, self.settings.grace);
            runtime.met |= !runtime.first_heard.is_empty() && (all || waited);
        }
    }

    pub(crate) fn hear(&mut self, said: &Said, now: Instant) {
        self.tick(now);
        let runtime = &mut self.runtimes[said.runtime];
        let met = runtime.met;
        let first_heard = runtime.first_heard.get(&said.source).copied();
        runtime.first_heard.entry(said.source).or_insert(said.clock);
        let tells_all = said.complete && said.unread == 0;
        let mut had_told_all = false;
        if let Some(created) = said.process {
            let is_new = !runtime.processes.contains_key(&created);
            if is_new && first_heard.is_some_and(|heard| created > heard) {
                runtime.processes.values_mut().for_each(|process| process.last_heard = None);
            }
            let process = runtime
                .processes
                .entry(created)
                .or_insert(Process { told_all: false, last_heard: None });
            had_told_all = process.told_all;
            process.told_all |= tells_all;
            process.last_heard = Some(now.mono.0);
        }
        let forgotten_until = runtime.forgotten_until;
        // What began before its witness was heard, and could not be told before, is no news.
        let is_prior = |fact: &Fact| {
            let began = fact.started_at.or(said.process);
            let before_contact = match first_heard {
                None => true,
                Some(heard) => !had_told_all && began.is_some_and(|began| began <= heard),
            };
            (met && before_contact) || fact.started_at.is_some_and(|at| Some(at) <= forgotten_until)
        };
        let mut told = Vec::new();
        for fact in &said.facts {
            let key = (said.runtime, fact.chat);
            if !self.chats.contains_key(&key) {
                let workflow = self.workflow(said.runtime, fact.chat);
                self.chats.insert(key, Chat::new(said.runtime, fact.chat, workflow, now));
            }
            let chat = self.chats.get_mut(&key).unwrap();
            self.duplicates += u64::from(told.contains(&fact.chat));
            told.push(fact.chat);
            chat.absent_since = None;
            chat.listed |= said.complete;
            let start = fact.started_at.or(said.process).unwrap_or_default();
            let regressed = chat.hear(said.source, start, fact, is_prior(fact), now);
            self.regressions += u64::from(regressed);
        }
        if said.complete {
            let missed = |key: &(usize, usize)| key.0 == said.runtime && !told.contains(&key.1);
            for (_, chat) in self.chats.iter_mut().filter(|(key, c)| missed(key) && c.listed) {
                chat.absent_since.get_or_insert(now.mono.0);
            }
        }
        self.try_meet(now);
    }

    /// Puts down what the chats have gained since the last time, `folded` being beyond the bound.
    pub(crate) fn credit(&mut self, folded: &BTreeSet<(usize, usize)>) {
        for (key, chat) in &mut self.chats {
            let published = chat.published();
            let gained = std::array::from_fn(|n| published[n] - chat.credited[n]);
            chat.credited = published;
            if folded.contains(key) {
                add(&mut self.runtimes[key.0].folded, &gained);
            }
        }
    }

    pub(crate) fn untracked(&mut self, runtime: usize, chat: usize, now: Instant) {
        if let Some(chat) = self.chats.get_mut(&(runtime, chat)) {
            chat.absent_since.get_or_insert(now.mono.0);
        }
    }

    /// The ledger has forgotten a chat whose series were gone for long.
    pub(crate) fn forget(&mut self, runtime: usize, chat: usize) {
        let gone = self.chats.remove(&(runtime, chat)).unwrap();
        let last = gone.lives.iter().map(|life| life.start).max();
        let until = &mut self.runtimes[runtime].forgotten_until;
        *until = (*until).max(last);
        self.forgotten.push(gone);
    }

    fn workflow(&mut self, runtime: usize, chat: usize) -> usize {
        let mut key = (runtime, app_id(chat), workflow_name(chat));
        let find = |rows: &[_], key: &_| rows.iter().position(|row| row == key);
        let known = find(&self.workflows, &key);
        if known.is_none() && self.workflows.len() >= self.settings.max_workflows {
            key = (runtime, OTHER.into(), OTHER.into());
        }
        known.or_else(|| find(&self.workflows, &key)).unwrap_or_else(|| {
            self.workflows.push(key);
            self.workflows.len() - 1
        })
    }
}
