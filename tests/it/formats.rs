//! How the metrics are served: formats, encodings, refusals, and labels that nobody would choose.

use std::collections::BTreeSet;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::chat::{Chat, count};
use crate::support::exporter::{Exporter, Launch, METRICS};
use crate::support::exposition::Exposition;
use crate::support::http;
use crate::support::prometheus::Prometheus;
use crate::support::recorded::{FIRST_PROCESS, View};
use crate::support::runtime::{AGGREGATE, Answer, FakeRuntime};
use crate::support::tools::{promtool_check_metrics, strict_openmetrics};
use crate::support::wait::eventually;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TURNS: &str = "mozaiks_chat_agent_turns_total";

/// Ids that break a careless writer, one way each.
fn hostile_ids() -> Vec<String> {
    let mut ids: Vec<String> = [
        "say \"hi\"",
        "back\\slash\\",
        "ends in a backslash\\",
        "\\n is not a line break",
        "line\nbreak\r\nand\ttab",
        "{app_id=\"x\"} 1",
        "# HELP nothing",
        "ls\u{2028}ps\u{2029}nel\u{85}",
        "bell\u{7}escape\u{1b}[31mdelete\u{7f}",
        "family \u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "שלום",
        "\u{feff}byte order mark",
        "e\u{301} is not \u{e9}",
        " spaces ",
        "NaN",
        "null",
        "0",
        "%2F%00",
        "a/b/../c?d=e#f",
        "<script>alert(1)</script>",
        "noncharacter \u{fffe} private \u{f8ff} astral \u{10ffff}",
    ]
    .map(str::to_owned)
    .to_vec();
    ids.push("x".repeat(400));
    ids
}

/// An exporter with these chats, all of them shown.
fn serving(chats: &[Chat], launch: impl Fn(Launch) -> Launch) -> (Exporter, FakeRuntime, TempDir) {
    let runtime = FakeRuntime::start();
    runtime.hold(chats);
    let dir = TempDir::new().unwrap();
    let exporter = launch(Launch::new(dir.path()).runtime(&runtime.url())).start();
    let turns: u64 = chats.iter().map(|chat| chat.turns).sum();
    eventually("all chats are shown", || {
        let exposition = exporter.scrape();
        let (shown, sum) = (exposition.all(TURNS, &[]).count(), exposition.sum(TURNS, &[]));
        let right = shown == chats.len() && sum == count(turns);
        if right { Ok(()) } else { Err(format!("{shown} chats with {sum} turns")) }
    });
    (exporter, runtime, dir)
}

/// One that shows what a real runtime once held.
fn serving_a_recording(launch: impl Fn(Launch) -> Launch) -> (Exporter, FakeRuntime, TempDir) {
    let view = View::load(FIRST_PROCESS[4]);
    let runtime = FakeRuntime::start();
    runtime.script(AGGREGATE, Answer::body(&view.aggregate));
    let dir = TempDir::new().unwrap();
    let exporter = launch(Launch::new(dir.path()).runtime(&runtime.url())).start();
    exporter.wait_for("mozaiks_tracked_chats", &[], 37.0);
    (exporter, runtime, dir)
}

