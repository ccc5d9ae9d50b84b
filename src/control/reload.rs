//! Asks for the configuration to be read anew, and waits for what came of it.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Reloads that wait for their turn.
const MAX_WAITING: usize = 8;
/// How long one is waited for. What is followed ends its reading first.
const LONGEST: Duration = Duration::from_secs(30);

/// What a new configuration has changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// What is different from now on.
    pub applied: Vec<String>,
    /// What will be different after a restart alone.
    pub needs_restart: Vec<String>,
}

/// Why a new configuration is not in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// It is refused.
    #[error("the configuration stays as it was: {0}")]
    Refused(String),
    /// Nobody reads it.
    #[error("the configuration is not read for now; the log says more")]
    Ending,
}

/// Takes what came of a reload.
pub type Reload = oneshot::Sender<Result<Changes, String>>;

/// Where reloads are asked for.
#[derive(Debug, Clone)]
pub struct Reloads(mpsc::Sender<Reload>);

/// A place to ask, and where the requests come out.
pub fn reloads() -> (Reloads, mpsc::Receiver<Reload>) {
    let (ask, asked) = mpsc::channel(MAX_WAITING);
    (Reloads(ask), asked)
}

impl Reloads {
    /// Asks for one.
    pub(super) async fn ask(&self) -> Result<Changes, ReloadError> {
        let (reload, done) = oneshot::channel();
        let asked = async {
            self.0.send(reload).await.ok()?;
            done.await.ok()
        };
        let done = timeout(LONGEST, asked).await.ok().flatten();
        done.ok_or(ReloadError::Ending)?.map_err(ReloadError::Refused)
    }
}
