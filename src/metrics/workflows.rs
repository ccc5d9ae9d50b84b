//! Families of workflows, and of users: exact for ever, whatever becomes of the chats.

use std::collections::BTreeMap;

use super::exposition::{Samples, Type, Value};
use super::family::{Definition, Family};
use super::view::{UserRow, View, WorkflowRow, counter, histogram};
use crate::ledger::{Histogram, Outcome, SESSION_BOUNDS};
use crate::model::Count;

const WORKFLOW: [&str; 2] = ["app_id", "workflow_name"];
const USER: [&str; 2] = ["app_id", "user_id"];

pub(super) const FAMILIES: &[&dyn Definition] = &[
    &total("mozaiks_workflow_starts_total", "Chats that began.", |view, out| {
        counters(view, out, |row| row.row.starts.into());
    }),
    &Family::new(
        Type::Counter,
        "mozaiks_workflow_ends_total",
        "Chats that came to an end, by how.",
        ["app_id", "workflow_name", "outcome"],
        |view, out| {
            for row in &view.workflows {
                for outcome in Outcome::ALL {
                    let [app_id, workflow_name] = names(row);
                    let labels = [app_id, workflow_name, outcome.label()];
                    let ends = row.row.ends[outcome as usize];
                    out.put_of(row.runtime, labels, counter(row.hidden, ends));
                }
            }
        },
    )
    .by_runtime(),
    &gauge("mozaiks_workflow_active_chats", "Chats that are live.", |view, out| {
        for row in view.workflows.iter().filter(|row| row.up) {
            out.put_of(row.runtime, names(row), row.row.active);
        }
    }),
    &total("mozaiks_workflow_agent_turns_total", "Agent turns finished.", |view, out| {
        counters(view, out, |row| row.row.totals.get(Count::Turns).into());
    }),
    &total(
        "mozaiks_workflow_tool_calls_total",
        "Tool calls, failed ones included.",
        |view, out| counters(view, out, |row| row.row.totals.get(Count::ToolCalls).into()),
    ),
    &total("mozaiks_workflow_errors_total", "Failed tool calls.", |view, out| {
        counters(view, out, |row| row.row.totals.get(Count::Errors).into());
    }),
    &total("mozaiks_workflow_prompt_tokens_total", "Tokens sent to models.", |view, out| {
        counters(view, out, |row| row.row.totals.get(Count::PromptTokens).into());
    }),
    &total(
        "mozaiks_workflow_completion_tokens_total",
        "Tokens that models answered with.",
        |view, out| {
            counters(view, out, |row| row.row.totals.get(Count::CompletionTokens).into());
        },
    ),
    &total("mozaiks_workflow_cost_usd_total", "Cost in US dollars.", |view, out| {
        counters(view, out, |row| row.row.totals.cost.into());
    }),
    &total(
        "mozaiks_workflow_unpriced_tokens_total",
        "Tokens that came without cost: a price table that lacks a model shows here.",
        |view, out| counters(view, out, |row| row.row.unpriced_tokens.into()),
    ),
    &Family::new(
        Type::Histogram(SESSION_BOUNDS),
        "mozaiks_session_duration_seconds",
        "Time from start to first end of completed chats.",
        WORKFLOW,
        |view, out| {
            for row in &view.workflows {
                let sessions = histogram(row.hidden, &row.row.sessions);
                out.put_histogram(row.runtime, names(row), SESSION_BOUNDS, sessions, &[]);
            }
        },
    )
    .by_runtime(),
    &gauge("mozaiks_concurrent_users", "Users with a live chat.", |view, out| {
        for row in view.workflows.iter().filter(|row| row.up) {
            out.put_of(row.runtime, names(row), row.users);
        }
    }),
    &total(
        "mozaiks_agent_turns_unobserved_total",
        "Agent turns whose duration was not seen: what mozaiks_agent_turn_duration_seconds lacks.",
        |view, out| counters(view, out, |row| row.row.turns_unobserved.into()),
    ),
    &user_total("mozaiks_user_chats_total", "Chats that the user began.", |view, out| {
        spent(view, out, |row| row.spent.chats.into());
    }),
    &user_total("mozaiks_user_tokens_total", "Tokens that the user spent.", |view, out| {
        spent(view, out, |row| row.spent.tokens.into());
    }),
    &user_total("mozaiks_user_cost_usd_total", "Cost of the user in US dollars.", |view, out| {
        spent(view, out, |row| row.spent.cost.into());
    }),
    &Family::new(
        Type::Counter,
        "mozaiksai_workflow_starts_total",
        "Chats that began; second name of mozaiks_workflow_starts_total.",
        ["workflow", "app"],
        |view, out| {
            for row in &view.workflows {
                let [app_id, workflow_name] = names(row);
                let starts = counter(row.hidden, row.row.starts);
                out.put_of(row.runtime, [workflow_name, app_id], starts);
            }
        },
    )
    .compat()
    .by_runtime(),
    &Family::new(
        Type::Histogram(SESSION_BOUNDS),
        "mozaiksai_session_duration_seconds",
        "Time from start to first end of completed chats, over all apps; second name of \
         mozaiks_session_duration_seconds.",
        ["workflow"],
        |view, out| {
            let mut sums: BTreeMap<(Option<&str>, &str), Histogram> = BTreeMap::new();
            for row in &view.workflows {
                let sum = sums.entry((row.runtime, names(row)[1])).or_default();
                if !row.hidden {
                    sum.merge(&row.row.sessions);
                }
            }
            for ((runtime, workflow), sum) in &sums {
                out.put_histogram(*runtime, [workflow], SESSION_BOUNDS, Some(sum), &[]);
            }
        },
    )
    .compat()
    .by_runtime(),
    &Family::new(
        Type::Gauge,
        "mozaiksai_concurrent_users",
        "Users with a live chat; second name of mozaiks_concurrent_users.",
        ["workflow", "app"],
        |view, out| {
            for row in view.workflows.iter().filter(|row| row.up) {
                let [app_id, workflow_name] = names(row);
                out.put_of(row.runtime, [workflow_name, app_id], row.users);
            }
        },
    )
    .compat()
    .by_runtime(),
];

type Collect = fn(&View<'_>, &mut Samples<'_, 2>);

const fn total(name: &'static str, help: &'static str, collect: Collect) -> Family<2> {
    Family::new(Type::Counter, name, help, WORKFLOW, collect).by_runtime()
}

const fn gauge(name: &'static str, help: &'static str, collect: Collect) -> Family<2> {
    Family::new(Type::Gauge, name, help, WORKFLOW, collect).by_runtime()
}

const fn user_total(name: &'static str, help: &'static str, collect: Collect) -> Family<2> {
    Family::new(Type::Counter, name, help, USER, collect).by_runtime()
}

fn names<'v>(row: &'v WorkflowRow<'_>) -> [&'v str; 2] {
    [&row.row.app_id, &row.row.workflow_name]
}

fn counters(view: &View<'_>, out: &mut Samples<'_, 2>, value: fn(&WorkflowRow<'_>) -> Value) {
    for row in &view.workflows {
        out.put_of(row.runtime, names(row), counter(row.hidden, value(row)));
    }
}

fn spent(view: &View<'_>, out: &mut Samples<'_, 2>, value: fn(&UserRow<'_>) -> Value) {
    for row in &view.users {
        let labels = [row.app_id, &*row.user_id];
        out.put_of(row.runtime, labels, counter(row.hidden, value(row)));
    }
}
