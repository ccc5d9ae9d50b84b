//! Wires the parts together, and owns every task from the start to the drained end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use crate::cli::Users;
use crate::config::{Config, ControlConfig, FlushConfig, MongodbConfig, Polling, RuntimeConfig};
use crate::control::{self, Access, Control};
use crate::flush::Flush;
use crate::ledger::{Ledger, Settings};
use crate::logging::timed;
use crate::metrics::{Show, UserPolicy};
use crate::model::{Clock, Instant, NameRule, RuntimeId, Source};
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

/// Name of the key of user hashes in the state directory.
const USER_KEY: &str = "user-hash.key";
/// Opening the state takes long if it takes this.
const SLOW_OPENING: Duration = Duration::from_secs(2);
/// How long polls wait for the followers to catch up. The log tells of turns one by one, so it
/// should be the first to tell of them.
const LOGS_FIRST: Duration = Duration::from_secs(10);
/// How often it is asked whether the routes were polled once.
const ASK: Duration = Duration::from_millis(50);
/// Its length: that of the hash, as RFC 2104 advises.
const USER_KEY_BYTES: usize = 32;

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
        let site = Arc::new(Site { ledger: Arc::clone(&shared), telemetry, show });
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

/// Reads the ledger from the state directory, or starts an empty one.
fn open_state(
    dir: Option<&Path>,
    settings: &Settings,
    telemetry: &Telemetry,
    now: Instant,
) -> Result<(Ledger, Option<StoreFile>), StartError> {
    let in_memory = || Ledger::new(settings.clone());
    let Some(dir) = dir else {
        warn!("there is no place for state; counting in memory, and a restart begins anew");
        return Ok((in_memory(), None));
    };
    let _timed = timed("opening the state", SLOW_OPENING);
    let mut opened = match StoreFile::open(dir, now.wall) {
        Ok(opened) => opened,
        Err(error @ (DirError::Unwritable { .. } | DirError::Database { .. })) => {
            let error = chain(&error);
            let entries = StoreFile::peek(dir);
            let rows = entries.len();
            warn!(%error, rows, "counting in memory from what could be read; give a --state-dir");
            let ledger = Ledger::restore(settings.clone(), entries, now);
            return Ok((ledger.unwrap_or_else(|_| in_memory()), None));
        }
        Err(error) => return Err(error.into()),
    };
    let rows = opened.entries.len();
    let ledger = match Ledger::restore(settings.clone(), std::mem::take(&mut opened.entries), now) {
        Ok(ledger) => ledger,
        Err(error) => {
            opened = opened.file.start_over(chain(&error), now.wall)?;
            in_memory()
        }
    };
    if let Some((aside, reason)) = &opened.damage {
        telemetry.lock().store.damaged += 1;
        let aside = aside.display();
        error!(%aside, %reason, "the state was damaged and is moved aside; counting begins anew");
    }
    info!(dir = %dir.display(), rows, "state opened");
    Ok((ledger, Some(opened.file)))
}

/// Where anybody may ask, users are not named unless somebody wants them to be.
fn user_policy(wanted: Option<Users>, listeners: &[TcpListener], dir: Option<&Path>) -> UserPolicy {
    let is_open = |listener: &TcpListener| {
        listener.local_addr().is_ok_and(|address| !address.ip().is_loopback())
    };
    let open = listeners.iter().any(is_open);
    match wanted {
        Some(Users::Plain) => UserPolicy::Plain,
        Some(Users::None) => UserPolicy::None,
        None if !open => UserPolicy::Plain,
        None | Some(Users::Hash) => {
            if wanted.is_none() {
                info!("the listener is open to others, so user ids are hashed (--users)");
            }
            let key = user_key(dir.map(|dir| dir.join(USER_KEY)));
            UserPolicy::Hash(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key))
        }
    }
}

/// The kept key, or a new one.
fn user_key(path: Option<PathBuf>) -> Vec<u8> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let fresh = || {
        use ring::rand::SecureRandom as _;
        let mut key = vec![0; USER_KEY_BYTES];
        if ring::rand::SystemRandom::new().fill(&mut key).is_err() {
            warn!("the system gives no random numbers; user hashes can be guessed");
        }
        key
    };
    let Some(path) = path else {
        warn!("user hashes change with each start, since there is no place for their key");
        return fresh();
    };
    match std::fs::read(&path) {
        Ok(key) if key.len() == USER_KEY_BYTES => key,
        _ => {
            let key = fresh();
            let mut options = std::fs::File::options();
            let file = options.create(true).truncate(true).write(true).mode(0o600).open(&path);
            if let Err(error) = file.and_then(|mut file| file.write_all(&key)) {
                let path = path.display();
                warn!(%path, %error, "user hashes change with each start: their key is not kept");
            }
            key
        }
    }
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
