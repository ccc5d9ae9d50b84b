//! One history, told to the ledger and to the oracle side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mozaiks_exporter::ledger::{
    Birth, Chat, Entry, Histogram, Kind, Ledger, Outcome, Runtime, SESSION_BOUNDS, Settings,
    TURN_BOUNDS, Ticket,
};
use mozaiks_exporter::model::{
    ChatSnapshot, Counters, Hear as _, Instant, Mark, Mention, Mono, RuntimeId, Source, Timestamp,
};
use proptest::prelude::*;
use proptest::sample::select;

use super::oracle::Oracle;
use super::scrapers::Scrapers;
use super::world::{
    Amounts, Nature, Op, Place, RUNTIMES, SECOND, Said, Service, World, amounts, chat_id,
    picodollars,
};

/// What the state store holds.
pub(crate) type Rows = BTreeMap<(Kind, u64), String>;
/// Every counter that has a series, by its name and labels.
pub(crate) type Series = BTreeMap<String, u128>;

/// What is watched, and how.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    natures: [Nature; RUNTIMES],
    expected: [Vec<Source>; RUNTIMES],
}

/// What a poll told in one place, and what the ledger made of it.
type Seat = (ChatSnapshot<'static>, Option<Mark>);

/// What a history leaves on the disk of the exporter.
#[derive(Debug, Clone)]
struct Disk {
    rows: Rows,
    oracle: Oracle,
    scrapers: Scrapers,
}

pub(crate) struct Play {
    setup: Setup,
    world: World,
    pub(crate) ledger: Ledger,
    pub(crate) oracle: Oracle,
    pub(crate) scrapers: Scrapers,
    pub(crate) now: Instant,
    disk: Disk,
    /// Changes that have yet to reach the disk.
    changes: Vec<Entry>,
    /// Which chat a row holds.
    chat_rows: BTreeMap<u64, (usize, usize)>,
    slow: Option<(Ticket, u64, Birth)>,
    /// What was just heard, if nothing in it was refused.
    pub(crate) just_heard: Option<Said>,
    /// What was wrong with what was hidden and what was shown.
    pub(crate) births: Result<(), String>,
    /// What polls last told of each runtime, place by place, if what is told again is passed over.
    last: Option<[Vec<Seat>; RUNTIMES]>,
    /// Chats that were passed over.
    pub(crate) passed_over: usize,
}

pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    let small_or_large = || select(vec![1, 2, 4, 1_000]);
    let retention = prop_oneof![Just(180_u64), Just(900), Just(86_400)];
    let nature = || {
        (any::<bool>(), select(vec![false, false, true]))
            .prop_map(|(anonymous, startless)| Nature { anonymous, startless })
    };
    let expected = || {
        select(vec![
            vec![Source::Scrape],
            vec![Source::Scrape, Source::Mongodb],
            vec![Source::Scrape, Source::Mongodb, Source::Logs],
        ])
    };
    let bounds = (small_or_large(), small_or_large(), small_or_large());
    (retention, bounds, [nature(), nature()], [expected(), expected()]).prop_map(
        |(retention, (max_chats, max_workflows, max_users), natures, expected)| {
            // A forgotten chat can be recognised by its start alone.
            let startless = natures.iter().any(|nature| nature.startless);
            let retention = if startless { 86_400 * 365 } else { retention };
            let settings = Settings {
                retention: Duration::from_secs(retention),
                lost_after: Duration::from_mins(1),
                quiet_after: Duration::from_secs(100),
                grace: Duration::from_secs(30),
                max_chats,
                max_workflows,
                max_users,
                // Of snapshots nobody is abandoned; events have tests of their own.
                abandoned_after: Duration::MAX,
                ..Settings::default()
            };
            Setup { settings, natures, expected }
        },
    )
}

impl Setup {
    fn open(&self, rows: &Rows, now: Instant) -> Ledger {
        let mut ledger = Ledger::restore(self.settings.clone(), entries(rows), now).unwrap();
        self.watch(&mut ledger, now);
        ledger
    }

    fn watch(&self, ledger: &mut Ledger, now: Instant) {
        for (n, expected) in self.expected.iter().enumerate() {
            ledger.watch(&format!("runtime{n}"), expected, now);
        }
    }
}

pub(crate) fn entries(rows: &Rows) -> Vec<Entry> {
    rows.iter()
        .map(|((kind, id), body)| Entry { kind: *kind, id: *id, body: Some(body.clone()) })
        .collect()
}

