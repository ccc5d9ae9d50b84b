//! Observations in, whole exposition out: against golden files and the `prometheus` crate.
//!
//! `UPDATE_GOLDEN=1 cargo test --test exposition` rewrites the golden files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by stopping")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use mozaiks_exporter::ledger::{Ledger, Settings, Visitor};
use mozaiks_exporter::metrics::{
    Engine, Format, Parts, Process, Show, Type, UserPolicy, View, Wanted, catalogue, render,
};
use mozaiks_exporter::model::{
    About, Answer, ChatSnapshot, Event, Instant, Level, Mono, Report, RuntimeId, Source, Stated,
    Timestamp, Usage, Usd, What,
};
use mozaiks_exporter::telemetry::Numbers;
use prometheus::proto;
use prometheus::{Encoder as _, TextEncoder};
use proptest::prelude::*;

const START: i64 = 1_768_701_486_000_000;

fn at(seconds: i64) -> Instant {
    let micros = seconds * 1_000_000;
    Instant { wall: Timestamp(START + micros), mono: Mono(micros) }
}

/// A chat with these counters, begun and perhaps ended so many seconds after the start.
fn chat(
    names: [&str; 4],
    begun: i64,
    ended: Option<i64>,
    counts: [u64; 5],
    cost: f64,
) -> ChatSnapshot<'_> {
    ChatSnapshot {
        chat_id: Cow::Borrowed(names[0]),
        app_id: Cow::Borrowed(names[1]),
        workflow_name: Cow::Borrowed(names[2]),
        user_id: Cow::Borrowed(names[3]),
        started_at: Some(at(begun).wall),
        ended_at: ended.map(|ended| at(ended).wall),
        failed: false,
        updated_at: None,
        totals: Stated { counts: counts.map(Some), cost: Some(Usd::from_f64(cost).unwrap()) },
        last_turn_seconds: (counts[0] > 0).then_some(2.5),
    }
}

