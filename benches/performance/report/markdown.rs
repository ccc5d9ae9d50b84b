//! The report as people read it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Report;
use super::rows::{GROUPS, Row};
use crate::references::SERIES;
use crate::support::results::{Results, short};

/// A column of the growth table: heading, name of its number, and what it is divided by.
const GROWTH: &[(&str, &str, f64)] = &[
    ("series", "series", 1.0),
    ("RSS MB", "rss_after_bytes", 1e6),
    ("peak MB", "peak_bytes", 1e6),
    ("gzip, first", "gzip.first_scrape_cpu_ms", 1.0),
    ("newest 1 %", "gzip.newest_changed_cpu_ms", 1.0),
    ("random 1 %", "gzip.random_changed_cpu_ms", 1.0),
    ("unchanged", "gzip.unchanged_cpu_ms", 1.0),
    ("text, random 1 %", "text.random_changed_cpu_ms", 1.0),
    ("text, unchanged", "text.unchanged_cpu_ms", 1.0),
    ("poll, unchanged", "poll.unchanged_cpu_ms", 1.0),
    ("poll, 1 %", "poll.one_percent_changed_cpu_ms", 1.0),
    ("poll, all", "poll.all_changed_cpu_ms", 1.0),
    ("store MB", "store_bytes", 1e6),
    ("commit of 1 % ms", "commit.one_percent_changed_seconds", 1e-3),
    ("commit of all ms", "commit.all_changed_seconds", 1e-3),
    ("start ms", "start_to_answer_ms", 1.0),
];

pub(super) fn write(
    report: &Report,
    last: Option<&Report>,
    reasons: &BTreeMap<String, String>,
) -> String {
    let Report { date, machine, toolchain, commit, numbers } = report;
    let mut out = format!(
        "# What it costs\n\n\
         Written by `benches/report` on {date} (UTC), commit {commit}, from `benches/performance`; not \
         by hand.\n{machine}; {toolchain}, release profile.\n\n\
         C(n) is n chats of 50 apps, 8 workflows and n/5 users, all alive, with {SERIES} series each. \
         Ratios compare\nCPU time of things that ran in turns in one run; medians. Absolute numbers \
         depend on the machine, ratios hardly.\n"
    );
    if let Some(last) = last {
        writeln!(out, "The column *last* compares with the report of {}.", last.date).unwrap();
    }
    for group in GROUPS {
        write!(
            out,
            "\n## {}\n\n| | ours | reference | ratio | target | met | last |\n\
             |---|---|---|---|---|---|---|\n",
            group.title
        )
        .unwrap();
        for row in group.rows {
            line(&mut out, row, numbers, last, reasons);
        }
        for plot in plots_of(group.title) {
            write!(out, "\n![{}](performance/{}.svg)\n", plot.1, plot.0).unwrap();
        }
        if group.title == "Growth" {
            growth(&mut out, numbers);
        }
    }
    out.push_str(&beside(numbers));
    out
}

fn plots_of(title: &str) -> &'static [(&'static str, &'static str)] {
    match title {
        "Exposition" => &[
            ("render", "CPU of writing a series as text"),
            ("gzip", "CPU of a gzip answer per series"),
            ("kept", "Memory per series"),
        ],
        "Standing still" => &[("idle", "CPU of a minute of standing still")],
        "Growth" => &[
            ("growth-cpu", "CPU of scrapes and polls by number of chats"),
            ("growth-bytes", "Memory and store by number of chats"),
        ],
        _ => &[],
    }
}

fn line(
    out: &mut String,
    row: &Row,
    numbers: &Results,
    last: Option<&Report>,
    reasons: &BTreeMap<String, String>,
) {
    let (what, target) = (row.what, row.target());
    let unit = if row.unit.is_empty() { String::new() } else { format!(" {}", row.unit) };
    let Some(outcome) = row.judge(numbers) else {
        return writeln!(out, "| {what} | | | | {target} | not measured | |").unwrap();
    };
    let reference = match (row.reference, outcome.reference) {
        (Some((name, _)), Some(value)) => format!("{name}: {}", short(value)),
        _ => String::new(),
    };
    let why = reasons.get(row.id).map_or(String::new(), |why| format!(": {why}"));
    let met = if outcome.met { "yes".to_owned() } else { format!("**no**{why}") };
    let before = last.and_then(|last| row.judge(&last.numbers)).map(|before| {
        // Where there is something to compare with, the machine's mood falls out of the ratio.
        let change = outcome.ratio / before.ratio - 1.0;
        format!("{:+.0} %", change * 100.0)
    });
    let (ours, ratio) = (short(outcome.ours), short(outcome.ratio));
    let before = before.filter(|text| !text.contains("NaN")).unwrap_or_default();
    writeln!(
        out,
        "| {what} | {ours}{unit} | {reference} | {ratio} | {target} | {met} | {before} |"
    )
    .unwrap();
}

