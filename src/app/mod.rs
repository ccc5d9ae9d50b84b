//! Wires the parts together, and owns every task from the start to the drained end.

mod state;
mod users;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{error, info};

use crate::config::{Config, ControlConfig, FlushConfig, MongodbConfig, Polling, RuntimeConfig};
use crate::control::{self, Access, Control};
use crate::flush::Flush;
use crate::metrics::Show;
use crate::model::{Clock, NameRule, RuntimeId, Source};
use crate::mongo::{Mongo, MongoError};
use crate::server::{Admission, Site, serve};
use crate::sources::ag2::Ag2;
use crate::sources::follow::{Desk, Laggards};
use crate::sources::logs::Logs;
use crate::sources::mongodb::{self, Stored};
use crate::sources::scrape::{Client, Scrape, trust};
use crate::sources::{Intake, runner};
use crate::store::{DirError, Keeper, Shared, StoreFile};
use crate::telemetry::Telemetry;
use state::open_state;
use users::user_policy;

/// How long polls wait for the followers to catch up. The log tells of turns one by one, so it
/// should be the first to tell of them.
const LOGS_FIRST: Duration = Duration::from_secs(10);
/// How often it is asked whether the routes were polled once.
const ASK: Duration = Duration::from_millis(50);

/// Why the exporter does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({flag})")]
    Bind {
        /// The option.
        flag: &'static str,
        /// Which.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state directory must not be used.
    #[error("--state-dir")]
    State(#[from] DirError),
    /// The database cannot be used.
    #[error("--mongodb.uri")]
    Mongodb(#[from] MongoError),
    /// Signals cannot be listened to.
    #[error("cannot listen to signals")]
    Signals(#[source] io::Error),
}

/// The exporter with its addresses bound and its state read; not yet running.
#[derive(Debug)]
pub struct App {
    config: Config,
    listeners: Vec<TcpListener>,
    control: Option<(TcpListener, ControlConfig)>,
    shared: Arc<Shared>,
    telemetry: Arc<Telemetry>,
    file: Option<StoreFile>,
    show: Show,
    mongo: Option<Arc<Mongo>>,
}

impl App {
    /// Binds, locks and reads. What is wrong with the surroundings shows here.
    pub async fn new(mut config: Config, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let mut listeners = Vec::new();
        for address in &config.listen_addresses {
            listeners.push(bind("--web.listen-address", address).await?);
        }
        let control = match config.control.take() {
            Some(control) => {
                let listener = bind("--control.listen-address", &control.address).await?;
                Some((listener, control))
            }
            None => None,
        };
        let reach = |mongodb: &MongodbConfig| {
            Mongo::new(mongodb.uri.clone(), &mongodb.database).map(Arc::new)
        };
        let mongo = config.mongodb.as_ref().map(reach).transpose()?;
        let telemetry = Arc::new(Telemetry::default());
        let now = clock.now();
        let (ledger, file) =
            open_state(config.state_dir.as_deref(), &config.ledger, &telemetry, now)?;
        let durable_dir = config.state_dir.as_deref().filter(|_| file.is_some());
        let users = user_policy(config.users, &listeners, durable_dir);
        let show = Show { users, compat: config.compat, max_series: config.max_series };
        let shared = Shared::new(ledger, clock);
        Ok(Self { config, listeners, control, shared, telemetry, file, show, mongo })
    }

    /// The bound addresses.
    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Runs until `stop` is true; returns when everything is drained and kept.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let Self { mut config, listeners, control, shared, telemetry, file, show, mongo } = self;
        let (last, after_all) = watch::channel(false);
        let keeper = Keeper::new(Arc::clone(&shared), Arc::clone(&telemetry), file);
        let keeper = tokio::spawn(keeper.run(after_all));

        let mut tasks = JoinSet::new();
        let intake = Intake { ledger: Arc::clone(&shared), telemetry: Arc::clone(&telemetry) };
        let now = shared.clock().now();
        let laggards = Laggards::default();
        let mut watched = Vec::new();
        for runtime in std::mem::take(&mut config.runtimes) {
            let mongodb = config.mongodb.as_ref().filter(|m| m.runtime == runtime.name);
            let sources = expected(&runtime, mongodb);
            let id = shared.lock().watch(&runtime.name, &sources, now);
            watched.push((Arc::clone(&runtime.name), id));
            let who = (Arc::clone(&runtime.name), id);
            let desk = |source, readers| {
                Desk::open(intake.clone(), who.clone(), source, readers, laggards.clone())
            };
            if !runtime.logs.is_empty() {
                info!(runtime = &*runtime.name, paths = runtime.logs.len(), "following its log");
                let desk = desk(Source::Logs, 1);
                let options = config.following.logs(&runtime.logs, &config.own_logs);
                tasks.spawn(Logs::open(desk, options, config.names).run(stop.clone()));
            }
            if !runtime.ag2.is_empty() {
                info!(runtime = &*runtime.name, paths = ?runtime.ag2, "following AG2's log");
                let desk = desk(Source::Ag2, runtime.ag2.len());
                for path in &runtime.ag2 {
                    let options = config.following.ag2(path);
                    let ag2 = Ag2::open(Arc::clone(&desk), path, options, config.names);
                    tasks.spawn(ag2.run(stop.clone()));
                }
            }
            if let (Some(mongodb), Some(mongo)) = (mongodb, &mongo) {
                let servers = mongo.servers();
                info!(runtime = &*runtime.name, servers, "reading chats in MongoDB");
                let settings = reading(mongodb, &config);
                let source = Stored::new(who.0.clone(), id, mongo, settings, intake.clone());
                let polled = runtime.polling.is_some().then(|| (Arc::clone(&shared), id));
                let (laggards, interval) = (laggards.clone(), mongodb.poll_interval);
                tasks.spawn(read_stored(source, interval, laggards, polled, stop.clone()));
            }
            if let Some(polling) = runtime.polling {
                let guess =
                    if config.runtime_is_default { " (nothing else was configured)" } else { "" };
                info!(runtime = &*runtime.name, "polling the runtime{guess}");
                let interval = polling.interval;
                let source = scrape(runtime.name, id, polling, config.names, intake.clone());
                let (laggards, stop) = (laggards.clone(), stop.clone());
                tasks.spawn(async move {
                    // Bounded: whoever cannot read its logs is polled all the same.
                    timeout(LOGS_FIRST, laggards.caught_up()).await.ok();
                    runner::run(source, interval, stop).await;
                });
            }
        }
        shared.lock().retire_unwatched(now);
        if let Some((listener, control)) = control {
            for (_, id) in &watched {
                let mut ledger = shared.lock();
                ledger.open(*id, Source::Receive, now);
                ledger.open(*id, Source::UsageIngest, now);
            }
            if let Ok(address) = listener.local_addr() {
                info!(%address, "control listener ready");
            }
            let intake = control::Intake {
                ledger: Arc::clone(&shared),
                telemetry: Arc::clone(&telemetry),
                runtimes: watched,
                names: config.names,
                failed_calls_count: control.failed_calls_count,
            };
            let control = Control::new(intake, control.token_file.map(Access::new));
            let stop = stop.clone();
            tasks.spawn(serve(listener, Arc::new(control), Admission::PUSHERS, stop));
        }
        let flush = config.mongodb.and_then(|mongodb| mongodb.flush);
        if let (Some(mongo), Some(flush)) = (mongo, flush) {
            store_in(mongo, flush, &shared, &telemetry, &mut tasks, &stop);
        }
        let site = Arc::new(Site::new(Arc::clone(&shared), telemetry, show));
        tasks.spawn(Arc::clone(&site).remember(stop.clone()));
        for listener in listeners {
            if let Ok(address) = listener.local_addr() {
                info!(%address, "metrics listener ready");
            }
            tasks.spawn(serve(listener, Arc::clone(&site), Admission::SCRAPERS, stop.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                error!(%error, "a task broke down");
            }
        }
        // The last commit comes when nobody changes anything any more.
        last.send_replace(true);
        if let Err(error) = keeper.await {
            error!(%error, "the state may not be kept");
        }
        info!("stopped");
    }
}

/// `:9847` is how Prometheus' own programs write «any address».
async fn bind(flag: &'static str, address: &str) -> Result<TcpListener, StartError> {
    let target = match address.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => address.to_owned(),
    };
    let bound = TcpListener::bind(&target).await;
    bound.map_err(|source| StartError::Bind { flag, address: address.to_owned(), source })
}

/// Writes pushed chats to the database.
fn store_in(
    mongo: Arc<Mongo>,
    flush: FlushConfig,
    shared: &Arc<Shared>,
    telemetry: &Arc<Telemetry>,
    tasks: &mut JoinSet<()>,
    stop: &watch::Receiver<bool>,
) {
    let (servers, database) = (mongo.servers(), mongo.database_name());
    info!(servers, database, "pushed chats are written to MongoDB");
    let (shared, telemetry) = (Arc::clone(shared), Arc::clone(telemetry));
    let flush = Flush::new(mongo, shared, telemetry, flush.places, flush.interval);
    tasks.spawn(flush.run(stop.clone()));
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
fn reading(mongodb: &MongodbConfig, config: &Config) -> mongodb::Settings {
    mongodb::Settings {
        collections: mongodb.collections.clone(),
        past: config.ledger.retention,
        create_index: mongodb.create_index,
        introduced_only: mongodb.introduced_only,
        names: config.names,
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

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
