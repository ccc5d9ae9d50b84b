//! Routes, log and AG2's log of one runtime together: what the real orchestrator's chats cost is in
//! the logs alone, and no line is added to another that says the same.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::exporter::{Exporter, Launch};
use crate::support::prometheus::{Prometheus, Series};
use crate::support::recorded::{
    FIRST_PROCESS, Figures, SECOND_PROCESS, Truth, View, is_exact, response, root, sums,
};
use crate::support::runtime::{AGGREGATE, Answer, EVENTS, FakeRuntime};
use crate::support::wait::eventually;

/// What was run, in its order.
const SCENARIOS: [&str; 4] = ["single", "failing", "general", "concurrent"];

/// A runtime with its logs, and who watches it.
struct Stage {
    runtime: FakeRuntime,
    logs: TempDir,
    state: TempDir,
}

impl Stage {
    fn new() -> Self {
        let stage = Self {
            runtime: FakeRuntime::start(),
            logs: TempDir::new().unwrap(),
            state: TempDir::new().unwrap(),
        };
        File::create(stage.log()).unwrap();
        stage
    }

    fn log(&self) -> PathBuf {
        self.logs.path().join("mozaiks.log")
    }

    /// Finds the logs where the runtime's own variable says, as beside a real one.
    fn launch(&self) -> Exporter {
        let launch = Launch::new(self.state.path()).runtime(&self.runtime.url());
        let launch = launch.flag("--logs.introduction-wait", "5s");
        launch.env("LOGS_BASE_DIR", self.logs.path()).start()
    }

    fn append(&self, file: &str, bytes: &[u8]) {
        let path = self.logs.path().join(file);
        File::options().append(true).create(true).open(path).unwrap().write_all(bytes).unwrap();
    }
}

fn recorded(path: &str) -> PathBuf {
    root().join(path)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Waits until Prometheus holds, by that label, what is true.
fn wait_for(prometheus: &Prometheus, expression: &str, label: &str, truth: &BTreeMap<String, f64>) {
    eventually(expression, || {
        let found = prometheus.by(label, expression);
        let same = found.len() == truth.len()
            && truth
                .iter()
                .all(|(key, value)| found.get(key).is_some_and(|f| is_exact(*f, *value)));
        if same { Ok(()) } else { Err(format!("{found:?}, not {truth:?}")) }
    });
}

fn log_of(mode: &str, scenario: &str) -> Vec<u8> {
    let name = |kind| recorded(&format!("orchestrated/{mode}/mozaiks.{scenario}{kind}.log"));
    fs::read(name("")).or_else(|_| fs::read(name(".filtered"))).unwrap()
}

/// Copies what a scenario added to AG2's database, as AG2 adds it: row by row, while it is read.
fn copy_rows(to: &Path, sessions: &[String]) {
    let from = recorded("orchestrated/sqlite/ag2_runtime.db");
    let mut connection = Connection::open(to).unwrap();
    let from = format!("file:{}?immutable=1", from.display());
    connection.execute("ATTACH ?1 AS recorded", [from]).unwrap();
    let known: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_master WHERE name = 'agents'", [], |row| row.get(0))
        .unwrap();
    if known == 0 {
        let mut query =
            connection.prepare("SELECT sql FROM recorded.sqlite_master WHERE sql <> ''").unwrap();
        let tables: Vec<String> =
            query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        drop(query);
        for table in tables {
            connection.execute(&table, []).unwrap();
        }
    }
    for session in sessions {
        let transaction = connection.transaction().unwrap();
        for table in ["agents", "chat_completions"] {
            let sql = format!(
                "INSERT INTO main.{table} SELECT * FROM recorded.{table} WHERE session_id = ?1"
            );
            transaction.execute(&sql, [session]).unwrap();
        }
        transaction
            .execute(
                "INSERT INTO main.function_calls SELECT f.* FROM recorded.function_calls f \
                 JOIN recorded.agents a ON a.agent_id = f.source_id WHERE a.session_id = ?1",
                [session],
            )
            .unwrap();
        transaction.commit().unwrap();
    }
}

/// The part of AG2's text log that begins with these sessions and ends before any other.
fn lines_of_sessions(sessions: &[String]) -> Vec<u8> {
    let log = fs::read(recorded("orchestrated/file/ag2_runtime.log")).unwrap();
    let mut part = Vec::new();
    let mut ours = false;
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b"Started new session") {
            ours = sessions.iter().any(|id| String::from_utf8_lossy(line).contains(id.as_str()));
        }
        if ours {
            part.extend_from_slice(line);
        }
    }
    part
}

