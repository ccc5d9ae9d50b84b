//! The file through restarts, damage and versions.

use std::fs;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};

use super::file::{DATABASE, DirError, Opened, StoreFile, checksum, create_private_dir};
use super::layout::{APPLICATION_ID, LAYOUT, MIGRATIONS, key};
use crate::ledger::{Entry, Kind};
use crate::model::Timestamp;

fn entry(id: u64, body: &str) -> Entry {
    Entry { kind: Kind::Chat, id, body: Some(body.into()) }
}

/// The open file and its rows.
fn open(dir: &Path, second: i64) -> Result<(Opened, Vec<Entry>), DirError> {
    let mut entries = Vec::new();
    let opened = StoreFile::open(dir, Timestamp(second * 1_000_000), &mut |kind, id, body| {
        entries.push(Entry { kind, id, body: Some(body.to_owned()) });
        Ok(())
    })?;
    if opened.damage.is_some() {
        entries.clear();
    }
    Ok((opened, entries))
}

fn peek(dir: &Path) -> Vec<Entry> {
    let mut entries = Vec::new();
    let is_whole = StoreFile::peek(dir, &mut |kind, id, body| {
        entries.push(Entry { kind, id, body: Some(body.to_owned()) });
        Ok(())
    });
    if is_whole { entries } else { Vec::new() }
}

fn filled(dir: &Path) -> Vec<Entry> {
    let (mut opened, _) = open(dir, 0).unwrap();
    let entries: Vec<Entry> =
        (0..200).map(|id| entry(id, &format!("{{\"n\":{id}}}").repeat(20))).collect();
    opened.file.commit(&entries).unwrap();
    entries
}

#[test]
fn what_was_committed_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let entries = filled(dir.path());
    let (mut opened, read) = open(dir.path(), 0).unwrap();
    assert_eq!(read, entries);
    assert_eq!(opened.rows, entries.len());
    assert!(opened.damage.is_none());
    opened.file.commit(&[Entry { body: None, ..entry(7, "") }]).unwrap();
    drop(opened);
    let (_, read) = open(dir.path(), 0).unwrap();
    assert_eq!(read.len(), entries.len() - 1);
}

#[test]
fn what_cannot_be_written_to_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("50%? of #1");
    assert!(peek(&dir).is_empty());
    let entries = filled(&dir);
    assert_eq!(peek(&dir), entries, "closed in good order");
    let (mut opened, _) = open(&dir, 0).unwrap();
    opened.file.commit(&[entry(1000, "{}")]).unwrap();
    assert_eq!(peek(&dir).len(), entries.len() + 1, "with a log that is not merged");
}

#[test]
fn a_second_instance_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open(dir.path(), 0).unwrap();
    let second = open(dir.path(), 0).unwrap_err();
    assert!(matches!(second, DirError::InUse { .. }));
}

#[test]
fn a_file_cut_anywhere_is_read_whole_or_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let entries = filled(dir.path());
    let path = dir.path().join(DATABASE);
    let whole = fs::read(&path).unwrap();
    for keep in (0..whole.len()).step_by(611) {
        fs::write(&path, &whole[..keep]).unwrap();
        let (opened, read) = open(dir.path(), 9).unwrap();
        let (aside, _) = opened.damage.unwrap();
        assert!(read.is_empty());
        assert_eq!(fs::read(&aside).unwrap().len(), keep);
    }
    fs::remove_file(&path).unwrap();
    fs::write(&path, &whole).unwrap();
    assert_eq!(open(dir.path(), 0).unwrap().1, entries);
}

#[test]
fn a_flipped_byte_never_changes_a_row_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let entries = filled(dir.path());
    let path = dir.path().join(DATABASE);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(997) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x15;
        fs::write(&path, &flipped).unwrap();
        match open(dir.path(), 9) {
            Ok((opened, read)) if opened.damage.is_none() => assert_eq!(read, entries),
            Ok((_, read)) => assert!(read.is_empty()),
            // A version number from the future is refused, not thrown away.
            Err(error) => assert!(matches!(error, DirError::TooNew { .. }), "{error}"),
        }
    }
}

