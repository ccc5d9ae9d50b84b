//! What is pushed: counted once, kept before it is answered, and refused in words.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::exporter::Launch;
use crate::support::wait::{eventually, pause};

pub(crate) const EVENTS: &str = "/api/v1/events";
const INGEST: &str = "/usage/ingest";
pub(crate) const DESK: [(&str, &str); 2] = [("app_id", "acme"), ("workflow_name", "Desk")];

/// Headers, body, status, words of the answer.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

/// An exporter that nobody but those who push tells anything.
pub(crate) fn launch(state: &std::path::Path) -> Launch {
    Launch::new(state).runtime("app=")
}

pub(crate) fn start(chat: &str) -> Value {
    json!({"event": "workflow_start", "chat_id": chat, "app_id": "acme", "workflow_name": "Desk",
        "user_id": "alice"})
}

pub(crate) fn turn(chat: &str) -> Value {
    json!({"event": "agent_turn", "chat_id": chat, "agent_name": "planner", "model": "gpt-4",
        "duration_sec": 2.5, "prompt_tokens": 1500, "completion_tokens": 800, "cost": 0.05})
}

pub(crate) fn end(chat: &str, success: bool) -> Value {
    json!({"event": "workflow_end", "chat_id": chat, "success": success})
}

#[test]
fn the_recording_api_fills_the_state_the_series_and_the_families_of_events() {
    let dir = tempfile::tempdir().unwrap();
    let mut exporter = launch(dir.path()).start();
    let call = |success: bool| {
        json!({"event": "tool_call", "chat_id": "c", "tool_name": "user_input",
            "success": success, "duration_sec": 0.02})
    };
    let usage = json!({"event": "usage_delta", "chat_id": "c", "agent_name": "helper",
        "model": "gpt-4o", "prompt_tokens": 10, "completion_tokens": 5, "cost": 0.001,
        "duration_sec": 0.7});
    let batch = json!([start("c"), turn("c"), usage, call(true), call(false)]);
    let answer = exporter.push(EVENTS, &batch);
    assert_eq!(answer.status, 202, "{}", answer.text());
    let said =
        json!({"accepted": 5, "duplicates": 0, "rejected": 0, "errors": [], "durable": true});
    assert_eq!(answer.json(), said);

    let chat = exporter.get("/metrics/perf/chats/c").json();
    let started = chat["started_at"].as_str().unwrap();
    assert!(started.ends_with('Z') && chat["runtime_sec"].as_f64().unwrap() >= 0.0, "{chat}");
    for (key, value) in [
        ("app_id", json!("acme")),
        ("workflow_name", json!("Desk")),
        ("user_id", json!("alice")),
        ("ended_at", Value::Null),
        ("agent_turns", json!(1)),
        ("tool_calls", json!(1)),
        ("errors", json!(1)),
        ("last_turn_duration_sec", json!(2.5)),
        ("prompt_tokens", json!(1510)),
        ("completion_tokens", json!(805)),
        ("cost", json!(0.051)),
    ] {
        assert_eq!(chat[key], value, "{key}");
    }
    let aggregate = exporter.get("/metrics/perf/aggregate").json();
    assert_eq!(aggregate["active_chats"], 1);
    assert_eq!(aggregate["total_cost"], 0.051);
    assert_eq!(aggregate["chats"][0]["chat_id"], "c");

    exporter.wait_for("mozaiks_workflow_cost_usd_total", &DESK, 0.051);
    let shown = exporter.scrape();
    let agent = |name, model| [DESK[0], DESK[1], ("agent_name", name), ("model", model)];
    let planner = agent("planner", "gpt-4");
    assert_eq!(shown.value("mozaiks_agent_turns_total", &planner), Some(1.0));
    assert_eq!(shown.value("mozaiks_agent_turn_duration_seconds_sum", &planner), Some(2.5));
    let helper = agent("helper", "gpt-4o");
    assert_eq!(shown.value("mozaiks_agent_prompt_tokens_total", &helper), Some(10.0));
    let model = [DESK[0], DESK[1], ("model", "gpt-4o")];
    assert_eq!(shown.value("mozaiks_llm_call_duration_seconds_sum", &model), Some(0.7));
    let failed = [DESK[0], DESK[1], ("tool_name", "user_input"), ("outcome", "failed")];
    assert_eq!(shown.value("mozaiks_tool_calls_total", &failed), Some(1.0));
    let quick = [failed[0], failed[1], failed[2], failed[3], ("le", "0.025")];
    assert_eq!(shown.value("mozaiks_tool_call_duration_seconds_bucket", &quick), Some(1.0));

    assert_eq!(exporter.push(EVENTS, &end("c", true)).status, 202);
    exporter.wait_for(
        "mozaiks_workflow_ends_total",
        &[DESK[0], DESK[1], ("outcome", "completed")],
        1.0,
    );
    exporter.kill();
    let exporter = launch(dir.path()).start();
    let chat = exporter.get("/metrics/perf/chats/c").json();
    assert_eq!((chat["agent_turns"].as_u64(), chat["cost"].as_f64()), (Some(1), Some(0.051)));
    assert!(chat["ended_at"].is_string());
}

