//! The rules of the ledger, as properties of random histories: runtimes that restart, workers that
//! answer in turns, witnesses that lag or are blind, clocks that are set, chats that come and go,
//! and an exporter that is killed in between.
//!
//! `world` knows what really happened and how it was told, `oracle` never forgets and adds up
//! everything anew for each question, `scrapers` knows who has seen what at zero, and `play` tells
//! one history to the oracle and to the ledger.
//!
//! `PROPTEST_CASES=5000 cargo test --release --test ledger` searches for longer.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "ledger/crowd.rs"]
mod crowd;
#[path = "ledger/events.rs"]
mod events;
#[path = "ledger/examples.rs"]
mod examples;
#[path = "ledger/old.rs"]
mod old;
#[path = "ledger/oracle.rs"]
mod oracle;
#[path = "ledger/owed.rs"]
mod owed;
#[path = "ledger/pages.rs"]
mod pages;
#[path = "ledger/play.rs"]
mod play;
#[path = "ledger/polls.rs"]
mod polls;
#[path = "ledger/receive.rs"]
mod receive;
#[path = "ledger/scrapers.rs"]
mod scrapers;
#[path = "ledger/shown.rs"]
mod shown;
#[path = "ledger/stored.rs"]
mod stored;
#[path = "ledger/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use mozaiks_exporter::ledger::{Chat, Kind, Ledger, Settings, Sums};
use mozaiks_exporter::model::{RuntimeId, Source, Usd, Witness};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;

use play::{Play, Rows, Series, Setup, ends, entries, keep, key, series, setup, sum};
use world::{COST, Op, amounts, app_id, event, history, picodollars, usd, user_id};

