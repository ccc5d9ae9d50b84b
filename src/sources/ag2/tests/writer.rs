//! Reading while somebody writes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use tempfile::TempDir;

use super::sqlite::TABLES;
use super::*;

const ROWS: u64 = 400;

/// Writes as AG2 does: a row, a commit, and five seconds' patience. Tells the longest wait.
fn write(path: &std::path::Path) -> Duration {
    let writer = Connection::open(path).unwrap();
    writer.busy_timeout(Duration::from_secs(5)).unwrap();
    writer.pragma_update(None, "synchronous", "off").unwrap();
    let mut longest = Duration::ZERO;
    for n in 0..ROWS {
        let begun = Instant::now();
        let response = format!(
            "{{\"text\": \"{}\", \"usage\": {{\"prompt_tokens\": {n}}}}}",
            "x".repeat(5_000)
        );
        let insert = "INSERT INTO chat_completions (invocation_id, response) VALUES (?1, ?2)";
        writer.execute(insert, [&n.to_string(), &response]).unwrap();
        let insert = "INSERT INTO function_calls (source_id, function_name) VALUES (?1, ?1)";
        writer.execute(insert, [n]).unwrap();
        longest = longest.max(begun.elapsed());
    }
    longest
}

#[test]
fn every_row_is_told_once_and_no_writer_gives_up() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ag2.db");
    Connection::open(&path).unwrap().execute_batch(TABLES).unwrap();
    let done = AtomicBool::new(false);
    // First contact is before the first row, however late the writer or we may be.
    let mut sqlite = Sqlite::open(&path, names(), None).unwrap();
    let mut place = Some(sqlite.step(16, NOW).unwrap().place);
    let (mut tokens, mut tools) = (Vec::new(), Vec::new());
    let longest = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let longest = write(&path);
            done.store(true, Ordering::Release);
            longest
        });
        loop {
            let last = done.load(Ordering::Acquire);
            // Now and then as after a restart.
            let mut sqlite = Sqlite::open(&path, names(), place.as_deref()).unwrap();
            let mut more = true;
            while more {
                match sqlite.step(16, NOW) {
                    Ok(step) => {
                        assert!(step.events.len() <= 32 && !step.prior);
                        more = step.more;
                        for event in step.events {
                            match (usage_of(&event), event.what) {
                                (Some(usage), _) => tokens.push(usage.prompt_tokens),
                                (None, What::Tool { tool, .. }) => tools.push(tool),
                                (None, other) => panic!("{other:?}"),
                            }
                        }
                        place = Some(step.place);
                    }
                    Err(Error::Busy) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            if last {
                break writer.join().unwrap();
            }
            thread::yield_now();
        }
    });
    assert_eq!(tokens, (0..ROWS).collect::<Vec<_>>());
    assert_eq!(tools, (0..ROWS).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[test]
fn a_writer_that_holds_on_is_waited_for_and_then_told_of() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ag2.db");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch(TABLES).unwrap();
    let mut sqlite = Sqlite::open(&path, names(), None).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(matches!(sqlite.step(9, NOW), Err(Error::Busy)));
    assert_eq!(sqlite.place(), None, "there was no contact yet");
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(sqlite.step(9, NOW).unwrap().events, []);
    // Nothing is held between steps.
    writer.busy_timeout(Duration::ZERO).unwrap();
    let insert = writer.execute("INSERT INTO function_calls DEFAULT VALUES", []);
    assert_eq!(insert.map_err(|error| error.sqlite_error_code()), Ok::<_, Option<ErrorCode>>(1));
    assert_eq!(sqlite.step(9, NOW).unwrap().events.len(), 1);
}
