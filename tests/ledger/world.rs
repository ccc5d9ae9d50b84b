//! The truth: runtimes, their workers and every life of every chat, and how it is told.

use std::borrow::Cow;
use std::collections::BTreeMap;

use mozaiks_exporter::model::{
    Answer, ChatSnapshot, Counters, RuntimeId, Source, Stated, Timestamp, Usd,
};
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const RUNTIMES: usize = 2;
const WORKERS: usize = 3;
const CHATS: usize = 6;
/// Where the clocks of the runtimes begin.
const EPOCH: i64 = 1_700_000_000 * SECOND;

/// Turns, tool calls, errors, prompt and completion tokens, and money in picodollars.
pub(crate) type Amounts = [u128; 6];
/// What is said of them.
pub(crate) type Heard = [Option<u128>; 6];
/// Index of the money.
pub(crate) const COST: usize = 5;

pub(crate) fn add(mine: &mut Amounts, theirs: &Amounts) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}

/// The ledger's counters as whole numbers, by way of the decimal text that it shows.
pub(crate) fn amounts(counters: &Counters) -> Amounts {
    let mut amounts = [0; 6];
    for (amount, count) in amounts.iter_mut().zip(counters.counts) {
        *amount = u128::from(count);
    }
    amounts[COST] = picodollars(counters.cost);
    amounts
}

pub(crate) fn picodollars(usd: Usd) -> u128 {
    let text = usd.to_string();
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    format!("{whole}{rest:0<12}").parse().unwrap()
}

pub(crate) fn usd(picodollars: u128) -> Usd {
    let (whole, rest) = (picodollars / 10_u128.pow(12), picodollars % 10_u128.pow(12));
    format!("{whole}.{rest:012}").parse().unwrap()
}

pub(crate) fn chat_id(chat: usize) -> String {
    format!("chat{chat}")
}

pub(crate) fn app_id(chat: usize) -> String {
    format!("app{}", chat % 2)
}

pub(crate) fn workflow_name(chat: usize) -> String {
    format!("flow{}", chat % 3)
}

pub(crate) fn user_id(chat: usize) -> String {
    format!("user{}", chat % 4)
}

/// One chat as it stands in an answer.
#[derive(Debug, Clone)]
pub(crate) struct Fact {
    pub(crate) chat: usize,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) totals: Heard,
    pub(crate) last_turn_seconds: Option<f64>,
}

/// An answer that owns what it says, so that it can be said again.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) source: Source,
    pub(crate) runtime: usize,
    pub(crate) process: Option<Timestamp>,
    pub(crate) clock: Timestamp,
    pub(crate) complete: bool,
    pub(crate) unread: usize,
    /// Those of the unread ones whose ids were read.
    pub(crate) unreadable: Vec<usize>,
    pub(crate) facts: Vec<Fact>,
}

impl Said {
    pub(crate) fn answer(&self) -> Answer<'static> {
        Answer {
            source: self.source,
            runtime: RuntimeId(u16::try_from(self.runtime).unwrap()),
            process: self.process,
            runtime_clock: self.clock,
            complete: self.complete,
            more: false,
            chats: self.facts.iter().map(Fact::snapshot).collect(),
            unreadable: self.unreadable.iter().map(|chat| Cow::Owned(chat_id(*chat))).collect(),
            bookmarks: Vec::new(),
        }
    }
}

impl Fact {
    fn snapshot(&self) -> ChatSnapshot<'static> {
        let mut totals = Stated { cost: self.totals[COST].map(usd), ..Stated::default() };
        for (stated, heard) in totals.counts.iter_mut().zip(self.totals) {
            *stated = heard.map(|n| u64::try_from(n).unwrap());
        }
        ChatSnapshot {
            chat_id: Cow::Owned(chat_id(self.chat)),
            app_id: Cow::Owned(app_id(self.chat)),
            workflow_name: Cow::Owned(workflow_name(self.chat)),
            user_id: Cow::Owned(user_id(self.chat)),
            started_at: self.started_at,
            ended_at: self.ended_at,
            failed: false,
            updated_at: None,
            totals,
            last_turn_seconds: self.last_turn_seconds,
        }
    }
}

