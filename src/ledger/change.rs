//! What changes while the exporter runs: who is watched, and the settings.

use super::{Ledger, Settings};
use crate::model::RuntimeId;

impl Ledger {
    /// A runtime is no longer watched, or by others than before. What was told of it stays.
    pub fn unwatch(&mut self, id: RuntimeId) {
        if let Some(runtime) = self.runtimes.get_mut(id.0 as usize) {
            runtime.retire();
        }
    }

    /// Other settings hold from now on. Bounds that are lower than what there is hold back what comes;
    /// chats that have ended lose their series at once.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
        while self.shown > self.settings.max_chats {
            let shown = |(_, no): &&(i64, u64)| self.chats.get(*no).is_some_and(|c| !c.folded);
            let Some((_, no)) = self.ended.iter().find(shown).copied() else { break };
            self.evict(no);
            self.tally.evicted_by_bound += 1;
        }
        self.settle_version();
    }
}
