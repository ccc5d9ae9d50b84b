//! Where facts come from. A source knows a foreign format and nothing of metrics.

pub mod ag2;
mod flat;
pub mod follow;
pub mod history;
pub mod logs;
pub mod mongodb;
mod nan;
pub mod receive;
pub mod runner;
pub mod scrape;
pub mod tail;
mod value;

use std::fmt;
use std::sync::Arc;

use crate::store::Shared;
use crate::telemetry::Telemetry;

/// What a source works on.
#[derive(Debug, Clone)]
pub struct Intake {
    /// Takes the facts.
    pub ledger: Arc<Shared>,
    /// Counts what the source does.
    pub telemetry: Arc<Telemetry>,
}

/// Why a source got nothing, in the words of the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No connection, or it broke.
    Connect,
    /// No whole answer in time.
    Timeout,
    /// No trust between the two ends.
    Tls,
    /// The credentials were refused.
    Unauthorized,
    /// Another status than was hoped for.
    Status,
    /// More bytes than are taken.
    TooLarge,
    /// Not what the format says.
    Parse,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Connect,
        Self::Timeout,
        Self::Tls,
        Self::Unauthorized,
        Self::Status,
        Self::TooLarge,
        Self::Parse,
    ];

    /// The value of the `reason` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::Status => "status",
            Self::TooLarge => "too_large",
            Self::Parse => "parse",
        }
    }
}

/// A source got nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Why, for the label.
    pub reason: Reason,
    /// What, where, and what to do about it, for people. Holds nothing secret.
    pub detail: String,
}

impl Failure {
    /// A failure with its explanation.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Failure {}
