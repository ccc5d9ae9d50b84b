//! The ledger as it is shared, and the task that keeps it.
//!
//! Nothing is shown before it is kept: a scrape renders under the lock, notes the version it
//! rendered, and sends the text only once that version is on the disk. So no sample that a
//! Prometheus ever saw can be lost by SIGKILL or power. Commits are grouped by themselves: what
//! changes while one is under way goes into the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tracing::{error, info};

use super::StoreFile;
use crate::ledger::{Entry, Ledger};
use crate::model::Clock;
use crate::telemetry::{OWN_BOUNDS, Telemetry};

/// After a failed commit, how long until the next try.
const RETRY: Duration = Duration::from_secs(1);
/// How long a scrape waits for a commit. A disk that takes longer is as good as none.
const LONGEST_WAIT: Duration = Duration::from_secs(4);

/// The ledger, shared by sources and scrapes.
#[derive(Debug)]
pub struct Shared {
    ledger: Mutex<Ledger>,
    clock: Arc<dyn Clock>,
    changed: Notify,
    ended: Notify,
    progress: watch::Sender<Progress>,
}

/// How far the keeper has got.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// The version that was dealt with last, kept or not.
    settled: u64,
    /// The last version that is on the disk.
    kept: u64,
    /// There is no place for state: nothing is ever kept.
    in_memory: bool,
}

/// How a change is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It survives the process.
    OnDisk,
    /// It does not: there is no place for state, as was said at the start.
    InMemory,
}

/// A change could not be kept for now. It is in the ledger, and may be on the disk later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the state cannot be written to the disk")]
pub struct NotKept;

impl Shared {
    /// Shares a ledger.
    pub fn new(ledger: Ledger, clock: Arc<dyn Clock>) -> Arc<Self> {
        let progress = watch::Sender::default();
        Arc::new(Self {
            ledger: Mutex::new(ledger),
            clock,
            changed: Notify::new(),
            ended: Notify::new(),
            progress,
        })
    }

    /// Where the time comes from.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Takes hold of the ledger; whatever is changed is kept soon after. Never held over a wait.
    pub fn lock(&self) -> LedgerGuard<'_> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, endings) = (ledger.version(), ledger.endings());
        LedgerGuard { before, endings, ledger, changed: &self.changed, ended: &self.ended }
    }

    /// Waits until a chat has ended that a shared store is owed. For one task.
    pub async fn chat_ended(&self) {
        self.ended.notified().await;
    }

    /// Waits until everything up to `version` is kept, or cannot be kept for now; at most so long.
    pub async fn settled(&self, version: u64, patience: Duration) {
        // Neither a slow disk nor the end of the keeper may keep an answer from being given.
        if self.progress(version, patience.min(LONGEST_WAIT)).await.is_none() {
            tracing::debug!(version, "answered before the state was kept");
        }
    }

    /// Waits until everything up to `version` is on the disk, where there is one.
    pub async fn kept(&self, version: u64) -> Result<Kept, NotKept> {
        match self.progress(version, LONGEST_WAIT).await {
            Some(Progress { in_memory: true, .. }) => Ok(Kept::InMemory),
            Some(progress) if progress.kept >= version => Ok(Kept::OnDisk),
            _ => Err(NotKept),
        }
    }

    /// Whether the last try to write failed, so that nothing can be promised.
    pub fn is_failing(&self) -> bool {
        let Progress { settled, kept, in_memory } = *self.progress.borrow();
        !in_memory && kept < settled
    }

    /// How far the keeper has got once it has dealt with `version`; `None` if that takes too long.
    async fn progress(&self, version: u64, patience: Duration) -> Option<Progress> {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|progress| progress.settled >= version);
        let reached = timeout(patience, reached).await.ok()?.ok()?;
        Some(*reached)
    }
}

impl std::fmt::Debug for dyn Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// The ledger, held.
#[derive(Debug)]
pub struct LedgerGuard<'a> {
    ledger: MutexGuard<'a, Ledger>,
    changed: &'a Notify,
    ended: &'a Notify,
    before: u64,
    endings: u64,
}

impl std::ops::Deref for LedgerGuard<'_> {
    type Target = Ledger;
    fn deref(&self) -> &Ledger {
        &self.ledger
    }
}

impl std::ops::DerefMut for LedgerGuard<'_> {
    fn deref_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }
}

