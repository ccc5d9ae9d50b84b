//! What a database that keeps the chats tells, beside those who tell more of some of them.

use std::borrow::Cow;
use std::time::Duration;

use mozaiks_exporter::ledger::{Ledger, Outcome, Phase, Settings};
use mozaiks_exporter::model::{
    About, Acquaintance, Answer, Bookmark, ChatSnapshot, Count, Event, Instant, Mono, Report,
    RuntimeId, Source, Stated, Timestamp, Usage, What,
};

use super::play::{Rows, entries, keep};
use super::world::SECOND;

const START: i64 = 1_700_000_000;
const RUNTIME: RuntimeId = RuntimeId(0);
const BOTH: &[Source] = &[Source::Scrape, Source::Mongodb];
const ALONE: &[Source] = &[Source::Mongodb];

fn at(second: i64) -> Timestamp {
    Timestamp((START + second) * SECOND)
}

/// A chat that began then, with so many turns and prompt tokens.
fn chat(id: &str, began: i64, turns: u64, tokens: u64) -> ChatSnapshot<'_> {
    let mut totals = Stated::default();
    totals.counts[Count::Turns as usize] = Some(turns);
    totals.counts[Count::PromptTokens as usize] = Some(tokens);
    ChatSnapshot {
        chat_id: Cow::Borrowed(id),
        app_id: Cow::Borrowed("acme"),
        workflow_name: Cow::Borrowed("Desk"),
        user_id: Cow::Borrowed("alice"),
        started_at: Some(at(began)),
        ended_at: None,
        failed: false,
        updated_at: None,
        totals,
        last_turn_seconds: None,
    }
}

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
        desk
    }

    /// One whose sources have all told that there is nothing yet.
    fn met(sources: &'static [Source]) -> Self {
        let mut desk = Self::open(sources);
        for source in sources {
            desk.tell(*source, []);
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

    fn tell<'a>(&mut self, source: Source, chats: impl Into<Vec<ChatSnapshot<'a>>>) {
        self.answer(source, false, chats.into(), Vec::new());
    }

    fn answer(
        &mut self,
        source: Source,
        more: bool,
        chats: Vec<ChatSnapshot<'_>>,
        bookmarks: Vec<Bookmark>,
    ) {
        let is_poll = source == Source::Scrape;
        let answer = Answer {
            source,
            runtime: RUNTIME,
            process: is_poll.then_some(at(-5)),
            runtime_clock: at(self.second),
            complete: is_poll,
            more,
            chats,
            unreadable: Vec::new(),
            bookmarks,
        };
        self.ledger.hear(&answer, 0, self.now());
    }

    fn log(&mut self, chat_id: &str, what: What) {
        let event = Event {
            at: at(self.second),
            about: About::Chat(chat_id.into()),
            app_id: Some("acme".into()),
            workflow_name: Some("Desk".into()),
            user_id: None,
            what,
        };
        let report = Report {
            source: Source::Logs,
            runtime: RUNTIME,
            prior: false,
            events: vec![event],
            lines: [].into(),
            bookmarks: Vec::new(),
        };
        self.ledger.learn(report, self.now());
    }

    fn reopen(&mut self) {
        let now = self.now();
        keep(&mut self.rows, self.ledger.take_changes(now).1);
        self.ledger = Ledger::restore(Settings::default(), entries(&self.rows), now).unwrap();
        self.ledger.watch("runtime", self.sources, now);
    }

    fn tokens(&self) -> u64 {
        self.ledger.workflows()[0].totals.get(Count::PromptTokens)
    }

    /// Starts, and ends by outcome: completed, failed, lost, abandoned.
    fn runs(&self) -> (u64, [u64; 4]) {
        let row = &self.ledger.workflows()[0];
        let ends = [Outcome::Completed, Outcome::Failed, Outcome::Lost, Outcome::Abandoned];
        (row.starts, ends.map(|outcome| row.ends[outcome as usize]))
    }

    fn phase(&self, chat_id: &str) -> Phase {
        self.ledger.chat(chat_id).unwrap().phase
    }
}

#[test]
fn a_database_is_no_runtime_that_answers() {
    let mut desk = Desk::open(BOTH);
    desk.tell(Source::Mongodb, [chat("a", -9, 1, 10)]);
    assert_eq!(desk.ledger.runtimes()[0].up, None);
    desk.tell(Source::Scrape, []);
    assert_eq!(desk.ledger.runtimes()[0].up, Some(true));
    desk.ledger.runtime_failed(RUNTIME);
    desk.tell(Source::Mongodb, []);
    assert_eq!(desk.ledger.runtimes()[0].up, Some(false));
}

