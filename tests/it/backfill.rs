//! Old logs become blocks of a real Prometheus, and last month's cost is asked back.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::prometheus::Prometheus;
use crate::support::recorded::{is_exact, root};
use crate::support::tools::make_blocks;

fn backfill(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mozaiks-exporter"))
        .arg("backfill")
        .args(args)
        .output()
        .unwrap()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Cost of the recorded turns and calls by chat: the higher of the two is what the chat cost.
fn cost_by_chat(log: &Path) -> BTreeMap<String, f64> {
    let mut books = [BTreeMap::new(), BTreeMap::new()];
    for line in text(log).split('\n') {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let (book, cost) = match line["msg"].as_str().unwrap() {
            "agent_turn" => (0, &line["extra"]["cost_usd"]),
            "realtime_usage_delta" => (1, &line["extra"]["cost"]),
            _ => continue,
        };
        let chat = line["extra"]["chat_id"].as_str().unwrap().to_owned();
        *books[book].entry(chat).or_insert(0.0) += cost.as_f64().unwrap();
    }
    let [turns, calls] = books;
    let mut highest: BTreeMap<String, f64> = turns;
    for (chat, cost) in calls {
        let known = highest.entry(chat).or_default();
        *known = known.max(cost);
    }
    highest
}

#[test]
fn last_months_cost_is_found_again() {
    let dir = TempDir::new().unwrap();
    let samples = dir.path().join("samples.om");
    let log = root().join("logs/production_json/mozaiks.log");
    let paths = ["ag2/ag2_runtime.log", "ag2/ag2_runtime.db"].map(|path| root().join(path));
    let [ag2, database] = paths.each_ref().map(|path| path.to_str().unwrap());
    let said = backfill(&[
        "--logs.path",
        log.to_str().unwrap(),
        "--ag2.path",
        ag2,
        "--ag2.path",
        database,
        "--step",
        "15s",
        "--chats",
        "--output",
        samples.to_str().unwrap(),
    ]);
    let explained = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "{explained}");
    assert!(explained.contains("samples of"), "{explained}");
    make_blocks(&samples, &dir.path().join("data")).unwrap();

    let last = text(&log)
        .split('\n')
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|line| line["ts"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap())
        .max()
        .unwrap()
        .timestamp();
    let truth = cost_by_chat(&log);
    let total: f64 = truth.values().sum();
    let prometheus = Prometheus::over(dir);
    // Whoever was not introduced waits for a step.
    let end = last + 45;
    let value = |expression: &str| prometheus.query_at(expression, end)[0].last();
    let cost = value("sum(mozaiks_workflow_cost_usd_total)");
    assert!(is_exact(cost, total), "{cost}, not {total}");
    let increase = "sum(max_over_time(mozaiks_workflow_cost_usd_total[1d]) \
                    - min_over_time(mozaiks_workflow_cost_usd_total[1d]))";
    assert!(is_exact(value(increase), total), "it all happened in that time: {}", value(increase));
    assert_eq!(value("sum(mozaiks_workflow_agent_turns_total)"), 147.0);
    assert_eq!(value("sum(mozaiks_agent_turns_total)"), 147.0);
    let calls = value("sum(mozaiks_llm_calls_total)");
    assert_eq!(calls, 90.0, "74 answered, 10 out of a cache, 6 failed");
    let by_chat = prometheus.query_at("sum by (chat_id) (mozaiks_chat_cost_usd_total)", end);
    let by_chat: BTreeMap<String, f64> =
        by_chat.iter().map(|series| (series.labels["chat_id"].clone(), series.last())).collect();
    for (chat, cost) in truth.iter().filter(|(_, cost)| **cost > 0.0) {
        assert!(is_exact(by_chat[chat], *cost), "{chat:?}: {}, not {cost}", by_chat[chat]);
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let said = |args: &[&str]| {
        let output = backfill(args);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said(&[]).contains("name a log with --logs.path"), "{}", said(&[]));
    let missing = said(&["--logs.path", "/nonexistent/mozaiks.log"]);
    assert!(missing.contains("there is no log at /nonexistent/mozaiks.log"), "{missing}");
    let pretty = root().join("logs/production_pretty/mozaiks.log");
    let undated = said(&["--logs.path", pretty.to_str().unwrap()]);
    assert!(undated.contains("have no date"), "{undated}");
}
