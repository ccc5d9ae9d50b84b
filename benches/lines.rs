//! How fast lines are read: `cargo bench --bench lines`.

use std::path::Path;

use divan::{Bencher, black_box, counter::ItemsCount};
use mozaiks_exporter::model::{NameRule, Timestamp};
use mozaiks_exporter::sources::ag2::Lines;
use mozaiks_exporter::sources::logs::{Read, read};

const NOW: Timestamp = Timestamp(0);

fn main() {
    divan::main();
}

fn names() -> NameRule {
    NameRule::new(512)
}

/// The recorded log's lines that `wanted` picks.
fn recorded(path: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runtime").join(path);
    let bytes = std::fs::read(path).unwrap_or_default();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter(|line| wanted(line)).map(<[u8]>::to_vec).collect()
}

fn read_all(bencher: Bencher<'_, '_>, lines: &[Vec<u8>]) {
    bencher.counter(ItemsCount::new(lines.len())).bench(|| {
        for line in lines {
            black_box(read(black_box(line), names(), NOW));
        }
    });
}

fn tells(line: &[u8]) -> bool {
    matches!(read(line, names(), NOW), Read::Line(line) if line.event.is_some())
}

const JSON: &str = "logs/production_json/mozaiks.log";

#[divan::bench]
fn json_lines_as_they_come(bencher: Bencher<'_, '_>) {
    read_all(bencher, &recorded(JSON, |_| true));
}

#[divan::bench]
fn json_lines_that_tell_an_event(bencher: Bencher<'_, '_>) {
    read_all(bencher, &recorded(JSON, tells));
}

#[divan::bench]
fn json_lines_that_tell_nothing(bencher: Bencher<'_, '_>) {
    read_all(bencher, &recorded(JSON, |line| !tells(line)));
}

#[divan::bench]
fn pretty_lines_as_they_come(bencher: Bencher<'_, '_>) {
    read_all(bencher, &recorded("logs/production_pretty/mozaiks.log", |_| true));
}

#[divan::bench]
fn ag2_lines_as_they_come(bencher: Bencher<'_, '_>) {
    let lines = recorded("orchestrated/file/ag2_runtime.log", |_| true);
    let mut reader = Lines::new(names(), None);
    bencher.counter(ItemsCount::new(lines.len())).bench_local(|| {
        for line in &lines {
            black_box(reader.read(black_box(line), NOW));
        }
    });
}
