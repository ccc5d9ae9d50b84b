//! AG2's log in both its forms, as a runtime recorded it and as nobody should write it.

mod line;
mod sqlite;
mod truth;
mod writer;

use std::path::PathBuf;

use super::{Error, Lines, Read, Sqlite, Step};
use crate::model::{Event, NameRule, Timestamp, Usage, What};

/// When everything is read.
const NOW: Timestamp = Timestamp(7);

fn names() -> NameRule {
    NameRule::new(512)
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runtime").join(name)
}

fn lines(name: &str) -> Vec<Event> {
    let bytes = std::fs::read(path(name)).unwrap();
    let mut lines = Lines::new(names(), None);
    let reads = bytes.split(|byte| *byte == b'\n').map(|line| lines.read(line, NOW));
    reads
        .filter_map(|Read { event, flaw }| {
            assert_eq!(flaw, None);
            event
        })
        .collect()
}

/// All that a database tells from `place` on, in steps of `limit` rows.
fn steps(file: &std::path::Path, place: Option<&str>, limit: u32) -> (Vec<Step>, Vec<Event>) {
    let mut sqlite = Sqlite::open(file, names(), place).unwrap();
    let (mut steps, mut events) = (Vec::new(), Vec::new());
    loop {
        let mut step = sqlite.step(limit, NOW).unwrap();
        events.append(&mut step.events);
        assert_eq!(sqlite.place().as_ref(), Some(&step.place));
        let more = step.more;
        steps.push(step);
        if !more {
            return (steps, events);
        }
    }
}

fn failure(file: &std::path::Path) -> Error {
    Sqlite::open(file, names(), None).unwrap().step(10, NOW).unwrap_err()
}

fn usage_of(event: &Event) -> Option<Usage> {
    match event.what {
        What::Call { usage, .. } => Some(usage),
        _ => None,
    }
}
