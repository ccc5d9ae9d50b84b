//! What becomes of documents that were read: which chats are ours to tell of, and what of them.

use std::collections::BTreeMap;

use mongodb::bson::RawDocumentBuf;
use tracing::warn;

use super::{Stored, wire};
use crate::model::{Acquaintance, Answer, Bookmark, ChatSnapshot, Count, Source, Timestamp};
use crate::sources::value::Refusal;

/// A document was handed in.
const TOLD: &str = "told";
/// What became of documents, in the words of the `result` label.
pub(super) const RESULTS: [&str; 5] = [TOLD, "own", "stale", "not_introduced", "elsewhere"];

impl Stored {
    /// Hands in what was read, and keeps the places with it. What did not change since `fresh` is
    /// left out where nobody knows it.
    pub(super) fn tell(
        &mut self,
        documents: &[RawDocumentBuf],
        fresh: Option<Timestamp>,
        bookmarks: Vec<Bookmark>,
    ) {
        let mut results: BTreeMap<&'static str, u64> = BTreeMap::new();
        let mut refused = Vec::new();
        let mut chats = Vec::with_capacity(documents.len());
        for document in documents {
            match wire::read(document, self.settings.names) {
                Ok(told) if told.own => *results.entry("own").or_default() += 1,
                Ok(told) => chats.push(told.chat),
                Err(refusal) => refused.push(refusal),
            }
        }
        {
            let mut ledger = self.intake.ledger.lock();
            chats.retain_mut(|chat| {
                let known = ledger.acquaintance(self.runtime, &chat.chat_id, Source::Mongodb);
                let result = self.judge(known, chat, fresh);
                *results.entry(result).or_default() += 1;
                result == TOLD
            });
            let now = self.intake.ledger.clock().now();
            let answer = self.answer(chats, bookmarks, true, now.wall);
            ledger.hear(&answer, refused.len(), now);
        }
        self.count_documents(&results, &refused);
    }

    /// What becomes of a chat: whether it is ours to tell of, and if so, what of it.
    fn judge(
        &self,
        known: Acquaintance,
        chat: &mut ChatSnapshot<'_>,
        fresh: Option<Timestamp>,
    ) -> &'static str {
        if known.turns_counted {
            // Messages stand in for turns only where nobody counts those: an agent that speaks
            // twice in one turn would make them more.
            chat.totals.counts[Count::Turns as usize] = None;
        }
        if known.elsewhere {
            "elsewhere"
        } else if self.settings.introduced_only && !known.known {
            "not_introduced"
        } else if !known.known && fresh.is_some_and(|fresh| chat.updated_at < Some(fresh)) {
            "stale"
        } else {
            TOLD
        }
    }

    /// What we say of these chats.
    pub(super) fn answer<'a>(
        &self,
        chats: Vec<ChatSnapshot<'a>>,
        bookmarks: Vec<Bookmark>,
        more: bool,
        runtime_clock: Timestamp,
    ) -> Answer<'a> {
        Answer {
            source: Source::Mongodb,
            runtime: self.runtime,
            process: None,
            runtime_clock,
            complete: false,
            more,
            chats,
            unreadable: Vec::new(),
            bookmarks,
        }
    }

    fn count_documents(&mut self, results: &BTreeMap<&'static str, u64>, refused: &[Refusal]) {
        self.intake.telemetry.database(&self.name, |database| {
            for (result, number) in results {
                *database.documents.entry(result).or_default() += number;
            }
            for refusal in refused {
                *database.rejected.entry(refusal.label()).or_default() += 1;
            }
        });
        for refusal in refused {
            let named = self.named.entry(refusal.label()).or_default();
            *named += 1;
            if *named == 1 {
                let runtime = &*self.name;
                warn!(runtime, error = %refusal, "chat in MongoDB is left out; further ones are only counted");
            }
        }
    }
}
