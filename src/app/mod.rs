//! Wires the parts together, and owns every task from the start to the drained end.

mod reload;
mod sources;
mod state;
mod users;

use std::io;
use std::sync::Arc;

use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use crate::access::{AccessError, Gate, Side};
use crate::cli::ServeArgs;
use crate::config::{Config, FlushConfig, MongodbConfig};
use crate::control::{self, Control, Roster, reloads};
use crate::flush::Flush;
use crate::metrics::Show;
use crate::model::{Clock, HANDED_OVER};
use crate::mongo::{Mongo, MongoError};
use crate::server::{Admission, Inherited, Listener, Site, serve};
use crate::sources::Intake;
use crate::store::{DirError, Keeper, Shared, StoreFile};
use crate::telemetry::Telemetry;
use reload::Reloader;
use sources::Watching;
use state::open_state;
use users::user_policy;

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
    /// Nobody can say who gets in.
    #[error(transparent)]
    Access(#[from] AccessError),
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

impl StartError {
    /// Whether what was configured is wrong, and not the surroundings.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Access(_))
    }
}

/// How the configuration is read anew while the exporter runs.
#[derive(Debug)]
pub struct Again {
    /// What the command line and the environment said.
    pub args: ServeArgs,
    /// Each asks for it.
    pub hangups: Signal,
}

/// The exporter with its addresses bound and its state read; not yet running.
#[derive(Debug)]
pub struct App {
    config: Config,
    listeners: Vec<Listener>,
    gate: Arc<Gate>,
    control: Option<(Listener, Arc<Gate>)>,
    shared: Arc<Shared>,
    telemetry: Arc<Telemetry>,
    file: Option<StoreFile>,
    show: Show,
    mongo: Option<Arc<Mongo>>,
}

impl App {
    /// Binds, locks and reads. What is wrong with the surroundings shows here.
    pub async fn new(
        config: Config,
        clock: Arc<dyn Clock>,
        mut inherited: Inherited,
    ) -> Result<Self, StartError> {
        let telemetry = Arc::new(Telemetry::default());
        let gate = Gate::open(Side::Metrics, config.means.clone(), Arc::clone(&telemetry))?;
        let mut listeners = Vec::new();
        for address in &config.listen_addresses {
            let bound = bind("--web.listen-address", address, &mut inherited).await?;
            listeners.extend(bound);
        }
        let control = match &config.control {
            Some(control) => {
                let means = control.means.clone();
                let gate = Gate::open(Side::Control, means, Arc::clone(&telemetry))?;
                let address = &control.address;
                let bound = bind("--control.listen-address", address, &mut inherited).await?;
                bound.into_iter().next().map(|listener| (listener, gate))
            }
            None => None,
        };
        let reach = |mongodb: &MongodbConfig| {
            Mongo::new(mongodb.uri.clone(), &mongodb.database).map(Arc::new)
        };
        let mongo = config.mongodb.as_ref().map(reach).transpose()?;
        let now = clock.now();
        telemetry.lock().config.last = Some((true, now.wall));
        let (ledger, file) =
            open_state(config.state_dir.as_deref(), &config.ledger, &telemetry, now)?;
        let durable_dir = config.state_dir.as_deref().filter(|_| file.is_some());
        let users = user_policy(config.users, &listeners, &gate, durable_dir);
        let show = Show { users, compat: config.compat, max_series: config.max_series };
        let shared = Shared::new(ledger, clock);
        Ok(Self { config, listeners, gate, control, shared, telemetry, file, show, mongo })
    }

    /// The bound addresses.
    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.listeners.iter().filter_map(Listener::address).collect()
    }

    /// Runs until `stop` is true; returns when everything is drained and kept. With `again`, the
    /// configuration is read anew where somebody wants it.
    pub async fn run(self, stop: watch::Receiver<bool>, again: Option<Again>) {
        let Self { config, listeners, gate, control, shared, telemetry, file, show, mongo } = self;
        let (last, after_all) = watch::channel(false);
        let keeper = Keeper::new(Arc::clone(&shared), Arc::clone(&telemetry), file);
        let keeper = tokio::spawn(keeper.run(after_all));

        let mut tasks = JoinSet::new();
        let intake = Intake { ledger: Arc::clone(&shared), telemetry: Arc::clone(&telemetry) };
        let roster = control.is_some().then(Arc::<Roster>::default);
        let mut watching = Watching::new(intake, mongo.clone(), roster.clone());
        watching.change(&config).await;
        let (ask, asked) = reloads();
        let gates = (Arc::clone(&gate), control.as_ref().map(|(_, gate)| Arc::clone(gate)));
        if let (Some((listener, gate)), Some(runtimes)) = (control, roster) {
            announce("control", &listener, &gate);
            if !listener.is_local() && !gate.asks() {
                warn!("anybody who reaches the control listener may push (--control.token-file)");
            }
            let intake = control::Intake {
                ledger: Arc::clone(&shared),
                telemetry: Arc::clone(&telemetry),
                runtimes,
                names: config.names,
                failed_calls_count: config.control.as_ref().is_some_and(|c| c.failed_calls_count),
            };
            let reloads = again.is_some().then_some(ask);
            let control = Arc::new(Control::new(intake, Arc::clone(&gate), reloads));
            tasks.spawn(serve(listener, gate, control, Admission::PUSHERS, stop.clone()));
        }
        let flush = config.mongodb.as_ref().and_then(|mongodb| mongodb.flush.clone());
        if let (Some(mongo), Some(flush)) = (mongo, flush) {
            store_in(mongo, flush, &shared, &telemetry, &mut tasks, &stop);
        }
        let site = Site::new(shared, Arc::clone(&telemetry), show, Arc::clone(&gate));
        let site = Arc::new(site);
        tasks.spawn(Arc::clone(&site).remember(stop.clone()));
        for listener in listeners {
            announce("metrics", &listener, &gate);
            let (gate, site, stop) = (Arc::clone(&gate), Arc::clone(&site), stop.clone());
            tasks.spawn(serve(listener, gate, site, Admission::SCRAPERS, stop));
        }
        match again {
            Some(again) => {
                let reloader = Reloader { config, watching, gates, telemetry };
                watching = reloader.run(again, asked, stop).await;
            }
            None => stopped(stop).await,
        }
        watching.end().await;
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

/// Waits for the end to be announced.
async fn stopped(mut stop: watch::Receiver<bool>) {
    // Whoever could announce it is gone only with the process.
    stop.wait_for(|stop| *stop).await.ok();
}

/// Listens; at an address that the service manager listens at, too, all its sockets are taken.
async fn bind(
    flag: &'static str,
    address: &str,
    inherited: &mut Inherited,
) -> Result<Vec<Listener>, StartError> {
    let bound = match address.strip_prefix(HANDED_OVER) {
        Some(name) => inherited.take(name),
        None => Listener::bind(address).await.map(|listener| vec![listener]),
    };
    bound.map_err(|source| StartError::Bind { flag, address: address.to_owned(), source })
}

/// Says where a listener is, and who gets in.
fn announce(which: &str, listener: &Listener, gate: &Gate) {
    let (address, tls, access) = (listener.shown(), gate.tls().is_some(), gate.asks());
    let access = if access { "by credentials" } else { "open" };
    info!(%address, tls, access, "{which} listener ready");
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
