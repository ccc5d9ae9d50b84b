//! From a polled answer to the ledger, beside a parser that keeps nothing.

use std::hint::black_box;

use crate::Options;
use crate::support::cpu::timed;
use crate::support::engine::Engine;
use crate::support::results::{Results, median};
use crate::support::workload::{Which, World};

/// What serde makes of an answer if all types are known.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "read and thrown away: the reading is measured")]
struct Aggregate<'a> {
    active_chats: u64,
    tracked_chats: u64,
    total_agent_turns: u64,
    total_tool_calls: u64,
    total_errors: u64,
    total_prompt_tokens: u64,
    total_completion_tokens: u64,
    total_cost: f64,
    #[serde(borrow)]
    chats: Vec<Told<'a>>,
}

#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "read and thrown away: the reading is measured")]
struct Told<'a> {
    chat_id: &'a str,
    app_id: &'a str,
    workflow_name: &'a str,
    user_id: &'a str,
    started_at: &'a str,
    ended_at: Option<&'a str>,
    runtime_sec: f64,
    agent_turns: u64,
    tool_calls: u64,
    errors: u64,
    last_turn_duration_sec: f64,
    prompt_tokens: u64,
    completion_tokens: u64,
    cost: f64,
}

pub(crate) fn run(options: Options, results: &mut Results) {
    let sizes: &[usize] = if options.quick { &[10_000] } else { &[10_000, 100_000] };
    for chats in sizes {
        measure(*chats, options.rounds(), results);
    }
}

fn measure(chats: usize, rounds: usize, results: &mut Results) {
    let mut world = World::new(chats);
    let first = world.aggregate();
    results.put(format!("booking.{chats}.bytes_per_chat"), first.len() as f64 / chats as f64);
    let mut times = std::collections::BTreeMap::<&str, Vec<f64>>::new();
    let mut engine = Engine::new(chats);
    engine.poll(&first);
    engine.take_changes();
    for _ in 0..rounds {
        let mut note = |name, seconds: f64| {
            times.entry(name).or_default().push(seconds * 1e9 / chats as f64);
        };
        let parse =
            || black_box(serde_json::from_slice::<Aggregate<'_>>(&first).unwrap().chats.len());
        note("serde_json", timed(parse).0);
        let mut fresh = Engine::new(chats);
        note("first", timed(|| fresh.poll(&first)).0);
        drop(fresh);
        let mut body = world.aggregate();
        note("unchanged", timed(|| engine.poll(&body)).0);
        note("unchanged_rows", timed(|| engine.take_changes()).0);
        world.change(1.0, Which::Random);
        body = world.aggregate();
        note("one_percent_changed", timed(|| engine.poll(&body)).0);
        note("one_percent_changed_rows", timed(|| engine.take_changes()).0);
        world.change(100.0, Which::Newest);
        body = world.aggregate();
        note("all_changed", timed(|| engine.poll(&body)).0);
        note("all_changed_rows", timed(|| engine.take_changes()).0);
    }
    for (name, values) in times {
        results.put(format!("booking.{chats}.{name}.ns_per_chat"), median(&values));
    }
}