/// Where something happens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) runtime: usize,
    pub(crate) worker: usize,
    pub(crate) chat: usize,
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flaw {
    None,
    /// These fields are missing, one bit each.
    Blank(u8),
    /// Every chat stands in it twice, the second time as it was a while ago.
    Twice,
    /// This chat cannot be read.
    Unreadable(usize),
    /// Only these chats are in it, one bit each, and it says so.
    Partial(u8),
}

/// How well a witness other than the poll sees.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sight {
    Clear,
    /// It has yet to see the last of what happened.
    Lagging(usize),
    Blind,
    /// It sees half.
    Dim,
    /// It sees what no other does.
    Keen,
}

/// When the answer to a visitor is written out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Service {
    Now,
    /// Only after something else has happened.
    Slow,
    Never,
}

/// What can happen.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// Seconds go by.
    Pass(i64),
    /// The exporter's wall clock is set by so many seconds.
    SetWall(i64),
    Work(Place, Amounts),
    End(Place),
    /// A chat that the ledger is sure to remember leaves the answers of its worker, or comes back.
    Vanish(Place),
    RestartWorker(Place),
    RestartRuntime(usize),
    Poll(Place, Flaw),
    /// An answer to an earlier poll arrives once more.
    Late(usize),
    Tell(Place, Source, Sight, bool, u8),
    Fail(usize),
    Untracked(Place),
    /// A visitor of the metrics page.
    Visit(usize, Service),
    HangUp(usize),
    /// What has changed reaches the disk, and only then is it shown.
    Commit,
    /// The exporter stops and starts.
    Reopen,
    /// The exporter is killed: what has not reached the disk is lost.
    Crash,
}

/// One life of a chat in one worker.
#[derive(Debug, Clone)]
struct TrueLife {
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    amounts: Amounts,
    last_turn_seconds: Option<f64>,
    before: Vec<Amounts>,
    vanished: bool,
}

#[derive(Debug)]
struct Worker {
    created: Timestamp,
    lives: BTreeMap<usize, TrueLife>,
}

/// What kind of runtimes these are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nature {
    /// Their answers do not tell one process from another.
    pub(crate) anonymous: bool,
    /// Their answers do not say when a chat began.
    pub(crate) startless: bool,
}

#[derive(Debug)]
pub(crate) struct World {
    natures: [Nature; RUNTIMES],
    clock: i64,
    workers: [Vec<Worker>; RUNTIMES],
    said: Vec<Said>,
}

impl World {
    pub(crate) fn new(natures: [Nature; RUNTIMES]) -> Self {
        let worker = |n: usize| {
            let created = Timestamp(EPOCH - 1000 * SECOND + i64::try_from(n).unwrap() * SECOND);
            Worker { created, lives: BTreeMap::new() }
        };
        let workers = [(); RUNTIMES].map(|()| (0..WORKERS).map(worker).collect());
        Self { natures, clock: EPOCH, workers, said: Vec::new() }
    }

