//! The JSON form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::{NOW, fixture, line, lines, names};
use crate::model::{About, Event, Level, Timestamp, Usage, Usd, What};
use crate::sources::logs::{Flaw, Read, read};
use crate::sources::value::Refusal;

const RECORDED: [&str; 10] = [
    "logs/production_json/mozaiks.log",
    "logs/development_json/mozaiks.log",
    "orchestrated/file/mozaiks.single.filtered.log",
    "orchestrated/file/mozaiks.failing.filtered.log",
    "orchestrated/file/mozaiks.general.filtered.log",
    "orchestrated/file/mozaiks.concurrent.filtered.log",
    "orchestrated/sqlite/mozaiks.single.log",
    "orchestrated/sqlite/mozaiks.failing.filtered.log",
    "orchestrated/sqlite/mozaiks.general.filtered.log",
    "orchestrated/sqlite/mozaiks.concurrent.filtered.log",
];

#[test]
fn every_recorded_line_counts_by_its_level_and_logger() {
    for path in RECORDED {
        let bytes = fixture(path);
        let mut counted = BTreeMap::<(String, String), u64>::new();
        let mut expected = BTreeMap::<(String, String), u64>::new();
        let mut echoes = (0, 0);
        for bytes in lines(&bytes) {
            let text = str::from_utf8(bytes).unwrap();
            let value: Value = serde_json::from_str(&text.replace(": NaN", ": null")).unwrap();
            let word = |key: &str| value[key].as_str().unwrap().to_owned();
            *expected.entry((word("level"), word("logger"))).or_default() += 1;
            let asked = ["PERF_SINGLETON: Using", "Auth disabled - using an", "health_check_dur"];
            echoes.1 += i32::from(asked.iter().any(|asked| word("msg").contains(asked)));
            let line = line(bytes);
            let key = (line.level.label().to_owned(), line.logger.into_owned());
            *counted.entry(key).or_default() += 1;
            echoes.0 += i32::from(line.echo);
            let is_nan = text.contains(": NaN");
            let flaw = is_nan.then_some(Flaw::Value(Refusal::NotANumber));
            assert_eq!(line.flaw, flaw, "{path}");
        }
        assert_eq!(counted, expected, "{path}");
        assert_eq!(echoes.0, echoes.1, "{path}");
    }
}

/// The slow way over a whole line and the fast way over its first keys say the same.
#[test]
fn a_line_in_another_order_says_the_same() {
    for path in RECORDED {
        for bytes in lines(&fixture(path)) {
            let text = str::from_utf8(bytes).unwrap();
            let (ts, rest) = text.split_once(", \"level\"").unwrap();
            let (rest, ts) = (rest.trim_end_matches('}'), ts.trim_start_matches('{'));
            let open = text.len() - text.trim_end_matches('}').len() - 1;
            let other = format!("{{\"level\"{rest}{}, {ts}}}", "}".repeat(open));
            assert_eq!(line(other.as_bytes()), line(bytes), "{path}");
        }
    }
}

fn event_line(logger: &str, message: &str, extra: &str) -> String {
    format!(
        "{{\"ts\": \"2026-11-22T01:47:03.388461+00:00\", \"level\": \"INFO\", \"logger\": \
         \"{logger}\", \"msg\": \"{message}\", \"line\": 1, \"extra\": {extra}}}"
    )
}

fn tool(extra: &str) -> (Option<What>, Option<Flaw>) {
    let text = event_line("mozaiks.workflow", "tool_call", extra);
    let line = line(text.as_bytes());
    (line.event.map(|event| event.what), line.flaw)
}

fn called(extra: &str) -> (Option<What>, Option<Flaw>) {
    let logger = "core.observability.realtime_token_logger";
    let text = event_line(logger, "realtime_usage_delta", &format!("{{\"chat_id\":\"c\"{extra}}}"));
    let line = line(text.as_bytes());
    (line.event.map(|event| event.what), line.flaw)
}

#[test]
fn a_line_without_a_chat_counts_and_tells_nothing() {
    for extra in ["{}", "{\"chat_id\": \"\"}", "{\"chat_id\": null}", "null"] {
        assert_eq!(tool(extra), (None, Some(Flaw::NoChat)), "{extra}");
    }
    assert_eq!(tool("[1]"), (None, Some(Flaw::Shape)));
    assert_eq!(tool("{\"chat_id\": [1]}"), (None, Some(Flaw::Value(Refusal::NotText))));
    assert_eq!(tool("{\"chat_id\": \"c\"}"), (None, Some(Flaw::NotABool)));
    let ok = What::Tool { tool: "unknown".to_owned(), ok: true, as_call: true, seconds: None };
    assert_eq!(tool("{\"chat_id\": \"c\", \"success\": true}"), (Some(ok), None));
}

