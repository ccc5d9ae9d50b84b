//! The documents: what is written of a chat, and of an app's workflow.
//!
//! | document | `_id` | shape |
//! |---|---|---|
//! | session | the chat's id | the runtime's `ChatSessions`, without messages |
//! | stats | the chat's id | the runtime's snapshot of a chat |
//! | overall | app, workflow and ledger | totals, and the averages of the runtime's `WorkflowStats` |
//!
//! Every field is absolute, so writing a document again changes nothing. Ids are values and never
//! parts of a path: dots, dollars and quotes in them mean nothing. No document grows with chats.

use mongodb::bson::{Bson, DateTime, Document, doc};

use super::write::Change;
use crate::ledger::{Owing, Phase, Workflow};
use crate::model::{Count, Counters, Timestamp, UNKNOWN};

/// The runtime's number for a chat that goes on.
const IN_PROGRESS: i32 = 0;
/// The runtime's number for a chat that came to its end.
const COMPLETED: i32 = 1;
/// What kind of document stands among others of its collection.
const KIND: &str = "kind";

/// The session of a chat.
pub(super) fn session(chat: &Owing) -> Change {
    let total = &chat.totals;
    let began = chat.started_at.unwrap_or(chat.last_update);
    let mut set = doc! {
        "chat_id": &*chat.chat_id,
        // One that got lost never said that it was completed.
        "status": if chat.phase == Phase::Ended { COMPLETED } else { IN_PROGRESS },
        "created_at": date(began),
        "last_updated_at": date(chat.last_update.max(chat.ended_at.unwrap_or_default())),
        "usage_prompt_tokens_final": count(total, Count::PromptTokens),
        "usage_completion_tokens_final": count(total, Count::CompletionTokens),
        "usage_total_tokens_final": whole(total.tokens()),
        "usage_total_cost_final": total.cost.as_f64(),
    };
    let mut unset = Vec::new();
    match chat.ended_at {
        Some(end) => {
            set.insert("ended_at", date(end));
            set.insert("duration_sec", chat.runtime_seconds);
        }
        // It goes on after an end, and this one is not to be taken for the last.
        None => unset.extend(["ended_at", "duration_sec"]),
    }
    let mut change = Change::new(Bson::String(chat.chat_id.to_string()), None, set, unset);
    name(&mut change, chat);
    change
}

/// The stats of a chat.
pub(super) fn stats(chat: &Owing, now: Timestamp) -> Change {
    let total = &chat.totals;
    let set = doc! {
        "chat_id": &*chat.chat_id,
        "started_at": date(chat.started_at.unwrap_or(chat.last_update)),
        "ended_at": chat.ended_at.map_or(Bson::Null, date),
        "runtime_sec": chat.runtime_seconds,
        "agent_turns": count(total, Count::Turns),
        "tool_calls": count(total, Count::ToolCalls),
        "errors": count(total, Count::Errors),
        "last_turn_duration_sec": chat.last_turn_seconds.map_or(Bson::Null, Bson::Double),
        "prompt_tokens": count(total, Count::PromptTokens),
        "completion_tokens": count(total, Count::CompletionTokens),
        "cost": total.cost.as_f64(),
        "last_updated_at": date(now),
    };
    let id = Bson::String(chat.chat_id.to_string());
    let mut change = Change::new(id, Some((KIND, "chat")), set, Vec::new());
    name(&mut change, chat);
    change
}

/// What all chats of an app's workflow came to, as the ledger of that name knows it.
pub(super) fn overall(row: &Workflow, ledger: &str, now: Timestamp) -> Change {
    let (app_id, workflow_name) = (&*row.app_id, &*row.workflow_name);
    let total = &row.totals;
    let ended: u64 = row.ends.iter().sum();
    let set = doc! {
        "app_id": app_id,
        "workflow_name": workflow_name,
        "ledger": ledger,
        "chats_started": whole(row.starts),
        "chats_ended": whole(ended),
        "active_chats": whole(row.active),
        "agent_turns": count(total, Count::Turns),
        "tool_calls": count(total, Count::ToolCalls),
        "errors": count(total, Count::Errors),
        "prompt_tokens": count(total, Count::PromptTokens),
        "completion_tokens": count(total, Count::CompletionTokens),
        "total_tokens": whole(total.tokens()),
        "cost": total.cost.as_f64(),
        "overall_avg": {
            "avg_duration_sec": average(row.sessions.sum_seconds(), row.sessions.count()),
            "avg_prompt_tokens": per_chat(total.get(Count::PromptTokens), row.starts),
            "avg_completion_tokens": per_chat(total.get(Count::CompletionTokens), row.starts),
            "avg_total_tokens": per_chat(total.tokens(), row.starts),
            "avg_cost_total_usd": average(total.cost.as_f64(), row.starts),
        },
        "last_updated_at": date(now),
    };
    // A length before each name keeps `a_b` with `c` apart from `a` with `b_c`.
    let id = format!("overall_{}_{app_id}_{workflow_name}_{ledger}", app_id.len());
    Change::new(Bson::String(id), Some((KIND, "overall")), set, Vec::new())
}

/// Whose it is. A name that is not known replaces none that is.
fn name(change: &mut Change, chat: &Owing) {
    for (field, name) in [
        ("app_id", &chat.app_id),
        ("workflow_name", &chat.workflow_name),
        ("user_id", &chat.user_id),
    ] {
        let is_known = &**name != UNKNOWN;
        let fields = if is_known { &mut change.set } else { &mut change.set_on_insert };
        fields.insert(field, &**name);
    }
}

