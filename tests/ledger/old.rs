//! Rows as the first version wrote them are read, and written anew.
//!
//! `first_rows.tsv` is what it kept of four chats: one that was polled and lives, one that ended, one
//! of which the log tells more than the routes, and one that was pushed and is owed to the shared store.

use mozaiks_exporter::ledger::{Chat, Entry, Kind, Ledger, Phase, Settings};
use mozaiks_exporter::model::{Instant, Mono, Timestamp, Witness};

use super::pages::shown;
use super::play::{Rows, entries, keep};
use super::world::{Amounts, SECOND, amounts};

const ROWS: &str = include_str!("first_rows.tsv");

fn now() -> Instant {
    Instant { wall: Timestamp(1_800_000_050 * SECOND), mono: Mono(7 * SECOND) }
}

fn first_rows() -> Vec<Entry> {
    let row = |line: &str| {
        let (kind, rest) = line.split_once('\t').unwrap();
        let (id, body) = rest.split_once('\t').unwrap();
        let kind = Kind::from_number(kind.parse().unwrap()).unwrap();
        Entry { kind, id: id.parse().unwrap(), body: Some(body.to_owned()) }
    };
    ROWS.lines().map(row).collect()
}

fn restored(rows: Vec<Entry>) -> Ledger {
    let settings = Settings { shared_store: true, ..Settings::default() };
    Ledger::restore(settings, rows, now()).unwrap()
}

fn accounts(chat: &Chat) -> Vec<(Witness, Amounts)> {
    chat.book.accounts().map(|(witness, account)| (witness, amounts(account))).collect()
}

#[test]
fn rows_of_the_first_version_are_read() {
    let ledger = restored(first_rows());
    let chat = |id: &str| ledger.chat(id).unwrap();
    let micro = 1_000_000;

    let polled = chat("01234567-0000-0000-0000-10255b4d4a4a");
    assert_eq!((polled.app_id(), polled.workflow_name()), ("app-00", "Workflow0"));
    assert_eq!(polled.user_id(), "01234567-1500-4a7c-a268-131eb91c7810");
    assert_eq!(amounts(polled.book.published()), [7, 0, 0, 1200, 600, 369 * micro]);
    assert_eq!(polled.started_at(), Some(Timestamp(1_799_996_400_000_000)));
    assert_eq!(polled.last_update, Timestamp(1_800_000_030_123_456));
    assert_eq!((polled.last_turn_seconds, polled.birth, polled.phase), (Some(1.0), 3, Phase::Live));

    let ended = chat("7e693972-79b9-9e37-692a-ec3d033a5c98");
    assert_eq!((ended.phase, ended.birth), (Phase::Ended, 6));
    assert_eq!(ended.ended_at(), Some(Timestamp(1_800_000_020_000_000)));

    let logged = chat("ffb7bd4d-f372-3c6e-cfe7-c55829e222fa");
    let cent = 10_000 * micro;
    let (by_routes, by_log) = ([9, 2, 2, 1274, 622, 2369 * micro], [0, 0, 0, 99_999, 7, 25 * cent]);
    let expected = [(Witness::Scrape, by_routes), (Witness::LogUsage, by_log)];
    assert_eq!(accounts(logged), expected);
    assert_eq!(amounts(logged.book.published()), [9, 2, 2, 99_999, 622, 25 * cent]);

    let pushed = chat("pushed");
    assert_eq!(accounts(pushed), [(Witness::Receive, [1, 0, 0, 11, 7, 25 * cent])]);
    let debt = ledger.debt();
    assert_eq!((debt.chats, debt.since), (1, Some(Timestamp(1_800_000_033_123_456))));
}

#[test]
fn rows_of_the_first_version_are_written_anew_at_once() {
    let mut ledger = restored(first_rows());
    let mut rows = Rows::new();
    keep(&mut rows, first_rows());
    let before = rows.clone();
    keep(&mut rows, ledger.take_changes(now()).1);
    for ((kind, id), body) in &rows {
        let is_new = before[&(*kind, *id)] != *body;
        assert_eq!(is_new, matches!(kind, Kind::Chat | Kind::Meta), "{kind:?} {id}");
        assert!(*kind != Kind::Chat || body.len() < 450, "{body}");
    }
    let mut again = restored(entries(&rows));
    assert_eq!(again.take_changes(now()).1, []);
    assert_eq!(series_of(&again), series_of(&ledger));
    assert_eq!(again.drifts(), ledger.drifts());
}

/// All that is shown of chats.
fn series_of(ledger: &Ledger) -> Vec<String> {
    ledger.chats().map(shown).collect()
}