    pub(crate) fn pass(&mut self, micros: i64) {
        self.clock += micros;
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.clock)
    }

    /// Where processes cannot be told apart there is one worker: nobody could tell what another one
    /// held before its first answer from what began after the first one's empty one.
    fn number(&self, at: Place) -> usize {
        if self.natures[at.runtime].anonymous { 0 } else { at.worker }
    }

    fn worker(&mut self, at: Place) -> &mut Worker {
        let number = self.number(at);
        &mut self.workers[at.runtime][number]
    }

    pub(crate) fn work(&mut self, at: Place, growth: &Amounts) {
        let started_at = self.now();
        let life = self.worker(at).lives.entry(at.chat).or_insert_with(|| TrueLife {
            started_at,
            ended_at: None,
            amounts: [0; 6],
            last_turn_seconds: None,
            before: Vec::new(),
            vanished: false,
        });
        life.before.push(life.amounts);
        add(&mut life.amounts, growth);
        if growth[0] > 0 {
            life.last_turn_seconds = Some(f64::from(u32::try_from(growth[3] % 900).unwrap()));
        }
    }

    pub(crate) fn end(&mut self, at: Place) {
        let now = self.now();
        if let Some(life) = self.worker(at).lives.get_mut(&at.chat) {
            life.ended_at = Some(now);
        }
    }

    /// The start of a chat's life in a worker, as its poll states it.
    pub(crate) fn life_key(&self, at: Place) -> Option<Timestamp> {
        let worker = &self.workers[at.runtime][self.number(at)];
        let life = worker.lives.get(&at.chat)?;
        let nature = self.natures[at.runtime];
        Some(match (nature.startless, nature.anonymous) {
            (false, _) => life.started_at,
            (true, false) => worker.created,
            (true, true) => Timestamp(0),
        })
    }

    pub(crate) fn vanish(&mut self, at: Place) {
        if let Some(life) = self.worker(at).lives.get_mut(&at.chat) {
            life.vanished = !life.vanished;
        }
    }

    pub(crate) fn restart(&mut self, runtime: usize, only: Option<usize>) {
        for n in (0..WORKERS).filter(|n| only.is_none_or(|only| only == *n)) {
            // No two processes are created at the same time.
            self.clock += 1;
            let created = self.now();
            self.workers[runtime][n] = Worker { created, lives: BTreeMap::new() };
        }
        self.clock += 1;
    }

    pub(crate) fn poll(&mut self, at: Place, flaw: Flaw) -> Said {
        let nature = self.natures[at.runtime];
        let worker = &self.workers[at.runtime][self.number(at)];
        let fact = |chat: &usize, life: &TrueLife| Fact {
            chat: *chat,
            started_at: (!nature.startless).then_some(life.started_at),
            ended_at: life.ended_at,
            totals: life.amounts.map(Some),
            last_turn_seconds: life.last_turn_seconds,
        };
        let present = || worker.lives.iter().filter(|(_, life)| !life.vanished);
        let mut said = Said {
            source: Source::Scrape,
            runtime: at.runtime,
            process: (!nature.anonymous).then_some(worker.created),
            clock: self.now(),
            complete: true,
            unread: 0,
            unreadable: Vec::new(),
            facts: present().map(|(chat, life)| fact(chat, life)).collect(),
        };
        match flaw {
            Flaw::None => {}
            Flaw::Blank(mask) => {
                for fact in &mut said.facts {
                    blank(&mut fact.totals, mask);
                }
            }
            Flaw::Twice => said.facts.extend(present().map(|(chat, life)| Fact {
                totals: life.before[life.before.len() / 2].map(Some),
                ..fact(chat, life)
            })),
            Flaw::Unreadable(chat) => {
                let all = said.facts.len();
                said.facts.retain(|fact| fact.chat != chat);
                said.unread = all - said.facts.len();
            }
            Flaw::Partial(mask) => {
                said.complete = false;
                said.facts.retain(|fact| mask & (1 << fact.chat) != 0);
            }
        }
        self.said.push(said.clone());
        said
    }

    /// The exporter stops: no answer is on its way to it any more.
    pub(crate) fn hang_up(&mut self) {
        self.said.clear();
    }

    pub(crate) fn late(&self, back: usize) -> Option<Said> {
        let index = self.said.len().checked_sub(1 + back)?;
        Some(self.said[index].clone())
    }

    pub(crate) fn tell(
        &self,
        at: Place,
        source: Source,
        sight: Sight,
        tells_end: bool,
        mask: u8,
    ) -> Option<Said> {
        let life = self.workers[at.runtime][self.number(at)].lives.get(&at.chat)?;
        let seen = match sight {
            Sight::Clear => life.amounts,
            Sight::Lagging(back) => life.before[life.before.len().saturating_sub(1 + back)],
            Sight::Blind => [0; 6],
            Sight::Dim => life.amounts.map(|n| n / 2),
            Sight::Keen => life.amounts.map(|n| n * 2),
        };
        let mut totals = seen.map(Some);
        blank(&mut totals, mask);
        let fact = Fact {
            chat: at.chat,
            started_at: Some(life.started_at),
            ended_at: life.ended_at.filter(|_| tells_end),
            totals,
            last_turn_seconds: None,
        };
        Some(Said {
            source,
            runtime: at.runtime,
            process: None,
            clock: self.now(),
            complete: false,
            unread: 0,
            unreadable: Vec::new(),
            facts: vec![fact],
        })
    }
}

