//! The runtime's own usage ingest: what one of its chats has used since ever.
//!
//! The runtime sends a summary after each exchange of general mode, repeats it unchanged if it gets no
//! answer, and each on a connection of its own, so that a later one may come first. The numbers are sums:
//! the highest counts. It says neither when the chat began nor what it cost.

use std::borrow::Cow;

use super::item::{ItemError, digest, id_text, object, refused, required};
use crate::model::{ChatSnapshot, Count, EventId, NameRule, Stated};
use crate::sources::flat::fields;
use crate::sources::value;

fields! {
    /// One summary.
    struct Wire {
        event_id,
        chat_id,
        app_id,
        workflow_name,
        user_id,
        prompt_tokens,
        completion_tokens,
    }
}

/// A summary that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// By which a repetition is known.
    pub id: Option<EventId>,
    /// What the chat has used.
    pub snapshot: ChatSnapshot<'static>,
}

/// Reads one summary of that runtime. Names and numbers are read as the runtime's other routes are: it
/// repeats nothing that we refuse, so what can be understood is.
pub fn summary(body: &[u8], runtime: &str, names: NameRule) -> Result<Summary, ItemError> {
    let wire: Wire<'_> = object(body)?;
    let text = |field, raw| value::text(raw).map_err(refused(field));
    let known = |field, raw| -> Result<Cow<'static, str>, ItemError> {
        Ok(names.bound_or_unknown(text(field, raw)?).into_owned().into())
    };
    let chat_id = text("chat_id", wire.chat_id)?.filter(|id| !id.is_empty());
    let chat_id = names.bound(required("chat_id", chat_id)?).into_owned();
    let mut totals = Stated::default();
    for (count, field, raw) in [
        (Count::PromptTokens, "prompt_tokens", wire.prompt_tokens),
        (Count::CompletionTokens, "completion_tokens", wire.completion_tokens),
    ] {
        totals.counts[count as usize] = value::count(raw).map_err(refused(field))?;
    }
    // The runtime's ids are short, so that two chats may come to have the same.
    let id = id_text(wire.event_id)?.map(|id| digest(&["summary", runtime, &chat_id, &id]));
    let snapshot = ChatSnapshot {
        app_id: known("app_id", wire.app_id)?,
        workflow_name: known("workflow_name", wire.workflow_name)?,
        user_id: known("user_id", wire.user_id)?,
        chat_id: chat_id.into(),
        started_at: None,
        ended_at: None,
        failed: false,
        updated_at: None,
        totals,
        last_turn_seconds: None,
    };
    Ok(Summary { id, snapshot })
}
