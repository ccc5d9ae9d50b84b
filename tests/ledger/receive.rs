//! What is pushed counts once, whatever is lost, repeated or overtaken on the way.

use mozaiks_exporter::ledger::{Kind, Ledger, Outcome, Received, Settings};
use mozaiks_exporter::model::{
    About, Answer, ChatSnapshot, Count, Counters, Delivery, Event, EventId, Instant, Mono,
    RuntimeId, Source, Stated, Timestamp, UNKNOWN, Usage, What,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::pages::Album;
use super::play::{Rows, entries, keep};
use super::world::SECOND;

const START: i64 = 1_700_000_000;
const RUNTIME: RuntimeId = RuntimeId(0);

/// An exporter that is told and not asked, and what is on its disk.
pub(super) struct Desk {
    pub(super) ledger: Ledger,
    rows: Rows,
    settings: Settings,
    second: i64,
}

impl Desk {
    fn open() -> Self {
        Self::with(Settings::default())
    }

    pub(super) fn with(settings: Settings) -> Self {
        let ledger = Ledger::new(settings.clone());
        let mut desk = Self { ledger, rows: Rows::new(), settings, second: 0 };
        desk.start();
        desk
    }

    fn start(&mut self) {
        let now = self.now();
        let id = self.ledger.watch("runtime", &[], now);
        self.ledger.open(id, Source::Receive, now);
        self.ledger.open(id, Source::UsageIngest, now);
    }

    fn now(&self) -> Instant {
        let micros = self.second * SECOND;
        Instant { wall: Timestamp(START * SECOND + micros), mono: Mono(micros) }
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.second += seconds;
        self.ledger.tick(self.now());
    }

    pub(super) fn commit(&mut self) {
        let now = self.now();
        keep(&mut self.rows, self.ledger.take_changes(now).1);
    }

    /// Chats on the disk.
    pub(super) fn chat_rows(&self) -> usize {
        entries(&self.rows).iter().filter(|entry| entry.kind == Kind::Chat).count()
    }

    /// The process dies, and with it what is not on the disk.
    pub(super) fn crash(&mut self) {
        let now = self.now();
        self.ledger = Ledger::restore(self.settings.clone(), entries(&self.rows), now).unwrap();
        self.start();
    }

    fn push(&mut self, id: Option<u64>, event: Event) -> Received {
        let delivery = Delivery { id: id.map(EventId), content: event };
        self.ledger.receive(RUNTIME, [delivery], self.now())[0]
    }

    pub(super) fn tell(&mut self, chat: &str, what: What) {
        let event = self.event(chat, what);
        self.push(None, event);
    }

    fn event(&self, chat: &str, what: What) -> Event {
        let is_start = what == What::Started;
        let name = |name: &str| is_start.then(|| name.to_owned());
        Event {
            at: self.now().wall,
            about: About::Chat(chat.to_owned()),
            app_id: name("acme"),
            workflow_name: name("Desk"),
            user_id: name("alice"),
            what,
        }
    }

    pub(super) fn total(&self) -> Counters {
        let mut total = Counters::default();
        self.ledger.workflows().iter().for_each(|row| total.add(&row.totals));
        total
    }

    pub(super) fn starts(&self) -> u64 {
        self.ledger.workflows().iter().map(|row| row.starts).sum()
    }

    pub(super) fn ends(&self, outcome: Outcome) -> u64 {
        self.ledger.workflows().iter().map(|row| row.ends[outcome as usize]).sum()
    }

    /// The runtime's own summary: tokens since ever.
    pub(super) fn summarise(&mut self, id: u64, chat: &str, tokens: u64) -> Received {
        let mut totals = Stated::default();
        totals.counts[Count::PromptTokens as usize] = Some(tokens);
        let snapshot = ChatSnapshot {
            chat_id: chat.into(),
            app_id: "acme".into(),
            workflow_name: "General".into(),
            user_id: "alice".into(),
            started_at: None,
            ended_at: None,
            failed: false,
            updated_at: None,
            totals,
            last_turn_seconds: None,
        };
        let answer = Answer {
            source: Source::UsageIngest,
            runtime: RUNTIME,
            process: None,
            runtime_clock: self.now().wall,
            complete: false,
            more: false,
            bookmarks: Vec::new(),
            chats: vec![snapshot],
            unreadable: Vec::new(),
        };
        self.ledger.receive_answer(Some(EventId(id)), &answer, self.now())
    }
}

pub(super) fn turn(tokens: u64) -> What {
    let usage = Usage { prompt_tokens: tokens, ..Usage::default() };
    What::Turn { agent: "a".into(), model: "m".into(), usage, seconds: Some(1.0) }
}

fn tool(ok: bool, as_call: bool) -> What {
    What::Tool { tool: "t".into(), ok, as_call, seconds: None }
}

#[test]
fn a_chat_id_that_is_used_again_is_a_new_run_with_counters_that_go_on() {
    let mut desk = Desk::open();
    for run in 1..=3 {
        desk.tell("c", What::Started);
        desk.tell("c", What::Started);
        desk.pass(10);
        desk.tell("c", turn(100));
        desk.tell("c", if run == 2 { What::Aborted } else { What::Ended });
        desk.pass(10);
        assert!(!desk.ledger.chat("c").unwrap().is_live());
        desk.commit();
        desk.crash();
    }
    assert_eq!((desk.starts(), desk.total().get(Count::Turns)), (3, 3));
    assert_eq!((desk.ends(Outcome::Completed), desk.ends(Outcome::Failed)), (2, 1));
    let sessions = &desk.ledger.workflows()[0].sessions;
    assert_eq!((sessions.count(), sessions.sum_seconds()), (3, 30.0));
}

#[test]
fn what_overtakes_its_start_waits_for_it() {
    let mut desk = Desk::open();
    let end = desk.event("c", What::Ended);
    desk.tell("c", turn(5));
    desk.push(None, end);
    assert!(desk.ledger.chat("c").is_none());
    desk.commit();
    desk.crash();
    desk.tell("c", What::Started);
    let chat = desk.ledger.chat("c").unwrap();
    assert_eq!((chat.user_id(), chat.is_live()), ("alice", false));
    assert_eq!((desk.starts(), desk.ends(Outcome::Completed)), (1, 1));
    assert_eq!(desk.total().get(Count::PromptTokens), 5);
}

#[test]
fn what_nobody_introduces_counts_for_nobody_after_a_minute() {
    let mut desk = Desk::open();
    desk.tell("c", turn(5));
    desk.pass(59);
    assert_eq!(desk.total(), Counters::default());
    desk.pass(1);
    assert_eq!(desk.total().get(Count::PromptTokens), 5);
    assert_eq!(desk.ledger.chat("c").unwrap().app_id(), UNKNOWN);
}

#[test]
fn a_silent_chat_is_abandoned_and_lives_again_when_it_moves() {
    let mut desk = Desk::open();
    desk.tell("c", What::Started);
    desk.pass(3599);
    assert!(desk.ledger.chat("c").unwrap().is_live());
    desk.pass(1);
    assert!(!desk.ledger.chat("c").unwrap().is_live());
    assert_eq!(desk.ends(Outcome::Abandoned), 1);
    desk.pass(10);
    desk.tell("c", turn(5));
    assert!(desk.ledger.chat("c").unwrap().is_live());
}

#[test]
fn a_failed_tool_call_counts_as_it_is_set() {
    let mut desk = Desk::open();
    desk.tell("c", What::Started);
    desk.tell("c", tool(true, false));
    desk.tell("c", tool(false, false));
    let total = desk.total();
    assert_eq!((total.get(Count::ToolCalls), total.get(Count::Errors)), (1, 1));
    desk.tell("c", tool(false, true));
    let total = desk.total();
    assert_eq!((total.get(Count::ToolCalls), total.get(Count::Errors)), (2, 2));
}

#[test]
fn events_and_routes_of_one_chat_are_two_witnesses_of_it() {
    let mut desk = Desk::open();
    desk.tell("c", What::Started);
    desk.tell("c", turn(100));
    // The runtime's own summary says as much, and then a little more.
    desk.summarise(1, "c", 100);
    assert_eq!(desk.total().get(Count::PromptTokens), 100);
    desk.summarise(2, "c", 130);
    desk.tell("c", turn(20));
    assert_eq!(desk.total().get(Count::PromptTokens), 130);
}

#[test]
fn a_chat_of_which_sums_are_told_is_not_forgotten() {
    let mut desk = Desk::open();
    desk.summarise(1, "c", 100);
    for _ in 0..30 {
        desk.pass(24 * 3600);
        desk.commit();
        desk.crash();
    }
    assert!(desk.ledger.chat("c").is_none(), "it has no series any more");
    desk.summarise(2, "c", 110);
    assert_eq!(desk.total().get(Count::PromptTokens), 110);
}

#[test]
fn an_id_counts_again_only_after_its_window() {
    let mut desk = Desk::open();
    let push = |desk: &mut Desk, id: u64| {
        let event = desk.event("c", turn(1));
        desk.push(Some(id), event)
    };
    // More than a chunk, so that the oldest can be forgotten.
    for id in 0..100 {
        assert_eq!(push(&mut desk, id), Received::New);
    }
    desk.pass(24 * 3600 - 1);
    assert_eq!(push(&mut desk, 0), Received::Duplicate);
    desk.pass(1);
    assert_eq!(push(&mut desk, 1000), Received::New);
    assert_eq!(push(&mut desk, 0), Received::New);
}

/// What happens between a client and an exporter that is killed now and then.
#[derive(Debug, Clone)]
enum Op {
    /// Some of the events are sent, perhaps for the tenth time.
    Send(Vec<usize>),
    /// What was received gets on the disk, and is acknowledged.
    Commit,
    Crash,
    Pass(i64),
}

/// An event: its chat, and what it is.
#[derive(Debug, Clone)]
struct Thing {
    chat: usize,
    what: What,
}

fn thing() -> impl Strategy<Value = Thing> {
    let what = prop_oneof![
        2 => Just(What::Started),
        6 => (0_u64..1000).prop_map(turn),
        2 => any::<bool>().prop_map(|ok| tool(ok, false)),
        1 => Just(What::Ended),
        1 => Just(What::Aborted),
    ];
    (0_usize..4, what).prop_map(|(chat, what)| Thing { chat, what })
}

fn op(things: usize) -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => vec(0..things, 1..8).prop_map(Op::Send),
        2 => Just(Op::Commit),
        1 => Just(Op::Crash),
        1 => (1_i64..4000).prop_map(Op::Pass),
    ]
}

