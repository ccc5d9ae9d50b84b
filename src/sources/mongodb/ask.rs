//! Questions to one collection: each by an index, of bounded size and time, and without messages.

use std::sync::Arc;
use std::time::Duration;

use mongodb::Database;
use mongodb::IndexModel;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use mongodb::options::{Hint, IndexOptions};

use super::wire;
use crate::model::Timestamp;
use crate::mongo::{Mongo, MongoError, Reason, code};

/// Documents of one answer, at most.
pub(super) const PAGE: i64 = 1_000;
/// Where answers take too long, fewer are asked for, down to this.
const SMALLEST_PAGE: i64 = 50;
/// The server gives up a question after this.
const MAX_TIME: Duration = Duration::from_secs(10);
/// We give it up a little later, so that it is the server that says so.
const PATIENCE: Duration = Duration::from_secs(12);
/// An index may take this long to be made. The server goes on making it if it takes longer.
const MAKING: Duration = Duration::from_mins(1);
/// Bytes of documents in one answer: some hundred times what they are used to have.
const MAX_BYTES: usize = 32 << 20;
/// Indexes of a collection that are looked at; a server allows 64.
const MAX_INDEXES: usize = 64;
/// The field that the index begins with that makes all of this cheap.
const CHANGED: &str = "last_updated_at";
/// The fields of the index that the runtime makes.
const STARTED: [&str; 3] = ["app_id", "workflow_name", "created_at"];
/// Every collection has it.
const BY_ID: &str = "_id_";
/// The name of the index that we make: that which a shell gives it.
const OUR_INDEX: &str = "last_updated_at_1";

/// Whose documents are asked for.
#[derive(Debug)]
pub(super) enum Question<'a> {
    /// Those that have changed since, without the first so many, in the order of their changes.
    Changed { from: Timestamp, skip: u64 },
    /// Those of these ids.
    Of(&'a [Arc<str>]),
    /// Those of a workflow that have begun since.
    Begun { app_id: &'a str, workflow_name: &'a str, since: Timestamp },
    /// Those whose id comes after that one, in the order of their ids.
    After { id: Option<&'a Bson>, limit: i64 },
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) documents: Vec<RawDocumentBuf>,
    /// There may be more.
    pub(super) full: bool,
}

/// The indexes that matter, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Indexes {
    /// One that begins with the time of the last change.
    pub(super) changed: Option<String>,
    /// One that begins with app, workflow and start.
    pub(super) started: Option<String>,
}

/// Asks one collection.
#[derive(Debug)]
pub(super) struct Asker {
    mongo: Arc<Mongo>,
    /// Its name.
    pub(super) collection: String,
    page: i64,
    /// Why the server does not count messages, once it has refused to.
    pub(super) refused: Option<MongoError>,
}

struct Plan {
    filter: Document,
    sort: Option<Document>,
    skip: u64,
    limit: i64,
    index: String,
}

fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.0.div_euclid(1_000))
}

impl Asker {
    pub(super) fn new(mongo: Arc<Mongo>, collection: String) -> Self {
        Self { mongo, collection, page: PAGE, refused: None }
    }

    fn plan(&self, question: &Question<'_>, indexes: &Indexes) -> Plan {
        let by_id = || BY_ID.to_owned();
        match question {
            Question::Changed { from, skip } => Plan {
                filter: doc! { CHANGED: { "$gte": date(*from) } },
                sort: Some(doc! { CHANGED: 1 }),
                skip: *skip,
                limit: self.page,
                index: indexes.changed.clone().unwrap_or_default(),
            },
            Question::Of(ids) => {
                let ids: Vec<Bson> = ids.iter().map(|id| Bson::String(id.to_string())).collect();
                let filter = doc! { "_id": { "$in": ids } };
                Plan { filter, sort: None, skip: 0, limit: PAGE, index: by_id() }
            }
            Question::Begun { app_id, workflow_name, since } => Plan {
                filter: doc! {
                    "app_id": *app_id,
                    "workflow_name": *workflow_name,
                    "created_at": { "$gte": date(*since) },
                },
                sort: None,
                skip: 0,
                limit: self.page,
                index: indexes.started.clone().unwrap_or_default(),
            },
            Question::After { id, limit } => Plan {
                filter: id.map_or_else(Document::new, |id| doc! { "_id": { "$gt": id.clone() } }),
                sort: Some(doc! { "_id": 1 }),
                skip: 0,
                limit: self.page.min(*limit),
                index: by_id(),
            },
        }
    }

