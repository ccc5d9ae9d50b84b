use std::borrow::Cow;

use proptest::prelude::*;

use super::*;
use crate::model::{About, Count, Event, Instant, Mono, NameRule, Timestamp, Usage, What};

const NOW: Instant =
    Instant { wall: Timestamp(1_795_312_023_000_000), mono: Mono(5_000_000_000_000) };

fn reader() -> Reader<'static> {
    Reader { runtime: "r", names: NameRule::new(64), failed_calls_count: false }
}

fn event(json: &str) -> Result<Event, String> {
    read(json.as_bytes(), reader(), NOW)
        .map(|read| read.delivery.content)
        .map_err(|error| error.to_string())
}

fn refusal(json: &str) -> String {
    event(json).unwrap_err()
}

#[test]
fn the_five_calls_are_read_under_their_own_names() {
    let what = |json: &str| event(json).unwrap().what;
    let start = event(
        r#"{"event":"workflow_start","chat_id":"c","app_id":"a","workflow_name":"w","user_id":"u",
            "ts":"2026-11-22T01:47:00Z","some":"other"}"#,
    );
    assert_eq!(
        start.unwrap(),
        Event {
            at: Timestamp(1_795_312_020_000_000),
            about: About::Chat("c".to_owned()),
            app_id: Some("a".to_owned()),
            workflow_name: Some("w".to_owned()),
            user_id: Some("u".to_owned()),
            what: What::Started,
        }
    );
    let usage =
        Usage { prompt_tokens: 1500, completion_tokens: 800, cost: "0.05".parse().unwrap() };
    let (agent, model) = ("planner".to_owned(), "gpt-4".to_owned());
    assert_eq!(
        what(
            r#"{"event":"agent_turn","chat_id":"c","agent_name":"planner","duration_sec":2.5,
                "model":"gpt-4","prompt_tokens":1500,"completion_tokens":800,"cost":0.05}"#
        ),
        What::Turn { agent: agent.clone(), model: model.clone(), usage, seconds: Some(2.5) }
    );
    let (cached, failed) = (false, false);
    assert_eq!(
        what(
            r#"{"event":"usage_delta","chat_id":"c","agent_name":"planner","model":"gpt-4",
                "prompt_tokens":1500,"completion_tokens":800,"cost":0.05,"duration_sec":null}"#
        ),
        What::Call { agent, model, usage, seconds: None, cached, failed }
    );
    let tool = "user_input".to_owned();
    assert_eq!(
        what(r#"{"event":"tool_call","chat_id":"c","tool_name":"user_input","success":false}"#),
        What::Tool { tool, ok: false, as_call: false, seconds: None }
    );
    assert_eq!(what(r#"{"event":"workflow_end","chat_id":"c"}"#), What::Ended);
    assert_eq!(what(r#"{"event":"workflow_end","chat_id":"c","success":false}"#), What::Aborted);
}

#[test]
fn what_is_wrong_is_said_with_its_field() {
    let turn = |rest: &str| {
        refusal(&format!(r#"{{"event":"agent_turn","chat_id":"c","agent_name":"a",{rest}}}"#))
    };
    for (rest, said) in [
        (r#""prompt_tokens":-1"#, "prompt_tokens is negative"),
        (r#""prompt_tokens":1.5"#, "prompt_tokens is not a whole number"),
        (r#""completion_tokens":1e300"#, "completion_tokens is larger than anything"),
        (r#""completion_tokens":"5""#, "completion_tokens is not a finite number"),
        (r#""cost":-0.5"#, "cost is negative"),
        (r#""cost":1e13"#, "cost is larger than anything"),
        (r#""cost":[]"#, "cost is not a finite number"),
        (r#""duration_sec":-1"#, "duration_sec is negative"),
        (r#""model":5"#, "model is not text"),
        (r#""model":"""#, "model is empty"),
        (r#""ts":"yesterday""#, "ts is no time"),
        (r#""event_id":7"#, "event_id is not text"),
    ] {
        assert!(turn(rest).starts_with(said), "{rest}: {}", turn(rest));
    }
    assert_eq!(refusal(r#"{"chat_id":"c"}"#), "event is missing");
    assert!(refusal(r#"{"event":"nap","chat_id":"c"}"#).starts_with("event is none of"));
    assert_eq!(refusal(r#"{"event":"workflow_end"}"#), "chat_id is missing");
    let start = r#"{"event":"workflow_start","chat_id":"c","app_id":"a"}"#;
    assert_eq!(refusal(start), "workflow_name is missing");
    let call = r#"{"event":"tool_call","chat_id":"c","tool_name":"t","success":"yes"}"#;
    assert_eq!(refusal(call), "success is neither true nor false");
    let long =
        format!(r#"{{"event":"workflow_end","chat_id":"c","event_id":"{}"}}"#, "x".repeat(257));
    assert_eq!(refusal(&long), "event_id is longer than 256 bytes");
    assert_eq!(refusal("[1]"), "is not an object");
    assert!(refusal(r#"{"event":"#).starts_with("is not JSON: EOF"));
}

#[test]
fn a_clock_far_off_gives_way_to_the_time_of_coming() {
    let at = |ts: &str| {
        let json = format!(r#"{{"event":"workflow_end","chat_id":"c","ts":{ts}}}"#);
        let read = read(json.as_bytes(), reader(), NOW).unwrap();
        (read.delivery.content.at, read.clock_was_off)
    };
    assert_eq!(at("null"), (NOW.wall, false));
    assert_eq!(at("1795312000.5"), (Timestamp(1_795_312_000_500_000), false));
    assert_eq!(at("1795312053"), (NOW.wall, false), "half a minute ahead");
    assert_eq!(at("1795312123"), (NOW.wall, true), "more than a minute ahead");
    assert!(!at("\"2026-11-16T01:47:03Z\"").1, "six days late");
    assert_eq!(at("0"), (NOW.wall, true));
}

#[test]
fn an_id_is_known_again_within_its_runtime() {
    let id = |runtime, id: &str| {
        let json = format!(r#"{{"event":"workflow_end","chat_id":"c","event_id":"{id}"}}"#);
        read(json.as_bytes(), Reader { runtime, ..reader() }, NOW).unwrap().delivery.id.unwrap()
    };
    assert_eq!(id("r", "a"), id("r", "a"));
    assert_ne!(id("r", "a"), id("r", "b"));
    assert_ne!(id("r", "a"), id("s", "a"));
}

fn texts(items: &Items<'_>) -> Vec<String> {
    (0..items.len())
        .filter_map(|index| items.get(index))
        .map(|item| String::from_utf8_lossy(&item).into_owned())
        .collect()
}

#[test]
fn bodies_come_in_three_shapes() {
    let take = |body: &str, shape| items(body.as_bytes(), shape, 3).map(|items| texts(&items));
    assert_eq!(take(" {\"a\": 1} ", Shape::Json).unwrap(), ["{\"a\": 1}"]);
    assert_eq!(take("[{},7,\"x\"]", Shape::Json).unwrap(), ["{}", "7", "\"x\""]);
    assert_eq!(take("[]", Shape::Json).unwrap(), [""; 0]);
    assert_eq!(take("{}\r\n\n{\"a\":", Shape::Lines).unwrap(), ["{}", "{\"a\":"]);
    assert_eq!(take("\u{feff}{}", Shape::Json).unwrap(), ["{}"]);
    assert_eq!(take("[{},{},{},{}", Shape::Json), Err(BodyError::TooMany(3)));
    assert_eq!(take("1\n2\n3\n4", Shape::Lines), Err(BodyError::TooMany(3)));
    assert_eq!(take(" \n", Shape::Json), Err(BodyError::Empty));
    for broken in ["{\"a\": 1", "[{}", "[{}] x", "{} {}", "nul"] {
        let error = take(broken, Shape::Json).unwrap_err();
        assert!(matches!(error, BodyError::Syntax(_)), "{broken}: {error}");
    }
}

#[test]
fn pythons_nan_costs_its_own_item_alone() {
    let body = br#"[{"event":"workflow_end","chat_id":"c"},
                    {"event":"usage_delta","chat_id":"c","cost":NaN}]"#;
    let items = items(body, Shape::Json, 10).unwrap();
    assert!(event(&texts(&items)[0]).is_ok());
    assert_eq!(refusal(&texts(&items)[1]), "cost is not a finite number");
}

#[test]
fn what_the_runtime_sends_is_understood() {
    let requests = include_str!("../../../tests/fixtures/runtime/usage_ingest/requests.jsonl");
    let mut ids = std::collections::HashSet::new();
    for request in requests.lines() {
        let request: serde_json::Value = serde_json::from_str(request).unwrap();
        let body = request["body"].as_str().unwrap();
        let told: serde_json::Value = serde_json::from_str(body).unwrap();
        let Summary { id, snapshot } = summary(body.as_bytes(), "r", NameRule::new(64)).unwrap();
        assert_eq!(snapshot.chat_id, told["chat_id"].as_str().unwrap());
        assert_eq!(snapshot.user_id, told["user_id"].as_str().unwrap());
        let tokens = snapshot.totals.counts[Count::PromptTokens as usize];
        assert_eq!(tokens, told["prompt_tokens"].as_u64());
        ids.insert((told["event_id"].as_str().unwrap().to_owned(), id));
    }
    assert!(ids.len() > 5 && ids.iter().all(|(_, id)| id.is_some()));
}

proptest! {
    #[test]
    fn any_bytes_are_items_or_are_refused(body: Vec<u8>, lines: bool) {
        let shape = if lines { Shape::Lines } else { Shape::Json };
        if let Ok(items) = items(&body, shape, 5) {
            for index in 0..items.len() {
                let item = items.get(index).unwrap_or(Cow::Borrowed(b""));
                let refused = read(&item, reader(), NOW).err().map(|error| error.to_string());
                prop_assert_ne!(refused.as_deref(), Some(""));
            }
        }
    }

    #[test]
    fn what_is_read_is_bounded_and_finite(
        field in "event|event_id|ts|chat_id|app_id|workflow_name|user_id|agent_name|model|cost|\
                  prompt_tokens|completion_tokens|duration_sec|success|tool_name",
        value in "-?[0-9]{1,20}(\\.[0-9]{1,5})?([eE]-?[0-9]{1,3})?|\"\\PC{0,99}\"|null|true|\\[\\]|\\{\\}",
        kind in "workflow_start|agent_turn|usage_delta|tool_call|workflow_end",
    ) {
        let json = format!(
            r#"{{"event":"{kind}","chat_id":"c","app_id":"a","workflow_name":"w","agent_name":"a",
                "tool_name":"t"}}"#
        );
        let mut object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&json).unwrap();
        if let Ok(value) = serde_json::from_str(&value) {
            object.insert(field, value);
        }
        let json = serde_json::Value::Object(object).to_string();
        let Ok(event) = event(&json) else { return Ok(()) };
        prop_assert!(event.at <= NOW.wall);
        let About::Chat(chat) = &event.about else { panic!("no chat") };
        prop_assert!(!chat.is_empty() && chat.len() <= 64);
        let seconds = match event.what {
            What::Turn { seconds, .. } | What::Call { seconds, .. } | What::Tool { seconds, .. } => seconds,
            _ => None,
        };
        prop_assert!(seconds.is_none_or(|s| s.is_finite() && s.is_sign_positive()));
    }
}
