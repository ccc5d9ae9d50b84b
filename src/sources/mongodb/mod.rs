//! Reads the runtime's chats in MongoDB: exact usage per chat, app, workflow and user, over all
//! restarts, of one runtime or of a whole cluster.
//!
//! A collection with an index on the time of the last change is read in that order, from a place
//! that is kept with what was read. Without one, nothing is read in full either: each poll asks for
//! the chats that live, for what began in the known workflows, and for the next slice of all chats
//! in the order of their ids, so that everything is seen in turns.
//!
//! | file | |
//! |---|---|
//! | `wire` | what a document says |
//! | `ask` | questions, indexes, bounds |
//! | `place` | how far the changes were read |
//! | `turns` | the way without an index |
//! | `tell` | what becomes of what was read |

mod ask;
mod look;
mod place;
mod tell;
mod turns;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::runner::{Poll, Polled};
use super::{Failure, Intake};
use crate::model::{Bookmark, NameRule, RuntimeId, Source, Timestamp};
use crate::mongo::{Mongo, MongoError, Reason};
use crate::telemetry::{Database, OWN_BOUNDS};
use ask::{Asker, Indexes, Question};
pub use look::{Seen, look};
use place::Pass;

/// How often it is asked which indexes there are, and whether the server counts messages by now.
const LOOK_AGAIN: Duration = Duration::from_mins(5);
/// How often it is asked whether a collection that was not there has come, at most.
const LOOK_FOR_MISSING: Duration = Duration::from_secs(5);
/// Pages of one collection that are read in one poll. What is left is read at once by the next.
const PAGES: usize = 10;

/// How a database is read.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The collections that hold chats.
    pub collections: Vec<String>,
    /// How far back the first contact reads.
    pub past: Duration,
    /// Whether an index that is missing may be made.
    pub create_index: bool,
    /// Whether chats are left out that no other source has introduced.
    pub introduced_only: bool,
    /// How long names may be.
    pub names: NameRule,
}

/// One database that is read.
#[derive(Debug)]
pub struct Stored {
    name: Arc<str>,
    runtime: RuntimeId,
    settings: Settings,
    intake: Intake,
    collections: Vec<Collection>,
    /// Refusals that were logged, so that a document that stays malformed is named once.
    named: BTreeMap<&'static str, u64>,
}

/// One collection, and what is known of it.
#[derive(Debug)]
struct Collection {
    asker: Asker,
    way: Way,
    looked: Option<Instant>,
    index_wanted: bool,
    /// A way through the changes that is not at its end. To begin a new one, somewhat before the place
    /// that it reached, would never end where that stretch holds more than one poll reads.
    pass: Option<Pass>,
    turns: turns::Turns,
}

/// How a collection can be read.
#[derive(Debug, Clone, Default)]
enum Way {
    /// It was not asked yet, or not since the server refused a question.
    #[default]
    Unknown,
    /// There is no such collection.
    Missing,
    /// By these indexes.
    By(Indexes),
}

impl Stored {
    /// A source for the database of a runtime that the ledger watches.
    pub fn new(
        name: Arc<str>,
        runtime: RuntimeId,
        mongo: &Arc<Mongo>,
        settings: Settings,
        intake: Intake,
    ) -> Self {
        intake.telemetry.database(&name, |database| {
            for reason in Reason::ALL {
                database.failures.insert(reason.label(), 0);
            }
            for result in tell::RESULTS {
                database.documents.insert(result, 0);
            }
        });
        let collection = |collection: &String| Collection {
            asker: Asker::new(Arc::clone(mongo), collection.clone()),
            way: Way::Unknown,
            looked: None,
            index_wanted: settings.create_index,
            pass: None,
            turns: turns::Turns::default(),
        };
        let collections = settings.collections.iter().map(collection).collect();
        Self { name, runtime, settings, intake, collections, named: BTreeMap::new() }
    }

