//! Families of single chats.
//!
//! They are most of an exposition, so they are not written series by series like the others: what
//! is shown of a chat is taken out of the ledger once for all of them (`page.rs`), and kept
//! compressed until it changes (`engine.rs`).

use super::exposition::{Exposition, Type, Value};
use super::family::Definition;
use super::view::View;
use crate::model::{Count, Counters, Timestamp};

/// Labels of these families.
pub(super) const LABELS: [&str; 4] = ["chat_id", "app_id", "workflow_name", "user_id"];

/// What is shown of a chat.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Figures {
    /// Zeros while the chat's series are hidden.
    pub(super) counters: Counters,
    /// None where it does not live, or its runtime does not answer.
    pub(super) live: Option<Live>,
}

/// What is shown of a chat that lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    pub(super) last_turn_seconds: Option<f64>,
    pub(super) last_update: Timestamp,
    pub(super) runtime_seconds: f64,
}

/// A family with a series for each chat, or for each that lives.
pub(super) struct ChatFamily {
    name: &'static str,
    help: &'static str,
    kind: Type,
    compat: bool,
    value: Of,
    /// Whether its values change although nothing happens.
    ticks: bool,
}

pub(super) const FAMILIES: &[&ChatFamily] = &[
    &count("mozaiks_chat_agent_turns_total", "Agent turns finished in the chat.", |chat| {
        chat.counters.get(Count::Turns).into()
    }),
    &count(
        "mozaiks_chat_tool_calls_total",
        "Tool calls of the chat, failed ones included.",
        |chat| chat.counters.get(Count::ToolCalls).into(),
    ),
    &count("mozaiks_chat_errors_total", "Failed tool calls of the chat.", |chat| {
        chat.counters.get(Count::Errors).into()
    }),
    &count("mozaiks_chat_prompt_tokens_total", "Tokens that the chat sent to models.", |chat| {
        chat.counters.get(Count::PromptTokens).into()
    }),
    &count(
        "mozaiks_chat_completion_tokens_total",
        "Tokens that models answered the chat with.",
        |chat| chat.counters.get(Count::CompletionTokens).into(),
    ),
    &count("mozaiks_chat_cost_usd_total", "Cost of the chat in US dollars.", cost),
    &count(
        "mozaiks_chat_cost_total",
        "Cost of the chat in US dollars; second name of mozaiks_chat_cost_usd_total.",
        cost,
    )
    .compat(),
    &gauge(
        "mozaiks_chat_last_turn_duration_seconds",
        "Duration of the last finished turn of a live chat.",
        last_turn,
    ),
    &gauge(
        "mozaiks_chat_last_turn_duration_sec",
        "Duration of the last turn; second name of mozaiks_chat_last_turn_duration_seconds.",
        last_turn,
    )
    .compat(),
    &gauge(
        "mozaiks_chat_last_update_time",
        "Unix time at which a live chat last did something, in seconds.",
        |chat| Some(chat.last_update.seconds().into()),
    ),
    &gauge("mozaiks_chat_runtime_seconds", "Time since the start of a live chat.", |chat| {
        Some(chat.runtime_seconds.into())
    })
    .ticks(),
];

fn cost(chat: &Figures) -> Value {
    chat.counters.cost.into()
}

fn last_turn(chat: &Live) -> Option<Value> {
    Some(chat.last_turn_seconds?.into())
}

/// What a value is made of.
#[derive(Clone, Copy)]
enum Of {
    /// Every chat has one.
    All(fn(&Figures) -> Value),
    /// Those that live may have one.
    Living(fn(&Live) -> Option<Value>),
}

const fn count(name: &'static str, help: &'static str, value: fn(&Figures) -> Value) -> ChatFamily {
    let (kind, value) = (Type::Counter, Of::All(value));
    ChatFamily { name, help, kind, compat: false, value, ticks: false }
}

const fn gauge(
    name: &'static str,
    help: &'static str,
    value: fn(&Live) -> Option<Value>,
) -> ChatFamily {
    let (kind, value) = (Type::Gauge, Of::Living(value));
    ChatFamily { name, help, kind, compat: false, value, ticks: false }
}

impl ChatFamily {
    const fn compat(mut self) -> Self {
        self.compat = true;
        self
    }

    const fn ticks(mut self) -> Self {
        self.ticks = true;
        self
    }

    /// The value for a chat, where it has one.
    pub(super) fn value(&self, chat: &Figures) -> Option<Value> {
        match self.value {
            Of::All(value) => Some(value(chat)),
            Of::Living(value) => value(chat.live.as_ref()?),
        }
    }

    /// Whether its values change although nothing happens.
    pub(super) fn does_tick(&self) -> bool {
        self.ticks
    }
}

impl Definition for ChatFamily {
    fn name(&self) -> &'static str {
        self.name
    }

    fn help(&self) -> &'static str {
        self.help
    }

    fn kind(&self) -> Type {
        self.kind
    }

    fn labels(&self) -> &[&'static str] {
        &LABELS
    }

    fn is_compat(&self) -> bool {
        self.compat
    }

    fn is_by_runtime(&self) -> bool {
        true
    }

    fn write(&self, view: &View<'_>, out: &mut Exposition) {
        let family = FAMILIES.iter().position(|family| family.name == self.name);
        let opening = out.open(self.name, self.help, self.kind);
        for draft in &view.chats {
            out.lines(|text| draft.write(family.unwrap_or(usize::MAX), text));
        }
        out.close(opening);
    }
}