/// Random histories per property, where `PROPTEST_CASES` does not say otherwise.
fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return default;
    }
    ProptestConfig { cases, ..default }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn everything_adds_up_as_if_nothing_was_ever_forgotten(
        setup in setup(), ops in history(90),
    ) {
        let mut play = Play::new(&setup);
        for op in &ops {
            play.step(op);
            chats_are_worth_their_highest_account(&play);
            workflows_are_the_sum_of_their_chats(&play);
            users_are_the_sum_of_their_chats(&play);
            sums_are_those_of_the_chats_that_are_shown(&play.ledger);
            what_is_folded_is_the_growth_beyond_the_bound(&play);
        }
    }

    #[test]
    fn no_counter_that_is_shown_ever_falls(setup in setup(), ops in history(90)) {
        let mut play = Play::new(&setup);
        let mut shown = Series::new();
        for op in &ops {
            play.step(op);
            let now = series(&play.ledger);
            // What a crash loses was never shown, and what was shown is not lost by it.
            for (name, value) in &now {
                let before = shown.get(name).copied().unwrap_or(0);
                prop_assert!(*value >= before, "{name} fell from {before} to {value}");
            }
            shown.retain(|name, _| now.contains_key(name));
            if play.is_committed() {
                shown = now;
            }
        }
    }

    #[test]
    fn a_birth_is_hidden_until_each_scraper_has_seen_zero_and_never_for_long(
        setup in setup(), ops in history(90),
    ) {
        let mut play = Play::new(&setup);
        for op in &ops {
            play.step(op);
            play.births.clone().map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn a_chat_lives_until_it_ends_or_is_lost_and_again_when_it_moves(
        setup in setup(), ops in history(90),
    ) {
        let mut play = Play::new(&setup);
        for op in &ops {
            play.step(op);
            live_chats_are_those_that_live(&play);
            chats_are_in_the_phase_that_was_told(&play);
        }
    }

    #[test]
    fn bounds_hold_and_series_stay_for_the_retention(setup in setup(), ops in history(90)) {
        let mut play = Play::new(&setup);
        for op in &ops {
            play.step(op);
            bounds_hold(&play, &setup.settings);
            let clock_was_set = ops.iter().any(|op| matches!(op, Op::SetWall(_)));
            ended_chats_have_series_for_the_retention(&play, &setup.settings, clock_was_set);
        }
    }

    #[test]
    fn a_restored_ledger_is_the_same_ledger(setup in setup(), ops in history(60)) {
        let mut play = Play::new(&setup);
        for op in &ops {
            play.step(op);
            play.commit();
            let births: Vec<u64> = play.scrapers.births().collect();
            let restored = play.restored();
            prop_assert_eq!(portrait(&restored, &births), portrait(&play.ledger, &births));
            prop_assert_eq!(series(&restored), series(&play.ledger));

            // Nothing that changed was left out of the changes.
            play.ledger.mark_all();
            let mut rows = Rows::new();
            keep(&mut rows, play.ledger.take_changes(play.now).1);
            rows.retain(|(kind, _), _| *kind != Kind::Meta);
            let is_kept = |((kind, _), _): &(&(Kind, u64), &String)| *kind != Kind::Meta;
            prop_assert!(rows.iter().eq(play.rows().iter().filter(is_kept)));
        }
    }

    #[test]
    fn the_same_answer_twice_changes_nothing(setup in setup(), ops in history(60)) {
        let mut play = Play::new(&setup);
        for op in &ops {
            play.step(op);
            let Some(said) = play.just_heard.take() else { continue };
            let before = (play.ledger.version(), portrait(&play.ledger, &[]));
            let revisions = pages::revisions(&play.ledger);
            play.ledger.hear(&said.answer(), said.unread, play.now);
            prop_assert_eq!(play.ledger.take_changes(play.now).1, []);
            prop_assert_eq!((play.ledger.version(), portrait(&play.ledger, &[])), before);
            prop_assert_eq!(pages::revisions(&play.ledger), revisions);
        }
    }

    #[test]
    fn what_is_passed_over_counts_as_if_it_was_told_again(setup in setup(), ops in history(120)) {
        let mut told = Play::new(&setup);
        let mut passed = Play::new(&setup).passing_over();
        for op in &ops {
            told.step(op);
            passed.step(op);
            let births: Vec<u64> = told.scrapers.births().collect();
            prop_assert_eq!(passed.ledger.version(), told.ledger.version());
            prop_assert_eq!(portrait(&passed.ledger, &births), portrait(&told.ledger, &births));
            prop_assert_eq!(series(&passed.ledger), series(&told.ledger));
            told.commit();
            passed.commit();
            prop_assert_eq!(passed.rows(), told.rows());
        }
    }

    #[test]
    fn a_row_that_is_missing_is_an_error(
        setup in setup(), ops in vec(event(), 1..60), which in any::<Index>(),
    ) {
        let play = played(&setup, &ops);
        let mut rows = entries(play.rows());
        rows.swap_remove(which.index(rows.len()));
        prop_assert!(rows.is_empty() || Ledger::restore(setup.settings, rows, play.now).is_err());
    }

    #[test]
    fn a_row_that_is_damaged_is_an_error_or_harmless(
        setup in setup(),
        ops in vec(event(), 1..60),
        (which, at) in any::<(Index, Index)>(),
        byte in proptest::option::of(32..127_u8),
    ) {
        let play = played(&setup, &ops);
        let mut rows = entries(play.rows());
        let row = which.index(rows.len());
        let mut body = rows[row].body.take().unwrap().into_bytes();
        let at = at.index(body.len());
        match byte {
            Some(byte) => body[at] = byte,
            None => body.truncate(at),
        }
        rows[row].body = Some(String::from_utf8(body).unwrap());
        if let Ok(mut ledger) = Ledger::restore(setup.settings, rows, play.now) {
            if let Some(said) = play.said_last() {
                ledger.hear(&said.answer(), said.unread, play.now);
            }
            ledger.mark_all();
            prop_assert!(!ledger.take_changes(play.now).1.is_empty());
        }
    }

    #[test]
    fn money_is_exact_to_the_last_picodollar(
        amounts in vec(prop_oneof![0..1_000_u128, 0..10_u128.pow(12), 0..10_u128.pow(24)], 1..40),
    ) {
        let mut sum = Usd::ZERO;
        for amount in &amounts {
            sum += usd(*amount);
        }
        prop_assert_eq!(picodollars(sum), amounts.iter().sum::<u128>());
    }
}

#[test]
fn what_is_told_again_is_passed_over() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut passed_over = 0;
    for _ in 0..50 {
        let (setup, ops) = (setup(), history(90)).new_tree(&mut runner).unwrap().current();
        let mut play = Play::new(&setup).passing_over();
        for op in &ops {
            play.step(op);
        }
        passed_over += play.passed_over;
    }
    assert!(passed_over > 20, "{passed_over}");
}