/// One row per size; CPU in milliseconds.
fn growth(out: &mut String, numbers: &Results) {
    let sizes = [100, 1_000, 10_000, 100_000, 1_000_000];
    out.push_str(
        "\nCPU of scrapes and polls in milliseconds, commits of polls included.\n\n| chats |",
    );
    for (heading, ..) in GROWTH {
        write!(out, " {heading} |").unwrap();
    }
    out.push_str("\n|---|");
    out.push_str(&"---|".repeat(GROWTH.len()));
    out.push('\n');
    for chats in sizes {
        let get = |name: &str| numbers.get(&format!("growth.{chats}.{name}"));
        if get("series").is_none() {
            continue;
        }
        write!(out, "| {} |", short(f64::from(chats))).unwrap();
        for (_, name, by) in GROWTH {
            let value = get(name).map_or(String::new(), |value| short(value / by));
            write!(out, " {value} |").unwrap();
        }
        out.push('\n');
    }
}

/// Title, columns as the last words of names, rows with the first words.
type Beside = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// What stands beside the bar: others' numbers of the same run.
const BESIDE: &[Beside] = &[
    (
        "pushes, 16 connections",
        &["requests_per_second", "cpu_us_per_request", "p50_ms", "p99_ms"],
        &[
            ("ours, one event", "push.one.16.ours"),
            ("ours, 100 events", "push.batch.16.ours"),
            ("a server that counts, one event", "push.one.16.counting"),
            ("a server that counts, 100 events", "push.batch.16.counting"),
            ("pushgateway, ten metrics, check off", "push.one.16.pushgateway"),
        ],
    ),
    (
        "memory of a chat",
        &["bytes_per_chat"],
        &[
            ("ours, pushed", "push.memory.ours"),
            ("pushgateway, a group", "push.memory.pushgateway"),
            ("ours, polled", "kept.100000.ours"),
            ("prometheus-client", "kept.100000.prometheus_client"),
            ("prometheus", "kept.100000.prometheus"),
            ("metrics-exporter-prometheus", "kept.100000.metrics_exporter_prometheus"),
        ],
    ),
    (
        "standing still",
        &["rss_bytes", "cpu_ms_per_minute", "wake_ups_per_second"],
        &[("ours", "idle.ours"), ("pushgateway", "idle.pushgateway"), ("mtail", "idle.mtail")],
    ),
    (
        "following a log",
        &["us_per_line", "lines_per_second", "turns"],
        &[("ours", "logs.ours"), ("mtail", "logs.mtail")],
    ),
    (
        "scraped by Prometheus, polls included",
        &[
            "ours.cpu_ms_per_scrape",
            "prometheus.cpu_ms_per_scrape",
            "ours.rss_bytes",
            "prometheus.rss_bytes",
            "scrape_seconds",
        ],
        &[
            ("1,000 chats", "prometheus.1000"),
            ("10,000 chats", "prometheus.10000"),
            ("100,000 chats", "prometheus.100000"),
        ],
    ),
];

fn beside(numbers: &Results) -> String {
    let mut out = String::from("\n## Beside others\n");
    for (title, columns, rows) in BESIDE {
        write!(out, "\n| {title} |").unwrap();
        for column in *columns {
            write!(out, " {} |", column.replace('_', " ")).unwrap();
        }
        write!(out, "\n|---|{}\n", "---|".repeat(columns.len())).unwrap();
        for (name, prefix) in *rows {
            let values = columns.iter().map(|column| numbers.get(&format!("{prefix}.{column}")));
            let values: Vec<String> =
                values.map(|value| value.map_or(String::new(), short)).collect();
            if values.iter().any(|value| !value.is_empty()) {
                writeln!(out, "| {name} | {} |", values.join(" | ")).unwrap();
            }
        }
    }
    out
}
