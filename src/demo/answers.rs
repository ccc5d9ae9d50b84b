//! The JSON of the runtime: keys in its order, numbers and times as Python writes them.

use std::io;

use bytes::Bytes;
use chrono::DateTime;
use fastrand::Rng;
use serde::{Serialize, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};

use super::chat::Chat;
use super::world::Simulation;
use crate::model::Timestamp;

impl Simulation {
    /// Body of `/metrics/perf/aggregate`.
    pub fn aggregate(&self, now: Timestamp) -> Bytes {
        aggregate(self, now)
    }

    /// Body of `/metrics/perf/chats`.
    pub fn chats(&self, now: Timestamp) -> Bytes {
        chats(self, now)
    }

    /// Body of `/metrics/perf/chats/{chat_id}`, if this process tracks the chat.
    pub fn chat(&self, chat_id: &str, now: Timestamp) -> Option<Bytes> {
        let found = self.chats.iter().find(|chat| chat.identity.chat_id == chat_id)?;
        Some(chat(found, now))
    }

    /// Body of `/api/health`.
    pub fn health(&self, now: Timestamp) -> Bytes {
        health(self, now)
    }

    /// Body of `/api/events/metrics`.
    pub fn events_metrics(&self, now: Timestamp) -> Bytes {
        events_metrics(self, now)
    }

    /// Body of `/health/active-runs`, which never changes.
    pub fn active_runs(&self) -> Bytes {
        active_runs()
    }
}

fn aggregate(world: &Simulation, now: Timestamp) -> Bytes {
    let chats = &world.chats;
    let sum = |counter: fn(&Chat) -> u64| chats.iter().map(counter).sum();
    body(&AggregateBody {
        active_chats: active(chats),
        tracked_chats: chats.len(),
        total_agent_turns: sum(|chat| chat.agent_turns),
        total_tool_calls: sum(|chat| chat.tool_calls),
        total_errors: sum(|chat| chat.errors),
        total_prompt_tokens: sum(|chat| chat.prompt_tokens),
        total_completion_tokens: sum(|chat| chat.completion_tokens),
        total_cost: chats.iter().map(|chat| chat.cost_usd).reduce(|sum, cost| sum + cost),
        chats: chats.iter().map(|chat| ChatBody::of(chat, now)).collect(),
    })
}

fn chats(world: &Simulation, now: Timestamp) -> Bytes {
    let chats: Vec<_> = world.chats.iter().map(|chat| ChatBody::of(chat, now)).collect();
    body(&chats)
}

fn chat(chat: &Chat, now: Timestamp) -> Bytes {
    body(&ChatBody::of(chat, now))
}

fn active_runs() -> Bytes {
    Bytes::from_static(
        br#"{"active_count":0,"total_runs":0,"runs":[],"note":"Registry tracking disabled for simplicity"}"#,
    )
}

fn health(world: &Simulation, now: Timestamp) -> Bytes {
    let mut rng = Rng::with_seed(now.0.unsigned_abs());
    let ping_hundredths = rng.u32(60..=320);
    let check_hundredths = ping_hundredths + rng.u32(4..=20);
    let connections = active(&world.chats);
    body(&HealthBody {
        status: "healthy",
        mongodb: "connected",
        mongodb_ping_ms: f64::from(ping_hundredths) / 100.0,
        simple_transport: "initialized",
        active_connections: Connections {
            websocket_connections: connections,
            total_connections: connections,
        },
        workflows: [],
        transport_groups: Empty {},
        tools_available: false,
        total_tools: 0,
        health_check_time_ms: f64::from(check_hundredths) / 100.0,
    })
}

fn events_metrics(world: &Simulation, now: Timestamp) -> Bytes {
    let emitted = (world.usage_events > 0).then_some(world.usage_events);
    body(&EventsBody {
        status: "success",
        data: Dispatcher {
            events_processed: 1,
            events_failed: 0,
            events_by_category: Categories { business: 1, ui_tool: 0 },
            created: Iso(world.created),
            custom_events_emitted: emitted,
            custom_events_by_type: emitted.map(|usage_delta| CustomEvents { usage_delta }),
            handler_count: 2,
            timestamp: Iso(now),
        },
        timestamp: Iso(now),
    })
}