    /// Asks each collection. One that is refused does not keep us from the others.
    async fn ask(&mut self) -> Result<Polled, MongoError> {
        let start = Instant::now();
        let began = self.now();
        let (mut more, mut read, mut failed) = (false, 0_usize, None);
        for n in 0..self.collections.len() {
            match self.ask_one(n).await {
                Ok(unfinished) => {
                    more |= unfinished;
                    read += 1;
                }
                Err(error) => {
                    self.collections[n].way = Way::Unknown;
                    self.count_failure(&error);
                    if !matches!(error.reason, Reason::Unauthorized | Reason::Server) {
                        return Err(error);
                    }
                    failed.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failed.take_if(|_| read == 0) {
            return Err(error);
        }
        if !more {
            // All that lay there is told.
            let all_told = self.answer(Vec::new(), Vec::new(), false, began);
            let now = self.intake.ledger.clock().now();
            self.intake.ledger.lock().hear(&all_told, 0, now);
        }
        let refused = self.collections.iter().find_map(|c| c.asker.refused.as_ref());
        let degraded = failed.as_ref().map(failure).or_else(|| {
            refused.map(|error| {
                let detail = format!("agents' messages are not counted as turns: {error}");
                Failure::new(super::Reason::Status, detail)
            })
        });
        let behind = if more { None } else { Some(Duration::ZERO) };
        let (counts, now) = (refused.is_none(), self.now());
        self.intake.telemetry.database(&self.name, |database| {
            database.last_success = Some(now);
            database.counts_messages = Some(counts);
            if let Some(behind) = behind {
                database.behind_seconds = behind.as_secs_f64();
            }
        });
        Ok(Polled { busy: start.elapsed(), degraded, more })
    }

    /// Asks one collection. Returns whether more of it can be had at once.
    async fn ask_one(&mut self, n: usize) -> Result<bool, MongoError> {
        self.look(n).await?;
        match self.collections[n].way.clone() {
            Way::Unknown | Way::Missing => Ok(false),
            Way::By(indexes) if indexes.changed.is_some() => self.ask_changed(n, &indexes).await,
            Way::By(indexes) => self.ask_in_turns(n, &indexes).await,
        }
    }

    /// Finds out, now and then, which indexes there are.
    async fn look(&mut self, n: usize) -> Result<(), MongoError> {
        let collection = &mut self.collections[n];
        let patience = match &collection.way {
            Way::Unknown => Duration::ZERO,
            Way::Missing => LOOK_FOR_MISSING,
            Way::By(_) => LOOK_AGAIN,
        };
        if collection.looked.is_some_and(|at| at.elapsed() < patience) {
            return Ok(());
        }
        let mut indexes = collection.asker.indexes().await?;
        let is_missing = indexes.as_ref().is_some_and(|found| found.changed.is_none());
        if is_missing && std::mem::take(&mut collection.index_wanted) {
            let name = &collection.asker.collection;
            match collection.asker.make_index().await {
                Ok(()) => info!(runtime = &*self.name, collection = name, "index made"),
                Err(error) => {
                    warn!(runtime = &*self.name, collection = name, %error, "no index could be made");
                }
            }
            indexes = collection.asker.indexes().await?;
        }
        let has_index = indexes.as_ref().map(|found| found.changed.is_some());
        if has_index == Some(false) && collection.looked.is_none() {
            info!(
                runtime = &*self.name,
                collection = &collection.asker.collection,
                "no index on last_updated_at: chats are read in turns; see docs/mongodb.md"
            );
        }
        collection.looked = Some(Instant::now());
        collection.way = indexes.map_or(Way::Missing, Way::By);
        // It may have learnt to count.
        collection.asker.refused = None;
        let name = collection.asker.collection.clone();
        self.intake.telemetry.database(&self.name, |database| match has_index {
            Some(has_index) => drop(database.indexed.insert(name, has_index)),
            None => drop(database.indexed.remove(&name)),
        });
        Ok(())
    }

    /// Reads on in the order of changes. Returns whether it stopped before the end.
    async fn ask_changed(&mut self, n: usize, indexes: &Indexes) -> Result<bool, MongoError> {
        let key = self.key(n, "changed");
        let begun = self.collections[n].pass.take();
        let mut pass =
            begun.unwrap_or_else(|| Pass::begin(self.place(&key), self.settings.past, self.now()));
        for _ in 0..PAGES {
            let question = Question::Changed { from: pass.from, skip: pass.skip };
            let page = self.collections[n].asker.ask(&question, indexes).await?;
            let now = self.now();
            let times = page.documents.iter().filter_map(|document| wire::updated_at(document));
            pass.turn(&times.collect::<Vec<_>>(), page.full, now);
            let place = Bookmark { key: key.clone(), place: Some(written(pass.place(now))) };
            self.tell(&page.documents, None, vec![place]);
            if pass.done {
                return Ok(false);
            }
            let behind = pass.behind(now).as_secs_f64();
            self.intake.telemetry.database(&self.name, |database| database.behind_seconds = behind);
        }
        self.collections[n].pass = Some(pass);
        Ok(true)
    }

    fn count_failure(&self, error: &MongoError) {
        self.intake.telemetry.database(&self.name, |database| {
            *database.failures.entry(error.reason.label()).or_default() += 1;
        });
    }

    fn now(&self) -> Timestamp {
        self.intake.ledger.clock().now().wall
    }

    fn key(&self, n: usize, what: &str) -> String {
        let collection = &self.collections[n].asker.collection;
        format!("{}:{}:{collection}:{what}", Source::Mongodb.label(), self.name)
    }

    /// The place that was kept under a key, if it can be read.
    fn place(&self, key: &str) -> Option<Timestamp> {
        let kept = self.intake.ledger.lock().bookmarks(key);
        let place = kept.into_iter().find(|(rest, _)| rest.is_empty());
        place.and_then(|(_, place)| place.parse().ok()).map(Timestamp)
    }
}

/// A place as it is kept: microseconds since the Unix epoch.
fn written(place: Timestamp) -> String {
    place.0.to_string()
}

/// A failure in the words of all sources.
fn failure(error: &MongoError) -> Failure {
    let reason = match error.reason {
        Reason::Connect => super::Reason::Connect,
        Reason::Timeout => super::Reason::Timeout,
        Reason::Tls => super::Reason::Tls,
        Reason::Unauthorized => super::Reason::Unauthorized,
        Reason::Server => super::Reason::Status,
        Reason::Parse => super::Reason::Parse,
    };
    Failure::new(reason, error.detail.clone())
}

impl Poll for Stored {
    fn target(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "MongoDB"
    }

    async fn poll(&mut self) -> Result<Polled, Failure> {
        let start = Instant::now();
        let result = self.ask().await;
        let took = start.elapsed().as_secs_f64();
        self.intake.telemetry.database(&self.name, |database: &mut Database| {
            database.polls += 1;
            database.durations.observe(OWN_BOUNDS, took);
        });
        result.map_err(|error| failure(&error))
    }

    fn paced(&self, next: Duration) {
        self.intake.telemetry.database(&self.name, |database| {
            database.interval_seconds = next.as_secs_f64();
        });
    }
}
