//! Which plots there are.

use super::svg::{Bars, Lines};
use crate::support::results::Results;

/// Names and drawings; those of what was not measured are left out.
pub(super) fn all(numbers: &Results) -> Vec<(&'static str, String)> {
    let mut plots = Vec::new();
    let chats =
        if numbers.get("render.100000.floor.ns_per_series").is_some() { 100_000 } else { 10_000 };
    let mut bars = |name, title: &str, unit, bars: &[(&'static str, String)]| {
        let found = bars.iter().filter_map(|(label, key)| {
            Some((*label, numbers.get(key)?, label.starts_with("mozaiks-exporter")))
        });
        let rows: Vec<_> = found.collect();
        if !rows.is_empty() {
            plots.push((name, Bars { title, unit, rows }.draw()));
        }
    };
    let render = |name: &str| format!("render.{chats}.{name}.ns_per_series");
    let count = crate::support::results::short(f64::from(chats));
    bars(
        "render",
        &format!("Writing C({count}) as text"),
        "CPU ns per series",
        &[
            ("handwritten loop (floor)", render("floor")),
            ("mozaiks-exporter", render("ours.text")),
            ("prometheus-client", render("prometheus_client")),
            ("prometheus", render("prometheus")),
            ("metrics-exporter-prometheus", render("metrics_exporter_prometheus")),
        ],
    );
    bars(
        "gzip",
        &format!("A gzip answer of C({count})"),
        "CPU ns per series",
        &[
            ("zlib-rs -1 of a ready text", render("gzip")),
            ("mozaiks-exporter, all of it", render("ours.gzip")),
            ("mozaiks-exporter, random 1 %", render("ours.gzip_random_changed")),
            ("mozaiks-exporter, newest 1 %", render("ours.gzip_newest_changed")),
            ("mozaiks-exporter, unchanged", render("ours.gzip_unchanged")),
        ],
    );
    let kept = |name: &str| format!("kept.{chats}.{name}.bytes_per_series");
    bars(
        "kept",
        &format!("Memory that C({count}) is kept in"),
        "bytes per series",
        &[
            ("handwritten loop (floor)", kept("floor")),
            ("mozaiks-exporter, ledger", kept("ours")),
            ("prometheus-client", kept("prometheus_client")),
            ("prometheus", kept("prometheus")),
            ("metrics-exporter-prometheus", kept("metrics_exporter_prometheus")),
        ],
    );
    let idle = |name: &str| format!("idle.{name}.cpu_ms_per_minute");
    bars(
        "idle",
        "A minute of standing still, scraped each 5 s",
        "CPU ms",
        &[
            ("mozaiks-exporter", idle("ours")),
            ("pushgateway", idle("pushgateway")),
            ("mtail", idle("mtail")),
        ],
    );
    plots.extend(growth(numbers));
    plots
}

fn growth(numbers: &Results) -> Vec<(&'static str, String)> {
    let sizes = [100, 1_000, 10_000, 100_000, 1_000_000];
    let line = |name: &'static str, key: &str, by: f64| {
        let point = |chats: i32| {
            let value = numbers.get(&format!("growth.{chats}.{key}"))?;
            Some((f64::from(chats), value / by))
        };
        (name, sizes.into_iter().filter_map(point).collect::<Vec<_>>())
    };
    let cpu = vec![
        line("gzip, first", "gzip.first_scrape_cpu_ms", 1.0),
        line("gzip, random 1 %", "gzip.random_changed_cpu_ms", 1.0),
        line("gzip, newest 1 %", "gzip.newest_changed_cpu_ms", 1.0),
        line("gzip, unchanged", "gzip.unchanged_cpu_ms", 1.0),
        line("text, unchanged", "text.unchanged_cpu_ms", 1.0),
        line("poll, all changed", "poll.all_changed_cpu_ms", 1.0),
        line("poll, unchanged", "poll.unchanged_cpu_ms", 1.0),
    ];
    let bytes = vec![
        line("peak RSS", "peak_bytes", 1e6),
        line("RSS", "rss_after_bytes", 1e6),
        line("polled answer", "body_bytes", 1e6),
        line("state store", "store_bytes", 1e6),
    ];
    if cpu[0].1.is_empty() {
        return Vec::new();
    }
    let plot = |title, y, series| Lines { title, x: "chats", y, series }.draw();
    vec![
        ("growth-cpu", plot("CPU of a scrape and of a poll", "CPU ms", cpu)),
        ("growth-bytes", plot("Memory and disk", "MB", bytes)),
    ]
}
