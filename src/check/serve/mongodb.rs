//! MongoDB: is it reached, does it let us in, and what lies in it?

use std::sync::Arc;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use tokio::time::{Instant, timeout_at};

use super::{Row, patience};
use crate::config::{Config, MongodbConfig};
use crate::mongo::{Mongo, MongoError};
use crate::sources::mongodb::{Seen, look};

const THING: &str = "MongoDB";

/// What there is to say of it, where there is one.
pub(super) async fn rows(config: &Config, end: Instant) -> Vec<Row> {
    let Some(config) = &config.mongodb else { return Vec::new() };
    let mongo = match Mongo::new(config.uri.clone(), &config.database) {
        Ok(mongo) => Arc::new(mongo),
        Err(error) => {
            return vec![Row::fail(THING, error.detail, "correct --mongodb.uri")];
        }
    };
    let mut rows = Vec::new();
    if timeout_at(end, all(config, &mongo, end, &mut rows)).await.is_err() {
        let remedy = "see what keeps the server busy, and whether a firewall swallows what is sent";
        rows.push(Row::fail(THING, "did not answer all in time", remedy));
    }
    rows
}

async fn all(config: &MongodbConfig, mongo: &Arc<Mongo>, end: Instant, rows: &mut Vec<Row>) {
    if let Err(error) = ping(mongo, end).await {
        let remedy = "correct --mongodb.uri, or its user; see whether a firewall is between";
        rows.push(Row::fail(THING, error.detail, remedy));
        return;
    }
    let (servers, database) = (mongo.servers(), mongo.database_name());
    rows.push(Row::ok(THING, format!("{servers} answers; database {database}")));
    let mut missing = Vec::new();
    for collection in &config.collections {
        match look(Arc::clone(mongo), collection).await {
            Ok(Some(seen)) => rows.push(collected(collection, seen, config)),
            Ok(None) => missing.push(&**collection),
            Err(error) => {
                let remedy = format!("grant the user `read` on {database}");
                rows.push(Row::fail(collection_named(collection), error.detail, remedy));
            }
        }
    }
    if !missing.is_empty() {
        let what = format!("not there: {}", missing.join(", "));
        rows.push(if missing.len() == config.collections.len() {
            let remedy =
                "correct --mongodb.database or --mongodb.collections; serve waits for them";
            Row::warn("MongoDB collections", what, remedy)
        } else {
            Row::ok("MongoDB collections", what)
        });
    }
    if let Some(flush) = &config.flush {
        let sessions = &flush.places.sessions;
        let thing = "MongoDB writing";
        rows.push(match may_write(mongo, sessions, end).await {
            Ok(()) => Row::ok(thing, format!("{sessions} may be written to")),
            Err(error) => {
                let remedy = format!(
                    "grant the user `readWrite` on {database}, or --mongodb.flush-interval 0s"
                );
                Row::fail(thing, error.detail, remedy)
            }
        });
    }
}

fn collection_named(name: &str) -> String {
    format!("MongoDB {name}")
}

fn collected(name: &str, seen: Seen, config: &MongodbConfig) -> Row {
    let thing = collection_named(name);
    let content = if seen.is_empty { "can be read, and is empty" } else { "can be read" };
    if !seen.counts {
        let what = format!("{content}; the server does not count messages");
        return Row::warn(thing, what, "turns come from other sources then");
    }
    match (seen.indexed, config.create_index) {
        (true, _) => Row::ok(thing, format!("{content}, in the order of changes")),
        (false, true) => Row::ok(thing, format!("{content}; serve makes its index")),
        (false, false) => {
            let what = format!("{content}, but has no index on last_updated_at");
            Row::warn(thing, what, "chats are read in turns: --mongodb.create-index makes one")
        }
    }
}

async fn ping(mongo: &Mongo, end: Instant) -> Result<(), MongoError> {
    let database = mongo.database().await?;
    let ping = database.run_command(doc! { "ping": 1 });
    mongo.ask("asking", patience(end), ping).await.map(drop)
}

/// Whether documents may be changed: asks to change one that is not there.
async fn may_write(mongo: &Mongo, collection: &str, end: Instant) -> Result<(), MongoError> {
    let database = mongo.database().await?;
    let documents = database.collection::<Document>(collection);
    let change = doc! { "$set": { "written_by": "mozaiks-exporter" } };
    let question = documents.update_one(doc! { "_id": ObjectId::new() }, change);
    mongo.ask(&format!("writing {collection}"), patience(end), question).await.map(drop)
}