const THINGS: usize = 40;

proptest! {
    #![proptest_config(super::cases(200))]

    #[test]
    fn what_is_sent_until_it_is_acknowledged_counts_once(
        things in vec(thing(), THINGS), ops in vec(op(THINGS), 1..60),
    ) {
        let mut desk = Desk::open();
        let send = |desk: &mut Desk, index: usize| {
            let Thing { chat, what } = things[index].clone();
            let event = desk.event(&format!("chat-{chat}"), what);
            desk.push(Some(index as u64), event);
        };
        let mut album = Album::default();
        let (mut acknowledged, mut sent) = (vec![false; THINGS], Vec::new());
        for op in ops {
            match op {
                Op::Send(indexes) => {
                    for index in &indexes {
                        send(&mut desk, *index);
                    }
                    sent.extend(indexes);
                }
                Op::Commit => {
                    desk.commit();
                    sent.drain(..).for_each(|index| acknowledged[index] = true);
                }
                Op::Crash => {
                    desk.crash();
                    sent.clear();
                }
                Op::Pass(seconds) => desk.pass(seconds),
            }
            album.look(&desk.ledger);
        }
        for index in (0..THINGS).filter(|index| !acknowledged[*index]) {
            send(&mut desk, index);
        }
        // Whoever was never introduced is counted under no name.
        desk.pass(120);
        let mut expected = Counters::default();
        for Thing { what, .. } in &things {
            match what {
                What::Turn { usage, .. } => {
                    expected.counts[Count::Turns as usize] += 1;
                    expected.counts[Count::PromptTokens as usize] += usage.prompt_tokens;
                }
                What::Tool { ok: true, .. } => expected.counts[Count::ToolCalls as usize] += 1,
                What::Tool { .. } => expected.counts[Count::Errors as usize] += 1,
                _ => {}
            }
        }
        prop_assert_eq!(desk.total(), expected);
        // Who was abandoned may come back and end after all.
        let ends = desk.ends(Outcome::Completed) + desk.ends(Outcome::Failed);
        prop_assert!(ends <= desk.starts(), "{ends} ends of {} starts", desk.starts());
        super::sums_are_those_of_the_chats_that_are_shown(&desk.ledger);
    }
}