fn answer(runtime: RuntimeId, now: Instant, chats: Vec<ChatSnapshot<'_>>) -> Answer<'_> {
    let process = Some(at(-100).wall);
    let (source, runtime_clock) = (Source::Scrape, now.wall);
    Answer {
        source,
        runtime,
        process,
        runtime_clock,
        complete: true,
        more: false,
        chats,
        unreadable: Vec::new(),
        bookmarks: Vec::new(),
    }
}

fn show() -> Show {
    Show { users: UserPolicy::Plain, compat: true, max_series: 100_000 }
}

/// The exposition without what differs from machine to machine.
fn text(ledger: &Ledger, show: &Show, format: Format, now: Instant) -> String {
    let numbers = Numbers::default();
    let (text, _) = render(&View::new(ledger, &numbers, show, now), format);
    let text = String::from_utf8(text).unwrap();
    let kept = text.lines().filter(|line| {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        !name.starts_with("process_") && !name.starts_with("mozaiks_exporter_build_info")
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// A baseline, a chat born under a scraper's eyes, one that ended, and names that hurt.
fn small_world() -> (Ledger, Instant) {
    let mut ledger = Ledger::new(Settings::default());
    let runtime = ledger.watch("main", &[Source::Scrape], at(0));
    let old = || chat(["old", "acme", "Übersetzung", "анна"], -50, None, [4, 3, 1, 100, 20], 0.25);
    let awkward = || {
        let names = ["q\"b\\s\nn\u{2028}🦄", "app \"X\"\\y", "Report.Builder v2", "o'brien"];
        chat(names, -40, Some(-10), [1, 0, 0, 5_000_000_000, 1], 1e-7)
    };
    ledger.hear(&answer(runtime, at(1), vec![old(), awkward()]), 0, at(1));
    ledger.learn(events(runtime), at(2));
    let visitor = Visitor {
        name: "prometheus".into(),
        connection: 1,
        timeout: Some(Duration::from_secs(10)),
    };
    let ticket = ledger.scrape_begins(&visitor, at(2));
    ledger.scrape_served(ticket);
    let new = chat(["new", "acme", "Generator", "bob"], 3, None, [2, 2, 0, 30, 10], 0.0);
    ledger.hear(&answer(runtime, at(16), vec![old(), awkward(), new]), 0, at(16));
    (ledger, at(17))
}

/// What the log tells of the old chat, by an agent whose name hurts.
fn events(runtime: RuntimeId) -> Report {
    let (agent, model) = ("Agent \"Q\"\\".to_owned(), "gpt-4o-mini".to_owned());
    let cost = Usd::from_f64(1e-7).unwrap();
    let usage = Usage { prompt_tokens: 7, completion_tokens: 3, cost };
    let turn =
        What::Turn { agent: agent.clone(), model: model.clone(), usage, seconds: Some(0.75) };
    let (cached, failed) = (false, false);
    let call = What::Call { agent, model, usage, seconds: Some(0.5), cached, failed };
    let tool =
        What::Tool { tool: "web_search".to_owned(), ok: true, as_call: true, seconds: Some(0.2) };
    let event = |what| Event {
        at: at(1).wall,
        about: About::Chat("old".to_owned()),
        app_id: None,
        workflow_name: None,
        user_id: None,
        what,
    };
    Report {
        source: Source::Logs,
        runtime,
        prior: false,
        events: [turn, call, tool].map(event).into(),
        lines: BTreeMap::from([((Level::Warning, "core.auth".to_owned()), 2)]),
        bookmarks: Vec::new(),
    }
}

fn compare_with_golden(name: &str, text: &str) {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (ours, theirs)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {} of {name}", line + 1);
    }
    assert_eq!(text.len(), golden.len(), "{name} has another length");
}

#[test]
fn the_text_format_is_as_it_was() {
    let (ledger, now) = small_world();
    compare_with_golden("small_world.prom", &text(&ledger, &show(), Format::Text, now));
}

#[test]
fn openmetrics_is_as_it_was() {
    let (ledger, now) = small_world();
    compare_with_golden("small_world.om", &text(&ledger, &show(), Format::OpenMetrics, now));
}

#[test]
fn the_first_samples_of_a_new_chat_are_zero_and_those_of_a_baseline_are_not() {
    let (mut ledger, now) = small_world();
    let before = text(&ledger, &show(), Format::Text, now);
    let new = "mozaiks_chat_prompt_tokens_total{chat_id=\"new\",app_id=\"acme\",\
               workflow_name=\"Generator\",user_id=\"bob\"}";
    assert!(before.contains(&format!("{new} 0\n")));
    assert!(before.contains(
        "mozaiks_workflow_prompt_tokens_total{app_id=\"acme\",workflow_name=\"Generator\"} 0\n"
    ));
    assert!(before.contains("workflow_name=\"Übersetzung\",user_id=\"анна\"} 100\n"));
    let visitor = Visitor {
        name: "prometheus".into(),
        connection: 1,
        timeout: Some(Duration::from_secs(10)),
    };
    let ticket = ledger.scrape_begins(&visitor, at(17));
    ledger.scrape_served(ticket);
    ledger.scrape_begins(&visitor, at(32));
    assert!(text(&ledger, &show(), Format::Text, at(32)).contains(&format!("{new} 30\n")));
}

#[test]
fn users_are_shown_as_the_policy_says() {
    let (ledger, now) = small_world();
    let with = |users| text(&ledger, &Show { users, ..show() }, Format::Text, now);
    let key = ring_key();
    let hashed = with(UserPolicy::Hash(key));
    assert!(!hashed.contains("анна") && hashed.contains("user_id=\"u-"));
    let none = with(UserPolicy::None);
    assert!(!none.contains("анна") && !none.contains("mozaiks_user_"));
}

fn ring_key() -> ring::hmac::Key {
    ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32])
}

#[test]
fn second_names_can_be_left_out() {
    let (ledger, now) = small_world();
    let text = text(&ledger, &Show { compat: false, ..show() }, Format::Text, now);
    assert!(!text.contains("mozaiksai_") && !text.contains("mozaiks_chat_cost_total"));
    assert!(text.contains("mozaiks_chat_cost_usd_total"));
}

#[test]
fn runtimes_are_told_apart_only_where_there_are_several() {
    let mut ledger = Ledger::new(Settings::default());
    let east = ledger.watch("east", &[Source::Scrape], at(0));
    let one = || chat(["c", "acme", "W", "u"], -5, None, [1; 5], 0.5);
    ledger.hear(&answer(east, at(1), vec![one()]), 0, at(1));
    assert!(!text(&ledger, &show(), Format::Text, at(1)).contains("{runtime=\"east\",chat_id"));
    let west = ledger.watch("west", &[Source::Scrape], at(2));
    ledger.hear(&answer(west, at(3), vec![one()]), 0, at(3));
    let text = text(&ledger, &show(), Format::Text, at(3));
    for runtime in ["east", "west"] {
        let series = format!(
            "mozaiks_workflow_cost_usd_total{{runtime=\"{runtime}\",app_id=\"acme\",workflow_name=\"W\"}} 0.5\n"
        );
        assert!(text.contains(&series), "{series}");
    }
    assert!(text.contains("mozaiks_active_chats 2\n"));
}

/// One sample, taken apart by a reader of our own.
type Sample = (String, Vec<(String, String)>, String);

fn read(text: &str) -> BTreeMap<String, (String, String, Vec<Sample>)> {
    let mut families: BTreeMap<String, (String, String, Vec<Sample>)> = BTreeMap::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            name.clone_into(&mut family);
            families.insert(family.clone(), (help.to_owned(), String::new(), Vec::new()));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (_, kind) = rest.split_once(' ').unwrap();
            kind.clone_into(&mut families.get_mut(&family).unwrap().1);
        } else {
            families.get_mut(&family).unwrap().2.push(sample(line));
        }
    }
    families
}