#[test]
fn the_place_is_kept_with_what_was_said_up_to_it() {
    let mut desk = Desk::met(ALONE);
    desk.pass(10);
    let place = Bookmark { key: "mongodb:runtime:C".into(), place: Some("17".into()) };
    desk.answer(Source::Mongodb, false, vec![chat("a", 5, 1, 10)], vec![place]);
    desk.reopen();
    assert_eq!(desk.ledger.bookmarks("mongodb:runtime:"), [("C".to_owned(), "17".to_owned())]);
    assert_eq!(desk.tokens(), 10);
}

#[test]
fn the_baseline_is_all_that_lay_there_however_many_pages_it_takes() {
    let mut desk = Desk::open(ALONE);
    desk.answer(Source::Mongodb, true, vec![chat("a", -50, 1, 10)], Vec::new());
    assert!(!desk.ledger.runtimes()[0].is_met());
    desk.pass(60);
    desk.reopen();
    desk.answer(Source::Mongodb, true, vec![chat("b", -40, 1, 10)], Vec::new());
    desk.answer(Source::Mongodb, false, vec![chat("c", -30, 1, 10)], Vec::new());
    assert!(desk.ledger.runtimes()[0].is_met());
    assert_eq!(desk.tokens(), 30);
    // Only now does the clock of the first contact decide.
    desk.tell(Source::Mongodb, [chat("d", -20, 1, 10), chat("e", 61, 1, 10)]);
    assert_eq!(desk.tokens(), 40);
}

#[test]
fn a_database_that_comes_late_is_aligned_page_by_page() {
    let mut desk = Desk::open(BOTH);
    desk.tell(Source::Scrape, [chat("a", -50, 3, 0)]);
    desk.pass(31);
    assert!(desk.ledger.runtimes()[0].is_met());
    desk.answer(Source::Mongodb, true, vec![chat("a", -50, 2, 500)], Vec::new());
    desk.answer(Source::Mongodb, false, vec![chat("b", -49, 2, 500)], Vec::new());
    assert_eq!(desk.tokens(), 0);
    desk.tell(Source::Mongodb, [chat("a", -50, 2, 510), chat("b", -49, 2, 501)]);
    assert_eq!(desk.tokens(), 11);
}

#[test]
fn a_chat_of_the_database_alone_is_abandoned_when_it_stays_as_it_is() {
    let mut desk = Desk::met(ALONE);
    desk.pass(10);
    desk.tell(Source::Mongodb, [chat("a", 5, 1, 10)]);
    desk.pass(3599);
    desk.tell(Source::Mongodb, [chat("a", 5, 1, 10)]);
    assert_eq!(desk.phase("a"), Phase::Live);
    desk.pass(1);
    assert_eq!((desk.phase("a"), desk.runs()), (Phase::Ended, (1, [0, 0, 0, 1])));
    desk.tell(Source::Mongodb, [chat("a", 5, 2, 20)]);
    assert_eq!(desk.phase("a"), Phase::Live);
}

#[test]
fn what_the_database_says_of_the_last_change_is_when_a_chat_last_moved() {
    let mut desk = Desk::open(ALONE);
    let old = ChatSnapshot { updated_at: Some(at(-3_000)), ..chat("old", -9_000, 1, 10) };
    let ahead = ChatSnapshot { updated_at: Some(at(9_000)), ..chat("ahead", -60, 1, 10) };
    desk.tell(Source::Mongodb, [old, ahead]);
    let last = |desk: &Desk, id: &str| desk.ledger.chat(id).unwrap().last_update;
    assert_eq!((last(&desk, "old"), last(&desk, "ahead")), (at(-3_000), at(0)));
    desk.pass(600);
    assert_eq!((desk.phase("old"), desk.phase("ahead")), (Phase::Ended, Phase::Live));
}

#[test]
fn turns_that_only_the_database_tells_of_were_not_observed() {
    let mut desk = Desk::met(BOTH);
    desk.pass(10);
    desk.tell(Source::Mongodb, [chat("a", 5, 3, 10)]);
    let row = &desk.ledger.workflows()[0];
    assert_eq!((row.turns.count(), row.turns_unobserved), (0, 3));
    let timed = ChatSnapshot { last_turn_seconds: Some(2.0), ..chat("a", 5, 4, 10) };
    desk.tell(Source::Scrape, [timed]);
    let row = &desk.ledger.workflows()[0];
    assert_eq!((row.turns.count(), row.turns_unobserved), (1, 3));
}

