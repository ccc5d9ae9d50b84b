use std::path::Path;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::model::{About, Usd};
use crate::sources::ag2::Flaw;
use crate::sources::value::Refusal;

/// As AG2 0.10 makes them.
pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS chat_completions(id INTEGER PRIMARY KEY, invocation_id TEXT,
        client_id INTEGER, wrapper_id INTEGER, session_id TEXT, source_name TEXT, request TEXT,
        response TEXT, is_cached INEGER, cost REAL, start_time DATETIME DEFAULT CURRENT_TIMESTAMP,
        end_time DATETIME DEFAULT CURRENT_TIMESTAMP);
    CREATE TABLE IF NOT EXISTS agents (id INTEGER PRIMARY KEY, agent_id INTEGER,
        wrapper_id INTEGER, session_id TEXT, name TEXT, class TEXT, init_args TEXT,
        timestamp DATETIME DEFAULT CURRENT_TIMESTAMP, UNIQUE(agent_id, session_id));
    CREATE TABLE IF NOT EXISTS version (id INTEGER PRIMARY KEY CHECK (id = 1),
        version_number INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS function_calls (source_id INTEGER, source_name TEXT,
        function_name TEXT, args TEXT DEFAULT NULL, returns TEXT DEFAULT NULL,
        timestamp DATETIME DEFAULT CURRENT_TIMESTAMP);
    INSERT OR IGNORE INTO version VALUES (1, 1);";

/// A database in a directory of its own.
struct Log {
    dir: TempDir,
    writer: Connection,
}

impl Log {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let writer = Self::make(dir.path());
        Self { dir, writer }
    }

    fn make(dir: &Path) -> Connection {
        let writer = Connection::open(dir.join("ag2.db")).unwrap();
        writer.pragma_update(None, "synchronous", "off").unwrap();
        writer.execute_batch(TABLES).unwrap();
        writer
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("ag2.db")
    }

    /// As `CLEAR_LOGS_ON_START` does.
    fn replace(&mut self) {
        std::fs::remove_file(self.path()).unwrap();
        self.writer = Self::make(self.dir.path());
    }

    fn call(&self, id: &str, tokens: u64) {
        let response = format!(
            "{{\"model\": \"m\", \"usage\": {{\"prompt_tokens\": {tokens}, \
             \"completion_tokens\": 1}}}}"
        );
        self.answer(id, &response);
    }

    fn answer(&self, id: &str, response: &str) {
        let insert = "INSERT INTO chat_completions (invocation_id, session_id, source_name, \
                      request, response, is_cached, cost, start_time, end_time) VALUES \
                      (?1, 's', 'A', '{\"model\": \"asked\"}', ?2, 0, 0.5, \
                      '2026-11-22 01:45:50.500000', '2026-11-22 01:45:52')";
        self.writer.execute(insert, [id, response]).unwrap();
    }

    fn tool(&self, source: u64, name: &str, at: &str) {
        let insert = "INSERT INTO function_calls VALUES (?1, 'A', ?2, '{}', '1', ?3)";
        self.writer.execute(insert, rusqlite::params![source, name, at]).unwrap();
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.dir.path()).unwrap().count()
    }
}

fn tokens(events: &[Event]) -> Vec<u64> {
    events.iter().filter_map(usage_of).map(|usage| usage.prompt_tokens).collect()
}

fn prior_tokens(file: &Path, place: Option<&str>) -> Vec<(bool, Vec<u64>)> {
    let mut sqlite = Sqlite::open(file, names(), place).unwrap();
    let mut told = Vec::new();
    loop {
        let step = sqlite.step(2, NOW).unwrap();
        told.push((step.prior, tokens(&step.events)));
        if !step.more {
            return told;
        }
    }
}

#[test]
fn rows_are_told_once_over_any_number_of_openings() {
    let log = Log::new();
    let (mut place, mut told) = (None, Vec::new());
    for round in 0..20_u64 {
        log.call(&format!("i{round}"), round);
        if round % 3 == 0 {
            let (steps, events) = steps(&log.path(), place.as_deref(), 2);
            place = steps.last().map(|step| step.place.clone());
            told.extend(tokens(&events));
        }
    }
    assert_eq!(told, (0..19).collect::<Vec<_>>());
    assert_eq!(log.files(), 1);
}

