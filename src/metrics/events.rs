//! Families of what events tell: agents, models, tools, and the runtime's own log.

use std::collections::HashMap;

use super::exposition::{Samples, Type, Value};
use super::family::{Definition, Family};
use super::view::{BreakdownRow, View, counter, histogram};
use crate::ledger::{Breakdown, CALL_BOUNDS, Dimension, Histogram, TOOL_BOUNDS, TURN_BOUNDS};
use crate::model::UNKNOWN;

const AGENT: [&str; 4] = ["app_id", "workflow_name", "agent_name", "model"];

pub(super) const FAMILIES: &[&dyn Definition] = &[
    &agent_total("mozaiks_agent_turns_total", "Turns that the agent finished.", |view, out| {
        agents(view, out, |row| row.published.number.into());
    }),
    &agent_total(
        "mozaiks_agent_prompt_tokens_total",
        "Tokens that the agent sent to the model.",
        |view, out| agents(view, out, |row| row.published.usage.prompt_tokens.into()),
    ),
    &agent_total(
        "mozaiks_agent_completion_tokens_total",
        "Tokens that the model answered the agent with.",
        |view, out| agents(view, out, |row| row.published.usage.completion_tokens.into()),
    ),
    &agent_total(
        "mozaiks_agent_cost_usd_total",
        "Cost of the agent in US dollars.",
        |view, out| {
            agents(view, out, |row| row.published.usage.cost.into());
        },
    ),
    &Family::new(
        Type::Histogram(TURN_BOUNDS),
        "mozaiks_agent_turn_duration_seconds",
        "Duration of the agent turns whose duration was seen.",
        AGENT,
        turn_durations,
    )
    .by_runtime(),
    &Family::new(
        Type::Counter,
        "mozaiks_tool_calls_total",
        "Tool calls that were told of one by one, by how they went.",
        ["app_id", "workflow_name", "tool_name", "outcome"],
        |view, out| {
            for row in rows(view, Dimension::Tool) {
                out.put_of(row.runtime, names(row), counter(row.hidden, row.row.published.number));
            }
        },
    )
    .by_runtime(),
    &Family::new(
        Type::Histogram(TOOL_BOUNDS),
        "mozaiks_tool_call_duration_seconds",
        "Duration of the tool calls whose duration was told, by how they went.",
        ["app_id", "workflow_name", "tool_name", "outcome"],
        |view, out| {
            let is_timed = |row: &&BreakdownRow<'_>| row.row.durations.count() > 0;
            for row in rows(view, Dimension::Tool).filter(is_timed) {
                let durations = histogram(row.hidden, &row.row.durations);
                out.put_histogram(row.runtime, names(row), TOOL_BOUNDS, durations, row.exemplars());
            }
        },
    )
    .by_runtime(),
    &Family::new(
        Type::Counter,
        "mozaiks_llm_calls_total",
        "Model calls, by whether a cache answered and by how they went.",
        ["app_id", "workflow_name", "model", "cached", "outcome"],
        |view, out| {
            for row in rows(view, Dimension::Call) {
                out.put_of(row.runtime, names(row), counter(row.hidden, row.row.published.number));
            }
        },
    )
    .by_runtime(),
    &Family::new(
        Type::Histogram(CALL_BOUNDS),
        "mozaiks_llm_call_duration_seconds",
        "Duration of the model calls that a model answered; neither failed nor out of a cache.",
        ["app_id", "workflow_name", "model"],
        |view, out| {
            for row in rows(view, Dimension::Call).filter(|row| is_answered(&row.row)) {
                let [app_id, workflow_name, model, _, _] = names(row);
                let durations = histogram(row.hidden, &row.row.durations);
                let labels = [app_id, workflow_name, model];
                let exemplars = row.exemplars();
                out.put_histogram(row.runtime, labels, CALL_BOUNDS, durations, exemplars);
            }
        },
    )
    .by_runtime(),
    &Family::new(
        Type::Counter,
        "mozaiks_log_events_total",
        "Lines of the runtime's log, without those that our own questions make it write.",
        ["level", "logger"],
        |view, out| {
            for row in rows(view, Dimension::Lines) {
                out.put_of(row.runtime, names(row), counter(row.hidden, row.row.published.number));
            }
        },
    )
    .by_runtime(),
];

const fn agent_total(
    name: &'static str,
    help: &'static str,
    collect: fn(&View<'_>, &mut Samples<'_, 4>),
) -> Family<4> {
    Family::new(Type::Counter, name, help, AGENT, collect).by_runtime()
}

fn rows<'v>(
    view: &'v View<'_>,
    dimension: Dimension,
) -> impl Iterator<Item = &'v BreakdownRow<'v>> {
    view.breakdowns.iter().filter(move |row| row.row.dimension == dimension)
}

/// The names of a row, as many as its dimension has.
fn names<'v, const N: usize>(row: &'v BreakdownRow<'_>) -> [&'v str; N] {
    std::array::from_fn(|index| row.row.names.get(index).map_or(UNKNOWN, |name| name))
}

fn agents(view: &View<'_>, out: &mut Samples<'_, 4>, value: fn(&Breakdown) -> Value) {
    for row in rows(view, Dimension::Agent) {
        out.put_of(row.runtime, names(row), counter(row.hidden, value(&row.row)));
    }
}

/// Whether a model gave the answers that the row counts.
fn is_answered(row: &Breakdown) -> bool {
    matches!(row.names.as_slice(), [_, _, _, cached, outcome] if &**cached == "false" && &**outcome == "success")
}

/// Turns whose agent is known stand by agent and model. What the routes tell of a workflow's turns
/// stands under `unknown`, with the agents of that name; also where there is nothing yet, so that
/// the latency objective has a basis from the workflow's first moment.
fn turn_durations(view: &View<'_>, out: &mut Samples<'_, 4>) {
    let is_nameless = |row: &BreakdownRow<'_>| matches!(row.row.names.as_slice(), [_, _, agent, model] if &**agent == UNKNOWN && &**model == UNKNOWN);
    for row in rows(view, Dimension::Agent).filter(|row| !is_nameless(row)) {
        if row.row.published.number > 0 {
            let durations = histogram(row.hidden, &row.row.durations);
            out.put_histogram(row.runtime, names(row), TURN_BOUNDS, durations, row.exemplars());
        }
    }
    let nameless: HashMap<_, _> = rows(view, Dimension::Agent)
        .filter(|row| is_nameless(row) && !row.hidden)
        .map(|row| ((row.runtime, &row.row.names[0], &row.row.names[1]), &row.row.durations))
        .collect();
    for workflow in &view.workflows {
        let place = (workflow.runtime, &workflow.row.app_id, &workflow.row.workflow_name);
        let mut sum = Histogram::default();
        if !workflow.hidden {
            sum.merge(&workflow.row.turns);
        }
        if let Some(durations) = nameless.get(&place) {
            sum.merge(durations);
        }
        let labels = [place.1, place.2, UNKNOWN, UNKNOWN];
        out.put_histogram(workflow.runtime, labels, TURN_BOUNDS, Some(&sum), &[]);
    }
}
