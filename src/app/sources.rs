//! What is watched: the sources of each runtime are started and ended together, while ledger, store and
//! listeners stay.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::config::{Config, Following, MongodbConfig, Polling, RuntimeConfig};
use crate::control::Roster;
use crate::model::{Instant, NameRule, RuntimeId, Source};
use crate::mongo::Mongo;
use crate::sources::ag2::Ag2;
use crate::sources::follow::{Desk, Laggards};
use crate::sources::logs::Logs;
use crate::sources::mongodb::{self, Stored};
use crate::sources::scrape::{Client, Scrape, trust};
use crate::sources::{Intake, runner};
use crate::store::Shared;

/// How long polls wait for the followers to catch up. The log tells of turns one by one, so it
/// should be the first to tell of them.
const LOGS_FIRST: Duration = Duration::from_secs(10);
/// How often it is asked whether the routes were polled once.
const ASK: Duration = Duration::from_millis(50);
/// How long sources may take to end.
const LONGEST_END: Duration = Duration::from_secs(10);

/// All that the sources of a runtime depend on. Where it stays, they stay.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spec {
    runtime: RuntimeConfig,
    following: Following,
    /// How far back its chats are read in the database.
    past: Duration,
}

/// One runtime that is watched.
#[derive(Debug)]
struct Watched {
    id: RuntimeId,
    spec: Spec,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Watched {
    fn name(&self) -> &Arc<str> {
        &self.spec.runtime.name
    }

    /// Ends its sources.
    async fn end(mut self) {
        self.stop.send_replace(true);
        let ended = timeout(LONGEST_END, async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended {
                    error!(runtime = &**self.name(), %error, "a source broke down");
                }
            }
        });
        if ended.await.is_err() {
            warn!(runtime = &**self.name(), "its sources did not end, and are cut off");
        }
    }
}

/// All runtimes that are watched.
#[derive(Debug)]
pub(super) struct Watching {
    intake: Intake,
    mongo: Option<Arc<Mongo>>,
    /// Told who is watched, where events are pushed.
    roster: Option<Arc<Roster>>,
    watched: Vec<Watched>,
}

impl Watching {
    /// Watches nothing yet.
    pub(super) fn new(
        intake: Intake,
        mongo: Option<Arc<Mongo>>,
        roster: Option<Arc<Roster>>,
    ) -> Self {
        Self { intake, mongo, roster, watched: Vec::new() }
    }

    /// What time it is.
    pub(super) fn now(&self) -> Instant {
        self.intake.ledger.clock().now()
    }

    /// Other settings of the ledger hold from now on.
    pub(super) fn settings(&self, config: &Config) {
        self.intake.ledger.lock().set_settings(config.ledger.clone());
    }

    /// Watches what the configuration names, and nothing else. What has not changed goes on. Says what
    /// has.
    pub(super) async fn change(&mut self, config: &Config) -> Vec<String> {
        let mut changes = Vec::new();
        let specs: Vec<Spec> =
            config.runtimes.iter().map(|runtime| spec(runtime, config)).collect();
        let mut going_on = Vec::new();
        let mut ending = JoinSet::new();
        for watched in std::mem::take(&mut self.watched) {
            if specs.contains(&watched.spec) {
                going_on.push(watched);
                continue;
            }
            let name = Arc::clone(watched.name());
            let stays = specs.iter().any(|spec| spec.runtime.name == name);
            changes.push(format!("runtime {name} {}", if stays { "changed" } else { "removed" }));
            ending.spawn(async move {
                let id = watched.id;
                watched.end().await;
                (name, id, stays)
            });
        }
        while let Some(ended) = ending.join_next().await {
            if let Ok((name, id, stays)) = ended {
                self.forget(&name, id, stays);
            }
        }
        let laggards = Laggards::default();
        for spec in specs {
            let known = going_on.iter().position(|watched| watched.spec == spec);
            if let Some(known) = known {
                self.watched.push(going_on.swap_remove(known));
                continue;
            }
            let change = format!("runtime {} changed", spec.runtime.name);
            if !changes.contains(&change) {
                changes.push(format!("runtime {} added", spec.runtime.name));
            }
            let watched = self.start(spec, config, &laggards);
            self.watched.push(watched);
        }
        let ledger = &self.intake.ledger;
        let now = ledger.clock().now();
        ledger.lock().retire_unwatched(now);
        if let Some(roster) = &self.roster {
            for Watched { id, .. } in &self.watched {
                let mut ledger = ledger.lock();
                ledger.open(*id, Source::Receive, now);
                ledger.open(*id, Source::UsageIngest, now);
            }
            let watched = self.watched.iter();
            roster.set(watched.map(|w| (Arc::clone(w.name()), w.id)).collect());
        }
        changes
    }

    /// Ends all sources.
    pub(super) async fn end(self) {
        let mut ending = JoinSet::new();
        for watched in self.watched {
            ending.spawn(watched.end());
        }
        ending.join_all().await;
    }