pub(crate) fn keep(rows: &mut Rows, changes: impl IntoIterator<Item = Entry>) {
    for Entry { kind, id, body } in changes {
        match body {
            Some(body) => rows.insert((kind, id), body),
            None => rows.remove(&(kind, id)),
        };
    }
}

/// Runtime and number of a chat.
pub(crate) fn key(chat: &Chat) -> (usize, usize) {
    (chat.runtime.0.into(), chat.chat_id().strip_prefix("chat").unwrap().parse().unwrap())
}

/// As [`key`], of a row that is kept.
fn row_key(body: &str) -> (usize, usize) {
    let row: serde_json::Value = serde_json::from_str(body).unwrap();
    let runtime = row.get("r").map_or(0, |runtime| runtime.as_u64().unwrap());
    let number = row["i"].as_str().unwrap().strip_prefix("chat").unwrap();
    (runtime.try_into().unwrap(), number.parse().unwrap())
}

impl Play {
    pub(crate) fn new(setup: &Setup) -> Self {
        let wall = Timestamp(1_800_000_000 * SECOND);
        let now = Instant { wall, mono: Mono(7 * SECOND) };
        let mut ledger = Ledger::new(setup.settings.clone());
        setup.watch(&mut ledger, now);
        let oracle = Oracle::new(setup.settings.clone(), setup.expected.clone(), now);
        let scrapers = Scrapers::default();
        let mut play = Self {
            setup: setup.clone(),
            world: World::new(setup.natures),
            ledger,
            oracle: oracle.clone(),
            scrapers: scrapers.clone(),
            now,
            disk: Disk { rows: Rows::new(), oracle, scrapers },
            changes: Vec::new(),
            chat_rows: BTreeMap::new(),
            slow: None,
            just_heard: None,
            births: Ok(()),
            last: None,
            passed_over: 0,
        };
        play.collect();
        play.commit();
        play
    }

    /// From now on, chats of which a poll tells what the last one told are not told again.
    pub(crate) fn passing_over(mut self) -> Self {
        self.last = Some(Default::default());
        self
    }

    /// Lets one thing happen.
    pub(crate) fn step(&mut self, op: &Op) {
        let slow = self.slow.take();
        self.just_heard = None;
        self.pass(SECOND / 1000);
        self.tick();
        match op {
            Op::Pass(seconds) => self.pass(seconds * SECOND),
            Op::SetWall(seconds) => self.now.wall.0 += seconds * SECOND,
            Op::Work(at, growth) => self.world.work(*at, growth),
            Op::End(at) => self.world.end(*at),
            Op::Vanish(at) => self.vanish(*at),
            Op::RestartWorker(at) => self.world.restart(at.runtime, Some(at.worker)),
            Op::RestartRuntime(runtime) => self.world.restart(*runtime, None),
            Op::Poll(at, flaw) => {
                let said = self.world.poll(*at, *flaw);
                self.hear(&said);
            }
            Op::Late(back) => self.hear_if_any(self.world.late(*back)),
            Op::Tell(at, source, sight, tells_end, mask) => {
                self.hear_if_any(self.world.tell(*at, *source, *sight, *tells_end, *mask));
            }
            Op::Fail(runtime) => self.ledger.runtime_failed(runtime_id(*runtime)),
            Op::Untracked(at) => {
                let id = chat_id(at.chat);
                self.ledger.chat_untracked(runtime_id(at.runtime), &id, self.now);
                self.oracle.untracked(at.runtime, at.chat, self.now);
            }
            Op::Visit(who, service) => self.visit(*who, *service),
            Op::HangUp(who) => {
                if let Some(connection) = self.scrapers.hang_up(*who) {
                    self.ledger.hang_up(connection);
                }
            }
            Op::Commit => self.commit(),
            Op::Reopen => {
                self.commit();
                self.reopen();
            }
            Op::Crash => self.reopen(),
        }
        if let Some((ticket, connection, shows)) = slow {
            self.ledger.scrape_served(ticket);
            self.scrapers.served(connection, shows);
        }
        self.tick();
    }

    fn pass(&mut self, micros: i64) {
        self.now.mono.0 += micros;
        self.now.wall.0 += micros;
        self.world.pass(micros);
    }

    fn tick(&mut self) {
        self.ledger.tick(self.now);
        self.oracle.tick(self.now);
        self.collect();
        let ledger = &self.ledger;
        let judged = self.scrapers.judge(|birth| ledger.hides(birth), self.now);
        self.births = std::mem::replace(&mut self.births, Ok(())).and(judged);
    }