fn played(setup: &Setup, ops: &[Op]) -> Play {
    let mut play = Play::new(setup);
    for op in ops {
        play.step(op);
    }
    play.commit();
    play
}

fn chats_are_worth_their_highest_account(play: &Play) {
    for chat in play.ledger.chats() {
        let known = &play.oracle.chats[&key(chat)];
        assert_eq!(amounts(chat.book.published()), known.published(), "{:?}", key(chat));
        let accounts: BTreeMap<Witness, _> =
            chat.book.accounts().map(|(witness, counters)| (witness, amounts(counters))).collect();
        let expected: BTreeMap<Witness, _> =
            known.accounts().into_iter().map(|(s, amounts)| (s.witnesses()[0], amounts)).collect();
        assert_eq!(accounts, expected, "{:?}", key(chat));
    }
    // The drift is taken over all chats that the ledger remembers, evicted or not.
    let drifts = play.ledger.drifts();
    for source in [Source::Scrape, Source::Logs, Source::Mongodb, Source::Ag2, Source::Receive] {
        let chats = || play.oracle.chats.values().filter(|chat| chat.account(source).is_some());
        let published = sum(chats(), oracle::Chat::published);
        let account = sum(chats(), |chat| chat.account(source).unwrap());
        let drift = drifts.get(&source.witnesses()[0]).map(|(p, a)| (amounts(p), amounts(a)));
        assert_eq!(drift, (chats().count() > 0).then_some((published, account)), "{source:?}");
    }
    let regressions: u64 = play.ledger.tally().regressions.values().sum();
    assert_eq!(regressions, play.oracle.regressions);
    assert_eq!(play.ledger.tally().duplicates, play.oracle.duplicates);
}

fn workflows_are_the_sum_of_their_chats(play: &Play) {
    let rows = play.ledger.workflows();
    assert_eq!(rows.len(), play.oracle.workflows.len());
    for (n, (row, expected)) in rows.iter().zip(&play.oracle.workflows).enumerate() {
        let names = (row.runtime.0.into(), row.app_id.to_string(), row.workflow_name.to_string());
        assert_eq!(names, *expected);
        let chats = || play.oracle.all().filter(|chat| chat.workflow == n);
        let total = sum(chats(), oracle::Chat::published);
        assert_eq!(amounts(&row.totals), total, "{names:?}");
        assert_eq!(row.totals.cost.to_string(), usd(total[COST]).to_string());
        assert_eq!(row.starts, chats().map(|chat| chat.starts).sum::<u64>(), "{names:?}");
        let (completed, lost) = ends(row.ends);
        assert_eq!(completed, chats().map(|chat| chat.completed).sum::<u64>(), "{names:?}");
        assert_eq!(lost, chats().map(|chat| chat.lost).sum::<u64>(), "{names:?}");
        let sessions = chats().map(|chat| chat.sessions).sum::<u64>();
        assert_eq!(row.sessions.count(), sessions, "{names:?}");
        let turns: u128 = chats().map(|chat| chat.turns).sum();
        let seen_or_not = row.turns.count() + row.turns_unobserved;
        assert_eq!(u128::from(seen_or_not), turns, "{names:?}");
    }
}

fn sums_are_those_of_the_chats_that_are_shown(ledger: &Ledger) {
    for (id, runtime) in (0..).map(RuntimeId).zip(ledger.runtimes()) {
        let mut sums = Sums::default();
        for chat in ledger.chats().filter(|chat| chat.runtime == id) {
            sums.chats += 1;
            sums.live += usize::from(chat.is_live());
            sums.totals.add(chat.book.published());
        }
        assert_eq!(runtime.sums, sums, "{}", runtime.name);
    }
}

fn users_are_the_sum_of_their_chats(play: &Play) {
    for runtime in 0..play.oracle.runtimes.len() {
        let rows =
            || play.ledger.users().iter().filter(|row| usize::from(row.runtime.0) == runtime);
        let chats = || play.oracle.all().filter(|chat| chat.runtime == runtime);
        let total = sum(chats(), oracle::Chat::published);
        let cost: u128 = rows().map(|row| picodollars(row.own().cost)).sum();
        assert_eq!(cost, total[COST]);
        let tokens: u128 = rows().map(|row| u128::from(row.own().tokens)).sum();
        assert_eq!(tokens, total[3] + total[4]);
        let begun: u64 = rows().map(|row| row.own().chats).sum();
        assert_eq!(begun, chats().map(|chat| chat.starts).sum::<u64>());
        if play.ledger.tally().folded_users > 0 {
            continue;
        }
        for row in rows() {
            let is_theirs = |chat: &&oracle::Chat| {
                app_id(chat.number) == *row.app_id && user_id(chat.number) == *row.user_id
            };
            let total = sum(chats().filter(is_theirs), oracle::Chat::published);
            let own = (u128::from(row.own().tokens), picodollars(row.own().cost));
            assert_eq!(own, (total[3] + total[4], total[COST]), "{} {}", row.app_id, row.user_id);
        }
    }
}

