//! The `demo` command: the simulated runtime, and the exporter beside it.

use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{Simulation, serve};
use crate::app::{App, StartError};
use crate::cli::{DemoArgs, MongodbArgs, Secret, ServeArgs};
use crate::config::{Config, ConfigError, LISTEN_ADDRESS};
use crate::model::{Clock as _, SystemClock};
use crate::server::Inherited;

/// A newcomer wants to see numbers move.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Chats of the simulation do not stay missing for long.
const LOST_AFTER: Duration = Duration::from_secs(20);

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The simulated runtime has no address or no place.
    #[error("cannot start the simulated runtime")]
    Runtime(#[source] io::Error),
    /// The exporter does not start.
    #[error(transparent)]
    Exporter(#[from] StartError),
    /// A flag is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Runs both until `stop` is true. The state goes when it ends.
pub async fn run(args: &DemoArgs, stop: watch::Receiver<bool>) -> Result<(), DemoError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DemoError::Runtime)?;
    let runtime = listener.local_addr().map_err(DemoError::Runtime)?;
    let state = tempfile::tempdir().map_err(DemoError::Runtime)?;
    let flags = |address: String| ServeArgs {
        listen_address: vec![address],
        control_address: Some(String::new()),
        // Of a real runtime that this environment belongs to.
        mongodb: MongodbArgs { uri: Some(Secret::default()), ..MongodbArgs::default() },
        runtime_url: vec![format!("demo=http://{runtime}")],
        poll_interval: Some(POLL_INTERVAL.into()),
        lost_after: Some(LOST_AFTER.into()),
        state_dir: Some(state.path().to_owned()),
        ..ServeArgs::default()
    };
    let clock = Arc::new(SystemClock::start());
    let address = args.listen_address.clone().unwrap_or_else(|| LISTEN_ADDRESS.to_owned());
    let app =
        match App::new(Config::load(&flags(address))?, clock.clone(), Inherited::default()).await {
            // The usual address is taken, perhaps by a real exporter; any other will do.
            Err(StartError::Bind { .. }) if args.listen_address.is_none() => {
                App::new(
                    Config::load(&flags("127.0.0.1:0".to_owned()))?,
                    clock.clone(),
                    Inherited::default(),
                )
                .await?
            }
            app => app?,
        };
    let simulation = Simulation::with_speed(args.seed, clock.now().wall, args.speed);
    let mut stopped = stop.clone();
    let simulated = serve(listener, simulation, clock, async move {
        // A closed channel is an end, too.
        stopped.wait_for(|stopped| *stopped).await.ok();
    });
    if let Some(address) = app.addresses().first() {
        // Nothing can be done about a closed terminal; the demo goes on.
        writeln!(
            io::stdout(),
            "A simulated runtime answers at   http://{runtime}/metrics/perf/aggregate\n\
             and this exporter shows it at    http://{address}/\n\
             with metrics for Prometheus at   http://{address}/metrics/prometheus\n\n\
             See numbers move:\n  \
             watch -n1 \"curl -s http://{address}/metrics | grep ^mozaiks_workflow_cost_usd\"\n\n\
             Stop with Ctrl-C."
        )
        .ok();
    }
    let ((), result) = tokio::join!(app.run(stop, None), simulated);
    result.map_err(DemoError::Runtime)
}