fn sessions(log: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(log)
        .split('\n')
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["msg"] == "ag2_runtime_logging_started")
        .map(|line| line["extra"]["session_id"].as_str().unwrap().to_owned())
        .collect()
}

/// What was stored of each chat's usage, by the runtime itself.
fn stored(mode: &str, key: &str) -> BTreeMap<String, f64> {
    let truth = json(&recorded(&format!("orchestrated/{mode}/truth.json")));
    let mut stored = BTreeMap::new();
    for scenario in SCENARIOS {
        for (chat, usage) in truth["scenarios"][scenario]["stored_usage"].as_object().unwrap() {
            stored.insert(chat.clone(), usage[key].as_f64().unwrap_or(0.0));
        }
    }
    stored
}

/// How many calls AG2 wrote down that a model answered, as a look at its log shows: 2 of the 9 of
/// the chats that overlap are missing in its database, 3 in its text.
fn answered_calls(mode: &str) -> f64 {
    if mode == "sqlite" { 12.0 } else { 11.0 }
}

fn orchestrated(mode: &str) {
    let stage = Stage::new();
    let empty =
        serde_json::json!({"active_chats": 0, "tracked_chats": 0, "total_cost": 0, "chats": []});
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    {
        let mut world = stage.runtime.world();
        world.created = at("2026-11-22T01:19:00Z");
        world.clock = Some(at("2026-11-22T01:19:10Z"));
        world.routes.insert(AGGREGATE.to_owned(), Answer::json(&empty));
    }
    let mut exporter = stage.launch();
    let prometheus = Prometheus::start(exporter.address(), "200ms");
    prometheus.wait_for_a_scrape();
    for scenario in SCENARIOS {
        let log = log_of(mode, scenario);
        let sessions = sessions(&log);
        // The log is first, then AG2's, then the routes; halfway through, everything restarts.
        stage.append("mozaiks.log", &log);
        match mode {
            "file" => stage.append("ag2_runtime.log", &lines_of_sessions(&sessions)),
            _ => copy_rows(&stage.logs.path().join("ag2_runtime.db"), &sessions),
        }
        if scenario == "general" {
            exporter.kill();
            exporter = {
                let launch = Launch::new(stage.state.path()).runtime(&stage.runtime.url());
                let address = exporter.address().to_string();
                let launch = launch.flag("--web.listen-address", address);
                launch.env("LOGS_BASE_DIR", stage.logs.path()).start()
            };
        }
        let view = recorded(&format!("orchestrated/{mode}/perf_after_{scenario}.json"));
        let answer = Answer::body(fs::read(view).unwrap());
        stage.runtime.world().routes.insert(AGGREGATE.to_owned(), answer);
        stage.runtime.wait_for_polls(2);
    }

    let by_chat = |family: &str| format!("sum by (chat_id) (mozaiks_chat_{family})");
    for (family, key) in [
        ("prompt_tokens_total", "usage_prompt_tokens_final"),
        ("completion_tokens_total", "usage_completion_tokens_final"),
        ("cost_usd_total", "usage_total_cost_final"),
    ] {
        wait_for(&prometheus, &by_chat(family), "chat_id", &stored(mode, key));
    }
    let cost: f64 = stored(mode, "usage_total_cost_final").values().sum();
    let one = |value: f64| BTreeMap::from([(String::new(), value)]);
    for expression in [
        "sum(mozaiks_workflow_cost_usd_total)",
        "sum(mozaiks_agent_cost_usd_total{model=\"gpt-4o-mini\"})",
        "sum(mozaiks_user_cost_usd_total{user_id=~\"alice|bob|carol|dave|erin|frank\"})",
        // The blind witness is seen.
        "sum(mozaiks_exporter_witness_drift{source=\"scrape\",quantity=\"cost_usd\"})",
    ] {
        wait_for(&prometheus, expression, "", &one(cost));
    }
    for source in ["logs_calls", "ag2"] {
        let money = "quantity=\"cost_usd\"";
        let drift = format!("sum(mozaiks_exporter_witness_drift{{source=\"{source}\",{money}}})");
        wait_for(&prometheus, &drift, "", &one(0.0));
    }
    // Every increment was seen as one: each series began at 0 under Prometheus' eyes.
    let rises: f64 =
        prometheus.history("mozaiks_workflow_cost_usd_total").iter().map(Series::rise).sum();
    assert!(is_exact(rises, cost), "{rises}, not {cost}");

    let by = |label: &str, metric: &str, truth: &[(&str, f64)]| {
        let truth = truth.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        wait_for(&prometheus, &format!("sum by ({label}) ({metric}) > 0"), label, &truth);
    };
    by("outcome", "mozaiks_workflow_ends_total", &[("failed", 1.0), ("completed", 5.0)]);
    by("", "mozaiks_workflow_starts_total", &[("", 6.0)]);
    let answered = answered_calls(mode);
    by(
        "outcome",
        "mozaiks_llm_calls_total{cached=\"false\"}",
        &[("failed", 1.0), ("success", answered)],
    );
    by(
        "cached",
        "mozaiks_llm_calls_total{outcome=\"success\"}",
        &[("true", 1.0), ("false", answered)],
    );
    by("", "mozaiks_llm_call_duration_seconds_count", &[("", answered)]);
    // AG2's text log has no names of tools.
    let tool = if mode == "sqlite" { "lookup_order" } else { "unknown" };
    by("tool_name", "mozaiks_tool_calls_total", &[(tool, 5.0)]);
    by("", "mozaiks_workflow_tool_calls_total", &[("", 5.0)]);
    secrets_stay(&exporter, &stage);
}

