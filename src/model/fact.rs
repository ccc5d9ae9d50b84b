//! Facts: what a source has learnt, in one vocabulary, free of its format.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Bookmark, Timestamp, Usd};

/// Who tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The runtime's HTTP routes, polled.
    Scrape,
    /// The runtime's log files, followed.
    Logs,
    /// The runtime's chat sessions in MongoDB, read incrementally.
    Mongodb,
    /// AG2's own log of model calls, followed.
    Ag2,
    /// Events pushed to the control listener.
    Receive,
    /// Summaries that the runtime pushes to the control listener.
    UsageIngest,
}

impl Source {
    /// The value of the `source` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Scrape => "scrape",
            Self::Logs => "logs",
            Self::Mongodb => "mongodb",
            Self::Ag2 => "ag2",
            Self::Receive => "receive",
            Self::UsageIngest => "usage_ingest",
        }
    }
}

/// Whose account it is. One source may speak with several voices that overlap: what a turn is said
/// to have spent is spent by its model calls as well. Each voice has an account of its own, and
/// none is added to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// [`Source::Scrape`].
    Scrape,
    /// [`Source::Logs`]: finished turns, and tool calls.
    LogTurns,
    /// [`Source::Logs`]: usage as it was recorded for the chat.
    LogUsage,
    /// [`Source::Logs`]: model calls.
    LogCalls,
    /// [`Source::Mongodb`].
    Mongodb,
    /// [`Source::Ag2`].
    Ag2,
    /// [`Source::Receive`].
    Receive,
    /// [`Source::UsageIngest`].
    UsageIngest,
}

impl Witness {
    /// All of them, in their order.
    pub const ALL: [Self; 8] = [
        Self::Scrape,
        Self::LogTurns,
        Self::LogUsage,
        Self::LogCalls,
        Self::Mongodb,
        Self::Ag2,
        Self::Receive,
        Self::UsageIngest,
    ];

    /// The value of the `source` label of its drift.
    pub fn label(self) -> &'static str {
        match self {
            Self::Scrape => "scrape",
            Self::LogTurns => "logs_turns",
            Self::LogUsage => "logs_usage",
            Self::LogCalls => "logs_calls",
            Self::Mongodb => "mongodb",
            Self::Ag2 => "ag2",
            Self::Receive => "receive",
            Self::UsageIngest => "usage_ingest",
        }
    }
}

impl Source {
    /// The voices it speaks with. The first is that of its snapshots.
    pub fn witnesses(self) -> &'static [Witness] {
        match self {
            Self::Scrape => &[Witness::Scrape],
            Self::Logs => &[Witness::LogTurns, Witness::LogUsage, Witness::LogCalls],
            Self::Mongodb => &[Witness::Mongodb],
            Self::Ag2 => &[Witness::Ag2],
            Self::Receive => &[Witness::Receive],
            Self::UsageIngest => &[Witness::UsageIngest],
        }
    }
}

/// Names one runtime within one ledger, for as long as its state store lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RuntimeId(pub u16);

/// The whole numbers that are counted for each chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Agent turns finished.
    Turns,
    /// Tool calls, failed ones included.
    ToolCalls,
    /// Failed tool calls.
    Errors,
    /// Tokens sent to models.
    PromptTokens,
    /// Tokens that models answered with.
    CompletionTokens,
}

impl Count {
    /// How many there are.
    pub const LEN: usize = 5;
    /// All of them, in the order of [`Counters::counts`].
    pub const ALL: [Self; Self::LEN] =
        [Self::Turns, Self::ToolCalls, Self::Errors, Self::PromptTokens, Self::CompletionTokens];
}

/// The running totals of one chat, workflow or account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counters {
    /// Whole numbers, by [`Count`].
    pub counts: [u64; Count::LEN],
    /// Money.
    pub cost: Usd,
}

impl Counters {
    /// One of the whole numbers.
    pub fn get(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// Prompt and completion tokens.
    pub fn tokens(&self) -> u64 {
        self.get(Count::PromptTokens).saturating_add(self.get(Count::CompletionTokens))
    }

    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        self.counts == [0; Count::LEN] && self.cost.is_zero()
    }