#[test]
fn a_run_that_both_tell_of_began_once_and_ended_once() {
    let mut desk = Desk::met(BOTH);
    desk.pass(10);
    let ended = |chat| ChatSnapshot { ended_at: Some(at(8)), ..chat };
    desk.tell(Source::Mongodb, [ended(chat("a", 5, 1, 10))]);
    desk.pass(1);
    let polled = ChatSnapshot { ended_at: Some(Timestamp(at(8).0 + 5)), ..chat("a", 4, 1, 0) };
    desk.tell(Source::Scrape, [polled]);
    assert_eq!(desk.runs(), (1, [1, 0, 0, 0]));
    // The other way round.
    desk.tell(Source::Scrape, [ended(chat("a", 4, 1, 0)), ended(chat("b", 6, 1, 0))]);
    desk.tell(Source::Mongodb, [ended(chat("b", 6, 1, 10))]);
    assert_eq!(desk.runs(), (2, [2, 0, 0, 0]));
    // What begins after that end is another run.
    desk.pass(100);
    desk.tell(Source::Scrape, [ended(chat("b", 6, 1, 0)), chat("a", 90, 1, 0)]);
    assert_eq!(desk.runs(), (3, [2, 0, 0, 0]));
}

#[test]
fn an_end_may_be_that_of_a_failure() {
    let mut desk = Desk::met(ALONE);
    desk.pass(10);
    let failed = ChatSnapshot { ended_at: Some(at(8)), failed: true, ..chat("a", 5, 1, 10) };
    // One that goes on has not failed yet.
    desk.tell(
        Source::Mongodb,
        [failed.clone(), ChatSnapshot { failed: true, ..chat("b", 6, 1, 1) }],
    );
    desk.tell(Source::Mongodb, [ChatSnapshot { ended_at: Some(at(9)), ..chat("b", 6, 1, 1) }]);
    assert_eq!(desk.runs(), (2, [1, 1, 0, 0]));
}

#[test]
fn usage_of_the_log_waits_for_the_database_to_say_whose_it_is() {
    let mut desk = Desk::met(&[Source::Logs, Source::Mongodb]);
    desk.pass(10);
    let usage = Usage { prompt_tokens: 7, ..Usage::default() };
    desk.log("a", What::Recorded { usage });
    assert_eq!(desk.ledger.waiting(), 1);
    desk.tell(Source::Mongodb, [chat("a", 5, 0, 7)]);
    assert_eq!((desk.ledger.waiting(), desk.tokens()), (0, 7));
    assert_eq!(&*desk.ledger.users()[0].user_id, "alice");
}

#[test]
fn a_source_may_ask_who_knows_a_chat_and_who_counts_its_turns() {
    let mut desk = Desk::met(&[Source::Scrape, Source::Logs, Source::Mongodb]);
    desk.ledger.watch("other", &[Source::Scrape], desk.now());
    desk.pass(10);
    let of = |desk: &Desk, runtime, chat_id| {
        desk.ledger.acquaintance(RuntimeId(runtime), chat_id, Source::Mongodb)
    };
    assert_eq!(of(&desk, 0, "a"), Acquaintance::default());
    desk.log("a", What::Started);
    let known = Acquaintance { known: true, ..Acquaintance::default() };
    assert_eq!(of(&desk, 0, "a"), known);
    desk.tell(Source::Mongodb, [chat("a", 5, 2, 7)]);
    assert_eq!(of(&desk, 0, "a"), known);
    desk.tell(Source::Scrape, [chat("a", 5, 1, 7)]);
    assert_eq!(of(&desk, 0, "a"), Acquaintance { turns_counted: true, ..known });
    let elsewhere = Acquaintance { elsewhere: true, ..Acquaintance::default() };
    assert_eq!(of(&desk, 1, "a"), elsewhere);
}

#[test]
fn chats_that_may_change_soon_come_longest_unheard_first() {
    let mut desk = Desk::met(ALONE);
    desk.pass(10);
    let ended = ChatSnapshot { ended_at: Some(at(8)), ..chat("c", 5, 1, 1) };
    desk.tell(Source::Mongodb, [chat("a", 5, 1, 1), chat("b", 5, 1, 1), ended]);
    desk.pass(10);
    desk.tell(Source::Mongodb, [chat("a", 5, 1, 1)]);
    let restless = |desk: &Desk, most| {
        let minute = Duration::from_mins(1);
        let chats = desk.ledger.restless(RUNTIME, minute, most, desk.now());
        chats.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(restless(&desk, 9), ["b", "a", "c"]);
    assert_eq!(restless(&desk, 1), ["b"]);
    desk.pass(51);
    assert_eq!(restless(&desk, 9), ["b", "a"]);
}
