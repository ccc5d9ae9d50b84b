//! The configuration read anew: what can be different at once is, what cannot is named.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use super::Again;
use super::sources::Watching;
use crate::access::{AccessError, Gate, Means, Prepared};
use crate::cli::ServeArgs;
use crate::config::{Config, ConfigError};
use crate::control::{Changes, Reload};
use crate::ledger::Settings;
use crate::logging::chain;
use crate::telemetry::Telemetry;

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Access(#[from] AccessError),
}

/// What can change while the exporter runs.
pub(super) struct Reloader {
    /// What is in force.
    pub(super) config: Config,
    pub(super) watching: Watching,
    /// Of the metrics listener and, if there is one, of the control listener.
    pub(super) gates: (Arc<Gate>, Option<Arc<Gate>>),
    pub(super) telemetry: Arc<Telemetry>,
}

impl Reloader {
    /// Reads the configuration anew where somebody asks for it, until `stop` is true.
    pub(super) async fn run(
        mut self,
        mut again: Again,
        mut asked: mpsc::Receiver<Reload>,
        mut stop: watch::Receiver<bool>,
    ) -> Watching {
        while !*stop.borrow_and_update() {
            let reload = tokio::select! {
                _ = stop.changed() => continue,
                Some(reload) = asked.recv() => Some(reload),
                Some(()) = again.hangups.recv() => None,
                else => break,
            };
            let outcome = self.reload(&again.args).await;
            if let Some(reload) = reload {
                // Whoever asked may have gone: it is in force all the same.
                reload.send(outcome).ok();
            }
        }
        stop.wait_for(|stop| *stop).await.ok();
        self.watching
    }

    async fn reload(&mut self, args: &ServeArgs) -> Result<Changes, String> {
        let looked_through = self.look_through(args);
        let (new, gates) = match looked_through {
            Ok(fine) => fine,
            Err(refused) => {
                let error = chain(&refused);
                error!(%error, "the configuration stays as it was");
                let last = &mut self.telemetry.lock().config.last;
                *last = last.map(|(_, at)| (false, at));
                return Err(error);
            }
        };
        let changes = self.apply(new, gates).await;
        let now = self.watching.now();
        self.telemetry.lock().config.last = Some((true, now.wall));
        let applied = changes.applied.join(", ");
        info!(changes = applied, "the configuration was read anew");
        if !changes.needs_restart.is_empty() {
            let changed = changes.needs_restart.join(", ");
            warn!(changed, "what else has changed needs a restart");
        }
        Ok(changes)
    }

    /// Reads everything before anything is changed.
    fn look_through(&self, args: &ServeArgs) -> Result<(Config, Gates), Refused> {
        let new = Config::load(args)?;
        let metrics = self.gates.0.prepare(new.means.clone())?;
        let means = new.control.as_ref().map(|control| control.means.clone());
        let control = match &self.gates.1 {
            Some(gate) => Some(gate.prepare(means.unwrap_or_else(|| self.control_means()))?),
            None => None,
        };
        Ok((new, Gates { metrics, control }))
    }

    /// Who may push now.
    fn control_means(&self) -> Means {
        self.config.control.as_ref().map(|control| control.means.clone()).unwrap_or_default()
    }

    async fn apply(&mut self, new: Config, gates: Gates) -> Changes {
        let mut changes = Changes::default();
        if self.gates.0.commit(gates.metrics) {
            changes.applied.push("who may read metrics".to_owned());
        }
        if let (Some(gate), Some(prepared)) = (&self.gates.1, gates.control)
            && gate.commit(prepared)
        {
            changes.applied.push("who may push".to_owned());
        }
        let new = self.keep_fixed(new, &mut changes.needs_restart);
        changes.applied.extend(changed_settings(&self.config, &new));
        self.watching.settings(&new);
        self.telemetry.lock().config.max_series = Some(new.max_series);
        changes.applied.extend(self.watching.change(&new).await);
        self.config = new;
        changes
    }

    /// Leaves as it is what cannot change while the exporter runs, and names it where it should.
    fn keep_fixed(&mut self, mut new: Config, needs_restart: &mut Vec<String>) -> Config {
        let old = &self.config;
        let address = |config: &Config| {
            config.control.as_ref().map(|control| control.address.clone()).unwrap_or_default()
        };
        let failed_calls = |config: &Config| {
            config.control.as_ref().is_some_and(|control| control.failed_calls_count)
        };
        let both_push = old.control.is_some() && new.control.is_some();
        for (name, has_changed) in [
            ("web.listen_address", old.listen_addresses != new.listen_addresses),
            ("control.listen_address", address(old) != address(&new)),
            ("receive.failed_tool_calls", both_push && failed_calls(old) != failed_calls(&new)),
            ("state_dir", old.state_dir != new.state_dir),
            ("mongodb", old.mongodb != new.mongodb),
            ("users", old.users != new.users),
            ("compat", old.compat != new.compat),
            ("label.max_bytes", old.names != new.names),
            ("log", old.log != new.log),
        ] {
            if has_changed {
                needs_restart.push(name.to_owned());
            }
        }
        let means = new.control.take().map(|control| control.means);
        new.control.clone_from(&old.control);
        if let (Some(control), Some(means)) = (&mut new.control, means) {
            control.means = means;
        }
        new.listen_addresses.clone_from(&old.listen_addresses);
        new.state_dir.clone_from(&old.state_dir);
        new.mongodb.clone_from(&old.mongodb);
        new.own_logs.clone_from(&old.own_logs);
        new.log = old.log.clone();
        (new.users, new.compat, new.names) = (old.users, old.compat, old.names);
        new.ledger.shared_store = old.ledger.shared_store;
        new
    }
}

/// Who gets in from now on, looked through.
struct Gates {
    metrics: Prepared,
    control: Option<Prepared>,
}

/// The settings of the ledger that differ, by their keys in the file.
fn changed_settings(old: &Config, new: &Config) -> Vec<String> {
    let differs = |of: fn(&Settings) -> std::time::Duration| of(&old.ledger) != of(&new.ledger);
    [
        ("chat.retention", differs(|settings| settings.retention)),
        ("chat.lost_after", differs(|settings| settings.lost_after)),
        ("chat.abandoned_after", differs(|settings| settings.abandoned_after)),
        ("chat.max_series", old.max_series != new.max_series),
        ("receive.dedup_window", differs(|settings| settings.dedup_window)),
        ("logs.introduction_wait", differs(|settings| settings.introduction_wait)),
    ]
    .into_iter()
    .filter(|(_, has_changed)| *has_changed)
    .map(|(name, _)| name.to_owned())
    .collect()
}