    /// Takes what has changed out of the ledger, and learns of births and of what was forgotten.
    fn collect(&mut self) {
        let (_, changes) = self.ledger.take_changes(self.now);
        for entry in changes.iter().filter(|entry| entry.kind == Kind::Chat) {
            if let Some(body) = &entry.body {
                let named = || row_key(body);
                self.chat_rows.entry(entry.id).or_insert_with(named);
            } else if let Some((runtime, chat)) = self.chat_rows.remove(&entry.id) {
                self.oracle.forget(runtime, chat);
            }
        }
        self.changes.extend(changes);
        self.scrapers.born(births(&self.ledger), self.now);
    }

    fn hear_if_any(&mut self, said: Option<Said>) {
        if let Some(said) = said {
            self.hear(&said);
        }
    }

    fn hear(&mut self, said: &Said) {
        let refused = (self.oracle.regressions, self.oracle.duplicates);
        self.tell(said);
        self.oracle.hear(said, self.now);
        let is_clean = refused == (self.oracle.regressions, self.oracle.duplicates);
        self.just_heard = is_clean.then(|| said.clone());
        // What lost its series by this had them while it grew.
        let folded: BTreeSet<_> = self.ledger.chats().filter(|c| c.folded).map(key).collect();
        self.oracle.credit(&folded);
        self.collect();
    }

    fn tell(&mut self, said: &Said) {
        let answer = said.answer();
        let last = self.last.as_mut().filter(|_| said.source == Source::Scrape);
        let Some(last) = last.map(|last| &mut last[said.runtime]) else {
            return self.ledger.hear(&answer, said.unread, self.now);
        };
        if !said.complete {
            last.clear();
            return self.ledger.hear(&answer, said.unread, self.now);
        }
        last.truncate(answer.chats.len());
        for (place, chat) in answer.chats.iter().enumerate() {
            match last.get_mut(place) {
                Some((before, _)) if before == chat => {}
                Some(seat) => *seat = (chat.clone(), None),
                None => last.push((chat.clone(), None)),
            }
        }
        let mentions = last.iter().map(|(chat, mark)| match mark {
            Some(mark) => Mention::Same(mark),
            None => Mention::New(chat),
        });
        let hearing = self.ledger.hearing(&answer, said.unread, mentions, self.now);
        let mut hearing = hearing.unwrap();
        for (chat, mark) in &mut *last {
            if mark.is_some_and(|mark| hearing.still(&mark)) {
                self.passed_over += 1;
            } else {
                *mark = hearing.say(chat);
            }
        }
        let heard = hearing.end();
        let mut expected = Counters::default();
        for chat in &answer.chats {
            expected.add(&chat.totals.or(&Counters::default()));
        }
        assert_eq!(heard.sum, expected);
        if !heard.distinct {
            last.clear();
        }
    }

    /// What the ledger has never heard of cannot be missed; and what a crash may make it forget
    /// would be news to it when it comes back.
    fn vanish(&mut self, at: Place) {
        let known = self.world.life_key(at).is_some_and(|start| {
            let chat = self.disk.oracle.chats.get(&(at.runtime, at.chat));
            chat.is_some_and(|chat| chat.knows(Source::Scrape, start))
        });
        if known {
            self.world.vanish(at);
        }
    }

    fn visit(&mut self, who: usize, service: Service) {
        let visitor = self.scrapers.visitor(who, self.now);
        let (connection, shows) = (visitor.connection, self.scrapers.last());
        let ticket = self.ledger.scrape_begins(&visitor, self.now);
        match service {
            Service::Now => {
                self.ledger.scrape_served(ticket);
                self.scrapers.served(connection, shows);
            }
            Service::Slow => self.slow = Some((ticket, connection, shows)),
            Service::Never => {}
        }
    }

    pub(crate) fn commit(&mut self) {
        keep(&mut self.disk.rows, self.changes.drain(..));
        self.disk.oracle = self.oracle.clone();
        self.disk.scrapers = self.scrapers.clone();
    }

    /// Goes on with what is on the disk.
    fn reopen(&mut self) {
        self.changes.clear();
        self.slow = None;
        self.last = self.last.take().map(|_| Default::default());
        self.world.hang_up();
        self.ledger = self.setup.open(&self.disk.rows, self.now);
        self.oracle = self.disk.oracle.reopened(self.now);
        self.scrapers = self.disk.scrapers.reopened(self.now);
        self.chat_rows = self.ledger_rows();
        self.collect();
    }

