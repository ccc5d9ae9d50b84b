//! One hot path by name, so often: what callgrind counts (`benches/instructions.sh`).
//!
//! Everything but the path itself is the same however often it runs, so the difference between two
//! counts is the path's alone. No symbols are needed for that, and it is the release build that is
//! counted.

use std::hint::black_box;

use mozaiks_exporter::model::{Instant, NameRule};
use mozaiks_exporter::sources::receive::{Reader, Shape, items, read};

use crate::lines;
use crate::support::engine::{self, Engine};
use crate::support::workload::{Which, World};

/// Chats of one page, and lines and events of one run.
const AT_ONCE: usize = 1000;
/// The most runs of one path; answers and events are made before, for all of them.
const MOST: usize = 3;

/// Does it so often.
type Path = fn(usize);

/// Names and what they do.
const PATHS: &[(&str, Path)] = &[
    ("render_1000_chats", |times| {
        let mut engine = polled();
        repeat(times, || {
            engine.forget();
            engine.text()
        });
    }),
    ("gzip_1000_chats", |times| {
        let mut engine = polled();
        repeat(times, || {
            engine.forget();
            engine.gzip()
        });
    }),
    ("zlib_1000_chats", |times| {
        let text = polled().whole_text();
        repeat(times, || engine::gzip(&text).len());
    }),
    ("scrape_unchanged", |times| {
        let mut engine = polled();
        engine.gzip();
        repeat(times, || engine.gzip());
    }),
    ("poll_unchanged", |times| {
        let mut engine = polled();
        let body = World::in_one_app(AT_ONCE).aggregate();
        repeat(times, || engine.poll(&body));
    }),
    ("poll_changed", |times| {
        let mut engine = polled();
        let mut bodies = changing().into_iter();
        repeat(times, || engine.poll(&bodies.next().unwrap()));
    }),
    ("rows_of_changed", |times| {
        // As many are polled in any case, so that only the rows make a difference.
        let mut engines: Vec<Engine> = changing()
            .iter()
            .map(|body| {
                let mut engine = polled();
                engine.poll(body);
                engine
            })
            .collect();
        let mut engines = engines.iter_mut();
        repeat(times, || engines.next().unwrap().take_changes());
    }),
    ("line_that_matters", |times| log_lines(times, true)),
    ("line_that_does_not", |times| log_lines(times, false)),
    ("pushed_event", |times| {
        let mut engine = Engine::new(AT_ONCE);
        let mut bodies = (0..MOST * AT_ONCE).map(event).collect::<Vec<_>>().into_iter();
        repeat(times, || {
            for body in bodies.by_ref().take(AT_ONCE) {
                push(&mut engine, body.as_bytes());
            }
        });
    }),
];

/// Runs one of them.
pub(crate) fn run(path: &str, times: usize) {
    assert!(times <= MOST, "{MOST} runs at most");
    let (_, work) = PATHS.iter().find(|(name, _)| *name == path).unwrap();
    work(times);
}

/// Names all of them, one a line.
pub(crate) fn list() {
    for (name, _) in PATHS {
        println!("{name}");
    }
}

fn repeat<T>(times: usize, mut work: impl FnMut() -> T) {
    for _ in 0..times {
        black_box(work());
    }
}

/// A page of chats that has been told of and kept.
fn polled() -> Engine {
    let mut engine = Engine::new(AT_ONCE);
    engine.poll(&World::in_one_app(AT_ONCE).aggregate());
    engine.take_changes();
    engine
}

/// Answers in each of which every chat has gone on.
fn changing() -> Vec<Vec<u8>> {
    let mut world = World::in_one_app(AT_ONCE);
    let mut next = || {
        world.change(100.0, Which::Newest);
        world.aggregate()
    };
    (0..MOST).map(|_| next()).collect()
}

fn log_lines(times: usize, telling: bool) {
    let (yes, no) = lines::recorded();
    let chosen = if telling { yes } else { no };
    let all: Vec<&Vec<u8>> = chosen.iter().cycle().take(AT_ONCE).collect();
    repeat(times, || all.iter().filter(|line| lines::tells(line)).count());
}

fn event(number: usize) -> String {
    format!(
        r#"{{"event":"agent_turn","event_id":"5f3a9c1e-{number:016x}","chat_id":"d8a84353-ed69-4fee-8326-{:012}","app_id":"acme","workflow_name":"LeadScoring","user_id":"u-0007","agent_name":"planner","model":"gpt-4o-mini","duration_sec":2.5,"prompt_tokens":1500,"completion_tokens":800,"cost":0.05}}"#,
        number % 100
    )
}

/// From a body to the ledger, as the control listener does it.
fn push(engine: &mut Engine, body: &[u8]) {
    let reader = Reader { runtime: "bench", names: NameRule::new(512), failed_calls_count: false };
    let now: Instant = engine::now(1);
    let items = items(body, Shape::Json, 10_000).unwrap();
    let deliveries: Vec<_> = (0..items.len())
        .map(|index| read(&items.get(index).unwrap(), reader, now).unwrap().delivery)
        .collect();
    engine.receive(deliveries);
}