#[test]
fn the_format_is_the_one_that_was_asked_for() {
    let (exporter, _runtime, _dir) = serving(&[Chat::new("one").turns(4)], |launch| launch);
    let prometheus = "application/openmetrics-text;version=1.0.0,\
         application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let check = |accept: &[(&str, &str)], content_type: &str| {
        for path in [METRICS, "/metrics"] {
            let response = exporter.get_with(path, accept);
            assert_eq!(response.status, 200, "{accept:?}");
            assert_eq!(response.header("content-type"), Some(content_type), "{accept:?}");
            let ends_as_open_metrics = response.text().ends_with("\n# EOF\n");
            assert_eq!(ends_as_open_metrics, content_type == OPEN_METRICS, "{accept:?}");
        }
    };
    check(&[], TEXT);
    check(&[("accept", "*/*")], TEXT);
    check(&[("accept", "text/plain")], TEXT);
    check(&[("accept", "text/*")], TEXT);
    check(&[("accept", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")], TEXT);
    check(&[("accept", browser)], TEXT);
    check(&[("accept", prometheus)], OPEN_METRICS);
    check(
        &[("accept", "application/openmetrics-text; version=1.0.0; charset=utf-8")],
        OPEN_METRICS,
    );
    check(
        &[("accept", "text/plain;q=0.9, application/openmetrics-text;version=1.0.0;q=0.1")],
        TEXT,
    );
    check(&[("accept", "application/openmetrics-text;version=1.0.0;q=0, text/plain")], TEXT);
}

#[test]
fn a_format_that_does_not_exist_is_not_acceptable() {
    let (exporter, _runtime, _dir) = serving(&[Chat::new("one").turns(4)], |launch| launch);
    for accept in ["application/json", "image/png, text/html", "text/plain;q=0, */*;q=0"] {
        let response = exporter.get_with(METRICS, &[("accept", accept)]);
        assert_eq!(response.status, 406, "{accept}");
    }
}

#[test]
fn compression_is_given_to_those_who_ask() {
    let (exporter, _runtime, _dir) = serving_a_recording(|launch| launch);
    let names = |text: &str| -> BTreeSet<String> {
        Exposition::parse(text).all(TURNS, &[]).map(|s| s.labels["chat_id"].clone()).collect()
    };
    let plain = exporter.get(METRICS);
    assert_eq!(plain.header("content-encoding"), None);
    for accept in ["gzip", "deflate, gzip;q=1.0, *;q=0.5"] {
        let packed = exporter.get_with(METRICS, &[("accept-encoding", accept)]);
        assert_eq!(packed.header("content-encoding"), Some("gzip"), "{accept}");
        assert_eq!(packed.header("content-type"), Some(TEXT));
        assert!(packed.body.len() * 3 < plain.body.len(), "{} bytes", packed.body.len());
        assert_eq!(names(&packed.text()), names(&plain.text()));
    }
    for refuses in ["identity", "gzip;q=0", "br"] {
        let response = exporter.get_with(METRICS, &[("accept-encoding", refuses)]);
        assert_eq!(response.header("content-encoding"), None, "{refuses}");
    }
    let vary = plain.header("vary").unwrap_or_default().to_ascii_lowercase();
    assert!(vary.contains("accept-encoding"), "a cache would mix them up: vary is {vary:?}");
}

#[test]
fn what_does_not_exist_or_is_not_allowed_is_said_precisely() {
    let (exporter, _runtime, _dir) = serving(&[Chat::new("one").turns(4)], |launch| launch);
    for path in ["/nope", "/metrics/", "/metrics/prometheus/x", "/metrics/perf", "/..", "//"] {
        assert_eq!(exporter.get(path).status, 404, "{path}");
    }
    let routes =
        [METRICS, "/metrics", "/metrics/perf/aggregate", "/metrics/perf/chats", "/-/healthy", "/"];
    for path in routes {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let response = http::request(exporter.address(), method, path, &[]).unwrap();
            assert_eq!(response.status, 405, "{method} {path}");
            let allow = response.header("allow").unwrap_or_default();
            let methods: BTreeSet<&str> = allow.split(',').map(str::trim).collect();
            assert_eq!(methods, BTreeSet::from(["GET", "HEAD"]), "{method} {path}");
        }
        let get = exporter.get(path);
        let head = http::request(exporter.address(), "HEAD", path, &[]).unwrap();
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
    assert_eq!(exporter.get("/metrics?name[]=x").status, 200);
}

#[test]
fn probes_and_the_landing_page_answer() {
    let (exporter, _runtime, _dir) = serving(&[Chat::new("one").turns(4)], |launch| launch);
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(exporter.get(path).status, 200, "{path}");
    }
    let page = exporter.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.text().contains(METRICS), "{}", page.text());
}

