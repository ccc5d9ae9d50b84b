//! MongoDB as store: the state of pushed chats, written now and then and when a chat ends.
//!
//! The ledger knows which chats the store is owed ([`crate::ledger::Debt`]); this task pays in
//! batches, oldest first, and tells the ledger what it has paid. Nobody waits for it: while the
//! database is away the debt grows by nothing but marks, and is paid when it is back. Every number
//! that is written is absolute, so what is written twice does no harm.
//!
//! | file | knows |
//! |---|---|
//! | `document` | what a document looks like |
//! | `names` | which collection it belongs to |
//! | `write` | the bulk write, and what became of each document |

mod document;
mod names;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{info, warn};

pub use names::{NameError, Template, check_collection};

use crate::ledger::{Owing, Pair, Workflow};
use crate::model::Timestamp;
use crate::mongo::{MAX_IDLE, Mongo, MongoError, Reason};
use crate::store::Shared;
use crate::telemetry::{FlushNumbers, OWN_BOUNDS, Telemetry};
use write::{Change, Outcome, Written};

/// Chats of one batch: what is copied under the ledger's lock at once.
const BATCH: usize = 500;
/// Chats that end within this time are written together.
const GROUP: Duration = Duration::from_secs(1);
/// The first flush comes no later than this: what was owed when the exporter stopped is old.
const FIRST: Duration = Duration::from_secs(5);
/// The first pause after a flush that failed.
const SHORTEST_RETRY: Duration = Duration::from_secs(2);
/// The longest one. A database that comes back is found this soon.
const LONGEST_RETRY: Duration = Duration::from_mins(1);
/// Exporters that lost the database together do not come back together: up to a quarter later.
const JITTER: f64 = 0.25;
/// How long the last flush may take when the exporter stops.
const LAST: Duration = Duration::from_secs(4);

/// Where documents go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Collection of the sessions.
    pub sessions: String,
    /// Collections of the stats.
    pub stats: Template,
    /// Whether documents that somebody else wrote are written over.
    pub own: bool,
}

/// Writes what is owed until it is told to stop.
#[derive(Debug)]
pub struct Flush {
    mongo: Arc<Mongo>,
    shared: Arc<Shared>,
    telemetry: Arc<Telemetry>,
    places: Places,
    interval: Duration,
    ledger: String,
    failures: u32,
    failing: Option<Reason>,
    said_conflict: bool,
    said_refusal: bool,
}

impl Flush {
    /// Writes to that database every `interval` and when chats end.
    pub fn new(
        mongo: Arc<Mongo>,
        shared: Arc<Shared>,
        telemetry: Arc<Telemetry>,
        places: Places,
        interval: Duration,
    ) -> Self {
        let ledger = shared.lock().own_name(|| format!("{:016x}", fastrand::u64(..)));
        telemetry.lock().flush = Some(FlushNumbers {
            failures: Reason::ALL.into_iter().map(|reason| (reason.label(), 0)).collect(),
            documents: Outcome::ALL.into_iter().map(|outcome| (outcome.label(), 0)).collect(),
            ..FlushNumbers::default()
        });
        Self {
            mongo,
            shared,
            telemetry,
            places,
            interval,
            ledger,
            failures: 0,
            failing: None,
            said_conflict: false,
            said_refusal: false,
        }
    }

