//! The runtime's JSON, and only that.
//!
//! ```text
//! {"active_chats":4,"tracked_chats":9,"total_agent_turns":12,…,"chats":[
//!   {"chat_id":"d8a8…","app_id":"acme","workflow_name":"LeadScoring","user_id":"u-0007",
//!    "started_at":"2026-01-18T01:58:06.123456+00:00","ended_at":null,"runtime_sec":0.301889,
//!    "agent_turns":4,"tool_calls":4,"errors":1,"last_turn_duration_sec":0.5,
//!    "prompt_tokens":0,"completion_tokens":0,"cost":0.0}]}
//! ```
//!
//! One chat that cannot be understood costs that chat alone. Numbers are read from their text, so
//! that none is rounded on the way. Names that older documents of the runtime use are understood.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{ChatSnapshot, Count, Counters, NameRule, Stated, Timestamp};
use crate::sources::flat::{self, Raw, fields};
use crate::sources::value::{
    LONGEST_TURN, Refusal, count, instant, money, number, text, timestamp,
};

/// What a body said.
#[derive(Debug, Default)]
pub struct Told<'a> {
    /// Chats that were understood.
    pub chats: Vec<ChatSnapshot<'a>>,
    /// Chats that were not: their place in the answer, and why.
    pub refused: Vec<(usize, Refusal)>,
    /// Ids of those, where they could be read.
    pub unreadable: Vec<Cow<'a, str>>,
    /// Fields that were not understood and count as not given.
    pub ignored: Vec<&'static str>,
    /// The runtime's own sums.
    pub stated: Option<Counters>,
}

#[derive(Deserialize)]
struct AggregateWire<'a> {
    #[serde(borrow)]
    chats: Vec<&'a RawValue>,
    #[serde(borrow)]
    total_agent_turns: Option<Raw<'a>>,
    #[serde(borrow)]
    total_tool_calls: Option<Raw<'a>>,
    #[serde(borrow)]
    total_errors: Option<Raw<'a>>,
    #[serde(borrow)]
    total_prompt_tokens: Option<Raw<'a>>,
    #[serde(borrow)]
    total_completion_tokens: Option<Raw<'a>>,
    #[serde(borrow)]
    total_cost: Option<Raw<'a>>,
}

fields! {
    /// One chat.
    pub(super) struct ChatWire {
        chat_id,
        app_id,
        workflow_name,
        workflow,
        user_id,
        started_at,
        ended_at,
        agent_turns,
        tool_calls,
        errors,
        last_turn_duration_sec,
        prompt_tokens,
        total_prompt_tokens,
        completion_tokens,
        total_completion_tokens,
        cost,
        cost_usd,
        total_cost,
    }
}

#[derive(Deserialize)]
struct EventsWire<'a> {
    #[serde(borrow)]
    data: EventsDataWire<'a>,
}

#[derive(Deserialize)]
struct EventsDataWire<'a> {
    #[serde(borrow)]
    created: Cow<'a, str>,
}

#[derive(Deserialize)]
struct HealthWire<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    mongodb_ping_ms: Option<f64>,
    active_connections: Option<ConnectionsWire>,
}

#[derive(Deserialize)]
struct ConnectionsWire {
    websocket_connections: Option<u64>,
}

/// Reads the answer of `/metrics/perf/aggregate`.
pub fn aggregate(body: &[u8], names: NameRule) -> Result<Told<'_>, serde_json::Error> {
    let wire: AggregateWire<'_> = serde_json::from_slice(body)?;
    let counts = [
        wire.total_agent_turns,
        wire.total_tool_calls,
        wire.total_errors,
        wire.total_prompt_tokens,
        wire.total_completion_tokens,
    ];
    let mut told = chats_of(wire.chats, names);
    told.stated = stated_totals(counts, wire.total_cost);
    Ok(told)
}

/// Reads the answer of `/metrics/perf/chats`.
pub fn chats(body: &[u8], names: NameRule) -> Result<Told<'_>, serde_json::Error> {
    Ok(chats_of(serde_json::from_slice(body)?, names))
}

/// Reads the answer of `/metrics/perf/chats/{chat_id}`.
pub fn single(body: &[u8], names: NameRule) -> Result<Told<'_>, serde_json::Error> {
    Ok(chats_of(vec![serde_json::from_slice(body)?], names))
}

/// Reads when the process was created from the answer of `/api/events/metrics`.
pub fn process_created(body: &[u8]) -> Option<Timestamp> {
    let wire: EventsWire<'_> = serde_json::from_slice(body).ok()?;
    instant(&wire.data.created)
}

/// Reads the answer of `/api/health`: whether it is well, its database's ping in seconds, and its
/// WebSocket connections.
pub fn health(body: &[u8]) -> Option<crate::telemetry::Health> {
    let wire: HealthWire<'_> = serde_json::from_slice(body).ok()?;
    Some(crate::telemetry::Health {
        healthy: matches!(&*wire.status, "healthy" | "ok"),
        mongodb_ping_seconds: wire.mongodb_ping_ms.filter(|ms| *ms >= 0.0).map(|ms| ms / 1e3),
        websocket_connections: wire.active_connections.and_then(|c| c.websocket_connections),
    })
}