    /// Adds `other`. A counter stops at its largest value instead of turning over.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_add(theirs);
        }
        self.cost += other.cost;
    }

    /// Takes away `other`, which was added before.
    pub fn remove(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_sub(theirs);
        }
        self.cost = self.cost.saturating_sub(other.cost);
    }

    /// Raises each counter to at least `other`'s and returns by how much each rose.
    #[must_use]
    pub fn raise_to(&mut self, other: &Self) -> Counters {
        let mut rise = Self::default();
        for ((mine, theirs), rise) in self.counts.iter_mut().zip(other.counts).zip(&mut rise.counts)
        {
            *rise = theirs.saturating_sub(*mine);
            *mine = (*mine).max(theirs);
        }
        rise.cost = other.cost.saturating_sub(self.cost);
        self.cost = self.cost.max(other.cost);
        rise
    }
}

/// What a witness says of the counters; what it does not say is `None`, not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stated {
    /// Whole numbers, by [`Count`].
    pub counts: [Option<u64>; Count::LEN],
    /// Money.
    pub cost: Option<Usd>,
}

impl Stated {
    /// The counters with `fallback` in place of what was not said.
    pub fn or(&self, fallback: &Counters) -> Counters {
        let mut counters = *fallback;
        for (value, stated) in counters.counts.iter_mut().zip(self.counts) {
            *value = stated.unwrap_or(*value);
        }
        counters.cost = self.cost.unwrap_or(fallback.cost);
        counters
    }
}

/// The absolute state of one chat as one witness holds it.
///
/// Applying it twice changes nothing the second time.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatSnapshot<'a> {
    /// Bounded and not empty.
    pub chat_id: Cow<'a, str>,
    /// Bounded; `unknown` where it was not given.
    pub app_id: Cow<'a, str>,
    /// Bounded; `unknown` where it was not given.
    pub workflow_name: Cow<'a, str>,
    /// Bounded; `unknown` where it was not given.
    pub user_id: Cow<'a, str>,
    /// Start of this life of the chat. Together with the runtime it names the life.
    pub started_at: Option<Timestamp>,
    /// End of this life. A chat that moves on after its end keeps the old one.
    pub ended_at: Option<Timestamp>,
    /// Its end was that of a failure. Says nothing where it has not ended.
    pub failed: bool,
    /// When it last changed, where the witness knows; else it is when we saw it change.
    pub updated_at: Option<Timestamp>,
    /// Lifetime totals since `started_at`.
    pub totals: Stated,
    /// Duration of the last finished turn in seconds, finite and not negative.
    pub last_turn_seconds: Option<f64>,
}

/// Everything that one witness said at one time.
#[derive(Debug)]
pub struct Answer<'a> {
    /// Who says it.
    pub source: Source,
    /// Of which runtime.
    pub runtime: RuntimeId,
    /// When the process that answered was created, in its own clock; tells processes apart.
    pub process: Option<Timestamp>,
    /// The runtime's own clock when it answered.
    pub runtime_clock: Timestamp,
    /// Whether a chat that is not in here is not held by the process that answered.
    pub complete: bool,
    /// Whether more of what the witness held when it was first asked is still to come. It counts as
    /// heard with the last of it.
    pub more: bool,
    /// The chats; one may stand in here twice.
    pub chats: Vec<ChatSnapshot<'a>>,
    /// Ids of chats that are in the answer but could not be understood: they are there.
    pub unreadable: Vec<Cow<'a, str>>,
    /// How far the witness has got with it; kept in the same step as what it says.
    pub bookmarks: Vec<Bookmark>,
}

/// What is known of a chat when one source is about to tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acquaintance {
    /// It is among the chats of the runtime, or events of it wait for somebody to introduce it.
    pub known: bool,
    /// Another runtime that is watched has it.
    pub elsewhere: bool,
    /// Somebody else counts its turns.
    pub turns_counted: bool,
}
