//! What there is one of, among the rows that outlive the process.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::births::BirthsRecord;
use super::{Ledger, Tally};
use crate::model::{Instant, Mono, Timestamp};

/// How old the uptime may be that is kept: what is known for a window is known for that much longer
/// after a crash, and nearly every commit is a row smaller.
const STALE: Duration = Duration::from_mins(1);

/// What there is one of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) next_chat: u64,
    /// How many rows there are of each other kind. What was kept before a kind was known says
    /// nothing of it.
    pub(super) rows: Vec<usize>,
    pub(super) births: BirthsRecord,
    #[serde(default)]
    pub(super) tally: Tally,
    /// What this ledger is called by others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) own_name: String,
    /// How long the exporter has been up, over all restarts.
    #[serde(default)]
    pub(super) uptime: Mono,
    pub(super) written_at: Timestamp,
}

impl Ledger {
    /// What there is one of, if there is more news of it than the time: most changes change none of it.
    pub(super) fn news(&mut self, now: Instant) -> Option<&Meta> {
        let mut meta = Meta {
            next_chat: self.next_chat,
            rows: self.rows().to_vec(),
            births: self.births.record(now),
            tally: self.tally.clone(),
            own_name: self.own_name.clone(),
            uptime: self.seen.uptime(now.mono),
            written_at: now.wall,
        };
        if let Some(kept) = &self.kept_meta
            && meta.uptime.since(kept.uptime) < STALE
        {
            let time = (meta.uptime, meta.written_at);
            (meta.uptime, meta.written_at) = (kept.uptime, kept.written_at);
            if meta == *kept {
                return None;
            }
            (meta.uptime, meta.written_at) = time;
        }
        Some(self.kept_meta.insert(meta))
    }

    /// How many rows there are of each kind after it, as far as a missing one would be missed.
    pub(super) fn rows(&self) -> [usize; 9] {
        [
            self.runtimes.len(),
            self.workflows.rows().len(),
            self.users.rows().len(),
            self.chats.len(),
            self.breakdowns.rows().len(),
            self.sessions.len(),
            self.guests.len(),
            // Without its place a log would be read again.
            self.bookmarks.len(),
            // Without its ids an event would count again.
            self.seen.len(),
        ]
    }
}
