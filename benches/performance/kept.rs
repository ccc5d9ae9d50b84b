//! What is kept in memory per chat and per series: each in a process of its own that does nothing
//! else, as growth of its resident memory.

use std::hint::black_box;
use std::process::Command;

use crate::Options;
use crate::references::{Classic, Client, Facade, Floor, SERIES};
use crate::support::cpu::{own_peak, own_rss};
use crate::support::engine::Engine;
use crate::support::results::Results;
use crate::support::workload::World;

const KEEPERS: [&str; 5] =
    ["ours", "floor", "prometheus", "prometheus_client", "metrics_exporter_prometheus"];

pub(crate) fn run(options: Options, results: &mut Results) {
    let sizes: &[usize] = if options.quick { &[10_000] } else { &[10_000, 100_000] };
    for chats in sizes {
        for what in KEEPERS {
            let mut command = Command::new(std::env::current_exe().unwrap());
            let said = command.args(["keep", what, &chats.to_string()]).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            let numbers: Vec<f64> =
                said.split_whitespace().map(|number| number.parse().unwrap()).collect();
            let [kept, peak] = numbers[..] else { panic!("{what} said {said:?}") };
            let series = (chats * SERIES) as f64;
            results.put(format!("kept.{chats}.{what}.bytes_per_series"), kept / series);
            results.put(format!("kept.{chats}.{what}.bytes_per_chat"), kept / *chats as f64);
            results.put(format!("kept.{chats}.{what}.rendering_peak_bytes"), peak);
        }
    }
}

/// Keeps the world, renders it once, and says how much memory the first took and what the most was.
pub(crate) fn child(what: &str, chats: usize) {
    let world = World::new(chats);
    let before = own_rss();
    let kept = match what {
        "floor" => rest(Floor::new(&world), before, |floor| floor.text().len()),
        "prometheus" => rest(Classic::new(&world), before, |registry| registry.text().len()),
        "prometheus_client" => rest(Client::new(&world), before, |registry| registry.text().len()),
        "metrics_exporter_prometheus" => {
            rest(Facade::new(&world), before, |recorder| recorder.text().len())
        }
        _ => {
            let mut engine = Engine::new(chats);
            engine.poll(&world.aggregate());
            rest(engine, before, |engine| engine.gzip().0)
        }
    };
    println!("{kept} {}", own_peak() - before);
}

fn rest<T>(mut keeper: T, before: f64, render: impl FnOnce(&mut T) -> usize) -> f64 {
    let kept = own_rss() - before;
    black_box(render(&mut keeper));
    kept
}
