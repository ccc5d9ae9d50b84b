//! From the parts' numbers to `docs/performance.md`, its plots, and a file of raw numbers that stays
//! in the tree for the next report to compare itself with.

mod markdown;
mod plots;
mod rows;
mod svg;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::results::{Results, root};

/// A report as it is kept.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Report {
    date: String,
    machine: String,
    toolchain: String,
    commit: String,
    numbers: Results,
}

/// Writes everything from what lies in `target/performance`.
pub(crate) fn write() {
    let report = Report {
        date: chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now())
            .format("%Y-%m-%d-%H%M")
            .to_string(),
        machine: machine(),
        toolchain: said("rustc", &["--version"]),
        commit: said("git", &["rev-parse", "--short", "HEAD"]),
        numbers: Results::gathered(),
    };
    assert!(!report.numbers.0.is_empty(), "nothing was measured yet");
    let last = last();
    let folder = root().join("docs/performance");
    fs::create_dir_all(folder.join("history")).unwrap();
    let text = markdown::write(&report, last.as_ref(), &reasons());
    fs::write(root().join("docs/performance.md"), text).unwrap();
    for (name, plot) in plots::all(&report.numbers) {
        fs::write(folder.join(name).with_extension("svg"), plot).unwrap();
    }
    let file = folder.join("history").join(&report.date).with_extension("json");
    fs::write(file, serde_json::to_string_pretty(&report).unwrap() + "\n").unwrap();
}

/// The newest report that is in the tree.
fn last() -> Option<Report> {
    let files = fs::read_dir(root().join("docs/performance/history")).ok()?;
    let newest: Option<PathBuf> = files.flatten().map(|file| file.path()).max();
    Some(serde_json::from_slice(&fs::read(newest?).unwrap()).unwrap())
}

/// Why rows are not met, by row: `row: text` a line.
fn reasons() -> BTreeMap<String, String> {
    let text = fs::read_to_string(root().join("benches/performance/reasons.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(row, why)| (row.to_owned(), why.to_owned()))
        .collect()
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<f64>().ok()
    });
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let gib = memory.unwrap_or_default() / 1024.0 / 1024.0;
    // Where others work on the machine, waits are theirs as well.
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').nth(2).unwrap_or("unknown");
    let model = model.unwrap_or("unknown CPU");
    format!("{model}, {cores} cores, {gib:.0} GiB, mean load of the last 15 minutes {load}")
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(root()).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
