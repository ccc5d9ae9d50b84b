use proptest::prelude::*;

use super::*;
use crate::model::{About, UNKNOWN, Usd};
use crate::sources::ag2::Flaw;
use crate::sources::value::Refusal;

/// A record of a model call, with these fields in place of the usual ones.
fn record(response: &str, more: &str) -> String {
    format!(
        "{{\"invocation_id\": \"i\", \"request\": {{\"messages\": [], \"model\": \"asked\"}}, \
         \"response\": {response}, {more}, \"start_time\": \"2026-11-22 01:45:50.500000\", \
         \"end_time\": \"2026-11-22 01:45:52\", \"source_name\": \"A\"}}"
    )
}

fn read(line: &str) -> Read {
    Lines::new(names(), None).read(line.as_bytes(), NOW)
}

/// Tokens, cost, cached, failed, model.
fn call(line: &str) -> ((u64, u64), Usd, bool, bool, String) {
    match read(line).event.unwrap().what {
        What::Call { usage, cached, failed, model, .. } => {
            let tokens = (usage.prompt_tokens, usage.completion_tokens);
            (tokens, usage.cost, cached, failed, model)
        }
        other => panic!("{other:?}"),
    }
}

fn usd(text: &str) -> Usd {
    text.parse().unwrap()
}

const PLAIN: &str = "\"is_cached\": 0, \"cost\": 1e-07";

#[test]
fn an_answer_is_understood_in_each_of_its_forms() {
    let expected = ((12, 34), usd("0.0000001"), false, false, "m".to_owned());
    let object = r#"{"model": "m", "usage": {"prompt_tokens": 12, "completion_tokens": 34}}"#;
    let repr = "C(choices=[Choice(content='usage=X(prompt_tokens=9)')], model='m', \
                usage=CompletionUsage(completion_tokens=34, prompt_tokens=12))";
    let text = |text: &str| serde_json::to_string(text).unwrap();
    for response in [object.to_owned(), text(object), text(repr)] {
        assert_eq!(call(&record(&response, PLAIN)), expected, "{response}");
    }
}

#[test]
fn a_call_that_was_cached_or_failed_used_nothing() {
    let cost = "\"is_cached\": 0, \"cost\": 5";
    let none = |failed, model: &str| ((0, 0), Usd::ZERO, false, failed, model.to_owned());
    for response in [
        "\"error_code:429, config 0 failed\"",
        "\"error_code:None, config 0 failed\"",
        "\"None\"",
        "null",
        r#"{"response": "error_code:500, config 0 failed"}"#,
    ] {
        assert_eq!(call(&record(response, cost)), none(true, "asked"), "{response}");
    }
    let repr = "\"C(model='m', usage=U(completion_tokens=34, prompt_tokens=12))\"";
    let cached = ((0, 0), Usd::ZERO, true, false, "m".to_owned());
    assert_eq!(call(&record(repr, "\"is_cached\": 1, \"cost\": 5")), cached);
    assert_eq!(call(&record(repr, "\"is_cached\": true, \"cost\": 5")), cached);
    // An answer without usage is an answer.
    let streamed = ((0, 0), usd("5"), false, false, "asked".to_owned());
    assert_eq!(call(&record("\"hello\"", cost)), streamed);
    assert_eq!(call(&record("{\"response\": \"hello\"}", cost)), streamed);
}

#[test]
fn a_call_belongs_to_the_session_that_began_last() {
    let mut lines = Lines::new(names(), None);
    let call = record("\"hello\"", PLAIN);
    let about = |lines: &mut Lines| lines.read(call.as_bytes(), NOW).event.unwrap().about;
    assert_eq!(about(&mut lines), About::Nobody);
    for id in ["one", "two"] {
        let started = format!("Started new session with Session ID: {id}\r");
        assert_eq!(lines.read(started.as_bytes(), NOW), Read::default());
        assert_eq!(about(&mut lines), About::Session(id.to_owned()));
    }
    let mut lines = Lines::new(names(), lines.session());
    assert_eq!(about(&mut lines), About::Session("two".to_owned()));
}

#[test]
fn times_are_taken_where_they_can_be_read() {
    let of = |line: &str| {
        let read = read(line);
        let event = read.event.unwrap();
        match event.what {
            What::Call { seconds, .. } => (event.at, seconds, read.flaw),
            other => panic!("{other:?}"),
        }
    };
    let line = record("\"hello\"", PLAIN);
    let end = Timestamp(1_795_311_952_000_000);
    assert_eq!(of(&line), (end, Some(1.5), None));
    let backwards = line.replace("01:45:50", "01:45:59");
    assert_eq!(of(&backwards), (end, Some(0.0), None));
    let start = Timestamp(1_795_311_950_500_000);
    assert_eq!(of(&line.replace("2026-11-22 01:45:52", "soon")), (start, None, None));
    assert_eq!(of(&line.replace("2026-", "")), (NOW, None, Some(Flaw::Time)));
}