#[test]
fn what_lay_there_at_first_contact_comes_in_steps_of_its_own() {
    let log = Log::new();
    for n in 0..3 {
        log.call(&format!("i{n}"), n);
    }
    let mut sqlite = Sqlite::open(log.path(), names(), None).unwrap();
    let first = sqlite.step(2, NOW).unwrap();
    assert_eq!((first.prior, tokens(&first.events), first.more), (true, vec![0, 1], true));
    log.call("i3", 3);
    log.call("i4", 4);
    let rest = prior_tokens(&log.path(), Some(&first.place));
    assert_eq!(rest, [(true, vec![2]), (false, vec![3, 4])]);
}

#[test]
fn a_border_that_is_gone_does_not_hold_up() {
    let log = Log::new();
    for n in 0..4 {
        log.call(&format!("i{n}"), n);
    }
    log.tool(1, "t", "2026-11-22 01:45:52");
    let mut sqlite = Sqlite::open(log.path(), names(), None).unwrap();
    sqlite.step(2, NOW).unwrap();
    log.writer.execute("DELETE FROM chat_completions WHERE id = 3", []).unwrap();
    let last = sqlite.step(2, NOW).unwrap();
    assert_eq!((last.prior, tokens(&last.events), last.more), (true, vec![3], false));
    log.call("i5", 5);
    let next = sqlite.step(2, NOW).unwrap();
    assert_eq!((next.prior, tokens(&next.events)), (false, vec![5]));
}

#[test]
fn a_file_that_comes_later_holds_nothing_prior() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("ag2.db");
    let mut sqlite = Sqlite::open(&file, names(), None).unwrap();
    assert_eq!(sqlite.place(), None);
    assert!(matches!(sqlite.step(10, NOW), Err(Error::Absent)));
    let place = sqlite.place().unwrap();
    std::fs::write(&file, b"").unwrap();
    let step = sqlite.step(10, NOW).unwrap();
    assert_eq!((step.events.len(), step.more), (0, false));
    std::fs::remove_file(&file).unwrap();
    let log = Log { writer: Log::make(dir.path()), dir };
    log.call("i", 5);
    assert_eq!(prior_tokens(&file, Some(&place)), [(false, vec![5])]);
    assert_eq!(prior_tokens(&file, None), [(true, vec![5])]);
}

#[test]
fn another_file_in_the_same_place_is_read_from_its_beginning() {
    let mut log = Log::new();
    for n in 0..5 {
        log.call(&format!("i{n}"), n);
        log.tool(1, "t", &format!("2026-11-22 01:45:5{n}"));
    }
    let mut sqlite = Sqlite::open(log.path(), names(), None).unwrap();
    assert_eq!(sqlite.step(9, NOW).unwrap().events.len(), 10);
    log.replace();
    // Fewer rows, none of a kind, and as many with the same ids.
    log.call("j0", 10);
    let step = sqlite.step(9, NOW).unwrap();
    assert_eq!((step.prior, tokens(&step.events), step.events.len()), (false, vec![10], 1));
    log.replace();
    assert_eq!(sqlite.step(9, NOW).unwrap().events, []);
    for n in 0..5 {
        log.call(&format!("k{n}"), n);
    }
    assert_eq!(sqlite.step(9, NOW).unwrap().events.len(), 5);
    log.replace();
    for n in 0..7 {
        log.call(&format!("l{n}"), n);
        log.tool(1, "t", &format!("2026-11-23 01:45:5{n}"));
    }
    let step = sqlite.step(9, NOW).unwrap();
    assert_eq!((step.prior, step.events.len(), step.more, step.behind), (false, 14, false, 0));
}

#[test]
fn a_file_that_was_replaced_before_its_first_rows_were_told_has_none_that_are_prior() {
    let mut log = Log::new();
    for n in 0..4 {
        log.call(&format!("i{n}"), n);
    }
    let mut sqlite = Sqlite::open(log.path(), names(), None).unwrap();
    sqlite.step(1, NOW).unwrap();
    log.replace();
    for n in 5..9 {
        log.call(&format!("j{n}"), n);
    }
    let step = sqlite.step(9, NOW).unwrap();
    assert_eq!((step.prior, tokens(&step.events)), (false, vec![5, 6, 7, 8]));
}

