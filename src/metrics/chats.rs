//! Families of single chats.

use super::exposition::{Samples, Type, Value};
use super::family::{Definition, Family};
use super::view::{CHAT, ChatRow, View, counter};
use crate::model::{Count, Counters};

pub(super) const FAMILIES: &[&dyn Definition] = &[
    &total("mozaiks_chat_agent_turns_total", "Agent turns finished in the chat.", |view, out| {
        counters(view, out, |c| c.get(Count::Turns).into());
    }),
    &total(
        "mozaiks_chat_tool_calls_total",
        "Tool calls of the chat, failed ones included.",
        |view, out| counters(view, out, |c| c.get(Count::ToolCalls).into()),
    ),
    &total("mozaiks_chat_errors_total", "Failed tool calls of the chat.", |view, out| {
        counters(view, out, |c| c.get(Count::Errors).into());
    }),
    &total(
        "mozaiks_chat_prompt_tokens_total",
        "Tokens that the chat sent to models.",
        |view, out| counters(view, out, |c| c.get(Count::PromptTokens).into()),
    ),
    &total(
        "mozaiks_chat_completion_tokens_total",
        "Tokens that models answered the chat with.",
        |view, out| counters(view, out, |c| c.get(Count::CompletionTokens).into()),
    ),
    &total("mozaiks_chat_cost_usd_total", "Cost of the chat in US dollars.", cost),
    &total(
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
        |view, out| gauges(view, out, |row, _| Some(row.chat.last_update.seconds())),
    ),
    &gauge("mozaiks_chat_runtime_seconds", "Time since the start of a live chat.", |view, out| {
        gauges(view, out, |row, view| Some(row.chat.runtime_seconds(view.now.wall)));
    }),
];

type Collect = fn(&View<'_>, &mut Samples<'_, 4>);

const fn total(name: &'static str, help: &'static str, collect: Collect) -> Family<4> {
    Family::new(Type::Counter, name, help, CHAT, collect).by_runtime()
}

const fn gauge(name: &'static str, help: &'static str, collect: Collect) -> Family<4> {
    Family::new(Type::Gauge, name, help, CHAT, collect).by_runtime()
}

fn cost(view: &View<'_>, out: &mut Samples<'_, 4>) {
    counters(view, out, |c| c.cost.into());
}

fn last_turn(view: &View<'_>, out: &mut Samples<'_, 4>) {
    gauges(view, out, |row, _| row.chat.last_turn_seconds);
}

/// A counter of each chat, and of those that share one series.
fn counters(view: &View<'_>, out: &mut Samples<'_, 4>, value: fn(&Counters) -> Value) {
    for row in &view.chats {
        out.put_block(&row.labels, counter(row.hidden, value(row.chat.book.published())));
    }
    for (labels, counters, birth) in view.folded_chats() {
        out.put_block(&labels, counter(view.ledger.hides(birth), value(&counters)));
    }
}

/// A gauge of each live chat.
fn gauges(
    view: &View<'_>,
    out: &mut Samples<'_, 4>,
    value: fn(&ChatRow<'_>, &View<'_>) -> Option<f64>,
) {
    for row in view.chats.iter().filter(|row| row.live) {
        if let Some(value) = value(row, view) {
            out.put_block(&row.labels, value);
        }
    }
}
