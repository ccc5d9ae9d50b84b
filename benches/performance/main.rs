//! What the exporter costs, beside what people would use instead. `benches/report` runs all of it
//! and writes `docs/performance.md`; each part can be run alone:
//!
//! ```sh
//! cargo run --release --example performance -- render --quick
//! ```
//!
//! Each part prints what it measures and leaves its numbers in `target/performance/PART.json`.
//! Loads go to 127.0.0.1 alone and end by themselves.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so by stopping")]
#![expect(clippy::disallowed_methods, reason = "this is no part of the exporter: it may sleep")]
#![expect(clippy::print_stdout, reason = "its figures are its result")]
#![expect(clippy::cast_precision_loss, reason = "counts of a benchmark are small")]
#![expect(clippy::cast_possible_truncation, reason = "counts of a benchmark are small")]

mod booking;
mod growth;
mod idle;
mod instructions;
mod kept;
mod lines;
mod logs;
mod prometheus;
mod push;
mod references;
mod render;
mod report;
mod support;

use support::results::Results;

/// Measures something.
type Part = fn(Options, &mut Results);

/// What a part is called, and what runs it.
const PARTS: &[(&str, Part)] = &[
    ("render", render::run),
    ("booking", booking::run),
    ("lines", lines::run),
    ("kept", kept::run),
    ("push", push::run),
    ("logs", logs::run),
    ("growth", growth::run),
    ("prometheus", prometheus::run),
    ("idle", idle::run),
];

/// How much is done.
#[derive(Debug, Clone, Copy)]
struct Options {
    /// A few minutes instead of an hour: fewer rounds, smaller worlds.
    quick: bool,
    /// Up to a million chats.
    million: bool,
}

impl Options {
    /// How often something is measured; medians are taken.
    fn rounds(self) -> usize {
        if self.quick { 3 } else { 7 }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let flag = |name| words.contains(&name);
    let options = Options { quick: flag("--quick"), million: flag("--million") };
    match words.as_slice() {
        // These are what the parts start as processes of their own.
        ["counting-server", address] => support::counting::serve(address.parse().unwrap()),
        ["keep", what, chats] => kept::child(what, chats.parse().unwrap()),
        ["instructions", path, times] => instructions::run(path, times.parse().unwrap()),
        ["instructions"] => instructions::list(),
        ["report"] => report::write(),
        [part, ..] if PARTS.iter().any(|(name, _)| name == part) => {
            let (name, run) = PARTS.iter().find(|(name, _)| name == part).unwrap();
            let mut results = Results::default();
            run(options, &mut results);
            results.save(name);
        }
        _ => {
            let names: Vec<_> = PARTS.iter().map(|(name, _)| *name).collect();
            println!("performance PART [--quick] [--million]; parts: {}, report", names.join(", "));
        }
    }
}
