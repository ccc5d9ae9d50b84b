//! What `serve` would work with, each thing by the code that `serve` has for it. Nothing is changed: state is
//! not migrated, no index is made, no document is written, and no exporter is scraped, which would count.

mod access;
mod config;
mod listeners;
mod logs;
mod mongodb;
mod runtimes;
mod state;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use super::report::{Report, Row};
use crate::cli::ServeArgs;
use crate::config::Config;
use crate::model::Timestamp;

/// All of it takes no longer.
const WHOLE: Duration = Duration::from_secs(25);
/// One question takes no longer.
const QUESTION: Duration = Duration::from_secs(8);

/// Looks at everything.
pub(super) async fn check(args: &ServeArgs) -> Report {
    let end = Instant::now() + WHOLE;
    let (mut rows, config) = config::rows(args);
    if let Some(config) = config {
        let config = Arc::new(config);
        let state =
            beside("state", end, &config, |config| state::rows(config.state_dir.as_deref()));
        let listeners = async {
            let access = beside("access", end, &config, access::rows).await;
            let listeners = listeners::rows(&config, &access, end).await;
            access.rows.into_iter().chain(listeners)
        };
        let logs = beside("logs", end, &config, logs::rows);
        let (runtimes, mongodb) = (runtimes::rows(&config, end), mongodb::rows(&config, end));
        let (state, runtimes, logs, mongodb, listeners) =
            tokio::join!(state, runtimes, logs, mongodb, listeners);
        rows.extend(state);
        rows.extend(runtimes);
        rows.extend(logs);
        rows.extend(mongodb);
        rows.extend(listeners);
    }
    Report { rows, ..Report::default() }
}

/// Does what may block, as long as there is time.
async fn beside<T: From<Vec<Row>> + Send + 'static>(
    thing: &str,
    end: Instant,
    config: &Arc<Config>,
    look: impl FnOnce(&Config) -> T + Send + 'static,
) -> T {
    let config = Arc::clone(config);
    match timeout_at(end, spawn_blocking(move || look(&config))).await {
        Ok(Ok(seen)) => seen,
        _ => {
            let what = format!("could not be looked at within {}s", WHOLE.as_secs());
            vec![Row::fail(thing, what, "see whether its file system answers")].into()
        }
    }
}

/// How long a question may take that is put now.
fn patience(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now()).min(QUESTION)
}

/// The wall clock.
fn now() -> Timestamp {
    Timestamp(chrono::Utc::now().timestamp_micros())
}

/// A span for people: no more digits than matter.
fn span(span: Duration) -> String {
    let round = if span < Duration::from_secs(1) {
        Duration::from_millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX).max(1))
    } else {
        Duration::from_secs(span.as_secs())
    };
    humantime::format_duration(round).to_string()
}

/// A size for people.
fn size(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}
