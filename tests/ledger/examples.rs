//! The rules of the ledger as short stories, for what random histories seldom reach.

use std::time::Duration;

use mozaiks_exporter::ledger::{
    Kind, Ledger, Phase, RestoreError, Settings, Ticket, Visitor, Workflow,
};
use mozaiks_exporter::model::{Instant, Mono, RuntimeId, Source, Timestamp, Witness};

use super::play::{Rows, ends, entries, keep};
use super::world::{Amounts, COST, Fact, SECOND, Said, amounts, chat_id, usd};

/// When everything begins, on every clock.
const START: i64 = 1_700_000_000;
const RUNTIME: RuntimeId = RuntimeId(0);

/// A ledger that watches one runtime by its poll, and what it has written.
struct Desk {
    ledger: Ledger,
    rows: Rows,
    second: i64,
}

fn at(second: i64) -> Timestamp {
    Timestamp((START + second) * SECOND)
}

/// Turns and prompt tokens, and money in picodollars.
fn totals(turns: u128, tokens: u128, cost: u128) -> Amounts {
    [turns, 0, 0, tokens, 0, cost]
}

fn fact(chat: usize, started: i64, totals: Amounts) -> Fact {
    Fact {
        chat,
        started_at: Some(at(started)),
        ended_at: None,
        totals: totals.map(Some),
        last_turn_seconds: None,
    }
}

impl Fact {
    fn ended(self, second: i64) -> Self {
        Self { ended_at: Some(at(second)), ..self }
    }
}

impl Desk {
    fn open(sources: &[Source]) -> Self {
        let mut desk =
            Self { ledger: Ledger::new(Settings::default()), rows: Rows::new(), second: 0 };
        desk.ledger.watch("runtime", sources, desk.now());
        desk
    }

    /// One that has met a runtime which held nothing.
    fn met() -> Self {
        let mut desk = Self::open(&[Source::Scrape]);
        desk.poll(0, []);
        desk
    }

    fn now(&self) -> Instant {
        Instant { wall: at(self.second), mono: Mono(self.second * SECOND) }
    }

    fn pass(&mut self, seconds: i64) {
        self.second += seconds;
        self.ledger.tick(self.now());
    }

    /// The answer of the process of that number to a poll.
    fn poll(&mut self, process: i64, facts: impl Into<Vec<Fact>>) {
        let said = self.answer(Source::Scrape, Some(at(process)), true, facts.into());
        self.ledger.hear(&said.answer(), 0, self.now());
    }

    fn tell(&mut self, source: Source, fact: Fact) {
        let said = self.answer(source, None, false, vec![fact]);
        self.ledger.hear(&said.answer(), 0, self.now());
    }

    fn answer(
        &self,
        source: Source,
        process: Option<Timestamp>,
        complete: bool,
        facts: Vec<Fact>,
    ) -> Said {
        Said {
            source,
            runtime: 0,
            process,
            clock: at(self.second),
            complete,
            unread: 0,
            unreadable: Vec::new(),
            facts,
        }
    }

    fn reopen(&mut self) {
        self.reopen_to_watch("runtime");
    }

    fn reopen_to_watch(&mut self, name: &str) {
        let now = self.now();
        keep(&mut self.rows, self.ledger.take_changes(now).1);
        let rows = entries(&self.rows);
        self.ledger = Ledger::restore(Settings::default(), rows, now).unwrap();
        self.ledger.watch(name, &[Source::Scrape], now);
    }

    fn visit(&mut self, connection: u64) -> Ticket {
        let timeout = Some(Duration::from_secs(10));
        let visitor = Visitor { name: "10.0.0.1 Prometheus".into(), connection, timeout };
        self.ledger.scrape_begins(&visitor, self.now())
    }

    fn scrape(&mut self, connection: u64) {
        let ticket = self.visit(connection);
        self.ledger.scrape_served(ticket);
    }

    fn workflow(&self) -> &Workflow {
        &self.ledger.workflows()[0]
    }

    fn total(&self) -> Amounts {
        amounts(&self.workflow().totals)
    }

    fn phase(&self, chat: usize) -> Phase {
        self.ledger.chat(&chat_id(chat)).unwrap().phase
    }

