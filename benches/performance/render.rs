//! How much CPU an exposition costs, beside others that write the same series; all in one process,
//! in turns.
//!
//! The exporter's answer has some families more than the chats'; everything is told per series.

use std::hint::black_box;

use crate::Options;
use crate::references::{Classic, Client, Facade, Floor, SERIES};
use crate::support::cpu::timed;
use crate::support::engine::{Engine, gzip};
use crate::support::results::{Results, median};
use crate::support::workload::{Which, World};

/// Shares of the chats that change between two scrapes, in percent.
const CHANGED: f64 = 1.0;

pub(crate) fn run(options: Options, results: &mut Results) {
    let sizes: &[usize] = if options.quick { &[10_000] } else { &[10_000, 100_000] };
    for chats in sizes {
        // Their rendering takes seconds at a million series.
        let rounds = if *chats > 10_000 { options.rounds().min(5) } else { options.rounds() };
        measure(*chats, rounds, results);
    }
}

/// Nanoseconds per series, by who or what.
type Times = std::collections::BTreeMap<&'static str, Vec<f64>>;

fn measure(chats: usize, rounds: usize, results: &mut Results) {
    let mut world = World::new(chats);
    let series = chats * SERIES;
    let mut floor = Floor::new(&world);
    let classic = Classic::new(&world);
    let client = Client::new(&world);
    let facade = Facade::new(&world);
    let mut engine = Engine::new(chats);
    engine.poll(&world.aggregate());
    let (bytes, samples) = engine.text();
    let zipped = engine.gzip().0 as f64;
    let at = |name: &str| format!("render.{chats}.{name}");
    results.put(at("floor.bytes_per_series"), floor.text().len() as f64 / series as f64);
    results.put(at("ours.bytes_per_series"), bytes as f64 / samples as f64);
    results.put(at("ours.series"), samples as f64);
    results.put(at("ours.gzip_bytes_per_series"), zipped / samples as f64);
    let mut times = Times::new();
    for _ in 0..rounds {
        let mut note = |name, seconds: f64, of: f64| {
            times.entry(name).or_default().push(seconds * 1e9 / of);
        };
        let (all, own) = (series as f64, samples as f64);
        note("floor", timed(|| black_box(floor.text().len())).0, all);
        note("prometheus_client", timed(|| black_box(client.text().len())).0, all);
        note("prometheus", timed(|| black_box(classic.text().len())).0, all);
        note("metrics_exporter_prometheus", timed(|| black_box(facade.text().len())).0, all);
        engine.forget();
        note("ours.text", timed(|| black_box(engine.text())).0, own);
        engine.forget();
        note("ours.gzip", timed(|| black_box(engine.gzip())).0, own);
        note("ours.gzip_unchanged", timed(|| black_box(engine.gzip())).0, own);
        for (name, which) in [
            ("ours.gzip_newest_changed", Which::Newest),
            ("ours.gzip_random_changed", Which::Random),
        ] {
            world.change(CHANGED, which);
            engine.poll(&world.aggregate());
            note(name, timed(|| black_box(engine.gzip())).0, own);
        }
        let text = floor.text();
        note("gzip", timed(|| black_box(gzip(text).len())).0, all);
    }
    for (name, values) in times {
        results.put(at(&format!("{name}.ns_per_series")), median(&values));
    }
}
