//! Following a log from its start to its end: CPU a line of the exporter, beside Debian's mtail with
//! the program of `benches/logs.mtail`; in turns.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

use crate::Options;
use crate::support::process::{Exporter, flags, wait};
use crate::support::results::{Results, median, root};

pub(crate) fn run(options: Options, results: &mut Results) {
    let copies = if options.quick { 100 } else { 400 };
    let rounds = options.rounds().min(5);
    let recorded = root().join("tests/fixtures/runtime/logs/production_json/mozaiks.log");
    let recorded = std::fs::read(recorded).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("mozaiks.log");
    let mut out = std::fs::File::create(&log).unwrap();
    (0..copies).for_each(|_| out.write_all(&recorded).unwrap());
    let count = |what: &[u8]| (memchr::memmem::find_iter(&recorded, what).count() * copies) as f64;
    let (lines, turns) = (count(b"\n"), count(b"\"msg\": \"agent_turn\""));
    results.put("logs.lines", lines);
    results.put("logs.turns", turns);
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..rounds {
        ours.push(exporter(&log, lines));
        theirs.extend(mtail(&log));
    }
    for (name, runs) in [("ours", &ours), ("mtail", &theirs)] {
        let of = |pick: fn(&Run) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
        results.put(format!("logs.{name}.us_per_line"), of(|run| run.cpu) * 1e6 / lines);
        results.put(format!("logs.{name}.lines_per_second"), lines / of(|run| run.took));
        results.put(format!("logs.{name}.turns"), of(|run| run.turns));
    }
}

/// One reading of the whole log.
struct Run {
    took: f64,
    cpu: f64,
    turns: f64,
}

fn exporter(log: &Path, lines: f64) -> Run {
    let state = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let words = ["--runtime.url", "bench=", "--logs.max-rate", "100GiB", "--logs.path"];
    let mut words = flags(&words);
    words.push(log.display().to_string());
    let exporter = Exporter::start(state.path(), &words);
    let samples = wait(|| {
        // Looking costs it CPU, too.
        std::thread::sleep(std::time::Duration::from_millis(100));
        let samples = exporter.samples();
        let value = |name: &str| samples.get(name).copied().unwrap_or_default();
        let read = value("mozaiks_exporter_log_lines_total") >= lines;
        (read && value("mozaiks_exporter_log_bytes_behind") == 0.0).then_some(samples)
    });
    let (took, cpu) = (begun.elapsed().as_secs_f64(), exporter.server.cpu());
    Run { took, cpu, turns: samples["mozaiks_agent_turns_total"] }
}

/// Nothing where mtail is not on `PATH`.
fn mtail(log: &Path) -> Option<Run> {
    let program = root().join("benches/logs.mtail");
    let spent = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    };
    let (begun, before) = (Instant::now(), spent());
    let said = Command::new("mtail")
        .args(["-one_shot", "-one_shot_format", "prometheus", "-port", "0"])
        .arg("-progs")
        .arg(program)
        .arg("-logs")
        .arg(log)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let (took, cpu) = (begun.elapsed().as_secs_f64(), spent() - before);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let turns = said.lines().filter(|line| line.starts_with("mozaiks_turns_total"));
    let turns = turns.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    Some(Run { took, cpu, turns })
}