#[test]
fn a_row_that_is_refused_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let mut refuse = |_, id, _: &str| if id == 7 { Err("no".to_owned()) } else { Ok(()) };
    let opened = StoreFile::open(dir.path(), Timestamp(0), &mut refuse).unwrap();
    assert_eq!(opened.damage.map(|(_, reason)| reason).as_deref(), Some("no"));
    drop(opened.file);
    assert!(open(dir.path(), 0).unwrap().1.is_empty(), "a new file is in its place");
}

/// As one of an earlier version wrote it.
fn write_layout(dir: &Path, layout: i32, entries: &[Entry]) {
    create_private_dir(dir).unwrap();
    let mut connection = Connection::open(dir.join(DATABASE)).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    let transaction = connection.transaction().unwrap();
    for migration in MIGRATIONS.iter().take(layout.try_into().unwrap()) {
        transaction.execute_batch(migration).unwrap();
    }
    transaction.pragma_update(None, "user_version", layout).unwrap();
    transaction.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
    for Entry { kind, id, body } in entries {
        let (kind, body) = (*kind as i64, body.as_deref().unwrap());
        let crc = checksum(kind, *id, body);
        if layout == 1 {
            let row = params![kind, id.cast_signed(), body, crc];
            transaction.execute("INSERT INTO entry VALUES (?1, ?2, ?3, ?4)", row).unwrap();
        } else {
            let row = params![key(kind, *id), body, crc];
            transaction.execute("INSERT INTO row VALUES (?1, ?2, ?3)", row).unwrap();
        }
    }
    transaction.commit().unwrap();
}

#[test]
fn a_file_of_an_earlier_layout_is_brought_to_this_one() {
    let row = |kind, id, body: &str| Entry { kind, id, body: Some(body.into()) };
    let entries = [
        row(Kind::Meta, 0, "{}"),
        row(Kind::Workflow, 2, r#"{"app_id":"acme","workflow_name":"Generator"}"#),
        row(Kind::User, 5, r#"{"user_id":"ann"}"#),
        row(Kind::Chat, 9, r#"{"i":"c","w":2,"u":5,"c":[3,0,0,0,7],"m":"0.5"}"#),
        row(Kind::Chat, 1 << 40, r#"{"i":"d","w":2,"u":5,"n":"bob","p":1}"#),
    ];
    for layout in 1..LAYOUT {
        let dir = tempfile::tempdir().unwrap();
        write_layout(dir.path(), layout, &entries);
        assert_eq!(peek(dir.path()), entries, "where it cannot be written to");
        let (opened, read) = open(dir.path(), 0).unwrap();
        assert!(opened.damage.is_none());
        assert_eq!(read, entries);
        let expected = [
            ["9", "c", "acme", "Generator", "ann", "live", "3", "0", "0", "0", "7", "0.5"],
            [
                "1099511627776",
                "d",
                "acme",
                "Generator",
                "bob",
                "ended",
                "0",
                "0",
                "0",
                "0",
                "0",
                "0",
            ],
        ];
        assert_eq!(view(&opened, "chats"), expected);
        assert_eq!(view(&opened, "entry").len(), entries.len());
    }
}

/// What a person finds in a view.
fn view(opened: &Opened, name: &str) -> Vec<Vec<String>> {
    let query = format!("SELECT * FROM {name} ORDER BY id");
    let mut rows = opened.file.connection.prepare(&query).unwrap();
    let columns = rows.column_count();
    let text = |value: ValueRef<'_>| match value {
        ValueRef::Integer(number) => number.to_string(),
        other => other.as_str().unwrap().to_owned(),
    };
    let rows = rows.query_map([], |row| (0..columns).map(|n| row.get_ref(n).map(text)).collect());
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}
