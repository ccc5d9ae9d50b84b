//! Polls read at once and in passing come to the same.

use std::time::Duration;

use proptest::prelude::*;

use mozaiks_exporter::ledger::{Ledger, Settings};
use mozaiks_exporter::model::{
    Answer, Counters, Instant, Mono, NameRule, RuntimeId, Source, Timestamp,
};
use mozaiks_exporter::sources::scrape::{Last, Roll, Shape, aggregate};

const NAMES: [&str; 4] = ["plain", "a}b", "quo\\\"te", "\\u00e9\\\\"];

/// One chat: its name, whether it runs, ended or is malformed, its turns, and how it is written.
type Chat = (usize, usize, u8, usize);

fn body(chats: &[Chat], second: i64, blanks: bool) -> Vec<u8> {
    let chats: Vec<String> = chats
        .iter()
        .enumerate()
        .map(|(place, (name, state, turns, way))| {
            let name = NAMES[*name];
            let ended = if *state == 1 { "\"2026-01-18T02:00:00.000000+00:00\"" } else { "null" };
            let turns = if *state == 2 { "-1".into() } else { turns.to_string() };
            let runtime = match way {
                0 => format!("\"runtime_sec\":{second}.5,"),
                1 => format!("\"runtime_sec\":{second}e-3,"),
                2 => "\"runtime_sec\":null,".into(),
                _ => String::new(),
            };
            let start = if *way == 3 { "\"soon\"" } else { "\"2026-01-18T01:58:06.123456+00:00\"" };
            format!(
                "{{\"chat_id\":\"{place} {name}\",\"app_id\":\"a\",\"started_at\":{start},\
                 \"ended_at\":{ended},{runtime}\"agent_turns\":{turns},\"cost\":0.25}}"
            )
        })
        .collect();
    let comma = if blanks { " , " } else { "," };
    format!("{{\"total_cost\":1.5,\"chats\":[{}]}}", chats.join(comma)).into_bytes()
}

fn ledger() -> Ledger {
    let settings = Settings { grace: Duration::ZERO, ..Settings::default() };
    let mut ledger = Ledger::new(settings);
    ledger.watch("app", &[Source::Scrape], Instant::default());
    ledger
}

fn answer(process: Option<Timestamp>) -> Answer<'static> {
    Answer {
        source: Source::Scrape,
        runtime: RuntimeId(0),
        process,
        runtime_clock: Timestamp(0),
        complete: true,
        more: false,
        chats: Vec::new(),
        unreadable: Vec::new(),
        bookmarks: Vec::new(),
    }
}

fn poll(
    ledger: &mut Ledger,
    last: &mut Last,
    body: &[u8],
    said: Answer<'_>,
    now: Instant,
) -> Counters {
    let whole = said.process.is_none();
    let roll = Roll::read(body, Shape::Aggregate, last, NameRule::new(64), whole).unwrap();
    let unreadable = roll.told.unreadable.clone();
    let (said, unread) = (Answer { unreadable, ..said }, roll.told.refused.len());
    let hearing = ledger.hearing(&said, unread, roll.mentions(last), now);
    roll.tell(last, hearing.unwrap())
}

proptest! {
    #[test]
    fn polls_come_to_the_same_however_they_are_read(
        first in prop::collection::vec((0..4_usize, 0..3_usize, 0..9_u8, 0..5_usize), 0..6),
        steps in prop::collection::vec(
            (any::<prop::sample::Index>(), (0..4_usize, 0..3_usize, 0..9_u8, 0..5_usize), 0..8_u8),
            0..12,
        ),
    ) {
        let (mut one, mut other) = (ledger(), ledger());
        let mut last = Last::default();
        let mut chats = first;
        for (second, (place, chat, what)) in (1..).zip(steps) {
            match what {
                0 => chats.push(chat),
                1 if !chats.is_empty() => drop(chats.remove(place.index(chats.len()))),
                2 if !chats.is_empty() => {
                    let place = place.index(chats.len());
                    chats[place] = chat;
                }
                _ => {}
            }
            let body = body(&chats, second, what == 3);
            let said = answer((what != 4).then_some(Timestamp(i64::from(what == 5))));
            let now = Instant { wall: Timestamp(second), mono: Mono(second) };
            let sum = poll(&mut one, &mut last, &body, answer(said.process), now);
            let told = aggregate(&body, NameRule::new(64)).unwrap();
            let mut expected = Counters::default();
            told.chats.iter().for_each(|chat| expected.add(&chat.totals.or(&Counters::default())));
            prop_assert_eq!(sum, expected);
            let unread = told.refused.len();
            let told = Answer { chats: told.chats, unreadable: told.unreadable, ..said };
            other.hear(&told, unread, now);
            prop_assert_eq!(one.take_changes(now), other.take_changes(now));
        }
    }
}

#[test]
fn what_has_not_changed_is_known_again_and_what_has_is_not() {
    let mut last = Last::default();
    let mut ledger = ledger();
    let mut chats = vec![(0, 0, 1, 0), (0, 1, 2, 0), (0, 0, 3, 2)];
    let now = Instant::default();
    poll(&mut ledger, &mut last, &body(&chats, 1, false), answer(Some(Timestamp(1))), now);
    chats[1].2 += 1;
    let body = body(&chats, 22, false);
    let roll = Roll::read(&body, Shape::Aggregate, &mut last, NameRule::new(64), false).unwrap();
    assert_eq!(roll.news(), 1);
}

#[test]
fn what_breaks_off_is_refused_although_its_beginning_is_known() {
    let mut last = Last::default();
    let mut ledger = ledger();
    let body = body(&[(0, 0, 1, 0), (0, 1, 2, 0)], 1, false);
    poll(&mut ledger, &mut last, &body, answer(None), Instant::default());
    for end in 0..body.len() {
        let cut = &body[..end];
        Roll::read(cut, Shape::Aggregate, &mut last, NameRule::new(64), false).unwrap_err();
    }
}