    /// Shows nothing any more of what was watched.
    fn forget(&self, name: &Arc<str>, id: RuntimeId, stays: bool) {
        self.intake.ledger.lock().unwatch(id);
        let numbers = &mut self.intake.telemetry.lock();
        for ((runtime, _), follower) in &mut numbers.followers {
            if **runtime == **name {
                follower.readers.clear();
            }
        }
        if !stays {
            numbers.followers.retain(|(runtime, _), _| **runtime != **name);
            numbers.targets.remove(&**name);
            numbers.databases.remove(&**name);
        }
    }

    /// Starts the sources of a runtime.
    fn start(&self, spec: Spec, config: &Config, laggards: &Laggards) -> Watched {
        let shared = &self.intake.ledger;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let runtime = &spec.runtime;
        let name = &runtime.name;
        let mongodb = config.mongodb.as_ref().filter(|m| m.runtime == *name);
        let now = shared.clock().now();
        let id = shared.lock().watch(name, &expected(runtime, mongodb), now);
        let desk = |source, readers| {
            let who = (Arc::clone(name), id);
            Desk::open(self.intake.clone(), who, source, readers, laggards.clone())
        };
        if !runtime.logs.is_empty() {
            info!(runtime = &**name, paths = runtime.logs.len(), "following its log");
            let desk = desk(Source::Logs, 1);
            let options = spec.following.logs(&runtime.logs, &config.own_logs);
            tasks.spawn(Logs::open(desk, options, config.names).run(stopped.clone()));
        }
        if !runtime.ag2.is_empty() {
            info!(runtime = &**name, paths = ?runtime.ag2, "following AG2's log");
            let desk = desk(Source::Ag2, runtime.ag2.len());
            for path in &runtime.ag2 {
                let options = spec.following.ag2(path);
                let ag2 = Ag2::open(Arc::clone(&desk), path, options, config.names);
                tasks.spawn(ag2.run(stopped.clone()));
            }
        }
        if let (Some(mongodb), Some(mongo)) = (mongodb, &self.mongo) {
            let servers = mongo.servers();
            info!(runtime = &**name, servers, "reading chats in MongoDB");
            let settings = reading(mongodb, spec.past, config.names);
            let source = Stored::new(Arc::clone(name), id, mongo, settings, self.intake.clone());
            let polled = runtime.polling.is_some().then(|| (Arc::clone(shared), id));
            let (laggards, interval) = (laggards.clone(), mongodb.poll_interval);
            tasks.spawn(read_stored(source, interval, laggards, polled, stopped.clone()));
        }
        if let Some(polling) = runtime.polling.clone() {
            let guess =
                if config.runtime_is_default { " (nothing else was configured)" } else { "" };
            info!(runtime = &**name, "polling the runtime{guess}");
            let interval = polling.interval;
            let source = scrape(Arc::clone(name), id, polling, config.names, self.intake.clone());
            let laggards = laggards.clone();
            tasks.spawn(async move {
                // Bounded: whoever cannot read its logs is polled all the same.
                timeout(LOGS_FIRST, laggards.caught_up()).await.ok();
                runner::run(source, interval, stopped).await;
            });
        }
        Watched { id, spec, stop, tasks }
    }
}

fn spec(runtime: &RuntimeConfig, config: &Config) -> Spec {
    let is_stored = config.mongodb.as_ref().is_some_and(|m| m.runtime == runtime.name);
    let past = if is_stored { config.ledger.retention } else { Duration::ZERO };
    Spec { runtime: runtime.clone(), following: config.following, past }
}

/// The sources that tell of a runtime.
fn expected(runtime: &RuntimeConfig, mongodb: Option<&MongodbConfig>) -> Vec<Source> {
    [
        (Source::Scrape, runtime.polling.is_some()),
        (Source::Logs, !runtime.logs.is_empty()),
        (Source::Ag2, !runtime.ag2.is_empty()),
        (Source::Mongodb, mongodb.is_some()),
    ]
    .into_iter()
    .filter_map(|(source, wanted)| wanted.then_some(source))
    .collect()
}

/// Reads a database, once those who count turns had their word: it knows messages alone. `polled` is
/// the runtime whose routes are polled, if they are.
async fn read_stored(
    source: Stored,
    interval: Duration,
    laggards: Laggards,
    polled: Option<(Arc<Shared>, RuntimeId)>,
    stop: watch::Receiver<bool>,
) {
    let others = async {
        laggards.caught_up().await;
        if let Some((shared, id)) = polled {
            // Answered or not.
            while shared.lock().runtime(id).is_some_and(|runtime| runtime.up.is_none()) {
                sleep(ASK).await;
            }
        }
    };
    timeout(LOGS_FIRST, others).await.ok();
    runner::run(source, interval, stop).await;
}

/// How the database is read.
fn reading(mongodb: &MongodbConfig, past: Duration, names: NameRule) -> mongodb::Settings {
    mongodb::Settings {
        collections: mongodb.collections.clone(),
        past,
        create_index: mongodb.create_index,
        introduced_only: mongodb.introduced_only,
        names,
    }
}

fn scrape(
    name: Arc<str>,
    id: RuntimeId,
    polling: Polling,
    names: NameRule,
    intake: Intake,
) -> Scrape {
    let trust = polling.endpoint.is_tls().then(|| trust(&polling.certificates));
    let client = Client::new(polling.endpoint, trust, polling.timeout, polling.max_body_bytes);
    Scrape::new(name, id, client, polling.token, names, intake)
}