#[test]
fn a_call_without_use_failed_unless_it_was_cached() {
    let of = |extra: &str| match called(extra) {
        (Some(What::Call { usage, seconds, cached, failed, model, .. }), flaw) => {
            (usage.prompt_tokens, seconds, cached, failed, model, flaw)
        }
        other => panic!("{other:?}"),
    };
    let m = || "unknown".to_owned();
    assert_eq!(of(""), (0, None, false, true, m(), None));
    assert_eq!(of(",\"duration_sec\":0.0"), (0, None, false, true, m(), None));
    assert_eq!(of(",\"duration_sec\":1.5"), (0, Some(1.5), false, true, m(), None));
    assert_eq!(of(",\"cached\":true,\"model\":null"), (0, None, true, false, m(), None));
    assert_eq!(of(",\"cached\":true,\"prompt_tokens\":5"), (0, None, true, false, m(), None));
    assert_eq!(of(",\"prompt_tokens\":5"), (5, None, false, false, m(), None));
    let flaw = |refusal| Some(Flaw::Value(refusal));
    let negative = flaw(Refusal::Negative);
    assert_eq!(of(",\"prompt_tokens\":-5"), (0, None, false, false, m(), negative));
    assert_eq!(of(",\"duration_sec\":-1,\"cost\":1"), (0, None, false, false, m(), negative));
    let large = flaw(Refusal::TooLarge);
    assert_eq!(of(",\"duration_sec\":1e10,\"cost\":1"), (0, None, false, false, m(), large));
    assert_eq!(of(",\"cached\":1,\"cost\":1"), (0, None, false, false, m(), Some(Flaw::NotABool)));
    let nan = flaw(Refusal::NotANumber);
    assert_eq!(of(",\"cost\":-Infinity"), (0, None, false, false, m(), nan));
}

#[test]
fn a_session_is_opened_with_its_id_or_not_at_all() {
    let opened = |extra: &str| {
        let text =
            event_line("core.observability.ag2.runtime", "ag2_runtime_logging_started", extra);
        let line = line(text.as_bytes());
        (line.event, line.flaw)
    };
    let full = "{\"chat_id\":\"c\",\"workflow_name\":\"W\",\"app_id\":\"a\",\"session_id\":\"s\"}";
    let event = Event {
        at: Timestamp(1_795_312_023_388_461),
        about: About::Chat("c".to_owned()),
        app_id: Some("a".to_owned()),
        workflow_name: Some("W".to_owned()),
        user_id: None,
        what: What::SessionOpened { session_id: "s".to_owned() },
    };
    assert_eq!(opened(full), (Some(event), None));
    assert_eq!(opened("{\"chat_id\":\"c\"}"), (None, Some(Flaw::NoSession)));
}

#[test]
fn a_torn_line_counts_by_what_is_left_of_it() {
    const BEGINNING: &str = "{\"ts\": \"";
    let text = event_line("mozaiks.workflow", "agent_turn", "{\"chat_id\": \"c\"}");
    let cut = |at: usize| read(text.split_at(at).0.as_bytes(), names(), NOW);
    for at in 0..text.len() {
        match cut(at) {
            Read::Line(line) => {
                assert_eq!((line.level, &*line.logger), (Level::Info, "mozaiks.workflow"));
                assert_eq!(line.event, None);
            }
            Read::Unreadable(flaw) => assert!(at >= BEGINNING.len() && flaw == Flaw::Shape),
            Read::Continuation => assert!(at < BEGINNING.len()),
        }
    }
    let Read::Line(line) = cut(text.len() - 1) else { panic!("it still has its first keys") };
    assert_eq!(line.flaw, Some(Flaw::Shape));
}