#[test]
fn the_json_routes_have_the_runtimes_shapes_and_the_ledgers_numbers() {
    let chats = [Chat::new("one/with a \"slash\"").turns(4), Chat::new("two").turns(5)];
    let (exporter, runtime, _dir) = serving(&chats, |launch| launch);
    let aggregate = exporter.get("/metrics/perf/aggregate").json();
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    let upstream = http::get(runtime.address(), AGGREGATE, &[]).unwrap().json();
    assert!(keys(&aggregate).is_superset(&keys(&upstream)), "{aggregate}");
    for key in ["active_chats", "tracked_chats", "total_agent_turns", "total_tool_calls"] {
        assert_eq!(aggregate[key], upstream[key], "{key}");
    }
    for key in ["total_errors", "total_prompt_tokens", "total_completion_tokens", "total_cost"] {
        assert_eq!(aggregate[key], upstream[key], "{key}");
    }
    let listed = exporter.get("/metrics/perf/chats").json();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    for (mine, theirs) in
        listed.as_array().unwrap().iter().zip(upstream["chats"].as_array().unwrap())
    {
        for (key, value) in theirs.as_object().unwrap() {
            match key.as_str() {
                "runtime_sec" => {}
                // The runtime writes `+00:00`, its documents `Z`; the instant is the same.
                "started_at" | "ended_at" => assert_eq!(instant(&mine[key]), instant(value)),
                _ => assert_eq!(mine[key], *value, "{key}"),
            }
        }
        let ages = [mine, theirs].map(|chat| chat["runtime_sec"].as_f64().unwrap());
        assert!((ages[0] - ages[1]).abs() < 10.0, "{ages:?}");
    }
    let one = exporter.get("/metrics/perf/chats/one%2Fwith%20a%20%22slash%22");
    assert_eq!(one.status, 200);
    assert_eq!(one.json()["agent_turns"], 4);
    let none = exporter.get("/metrics/perf/chats/three");
    assert_eq!(none.status, 404);
    assert_eq!(none.json()["detail"], "Chat not tracked");
    let runs = exporter.get("/health/active-runs").json();
    assert_eq!(runs["active_runs"], 2, "{runs}");
    assert_eq!(runs["chats"].as_array().unwrap().len(), 2);
    assert_eq!(exporter.get("/api/health").status, 200);
}

/// A time as the JSON has it; `None` for null.
fn instant(value: &Value) -> Option<chrono::DateTime<chrono::FixedOffset>> {
    value.as_str().map(|text| chrono::DateTime::parse_from_rfc3339(text).unwrap())
}

#[test]
fn money_is_printed_as_short_as_it_is_exact() {
    let (exporter, runtime, _dir) = serving(&[Chat::new("one").turns(1)], |launch| launch);
    let mut chats = Vec::new();
    // The runtime adds in floating point, and these are the sums that it then shows.
    let sums = [(0.1 + 0.2, "0.3"), (1e-7, "1e-07"), (2e-7 + 1.2e-6, "1.4e-06")];
    for (cost, _) in sums {
        let mut chat = Chat::new(&format!("costs {cost}")).json();
        chat["cost"] = serde_json::json!(cost);
        chats.push(chat);
    }
    runtime.world().chats = chats;
    for (cost, printed) in sums {
        let id = format!("costs {cost}");
        let shortest: f64 = printed.parse().unwrap();
        let (name, labels) = ("mozaiks_chat_cost_usd_total", [("chat_id", id.as_str())]);
        exporter.wait_for(name, &labels, shortest);
        let exposition = exporter.scrape();
        let text = &exposition.all(name, &labels).next().unwrap().text;
        assert!(text.len() <= "0.0000014".len(), "{text}");
    }
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let (exporter, _runtime, _dir) = serving_a_recording(|launch| launch.flag("--compat", "off"));
    let text = exporter.get(METRICS).text();
    assert_eq!(promtool_check_metrics(&text), (true, Vec::new()));
    let read = Exposition::parse(&text);
    for (family, kind) in &read.types {
        assert!(read.help.get(family).is_some_and(|help| !help.is_empty()), "{family} has no HELP");
        assert!(["counter", "gauge", "histogram"].contains(&kind.as_str()), "{family} is {kind}");
    }
    for sample in &read.samples {
        let family = ["_bucket", "_count", "_sum"].iter().find_map(|end| {
            sample.name.strip_suffix(end).filter(|name| read.types.contains_key(*name))
        });
        let family = family.unwrap_or(&sample.name);
        assert!(read.types.contains_key(family), "{} has no TYPE", sample.name);
    }
}