fn blank(totals: &mut Heard, mask: u8) {
    for (bit, total) in totals.iter_mut().enumerate() {
        if mask & (1 << bit) != 0 {
            *total = None;
        }
    }
}

fn place() -> impl Strategy<Value = Place> {
    // The first of each is where most things happen, so that they meet.
    let (runtime, worker) = (select(vec![0, 0, 0, 1]), select(vec![0, 0, 0, 1, 1, 2]));
    (runtime, worker, 0..CHATS).prop_map(|(runtime, worker, chat)| Place { runtime, worker, chat })
}

fn growth() -> impl Strategy<Value = Amounts> {
    let tokens = || prop_oneof![Just(0_u128), 1..5_000_u128, Just(5_000_000_000)];
    let cost = prop_oneof![Just(0_u128), 1..1_000_000_000_u128, Just(10_u128.pow(6) + 1)];
    (0..3_u128, 0..3_u128, 0..2_u128, tokens(), tokens(), cost).prop_map(
        |(turns, tools, errors, prompt, completion, cost)| {
            [turns, tools, errors, prompt, completion, cost]
        },
    )
}

fn flaw() -> impl Strategy<Value = Flaw> {
    prop_oneof![
        8 => Just(Flaw::None),
        1 => any::<u8>().prop_map(Flaw::Blank),
        1 => Just(Flaw::Twice),
        1 => (0..CHATS).prop_map(Flaw::Unreadable),
        1 => any::<u8>().prop_map(Flaw::Partial),
    ]
}

fn sight() -> impl Strategy<Value = Sight> {
    prop_oneof![
        3 => Just(Sight::Clear),
        2 => (0_usize..3).prop_map(Sight::Lagging),
        1 => Just(Sight::Blind),
        1 => Just(Sight::Dim),
        1 => Just(Sight::Keen),
    ]
}

fn seconds() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 1..20_i64, 3 => 20..90_i64, 2 => 90..400_i64, 1 => Just(3_000_i64)]
}

/// What happens to the runtimes and what is told of it.
pub(crate) fn event() -> impl Strategy<Value = Op> {
    let source = || select(vec![Source::Mongodb, Source::Mongodb, Source::Logs, Source::Receive]);
    let mask = || weighted(0.2, any::<u8>()).prop_map(Option::unwrap_or_default);
    prop_oneof![
        12 => seconds().prop_map(Op::Pass),
        1 => (-4_000..4_000_i64).prop_map(Op::SetWall),
        16 => (place(), growth()).prop_map(|(at, growth)| Op::Work(at, growth)),
        5 => place().prop_map(Op::End),
        3 => place().prop_map(Op::Vanish),
        1 => place().prop_map(Op::RestartWorker),
        1 => (0..RUNTIMES).prop_map(Op::RestartRuntime),
        24 => (place(), flaw()).prop_map(|(at, flaw)| Op::Poll(at, flaw)),
        3 => (0_usize..8).prop_map(Op::Late),
        8 => (place(), source(), sight(), any::<bool>(), mask())
            .prop_map(|(at, source, sight, ends, mask)| Op::Tell(at, source, sight, ends, mask)),
        1 => (0..RUNTIMES).prop_map(Op::Fail),
        1 => place().prop_map(Op::Untracked),
    ]
}

/// Who looks at it.
pub(crate) fn look() -> impl Strategy<Value = Op> {
    let service =
        select(vec![Service::Now, Service::Now, Service::Now, Service::Slow, Service::Never]);
    prop_oneof![
        8 => (0..super::scrapers::VISITORS, service).prop_map(|(who, service)| Op::Visit(who, service)),
        1 => (0..super::scrapers::VISITORS).prop_map(Op::HangUp),
    ]
}

/// What happens to the exporter.
pub(crate) fn upkeep() -> impl Strategy<Value = Op> {
    prop_oneof![6 => Just(Op::Commit), 2 => Just(Op::Reopen), 1 => Just(Op::Crash)]
}

pub(crate) fn history(length: usize) -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![16 => event(), 3 => look(), 2 => upkeep()];
    vec(op, 1..length)
}
