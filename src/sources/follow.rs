//! What all followers have in common: how they join, report and say that they have caught up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Intake;
use super::tail::{Chunk, Status, Tail};
use crate::model::{Bookmark, Report, RuntimeId, Source};
use crate::telemetry;

/// Followers that have not caught up yet, over all runtimes. Polls wait for them: whoever tells
/// more of a turn than the routes do should be the first to tell of it.
#[derive(Debug, Clone, Default)]
pub struct Laggards {
    count: watch::Sender<usize>,
}

impl Laggards {
    /// Waits until all have caught up.
    pub async fn caught_up(&self) {
        // The sender is ours, so it cannot be gone.
        self.count.subscribe().wait_for(|count| *count == 0).await.ok();
    }
}

/// One source of one runtime, which may read several things.
#[derive(Debug)]
pub struct Desk {
    /// Takes the facts.
    pub intake: Intake,
    /// Name of the runtime.
    pub name: Arc<str>,
    /// Its number.
    pub runtime: RuntimeId,
    /// The source.
    pub source: Source,
    behind: AtomicUsize,
    laggards: Laggards,
}

impl Desk {
    /// Joins the ledger, before anything is looked at. `readers` is how many will read.
    pub fn open(
        intake: Intake,
        (name, runtime): (Arc<str>, RuntimeId),
        source: Source,
        readers: usize,
        laggards: Laggards,
    ) -> Arc<Self> {
        intake.ledger.lock().join(runtime, source);
        intake.telemetry.follower(&name, source, |_| {});
        laggards.count.send_modify(|count| *count += readers);
        Arc::new(Self { intake, name, runtime, source, behind: readers.into(), laggards })
    }

    /// Where the reader of that name had got to: keys and places.
    pub fn places(&self, reader: &str) -> Vec<(String, String)> {
        self.intake.ledger.lock().bookmarks(&self.key(reader, ""))
    }

    /// A bookmark of the reader of that name.
    pub fn bookmark(&self, reader: &str, key: &str, place: Option<String>) -> Bookmark {
        Bookmark { key: self.key(reader, key), place }
    }

    fn key(&self, reader: &str, key: &str) -> String {
        format!("{}:{}:{reader}:{key}", self.source.label(), self.name)
    }

    /// Hands in what was read.
    pub fn hear(&self, report: Report) {
        let mut ledger = self.intake.ledger.lock();
        let now = self.intake.ledger.clock().now();
        ledger.learn(report, now);
    }

    /// One reader has told all that lay there when it came. To be called once by each.
    pub fn caught_up(&self) {
        self.laggards.count.send_modify(|count| *count = count.saturating_sub(1));
        if self.behind.fetch_sub(1, Ordering::Relaxed) == 1 {
            let now = self.intake.ledger.clock().now();
            self.intake.ledger.lock().caught_up(self.runtime, self.source, now);
        }
    }

    /// Shows these results at 0 before there are any.
    pub fn announce(&self, results: &[&'static str]) {
        self.count(|follower| {
            for result in results {
                follower.lines.entry(result).or_default();
            }
        });
    }

    /// Tells what a tail knows of itself, and what became of the lines that it gave.
    pub fn tell(&self, reader: &str, status: &Status, results: BTreeMap<&'static str, u64>) {
        self.count(|follower| {
            for (result, lines) in results {
                *follower.lines.entry(result).or_default() += lines;
            }
            let counters = status.counters;
            let known = telemetry::Reader {
                bytes: counters.bytes,
                bytes_behind: status.bytes_behind,
                rows_behind: 0,
                files: status.files as u64,
                renamed: counters.rotations,
                cut: counters.truncations,
                problems: status.problems.len() as u64,
            };
            follower.readers.insert(reader.to_owned(), known);
        });
    }

    /// Counts something about this follower.
    pub fn count(&self, count: impl FnOnce(&mut telemetry::Follower)) {
        self.intake.telemetry.follower(&self.name, self.source, count);
    }
}

/// Waits for lines, and says once that all is told that lay there.
#[derive(Debug)]
pub struct CaughtUp<'a> {
    desk: &'a Desk,
    reader: &'a str,
    said: bool,
}

/// How often it is asked whether that is so. Where nothing lies, no line ever comes to say it.
const ASK: Duration = Duration::from_millis(50);

impl<'a> CaughtUp<'a> {
    /// For the reader of that name.
    pub fn new(desk: &'a Desk, reader: &'a str) -> Self {
        Self { desk, reader, said: false }
    }

    /// The next lines. To stop waiting loses nothing.
    pub async fn next(&mut self, tail: &mut Tail) -> Chunk {
        while !self.said {
            if tail.status().caught_up {
                self.said = true;
                self.desk.tell(self.reader, tail.status(), BTreeMap::new());
                self.desk.caught_up();
                break;
            }
            if let Ok(chunk) = timeout(ASK, tail.next()).await {
                return chunk;
            }
        }
        tail.next().await
    }
}