#[test]
fn with_compat_names_promtool_dislikes_those_and_no_others() {
    let (exporter, _runtime, _dir) = serving_a_recording(|launch| launch);
    let text = exporter.get(METRICS).text();
    let (fine, complaints) = promtool_check_metrics(&text);
    assert!(!fine);
    let named: BTreeSet<&str> =
        complaints.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(named, BTreeSet::from(["mozaiks_chat_last_turn_duration_sec"]), "{complaints:?}");
    let read = Exposition::parse(&text);
    for name in ["mozaiks_chat_cost_total", "mozaiksai_workflow_starts_total"] {
        assert_eq!(read.types.get(name).map(String::as_str), Some("counter"), "{name}");
    }
    assert_eq!(read.types["mozaiksai_session_duration_seconds"], "histogram");
    assert_eq!(read.types["mozaiksai_concurrent_users"], "gauge");
}

#[test]
fn the_strict_parser_reads_openmetrics_and_agrees_with_the_text_format() {
    let (exporter, _runtime, _dir) = serving_a_recording(|launch| launch);
    let accept = [("accept", "application/openmetrics-text;version=1.0.0")];
    let open_metrics = exporter.get_with(METRICS, &accept).text();
    let families = strict_openmetrics(&open_metrics).unwrap_or_else(|refused| panic!("{refused}"));
    let text = exporter.scrape();
    let mut compared = 0;
    for sample in families.as_array().unwrap().iter().flat_map(|f| f["samples"].as_array().unwrap())
    {
        let name = sample["name"].as_str().unwrap();
        let labels: Vec<(&str, &str)> = sample["labels"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        if name.starts_with("mozaiks") && name.ends_with("_total") && !name.contains("_exporter_") {
            let value: f64 = sample["value"].as_str().unwrap().parse().unwrap();
            assert_eq!(text.value(name, &labels), Some(value), "{name}{labels:?}");
            compared += 1;
        }
    }
    assert!(compared > 37 * 7, "{compared} samples");
}

#[test]
fn hostile_labels_reach_prometheus_as_they_are() {
    let ids = hostile_ids();
    let chats: Vec<Chat> = ids
        .iter()
        .map(|id| {
            let mut chat = Chat::new(id).turns(3);
            (chat.app, chat.workflow, chat.user) = (id.clone(), id.clone(), id.clone());
            chat
        })
        .collect();
    let (exporter, _runtime, _dir) = serving(&chats, |launch| launch);
    let prometheus = Prometheus::start(exporter.address(), "1s");
    prometheus.wait_for_a_scrape();
    let expected: BTreeSet<String> = ids.iter().cloned().collect();
    let series = prometheus.query(TURNS);
    for label in ["chat_id", "app_id", "workflow_name", "user_id"] {
        let found: BTreeSet<String> = series.iter().map(|s| s.labels[label].clone()).collect();
        assert_eq!(found, expected, "{label}");
    }
    let accept = [("accept", "application/openmetrics-text;version=1.0.0")];
    strict_openmetrics(&exporter.get_with(METRICS, &accept).text()).unwrap();
    let text = exporter.scrape();
    assert_eq!(text.label_values(TURNS, "chat_id"), expected.into_iter().collect::<Vec<_>>());
}

#[test]
fn what_no_label_can_hold_is_changed_and_still_counted_apart() {
    let long = "é".repeat(5_000);
    let ids = ["nul\0inside".to_owned(), format!("{long}1"), format!("{long}2")];
    let chats: Vec<Chat> = ids.iter().map(|id| Chat::new(id).turns(2)).collect();
    let (exporter, _runtime, _dir) = serving(&chats, |launch| launch);
    let prometheus = Prometheus::start(exporter.address(), "1s");
    prometheus.wait_for_a_scrape();
    let shown: Vec<String> = prometheus.by("chat_id", TURNS).into_keys().collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert!(shown.contains(&"nul\u{fffd}inside".to_owned()), "{shown:?}");
    for id in shown.iter().filter(|id| id.starts_with('é')) {
        assert!(id.len() < 2_000, "{} bytes", id.len());
    }
}
