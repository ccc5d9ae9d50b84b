//! Events: what happened, one at a time, as those tell it who follow or are told.
//!
//! An event adds; a snapshot states. Whoever hands in events sees to it that none comes twice.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RuntimeId, Source, Timestamp, Usd};

/// Tokens and money of one turn or of one model call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens sent to the model.
    pub prompt_tokens: u64,
    /// Tokens that it answered with.
    pub completion_tokens: u64,
    /// Money.
    pub cost: Usd,
}

/// Whom an event is about. Names are bounded and not empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// A chat, by its id.
    Chat(String),
    /// A chat, by the id of a session of AG2's log; [`What::SessionOpened`] says which chat that is.
    Session(String),
    /// No chat is named.
    Nobody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// AG2's log opened a session for the chat.
    SessionOpened {
        /// Its id.
        session_id: String,
    },
    /// A run of the chat's workflow began. May be told more than once for one beginning.
    Started,
    /// An agent finished a turn.
    Turn {
        /// Who.
        agent: String,
        /// With which model; `unknown` where none was named.
        model: String,
        /// What was said to have been spent on it.
        usage: Usage,
        /// How long it took, in seconds, finite and not negative; `None` where it was not said.
        seconds: Option<f64>,
    },
    /// Usage as it was recorded for the chat; overlaps with what its turns state.
    Recorded {
        /// How much.
        usage: Usage,
    },
    /// A model was called. What was cached or failed has no usage.
    Call {
        /// By whom.
        agent: String,
        /// Which model; `unknown` where none was named.
        model: String,
        /// What it cost.
        usage: Usage,
        /// How long it took, in seconds, finite and not negative; `None` where it was not said.
        seconds: Option<f64>,
        /// The answer came out of a cache.
        cached: bool,
        /// There was no answer.
        failed: bool,
    },
    /// A tool was called.
    Tool {
        /// Which.
        tool: String,
        /// Whether it did what it should.
        ok: bool,
        /// Whether it counts among the chat's tool calls. The runtime counts failed ones there, its
        /// documents do not.
        #[serde(default = "yes", skip_serializing_if = "is_yes")]
        as_call: bool,
        /// How long it took, in seconds, finite and not negative; `None` where it was not said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
    },
    /// The run failed; its end is still to come.
    Failed,
    /// The run ended.
    Ended,
    /// The run ended, and failed.
    Aborted,
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_yes(flag: &bool) -> bool {
    *flag
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened, by the clock of who wrote it down.
    pub at: Timestamp,
    /// Whose it is.
    pub about: About,
    /// The chat's app, where the event names it. Bounded and not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// The chat's workflow, where the event names it. Bounded and not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_name: Option<String>,
    /// The chat's user, where the event names it. Bounded and not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What it was.
    pub what: What,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// For developers.
    Debug,
    /// All is well.
    Info,
    /// Something may need care.
    Warning,
    /// Something went wrong.
    Error,
    /// Nothing goes on.
    Critical,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// As the runtime writes it, and the value of the `level` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

/// What an id says of an event: the same id is the same event. A digest, so that ids of any length
/// cost the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub u64);

/// Something that was handed in, to be counted once.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery<T> {
    /// By which it is known again. Without one it counts each time that it comes.
    pub id: Option<EventId>,
    /// What was handed in.
    pub content: T,
}

/// Where a follower has got to, in its own words: kept with what it told, in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// Which place this is about; unique over all sources.
    pub key: String,
    /// The place; `None` where the bookmark is to be thrown away.
    pub place: Option<String>,
}

/// Events that one follower read in one go, and how far it has got with them.
#[derive(Debug)]
pub struct Report {
    /// Who says it.
    pub source: Source,
    /// Of which runtime.
    pub runtime: RuntimeId,
    /// They lay there before this source was first heard.
    pub prior: bool,
    /// What happened, in the order in which it was written down.
    pub events: Vec<Event>,
    /// Lines of the log by level and logger; loggers are bounded.
    pub lines: BTreeMap<(Level, String), u64>,
    /// How far it has got.
    pub bookmarks: Vec<Bookmark>,
}
