//! The ledger as the last process left it.

use std::path::Path;
use std::time::Duration;

use tracing::{error, info, warn};

use super::StartError;
use crate::ledger::{Ledger, Restorer, Settings};
use crate::logging::{chain, timed};
use crate::model::Instant;
use crate::store::{DirError, StoreFile};
use crate::telemetry::Telemetry;

/// Opening the state takes long if it takes this.
const SLOW_OPENING: Duration = Duration::from_secs(2);

/// Reads the ledger from the state directory, or starts an empty one.
pub(super) fn open_state(
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
    let mut restorer = Restorer::new(settings.clone(), now);
    let mut take = |kind, id, body: &str| restorer.take(kind, id, body).map_err(|e| chain(&e));
    let mut opened = match StoreFile::open(dir, now.wall, &mut take) {
        Ok(opened) => opened,
        Err(error @ (DirError::Unwritable { .. } | DirError::Database { .. })) => {
            let error = chain(&error);
            return Ok((peek(dir, settings, &error, now).unwrap_or_else(in_memory), None));
        }
        Err(error) => return Err(error.into()),
    };
    let rows = opened.rows;
    let restored = if opened.damage.is_none() { Some(restorer.finish()) } else { None };
    let ledger = match restored.transpose() {
        Ok(ledger) => ledger.unwrap_or_else(in_memory),
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

/// The ledger of a state that cannot be written to.
fn peek(dir: &Path, settings: &Settings, error: &str, now: Instant) -> Option<Ledger> {
    let mut restorer = Restorer::new(settings.clone(), now);
    let mut rows = 0_usize;
    let is_whole = StoreFile::peek(dir, &mut |kind, id, body| {
        rows += 1;
        restorer.take(kind, id, body).map_err(|error| chain(&error))
    });
    warn!(%error, rows, "counting in memory from what could be read; give a --state-dir");
    if is_whole { restorer.finish().ok() } else { None }
}