#[test]
fn a_tool_belongs_to_the_agent_that_was_made_last_before_it() {
    let log = Log::new();
    log.writer
        .execute_batch(
            "INSERT INTO agents (agent_id, session_id, timestamp) VALUES
                (7, 'old', '2026-11-22 01:00:00.000000'), (7, 'new', '2026-11-22 02:00:00.000000'),
                (8, 'other', '2026-11-22 01:00:00.000000')",
        )
        .unwrap();
    for (source, at) in [(7, "01:30:00"), (7, "02:00:00.000001"), (7, "00:30:00"), (9, "03:00:00")]
    {
        log.tool(source, "t", &format!("2026-11-22 {at}"));
    }
    let (_, events) = steps(&log.path(), None, 3);
    let about: Vec<_> = events.into_iter().map(|event| event.about).collect();
    let session = |id: &str| About::Session(id.to_owned());
    assert_eq!(about, [session("old"), session("new"), About::Nobody, About::Nobody]);
}

#[test]
fn answers_of_every_kind_are_told() {
    let log = Log::new();
    for response in [
        r#"{"model": "m", "usage": {"prompt_tokens": 5, "completion_tokens": 6}}"#,
        r#"{"response": "error_code:429, config 0 failed"}"#,
        r#"{"response": null}"#,
        r#"{"response": "hello"}"#,
        "error_code:429, config 0 failed",
        "hello",
        "null",
        "{\"model\": \"m\", \"usage\": {\"prompt_tokens\": \"5\", \"completion_tokens\": 2.0}}",
        "{\"model\": [\"secret\"], \"usage\": {\"prompt_tokens\": -5}}",
        "{\"model\": 7, \"usage\": null}",
    ] {
        log.answer("i", response);
    }
    log.writer.execute("UPDATE chat_completions SET is_cached = 1 WHERE id = 8", []).unwrap();
    let (steps, events) = steps(&log.path(), None, 99);
    let told: Vec<_> = events
        .iter()
        .map(|event| match &event.what {
            What::Call { usage, cached, failed, model, .. } => {
                (usage.prompt_tokens, !usage.cost.is_zero(), *cached, *failed, &**model)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            (5, true, false, false, "m"),
            (0, false, false, true, "asked"),
            (0, false, false, true, "asked"),
            (0, true, false, false, "asked"),
            (0, false, false, true, "asked"),
            (0, true, false, false, "asked"),
            (0, false, false, true, "asked"),
            (0, false, true, false, "m"),
            (0, true, false, false, "asked"),
            (0, true, false, false, "asked"),
        ]
    );
    assert_eq!(steps[0].flaws, [Flaw::Shape, Flaw::Value(Refusal::Negative)]);
    let What::Call { seconds, .. } = events[0].what else { panic!("it is a call") };
    assert_eq!((seconds, events[0].at), (Some(1.5), Timestamp(1_795_311_952_000_000)));
}

#[test]
fn values_of_odd_types_are_told_or_noted() {
    let log = Log::new();
    for (column, value, flaw, cost) in [
        ("cost", "NULL", None, "0"),
        ("cost", "'0.25'", None, "0.25"),
        ("cost", "'much'", Some(Flaw::Value(Refusal::NotANumber)), "0"),
        ("cost", "3", None, "3"),
        ("cost", "-1.5", Some(Flaw::Value(Refusal::Negative)), "0"),
        ("cost", "9e999", Some(Flaw::Value(Refusal::NotANumber)), "0"),
        ("cost", "x'00'", Some(Flaw::Value(Refusal::NotANumber)), "0"),
        ("is_cached", "NULL", None, "0.5"),
        ("is_cached", "'no'", Some(Flaw::Value(Refusal::NotANumber)), "0.5"),
        ("session_id", "x'ff'", Some(Flaw::Value(Refusal::NotText)), "0.5"),
        ("source_name", "7", None, "0.5"),
        ("end_time", "x'ff'", None, "0.5"),
        ("response", "x'ff'", Some(Flaw::Shape), "0.5"),
        ("response", "NULL", None, "0"),
        ("request", "x'7b7d'", None, "0.5"),
        ("invocation_id", "NULL", None, "0.5"),
    ] {
        log.writer.execute("DELETE FROM chat_completions", []).unwrap();
        log.call("i", 5);
        log.writer.execute(&format!("UPDATE chat_completions SET {column} = {value}"), []).unwrap();
        let (steps, events) = steps(&log.path(), None, 9);
        let what = format!("{column} = {value}");
        assert_eq!(steps.iter().flat_map(|step| &step.flaws).next(), flaw.as_ref(), "{what}");
        let cost: Usd = cost.parse().unwrap();
        assert_eq!(
            events.iter().filter_map(usage_of).map(|usage| usage.cost).next(),
            Some(cost),
            "{what}"
        );
    }
}

#[test]
fn what_is_no_log_of_ag2_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("x.db");
    std::fs::write(&file, b"{\"ts\": \"not a database\"}").unwrap();
    assert!(matches!(failure(&file), Error::Damaged));
    assert!(matches!(failure(dir.path()), Error::Io(_)));
    assert!(matches!(Sqlite::open(&file, names(), Some("x")), Err(Error::Place)));

    let log = Log::new();
    log.call("i", 1);
    log.writer.execute("UPDATE version SET version_number = 2", []).unwrap();
    assert!(matches!(failure(&log.path()), Error::Version(2)));
    log.writer.execute("DELETE FROM version", []).unwrap();
    assert_eq!(steps(&log.path(), None, 9).1.len(), 1, "it is written last");
    log.writer.execute("ALTER TABLE agents DROP COLUMN timestamp", []).unwrap();
    let missing = failure(&log.path()).to_string();
    assert_eq!(missing, "table agents has no column timestamp; is this a log of AG2?");
    log.writer.execute("DROP TABLE function_calls", []).unwrap();
    assert!(matches!(failure(&log.path()), Error::Columns { table: "function_calls", .. }));
    log.writer.pragma_update(None, "journal_mode", "wal").unwrap();
    let files = log.files();
    assert!(matches!(failure(&log.path()), Error::Wal));
    assert_eq!(log.files(), files);
}