    fn ledger_rows(&self) -> BTreeMap<u64, (usize, usize)> {
        let chats = self.disk.rows.iter().filter(|((kind, _), _)| *kind == Kind::Chat);
        chats.map(|((_, id), body)| (*id, row_key(body))).collect()
    }

    /// A ledger made of what is on the disk, beside the one that goes on.
    pub(crate) fn restored(&self) -> Ledger {
        self.setup.open(&self.disk.rows, self.now)
    }

    /// Whether all that the ledger holds is on the disk, so that it may be shown.
    pub(crate) fn is_committed(&self) -> bool {
        self.changes.is_empty()
    }

    /// What was said last.
    pub(crate) fn said_last(&self) -> Option<Said> {
        self.world.late(0)
    }

    pub(crate) fn rows(&self) -> &Rows {
        &self.disk.rows
    }
}

fn runtime_id(runtime: usize) -> RuntimeId {
    RuntimeId(runtime.try_into().unwrap())
}

/// The births of everything that has series.
fn births(ledger: &Ledger) -> Vec<Birth> {
    let chats = ledger.chats().map(|chat| chat.birth);
    let workflows = ledger.workflows().iter().map(|row| row.birth);
    let users = ledger.users().iter().map(|row| row.birth);
    let folded = ledger.runtimes().iter().filter_map(|runtime| runtime.folded_birth);
    chats.chain(workflows).chain(users).chain(folded).collect()
}

/// All counters as a scraper is shown them now.
pub(crate) fn series(ledger: &Ledger) -> Series {
    let mut series = Series::new();
    let mut put = |name: String, birth: Birth, value: u128| {
        series.insert(name, if ledger.hides(birth) { 0 } else { value });
    };
    let is_met = |id: RuntimeId| ledger.runtime(id).is_some_and(Runtime::is_met);
    for chat in ledger.chats().filter(|chat| !chat.folded && is_met(chat.runtime)) {
        for (n, value) in amounts(chat.book.published()).into_iter().enumerate() {
            put(format!("chat {:?} {n}", key(chat)), chat.birth, value);
        }
    }
    for row in ledger.workflows().iter().filter(|row| is_met(row.runtime)) {
        let labels = format!("workflow {} {} {}", row.runtime.0, row.app_id, row.workflow_name);
        let mut values: Vec<u128> = amounts(&row.totals).into();
        values.extend([row.starts, row.turns_unobserved, row.unpriced_tokens].map(u128::from));
        values.extend(row.ends.map(u128::from));
        values.extend(buckets(&row.sessions, SESSION_BOUNDS));
        values.extend(buckets(&row.turns, TURN_BOUNDS));
        for (n, value) in values.into_iter().enumerate() {
            put(format!("{labels} {n}"), row.birth, value);
        }
    }
    for row in ledger.users().iter().filter(|row| row.shown && is_met(row.runtime)) {
        let own = row.own();
        for (n, value) in
            [own.chats.into(), own.tokens.into(), picodollars(own.cost)].into_iter().enumerate()
        {
            let labels = format!("user {} {} {}", row.runtime.0, row.app_id, row.user_id);
            put(format!("{labels} {n}"), row.birth, value);
        }
    }
    for runtime in ledger.runtimes().iter().filter(|runtime| runtime.is_met()) {
        put(format!("runtime {} restarts", runtime.name), 0, runtime.restarts.into());
        if let Some(birth) = runtime.folded_birth {
            for (n, value) in amounts(&runtime.folded).into_iter().enumerate() {
                put(format!("runtime {} folded {n}", runtime.name), birth, value);
            }
        }
    }
    series
}

fn buckets(histogram: &Histogram, bounds: &[f64]) -> Vec<u128> {
    let mut values: Vec<u128> = histogram.cumulative(bounds).into_iter().map(u128::from).collect();
    values.push(histogram.count().into());
    values
}

/// The ends of chats that were told, and those of chats that got lost.
pub(crate) fn ends(ends: [u64; Outcome::ALL.len()]) -> (u64, u64) {
    (ends[Outcome::Completed as usize], ends[Outcome::Lost as usize])
}

/// Sum of what `value` says of each.
pub(crate) fn sum<T>(items: impl Iterator<Item = T>, value: impl Fn(T) -> Amounts) -> Amounts {
    let mut sum = [0; 6];
    for item in items {
        super::world::add(&mut sum, &value(item));
    }
    sum
}