#[test]
fn what_cannot_be_used_counts_as_not_given() {
    let repr = "\"C(model='m', usage=U(completion_tokens=3.5, prompt_tokens=12))\"";
    let flawed = |line: &str, refusal| {
        assert_eq!(read(line).flaw, Some(Flaw::Value(refusal)), "{line}");
        call(line)
    };
    let tokens = ((12, 0), usd("0.0000001"), false, false, "m".to_owned());
    assert_eq!(flawed(&record(repr, PLAIN), Refusal::Fraction), tokens);
    for (cost, refusal) in [
        ("NaN", Refusal::NotANumber),
        ("-1", Refusal::Negative),
        ("1e300", Refusal::TooLarge),
        ("{}", Refusal::NotANumber),
    ] {
        let line = record("\"hello\"", &format!("\"is_cached\": 0, \"cost\": {cost}"));
        assert_eq!(flawed(&line, refusal).1, Usd::ZERO);
    }
    assert_eq!(read("{\"invocation_id\": ").flaw, Some(Flaw::Shape));
    assert_eq!(
        read("{\"invocation_id\": \"i\", \"response\": {\"model\": 1").flaw,
        Some(Flaw::Shape)
    );
}

#[test]
fn tools_count_and_events_do_not() {
    let tool = "{\"source_id\": 1, \"source_name\": \"A\", \"timestamp\": \
                \"2026-11-22 01:45:52\", \"input_args\": \"{}\", \"returns\": \"1\"}";
    let event = read(tool).event.unwrap();
    assert_eq!(event.at, Timestamp(1_795_311_952_000_000));
    assert_eq!(
        event.what,
        What::Tool { tool: UNKNOWN.to_owned(), ok: true, as_call: true, seconds: None }
    );
    for line in [
        tool.replace("\"returns\"", "\"event_name\""),
        "{\"wrapper_id\": 1, \"session_id\": \"s\", \"json_state\": \"{}\"}".to_owned(),
        "[file_logger] Failed to log new agent: source code not available".to_owned(),
        String::new(),
    ] {
        assert_eq!(read(&line), Read::default(), "{line}");
    }
}

#[test]
fn nothing_that_was_said_leaves_the_reader() {
    const MARKER: &str = "sk-MARKER";
    let answer = format!(
        "C(id='{MARKER}', choices=[Choice(content=\"{MARKER} model='{MARKER}'\")], model='m', \
         service_tier='{MARKER}', usage=U(completion_tokens=3, prompt_tokens=12))"
    );
    let response = serde_json::to_string(&answer).unwrap();
    let call = format!(
        "{{\"invocation_id\": \"{MARKER}\", \"client_id\": \"{MARKER}\", \"request\": \
         {{\"messages\": [\"{MARKER}\"], \"api_key\": \"{MARKER}\"}}, \"response\": {response}, \
         \"cost\": \"{MARKER}\", \"is_cached\": \"{MARKER}\", \"start_time\": \"{MARKER}\", \
         \"end_time\": \"{MARKER}\", \"thread_id\": \"{MARKER}\"}}"
    );
    let bad = ["{}", "[1]", "7", "{\"usage\": [\"sk-MARKER\"], \"model\": [\"sk-MARKER\"]}"];
    let bad = bad.map(|response| {
        let response = response.replace('"', "\\\"");
        call.replace(
            "\"invocation_id\": \"sk-MARKER\"",
            &format!("\"invocation_id\": \"i\", \"x\": \"{response}\""),
        )
    });
    let client = format!(
        "{{\"client_id\": 1, \"session_id\": \"s\", \"json_state\": \"{{\\\"api_key\\\": \
         \\\"{MARKER}\\\"}}\"}}"
    );
    let tool = format!(
        "{{\"source_id\": \"{MARKER}\", \"source_name\": \"{MARKER}\", \"input_args\": \
         \"{MARKER}\", \"returns\": \"{MARKER}\", \"timestamp\": \"{MARKER}\"}}"
    );
    let mut lines = Lines::new(names(), None);
    let mut events = 0;
    for line in bad.iter().chain([&call, &client, &tool]) {
        for cut in [line.len(), line.len() - 1, line.len() / 2] {
            let read = lines.read(line.split_at(cut).0.as_bytes(), NOW);
            assert!(!format!("{read:?} {lines:?}").contains("MARKER"), "{read:?}");
            events += i32::from(read.event.is_some());
        }
    }
    assert_eq!(events, 6);
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes: Vec<u8>) {
        Lines::new(names(), None).read(&bytes, NOW);
    }

    #[test]
    fn any_answer_is_read(answer in ".*|([()\\[\\]{}='\",:0-9]|model|usage|response)*") {
        for response in [serde_json::to_string(&answer).unwrap(), answer] {
            let read = read(&record(&response, PLAIN));
            prop_assert!(read.event.is_some() || read.flaw.is_some());
        }
    }
}
