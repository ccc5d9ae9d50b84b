//! What the exporter knows of itself: polls, commits, answers. Lives as long as the process.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::Histogram;
use crate::model::{Counters, Source, Timestamp};

/// Upper bounds of the buckets of the exporter's own durations, in seconds.
pub const OWN_BOUNDS: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

/// What is known of one polled runtime.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Polls, answered or not.
    pub polls: u64,
    /// Failed requests by reason. Every reason is present from the start.
    pub failures: BTreeMap<&'static str, u64>,
    /// Chats in answers that could not be understood, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Fields that could not be read and were taken as not given, by field.
    pub ignored_fields: BTreeMap<&'static str, u64>,
    /// How long polls took.
    pub durations: Histogram,
    /// Wall clock at the last answered poll.
    pub last_success: Option<Timestamp>,
    /// Size of the last answer, in bytes.
    pub bytes: u64,
    /// Chats in the last answer.
    pub chats: u64,
    /// Seconds from one poll to the next, as things are.
    pub interval_seconds: f64,
    /// What the runtime said of its own health, if it was asked.
    pub health: Option<Health>,
    /// The sums that the runtime states and the sums of the chats in the same answer.
    pub stated: Option<(Counters, Counters)>,
}

/// What is known of a database that is read for one runtime.
#[derive(Debug, Clone, Default)]
pub struct Database {
    /// Polls, answered or not.
    pub polls: u64,
    /// Failed questions by reason. Every reason is present from the start.
    pub failures: BTreeMap<&'static str, u64>,
    /// Documents by what became of them. Every result is present from the start.
    pub documents: BTreeMap<&'static str, u64>,
    /// Documents that could not be understood, by reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// How long polls took.
    pub durations: Histogram,
    /// Wall clock at the last poll that was answered.
    pub last_success: Option<Timestamp>,
    /// Seconds from one poll to the next, as things are.
    pub interval_seconds: f64,
    /// How much of the past is still to be read, in seconds.
    pub behind_seconds: f64,
    /// Whether the collections that are there can be read in the order of their changes.
    pub indexed: BTreeMap<String, bool>,
    /// Whether the server counts messages of agents, once it was asked.
    pub counts_messages: Option<bool>,
}

/// What is known of a follower of files: one source of one runtime.
#[derive(Debug, Clone, Default)]
pub struct Follower {
    /// Lines by what became of them. Every result is present from the start.
    pub lines: BTreeMap<&'static str, u64>,
    /// Rows of databases by what became of them.
    pub rows: BTreeMap<&'static str, u64>,
    /// What each of its readers knows of itself, by what it reads.
    pub readers: BTreeMap<String, Reader>,
}

/// What is known of a reader: of a tail, or of a database. The counters only grow.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reader {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes that lie there and were not read yet.
    pub bytes_behind: u64,
    /// Rows that lie there and were not read yet.
    pub rows_behind: u64,
    /// Files followed.
    pub files: u64,
    /// Files that were renamed and replaced, since our start.
    pub renamed: u64,
    /// Files that were cut back, since our start.
    pub cut: u64,
    /// Files, folders and databases that cannot be read now.
    pub problems: u64,
}

impl Follower {
    /// A number of all its readers together.
    pub fn sum(&self, number: impl Fn(&Reader) -> u64) -> u64 {
        self.readers.values().map(number).sum()
    }
}

/// What a runtime says of its own health.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Health {
    /// It says that it is well.
    pub healthy: bool,
    /// How long its database took to answer, in seconds.
    pub mongodb_ping_seconds: Option<f64>,
    /// Open WebSocket connections.
    pub websocket_connections: Option<u64>,
}

/// What is known of the state store.
#[derive(Debug, Clone, Default)]
pub struct StoreNumbers {
    /// Whether what is shown survives the process.
    pub durable: bool,
    /// Commits that succeeded.
    pub commits: u64,
    /// Commits that failed.
    pub errors: u64,
    /// How long commits took.
    pub durations: Histogram,
    /// Size of its files, in bytes.
    pub bytes: u64,
    /// Damaged files that were moved aside.
    pub damaged: u64,
}

/// What is known of the answers given.
#[derive(Debug, Clone, Default)]
pub struct Answers {
    /// Requests by handler and status.
    pub requests: BTreeMap<(&'static str, u16), u64>,
    /// How long requests took, by handler.
    pub durations: BTreeMap<&'static str, Histogram>,
    /// Bytes of bodies by encoding.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Samples in the last exposition.
    pub series: u64,
}

/// What is known of the flush to MongoDB.
#[derive(Debug, Clone, Default)]
pub struct FlushNumbers {
    /// Flushes that wrote all that was owed.
    pub successes: u64,
    /// Flushes that failed, by reason. Every reason is present from the start.
    pub failures: BTreeMap<&'static str, u64>,
    /// Documents by what became of them. Every result is present from the start.
    pub documents: BTreeMap<&'static str, u64>,
    /// How long flushes took.
    pub durations: Histogram,
    /// Wall clock at the end of the last flush that wrote all that was owed.
    pub last_success: Option<Timestamp>,
}

/// What is known of what was pushed.
#[derive(Debug, Clone, Default)]
pub struct Events {
    /// Events and summaries by what they are and what became of them.
    pub received: BTreeMap<(&'static str, &'static str), u64>,
    /// Those that were refused, by why.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Events with a clock so far off that the time of their coming stands in its place.
    pub clocks_off: u64,
    /// Requests that wait for the disk now.
    pub waiting: u64,
}

/// What is known of files that are read while the exporter runs.
#[derive(Debug, Clone, Default)]
pub struct ConfigNumbers {
    /// Whether the last try to read the configuration succeeded, and when one did.
    pub last: Option<(bool, Timestamp)>,
    /// The series budget, where it has changed since the start.
    pub max_series: Option<u64>,
    /// Whether the last try to read who gets in succeeded, by listener.
    pub access: BTreeMap<&'static str, bool>,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    /// Polled runtimes by name.
    pub targets: BTreeMap<String, Target>,
    /// Databases by name of their runtime.
    pub databases: BTreeMap<String, Database>,
    /// Followers by name of their runtime and source.
    pub followers: BTreeMap<(String, &'static str), Follower>,
    /// What was pushed.
    pub events: Events,
    /// The state store.
    pub store: StoreNumbers,
    /// The flush to MongoDB, if there is one.
    pub flush: Option<FlushNumbers>,
    /// The listeners.
    pub answers: Answers,
    /// The configuration.
    pub config: ConfigNumbers,
}

/// The numbers, shared by those who count and those who show.
#[derive(Debug, Default)]
pub struct Telemetry {
    numbers: Mutex<Numbers>,
}

impl Telemetry {
    /// Takes hold of the numbers. Held for a few additions, never across a wait.
    pub fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts something about a target.
    pub fn target(&self, name: &str, count: impl FnOnce(&mut Target)) {
        count(self.lock().targets.entry(name.to_owned()).or_default());
    }

    /// Counts something about a database.
    pub fn database(&self, runtime: &str, count: impl FnOnce(&mut Database)) {
        count(self.lock().databases.entry(runtime.to_owned()).or_default());
    }

    /// Counts something about a follower.
    pub fn follower(&self, runtime: &str, source: Source, count: impl FnOnce(&mut Follower)) {
        let key = (runtime.to_owned(), source.label());
        count(self.lock().followers.entry(key).or_default());
    }
}
