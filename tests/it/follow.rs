//! The log is written by Python's own `RotatingFileHandler` and rotates all the time; the exporter is
//! killed in between. Every line counts once.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tempfile::TempDir;

use crate::support::exporter::{Exporter, Launch};
use crate::support::recorded::root;
use crate::support::tools::missing;
use crate::support::wait::{eventually, eventually_within, pause};

/// Lines that are written, unless `MOZAIKS_TEST_LINES` says otherwise.
const LINES: u64 = 20_000;
/// A file is full after some 200 lines: fifty milliseconds.
const MAX_BYTES: u64 = 85_000;
const LINES_PER_SECOND: u64 = 4_000;
/// Old files that are kept: twenty seconds, and no restart of the exporter takes as long.
const BACKUPS: u64 = 400;

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

/// Appends to a log as its writer does.
fn append(log: &Path, bytes: &[u8]) {
    let mut options = std::fs::File::options();
    options.append(true).create(true).open(log).unwrap().write_all(bytes).unwrap();
}

fn recorded(log: &str) -> Vec<u8> {
    std::fs::read(root().join("logs").join(log)).unwrap()
}

#[test]
fn the_pretty_form_tells_of_lines_and_turns() {
    let (state, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let log = logs.path().join("mozaiks.log");
    let launch = Launch::new(state.path()).flag("--runtime.url", "local=");
    let launch = launch.flag("--logs.path", &log).flag("--logs.introduction-wait", "1s");
    let exporter = launch.start();
    exporter.wait_for("mozaiks_exporter_log_bytes_behind", &[], 0.0);
    assert_eq!(exporter.get("/-/ready").status, 200, "nobody is to be polled");
    assert_eq!(exporter.get("/api/health").status, 200);
    append(&log, &recorded("production_pretty/mozaiks.log"));
    let turns = [("app_id", "acme")];
    eventually("the turns are counted", || {
        let shown = exporter.scrape();
        let found = shown.sum("mozaiks_agent_turns_total", &turns);
        if found > 0.0 { Ok(()) } else { Err(format!("{found} turns")) }
    });
    let shown = exporter.scrape();
    let text = String::from_utf8(recorded("production_pretty/mozaiks.log")).unwrap();
    // By Python's levels, as they stand in brackets at the beginning of a line; without echoes.
    let is_line = |line: &&str| line.get(12..14) == Some(" [");
    let is_echo = |line: &&str| {
        [
            "PERF_SINGLETON: Using existing",
            "Auth disabled - using anonymous",
            "health_check_duration",
        ]
        .iter()
        .any(|echo| line.contains(echo))
    };
    let lines = text.lines().filter(is_line).filter(|line| !is_echo(line)).count();
    let events = shown.sum("mozaiks_log_events_total", &[]);
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let lines = lines as f64;
    assert_eq!(events, lines);
    let unobserved = shown.sum("mozaiks_agent_turns_unobserved_total", &turns);
    assert_eq!(unobserved, shown.sum("mozaiks_agent_turns_total", &turns), "no duration is told");
}

#[test]
fn a_backlog_can_be_passed_over_and_is_never_read_later() {
    let (state, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let log = logs.path().join("mozaiks.log");
    let whole = recorded("production_json/mozaiks.log");
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    append(&log, &lines[..400].concat());
    let launch = || {
        let launch = Launch::new(state.path()).flag("--runtime.url", "local=");
        launch.flag("--logs.path", logs.path()).flag("--logs.backlog", "skip").start()
    };
    let mut exporter = launch();
    exporter.wait_for("mozaiks_exporter_log_files", &[], 1.0);
    exporter.kill();
    append(&log, &lines[400..500].concat());
    let exporter = launch();
    append(&log, &lines[500..].concat());
    let echoes = |lines: &[&[u8]]| {
        let is_echo = |line: &&&[u8]| {
            let line = String::from_utf8_lossy(line).into_owned();
            line.contains("PERF_SINGLETON: Using existing")
                || line.contains("health_check_duration")
        };
        lines.iter().filter(is_echo).count()
    };
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let expected = (lines.len() - 400 - echoes(&lines[400..])) as f64;
    eventually("what came later is counted, and nothing else", || {
        let found = exporter.scrape().sum("mozaiks_log_events_total", &[]);
        if found == expected { Ok(()) } else { Err(format!("{found} lines, not {expected}")) }
    });
}

#[test]
fn several_logs_of_one_source_are_shown_as_their_sum() {
    let (state, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let whole = std::fs::read(root().join("ag2/ag2_runtime.log")).unwrap();
    let paths = ["one.log", "two.log"].map(|name| logs.path().join(name));
    append(&paths[0], &whole);
    append(&paths[1], &whole[..1000]);
    let both = paths.each_ref().map(|path| path.to_str().unwrap()).join(",");
    let launch = Launch::new(state.path()).flag("--runtime.url", "local=");
    let exporter = launch.flag("--ag2.path", both).start();
    let ends = whole[..1000].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let read = (whole.len() + ends) as f64;
    exporter.wait_for("mozaiks_exporter_log_bytes_total", &[("source", "ag2")], read);
    exporter.wait_for("mozaiks_exporter_log_files", &[("source", "ag2")], 2.0);
}