    fn is_hidden(&self, chat: usize) -> bool {
        self.ledger.hides(self.ledger.chat(&chat_id(chat)).unwrap().birth)
    }
}

#[test]
fn workers_that_answer_in_turns_add_nothing_and_write_nothing() {
    let mut desk = Desk::met();
    let one = [fact(0, 10, totals(5, 500, 5)), fact(3, 11, totals(1, 1, 1))];
    let other = [fact(0, 12, totals(3, 300, 3))];
    desk.pass(20);
    desk.poll(5, one.clone());
    desk.poll(6, other.clone());
    desk.pass(1);
    desk.ledger.take_changes(desk.now());
    for _ in 0..1000 {
        desk.poll(5, one.clone());
        desk.poll(6, other.clone());
    }
    assert_eq!(amounts(desk.ledger.chat("chat0").unwrap().book.published()), totals(8, 800, 8));
    assert_eq!(desk.ledger.take_changes(desk.now()).1, []);
    assert!(desk.ledger.tally().regressions.is_empty());
}

#[test]
fn a_late_answer_is_not_a_restart() {
    let mut desk = Desk::met();
    for turns in [10, 8, 10, 9, 11] {
        desk.pass(1);
        desk.poll(0, [fact(0, 1, totals(turns, 0, 0))]);
    }
    assert_eq!(desk.total(), totals(11, 0, 0));
    assert_eq!(desk.ledger.tally().regressions[&Source::Scrape], 2);
}

#[test]
fn a_restarted_runtime_adds_its_whole_new_life() {
    let mut desk = Desk::met();
    desk.pass(10);
    desk.poll(0, [fact(0, 1, totals(10, 1000, 7))]);
    desk.pass(100);
    desk.poll(90, [fact(0, 100, totals(4, 40, 1))]);
    desk.poll(95, [fact(0, 101, totals(1, 10, 1))]);
    assert_eq!(desk.total(), totals(15, 1050, 9));
    assert_eq!(desk.ledger.runtimes()[0].restarts, 1, "workers are started together");
    desk.pass(100);
    desk.poll(180, []);
    assert_eq!(desk.ledger.runtimes()[0].restarts, 2);
}

#[test]
fn a_witness_that_lags_is_blind_or_comes_late_changes_nothing() {
    let mut desk = Desk::met();
    desk.pass(10);
    desk.poll(0, [fact(0, 5, totals(10, 1000, 7))]);
    desk.tell(Source::Mongodb, fact(0, 5, totals(900, 900_000, 900)));
    desk.tell(Source::Logs, fact(0, 5, totals(0, 0, 0)));
    assert_eq!(desk.total(), totals(10, 1000, 7));
    desk.pass(10);
    desk.tell(Source::Mongodb, fact(0, 5, totals(902, 900_100, 900)));
    assert_eq!(desk.total(), totals(12, 1100, 7), "what grows from here on counts");
    desk.poll(0, [fact(0, 5, totals(11, 1100, 8))]);
    assert_eq!(desk.total(), totals(12, 1100, 8), "and once only");
}

#[test]
fn a_late_witness_is_aligned_in_what_it_states_later_too() {
    let mut desk = Desk::met();
    desk.pass(10);
    desk.poll(0, [fact(0, 5, totals(10, 1000, 7))]);
    let mut late = fact(0, 5, totals(900, 900_000, 900));
    late.totals[COST] = None;
    late.totals[0] = None;
    desk.tell(Source::Mongodb, late.clone());
    desk.tell(Source::Mongodb, fact(0, 5, totals(900, 900_000, 900)));
    assert_eq!(desk.total(), totals(10, 1000, 7));
    desk.tell(Source::Mongodb, fact(0, 5, totals(901, 900_000, 902)));
    assert_eq!(desk.total(), totals(11, 1000, 9));
}