fn chats_of(raw: Vec<&RawValue>, names: NameRule) -> Told<'_> {
    let mut told = Told { chats: Vec::with_capacity(raw.len()), ..Told::default() };
    for (index, raw) in raw.into_iter().enumerate() {
        match raw_chat(raw, names, &mut told) {
            Ok(chat) => told.chats.push(chat),
            Err(refusal) => told.refused.push((index, refusal)),
        }
    }
    told
}

/// Reads a chat that is JSON.
pub(super) fn raw_chat<'a>(
    raw: &'a RawValue,
    names: NameRule,
    told: &mut Told<'a>,
) -> Result<ChatSnapshot<'a>, Refusal> {
    let wire: ChatWire<'a> = flat::object(raw.get()).map_err(|_| Refusal::Shape)?;
    chat(&wire, names, told)
}

/// Understands a chat.
pub(super) fn chat<'a>(
    wire: &ChatWire<'a>,
    names: NameRule,
    told: &mut Told<'a>,
) -> Result<ChatSnapshot<'a>, Refusal> {
    let chat_id = text(wire.chat_id)?.filter(|id| !id.is_empty()).ok_or(Refusal::NoId)?;
    let chat_id = names.bound(chat_id);
    let read = fields(wire, names, &mut told.ignored);
    match read {
        Ok(chat) => Ok(ChatSnapshot { chat_id, ..chat }),
        Err(refusal) => {
            told.unreadable.push(chat_id);
            Err(refusal)
        }
    }
}

/// Everything but the id.
fn fields<'a>(
    wire: &ChatWire<'a>,
    names: NameRule,
    ignored: &mut Vec<&'static str>,
) -> Result<ChatSnapshot<'a>, Refusal> {
    let totals = Stated {
        counts: [
            count(wire.agent_turns)?,
            count(wire.tool_calls)?,
            count(wire.errors)?,
            count(wire.prompt_tokens.or(wire.total_prompt_tokens))?,
            count(wire.completion_tokens.or(wire.total_completion_tokens))?,
        ],
        cost: money(wire.cost.or(wire.cost_usd).or(wire.total_cost))?,
    };
    let mut time = |raw, field| {
        timestamp(raw).unwrap_or_else(|()| {
            ignored.push(field);
            None
        })
    };
    let started_at = time(wire.started_at, "started_at");
    let ended_at = time(wire.ended_at, "ended_at");
    let last_turn_seconds = number(wire.last_turn_duration_sec).unwrap_or_else(|_| {
        ignored.push("last_turn_duration_sec");
        None
    });
    let last_turn_seconds = last_turn_seconds.filter(|seconds| {
        let plausible = (0.0..=LONGEST_TURN).contains(seconds);
        if !plausible {
            ignored.push("last_turn_duration_sec");
        }
        plausible
    });
    Ok(ChatSnapshot {
        chat_id: Cow::Borrowed(""),
        app_id: names.bound_or_unknown(text(wire.app_id)?),
        workflow_name: names.bound_or_unknown(text(wire.workflow_name.or(wire.workflow))?),
        user_id: names.bound_or_unknown(text(wire.user_id)?),
        started_at,
        ended_at,
        failed: false,
        updated_at: None,
        totals,
        last_turn_seconds,
    })
}

