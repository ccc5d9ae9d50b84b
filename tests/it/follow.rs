//! The log is written by Python's own `RotatingFileHandler` and rotates all the time; the exporter is
//! killed in between. Every line counts once.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tempfile::TempDir;

use crate::support::exporter::{Exporter, Launch};
use crate::support::tools::missing;
use crate::support::wait::{eventually_within, pause};

/// Lines that are written, unless `MOZAIKS_TEST_LINES` says otherwise.
const LINES: u64 = 20_000;
/// A file is full after some 200 lines: fifty milliseconds.
const MAX_BYTES: u64 = 85_000;
const LINES_PER_SECOND: u64 = 4_000;
/// Old files that are kept: two seconds and more, which no restart of the exporter takes.
const BACKUPS: u64 = 60;

fn writer(log: &Path, lines: u64) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/rotating_writer.py");
    let numbers = [lines, MAX_BYTES, BACKUPS, LINES_PER_SECOND].map(|n| n.to_string());
    Command::new("python3")
        .arg(script)
        .arg(log)
        .args(numbers)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}", missing("python3", &error)))
}

fn launch(state: &Path, log: &Path) -> Exporter {
    Launch::new(state).flag("--runtime.url", "local=").flag("--logs.path", log).start()
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn tokens(lines: u64) -> f64 {
    (7..lines).map(|n| (n % 10 + 1) as f64).sum()
}

#[test]
fn a_storm_of_rotations_and_kills_loses_and_repeats_no_line() {
    let lines = std::env::var("MOZAIKS_TEST_LINES").map_or(LINES, |n| n.parse().unwrap());
    let seed = std::env::var("MOZAIKS_TEST_SEED").map_or(7, |n| n.parse().unwrap());
    let (state, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let log = logs.path().join("mozaiks.log");
    let mut rng = Rng::with_seed(seed);
    let mut exporter = launch(state.path(), &log);
    let start = Instant::now();
    let mut writer = writer(&log, lines);
    let mut kills = 0;
    while writer.try_wait().unwrap().is_none() {
        pause(Duration::from_millis(rng.u64(100..700)));
        exporter.kill();
        kills += 1;
        exporter = launch(state.path(), &log);
    }
    let took = start.elapsed();
    let expected = tokens(lines);
    eventually_within(Duration::from_mins(1), "all lines are counted", || {
        let shown = exporter.scrape();
        let events = shown.sum("mozaiks_log_events_total", &[]);
        let found = shown.sum("mozaiks_agent_prompt_tokens_total", &[]);
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        if events == lines as f64 && found == expected {
            return Ok(());
        }
        Err(format!("{events} lines, {found} tokens of {expected}"))
    });
    pause(Duration::from_millis(500));
    let shown = exporter.scrape();
    assert_eq!(shown.sum("mozaiks_agent_prompt_tokens_total", &[]), expected, "and none twice");
    assert_eq!(shown.sum("mozaiks_exporter_log_bytes_behind", &[]), 0.0);
    let cost = shown.sum("mozaiks_agent_cost_usd_total", &[]);
    assert!((cost - expected * 1e-6).abs() < 1e-12, "{cost}");
    let unread: f64 = ["unreadable", "flawed", "too_long", "continuation"]
        .iter()
        .map(|result| shown.sum("mozaiks_exporter_log_lines_total", &[("result", result)]))
        .sum();
    assert_eq!(unread, 0.0);
    let rotated = std::fs::read_dir(logs.path()).unwrap().count();
    assert!(rotated > 40, "the log did not rotate: {rotated} files");
    #[expect(clippy::print_stdout, reason = "what a longer run by hand is for")]
    {
        println!("{lines} lines, {kills} kills, {rotated} files, {took:?}");
    }
}