#[test]
fn what_a_runtime_held_before_is_shown_at_once_and_what_begins_later_at_zero() {
    let mut desk = Desk::open(&[Source::Scrape]);
    desk.pass(1);
    desk.scrape(1);
    desk.poll(-100, [fact(0, -50, totals(10, 1000, 7))]);
    assert!(!desk.is_hidden(0) && !desk.ledger.hides(desk.workflow().birth));
    desk.pass(15);
    desk.scrape(1);
    desk.poll(-100, [fact(0, -50, totals(10, 1000, 7)), fact(1, 15, totals(1, 100, 1))]);
    desk.pass(1);
    assert!(desk.is_hidden(1));
    desk.pass(14);
    desk.scrape(1);
    desk.pass(1);
    assert!(!desk.is_hidden(1));
}

#[test]
fn a_worker_that_was_there_before_is_neither_a_restart_nor_a_spike() {
    let mut desk = Desk::open(&[Source::Scrape]);
    desk.pass(1);
    desk.poll(-100, []);
    desk.pass(60);
    let (old, new) = (fact(0, -50, totals(10, 1000, 7)), fact(2, 30, totals(1, 2, 3)));
    desk.poll(-99, [old, new]);
    assert_eq!(desk.ledger.runtimes()[0].restarts, 0);
    let total = desk.ledger.workflows().iter().fold([0; 6], |mut sum, row| {
        super::world::add(&mut sum, &amounts(&row.totals));
        sum
    });
    assert_eq!(total, totals(1, 2, 3), "only what began since is news");
}

#[test]
fn births_wait_for_a_scraper_from_before_the_restart() {
    let mut desk = Desk::met();
    desk.pass(1);
    desk.reopen();
    // Nothing happens but two scrapes, a minute apart, and a restart.
    desk.scrape(1);
    desk.pass(60);
    desk.scrape(1);
    desk.reopen();
    desk.pass(5);
    desk.poll(0, [fact(0, 60, totals(1, 1, 1))]);
    desk.pass(50);
    assert!(desk.is_hidden(0), "the next scrape is still to come");
    desk.scrape(9);
    desk.pass(1);
    assert!(!desk.is_hidden(0));
}

#[test]
fn an_answer_that_was_not_written_out_was_not_seen() {
    let mut desk = Desk::met();
    desk.scrape(1);
    desk.pass(15);
    desk.scrape(1);
    desk.poll(0, [fact(0, 5, totals(1, 1, 1))]);
    desk.pass(14);
    desk.visit(1);
    desk.ledger.hang_up(1);
    desk.pass(1);
    assert!(desk.is_hidden(0));
}

#[test]
fn a_chat_that_moves_after_its_end_lives_until_it_falls_quiet() {
    let mut desk = Desk::met();
    desk.pass(100);
    desk.poll(0, [fact(0, 5, totals(1, 1, 1)).ended(90)]);
    assert_eq!(desk.phase(0), Phase::Ended);
    desk.poll(0, [fact(0, 5, totals(2, 1, 1)).ended(90)]);
    assert_eq!(desk.phase(0), Phase::Live);
    desk.pass(599);
    assert_eq!(desk.phase(0), Phase::Live);
    desk.pass(1);
    assert_eq!(desk.phase(0), Phase::Ended);
    desk.poll(0, [fact(0, 5, totals(3, 1, 1)).ended(90)]);
    assert_eq!(desk.phase(0), Phase::Live);
    desk.poll(0, [fact(0, 5, totals(4, 1, 1)).ended(700)]);
    assert_eq!(desk.phase(0), Phase::Ended);
    assert_eq!(ends(desk.workflow().ends), (1, 0), "one life, one end");
    assert_eq!(desk.workflow().starts, 1);
}

#[test]
fn a_chat_is_lost_when_every_worker_could_have_told_of_it() {
    let mut desk = Desk::met();
    desk.poll(1, [fact(0, 5, totals(1, 1, 1))]);
    desk.poll(0, []);
    desk.pass(239);
    assert_eq!(desk.phase(0), Phase::Live, "there are two workers");
    desk.pass(1);
    assert_eq!(desk.phase(0), Phase::Lost);
    assert_eq!(ends(desk.workflow().ends), (0, 1));
    assert_eq!(desk.workflow().active, 0);
    desk.poll(1, [fact(0, 5, totals(1, 1, 1))]);
    assert_eq!(desk.phase(0), Phase::Live);
    assert_eq!(desk.workflow().active, 1);
}