/// The runtime's own sums, if all of them can be read.
pub(super) fn stated_totals(
    counts: [Option<Raw<'_>>; Count::LEN],
    cost: Option<Raw<'_>>,
) -> Option<Counters> {
    let mut stated = Counters::default();
    for (sum, raw) in stated.counts.iter_mut().zip(counts) {
        *sum = count(raw).ok()??;
    }
    stated.cost = money(cost).ok()??;
    Some(stated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::value::LARGEST_COUNT;

    fn names() -> NameRule {
        NameRule::new(512)
    }

    fn one(fields: &str) -> Result<ChatSnapshot<'static>, Refusal> {
        let body: &'static str =
            Box::leak(format!("[{{\"chat_id\":\"c\",{fields}}}]").into_boxed_str());
        let mut told = chats(body.as_bytes(), names()).unwrap();
        match told.refused.pop() {
            Some((_, refusal)) => Err(refusal),
            None => Ok(told.chats.pop().unwrap()),
        }
    }

    #[test]
    fn counts_are_whole_and_not_negative() {
        let turns = |text: &str| {
            one(&format!("\"agent_turns\":{text}")).map(|c| c.totals.counts[Count::Turns as usize])
        };
        for (text, expected) in [
            ("5", Ok(Some(5))),
            ("5.0", Ok(Some(5))),
            ("\"5\"", Ok(Some(5))),
            ("6e3", Ok(Some(6000))),
            ("null", Ok(None)),
            ("-1", Err(Refusal::Negative)),
            ("-1.5", Err(Refusal::Negative)),
            ("2.5", Err(Refusal::Fraction)),
            ("1e308", Err(Refusal::TooLarge)),
            ("1e999", Err(Refusal::TooLarge)),
            ("9007199254740993", Err(Refusal::TooLarge)),
            ("\"inf\"", Err(Refusal::NotANumber)),
            ("\"\"", Err(Refusal::NotANumber)),
            ("[]", Err(Refusal::NotANumber)),
            ("true", Err(Refusal::NotANumber)),
        ] {
            assert_eq!(turns(text), expected, "{text}");
        }
    }

    #[test]
    fn money_is_read_as_it_was_meant() {
        let cost = |text: &str| one(&format!("\"cost\":{text}")).map(|chat| chat.totals.cost);
        assert_eq!(cost("1e-07"), Ok(Some("0.0000001".parse().unwrap())));
        assert_eq!(cost("\"0.25\""), Ok(Some("0.25".parse().unwrap())));
        assert_eq!(cost("1e300"), Err(Refusal::TooLarge));
        assert_eq!(cost("-0.01"), Err(Refusal::Negative));
        assert_eq!(cost("{}"), Err(Refusal::NotANumber));
    }

    #[test]
    fn times_are_read_in_the_formats_that_occur() {
        let start = |text: &str| one(&format!("\"started_at\":{text}")).unwrap().started_at;
        let expected = Some(Timestamp(1_768_701_486_123_456));
        assert_eq!(start("\"2026-01-18T01:58:06.123456+00:00\""), expected);
        assert_eq!(start("\"2026-01-18T02:58:06.123456+01:00\""), expected);
        assert_eq!(start("\"2026-01-18T01:58:06.123456Z\""), expected);
        assert_eq!(start("\"2026-01-18T01:58:06.123456\""), expected);
        assert_eq!(start("1768701486.123456"), expected);
        assert_eq!(start("\"2026-01-18T01:58:06+00:00\""), Some(Timestamp(1_768_701_486_000_000)));
        assert_eq!(start("\"yesterday\""), None);
        assert_eq!(start("1e300"), None);
    }

    #[test]
    fn what_cannot_be_read_is_counted_where_the_chat_is_kept() {
        let body = br#"[{"chat_id":"a","started_at":"x","last_turn_duration_sec":-3}]"#;
        let told = chats(body, names()).unwrap();
        assert_eq!(told.chats.len(), 1);
        assert_eq!(told.ignored, ["started_at", "last_turn_duration_sec"]);
    }

    #[test]
    fn one_bad_chat_costs_that_chat_alone() {
        let body = br#"{"chats":[{"chat_id":"a"},{"chat_id":""},7,{"chat_id":"b","cost":-1},
            {"chat_id":"c","extra":{"x":[1]},"cost":0.5}]}"#;
        let told = aggregate(body, names()).unwrap();
        let ids: Vec<_> = told.chats.iter().map(|chat| &*chat.chat_id).collect();
        assert_eq!(ids, ["a", "c"]);
        let refused = [(1, Refusal::NoId), (2, Refusal::Shape), (3, Refusal::Negative)];
        assert_eq!(told.refused, refused);
        assert_eq!(told.unreadable, ["b"]);
    }

    #[test]
    fn the_recorded_answers_are_read_whole() {
        let aggregate_body =
            include_bytes!("../../../tests/fixtures/runtime/series/07_final/aggregate.json");
        let chats_body =
            include_bytes!("../../../tests/fixtures/runtime/series/07_final/chats.json");
        let told = aggregate(aggregate_body, names()).unwrap();
        assert!(told.refused.is_empty() && told.ignored.is_empty());
        let mut sum = Counters::default();
        for chat in &told.chats {
            sum.add(&chat.totals.or(&Counters::default()));
        }
        assert_eq!(told.stated.unwrap().counts, sum.counts);
        assert_eq!(chats(chats_body, names()).unwrap().chats.len(), told.chats.len());
    }

    const RECORDED: &[u8] =
        include_bytes!("../../../tests/fixtures/runtime/series/02_busy/aggregate.json");

    /// Whatever is understood is within bounds.
    fn is_sound(told: &Told<'_>) -> bool {
        told.chats.iter().all(|chat| {
            !chat.chat_id.is_empty()
                && chat.chat_id.len() <= 512
                && chat.totals.counts.iter().flatten().all(|count| *count <= LARGEST_COUNT)
                && chat.last_turn_seconds.is_none_or(|turn| (0.0..=LONGEST_TURN).contains(&turn))
        })
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body: Vec<u8>) {
            for read in [aggregate, chats, single] {
                if let Ok(told) = read(&body, names()) {
                    proptest::prop_assert!(is_sound(&told));
                }
            }
            process_created(&body);
            health(&body);
        }

        #[test]
        fn a_recorded_answer_with_any_bytes_changed_is_read_or_refused(
            changes in proptest::collection::vec((0..RECORDED.len(), proptest::num::u8::ANY), 0..8),
            end in 0..=RECORDED.len(),
        ) {
            let mut body = RECORDED.to_vec();
            for (at, byte) in changes {
                body[at] = byte;
            }
            body.truncate(end);
            if let Ok(told) = aggregate(&body, names()) {
                proptest::prop_assert!(is_sound(&told));
            }
        }
    }
}