/// Body of an error.
pub(super) fn error(detail: &'static str) -> Bytes {
    body(&ErrorBody { detail })
}

fn active(chats: &[Chat]) -> usize {
    chats.iter().filter(|chat| chat.ended_at.is_none()).count()
}

#[derive(Serialize)]
struct AggregateBody<'a> {
    active_chats: usize,
    tracked_chats: usize,
    total_agent_turns: u64,
    total_tool_calls: u64,
    total_errors: u64,
    total_prompt_tokens: u64,
    total_completion_tokens: u64,
    #[serde(serialize_with = "sum_or_integer_zero")]
    total_cost: Option<f64>,
    chats: Vec<ChatBody<'a>>,
}

#[derive(Serialize)]
struct ChatBody<'a> {
    chat_id: &'a str,
    app_id: &'a str,
    workflow_name: &'a str,
    user_id: &'a str,
    started_at: Iso,
    ended_at: Option<Iso>,
    runtime_sec: f64,
    agent_turns: u64,
    tool_calls: u64,
    errors: u64,
    last_turn_duration_sec: Option<f64>,
    prompt_tokens: u64,
    completion_tokens: u64,
    cost: f64,
}

impl<'a> ChatBody<'a> {
    fn of(chat: &'a Chat, now: Timestamp) -> Self {
        let until = chat.ended_at.unwrap_or(now);
        Self {
            chat_id: &chat.identity.chat_id,
            app_id: chat.identity.app_id,
            workflow_name: chat.identity.workflow.name,
            user_id: chat.identity.user_id,
            started_at: Iso(chat.started_at),
            ended_at: chat.ended_at.map(Iso),
            // Divided once, as Python does it: every microsecond comes out with six digits.
            runtime_sec: Timestamp(until.0.saturating_sub(chat.started_at.0).max(0)).seconds(),
            agent_turns: chat.agent_turns,
            tool_calls: chat.tool_calls,
            errors: chat.errors,
            last_turn_duration_sec: chat.last_turn_seconds,
            prompt_tokens: chat.prompt_tokens,
            completion_tokens: chat.completion_tokens,
            cost: chat.cost_usd,
        }
    }
}

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    mongodb: &'static str,
    mongodb_ping_ms: f64,
    simple_transport: &'static str,
    active_connections: Connections,
    workflows: [&'static str; 0],
    transport_groups: Empty,
    tools_available: bool,
    total_tools: u32,
    health_check_time_ms: f64,
}

#[derive(Serialize)]
struct Connections {
    websocket_connections: usize,
    total_connections: usize,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct EventsBody {
    status: &'static str,
    data: Dispatcher,
    timestamp: Iso,
}

#[derive(Serialize)]
struct Dispatcher {
    events_processed: u64,
    events_failed: u64,
    events_by_category: Categories,
    created: Iso,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_events_emitted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_events_by_type: Option<CustomEvents>,
    handler_count: u32,
    timestamp: Iso,
}

#[derive(Serialize)]
struct Categories {
    business: u64,
    ui_tool: u64,
}

#[derive(Serialize)]
struct CustomEvents {
    #[serde(rename = "chat.usage_delta")]
    usage_delta: u64,
}

#[derive(Serialize)]
struct ErrorBody {
    detail: &'static str,
}

/// Python adds up nothing to the integer 0, and floats to a float.
#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn sum_or_integer_zero<S: Serializer>(sum: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    match sum {
        Some(sum) => to.serialize_f64(*sum),
        None => to.serialize_u8(0),
    }
}

/// A time as Python's `isoformat` writes it: without a fraction where that is zero.
struct Iso(Timestamp);

impl Serialize for Iso {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self(Timestamp(micros)) = self;
        let time = DateTime::from_timestamp_micros(*micros).unwrap_or_default();
        let format = match micros % 1_000_000 {
            0 => "%Y-%m-%dT%H:%M:%S+00:00",
            _ => "%Y-%m-%dT%H:%M:%S%.6f+00:00",
        };
        to.collect_str(&time.format(format))
    }
}

