//! The bar: what is to be held, beside what.

use crate::support::results::Results;

/// Where a row's number comes from.
type From = fn(&Results) -> Option<f64>;

/// What has to hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    /// At most so many times the reference.
    Times(f64),
    /// At least so many times the reference.
    AtLeastTimes(f64),
    /// At most this.
    AtMost(f64),
}

/// One row.
pub(super) struct Row {
    /// How `reasons.txt` calls it.
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    pub(super) ours: From,
    /// Beside what, where it is not a plain number.
    pub(super) reference: Option<(&'static str, From)>,
    pub(super) target: Target,
}

/// A row's outcome.
pub(super) struct Outcome {
    pub(super) ours: f64,
    pub(super) reference: Option<f64>,
    /// Ours by the reference, or by the number that must not be exceeded.
    pub(super) ratio: f64,
    pub(super) met: bool,
}

impl Row {
    /// Nothing where it was not measured.
    pub(super) fn judge(&self, numbers: &Results) -> Option<Outcome> {
        let ours = (self.ours)(numbers)?;
        let reference = match self.reference {
            Some((_, reference)) => Some(reference(numbers)?),
            None => None,
        };
        let (ratio, met) = match self.target {
            Target::Times(most) => {
                let ratio = ours / reference?;
                (ratio, ratio <= most)
            }
            Target::AtLeastTimes(least) => {
                let ratio = ours / reference?;
                (ratio, ratio >= least)
            }
            Target::AtMost(most) => (ours / most, ours <= most),
        };
        Some(Outcome { ours, reference, ratio, met })
    }

    /// The target in words.
    pub(super) fn target(&self) -> String {
        use crate::support::results::short;
        match self.target {
            Target::Times(most) => format!("≤ {} ×", short(most)),
            Target::AtLeastTimes(least) => format!("≥ {} ×", short(least)),
            Target::AtMost(most) => {
                format!("≤ {} {}", short(most), self.unit).trim_end().to_owned()
            }
        }
    }
}

/// A group of rows under one heading.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) rows: &'static [Row],
}