fn sample(line: &str) -> Sample {
    let name: String = line.chars().take_while(|c| *c != '{' && *c != ' ').collect();
    let mut rest = line.strip_prefix(&name).unwrap();
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, value) = rest.trim_start_matches(',').split_once("=\"").unwrap();
            let mut unescaped = String::new();
            let mut chars = value.char_indices();
            let end = loop {
                match chars.next().unwrap() {
                    (at, '"') => break at,
                    (_, '\\') => unescaped.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        other => other,
                    }),
                    (_, plain) => unescaped.push(plain),
                }
            };
            labels.push((label.to_owned(), unescaped));
            rest = value.split_at(end + 1).1;
        }
        rest = rest.strip_prefix('}').unwrap();
    }
    (name, labels, rest.trim().to_owned())
}

/// The same families as the `prometheus` crate writes them.
fn oracle(families: &BTreeMap<String, (String, String, Vec<Sample>)>) -> String {
    let mut written = Vec::new();
    for (name, (help, kind, samples)) in families {
        let mut family = proto::MetricFamily::default();
        family.set_name(name.clone());
        family.set_help(help.clone());
        let mut metrics = Vec::new();
        if kind == "histogram" {
            family.set_field_type(proto::MetricType::HISTOGRAM);
            let mut by_labels: Vec<(Vec<(String, String)>, proto::Histogram)> = Vec::new();
            for (sample_name, labels, value) in samples {
                let bound =
                    labels.iter().find(|(label, _)| label == "le").map(|(_, le)| le.clone());
                let labels: Vec<_> =
                    labels.iter().filter(|(label, _)| label != "le").cloned().collect();
                if by_labels.last().is_none_or(|(known, _)| *known != labels) {
                    by_labels.push((labels, proto::Histogram::default()));
                }
                let histogram = &mut by_labels.last_mut().unwrap().1;
                match (sample_name.strip_prefix(name.as_str()).unwrap(), bound.as_deref()) {
                    ("_bucket", Some("+Inf")) => {}
                    ("_bucket", Some(bound)) => {
                        let mut bucket = proto::Bucket::default();
                        bucket.set_upper_bound(bound.parse().unwrap());
                        bucket.set_cumulative_count(value.parse().unwrap());
                        let mut buckets = histogram.get_bucket().to_vec();
                        buckets.push(bucket);
                        histogram.set_bucket(buckets);
                    }
                    ("_sum", None) => histogram.set_sample_sum(value.parse().unwrap()),
                    ("_count", None) => histogram.set_sample_count(value.parse().unwrap()),
                    other => panic!("{name} has a sample {other:?}"),
                }
            }
            for (labels, histogram) in by_labels {
                let mut metric = metric(&labels);
                metric.set_histogram(histogram);
                metrics.push(metric);
            }
        } else {
            for (_, labels, value) in samples {
                let mut metric = metric(labels);
                if kind == "counter" {
                    family.set_field_type(proto::MetricType::COUNTER);
                    let mut counter = proto::Counter::default();
                    counter.set_value(value.parse().unwrap());
                    metric.set_counter(counter);
                } else {
                    family.set_field_type(proto::MetricType::GAUGE);
                    let mut gauge = proto::Gauge::default();
                    gauge.set_value(value.parse().unwrap());
                    metric.set_gauge(gauge);
                }
                metrics.push(metric);
            }
        }
        family.set_metric(metrics);
        TextEncoder::new().encode(&[family], &mut written).unwrap();
    }
    String::from_utf8(written).unwrap()
}

fn metric(labels: &[(String, String)]) -> proto::Metric {
    let mut metric = proto::Metric::default();
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = proto::LabelPair::default();
        pair.set_name(name.clone());
        pair.set_value(value.clone());
        pair
    });
    metric.set_label(pairs.collect());
    metric
}

/// Lines without their order, and bucket bounds in the crate's spelling.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| line.replace(".0\"} ", "\"} ")).collect();
    lines.sort();
    lines
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{1,3}",
        any::<String>().prop_map(|s| s.replace('\0', "") + "x"),
        Just("quote\" back\\ line\nfeed".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_prometheus_crate_writes_the_same(
        chats in prop::collection::vec(
            ([name(), name(), name(), name()], any::<[u32; 5]>(), 0.0..100.0_f64),
            0..12,
        ),
    ) {
        let mut ledger = Ledger::new(Settings::default());
        let runtime = ledger.watch("main", &[Source::Scrape], at(0));
        let snapshots = chats
            .iter()
            .map(|(names, counts, cost)| {
                let names = [0, 1, 2, 3].map(|index| names[index].as_str());
                chat(names, -9, None, counts.map(u64::from), *cost)
            })
            .collect();
        ledger.hear(&answer(runtime, at(1), snapshots), 0, at(1));
        let ours = text(&ledger, &show(), Format::Text, at(2));
        prop_assert_eq!(lines(&ours), lines(&oracle(&read(&ours))));
    }
}

