//! Chats as the runtime shows them.

use std::sync::LazyLock;
use std::time::SystemTime;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

/// Now.
pub(crate) fn now() -> DateTime<Utc> {
    SystemTime::now().into()
}

/// The runtime's way to write a time.
pub(crate) fn iso(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// A minute before the first chat was made.
static START: LazyLock<DateTime<Utc>> = LazyLock::new(|| now() - Duration::seconds(60));

/// One chat.
#[derive(Debug, Clone)]
pub(crate) struct Chat {
    pub(crate) id: String,
    pub(crate) app: String,
    pub(crate) workflow: String,
    pub(crate) user: String,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    pub(crate) turns: u64,
    pub(crate) tool_calls: u64,
    pub(crate) errors: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) cost_micros: u64,
    pub(crate) last_turn: Option<f64>,
}

impl Chat {
    /// A chat that has done nothing since it started a while ago. All of these started at once.
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            app: "acme".to_owned(),
            workflow: "TicketDesk".to_owned(),
            user: "alice".to_owned(),
            started_at: *START,
            ended_at: None,
            turns: 0,
            tool_calls: 0,
            errors: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            cost_micros: 0,
            last_turn: None,
        }
    }

    /// The same with that many turns, and work to match.
    pub(crate) fn turns(mut self, turns: u64) -> Self {
        self.turns = turns;
        self.tool_calls = turns / 2;
        self.errors = turns / 4;
        self.prompt_tokens = turns * 1000;
        self.completion_tokens = turns * 100;
        self.cost_micros = turns * 1500;
        self.last_turn = (turns > 0).then_some(1.25);
        self
    }

    /// As in the runtime's answers.
    pub(crate) fn json(&self) -> Value {
        let until = self.ended_at.unwrap_or_else(now);
        let runtime = (until - self.started_at).as_seconds_f64().max(0.0);
        json!({
            "chat_id": self.id,
            "app_id": self.app,
            "workflow_name": self.workflow,
            "user_id": self.user,
            "started_at": iso(self.started_at),
            "ended_at": self.ended_at.map(iso),
            "runtime_sec": runtime,
            "agent_turns": self.turns,
            "tool_calls": self.tool_calls,
            "errors": self.errors,
            "last_turn_duration_sec": self.last_turn,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": dollars(self.cost_micros),
        })
    }
}

/// The runtime's own arithmetic: floating point.
#[expect(clippy::cast_precision_loss, reason = "the runtime sums floats as well")]
pub(crate) fn dollars(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// A count as Prometheus holds it.
#[expect(clippy::cast_precision_loss, reason = "test counts stay far below 2^53")]
pub(crate) fn count(count: u64) -> f64 {
    count as f64
}