#[test]
fn what_is_no_line_is_told_apart() {
    let of = |text: &str| match read(text.as_bytes(), names(), NOW) {
        Read::Line(_) => panic!("{text}"),
        Read::Continuation => None,
        Read::Unreadable(flaw) => Some(flaw),
    };
    assert_eq!(of(""), None);
    assert_eq!(of("{"), None);
    assert_eq!(of("{\"a\": 1}"), None);
    assert_eq!(of("Traceback (most recent call last):"), None);
    assert_eq!(of("2026-11-22 01:47:03 INFO [core.tools.x] tool:start (info) | extra=x"), None);
    assert_eq!(of("{\"ts\": \"x\", \"level\": \"LOUD\", \"logger\": \"a\"}"), Some(Flaw::Level));
    assert_eq!(of("{\"ts\": \"x\", \"level\": \"INFO\""), Some(Flaw::Shape));
}

#[test]
fn names_of_loggers_are_bounded() {
    let long = event_line(&"l".repeat(600), "m", "null");
    assert!(line(long.as_bytes()).logger.len() <= 512);
    assert_eq!(line(event_line("", "m", "null").as_bytes()).logger, "unknown");
    assert_eq!(line(event_line("a\\u0041\\\"", "m", "null").as_bytes()).logger, "aA\"");
}

#[test]
fn a_time_that_cannot_be_read_is_the_time_of_reading() {
    let text = event_line("mozaiks.workflow", "workflow_start", "{\"chat_id\": \"c\"}");
    let line = line(text.replace("2026-11-22T", "yesterday ").leak().as_bytes());
    assert_eq!(line.flaw, Some(Flaw::Time));
    assert_eq!(line.event.unwrap().at, NOW);
}

/// As Python's `json.dumps(text, ensure_ascii=False)` writes it.
fn dumped(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes: Vec<u8>) {
        read(&bytes, names(), NOW);
    }

    #[test]
    fn a_line_with_any_bytes_changed_is_read(
        changes in proptest::collection::vec((0_usize..600, any::<u8>()), 0..8),
    ) {
        let text = event_line(
            "core.observability.realtime_token_logger", "realtime_usage_delta",
            "{\"chat_id\": \"c\", \"agent\": \"a\", \"cost\": 0.5, \"cached\": false}",
        );
        let mut bytes = text.into_bytes();
        let len = bytes.len();
        for (at, byte) in changes {
            bytes[at % len] = byte;
        }
        read(&bytes, names(), NOW);
    }

    #[test]
    fn any_field_is_read(
        field in prop_oneof!["chat_id", "cost", "duration_sec", "agent", "cached", "success"],
        value in prop_oneof![
            any::<f64>().prop_map(|number| format!("{number}")),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| dumped(&text)),
            "[\\[\\]{},:\"NaInfty0-9eE.+-]{0,12}",
        ],
        kind in prop_oneof!["agent_turn", "tool_call", "usage_delta_recorded", "workflow_start"],
    ) {
        let extra = format!("{{\"chat_id\": \"c\", \"success\": true, \"{field}\": {value}}}");
        let text = event_line("mozaiks.workflow", &kind, &extra);
        let line = line(text.as_bytes());
        prop_assert!(line.event.is_some() || line.flaw.is_some());
    }

    #[test]
    fn a_turn_is_read_as_it_was_written(
        chat in "\\PC{1,40}|[\\x00-\\x7f]{1,40}|.{1,40}",
        agent: String,
        tokens in 0_u64..1 << 53,
        micros in 0_u32..,
        seconds in 1e-9..1e6,
    ) {
        let dollars = f64::from(micros) / 1e6;
        let cost = Usd::from_f64(dollars).unwrap();
        let extra = format!(
            "{{\"chat_id\": {}, \"workflow\": \"W\", \"app_id\": \"a\", \"agent\": {}, \
             \"model\": \"m\", \"prompt_tokens\": {tokens}, \"completion_tokens\": 3, \
             \"cost_usd\": {:e}, \"duration_sec\": {seconds:?}}}",
            dumped(&chat), dumped(&agent), dollars,
        );
        let text = event_line("mozaiks.workflow", "agent_turn", &extra);
        let line = line(text.as_bytes());
        let name = |name: String| names().bound_or_unknown(Some(Cow::Owned(name))).into_owned();
        prop_assert_eq!(line.flaw, None);
        prop_assert_eq!(line.event, Some(Event {
            at: Timestamp(1_795_312_023_388_461),
            about: About::Chat(name(chat)),
            app_id: Some("a".to_owned()),
            workflow_name: Some("W".to_owned()),
            user_id: None,
            what: What::Turn {
                agent: name(agent),
                model: "m".to_owned(),
                usage: Usage { prompt_tokens: tokens, completion_tokens: 3, cost },
                seconds: Some(seconds),
            },
        }));
    }
}
