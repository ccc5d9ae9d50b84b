//! What a shared store is owed, as short stories and as random histories against a plain account.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mozaiks_exporter::ledger::{Debt, Ledger, Owing, Settings};
use mozaiks_exporter::model::{
    About, Count, Delivery, Event, Instant, Mono, RuntimeId, Source, Usage, What,
};
use proptest::collection::vec;
use proptest::prelude::*;

use super::play::{Rows, entries, keep};
use super::world::{SECOND, chat_id};

const START: i64 = 1_700_000_000;
const RUNTIME: RuntimeId = RuntimeId(0);
const ALL: usize = usize::MAX;

fn settings(shared_store: bool) -> Settings {
    Settings { shared_store, ..Settings::default() }
}

/// A ledger that is told by those who push, and what of it is on the disk.
struct Desk {
    ledger: Ledger,
    rows: Rows,
    second: i64,
}

impl Desk {
    fn open(shared_store: bool) -> Self {
        let ledger = Ledger::new(settings(shared_store));
        let mut desk = Self { ledger, rows: Rows::new(), second: 0 };
        desk.watch();
        desk
    }

    fn watch(&mut self) {
        let now = self.now();
        self.ledger.watch("runtime", &[], now);
        self.ledger.open(RUNTIME, Source::Receive, now);
    }

    fn now(&self) -> Instant {
        let wall = mozaiks_exporter::model::Timestamp((START + self.second) * SECOND);
        Instant { wall, mono: Mono(self.second * SECOND) }
    }

    fn push(&mut self, chat: usize, what: What) {
        let event = Event {
            at: self.now().wall,
            about: About::Chat(chat_id(chat)),
            app_id: Some("acme".into()),
            workflow_name: Some("Desk".into()),
            user_id: Some("alice".into()),
            what,
        };
        let now = self.now();
        self.ledger.receive(RUNTIME, [Delivery { id: None, content: event }], now);
    }

    fn turn(&mut self, chat: usize) {
        let (agent, model) = ("Writer".into(), "gpt".into());
        let usage = Usage { prompt_tokens: 10, ..Usage::default() };
        self.push(chat, What::Turn { agent, model, usage, seconds: None });
    }

    fn owed(&self) -> Vec<Owing> {
        self.ledger.owed(0, self.ledger.last_ticket(), ALL, self.now().wall)
    }

    fn names(&self) -> Vec<String> {
        self.owed().iter().map(|chat| chat.chat_id.to_string()).collect()
    }

    fn settle(&mut self, chat: &Owing) {
        self.ledger.settle_debt(chat.no, chat.revision, self.now().wall);
    }

    fn save(&mut self) {
        let now = self.now();
        keep(&mut self.rows, self.ledger.take_changes(now).1);
    }

    /// The process is killed, and comes back with what is on the disk.
    fn reopen(&mut self, shared_store: bool) {
        let now = self.now();
        self.ledger = Ledger::restore(settings(shared_store), entries(&self.rows), now).unwrap();
        self.watch();
    }
}

#[test]
fn what_changes_is_owed_in_order_until_it_is_settled() {
    let mut desk = Desk::open(true);
    assert_eq!(desk.ledger.debt(), Debt::default());
    for chat in [2, 0, 1] {
        desk.second += 1;
        desk.turn(chat);
    }
    desk.turn(2);
    assert_eq!(desk.names(), [2, 0, 1].map(chat_id));
    let debt = desk.ledger.debt();
    assert_eq!((debt.chats, debt.since.unwrap().0), (3, (START + 1) * SECOND));
    let owed = desk.owed();
    assert_eq!(owed[0].totals.get(Count::Turns), 2);
    // In batches.
    let now = desk.now().wall;
    let first = desk.ledger.owed(0, desk.ledger.last_ticket(), 2, now);
    assert_eq!(first, owed[..2]);
    let second = desk.ledger.owed(first[1].ticket, desk.ledger.last_ticket(), 2, now);
    assert_eq!(second, owed[2..]);

    // One moves on while it is written.
    desk.turn(0);
    desk.second += 10;
    for chat in &owed {
        desk.settle(chat);
    }
    assert_eq!(desk.names(), [chat_id(0)]);
    assert_eq!(desk.ledger.debt().since, Some(desk.now().wall));
    let again = desk.owed();
    desk.settle(&again[0]);
    assert_eq!(desk.ledger.debt(), Debt::default());
    // Settling what is not owed changes nothing.
    desk.settle(&again[0]);
    assert_eq!(desk.ledger.debt(), Debt::default());
}

#[test]
fn late_news_is_owed_since_it_came() {
    let mut desk = Desk::open(true);
    desk.second = 3600;
    let now = desk.now();
    let event = Event {
        at: mozaiks_exporter::model::Timestamp(START * SECOND),
        about: About::Chat(chat_id(0)),
        app_id: Some("acme".into()),
        workflow_name: Some("Desk".into()),
        user_id: None,
        what: What::Started,
    };
    desk.ledger.receive(RUNTIME, [Delivery { id: None, content: event }], now);
    assert_eq!(desk.ledger.debt().since, Some(now.wall));
}

#[test]
fn an_end_is_told_of_at_once() {
    let mut desk = Desk::open(true);
    desk.push(0, What::Started);
    desk.turn(0);
    assert_eq!(desk.ledger.endings(), 0);
    desk.push(0, What::Ended);
    assert_eq!(desk.ledger.endings(), 1);
    let over = &desk.owed()[0];
    assert_eq!(over.ended_at, Some(desk.now().wall));
    // Nobody hears from the other one again.
    desk.turn(1);
    desk.second += 3601;
    desk.ledger.tick(desk.now());
    assert_eq!(desk.ledger.endings(), 2);
}