/// A time, to the millisecond that BSON has.
fn date(at: Timestamp) -> Bson {
    Bson::DateTime(DateTime::from_millis(at.0.div_euclid(1000)))
}

fn count(total: &Counters, count: Count) -> i64 {
    whole(total.get(count))
}

/// BSON has no larger whole number.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whole tokens, as the runtime writes them.
fn per_chat(number: u64, chats: u64) -> i64 {
    whole(number.checked_div(chats).unwrap_or(0))
}

#[expect(clippy::cast_precision_loss, reason = "an average is looked at, not counted with")]
fn average(sum: f64, number: u64) -> f64 {
    if number == 0 { 0.0 } else { sum / number as f64 }
}

/// The size of a document as it goes over the wire, in bytes, about.
pub(super) fn size(document: &Document) -> usize {
    mongodb::bson::serialize_to_vec(document).map_or(0, |bytes| bytes.len())
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "what is written exactly is compared exactly")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Usd;

    const SECOND: i64 = 1_000_000;

    fn chat(id: &str) -> Owing {
        Owing {
            no: 1,
            ticket: 1,
            revision: 1,
            chat_id: id.into(),
            app_id: "acme".into(),
            workflow_name: "Generator".into(),
            user_id: UNKNOWN.into(),
            phase: Phase::Live,
            started_at: Some(Timestamp(10 * SECOND + 1_500)),
            ended_at: None,
            last_update: Timestamp(12 * SECOND),
            runtime_seconds: 2.5,
            last_turn_seconds: Some(1.25),
            totals: Counters { counts: [3, 2, 1, u64::MAX, 20], cost: Usd::from_f64(0.1).unwrap() },
        }
    }

    #[test]
    fn a_session_has_the_fields_of_the_runtime() {
        let change = session(&chat("a.b$c\0"));
        assert_eq!(change.id, Bson::String("a.b$c\0".to_owned()));
        assert_eq!(change.unset, ["ended_at", "duration_sec"]);
        assert_eq!(change.set_on_insert, doc! {"user_id": "unknown"});
        let expected = doc! {
            "chat_id": "a.b$c\0",
            "status": 0,
            "created_at": DateTime::from_millis(10_001),
            "last_updated_at": DateTime::from_millis(12_000),
            "usage_prompt_tokens_final": i64::MAX,
            "usage_completion_tokens_final": 20_i64,
            "usage_total_tokens_final": i64::MAX,
            "usage_total_cost_final": 0.1,
            "app_id": "acme",
            "workflow_name": "Generator",
        };
        assert_eq!(change.set, expected);

        let ended = Timestamp(13 * SECOND);
        let over = Owing { phase: Phase::Ended, ended_at: Some(ended), ..chat("c") };
        let change = session(&over);
        assert_eq!(change.set.get_i32("status").unwrap(), 1);
        assert_eq!(change.set.get("ended_at"), Some(&date(ended)));
        assert_eq!(change.set.get("last_updated_at"), Some(&date(ended)));
        assert_eq!(change.set.get_f64("duration_sec").unwrap(), 2.5);
        assert!(change.unset.is_empty());
        assert_eq!(
            session(&Owing { phase: Phase::Lost, ..over }).set.get_i32("status").unwrap(),
            0
        );
    }

    #[test]
    fn stats_have_the_fields_of_a_snapshot() {
        let change = stats(&chat("c"), Timestamp(20 * SECOND));
        let expected = doc! {
            "chat_id": "c",
            "started_at": DateTime::from_millis(10_001),
            "ended_at": null,
            "runtime_sec": 2.5,
            "agent_turns": 3_i64,
            "tool_calls": 2_i64,
            "errors": 1_i64,
            "last_turn_duration_sec": 1.25,
            "prompt_tokens": i64::MAX,
            "completion_tokens": 20_i64,
            "cost": 0.1,
            "last_updated_at": DateTime::from_millis(20_000),
            "app_id": "acme",
            "workflow_name": "Generator",
        };
        assert_eq!(change.set, expected);
    }

    #[test]
    fn ambiguous_pairs_have_totals_of_their_own() {
        let row = |app: &str, workflow: &str| {
            let row = serde_json::json!({
                "runtime": 0, "app_id": app, "workflow_name": workflow,
                "totals": {"counts": [4, 0, 0, 7, 2], "cost": "3"}, "starts": 2,
                "ends": [1, 0, 0, 0], "sessions": {"buckets": [], "sum_nanos": 0},
                "turns": {"buckets": [], "sum_nanos": 0}, "turns_unobserved": 0,
                "unpriced_tokens": 0, "birth": 0,
            });
            serde_json::from_value::<Workflow>(row).unwrap()
        };
        let one = overall(&row("a_b", "c"), "L", Timestamp(0));
        assert_ne!(one.id, overall(&row("a", "b_c"), "L", Timestamp(0)).id);
        let average = one.set.get_document("overall_avg").unwrap();
        assert_eq!(average.get_i64("avg_prompt_tokens").unwrap(), 3);
        assert_eq!(average.get_i64("avg_total_tokens").unwrap(), 4);
        assert_eq!(average.get_f64("avg_cost_total_usd").unwrap(), 1.5);
        assert_eq!(average.get_f64("avg_duration_sec").unwrap(), 0.0);
        let none = Arc::new(Workflow { starts: 0, ..row("a", "b") });
        let average = overall(&none, "L", Timestamp(0));
        let average = average.set.get_document("overall_avg").unwrap();
        assert_eq!(average.get_i64("avg_total_tokens").unwrap(), 0);
    }
}
