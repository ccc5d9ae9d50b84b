//! However many chats are pushed, so many are remembered, and nothing is lost of what they came to.

use mozaiks_exporter::ledger::{Chat, Outcome, Settings};
use mozaiks_exporter::model::{Count, What};

use super::receive::{Desk, turn};

const BOUND: usize = 100;

fn desk() -> Desk {
    Desk::with(Settings { max_chats: 10, max_pushed_chats: BOUND, ..Settings::default() })
}

/// So many chats as the ledger has rows of.
fn remembered(desk: &mut Desk) -> usize {
    desk.commit();
    desk.chat_rows()
}

#[test]
fn chats_that_ended_go_first_and_all_they_came_to_stays() {
    let mut desk = desk();
    desk.tell("lives", What::Started);
    for n in 0..1_000 {
        let chat = format!("c{n}");
        desk.tell(&chat, What::Started);
        desk.tell(&chat, turn(7));
        desk.tell(&chat, What::Ended);
        desk.pass(1);
        assert!(remembered(&mut desk) <= BOUND + BOUND / 10 + 1);
    }
    assert_eq!((desk.starts(), desk.ends(Outcome::Completed)), (1_001, 1_000));
    assert_eq!(desk.total().get(Count::PromptTokens), 7_000);
    assert!(desk.ledger.chat("lives").is_some_and(Chat::is_live));
    assert!(desk.ledger.chat("c999").is_some() && desk.ledger.chat("c0").is_none());
    let forgotten = desk.ledger.tally().forgotten_pushed;
    assert_eq!(usize::try_from(forgotten).unwrap() + remembered(&mut desk), 1_001);

    desk.crash();
    assert_eq!(desk.total().get(Count::PromptTokens), 7_000);
    // One that comes back is a new chat under its old name.
    desk.tell("c0", What::Started);
    desk.tell("c0", turn(1));
    assert_eq!((desk.starts(), desk.total().get(Count::PromptTokens)), (1_002, 7_001));
}

#[test]
fn where_all_live_the_longest_quiet_is_abandoned() {
    let mut desk = desk();
    for n in 0..500 {
        desk.tell(&format!("c{n}"), What::Started);
        desk.tell("busy", What::Started);
        desk.pass(1);
    }
    let abandoned = desk.ends(Outcome::Abandoned);
    assert_eq!(usize::try_from(abandoned).unwrap() + remembered(&mut desk), 501);
    assert!(remembered(&mut desk) <= BOUND + BOUND / 10 + 1);
    let active: u64 = desk.ledger.workflows().iter().map(|row| row.active).sum();
    assert_eq!(usize::try_from(active).unwrap(), desk.ledger.live_chats().count());
    assert!(desk.ledger.chat("busy").is_some(), "it is never quiet");
}

#[test]
fn chats_whose_sums_are_pushed_outlast_the_others() {
    let mut desk = desk();
    desk.summarise(1, "sums", 100);
    for n in 0..500 {
        desk.tell(&format!("c{n}"), What::Started);
        desk.pass(1);
    }
    desk.summarise(2, "sums", 110);
    assert_eq!(desk.total().get(Count::PromptTokens), 110);
    // But not each other.
    for n in 0..1_000 {
        desk.summarise(10 + n, &format!("s{n}"), 1);
        desk.pass(1);
        assert!(remembered(&mut desk) <= BOUND + BOUND / 10 + 1);
    }
    assert_eq!(desk.total().get(Count::PromptTokens), 1_110);
}

#[test]
fn a_bound_that_is_lowered_takes_series_from_those_that_are_over_alone() {
    let mut desk = desk();
    for n in 0..4 {
        desk.tell(&format!("lives{n}"), What::Started);
    }
    for n in 0..6 {
        let chat = format!("over{n}");
        desk.tell(&chat, What::Started);
        desk.tell(&chat, turn(7));
        desk.tell(&chat, What::Ended);
        desk.pass(1);
    }
    let shown = |desk: &Desk| desk.ledger.chats().count();
    let settings = |max_chats| Settings { max_chats, ..desk.ledger.settings().clone() };
    let (six, two) = (settings(6), settings(2));
    assert_eq!(shown(&desk), 10);
    desk.ledger.set_settings(six);
    assert_eq!(shown(&desk), 6);
    assert!(desk.ledger.chat("over3").is_none() && desk.ledger.chat("over4").is_some());
    desk.ledger.set_settings(two);
    assert_eq!((shown(&desk), desk.ledger.live_chats().count()), (4, 4));
    assert_eq!(desk.ledger.tally().evicted_by_bound, 6);
    assert_eq!(desk.total().get(Count::PromptTokens), 42);
    // What comes is held back, and all of it is kept over a crash.
    desk.tell("late", What::Started);
    desk.commit();
    desk.crash();
    assert_eq!(desk.total().get(Count::PromptTokens), 42);
}
