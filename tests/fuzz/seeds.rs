//! What was recorded, taken apart into inputs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use mongodb::bson::Document;
use serde_json::Value;

const EVENTS: &str = r#"
{"event": "workflow_start", "chat_id": "c1", "app_id": "acme", "workflow_name": "Generator", "user_id": "u"}
{"event": "agent_turn", "chat_id": "c1", "agent_name": "planner", "model": "gpt-4", "duration_sec": 2.5, "prompt_tokens": 1500, "completion_tokens": 800, "cost": 0.05, "event_id": "a-unique-name", "ts": "2026-11-22T01:46:40Z"}
{"event": "usage_delta", "chat_id": "c1", "agent_name": "planner", "model": "gpt-4", "prompt_tokens": 10, "completion_tokens": "5", "cost": "0.01", "duration_sec": NaN}
{"event": "tool_call", "chat_id": "c1", "tool_name": "user_input", "success": false, "duration_sec": 0.2}
{"event": "workflow_end", "chat_id": "c1", "success": true, "ts": 1795312000.5}
{"event": "workflow_end", "chat_id": 17, "success": null, "user_id": "\u00e9"}
{"event": "unheard-of"}
"#;

const ACCEPT: &[&str] = &[
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "application/openmetrics-text; version=\"1.0.0\"; charset=utf-8",
    "text/plain;q=0, */*;q=0.5",
    "gzip, deflate, br, zstd",
    "gzip;q=0, *;q=1",
    "identity;q=1, *;q=0",
    "*/*",
    "text/*;q=0.001",
    "application/json",
    "",
];

/// The inputs of a target.
pub(crate) fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "snapshot" => snapshots(),
        "events" => events(),
        "usage" => usage(),
        "log_line" => lines(&[
            "logs/production_json/mozaiks.log",
            "logs/development_json/mozaiks.log",
            "logs/development_json/tools.log",
            "logs/production_pretty/mozaiks.log",
            "logs/production_pretty/tools.log",
            "logs/development_pretty/mozaiks.log",
            "logs/development_pretty/console.txt",
            "orchestrated/file/mozaiks.failing.filtered.log",
        ]),
        "ag2_lines" => ["ag2/ag2_runtime.log", "orchestrated/file/ag2_runtime.log"]
            .into_iter()
            .flat_map(|file| several(&recorded(file), 3))
            .collect(),
        "document" => documents(),
        "configuration" => configurations(),
        "accept" => ACCEPT.iter().map(|text| text.as_bytes().to_vec()).collect(),
        "redaction" => secrets(),
        other => panic!("no seeds for {other}"),
    }
}

/// Where secrets stand.
const SECRETS: &str = r#"
mongodb+srv://writer:p%40ss@db.example.com/MozaiksAI?retryWrites=true
Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJlMTIz
{"api_key": "sk-proj-0123456789abcdefghijABCDEFGHIJ", "password": 12345, "nested": {"token": ["a", "b"]}}
connect(password='it''s', user="x") --token abcdefgh -p hunter2 PGPASSWORD=x y
https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx?sig=a%3D&x=1
-----BEGIN RSA PRIVATE KEY-----
MIIEowIBAAKCAQEA0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM
-----END RSA PRIVATE KEY-----
total_tokens=17 prompt_tokens: 3 author=me "tokens": "none" key=value
"#;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn recorded(file: &str) -> Vec<u8> {
    fs::read(root().join("tests/fixtures/runtime").join(file)).unwrap()
}

/// What the routes answered.
fn snapshots() -> Vec<Vec<u8>> {
    let folder = root().join("tests/fixtures/runtime");
    let series = fs::read_dir(folder.join("series")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<Vec<u8>> =
        series.filter_map(|path| fs::read(path.join("aggregate.json")).ok()).collect();
    for form in ["file", "sqlite"] {
        for moment in ["concurrent", "failing", "general", "single"] {
            found.push(recorded(&format!("orchestrated/{form}/perf_after_{moment}.json")));
        }
    }
    // The other routes have the same chats, alone and one by one.
    let whole: Value = serde_json::from_slice(&recorded("series/01_early/aggregate.json")).unwrap();
    found.push(whole["chats"].to_string().into_bytes());
    found.extend(whole["chats"].as_array().unwrap().iter().map(|chat| chat.to_string().into()));
    for file in ["aggregate_500_nan_cost", "events_metrics_200", "health_500_database_down"] {
        let answer = recorded(&format!("http/{file}.http"));
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        found.push(answer[body..].to_vec());
    }
    found
}

fn events() -> Vec<Vec<u8>> {
    let mut found = vec![EVENTS.as_bytes().to_vec()];
    let all: Vec<&str> = EVENTS.lines().filter(|line| !line.is_empty()).collect();
    found.extend(all.iter().map(|line| line.as_bytes().to_vec()));
    found.push(format!("[{}]", all.join(",\n")).into_bytes());
    found.push(format!("\u{feff}[{}]", all[..2].join(",")).into_bytes());
    found
}

fn usage() -> Vec<Vec<u8>> {
    let lines = recorded("usage_ingest/requests.jsonl");
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let body =
        |line| serde_json::from_slice::<Value>(line).unwrap()["body"].as_str().map(str::to_owned);
    lines.filter_map(body).map(String::into_bytes).collect()
}

/// Lines, one of each kind: what differs in digits alone is the same.
fn lines(files: &[&str]) -> Vec<Vec<u8>> {
    let mut kinds = BTreeSet::new();
    let mut found = Vec::new();
    for file in files {
        for line in recorded(file).split(|byte| *byte == b'\n') {
            let bare = line.iter().filter(|byte| !byte.is_ascii_hexdigit()).copied();
            if kinds.insert(bare.collect::<Vec<u8>>()) {
                found.push(line.to_vec());
            }
        }
    }
    found
}

fn secrets() -> Vec<Vec<u8>> {
    let files =
        ["ag2_runtime.log", "mozaiks.log"].map(|file| format!("tests/fixtures/redact/{file}"));
    let mut all = SECRETS.as_bytes().to_vec();
    all.extend(files.iter().flat_map(|file| fs::read(root().join(file)).unwrap()));
    [several(&all, 1), several(&all, 3), vec![all]].concat()
}

/// So many lines at a time.
fn several(text: &[u8], number: usize) -> Vec<Vec<u8>> {
    let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    lines.chunks(number).map(|some| some.join(&b'\n')).collect()
}

fn documents() -> Vec<Vec<u8>> {
    let text = String::from_utf8(recorded("mongo/final/ChatSessions.jsonl")).unwrap();
    let read = |line: &str| -> Document { serde_json::from_str(line).unwrap() };
    let bytes = |document: Document| {
        let mut bytes = Vec::new();
        document.to_writer(&mut bytes).unwrap();
        bytes
    };
    text.lines().filter(|line| !line.is_empty()).map(|line| bytes(read(line))).collect()
}

/// What the documents show, and each line of it alone.
fn configurations() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for file in ["README.md", "docs/mongodb.md"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        for block in text.split("```yaml\n").skip(1) {
            let block = block.split("```").next().unwrap();
            found.push(block.as_bytes().to_vec());
            found.extend(block.lines().map(|line| line.as_bytes().to_vec()));
        }
    }
    found
}
