//! The way through a collection without an index on the time of the last change: a bounded part of
//! it at each poll, by the indexes that are there, so that everything is seen in turns.

use std::time::Duration;

use mongodb::bson::{Bson, RawDocument};

use super::Stored;
use super::ask::{Indexes, PAGE, Question};
use super::place::OVERLAP;
use crate::model::{Bookmark, OTHER, Source, Timestamp};
use crate::mongo::MongoError;

/// Documents of one slice: every chat of a collection of 100,000 is seen within the hour.
const SLICE: i64 = 500;
/// Slices that the first contact reads: a small collection is then known as a whole.
const FIRST_SLICES: usize = 20;
/// Workflows that are asked for new chats in one poll.
const WORKFLOWS: usize = 50;
/// Chats that ended are asked for a little longer: usage is written after the end, too.
const LATELY: Duration = Duration::from_mins(10);
/// The longest id that is kept as a place. Ids are short; one that is not is passed by in memory.
const LONGEST_ID: usize = 4_096;

/// Where the turns are.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The last id of the last slice; `None` before the first, and where the end was reached.
    after: Option<Bson>,
    /// Whether the kept place was looked up.
    resumed: bool,
    /// Number of the workflow that is asked next.
    workflow: usize,
    /// When the first workflow of this round was asked.
    round: Timestamp,
    /// When that was in the round before: what began until then is known.
    asked: Option<Timestamp>,
}

impl Stored {
    /// Asks for a part of a collection. Returns whether more of it can be had at once.
    pub(super) async fn ask_in_turns(
        &mut self,
        n: usize,
        indexes: &Indexes,
    ) -> Result<bool, MongoError> {
        let began = self.now();
        let past = i64::try_from(self.settings.past.as_micros()).unwrap_or(i64::MAX);
        let fresh = Timestamp(began.0.saturating_sub(past));
        let (key, begun) = (self.key(n, "slice"), self.key(n, "begun"));
        if !std::mem::replace(&mut self.collections[n].turns.resumed, true) {
            self.collections[n].turns.after = self.kept_id(&key);
            self.collections[n].turns.asked = self.place(&begun);
        }
        self.ask_restless(n, indexes).await?;
        if indexes.started.is_some() {
            self.ask_begun(n, indexes, began).await?;
        }
        let heard = {
            let ledger = self.intake.ledger.lock();
            ledger.runtime(self.runtime).is_some_and(|r| r.has_heard(Source::Mongodb))
        };
        for _ in 0..if heard { 1 } else { FIRST_SLICES } {
            let after = self.collections[n].turns.after.clone();
            let question = Question::After { id: after.as_ref(), limit: SLICE };
            let page = self.collections[n].asker.ask(&question, indexes).await?;
            let last = page.documents.last().filter(|_| page.full).and_then(|last| id(last));
            let place = last.as_ref().and_then(written);
            let asked = self.collections[n].turns.asked.map(|asked| asked.0.to_string());
            let places = vec![
                Bookmark { key: key.clone(), place },
                Bookmark { key: begun.clone(), place: asked },
            ];
            self.tell(&page.documents, Some(fresh), places);
            self.collections[n].turns.after.clone_from(&last);
            if last.is_none() {
                break;
            }
        }
        Ok(false)
    }

    /// Those that live or ended a moment ago, by their ids.
    async fn ask_restless(&mut self, n: usize, indexes: &Indexes) -> Result<(), MongoError> {
        let ids = {
            let ledger = self.intake.ledger.lock();
            let most = usize::try_from(PAGE).unwrap_or(usize::MAX);
            ledger.restless(self.runtime, LATELY, most, self.intake.ledger.clock().now())
        };
        if ids.is_empty() {
            return Ok(());
        }
        let page = self.collections[n].asker.ask(&Question::Of(&ids), indexes).await?;
        self.tell(&page.documents, None, Vec::new());
        Ok(())
    }

    /// Those that began since this was last asked, workflow by workflow of those that are known.
    async fn ask_begun(
        &mut self,
        n: usize,
        indexes: &Indexes,
        began: Timestamp,
    ) -> Result<(), MongoError> {
        let known: Vec<_> = {
            let ledger = self.intake.ledger.lock();
            let rows = ledger.workflows().iter().filter(|row| row.runtime == self.runtime);
            let named = rows.filter(|row| &*row.workflow_name != OTHER);
            named.map(|row| (row.app_id.clone(), row.workflow_name.clone())).collect()
        };
        let turns = &mut self.collections[n].turns;
        if turns.workflow == 0 {
            turns.round = began;
        }
        let overlap = i64::try_from(OVERLAP.as_micros()).unwrap_or(i64::MAX);
        let since = turns.asked.unwrap_or(began).min(began);
        let since = Timestamp(since.0.saturating_sub(overlap));
        let due: Vec<_> = known.iter().skip(turns.workflow).take(WORKFLOWS).collect();
        for (app_id, workflow_name) in &due {
            let question = Question::Begun { app_id, workflow_name, since };
            let page = self.collections[n].asker.ask(&question, indexes).await?;
            self.tell(&page.documents, None, Vec::new());
        }
        let turns = &mut self.collections[n].turns;
        turns.workflow += due.len();
        if turns.workflow >= known.len() {
            (turns.workflow, turns.asked) = (0, Some(turns.round));
        }
        Ok(())
    }

    /// The id that was kept as a place, if it can be read.
    fn kept_id(&self, key: &str) -> Option<Bson> {
        let kept = self.intake.ledger.lock().bookmarks(key);
        let place = kept.into_iter().find(|(rest, _)| rest.is_empty())?.1;
        serde_json::from_str(&place).ok()
    }
}

fn id(document: &RawDocument) -> Option<Bson> {
    let id = document.get("_id").ok().flatten()?;
    Bson::try_from(id).ok()
}

/// An id as it is kept: MongoDB's extended JSON.
fn written(id: &Bson) -> Option<String> {
    let text = serde_json::to_string(id).ok()?;
    (text.len() <= LONGEST_ID).then_some(text)
}