fn what_is_folded_is_the_growth_beyond_the_bound(play: &Play) {
    for (runtime, expected) in play.ledger.runtimes().iter().zip(&play.oracle.runtimes) {
        assert_eq!(amounts(&runtime.folded), expected.folded, "{}", runtime.name);
        assert_eq!(runtime.is_met(), expected.met, "{}", runtime.name);
    }
}

fn live_chats_are_those_that_live(play: &Play) {
    let live: BTreeSet<_> = play.ledger.live_chats().map(key).collect();
    let expected = play.oracle.chats.iter().filter(|(_, chat)| chat.is_live());
    let expected: BTreeSet<_> = expected.map(|(key, _)| *key).collect();
    assert_eq!(live, expected);
    for (n, row) in play.ledger.workflows().iter().enumerate() {
        let chats = play.oracle.chats.values().filter(|chat| chat.is_live() && chat.workflow == n);
        assert_eq!(row.active, u64::try_from(chats.count()).unwrap(), "{}", row.workflow_name);
    }
    let with_series: BTreeSet<_> = play.ledger.chats().map(key).collect();
    assert!(with_series.is_superset(&live), "a chat that lives has no series");
}

fn chats_are_in_the_phase_that_was_told(play: &Play) {
    for chat in play.ledger.chats() {
        let known = &play.oracle.chats[&key(chat)];
        assert_eq!(chat.phase, known.phase, "{:?}", key(chat));
        assert_eq!(chat.last_update, known.last_update, "{:?}", key(chat));
    }
}

fn bounds_hold(play: &Play, settings: &Settings) {
    let shown = play.ledger.chats().filter(|chat| !chat.folded).count();
    assert!(shown <= settings.max_chats, "{shown} chats");
    let own_name = |name: &str| name != mozaiks_exporter::model::OTHER;
    let workflows = play.ledger.workflows().iter().filter(|row| own_name(&row.workflow_name));
    assert!(workflows.count() <= settings.max_workflows);
    let users = play.ledger.users().iter().filter(|row| row.shown && own_name(&row.user_id));
    assert!(users.count() <= settings.max_users);
}

fn ended_chats_have_series_for_the_retention(
    play: &Play,
    settings: &Settings,
    clock_was_set: bool,
) {
    let retention = i64::try_from(settings.retention.as_micros()).unwrap();
    let is_due = |chat: &oracle::Chat| play.now.mono.0 - chat.closed >= retention;
    let with_series: BTreeMap<_, &Chat> = play.ledger.chats().map(|c| (key(c), c)).collect();
    for key in with_series.keys() {
        let chat = &play.oracle.chats[key];
        assert!(chat.is_live() || !is_due(chat), "{key:?} should have left");
    }
    if play.ledger.tally().evicted_by_bound == 0 && !clock_was_set {
        let due_or_there = |key, chat| is_due(chat) || with_series.contains_key(key);
        assert!(play.oracle.chats.iter().all(|(key, chat)| due_or_there(key, chat)));
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// All that can be seen of a ledger, as text.
fn portrait(ledger: &Ledger, births: &[u64]) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(ledger.runtimes().iter().map(|row| json(&row)));
    lines.extend(ledger.workflows().iter().map(|row| format!("{} {}", json(&row), row.active)));
    lines.extend(ledger.users().iter().map(|row| json(&row)));
    lines.extend(ledger.chats().map(|row| json(&row)));
    lines.push(format!("{:?}", ledger.live_chats().map(key).collect::<Vec<_>>()));
    lines.push(json(ledger.tally()));
    lines.push(format!("{:?}", births.iter().map(|b| ledger.hides(*b)).collect::<Vec<_>>()));
    lines.push(format!("{:?}", ledger.drifts()));
    lines
}