    /// Runs until `stop` is true, and flushes once more then.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut next = Instant::now() + self.interval.min(FIRST).mul_f64(fastrand::f64());
        while !*stop.borrow_and_update() {
            let shared = Arc::clone(&self.shared);
            let is_failing = self.failing.is_some();
            let ended = async {
                if is_failing {
                    std::future::pending::<()>().await;
                }
                shared.chat_ended().await;
                sleep(GROUP).await;
            };
            tokio::select! {
                () = sleep_until(next) => {}
                () = ended => {}
                _ = stop.changed() => break,
            }
            tokio::select! {
                pause = self.flush_and_say() => next = Instant::now() + pause,
                _ = stop.changed() => break,
            }
        }
        if self.shared.lock().debt().chats == 0 {
            return;
        }
        if timeout(LAST, self.flush_and_say()).await.is_err() {
            let chats = self.shared.lock().debt().chats;
            warn!(chats, "stopping before MongoDB had all chats; they are written after the start");
        }
    }

    /// Flushes, counts it, says what is news. Returns how long to wait for the next.
    async fn flush_and_say(&mut self) -> Duration {
        let start = Instant::now();
        let result = self.flush().await;
        if matches!(result, Ok(0)) {
            self.mongo.rest(MAX_IDLE).await;
        } else {
            self.count(&result, start.elapsed());
        }
        match result {
            Ok(chats) => {
                self.failures = 0;
                if self.failing.take().is_some() {
                    info!(chats, servers = self.mongo.servers(), "MongoDB has the chats again");
                }
                self.interval
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                if self.failing.replace(error.reason) != Some(error.reason) {
                    let chats = self.shared.lock().debt().chats;
                    warn!(reason = error.reason.label(), %error, chats,
                        "chats cannot be written to MongoDB; they are kept for it");
                }
                retry_after(self.failures).mul_f64(1.0 + JITTER * fastrand::f64())
            }
        }
    }

    fn count(&self, result: &Result<usize, MongoError>, took: Duration) {
        let wall = self.shared.clock().now().wall;
        let mut numbers = self.telemetry.lock();
        let Some(flush) = &mut numbers.flush else { return };
        flush.durations.observe(OWN_BOUNDS, took.as_secs_f64());
        match result {
            Ok(_) => {
                flush.successes += 1;
                flush.last_success = Some(wall);
            }
            Err(error) => *flush.failures.entry(error.reason.label()).or_default() += 1,
        }
    }

    /// Pays what is owed by now. Returns how many chats that were. Where collections alone fail, the
    /// others are written, and the first error is the result.
    async fn flush(&mut self) -> Result<usize, MongoError> {
        let until = self.shared.lock().last_ticket();
        let (mut after, mut paid, mut failed) = (0, 0, None);
        loop {
            let now = self.shared.clock().now().wall;
            let (batch, rows, version) = {
                let ledger = self.shared.lock();
                let batch = ledger.owed(after, until, BATCH, now);
                let pairs = batch.iter().map(pair).collect::<BTreeSet<Pair>>();
                (batch, ledger.pair_totals(&pairs), ledger.version())
            };
            let Some(last) = batch.last() else { return failed.map_or(Ok(paid), Err) };
            after = last.ticket;
            // Others see no more of a chat than what survives us.
            self.shared.settled(version, Duration::MAX).await;
            let unwritten = self.write(&batch, &rows, now).await?;
            let mut ledger = self.shared.lock();
            let is_written = |chat: &&Owing| {
                !unwritten.contains_key(&self.places.sessions)
                    && !unwritten.contains_key(&self.stats(&chat.app_id, &chat.workflow_name))
            };
            for chat in batch.iter().filter(is_written) {
                ledger.settle_debt(chat.no, chat.revision, now);
                paid += 1;
            }
            failed = failed.or(unwritten.into_values().next());
        }
    }

    /// Writes a batch. Returns the collections that could not be written to, and why.
    async fn write(
        &mut self,
        batch: &[Owing],
        rows: &BTreeMap<Pair, Workflow>,
        now: Timestamp,
    ) -> Result<BTreeMap<String, MongoError>, MongoError> {
        let database = self.mongo.database().await?;
        let mut changes: BTreeMap<String, Vec<Change>> = BTreeMap::new();
        let sessions = changes.entry(self.places.sessions.clone()).or_default();
        sessions.extend(batch.iter().map(document::session));
        for chat in batch {
            let collection = self.stats(&chat.app_id, &chat.workflow_name);
            changes.entry(collection).or_default().push(document::stats(chat, now));
        }
        for ((app_id, workflow_name), row) in rows {
            let overall = document::overall(row, &self.ledger, now);
            changes.entry(self.stats(app_id, workflow_name)).or_default().push(overall);
        }
        let mut unwritten = BTreeMap::new();
        for (collection, changes) in changes {
            let own = self.places.own;
            match write::write(&self.mongo, &database, &collection, changes, own).await {
                Ok(written) => self.say(&collection, &written),
                Err(error) if write::is_about_collection(&error) => {
                    unwritten.insert(collection, error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(unwritten)
    }

    /// The collection of a pair's stats.
    fn stats(&self, app_id: &str, workflow_name: &str) -> String {
        self.places.stats.fill(self.mongo.database_name(), app_id, workflow_name)
    }

    /// Counts what became of documents. What is wrong with them is said once.
    fn say(&mut self, collection: &str, written: &Written) {
        if let Some(flush) = &mut self.telemetry.lock().flush {
            for outcome in Outcome::ALL {
                let number = written.outcomes[outcome as usize];
                *flush.documents.entry(outcome.label()).or_default() += number;
            }
        }
        let conflicts = written.outcomes[Outcome::Conflict as usize];
        if conflicts > 0 && !std::mem::replace(&mut self.said_conflict, true) {
            warn!(
                collection,
                documents = conflicts,
                "documents that somebody else wrote are left alone (--mongodb.own writes over them)"
            );
        }
        if let Some(error) = &written.refusal
            && !std::mem::replace(&mut self.said_refusal, true)
        {
            let documents = written.outcomes[Outcome::Refused as usize];
            warn!(collection, documents, %error, "MongoDB refuses documents; they are left out");
        }
    }
}

fn pair(chat: &Owing) -> Pair {
    (Arc::clone(&chat.app_id), Arc::clone(&chat.workflow_name))
}

/// The pause after so many failures in a row, without the jitter.
fn retry_after(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    SHORTEST_RETRY.saturating_mul(factor).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_slow_it_down_to_a_bound() {
        let pauses: Vec<u64> = (1..40).map(|n| retry_after(n).as_secs()).collect();
        assert_eq!(&pauses[..6], [2, 4, 8, 16, 32, 60]);
        assert_eq!(pauses[38], 60);
    }
}