#[test]
fn a_chat_that_cannot_be_understood_is_not_missed() {
    let mut desk = Desk::met();
    let began = desk.second;
    desk.poll(0, [fact(0, began, totals(1, 0, 0)), fact(1, began, totals(1, 0, 0))]);
    for _ in 0..20 {
        desk.pass(15);
        let mut said = desk.answer(Source::Scrape, Some(at(0)), true, Vec::new());
        (said.unread, said.unreadable) = (1, vec![0]);
        desk.ledger.hear(&said.answer(), 1, desk.now());
    }
    assert_eq!(desk.phase(0), Phase::Live);
    assert_eq!(desk.phase(1), Phase::Lost);
}

#[test]
fn a_chat_that_the_poll_never_told_of_is_not_missed_in_it() {
    let mut desk = Desk::met();
    desk.pass(10);
    desk.tell(Source::Receive, fact(0, 5, totals(1, 1, 1)));
    for _ in 0..100 {
        desk.pass(15);
        desk.poll(0, []);
    }
    assert_eq!(desk.phase(0), Phase::Live);
    assert_eq!(ends(desk.workflow().ends), (0, 0));
}

#[test]
fn an_end_counts_though_another_witness_never_tells_of_ends() {
    let mut desk = Desk::met();
    desk.pass(10);
    desk.poll(0, [fact(0, 5, totals(1, 1, 1))]);
    desk.tell(Source::Logs, fact(0, 6, totals(1, 1, 1)));
    desk.pass(10);
    desk.poll(0, [fact(0, 5, totals(1, 1, 1)).ended(19)]);
    desk.tell(Source::Logs, fact(0, 6, totals(1, 2, 1)));
    assert_eq!(desk.phase(0), Phase::Ended, "the logs only lag behind");
    assert_eq!(ends(desk.workflow().ends), (1, 0));
}

#[test]
fn turns_that_two_witnesses_tell_of_are_observed_once() {
    let mut desk = Desk::met();
    desk.pass(10);
    desk.tell(Source::Logs, fact(1, 1, totals(0, 0, 0)));
    let mut polled = fact(0, 5, totals(4, 0, 0));
    polled.last_turn_seconds = Some(1.5);
    desk.poll(0, [polled]);
    desk.tell(Source::Logs, fact(0, 11, totals(4, 0, 0)));
    assert_eq!((desk.workflow().turns.count(), desk.workflow().turns_unobserved), (0, 0));
    let row = desk.ledger.workflows().iter().find(|row| &*row.workflow_name == "flow0").unwrap();
    assert_eq!((row.turns.count(), row.turns_unobserved), (1, 3));
}

#[test]
fn a_chat_that_returns_after_it_was_forgotten_is_not_counted_again() {
    const DAY: i64 = 24 * 3600;
    let mut desk = Desk::met();
    desk.pass(10);
    desk.poll(0, [fact(0, 5, totals(10, 1000, 7)).ended(9), fact(2, 6, totals(1, 1, 1))]);
    desk.tell(Source::Mongodb, fact(0, 5, totals(10, 1000, 7)).ended(9));
    desk.pass(60);
    desk.poll(0, []);
    for _ in 0..4 {
        desk.pass(DAY);
        desk.reopen();
        desk.poll(0, []);
    }
    let before = desk.total();
    assert!(!desk.ledger.drifts().contains_key(&Witness::Scrape), "it is forgotten");
    desk.tell(Source::Mongodb, fact(0, 5, totals(12, 1200, 8)));
    desk.poll(0, [fact(0, 5, totals(10, 1000, 7)).ended(9)]);
    assert_eq!(desk.total(), before);
    desk.tell(Source::Mongodb, fact(0, 5, totals(13, 1300, 9)));
    assert_eq!(desk.total(), totals(11, 1100, 8), "what it gains from now on counts");
}

#[test]
fn more_lives_than_are_kept_are_not_counted_again() {
    let mut desk = Desk::met();
    for life in 1..=200 {
        desk.pass(60);
        desk.poll(life * 60, [fact(0, life * 60 + 1, totals(1, 10, 100))]);
    }
    assert_eq!(desk.total(), totals(200, 2000, 20_000));
    desk.poll(60, [fact(0, 61, totals(1, 10, 100))]);
    assert_eq!(desk.total(), totals(200, 2000, 20_000));
    assert_eq!(desk.ledger.tally().ancient_lives, 1);
    assert_eq!(desk.ledger.runtimes()[0].restarts, 200);
}