fn body(value: &impl Serialize) -> Bytes {
    let mut body = Vec::new();
    value
        .serialize(&mut serde_json::Serializer::with_formatter(&mut body, Python))
        .expect("memory takes every write, and all keys are strings");
    body.into()
}

/// Compact JSON with floats as Python's `repr` writes them.
struct Python;

impl Formatter for Python {
    fn write_f64<W: ?Sized + io::Write>(&mut self, to: &mut W, value: f64) -> io::Result<()> {
        // Rust turns to exponents at the same values; only the exponent looks different.
        let text = format!("{value:?}");
        match text.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>())) {
            Some((digits, Ok(exponent))) => write!(to, "{digits}e{exponent:+03}"),
            _ => CompactFormatter.write_f64(to, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAT: &str = "chat_id app_id workflow_name user_id started_at ended_at runtime_sec \
        agent_turns tool_calls errors last_turn_duration_sec prompt_tokens completion_tokens cost";
    const NOW: Timestamp = Timestamp(1_768_701_486_123_456);

    /// The keys of an answer, each level in its order.
    fn keys(body: &[u8]) -> Vec<String> {
        let text = str::from_utf8(body).unwrap();
        let strings = text.split('"').collect::<Vec<_>>();
        let mut keys = strings.windows(2).skip(1).step_by(2);
        let mut found = Vec::new();
        while let Some([string, follows]) = keys.next() {
            if follows.starts_with(':') {
                found.push((*string).to_owned());
            }
        }
        found
    }

    #[track_caller]
    fn check_keys(body: &[u8], expected: &str) {
        assert_eq!(keys(body), expected.split_whitespace().collect::<Vec<_>>());
        serde_json::from_slice::<serde_json::Value>(body).unwrap();
    }

    #[test]
    fn the_keys_are_the_runtimes_in_its_order() {
        let world = Simulation::new(1, NOW);
        let every_chat = vec![CHAT; world.chats.len()].join(" ");
        check_keys(
            &world.aggregate(NOW),
            &format!(
                "active_chats tracked_chats total_agent_turns total_tool_calls total_errors \
                 total_prompt_tokens total_completion_tokens total_cost chats {every_chat}"
            ),
        );
        check_keys(&world.chats(NOW), &every_chat);
        check_keys(&world.chat(&world.chats[0].identity.chat_id, NOW).unwrap(), CHAT);
        check_keys(&world.active_runs(), "active_count total_runs runs note");
        check_keys(
            &world.health(NOW),
            "status mongodb mongodb_ping_ms simple_transport active_connections \
             websocket_connections total_connections workflows transport_groups \
             tools_available total_tools health_check_time_ms",
        );
        check_keys(
            &world.events_metrics(NOW),
            "status data events_processed events_failed events_by_category business ui_tool \
             created custom_events_emitted custom_events_by_type chat.usage_delta \
             handler_count timestamp timestamp",
        );
    }

    #[test]
    fn a_process_without_usage_does_not_speak_of_custom_events() {
        let mut world = Simulation::new(1, NOW);
        world.usage_events = 0;
        check_keys(
            &world.events_metrics(NOW),
            "status data events_processed events_failed events_by_category business ui_tool \
             created handler_count timestamp timestamp",
        );
    }

    #[test]
    fn an_empty_aggregate_is_the_recorded_one() {
        let mut world = Simulation::new(1, NOW);
        world.chats.clear();
        assert_eq!(
            world.aggregate(NOW),
            concat!(
                r#"{"active_chats":0,"tracked_chats":0,"total_agent_turns":0,"#,
                r#""total_tool_calls":0,"total_errors":0,"total_prompt_tokens":0,"#,
                r#""total_completion_tokens":0,"total_cost":0,"chats":[]}"#
            )
        );
    }

    #[test]
    fn a_chat_is_written_as_recorded() {
        let mut recorded = ChatBody {
            chat_id: "quote\"d \\back\\slash\\",
            app_id: "b\u{fc}ro-gmbh",
            workflow_name: "Report.Builder v2",
            user_id: "svc:cron/7",
            started_at: Iso(Timestamp(1_795_311_952_237_863)),
            ended_at: Some(Iso(Timestamp(1_795_311_952_847_895))),
            runtime_sec: 0.610_032,
            agent_turns: 1,
            tool_calls: 1,
            errors: 0,
            last_turn_duration_sec: Some(1.041_628),
            prompt_tokens: 3706,
            completion_tokens: 350,
            cost: 0.016_368,
        };
        assert_eq!(
            body(&recorded),
            concat!(
                r#"{"chat_id":"quote\"d \\back\\slash\\","app_id":"büro-gmbh","#,
                r#""workflow_name":"Report.Builder v2","user_id":"svc:cron/7","#,
                r#""started_at":"2026-11-22T01:45:52.237863+00:00","#,
                r#""ended_at":"2026-11-22T01:45:52.847895+00:00","runtime_sec":0.610032,"#,
                r#""agent_turns":1,"tool_calls":1,"errors":0,"#,
                r#""last_turn_duration_sec":1.041628,"prompt_tokens":3706,"#,
                r#""completion_tokens":350,"cost":0.016368}"#
            )
        );

        recorded.ended_at = None;
        recorded.last_turn_duration_sec = None;
        let running = String::from_utf8(body(&recorded).to_vec()).unwrap();
        assert!(running.contains(r#","ended_at":null,"runtime_sec":"#), "{running}");
        assert!(running.contains(r#","last_turn_duration_sec":null,"#), "{running}");
    }

    #[test]
    fn floats_and_times_look_like_pythons() {
        #[track_caller]
        fn check(value: &impl Serialize, expected: &'static str) {
            assert_eq!(body(value), expected);
        }
        check(&0.0, "0.0");
        check(&0.773_666_450_000_000_1, "0.7736664500000001");
        check(&6.720_000_000_000_001e-05, "6.720000000000001e-05");
        check(&1e-07, "1e-07");
        check(&0.0001, "0.0001");
        check(&256.158, "256.158");
        check(&1e16, "1e+16");
        check(&Iso(NOW), r#""2026-01-18T01:58:06.123456+00:00""#);
        check(&Iso(Timestamp(1_768_701_486_000_000)), r#""2026-01-18T01:58:06+00:00""#);
        check(&Iso(Timestamp(1_768_701_486_000_001)), r#""2026-01-18T01:58:06.000001+00:00""#);
    }

    #[test]
    fn the_totals_are_those_of_the_chats() {
        let world = Simulation::new(1, NOW);
        let answer: serde_json::Value = serde_json::from_slice(&world.aggregate(NOW)).unwrap();
        let chats = answer["chats"].as_array().unwrap();
        let sum = |key: &str| chats.iter().map(|chat| chat[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!(answer["tracked_chats"], chats.len());
        assert_eq!(
            answer["active_chats"],
            chats.iter().filter(|chat| chat["ended_at"].is_null()).count()
        );
        for counter in ["agent_turns", "tool_calls", "errors", "prompt_tokens", "completion_tokens"]
        {
            assert_eq!(answer[format!("total_{counter}")], sum(counter), "{counter}");
        }
        let cost: f64 = world.chats.iter().map(|chat| chat.cost_usd).sum();
        let text = String::from_utf8(world.aggregate(NOW).to_vec()).unwrap();
        assert!(text.contains(&format!(r#""total_cost":{cost:?},"chats""#)), "{text}");
    }

    #[test]
    fn runtime_grows_until_the_end_and_then_stands() {
        let world = Simulation::new(1, NOW);
        let runtime = |chat: &Chat, now| ChatBody::of(chat, now).runtime_sec.to_bits();
        let later = Timestamp(NOW.0 + 1_000_000);
        for chat in &world.chats {
            let stands = runtime(chat, NOW) == runtime(chat, later);
            assert_eq!(stands, chat.ended_at.is_some());
        }
    }
}