#[test]
fn a_bad_item_costs_itself_and_a_known_id_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut exporter = launch(dir.path()).start();
    let known = |mut event: Value, id: &str| {
        event["event_id"] = json!(id);
        event
    };
    let bad = json!({"event": "agent_turn", "chat_id": "c", "agent_name": "a", "cost": -1});
    let batch = json!([known(start("c"), "1"), bad, known(turn("c"), "2"), 7]);
    let answer = exporter.push(EVENTS, &batch);
    assert_eq!(answer.status, 202);
    let errors = json!([{"index": 1, "error": "cost is negative"},
        {"index": 3, "error": "is not an object"}]);
    let said =
        json!({"accepted": 2, "duplicates": 0, "rejected": 2, "errors": errors, "durable": true});
    assert_eq!(answer.json(), said);
    let again = exporter.push(EVENTS, &batch).json();
    assert_eq!((again["accepted"].as_u64(), again["duplicates"].as_u64()), (Some(0), Some(2)));
    exporter.kill();
    let exporter = launch(dir.path()).start();
    let again = exporter.push(EVENTS, &batch).json();
    assert_eq!((again["accepted"].as_u64(), again["duplicates"].as_u64()), (Some(0), Some(2)));
    assert_eq!(exporter.get("/metrics/perf/chats/c").json()["agent_turns"], 1);
    let shown = exporter.scrape();
    let turns = [("event", "agent_turn"), ("result", "duplicate")];
    assert_eq!(shown.value("mozaiks_exporter_events_total", &turns), Some(1.0));
    let negative = shown.value("mozaiks_exporter_events_rejected_total", &[("reason", "negative")]);
    assert_eq!(negative, Some(1.0));
}

#[test]
fn lines_and_gzip_are_taken_as_curl_sends_them() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = launch(dir.path()).start();
    let lines = format!("{}\n{{\"event\": \"agent_tu\n\n{}\n", start("c"), turn("c"));
    let file = dir.path().join("events.ndjson.gz");
    let mut gzip = GzEncoder::new(std::fs::File::create(&file).unwrap(), Compression::default());
    gzip.write_all(lines.as_bytes()).unwrap();
    gzip.finish().unwrap();
    let url = format!("http://{}{EVENTS}", exporter.control());
    let curl = std::process::Command::new("curl")
        .args(["-sS", "-H", "Content-Type: application/x-ndjson", "-H", "Content-Encoding: gzip"])
        .args(["--data-binary", &format!("@{}", file.display()), &url])
        .output()
        .unwrap();
    assert!(curl.status.success(), "{}", String::from_utf8_lossy(&curl.stderr));
    let said: Value = serde_json::from_slice(&curl.stdout).unwrap();
    assert_eq!(
        (said["accepted"].as_u64(), said["errors"][0]["index"].as_u64()),
        (Some(2), Some(1))
    );
}