const fn row(
    (id, what, unit): (&'static str, &'static str, &'static str),
    ours: From,
    reference: Option<(&'static str, From)>,
    target: Target,
) -> Row {
    Row { id, what, unit, ours, reference, target }
}

/// The numbers of the largest world that was measured.
fn largest(numbers: &Results, part: &str, name: &str) -> Option<f64> {
    [100_000, 10_000].iter().find_map(|chats| numbers.get(&format!("{part}.{chats}.{name}")))
}

fn render(numbers: &Results, name: &str) -> Option<f64> {
    largest(numbers, "render", &format!("{name}.ns_per_series"))
}

fn booking(numbers: &Results, name: &str) -> Option<f64> {
    largest(numbers, "booking", &format!("{name}.ns_per_chat"))
}

fn growth(numbers: &Results, name: &str) -> Option<f64> {
    largest(numbers, "growth", name)
}

const MB: f64 = 1e6;
const FLOOR: Option<(&str, From)> = Some(("handwritten loop", |n| render(n, "floor")));

pub(super) const GROUPS: &[Group] = &[
    Group {
        title: "Exposition",
        rows: &[
            row(
                ("text-floor", "text", "ns/series"),
                |n| render(n, "ours.text"),
                FLOOR,
                Target::Times(1.5),
            ),
            row(
                ("text-prometheus-client", "text", "ns/series"),
                |n| render(n, "ours.text"),
                Some(("prometheus-client", |n| render(n, "prometheus_client"))),
                Target::Times(0.25),
            ),
            row(
                ("text-prometheus", "text", "ns/series"),
                |n| render(n, "ours.text"),
                Some(("prometheus", |n| render(n, "prometheus"))),
                Target::Times(0.04),
            ),
            row(
                ("text-metrics-exporter-prometheus", "text", "ns/series"),
                |n| render(n, "ours.text"),
                Some(("metrics-exporter-prometheus", |n| render(n, "metrics_exporter_prometheus"))),
                Target::Times(0.04),
            ),
            row(
                ("gzip-full", "gzip, all of it", "ns/series"),
                |n| render(n, "ours.gzip"),
                Some(("zlib-rs -1 + 1.5 floors", |n| {
                    Some(render(n, "gzip")? + 1.5 * render(n, "floor")?)
                })),
                Target::Times(1.0),
            ),
            row(
                ("gzip-best", "gzip, all of it, at best", "ns/series"),
                |n| render(n, "ours.gzip"),
                FLOOR,
                Target::Times(5.0),
            ),
            row(
                ("gzip-newest", "gzip, the newest 1 % changed", "ns/series"),
                |n| render(n, "ours.gzip_newest_changed"),
                Some(("gzip, all of it", |n| render(n, "ours.gzip"))),
                Target::Times(0.1),
            ),
            row(
                ("gzip-random", "gzip, a random 1 % changed", "ns/series"),
                |n| render(n, "ours.gzip_random_changed"),
                Some(("gzip, all of it", |n| render(n, "ours.gzip"))),
                Target::Times(0.1),
            ),
            row(
                ("gzip-unchanged", "gzip, nothing changed", "ns/series"),
                |n| render(n, "ours.gzip_unchanged"),
                Some(("gzip, all of it", |n| render(n, "ours.gzip"))),
                Target::Times(0.01),
            ),
            row(
                ("binary-newest", "the binary: gzip, the newest 1 % changed", "CPU ms"),
                |n| growth(n, "gzip.newest_changed_cpu_ms"),
                Some(("its first scrape", |n| growth(n, "gzip.first_scrape_cpu_ms"))),
                Target::Times(0.1),
            ),
            row(
                ("binary-random", "the binary: gzip, a random 1 % changed", "CPU ms"),
                |n| growth(n, "gzip.random_changed_cpu_ms"),
                Some(("its first scrape", |n| growth(n, "gzip.first_scrape_cpu_ms"))),
                Target::Times(0.1),
            ),
            row(
                ("binary-unchanged", "the binary: gzip, nothing changed", "CPU ms"),
                |n| growth(n, "gzip.unchanged_cpu_ms"),
                Some(("its first scrape", |n| growth(n, "gzip.first_scrape_cpu_ms"))),
                Target::Times(0.01),
            ),
            row(
                ("four-at-once", "four scrapes at once", "CPU ms"),
                |n| growth(n, "gzip.four_at_once_cpu_ms"),
                Some(("one", |n| growth(n, "gzip.all_changed_cpu_ms"))),
                Target::Times(1.5),
            ),
            row(
                ("first-byte", "first byte", "ms"),
                |n| growth(n, "gzip.first_byte_ms"),
                None,
                Target::AtMost(5.0),
            ),
            row(
                ("event-while-scraped", "p99 of an event while 10,000 chats are scraped", "ms"),
                |n| n.get("push.while_scraped.p99_ms"),
                None,
                Target::AtMost(5.0),
            ),
            row(
                ("prometheus-share", "a scrape, the newest 1 % changed", "CPU ms"),
                |n| {
                    largest(n, "prometheus", "prometheus.cpu_ms_per_scrape")?;
                    let at =
                        |chats| n.get(&format!("prometheus.{chats}.prometheus.cpu_ms_per_scrape"));
                    let chats = if at(100_000).is_some() { 100_000 } else { 10_000 };
                    n.get(&format!("growth.{chats}.gzip.newest_changed_cpu_ms"))
                },
                Some(("Prometheus for the same", |n| {
                    largest(n, "prometheus", "prometheus.cpu_ms_per_scrape")
                })),
                Target::Times(0.1),
            ),
            row(
                ("rss-per-series", "RSS per series, all told", "bytes"),
                |n| Some(growth(n, "rss_after_bytes")? / growth(n, "series")?),
                None,
                Target::AtMost(80.0),
            ),
            row(
                ("peak", "peak RSS at 1 million series", "MB"),
                |n| Some(n.get("growth.100000.peak_bytes")? / MB),
                None,
                Target::AtMost(150.0),
            ),
        ],
    },
    Group {
        title: "Taking in",
        rows: &[
            row(
                ("poll-changed", "a polled chat that changed, to the ledger", "ns"),
                |n| booking(n, "all_changed"),
                Some(("serde_json, typed, alone", |n| booking(n, "serde_json"))),
                Target::Times(1.0),
            ),
            row(
                ("poll-unchanged", "a polled chat that did not", "ns"),
                |n| booking(n, "unchanged"),
                Some(("serde_json, typed, alone", |n| booking(n, "serde_json"))),
                Target::Times(0.5),
            ),
            row(
                ("poll-memory", "memory of the first poll beyond what stays", "MB"),
                |n| Some((growth(n, "first_poll_peak_bytes")? - growth(n, "rss_bytes")?) / MB),
                Some(("body + 10 MB", |n| Some(growth(n, "body_bytes")? / MB + 10.0))),
                Target::Times(1.0),
            ),
            row(
                ("push-cpu", "one event a request, 16 connections", "CPU µs"),
                |n| n.get("push.one.16.ours.cpu_us_per_request"),
                Some(("a server that counts", |n| {
                    n.get("push.one.16.counting.cpu_us_per_request")
                })),
                Target::Times(1.5),
            ),
            row(
                ("push-p99", "p99 at half load, on the disk", "ms"),
                |n| n.get("push.half_load.p99_ms"),
                None,
                Target::AtMost(5.0),
            ),
            row(
                ("push-rate", "one event a request, 16 connections", "a second"),
                |n| n.get("push.one.16.ours.requests_per_second"),
                Some(("pushgateway, check off", |n| {
                    n.get("push.one.16.pushgateway.requests_per_second")
                })),
                Target::AtLeastTimes(10.0),
            ),
            row(
                ("push-batch", "an event of a body of 100", "CPU µs"),
                |n| n.get("push.batch.16.ours.cpu_us_per_event"),
                None,
                Target::AtMost(1.0),
            ),
            row(
                ("line-telling", "a log line that matters", "ns"),
                |n| n.get("lines.telling.ours.ns_per_line"),
                Some(("sonic-rs, typed", |n| n.get("lines.telling.sonic.ns_per_line"))),
                Target::Times(1.5),
            ),
            row(
                ("line-mixed", "a log line, where one in ten matters", "ns"),
                |n| n.get("lines.mixed.ours.ns_per_line"),
                Some(("sonic-rs behind a prefilter", |n| n.get("lines.mixed.sonic.ns_per_line"))),
                Target::Times(1.5),
            ),
            row(
                ("line-mtail", "a followed line, all told", "CPU µs"),
                |n| n.get("logs.ours.us_per_line"),
                Some(("mtail", |n| n.get("logs.mtail.us_per_line"))),
                Target::Times(0.05),
            ),
            row(
                ("line-exact", "turns not counted", "turns"),
                |n| Some(n.get("logs.turns")? - n.get("logs.ours.turns")?),
                None,
                Target::AtMost(0.0),
            ),
            row(
                ("chat-bytes", "memory of a pushed chat", "bytes"),
                |n| n.get("push.memory.ours.bytes_per_chat"),
                None,
                Target::AtMost(1000.0),
            ),
            row(
                ("event-bytes", "memory of an event more", "bytes"),
                |n| n.get("push.memory.ours.bytes_per_event"),
                None,
                Target::AtMost(1.0),
            ),
        ],
    },
    Group {
        title: "Standing still",
        rows: &[
            row(
                ("idle-rss", "RSS", "MB"),
                |n| Some(n.get("idle.ours.rss_bytes")? / MB),
                None,
                Target::AtMost(8.0),
            ),
            row(
                ("idle-cpu", "CPU a minute", "ms"),
                |n| n.get("idle.ours.cpu_ms_per_minute"),
                Some(("pushgateway", |n| n.get("idle.pushgateway.cpu_ms_per_minute"))),
                Target::AtMost(12.0),
            ),
            row(
                ("idle-wakes", "wake-ups a second", ""),
                |n| n.get("idle.ours.wake_ups_per_second"),
                Some(("pushgateway", |n| n.get("idle.pushgateway.wake_ups_per_second"))),
                Target::AtMost(2.0),
            ),
            row(
                ("binary", "binary", "MB"),
                |n| Some(n.get("idle.binary_bytes")? / MB),
                None,
                Target::AtMost(20.0),
            ),
            row(
                ("start", "start to first answer, everything in the store", "ms"),
                |n| growth(n, "start_to_answer_ms"),
                None,
                Target::AtMost(100.0),
            ),
        ],
    },
    Group {
        title: "Growth",
        rows: &[
            row(
                ("record", "an event, p50", "ms"),
                |n| growth(n, "record_p50_ms"),
                None,
                Target::AtMost(5.0),
            ),
            row(
                ("snapshot", "one chat as JSON", "ms"),
                |n| growth(n, "snapshot_ms"),
                None,
                Target::AtMost(1.0),
            ),
            row(
                ("aggregate", "all chats as JSON", "ms"),
                |n| growth(n, "aggregate_ms"),
                None,
                Target::AtMost(10.0),
            ),
            row(
                ("linear", "a full scrape of 100,000 chats", "CPU ms"),
                |n| n.get("growth.100000.gzip.first_scrape_cpu_ms"),
                Some(("of 10,000", |n| n.get("growth.10000.gzip.first_scrape_cpu_ms"))),
                Target::Times(12.0),
            ),
        ],
    },
];