#[test]
fn ten_thousand_hundredths_of_a_cent_are_one_dollar() {
    let mut desk = Desk::met();
    for n in 1..=10_000 {
        desk.poll(0, [fact(0, 5, totals(0, 0, n * 100_000_000))]);
    }
    assert_eq!(desk.workflow().totals.cost, usd(10_u128.pow(12)));
    assert_eq!(desk.workflow().totals.cost.to_string(), "1");
}

#[test]
fn a_clock_that_is_set_moves_no_deadline() {
    let mut desk = Desk::met();
    desk.poll(0, [fact(0, 5, totals(1, 1, 1)).ended(9), fact(1, 6, totals(1, 1, 1))]);
    desk.poll(0, []);
    for wall in [1_000_000, -1_000_000] {
        let now = Instant { wall: at(wall), ..desk.now() };
        desk.ledger.tick(now);
        assert_eq!(desk.ledger.chats().count(), 2);
        assert_eq!(desk.phase(1), Phase::Live);
    }
}

#[test]
fn chats_of_a_runtime_that_is_no_longer_watched_get_lost() {
    let mut desk = Desk::met();
    desk.poll(0, [fact(0, 5, totals(1, 1, 1))]);
    desk.reopen_to_watch("another");
    desk.ledger.retire_unwatched(desk.now());
    desk.pass(119);
    assert_eq!(desk.phase(0), Phase::Live);
    desk.pass(1);
    assert_eq!(desk.phase(0), Phase::Lost);
    assert_eq!(desk.total(), totals(1, 1, 1));
}

#[test]
fn the_names_of_a_chat_are_those_it_was_given_first() {
    let mut desk = Desk::met();
    desk.poll(0, [fact(0, 5, totals(1, 1, 1))]);
    let said = desk.answer(Source::Scrape, Some(at(0)), true, vec![fact(0, 5, totals(2, 2, 2))]);
    let mut answer = said.answer();
    let chat = &mut answer.chats[0];
    for name in [&mut chat.app_id, &mut chat.workflow_name, &mut chat.user_id] {
        *name = "another".into();
    }
    desk.ledger.hear(&answer, 0, desk.now());
    assert_eq!(desk.ledger.workflows().len(), 1);
    assert_eq!(desk.ledger.users().len(), 1);
    assert_eq!(desk.total(), totals(2, 2, 2));
}

#[test]
fn a_chat_that_refers_to_rows_that_are_not_there_is_an_error() {
    let mut desk = Desk::met();
    desk.poll(0, [fact(0, 5, totals(1, 1, 1))]);
    desk.reopen();
    let chat = desk.rows[&(Kind::Chat, 1)].clone();
    // Runtime, workflow and user: the first ones are left out.
    for field in ["r", "w", "u"] {
        assert!(!chat.contains(&format!("\"{field}\":")), "{field}");
        let beyond = chat.replacen('{', &format!("{{\"{field}\":9,"), 1);
        desk.rows.insert((Kind::Chat, 1), beyond);
        let restored = Ledger::restore(Settings::default(), entries(&desk.rows), desk.now());
        assert!(matches!(restored, Err(RestoreError::Gap { kind: Kind::Chat, id: 1 })), "{field}");
    }
}

#[test]
fn what_is_unknown_is_no_reason_to_panic() {
    let mut desk = Desk::met();
    let mut said = desk.answer(Source::Scrape, None, true, vec![fact(0, 5, totals(1, 1, 1))]);
    said.runtime = 7;
    desk.ledger.hear(&said.answer(), 0, desk.now());
    desk.ledger.chat_untracked(RUNTIME, "nobody", desk.now());
    desk.ledger.chat_untracked(RuntimeId(7), "nobody", desk.now());
    desk.ledger.runtime_failed(RuntimeId(7));
    desk.ledger.hang_up(7);
    assert_eq!(desk.ledger.chats().count(), 0);
}