#[test]
fn what_cannot_be_taken_is_refused_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = launch(dir.path()).start();
    let json = ("content-type", "application/json");
    let gzip = ("content-encoding", "gzip");
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![b' '; 40 << 20]).unwrap();
    let bomb = bomb.finish().unwrap();
    let millions = format!("[{}0]", "0,".repeat(3_000_000));
    let cases: [Case<'_>; 12] = [
        (&[json], b"{\"event\": \"agent_tu", 400, "not JSON: EOF"),
        (&[json], b"", 400, "empty"),
        (&[json], b"\xff\xfe{}", 400, "not JSON"),
        (&[json], b"[{}, {}", 400, "not JSON"),
        (&[json, gzip], b"{}", 400, "not gzip"),
        (&[json, gzip], &bomb, 413, "larger than 32 MiB"),
        (&[json], &vec![b' '; 9 << 20], 413, "larger than 8 MiB"),
        (&[json], millions.as_bytes(), 413, "more than 10000 items"),
        (&[("content-type", "text/html")], b"{}", 415, "application/json"),
        (&[json, ("content-encoding", "br")], b"{}", 415, "gzip"),
        (&[json], b"[{}]", 422, "event is missing"),
        (&[json], b"[1, {\"event\": \"nap\"}]", 422, "event is none of"),
    ];
    for (headers, body, status, words) in cases {
        let answer = exporter.push_with(EVENTS, headers, body);
        let text = answer.text();
        assert_eq!(answer.status, status, "{text}");
        assert!(text.contains(words), "{text}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let unknown = exporter.push("/api/v1/events?runtime=b%20c", &start("c"));
    assert_eq!(unknown.status, 422);
    assert!(unknown.text().contains("there is app"), "{}", unknown.text());
    assert_eq!(exporter.push("/api/v1/events?runtime=app", &start("c")).status, 202);
    let answer = crate::support::http::get(exporter.control(), EVENTS, &[]).unwrap();
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    assert_eq!(exporter.push("/api/v2/events", &start("c")).status, 404);
}

#[test]
fn what_comes_late_early_or_for_nobody_has_one_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let args = [("--logs.introduction-wait", "2s"), ("--chat.abandoned-after", "3s")];
    let exporter = args.iter().fold(launch(dir.path()), |l, (k, v)| l.flag(k, v)).start();
    // The start is overtaken by what follows it.
    exporter.push(EVENTS, &turn("late"));
    assert_eq!(exporter.get("/metrics/perf/chats/late").status, 404);
    exporter.push(EVENTS, &start("late"));
    let late = exporter.get("/metrics/perf/chats/late").json();
    assert_eq!((late["agent_turns"].as_u64(), late["user_id"].as_str()), (Some(1), Some("alice")));
    // Names on any event introduce a chat as well.
    let mut named = turn("named");
    named["app_id"] = json!("acme");
    named["workflow_name"] = json!("Desk");
    exporter.push(EVENTS, &named);
    assert_eq!(exporter.get("/metrics/perf/chats/named").json()["user_id"], "unknown");
    // Nobody ever says whose it is.
    exporter.push(EVENTS, &turn("stranger"));
    // After the end it counts; the chat lives on only if it moves later than its end.
    exporter.push(EVENTS, &json!([start("done"), end("done", false), turn("done")]));
    let done = exporter.get("/metrics/perf/chats/done").json();
    assert_eq!((done["agent_turns"].as_u64(), done["ended_at"].is_string()), (Some(1), true));
    // The same id starts anew: a new beginning, and counters that go on.
    pause(Duration::from_millis(5));
    exporter.push(EVENTS, &start("done"));
    let anew = exporter.get("/metrics/perf/chats/done").json();
    assert_eq!((anew["agent_turns"].as_u64(), &anew["ended_at"]), (Some(1), &Value::Null));
    assert!(anew["started_at"].as_str() > done["started_at"].as_str());
    let mut ancient = turn("named");
    ancient["ts"] = json!("1999-01-01T00:00:00Z");
    exporter.push(EVENTS, &ancient);
    let shown = exporter.scrape();
    assert_eq!(shown.value("mozaiks_exporter_event_clocks_corrected_total", &[]), Some(1.0));
    exporter.wait_for("mozaiks_workflow_starts_total", &DESK, 4.0);
    let ends = |outcome| [DESK[0], DESK[1], ("outcome", outcome)];
    exporter.wait_for("mozaiks_workflow_ends_total", &ends("failed"), 1.0);
    let unknown = [("app_id", "unknown"), ("workflow_name", "unknown")];
    exporter.wait_for("mozaiks_workflow_agent_turns_total", &unknown, 1.0);
    // late, named and done fall silent.
    exporter.wait_for("mozaiks_workflow_ends_total", &ends("abandoned"), 3.0);
}