impl Drop for LedgerGuard<'_> {
    fn drop(&mut self) {
        if self.ledger.version() != self.before {
            self.changed.notify_one();
        }
        if self.ledger.endings() != self.endings {
            self.ended.notify_one();
        }
    }
}

/// Commits what changes, until it is told to stop.
#[derive(Debug)]
pub struct Keeper {
    shared: Arc<Shared>,
    telemetry: Arc<Telemetry>,
    file: Option<StoreFile>,
    failing: bool,
}

impl Keeper {
    /// Without a file, the ledger lives in memory only.
    pub fn new(shared: Arc<Shared>, telemetry: Arc<Telemetry>, file: Option<StoreFile>) -> Self {
        {
            let store = &mut telemetry.lock().store;
            store.durable = file.is_some();
            store.bytes = file.as_ref().map_or(0, StoreFile::size_bytes);
        }
        Self { shared, telemetry, file, failing: false }
    }

    /// Runs until `stop` is true, and commits once more after that.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let shared = Arc::clone(&self.shared);
        let mut unwritten = Vec::new();
        loop {
            let stopping = *stop.borrow_and_update();
            let (version, changes) = {
                let mut ledger = shared.lock();
                ledger.take_changes(shared.clock().now())
            };
            merge(&mut unwritten, changes);
            unwritten = self.commit(unwritten).await;
            let in_memory = self.file.is_none();
            let is_kept = unwritten.is_empty() && !in_memory;
            shared.progress.send_modify(|progress| {
                // Also where it failed: a scrape says what is known, and that it is not durable.
                progress.settled = version;
                progress.kept = if is_kept { version } else { progress.kept };
                progress.in_memory = in_memory;
            });
            if stopping {
                return;
            }
            let retry = async {
                if unwritten.is_empty() {
                    std::future::pending::<()>().await;
                }
                sleep(RETRY).await;
            };
            tokio::select! {
                () = shared.changed.notified() => {}
                () = retry => {}
                _ = stop.changed() => {}
            }
        }
    }

    /// Returns what could not be written.
    async fn commit(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        if entries.is_empty() {
            return entries;
        }
        let Some(mut file) = self.file.take() else { return Vec::new() };
        let task = tokio::task::spawn_blocking(move || {
            let start = std::time::Instant::now();
            let result = file.commit(&entries);
            (file, entries, result, start.elapsed())
        });
        let Ok((file, entries, result, took)) = task.await else {
            error!("the state store is gone; running in memory");
            self.telemetry.lock().store.durable = false;
            return Vec::new();
        };
        {
            let store = &mut self.telemetry.lock().store;
            store.bytes = file.size_bytes();
            store.durable = result.is_ok();
            store.commits += u64::from(result.is_ok());
            store.errors += u64::from(result.is_err());
            store.durations.observe(OWN_BOUNDS, took.as_secs_f64());
        }
        let Err(error) = result else {
            if std::mem::take(&mut self.failing) {
                info!("the state is kept again");
            }
            self.file = Some(file);
            return Vec::new();
        };
        if !std::mem::replace(&mut self.failing, true) {
            error!(%error, "the state cannot be kept; counting goes on in memory");
        }
        if StoreFile::is_damage(&error) {
            self.start_over(file, &error);
            // Not kept before all of it is written anew.
            return entries;
        }
        self.file = Some(file);
        entries
    }

    /// The file was damaged under our hands: the ledger is whole, so it is written anew.
    fn start_over(&mut self, file: StoreFile, error: &rusqlite::Error) {
        let now = self.shared.clock().now().wall;
        match file.start_over(error.to_string(), now) {
            Ok(opened) => {
                self.file = Some(opened.file);
                self.telemetry.lock().store.damaged += 1;
                self.shared.lock().mark_all();
            }
            Err(error) => error!(%error, "the damaged state cannot be replaced; running in memory"),
        }
    }
}

/// Puts later rows in the place of earlier ones, so that a long outage needs no more memory than
/// the ledger itself.
fn merge(unwritten: &mut Vec<Entry>, changes: Vec<Entry>) {
    if unwritten.is_empty() {
        *unwritten = changes;
        return;
    }
    let newer: std::collections::HashSet<_> = changes.iter().map(|e| (e.kind, e.id)).collect();
    unwritten.retain(|entry| !newer.contains(&(entry.kind, entry.id)));
    unwritten.extend(changes);
}