    /// Asks. A server that cannot count messages is asked without.
    pub(super) async fn ask(
        &mut self,
        question: &Question<'_>,
        indexes: &Indexes,
    ) -> Result<Page, MongoError> {
        let plan = self.plan(question, indexes);
        let answer = match &self.refused {
            Some(_) => self.find(&plan).await,
            None => match self.aggregate(&plan).await {
                Err(error) if error.reason == Reason::Server => {
                    // Whoever answers this question can be asked; it was the counting.
                    let found = self.find(&plan).await;
                    if found.is_ok() {
                        self.refused = Some(error);
                    }
                    found
                }
                answer => answer,
            },
        };
        match &answer {
            Ok(_) => self.page = (self.page * 2).min(PAGE),
            Err(error) if error.reason == Reason::Timeout => {
                self.page = (self.page / 2).max(SMALLEST_PAGE);
            }
            Err(_) => {}
        }
        answer
    }

    async fn aggregate(&self, plan: &Plan) -> Result<Page, MongoError> {
        let mut pipeline = vec![doc! { "$match": plan.filter.clone() }];
        pipeline.extend(plan.sort.clone().map(|sort| doc! { "$sort": sort }));
        if plan.skip > 0 {
            pipeline.push(doc! { "$skip": i64::try_from(plan.skip).unwrap_or(i64::MAX) });
        }
        pipeline.push(doc! { "$limit": plan.limit });
        pipeline.push(doc! { "$project": wire::fields_and_turns() });
        let database = self.mongo.database().await?;
        let question = async {
            let cursor = database
                .collection::<RawDocumentBuf>(&self.collection)
                .aggregate(pipeline)
                .hint(Hint::Name(plan.index.clone()))
                .max_time(MAX_TIME)
                .batch_size(batch(plan.limit))
                .with_type::<RawDocumentBuf>()
                .await?;
            take(cursor, plan.limit).await
        };
        self.mongo.ask(&self.doing("reading"), PATIENCE, question).await
    }

    async fn find(&self, plan: &Plan) -> Result<Page, MongoError> {
        let database = self.mongo.database().await?;
        let question = async {
            let collection = database.collection::<RawDocumentBuf>(&self.collection);
            let mut find = collection
                .find(plan.filter.clone())
                .projection(wire::fields())
                .limit(plan.limit)
                .skip(plan.skip)
                .hint(Hint::Name(plan.index.clone()))
                .max_time(MAX_TIME)
                .batch_size(batch(plan.limit));
            if let Some(sort) = &plan.sort {
                find = find.sort(sort.clone());
            }
            take(find.await?, plan.limit).await
        };
        self.mongo.ask(&self.doing("reading"), PATIENCE, question).await
    }