#[test]
fn the_usage_ingest_gives_the_runtimes_retries_what_they_need() {
    let dir = tempfile::tempdir().unwrap();
    let mut exporter = launch(dir.path()).start();
    let summary = |id: &str, prompt: u64, completion: u64| {
        json!({"event_id": id, "event_ts": "2026-11-22T01:47:03.696011+00:00",
            "chat_id": "generalchat-acme-alice-0001", "app_id": "acme", "user_id": "alice",
            "workflow_name": "GeneralCapability", "prompt_tokens": prompt,
            "completion_tokens": completion, "total_tokens": prompt + completion})
    };
    assert_eq!(exporter.push(INGEST, &summary("7cd20dc36dad", 100, 7)).status, 202);
    assert_eq!(exporter.push(INGEST, &summary("7cd20dc36dad", 100, 7)).status, 409);
    // A later one overtakes an earlier one.
    assert_eq!(exporter.push(INGEST, &summary("7cd20dc36dae", 300, 21)).status, 202);
    assert_eq!(exporter.push(INGEST, &summary("7cd20dc36daf", 200, 14)).status, 202);
    exporter.kill();
    let exporter = launch(dir.path()).start();
    assert_eq!(exporter.push(INGEST, &summary("7cd20dc36daf", 200, 14)).status, 409);
    let general = [("app_id", "acme"), ("workflow_name", "GeneralCapability")];
    exporter.wait_for("mozaiks_workflow_prompt_tokens_total", &general, 300.0);
    exporter.wait_for("mozaiks_workflow_completion_tokens_total", &general, 21.0);
    // It tells of no money, so these tokens are not without a price.
    exporter.wait_for("mozaiks_workflow_unpriced_tokens_total", &general, 0.0);
    for (body, status) in [
        (json!({"event_id": "x"}), 422),
        (json!({"chat_id": "c", "prompt_tokens": -5}), 422),
        (json!([]), 400),
    ] {
        assert_eq!(exporter.push(INGEST, &body).status, status, "{body}");
    }
}

#[test]
fn with_a_token_only_who_shows_it_may_push() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let exporter = launch(dir.path()).flag("--control.token-file", &token).start();
    let push = |headers: &[(&str, &str)]| {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        exporter.push_with(EVENTS, &all, start("c").to_string().as_bytes())
    };
    let refused = push(&[]);
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert_eq!(push(&[("authorization", "Bearer wrong")]).status, 401);
    assert_eq!(push(&[("authorization", "Bearer s3cret")]).status, 202);
    // What becomes of http://any:s3cret@host/usage/ingest in the runtime.
    let url = format!("http://any:s3cret@{}{INGEST}", exporter.control());
    let curl = std::process::Command::new("curl")
        .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H"])
        .args(["Content-Type: application/json", "-d", "{\"chat_id\":\"c\"}", &url])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&curl.stdout), "202");
}

#[test]
fn where_nothing_can_be_kept_nothing_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut exporter = launch(dir.path()).file_limit_kib(512).start();
    let mut acknowledged = 0;
    let mut refused = 0;
    let mut pending = Vec::new();
    for n in 0..4000 {
        let mut event = turn(&format!("chat-{n}-{}", "x".repeat(200)));
        event["event_id"] = json!(format!("{n}"));
        event["app_id"] = json!("acme");
        event["workflow_name"] = json!("Desk");
        let answer = exporter.push(EVENTS, &event);
        match answer.status {
            202 => acknowledged += 1,
            503 => {
                assert_eq!(answer.header("retry-after"), Some("1"));
                refused += 1;
                pending.push(event);
            }
            other => panic!("{other}: {}", answer.text()),
        }
        if refused == 3 {
            break;
        }
    }
    assert!(acknowledged > 10 && refused == 3, "{acknowledged} {refused}");
    exporter.lift_file_limit();
    for event in pending {
        eventually("it is acknowledged after all", || match exporter.push(EVENTS, &event).status {
            202 => Ok(()),
            status => Err(status.to_string()),
        });
        acknowledged += 1;
    }
    exporter.kill();
    let exporter = launch(dir.path()).start();
    exporter.wait_for("mozaiks_workflow_agent_turns_total", &DESK, f64::from(acknowledged));
}