/// Nothing of prompts, answers or keys is shown or kept.
fn secrets_stay(exporter: &Exporter, stage: &Stage) {
    let mut texts = vec![exporter.get("/metrics/prometheus").text(), exporter.log().join("\n")];
    for entry in fs::read_dir(stage.state.path()).unwrap() {
        texts.push(String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap()).into_owned());
    }
    for text in texts {
        for secret in ["sk-", "A customer asks", "order 42 ships", "STEP="] {
            assert!(!text.contains(secret), "{secret} has left the reader");
        }
    }
}

#[test]
fn orchestrated_chats_with_ag2s_database() {
    orchestrated("sqlite");
}

#[test]
fn orchestrated_chats_with_ag2s_text_log() {
    orchestrated("file");
}

/// What the log says of the chats, line by line, in sums that are none of ours.
fn told_by_lines(log: &[u8], msg: &str, cost: &str) -> Truth {
    let mut truth = Truth::new();
    for line in String::from_utf8_lossy(log).split('\n') {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        if line["msg"] != msg {
            continue;
        }
        let extra = &line["extra"];
        let number = |key: &str| extra[key].as_u64().unwrap();
        let turns = u64::from(msg == "agent_turn");
        truth.entry(extra["chat_id"].as_str().unwrap().to_owned()).or_default().add(&Figures {
            counts: [turns, 0, 0, number("prompt_tokens"), number("completion_tokens")],
            cost: extra[cost].as_f64().unwrap(),
        });
    }
    truth
}

