//! One look at a collection, by the questions that each poll puts.

use std::sync::Arc;

use super::ask::{Asker, Question};
use crate::mongo::{Mongo, MongoError};

/// What was seen of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Whether it can be read in the order of changes.
    pub indexed: bool,
    /// Whether there is anything in it.
    pub is_empty: bool,
    /// Whether the server counts messages, which stand in for turns.
    pub counts: bool,
}

/// Looks at a collection; `None` where it is not there. Nothing is made.
pub async fn look(mongo: Arc<Mongo>, collection: &str) -> Result<Option<Seen>, MongoError> {
    let mut asker = Asker::new(mongo, collection.to_owned());
    let Some(indexes) = asker.indexes().await? else { return Ok(None) };
    let page = asker.ask(&Question::After { id: None, limit: 1 }, &indexes).await?;
    let (is_empty, counts) = (page.documents.is_empty(), asker.refused.is_none());
    Ok(Some(Seen { indexed: indexes.changed.is_some(), is_empty, counts }))
}
