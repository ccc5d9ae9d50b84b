//! What a line of the runtime's log costs, beside a parser that is told its types and keeps nothing.

use std::hint::black_box;

use mozaiks_exporter::model::{NameRule, Timestamp};
use mozaiks_exporter::sources::logs::{Read, read};

use crate::Options;
use crate::support::cpu::timed;
use crate::support::results::{Results, median, root};

/// Lines that are read in one go, so that the clock's steps do not matter.
const AT_ONCE: usize = 200_000;
/// In the mixed log, one line in this many matters.
const ONE_IN: usize = 10;

/// The fields that matter, borrowed.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "read and thrown away: the reading is measured")]
struct Line<'a> {
    #[serde(borrow)]
    ts: &'a str,
    level: &'a str,
    logger: &'a str,
    msg: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    extra: Option<Extra<'a>>,
}

#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "read and thrown away: the reading is measured")]
struct Extra<'a> {
    #[serde(borrow)]
    chat_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    app_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    agent: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<std::borrow::Cow<'a, str>>,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    cost: Option<f64>,
    cost_usd: Option<f64>,
    duration_sec: Option<f64>,
}

pub(crate) fn run(options: Options, results: &mut Results) {
    let (telling, silent) = recorded();
    let mixed: Vec<&[u8]> = (0..AT_ONCE)
        .map(|index| match index % ONE_IN {
            0 => &telling[index % telling.len()][..],
            _ => &silent[index % silent.len()],
        })
        .collect();
    let telling: Vec<&[u8]> = telling.iter().map(Vec::as_slice).cycle().take(AT_ONCE).collect();
    let silent: Vec<&[u8]> = silent.iter().map(Vec::as_slice).cycle().take(AT_ONCE).collect();
    let mut times = std::collections::BTreeMap::<&str, Vec<f64>>::new();
    for _ in 0..options.rounds() {
        let mut note = |name, work: &dyn Fn() -> usize| {
            times.entry(name).or_default().push(timed(work).0 * 1e9 / AT_ONCE as f64);
        };
        note("telling.ours", &|| ours(&telling));
        note("telling.sonic", &|| sonic(&telling));
        note("mixed.ours", &|| ours(&mixed));
        note("mixed.sonic", &|| filtered(&mixed));
        note("silent.ours", &|| ours(&silent));
        note("silent.sonic", &|| filtered(&silent));
    }
    for (name, values) in times {
        results.put(format!("lines.{name}.ns_per_line"), median(&values));
    }
}

/// Lines of the recorded log that tell something, and those that do not.
pub(crate) fn recorded() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let path = root().join("tests/fixtures/runtime/logs/production_json/mozaiks.log");
    let log = std::fs::read(path).unwrap();
    let lines = log.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(<[u8]>::to_vec).partition(|line| tells(line))
}

/// Reads a line as the follower does; whether it tells something.
pub(crate) fn tells(line: &[u8]) -> bool {
    let read = read(black_box(line), NameRule::new(512), Timestamp(0));
    matches!(black_box(read), Read::Line(line) if line.event.is_some())
}

fn ours(lines: &[&[u8]]) -> usize {
    lines.iter().filter(|line| tells(line)).count()
}

fn sonic(lines: &[&[u8]]) -> usize {
    let read = |line: &&&[u8]| black_box(sonic_rs::from_slice::<Line<'_>>(black_box(line))).is_ok();
    lines.iter().filter(read).count()
}

/// Looks for the two messages that carry money before it reads.
fn filtered(lines: &[&[u8]]) -> usize {
    let turn = memchr::memmem::Finder::new("\"msg\": \"agent_turn\"");
    let usage = memchr::memmem::Finder::new("\"msg\": \"realtime_usage_delta\"");
    let wanted = |line: &&&[u8]| {
        (turn.find(line).is_some() || usage.find(line).is_some())
            && black_box(sonic_rs::from_slice::<Line<'_>>(black_box(line))).is_ok()
    };
    lines.iter().filter(wanted).count()
}
