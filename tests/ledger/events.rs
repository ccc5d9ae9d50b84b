//! What events do, as short stories and as random histories against plain sums.

use std::collections::BTreeMap;
use std::time::Duration;

use mozaiks_exporter::ledger::{Dimension, Kind, Ledger, Outcome, Settings};
use mozaiks_exporter::model::{
    About, Bookmark, Count, Counters, Event, Instant, Level, Mono, Report, RuntimeId, Source,
    Timestamp, Usage, Usd, What,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::pages::Album;
use super::play::{Rows, entries, keep};
use super::world::{Fact, SECOND, Said, usd};

const START: i64 = 1_700_000_000;
const RUNTIME: RuntimeId = RuntimeId(0);
const BOTH: &[Source] = &[Source::Scrape, Source::Logs];

fn at(second: i64) -> Timestamp {
    Timestamp((START + second) * SECOND)
}

/// A ledger that watches one runtime by these sources.
struct Desk {
    ledger: Ledger,
    rows: Rows,
    sources: &'static [Source],
    second: i64,
}

impl Desk {
    fn open(sources: &'static [Source]) -> Self {
        let ledger = Ledger::new(Settings::default());
        let mut desk = Self { ledger, rows: Rows::new(), sources, second: 0 };
        desk.ledger.watch("runtime", sources, desk.now());
        for source in sources.iter().filter(|source| **source != Source::Scrape) {
            desk.ledger.join(RUNTIME, *source);
        }
        desk
    }

    /// One whose sources have all told that there is nothing yet.
    fn met(sources: &'static [Source]) -> Self {
        let mut desk = Self::open(sources);
        for source in sources {
            match source {
                Source::Scrape => desk.poll([]),
                source => desk.ledger.caught_up(RUNTIME, *source, desk.now()),
            }
        }
        assert!(desk.ledger.runtimes()[0].is_met());
        desk
    }

    fn now(&self) -> Instant {
        Instant { wall: at(self.second), mono: Mono(self.second * SECOND) }
    }

    fn pass(&mut self, seconds: i64) {
        self.second += seconds;
        self.ledger.tick(self.now());
    }

    /// The runtime answers with these chats: number, start, end, turns.
    fn poll(&mut self, chats: impl IntoIterator<Item = (usize, i64, Option<i64>, u128)>) {
        let fact = |(chat, started, ended, turns): (usize, i64, Option<i64>, u128)| Fact {
            chat,
            started_at: Some(at(started)),
            ended_at: ended.map(at),
            totals: [turns, 0, 0, 0, 0, 0].map(Some),
            last_turn_seconds: Some(1.0),
        };
        let said = Said {
            source: Source::Scrape,
            runtime: 0,
            process: Some(at(-100)),
            clock: at(self.second),
            complete: true,
            unread: 0,
            unreadable: Vec::new(),
            facts: chats.into_iter().map(fact).collect(),
        };
        self.ledger.hear(&said.answer(), 0, self.now());
    }

    fn report(&self, source: Source, prior: bool, events: Vec<Event>) -> Report {
        let place = Bookmark { key: "log".into(), place: Some(self.second.to_string()) };
        let lines = BTreeMap::from([((Level::Info, "core".into()), events.len() as u64)]);
        Report { source, runtime: RUNTIME, prior, events, lines, bookmarks: vec![place] }
    }

    fn tell(&mut self, source: Source, events: impl IntoIterator<Item = Event>) {
        let report = self.report(source, false, events.into_iter().collect());
        self.ledger.learn(report, self.now());
    }

    fn told_before(&mut self, source: Source, events: impl IntoIterator<Item = Event>) {
        let report = self.report(source, true, events.into_iter().collect());
        self.ledger.learn(report, self.now());
    }

    fn reopen(&mut self) {
        let now = self.now();
        keep(&mut self.rows, self.ledger.take_changes(now).1);
        self.ledger = Ledger::restore(Settings::default(), entries(&self.rows), now).unwrap();
        self.ledger.watch("runtime", self.sources, now);
    }

    fn total(&self) -> Counters {
        let mut total = Counters::default();
        self.ledger.workflows().iter().for_each(|row| total.add(&row.totals));
        total
    }

    fn ends(&self, outcome: Outcome) -> u64 {
        self.ledger.workflows().iter().map(|row| row.ends[outcome as usize]).sum()
    }

    /// Numbers by label set.
    fn by(&self, dimension: Dimension) -> BTreeMap<String, u64> {
        let rows = self.ledger.breakdowns().iter().filter(|row| row.dimension == dimension);
        rows.map(|row| (row.names.join(" "), row.published.number)).collect()
    }
}

fn chat(chat: usize) -> About {
    About::Chat(super::world::chat_id(chat))
}

fn event(second: i64, about: About, what: What) -> Event {
    Event { at: at(second), about, app_id: None, workflow_name: None, user_id: None, what }
}

impl Desk {
    fn event(&self, about: About, what: What) -> Event {
        event(self.second, about, what)
    }
}

fn named(event: Event) -> Event {
    Event { app_id: Some("acme".into()), workflow_name: Some("Desk".into()), ..event }
}

fn usage(tokens: u64) -> Usage {
    let cost = usd(u128::from(tokens));
    Usage { prompt_tokens: tokens, completion_tokens: 0, cost }
}

fn call(tokens: u64) -> What {
    What::Call {
        agent: "Writer".into(),
        model: "gpt".into(),
        usage: usage(tokens),
        seconds: Some(2.0),
        cached: false,
        failed: false,
    }
}

fn turn(tokens: u64) -> What {
    What::Turn {
        agent: "Writer".into(),
        model: "gpt".into(),
        usage: usage(tokens),
        seconds: Some(1.5),
    }
}

#[test]
fn a_chat_that_the_routes_know_takes_what_its_log_lines_tell() {
    let mut desk = Desk::met(BOTH);
    desk.poll([(0, 0, None, 0)]);
    desk.tell(Source::Logs, [event(1, chat(0), call(10)), event(1, chat(0), call(5))]);
    assert_eq!(desk.total().get(Count::PromptTokens), 15);
    assert_eq!(desk.total().cost, usd(15));
    let drift = desk.ledger.drifts()[&mozaiks_exporter::model::Witness::Scrape];
    assert_eq!((drift.0.cost, drift.1.cost), (usd(15), Usd::ZERO), "the routes are blind");
}

#[test]
fn lines_that_say_the_same_are_not_added() {
    let mut desk = Desk::met(BOTH);
    desk.poll([(0, 0, None, 0)]);
    let recorded = What::Recorded { usage: usage(10) };
    desk.tell(Source::Logs, [turn(10), recorded, call(10)].map(|what| event(1, chat(0), what)));
    assert_eq!(desk.total().get(Count::PromptTokens), 10);
    assert_eq!(desk.total().get(Count::Turns), 1);
    let agents = desk.ledger.breakdowns().iter().filter(|row| row.dimension == Dimension::Agent);
    let tokens: u64 = agents.map(|row| row.published.usage.prompt_tokens).sum();
    assert_eq!(tokens, 10);
}

#[test]
fn who_is_not_introduced_waits_for_the_routes_and_survives_a_restart() {
    let mut desk = Desk::met(BOTH);
    desk.tell(Source::Logs, [event(1, chat(0), call(10))]);
    assert_eq!(desk.ledger.chats().count(), 0);
    desk.reopen();
    assert_eq!(desk.ledger.waiting(), 1);
    desk.poll([(0, 0, None, 0)]);
    let known = desk.ledger.chats().next().unwrap();
    assert_eq!(known.app_id(), "app0", "as the routes say");
    assert_eq!(known.book.published().get(Count::PromptTokens), 10);
    assert_eq!(desk.ledger.waiting(), 0);
    desk.reopen();
    assert_eq!(desk.ledger.waiting(), 0);
    assert_eq!(desk.total().get(Count::PromptTokens), 10);
}

#[test]
fn nobody_waits_for_ever() {
    let mut desk = Desk::met(BOTH);
    desk.tell(Source::Logs, [named(event(0, chat(0), call(10)))]);
    desk.pass(30);
    desk.reopen();
    desk.pass(29);
    assert_eq!(desk.ledger.waiting(), 1);
    desk.pass(1);
    assert_eq!(desk.ledger.waiting(), 0);
    let known = desk.ledger.chats().next().unwrap();
    assert_eq!(
        [known.app_id(), known.workflow_name(), known.user_id()],
        ["acme", "Desk", "unknown"]
    );
    assert_eq!(desk.total().get(Count::PromptTokens), 10);
}

#[test]
fn a_runtime_without_routes_is_known_by_its_log() {
    let mut desk = Desk::met(&[Source::Logs]);
    let started = event(0, chat(0), What::Started);
    let opened = What::SessionOpened { session_id: "s".into() };
    desk.tell(Source::Logs, [started.clone(), started, named(event(0, chat(0), opened))]);
    desk.pass(10);
    desk.tell(Source::Logs, [event(10, chat(0), call(10))]);
    let row = &desk.ledger.workflows()[0];
    assert_eq!((&*row.app_id, row.starts, row.active), ("acme", 1, 1), "two lines, one start");
    desk.tell(Source::Logs, [event(10, chat(0), What::Ended)]);
    let row = &desk.ledger.workflows()[0];
    assert_eq!((row.active, row.sessions.count()), (0, 1));
    assert!((row.sessions.sum_seconds() - 10.0).abs() < 1e-9);
    assert_eq!(desk.ends(Outcome::Completed), 1);
}

#[test]
fn a_failed_run_ends_as_one_whoever_tells_of_the_end() {
    for sources in [BOTH, &[Source::Logs]] {
        let mut desk = Desk::met(sources);
        if sources == BOTH {
            desk.poll([(0, 0, None, 0)]);
        }
        desk.tell(Source::Logs, [What::Started, What::Failed].map(|w| named(event(1, chat(0), w))));
        desk.pass(2);
        desk.tell(Source::Logs, [event(2, chat(0), What::Ended)]);
        if sources == BOTH {
            desk.poll([(0, 0, Some(2), 0)]);
        }
        assert_eq!((desk.ends(Outcome::Failed), desk.ends(Outcome::Completed)), (1, 0));
    }
}

#[test]
fn a_chat_that_only_its_log_tells_of_is_abandoned_when_it_falls_silent() {
    let mut desk = Desk::met(&[Source::Logs]);
    desk.tell(Source::Logs, [named(event(0, chat(0), What::Started))]);
    desk.pass(3599);
    assert_eq!(desk.ends(Outcome::Abandoned), 0);
    desk.pass(1);
    assert_eq!(desk.ends(Outcome::Abandoned), 1);
    assert_eq!(desk.ledger.workflows()[0].active, 0);
}

#[test]
fn a_chat_that_the_routes_call_ended_lives_when_its_log_goes_on() {
    let mut desk = Desk::met(BOTH);
    desk.poll([(0, 0, Some(5), 0)]);
    desk.tell(Source::Logs, [event(5, chat(0), call(1))]);
    assert_eq!(desk.ledger.live_chats().count(), 0, "written before the end, read after it");
    desk.pass(20);
    desk.tell(Source::Logs, [event(20, chat(0), call(1))]);
    assert_eq!(desk.ledger.live_chats().count(), 1);
    desk.pass(600);
    assert_eq!(desk.ledger.live_chats().count(), 0, "it fell quiet");
}

#[test]
fn calls_are_joined_to_chats_by_session_whichever_comes_first() {
    const ALL: &[Source] = &[Source::Scrape, Source::Logs, Source::Ag2];
    let session = || About::Session("s".into());
    let opened = || What::SessionOpened { session_id: "s".into() };
    for first in [Source::Logs, Source::Ag2] {
        let mut desk = Desk::met(ALL);
        desk.poll([(0, 0, None, 0)]);
        let say = |desk: &mut Desk, source| match source {
            Source::Logs => desk.tell(source, [event(1, chat(0), opened())]),
            _ => desk.tell(source, [event(1, session(), call(7))]),
        };
        say(&mut desk, first);
        desk.reopen();
        say(&mut desk, if first == Source::Logs { Source::Ag2 } else { Source::Logs });
        assert_eq!(
            desk.ledger.chats().next().unwrap().book.published().get(Count::PromptTokens),
            7
        );
        assert_eq!(desk.by(Dimension::Call)["app0 flow0 gpt false success"], 1);
    }
}

#[test]
fn calls_of_nobody_are_counted_under_unknown() {
    let mut desk = Desk::met(&[Source::Ag2]);
    desk.tell(Source::Ag2, [event(1, About::Session("s".into()), call(7))]);
    assert_eq!(desk.by(Dimension::Call)["unknown unknown gpt false success"], 1);
    assert_eq!(desk.ledger.chats().count(), 0);
}

#[test]
fn what_lay_there_before_is_the_baseline_and_is_shown_at_once() {
    let mut desk = Desk::open(BOTH);
    desk.told_before(Source::Logs, [named(event(-50, chat(0), turn(10)))]);
    desk.poll([]);
    assert!(!desk.ledger.runtimes()[0].is_met(), "the log is still being read");
    desk.ledger.caught_up(RUNTIME, Source::Logs, desk.now());
    assert!(desk.ledger.runtimes()[0].is_met());
    assert_eq!(desk.total().get(Count::PromptTokens), 10);
    assert!(desk.ledger.chats().all(|chat| chat.birth == 0));
    assert!(desk.ledger.breakdowns().iter().all(|row| row.birth == 0));
}

#[test]
fn a_follower_that_comes_late_adds_only_what_happens_from_then_on() {
    let mut desk = Desk::met(&[Source::Scrape]);
    desk.poll([(0, 0, None, 4)]);
    desk.ledger.watch("runtime", BOTH, desk.now());
    desk.ledger.join(RUNTIME, Source::Logs);
    desk.told_before(Source::Logs, [turn(1), turn(1)].map(|what| event(-5, chat(0), what)));
    desk.ledger.caught_up(RUNTIME, Source::Logs, desk.now());
    assert_eq!(desk.total().get(Count::Turns), 4);
    desk.tell(Source::Logs, [event(1, chat(0), turn(1))]);
    assert_eq!(desk.total().get(Count::Turns), 5);
    desk.poll([(0, 0, None, 5)]);
    assert_eq!(desk.total().get(Count::Turns), 5);
}

#[test]
fn a_turn_is_timed_once() {
    let timed = |desk: &Desk| {
        let agents: u64 = desk.ledger.breakdowns().iter().map(|row| row.durations.count()).sum();
        let row = &desk.ledger.workflows()[0];
        (agents, row.turns.count(), row.turns_unobserved)
    };
    let mut desk = Desk::met(BOTH);
    desk.poll([(0, 0, None, 0)]);
    desk.tell(Source::Logs, [event(1, chat(0), turn(1))]);
    desk.poll([(0, 0, None, 1)]);
    assert_eq!(timed(&desk), (1, 0, 0), "the log was first");
    desk.poll([(0, 0, None, 3)]);
    desk.tell(Source::Logs, [turn(1), turn(1)].map(|what| event(1, chat(0), what)));
    assert_eq!(timed(&desk), (1, 1, 1), "the poll was first");
    assert_eq!(desk.by(Dimension::Agent)["app0 flow0 Writer gpt"], 3);
}

#[test]
fn beyond_the_bound_label_sets_are_folded_and_nothing_is_lost() {
    let settings = Settings { max_breakdowns: 3, ..Settings::default() };
    let mut desk = Desk::met(&[Source::Logs]);
    desk.ledger = Ledger::new(settings);
    desk.ledger.watch("runtime", &[Source::Logs], desk.now());
    desk.ledger.caught_up(RUNTIME, Source::Logs, desk.now());
    for n in 0..10 {
        let tool =
            What::Tool { tool: format!("tool{n}"), ok: n % 2 == 0, as_call: true, seconds: None };
        desk.tell(Source::Logs, [named(event(1, chat(0), tool))]);
    }
    let tools = desk.by(Dimension::Tool);
    assert_eq!(tools.len(), 5);
    assert_eq!(tools.values().sum::<u64>(), 10);
    assert_eq!(tools["_other _other _other failed"], 4);
    assert_eq!(desk.ledger.tally().folded_breakdowns, 7);
    assert_eq!(desk.total().get(Count::Errors), 5);
}

#[test]
fn bookmarks_are_kept_with_what_they_stand_for() {
    let mut desk = Desk::met(&[Source::Logs]);
    desk.second = 7;
    desk.tell(Source::Logs, [named(event(1, chat(0), call(3)))]);
    desk.reopen();
    assert_eq!(desk.ledger.bookmarks("lo"), [("g".to_owned(), "7".to_owned())]);
    let gone = Bookmark { key: "log".into(), place: None };
    let mut report = desk.report(Source::Logs, false, Vec::new());
    report.bookmarks = vec![gone];
    desk.ledger.learn(report, desk.now());
    desk.reopen();
    assert!(desk.ledger.bookmarks("").is_empty());
}

#[test]
fn a_lost_row_of_a_follower_is_an_error() {
    let mut desk = Desk::met(&[Source::Logs]);
    let opened = What::SessionOpened { session_id: "s".into() };
    desk.tell(Source::Logs, [event(1, chat(0), opened)]);
    let now = desk.now();
    keep(&mut desk.rows, desk.ledger.take_changes(now).1);
    let whole = entries(&desk.rows);
    for kind in [Kind::Session, Kind::Guest, Kind::Bookmark] {
        let rest: Vec<_> = whole.iter().filter(|entry| entry.kind != kind).cloned().collect();
        assert_eq!(rest.len() + 1, whole.len(), "{kind:?}");
        assert!(Ledger::restore(Settings::default(), rest, now).is_err(), "{kind:?}");
    }
    assert!(Ledger::restore(Settings::default(), whole, now).is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    /// One chunk of a follower: chat and tokens of its turns and of its calls.
    Chunk(Vec<(usize, u64, bool)>),
    /// The routes answer with all chats that have a turn, as many as were told.
    Poll,
    Restart,
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => vec((0..5_usize, 1..50_u64, any::<bool>()), 1..6).prop_map(Step::Chunk),
        2 => Just(Step::Poll),
        1 => Just(Step::Restart),
        1 => (1..90_i64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// However lines, polls and restarts fall, each chat is worth the higher of what its turns and
    /// its calls sum up to, and the workflows are worth their chats.
    #[test]
    fn events_add_up_to_the_highest_of_their_voices(steps in vec(step(), 1..40)) {
        let mut desk = Desk::met(BOTH);
        let mut turns: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        let mut calls: BTreeMap<usize, u64> = BTreeMap::new();
        let mut album = Album::default();
        for step in steps {
            match step {
                Step::Chunk(lines) => {
                    let mut events = Vec::new();
                    for (number, tokens, is_turn) in lines {
                        if is_turn {
                            let sum = turns.entry(number).or_default();
                            *sum = (sum.0 + 1, sum.1 + tokens);
                        } else {
                            *calls.entry(number).or_default() += tokens;
                        }
                        let what = if is_turn { turn(tokens) } else { call(tokens) };
                        events.push(desk.event(chat(number), what));
                    }
                    desk.tell(Source::Logs, events);
                }
                Step::Poll => {
                    let chats: Vec<_> = (0..5_usize)
                        .map(|n| (n, 0, None, turns.get(&n).map_or(0, |(turns, _)| (*turns).into())))
                        .collect();
                    desk.poll(chats);
                }
                Step::Restart => desk.reopen(),
                Step::Pass(seconds) => desk.pass(seconds),
            }
            album.look(&desk.ledger);
        }
        desk.pass(120);
        let tokens = |n: &usize| {
            turns.get(n).map_or(0, |(_, tokens)| *tokens).max(calls.get(n).copied().unwrap_or(0))
        };
        let known: Vec<usize> = (0..5).collect();
        let total = desk.total();
        prop_assert_eq!(total.get(Count::PromptTokens), known.iter().map(tokens).sum::<u64>());
        prop_assert_eq!(total.cost, usd(known.iter().map(tokens).sum::<u64>().into()));
        prop_assert_eq!(total.get(Count::Turns), turns.values().map(|(turns, _)| turns).sum::<u64>());
        let timed: u64 = desk
            .ledger
            .breakdowns()
            .iter()
            .filter(|row| row.dimension == Dimension::Agent)
            .map(|row| row.durations.count())
            .sum();
        let seen: u64 =
            desk.ledger.workflows().iter().map(|w| w.turns.count() + w.turns_unobserved).sum();
        prop_assert_eq!(timed + seen, total.get(Count::Turns), "each turn once, timed or not");
    }
}

#[test]
fn waiting_is_measured_by_the_clock_that_only_goes_forward() {
    let mut desk = Desk::met(BOTH);
    desk.tell(Source::Logs, [event(0, chat(0), call(1))]);
    let now = Instant { wall: at(-500), mono: Mono(61 * SECOND) };
    desk.ledger.tick(now);
    assert_eq!(desk.ledger.waiting(), 0);
    assert!(Settings::default().introduction_wait <= Duration::from_secs(61));
}
