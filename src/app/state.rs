//! The ledger as the last process left it.

use std::path::Path;
use std::time::Duration;

use tracing::{error, info, warn};

use super::{StartError, chain};
use crate::ledger::{Ledger, Settings};
use crate::logging::timed;
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