    /// Which indexes there are; `None` where there is no such collection.
    pub(super) async fn indexes(&self) -> Result<Option<Indexes>, MongoError> {
        let database = self.mongo.database().await?;
        let question = async {
            let collection = database.collection::<Document>(&self.collection);
            let mut cursor = collection.list_indexes().max_time(MAX_TIME).await?;
            let mut found = Vec::new();
            while found.len() < MAX_INDEXES && cursor.advance().await? {
                found.push(cursor.deserialize_current()?);
            }
            Ok(found)
        };
        let what = self.doing("asking for the indexes of");
        match self.mongo.ask(&what, PATIENCE, question).await {
            Ok(found) => Ok(Some(choose(&found))),
            Err(error) if error.code == Some(code::NAMESPACE_NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes the index that [`Indexes::changed`] looks for.
    pub(super) async fn make_index(&self) -> Result<(), MongoError> {
        let database: Database = self.mongo.database().await?;
        let options = IndexOptions::builder().name(OUR_INDEX.to_owned()).build();
        let index = IndexModel::builder().keys(doc! { CHANGED: 1 }).options(options).build();
        let collection = database.collection::<Document>(&self.collection);
        let question = collection.create_index(index);
        self.mongo.ask(&self.doing("making an index of"), MAKING, question).await.map(drop)
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} {}", self.collection)
    }
}

/// All of a page in one message.
fn batch(limit: i64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// All of an answer, as far as it is within bounds.
async fn take(
    mut cursor: mongodb::Cursor<RawDocumentBuf>,
    limit: i64,
) -> mongodb::error::Result<Page> {
    let mut page = Page::default();
    let mut bytes = 0;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    while page.documents.len() < limit && bytes < MAX_BYTES && cursor.advance().await? {
        let document = cursor.current().to_owned();
        bytes += document.as_bytes().len();
        page.documents.push(document);
    }
    page.full = page.documents.len() >= limit || bytes >= MAX_BYTES;
    Ok(page)
}

/// Of all indexes those that every document stands in and that may be asked by.
fn choose(found: &[IndexModel]) -> Indexes {
    let is_usable = |index: &&IndexModel| {
        index.options.as_ref().is_none_or(|options| {
            options.partial_filter_expression.is_none()
                && options.hidden != Some(true)
                && options.sparse != Some(true)
        })
    };
    let named = |fields: &[&str]| {
        let begins_so = |index: &&IndexModel| {
            let keys = index.keys.iter().take(fields.len());
            let in_order = |value: &Bson| matches!(number(value), Some(1 | -1));
            index.keys.len() >= fields.len()
                && keys.zip(fields).all(|((key, value), field)| key == field && in_order(value))
        };
        let index = found.iter().filter(is_usable).find(begins_so)?;
        index.options.as_ref().and_then(|options| options.name.clone())
    };
    Indexes { changed: named(&[CHANGED]), started: named(&STARTED) }
}

#[expect(clippy::cast_possible_truncation, reason = "an order is 1 or -1, in any type")]
fn number(value: &Bson) -> Option<i64> {
    match value {
        Bson::Int32(number) => Some((*number).into()),
        Bson::Int64(number) => Some(*number),
        Bson::Double(number) => Some(*number as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str, keys: Document) -> IndexModel {
        let options = IndexOptions::builder().name(name.to_owned()).build();
        IndexModel::builder().keys(keys).options(options).build()
    }

    #[test]
    fn an_index_serves_if_every_document_stands_in_it_in_order() {
        let runtimes = doc! { "app_id": 1, "workflow_name": 1, "created_at": -1 };
        let mut partial = index("partial", doc! { "last_updated_at": 1 });
        if let Some(options) = &mut partial.options {
            options.partial_filter_expression = Some(doc! { "status": 0 });
        }
        let text = index("text", doc! { "last_updated_at": "hashed" });
        let second = index("second", doc! { "status": 1, "last_updated_at": 1 });
        let found = [index("_id_", doc! { "_id": 1 }), partial, text, second];
        assert_eq!(choose(&found), Indexes::default());
        let found = [
            index("cs_ent_wf_created", runtimes),
            index("by_time", doc! { "last_updated_at": -1.0, "status": 1 }),
        ];
        let both = Indexes {
            changed: Some("by_time".to_owned()),
            started: Some("cs_ent_wf_created".to_owned()),
        };
        assert_eq!(choose(&found), both);
    }

    #[test]
    fn no_question_fetches_messages() {
        assert!(!wire::fields().contains_key("messages"));
        let asked = wire::fields_and_turns();
        assert!(!asked.contains_key("messages"));
        assert!(asked.values().all(|value| !matches!(value, Bson::String(_))), "{asked}");
    }
}
