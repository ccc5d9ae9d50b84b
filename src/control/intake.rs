//! From bodies to the ledger, and from there to the disk.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ledger::Received;
use crate::model::{Answer, NameRule, RuntimeId, Source};
use crate::sources::receive::{BodyError, ItemError, Reader, Shape, Summary, items, read, summary};
use crate::store::{Kept, NotKept, Shared};
use crate::telemetry::Telemetry;

/// Items in one body, at most.
pub(super) const MAX_ITEMS: usize = 10_000;
/// Events booked before others get hold of the ledger.
const AT_ONCE: usize = 500;

/// The runtimes that are watched, by name, in their order; it may change while the exporter runs.
#[derive(Debug, Default)]
pub struct Roster(Mutex<Vec<(Arc<str>, RuntimeId)>>);

impl Roster {
    /// These are watched from now on.
    pub fn set(&self, runtimes: Vec<(Arc<str>, RuntimeId)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = runtimes;
    }

    /// The runtime of that name, or the first.
    fn find(&self, name: Option<&str>) -> Option<(Arc<str>, RuntimeId)> {
        let runtimes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match name {
            Some(name) => runtimes.iter().find(|(known, _)| **known == *name).cloned(),
            None => runtimes.first().cloned(),
        }
    }

    /// Their names.
    fn names(&self) -> String {
        let runtimes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runtimes.iter().map(|(name, _)| &**name).collect::<Vec<_>>().join(", ")
    }
}

/// Takes what is pushed.
#[derive(Debug)]
pub struct Intake {
    /// Takes the facts.
    pub ledger: Arc<Shared>,
    /// Counts what came.
    pub telemetry: Arc<Telemetry>,
    /// Whose events there may be; what names none belongs to the first.
    pub runtimes: Arc<Roster>,
    /// How long names may be.
    pub names: NameRule,
    /// Whether a failed tool call counts as a call, too.
    pub failed_calls_count: bool,
}

/// What became of the items of one body.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) accepted: u64,
    pub(super) duplicates: u64,
    /// Index and error of those that were refused.
    pub(super) refused: Vec<(usize, ItemError)>,
    /// What the store has to reach before this may be said.
    version: u64,
}

impl Intake {
    /// The runtime of that name, or the first.
    pub(super) fn runtime(&self, name: Option<&str>) -> Option<(Arc<str>, RuntimeId)> {
        self.runtimes.find(name)
    }

    /// The names of all runtimes.
    pub(super) fn known(&self) -> String {
        self.runtimes.names()
    }

    /// Books the events of a body.
    pub(super) fn events(
        &self,
        body: &[u8],
        shape: Shape,
        (runtime, id): &(Arc<str>, RuntimeId),
    ) -> Result<Outcome, BodyError> {
        let items = items(body, shape, MAX_ITEMS)?;
        let reader =
            Reader { runtime, names: self.names, failed_calls_count: self.failed_calls_count };
        let mut outcome = Outcome::default();
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        let mut clocks_off = 0;
        for start in (0..items.len()).step_by(AT_ONCE) {
            let now = self.ledger.clock().now();
            let mut kinds = Vec::new();
            let mut deliveries = Vec::new();
            for index in start..items.len().min(start + AT_ONCE) {
                match read(&items.get(index).unwrap_or_default(), reader, now) {
                    Ok(event) => {
                        clocks_off += u64::from(event.clock_was_off);
                        kinds.push(event.kind);
                        deliveries.push(event.delivery);
                    }
                    Err(error) => outcome.refused.push((index, error)),
                }
            }
            let received = {
                let mut ledger = self.ledger.lock();
                let received = ledger.receive(*id, deliveries, now);
                outcome.version = ledger.version();
                received
            };
            for (kind, received) in kinds.into_iter().zip(received) {
                let (count, result) = match received {
                    Received::New => (&mut outcome.accepted, "accepted"),
                    Received::Duplicate => (&mut outcome.duplicates, "duplicate"),
                };
                *count += 1;
                *counts.entry((kind, result)).or_default() += 1;
            }
        }
        let events = &mut self.telemetry.lock().events;
        events.clocks_off += clocks_off;
        for (key, count) in counts {
            *events.received.entry(key).or_default() += count;
        }
        for (_, error) in &outcome.refused {
            *events.rejected.entry(error.problem.label()).or_default() += 1;
        }
        Ok(outcome)
    }

    /// Books a summary of the runtime's usage ingest.
    pub(super) fn summary(
        &self,
        body: &[u8],
        (runtime, id): &(Arc<str>, RuntimeId),
    ) -> Result<Outcome, ItemError> {
        let told = summary(body, runtime, self.names);
        let Summary { id: event_id, snapshot } = told.inspect_err(|error| {
            let rejected = &mut self.telemetry.lock().events.rejected;
            *rejected.entry(error.problem.label()).or_default() += 1;
        })?;
        let now = self.ledger.clock().now();
        let answer = Answer {
            source: Source::UsageIngest,
            runtime: *id,
            process: None,
            runtime_clock: now.wall,
            complete: false,
            more: false,
            chats: vec![snapshot],
            unreadable: Vec::new(),
            bookmarks: Vec::new(),
        };
        let (received, version) = {
            let mut ledger = self.ledger.lock();
            (ledger.receive_answer(event_id, &answer, now), ledger.version())
        };
        let mut outcome = Outcome { version, ..Outcome::default() };
        let (count, result) = match received {
            Received::New => (&mut outcome.accepted, "accepted"),
            Received::Duplicate => (&mut outcome.duplicates, "duplicate"),
        };
        *count += 1;
        let events = &mut self.telemetry.lock().events;
        *events.received.entry(("usage_summary", result)).or_default() += 1;
        Ok(outcome)
    }

    /// Waits until what was booked is on the disk. What was handed in before may not be there yet.
    pub(super) async fn kept(&self, outcome: &Outcome) -> Result<Kept, NotKept> {
        let waiting = Waiting::begin(&self.telemetry);
        let kept = self.ledger.kept(outcome.version).await;
        drop(waiting);
        kept
    }
}

/// Counts those who wait for the disk.
struct Waiting<'a>(&'a Telemetry);

impl<'a> Waiting<'a> {
    fn begin(telemetry: &'a Telemetry) -> Self {
        telemetry.lock().events.waiting += 1;
        Self(telemetry)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waiting = &mut self.0.lock().events.waiting;
        *waiting = waiting.saturating_sub(1);
    }
}
