//! Both forms of the log, as a runtime recorded them and as nobody should write them.

mod json;
mod pretty;
mod truth;

use std::path::Path;

use super::{Line, Read, read};
use crate::model::{NameRule, Timestamp};

/// When everything is read.
const NOW: Timestamp = Timestamp(7);

fn names() -> NameRule {
    NameRule::new(512)
}

fn fixture(path: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runtime");
    std::fs::read(fixtures.join(path)).unwrap()
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|byte| *byte == b'\n')
}

fn line(bytes: &[u8]) -> Line<'_> {
    match read(bytes, names(), NOW) {
        Read::Line(line) => line,
        other => panic!("{other:?}"),
    }
}