#[test]
fn the_debt_outlives_the_process() {
    let mut desk = Desk::open(true);
    for chat in 0..3 {
        desk.second += 1;
        desk.turn(chat);
    }
    let owed = desk.owed();
    desk.settle(&owed[1]);
    desk.save();
    // This is lost, so it is written once more.
    desk.settle(&owed[0]);
    desk.second += 100;
    desk.reopen(true);
    assert_eq!(desk.names(), [chat_id(0), chat_id(2)]);
    assert_eq!(desk.ledger.debt().since, Some(owed[0].last_update));
    let name = desk.ledger.own_name(|| "first".into());
    desk.save();
    desk.reopen(true);
    assert_eq!(desk.ledger.own_name(|| "second".into()), name);
}

#[test]
fn a_store_that_is_configured_later_is_owed_what_was_pushed_before() {
    let mut desk = Desk::open(false);
    desk.turn(0);
    desk.turn(1);
    assert!(desk.owed().is_empty());
    desk.save();
    desk.reopen(true);
    assert_eq!(desk.names(), [chat_id(0), chat_id(1)]);
    for chat in desk.owed() {
        desk.settle(&chat);
    }
    desk.save();
    // Without the store nothing is noted, but what changes then is owed when it is back.
    desk.reopen(false);
    desk.turn(1);
    desk.save();
    desk.reopen(true);
    assert_eq!(desk.names(), [chat_id(1)]);
}

#[test]
fn only_what_is_pushed_is_owed() {
    let mut desk = Desk::open(true);
    let event = Event {
        at: desk.now().wall,
        about: About::Chat(chat_id(0)),
        app_id: Some("acme".into()),
        workflow_name: Some("Desk".into()),
        user_id: None,
        what: What::Started,
    };
    let report = mozaiks_exporter::model::Report {
        source: Source::Logs,
        runtime: RUNTIME,
        prior: false,
        events: vec![event],
        lines: BTreeMap::new(),
        bookmarks: Vec::new(),
    };
    desk.ledger.learn(report, desk.now());
    assert!(desk.ledger.chat(&chat_id(0)).is_some());
    assert!(desk.owed().is_empty());
    desk.turn(0);
    assert_eq!(desk.names(), [chat_id(0)]);
}

#[test]
fn what_is_forgotten_before_it_is_written_is_counted() {
    let mut desk = Desk::open(true);
    desk.push(0, What::Started);
    desk.push(0, What::Ended);
    desk.push(1, What::Started);
    desk.push(1, What::Ended);
    let settled = desk.owed().remove(1);
    desk.settle(&settled);
    let day = i64::try_from(Duration::from_hours(24).as_secs()).unwrap();
    for _ in 0..3 {
        desk.second += day + 61;
        desk.ledger.tick(desk.now());
        let rest: Vec<Owing> =
            desk.owed().into_iter().filter(|chat| *chat.chat_id == *chat_id(1)).collect();
        for chat in &rest {
            desk.settle(chat);
        }
    }
    assert!(desk.ledger.chat(&chat_id(0)).is_none());
    assert_eq!(desk.ledger.tally().forgotten_owed, 1);
    assert_eq!(desk.ledger.debt(), Debt::default());
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Op {
    Turn(usize),
    End(usize),
    /// A batch is read, written, and settled after so many turns of a chat.
    Flush {
        limit: usize,
        meanwhile: Vec<usize>,
        answered: bool,
    },
    Save,
    Kill,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..5_usize).prop_map(Op::Turn),
        1 => (0..5_usize).prop_map(Op::End),
        3 => (1..4_usize, vec(0..5_usize, 0..3), any::<bool>())
            .prop_map(|(limit, meanwhile, answered)| Op::Flush { limit, meanwhile, answered }),
        1 => Just(Op::Save),
        1 => Just(Op::Kill),
    ]
}

proptest! {
    #[test]
    fn what_is_not_owed_stands_in_the_store_as_it_is(ops in vec(op(), 1..60)) {
        let mut desk = Desk::open(true);
        let mut store: BTreeMap<String, u64> = BTreeMap::new();
        desk.save();
        for op in ops {
            desk.second += 1;
            match op {
                Op::Turn(chat) => desk.turn(chat),
                Op::End(chat) => desk.push(chat, What::Ended),
                Op::Flush { limit, meanwhile, answered } => {
                    // Nothing is written that could be lost.
                    desk.save();
                    let until = desk.ledger.last_ticket();
                    let batch = desk.ledger.owed(0, until, limit, desk.now().wall);
                    for chat in &batch {
                        store.insert(chat.chat_id.to_string(), chat.totals.get(Count::Turns));
                    }
                    for chat in meanwhile {
                        desk.turn(chat);
                    }
                    for chat in batch.iter().filter(|_| answered) {
                        desk.settle(chat);
                    }
                }
                Op::Save => desk.save(),
                Op::Kill => desk.reopen(true),
            }
            let owed: BTreeSet<String> = desk.names().into_iter().collect();
            prop_assert_eq!(owed.len(), desk.ledger.debt().chats);
            for chat in desk.ledger.chats() {
                let turns = chat.book.published().get(Count::Turns);
                if !owed.contains(chat.chat_id()) {
                    prop_assert_eq!(store.get(chat.chat_id()), Some(&turns), "{}", chat.chat_id());
                }
            }
        }
    }
}