#[test]
fn a_write_that_was_broken_off_is_left_to_its_writer() {
    let log = Log::new();
    for n in 0..400 {
        log.answer(&format!("i{n}"), &"x".repeat(2000));
    }
    log.writer.pragma_update(None, "cache_size", 1).unwrap();
    log.writer.execute_batch("BEGIN; UPDATE chat_completions SET response = 'y'").unwrap();
    let copy = TempDir::new().unwrap();
    for entry in std::fs::read_dir(log.dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let file = copy.path().join("ag2.db");
    let journal = copy.path().join("ag2.db-journal");
    assert_eq!(std::fs::read(&journal).unwrap().first(), Some(&0xd9), "it is to be played back");
    let before = (std::fs::read(&file).unwrap(), std::fs::read(&journal).unwrap());
    assert!(matches!(failure(&file), Error::Unfinished));
    assert_eq!((std::fs::read(&file).unwrap(), std::fs::read(&journal).unwrap()), before);
    Connection::open(&file).unwrap().execute("UPDATE version SET id = 1", []).unwrap();
    assert_eq!(steps(&file, None, 999).1.len(), 400);
}

#[test]
fn nothing_that_was_said_leaves_the_reader() {
    let log = Log::new();
    let json = "{\"messages\": [\"MARKER\"], \"api_key\": \"MARKER\", \"model\": [\"MARKER\"], \
                \"usage\": {\"prompt_tokens\": \"MARKER\", \"completion_tokens\": {\"a\": \
                \"MARKER\"}}, \"choices\": [{\"message\": {\"content\": \"MARKER\"}}]}";
    for response in [json, "{\"response\": \"MARKER\"}", "MARKER", "{\"usage\": [\"MARKER\"]}"] {
        log.writer
            .execute(
                "INSERT INTO chat_completions (invocation_id, client_id, wrapper_id, request, \
                 response, is_cached, cost, start_time, end_time) VALUES ('MARKER', 'MARKER', \
                 'MARKER', ?1, ?2, 'MARKER', 'MARKER', 'MARKER', 'MARKER')",
                [json, response],
            )
            .unwrap();
    }
    log.writer
        .execute_batch(
            "INSERT INTO function_calls VALUES ('MARKER', 'MARKER', 't', 'MARKER', 'MARKER', 'MARKER');
             INSERT INTO agents (agent_id, name, class, init_args) VALUES (1, 'MARKER', 'MARKER', 'MARKER')",
        )
        .unwrap();
    let mut sqlite = Sqlite::open(log.path(), names(), None).unwrap();
    let step = sqlite.step(9, NOW).unwrap();
    assert_eq!((step.events.len(), step.flaws.len()), (5, 5));
    assert!(!format!("{step:?} {sqlite:?}").contains("MARKER"), "{step:?}");
    log.writer.execute("ALTER TABLE agents DROP COLUMN timestamp", []).unwrap();
    let error = sqlite.step(9, NOW).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("MARKER"));
}
