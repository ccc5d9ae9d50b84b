//! How an answer is told chat by chat, by those who know what they told last.

use super::{ChatSnapshot, Counters, Timestamp};

/// What was last said of a chat, for [`Hear::still`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    /// The number of the chat in the ledger; none is given twice.
    pub no: u64,
    /// Start of its life.
    pub started_at: Timestamp,
    /// Duration of its last turn in seconds.
    pub last_turn_seconds: Option<f64>,
}

/// What an answer holds in one place.
#[derive(Debug, Clone, Copy)]
pub enum Mention<'a> {
    /// A chat as it stands.
    New(&'a ChatSnapshot<'a>),
    /// The same as when it was marked so.
    Same(&'a Mark),
}

/// What an answer came to.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// The sum of all its chats, as they were said to stand.
    pub sum: Counters,
    /// No chat stood in it twice. Else the marks that it gave are worth nothing.
    pub distinct: bool,
}

/// Hears one answer.
pub trait Hear {
    /// A chat as it stands. The mark is for when the same is said again; there is none where that
    /// would not be in vain.
    fn say(&mut self, snapshot: &ChatSnapshot<'_>) -> Option<Mark>;
    /// The same is said of a chat as when it was marked. `false` if that has to be said in full.
    fn still(&mut self, mark: &Mark) -> bool;
    /// Nothing more stands in it.
    fn end(self) -> Heard;
}