/// The recorded life of a runtime that other code drives: turns in the routes and in the log, calls
/// in the log and in AG2's, and a restart between. Each chat is worth the highest of these.
#[test]
fn a_driven_runtime_is_worth_its_highest_witness() {
    let log = fs::read(recorded("logs/production_json/mozaiks.log")).unwrap();
    let stage = Stage::new();
    let events = Answer::recorded(&response("events_metrics_200")).to_json();
    let created: DateTime<Utc> = events["data"]["created"].as_str().unwrap().parse().unwrap();
    stage.runtime.world().routes.remove(EVENTS);
    let show = |name: &str| {
        let view = View::load(name);
        let first = FIRST_PROCESS.contains(&name);
        let restart = View::load(SECOND_PROCESS[0]).at - chrono::Duration::seconds(1);
        let mut world = stage.runtime.world();
        world.clock = Some(view.at);
        world.created = if first { created } else { restart };
        world.routes.insert(AGGREGATE.to_owned(), Answer::body(&view.aggregate));
        view.at
    };
    show(FIRST_PROCESS[0]);
    let exporter = stage.launch();
    let prometheus = Prometheus::start(exporter.address(), "200ms");
    prometheus.wait_for_a_scrape();
    let mut rest: &[u8] = &log;
    let mut tell = |until: Option<DateTime<Utc>>| {
        let mut end = 0;
        for line in rest.split_inclusive(|byte| *byte == b'\n') {
            let at: DateTime<Utc> = serde_json::from_slice::<Value>(line).unwrap()["ts"]
                .as_str()
                .unwrap()
                .parse()
                .unwrap();
            if until.is_some_and(|until| at > until) {
                break;
            }
            end += line.len();
        }
        stage.append("mozaiks.log", &rest[..end]);
        rest = &rest[end..];
    };
    for view in FIRST_PROCESS {
        tell(Some(show(view)));
        stage.runtime.wait_for_polls(2);
    }
    stage.append("ag2_runtime.log", &fs::read(recorded("ag2/ag2_runtime.log")).unwrap());
    for view in SECOND_PROCESS {
        tell(Some(show(view)));
        stage.runtime.wait_for_polls(2);
    }
    tell(None);
    fs::copy(recorded("ag2/ag2_runtime.db"), stage.logs.path().join("ag2_runtime.db")).unwrap();

    let polled = sums([&View::load(FIRST_PROCESS[4]), &View::load(SECOND_PROCESS[2])], "chats");
    let turns = told_by_lines(&log, "agent_turn", "cost_usd");
    let calls = told_by_lines(&log, "realtime_usage_delta", "cost");
    for (index, family) in Figures::FAMILIES.iter().enumerate().filter(|(n, _)| ![1, 2].contains(n))
    {
        let mut truth: BTreeMap<String, f64> = BTreeMap::new();
        for (chat, figures) in [&polled, &turns, &calls].into_iter().flatten() {
            let highest = truth.entry(chat.clone()).or_default();
            *highest = highest.max(figures.values()[index]);
        }
        let expression = format!("sum by (chat_id) (mozaiks_chat_{family})");
        wait_for(&prometheus, &expression, "chat_id", &truth);
        let total: f64 = truth.values().sum();
        let expression = format!("sum(mozaiks_workflow_{family})");
        wait_for(&prometheus, &expression, "", &BTreeMap::from([(String::new(), total)]));
    }
    let truth = json(&recorded("truth_final.json"));
    turns_and_calls_match(&prometheus, &truth);
}

/// Turns by agent and model, and calls by model, against the driver's own books.
fn turns_and_calls_match(prometheus: &Prometheus, truth: &Value) {
    let mut turns: BTreeMap<String, f64> = BTreeMap::new();
    for row in truth["turns_lifetime"].as_array().unwrap() {
        let agent = row["agent"].as_str().unwrap().to_owned();
        *turns.entry(agent).or_default() += row["turns"].as_f64().unwrap();
    }
    let query = "sum by (agent_name) (mozaiks_agent_turns_total) > 0";
    wait_for(prometheus, query, "agent_name", &turns);
    let all: f64 = turns.values().sum();
    let timed = "sum(mozaiks_agent_turn_duration_seconds_count)";
    let unobserved = "sum(mozaiks_agent_turns_unobserved_total)";
    let (timed, unobserved) = (prometheus.by("", timed)[""], prometheus.by("", unobserved)[""]);
    let whole = prometheus.by("", "sum(mozaiks_workflow_agent_turns_total)")[""];
    assert_eq!((whole, timed + unobserved), (all, all), "each turn once");
    assert!(timed > 0.5 * all, "{timed} of {all} turns were timed");

    let rows = truth["llm_lifetime"]["rows"].as_array().unwrap();
    let by_model = |value: fn(&Value) -> f64| {
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for row in rows {
            let model = row["model"].as_str().unwrap_or("unknown").to_owned();
            *sums.entry(model).or_default() += value(row);
        }
        sums.retain(|_, sum| *sum > 0.0);
        sums
    };
    for (filter, value) in [
        (
            "cached=\"false\",outcome=\"success\"",
            (|row| row["calls"].as_f64().unwrap()) as fn(&Value) -> f64,
        ),
        ("cached=\"true\"", |row| row["cached_calls"].as_f64().unwrap()),
        ("outcome=\"failed\"", |row| row["failed_calls"].as_f64().unwrap()),
    ] {
        let query = format!("sum by (model) (mozaiks_llm_calls_total{{{filter}}}) > 0");
        wait_for(prometheus, &query, "model", &by_model(value));
    }
}
