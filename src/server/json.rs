//! The runtime's JSON routes, answered from the ledger in the shapes of its documents.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat};
use serde::{Serialize, Serializer};

use super::reply::json as bytes;
use crate::ledger::{Chat, Ledger, Phase, Runtime, Sums};
use crate::metrics::UserPolicy;
use crate::model::{Count, Source, Timestamp};

/// One chat.
#[derive(Serialize)]
struct ChatBody<'a> {
    chat_id: &'a str,
    app_id: &'a str,
    workflow_name: &'a str,
    user_id: Cow<'a, str>,
    started_at: Option<String>,
    ended_at: Option<String>,
    runtime_sec: f64,
    agent_turns: u64,
    tool_calls: u64,
    errors: u64,
    last_turn_duration_sec: Option<f64>,
    prompt_tokens: u64,
    completion_tokens: u64,
    cost: f64,
    status: &'static str,
}

/// All chats, written one by one.
struct ChatsBody<'a> {
    ledger: &'a Ledger,
    users: &'a UserPolicy,
    now: Timestamp,
}

impl Serialize for ChatsBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let chats = self.ledger.chats().filter(|chat| is_met(self.ledger, chat));
        serializer.collect_seq(chats.map(|chat| chat_body(chat, self.users, self.now)))
    }
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
    total_cost: f64,
    chats: ChatsBody<'a>,
}

#[derive(Serialize)]
struct ActiveRunsBody<'a> {
    active_runs: usize,
    chats: Vec<ActiveRunBody<'a>>,
}

#[derive(Serialize)]
struct ActiveRunBody<'a> {
    chat_id: &'a str,
    workflow: &'a str,
    status: &'static str,
    started_at: Option<String>,
}

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    timestamp: Option<String>,
}

/// Sums and all chats. The sums are there; only the chats cost time.
pub(super) fn aggregate(ledger: &Ledger, users: &UserPolicy, now: Timestamp) -> Vec<u8> {
    let mut sum = Sums::default();
    for runtime in ledger.runtimes().iter().filter(|runtime| runtime.is_met()) {
        sum.chats += runtime.sums.chats;
        sum.live += runtime.sums.live;
        sum.totals.add(&runtime.sums.totals);
    }
    bytes(&AggregateBody {
        active_chats: sum.live,
        tracked_chats: sum.chats,
        total_agent_turns: sum.totals.get(Count::Turns),
        total_tool_calls: sum.totals.get(Count::ToolCalls),
        total_errors: sum.totals.get(Count::Errors),
        total_prompt_tokens: sum.totals.get(Count::PromptTokens),
        total_completion_tokens: sum.totals.get(Count::CompletionTokens),
        total_cost: sum.totals.cost.as_f64(),
        chats: ChatsBody { ledger, users, now },
    })
}

/// All chats.
pub(super) fn chats(ledger: &Ledger, users: &UserPolicy, now: Timestamp) -> Vec<u8> {
    bytes(&ChatsBody { ledger, users, now })
}

/// One chat, if it is tracked.
pub(super) fn chat(
    ledger: &Ledger,
    chat_id: &str,
    users: &UserPolicy,
    now: Timestamp,
) -> Option<Vec<u8>> {
    let chat = ledger.chat(chat_id).filter(|chat| is_met(ledger, chat))?;
    Some(bytes(&chat_body(chat, users, now)))
}

/// Live chats.
pub(super) fn active_runs(ledger: &Ledger) -> Vec<u8> {
    let live = ledger.live_chats().filter(|chat| is_met(ledger, chat));
    let chats: Vec<_> = live
        .map(|chat| ActiveRunBody {
            chat_id: chat.chat_id(),
            workflow: chat.workflow_name(),
            status: status(chat),
            started_at: chat.started_at().and_then(iso),
        })
        .collect();
    bytes(&ActiveRunsBody { active_runs: chats.len(), chats })
}

/// Whether all runtimes that are asked answer: `ok`, or `not_ok`.
pub(super) fn health(ledger: &Ledger, now: Timestamp) -> (bool, Vec<u8>) {
    let is_well = |runtime: &Runtime| {
        let is_asked = runtime.expects(Source::Scrape);
        if is_asked { runtime.up == Some(true) } else { runtime.is_met() }
    };
    let well = configured(ledger).all(is_well);
    let status = if well { "ok" } else { "not_ok" };
    (well, bytes(&HealthBody { status, timestamp: iso(now) }))
}

/// Whether each runtime has been asked once, or where it is not asked, its logs and its database were
/// read to their end, so that what is shown is no first guess.
pub(super) fn is_ready(ledger: &Ledger) -> bool {
    let is_known = |runtime: &Runtime| {
        runtime.up.is_some() || !runtime.expects(Source::Scrape) && runtime.is_met()
    };
    configured(ledger).all(is_known)
}

/// Runtimes that are watched.
pub(super) fn configured(ledger: &Ledger) -> impl Iterator<Item = &Runtime> {
    ledger.runtimes().iter().filter(|runtime| runtime.configured)
}

fn is_met(ledger: &Ledger, chat: &Chat) -> bool {
    ledger.runtime(chat.runtime).is_some_and(Runtime::is_met)
}

fn chat_body<'a>(chat: &'a Chat, users: &UserPolicy, now: Timestamp) -> ChatBody<'a> {
    let counters = chat.book.published();
    ChatBody {
        chat_id: chat.chat_id(),
        app_id: chat.app_id(),
        workflow_name: chat.workflow_name(),
        user_id: users.show(chat.user_id()),
        started_at: chat.started_at().and_then(iso),
        ended_at: chat.ended_at().and_then(iso),
        runtime_sec: chat.runtime_seconds(now),
        agent_turns: counters.get(Count::Turns),
        tool_calls: counters.get(Count::ToolCalls),
        errors: counters.get(Count::Errors),
        last_turn_duration_sec: chat.last_turn_seconds,
        prompt_tokens: counters.get(Count::PromptTokens),
        completion_tokens: counters.get(Count::CompletionTokens),
        cost: counters.cost.as_f64(),
        status: status(chat),
    }
}

fn status(chat: &Chat) -> &'static str {
    match chat.phase {
        Phase::Live => "running",
        Phase::Ended => "completed",
        Phase::Lost => "lost",
    }
}

/// As the runtime's documents write times: `2025-10-02T10:00:00Z`, with the fraction there is.
pub(super) fn iso(at: Timestamp) -> Option<String> {
    DateTime::from_timestamp_micros(at.0).map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