/// Names that are alike, long, or of any characters: what repeats within reach, and what does not.
fn awkward_name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-b]{1,2}",
        2 => "[0-9a-f]{8}-[0-9a-f]{4}",
        2 => "same-[0-9]{1,2}",
        1 => "[a-z]{400,512}",
        1 => (1..300_usize).prop_map(|length| "x".repeat(length)),
        1 => any::<String>().prop_map(|s| s.replace('\0', "") + "x"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_packed_line_by_line_is_unpacked_to_the_same(
        chats in prop::collection::vec(
            ([awkward_name(), awkward_name(), awkward_name(), awkward_name()], any::<[u8; 5]>(), 0.0..2.0_f64, any::<bool>()),
            0..150,
        ),
        several: bool,
    ) {
        let mut ledger = Ledger::new(Settings::default());
        let runtime = ledger.watch("main", &[Source::Scrape], at(0));
        if several {
            ledger.watch("other", &[Source::Logs], at(0));
        }
        let snapshots = chats
            .iter()
            .map(|(names, counts, cost, ended)| {
                let names = [0, 1, 2, 3].map(|index| names[index].as_str());
                chat(names, -9, ended.then_some(-1), counts.map(u64::from), *cost)
            })
            .collect();
        ledger.hear(&answer(runtime, at(1), snapshots), 0, at(1));
        let engine = Engine::new(show());
        let packed = |packed| {
            let (numbers, process) = (Numbers::default(), Process::default());
            let wanted = Wanted { format: Format::Text, packed };
            let mut scrape = engine.begin(&ledger, &numbers, process, wanted, at(2));
            engine.gather(&mut scrape, &ledger);
            engine.finish(scrape).into_parts()
        };
        let (Parts::Packed(packed), Parts::Plain(plain)) = (packed(true), packed(false)) else {
            panic!("not as it was wanted");
        };
        let mut text = String::new();
        flate2::bufread::GzDecoder::new(&*packed.concat()).read_to_string(&mut text).unwrap();
        let plain = String::from_utf8(plain.collect::<Vec<_>>().concat()).unwrap();
        prop_assert_eq!(text, plain);
    }
}

#[test]
fn every_family_shows_up_in_a_world_that_has_everything() {
    let (ledger, now) = small_world();
    let mut numbers = Numbers::default();
    let target = numbers.targets.entry("main".into()).or_default();
    target.last_success = Some(now.wall);
    target.failures.insert("connect", 1);
    target.rejected.insert("shape", 1);
    target.ignored_fields.insert("started_at", 1);
    target.stated = Some(Default::default());
    target.health = Some(mozaiks_exporter::telemetry::Health {
        healthy: true,
        mongodb_ping_seconds: Some(0.001),
        websocket_connections: Some(2),
    });
    let follower = numbers.followers.entry(("main".into(), "logs")).or_default();
    follower.lines.insert("event", 1);
    follower.rows.insert("event", 1);
    let database = numbers.databases.entry("main".into()).or_default();
    database.failures.insert("connect", 1);
    database.documents.insert("told", 1);
    database.rejected.insert("negative", 1);
    database.last_success = Some(now.wall);
    database.indexed.insert("ChatSessions".into(), true);
    database.counts_messages = Some(true);
    let flush = mozaiks_exporter::telemetry::FlushNumbers {
        failures: BTreeMap::from([("connect", 1)]),
        documents: BTreeMap::from([("written", 1)]),
        last_success: Some(now.wall),
        ..Default::default()
    };
    numbers.flush = Some(flush);
    numbers.config.last = Some((true, now.wall));
    numbers.config.access.insert("metrics", true);
    numbers.events.rejected.insert("negative", 1);
    numbers.answers.requests.insert(("metrics", 200), 1);
    numbers.answers.durations.entry("metrics").or_default();
    numbers.answers.bytes.insert("gzip", 1);
    let (text, series) = render(&View::new(&ledger, &numbers, &show(), now), Format::Text);
    let text = String::from_utf8(text).unwrap();
    for family in catalogue() {
        let kind = family.kind().name();
        let line = format!("# TYPE {} {kind}\n", family.name());
        assert!(text.contains(&line), "{} is missing", family.name());
        if let Type::Histogram(bounds) = family.kind() {
            assert!(bounds.is_sorted());
        }
    }
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(series, samples as u64);
}
