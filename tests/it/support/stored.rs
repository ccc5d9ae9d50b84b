//! Chats as they are stored, recorded and invented, and what must then be published.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use mongodb::bson::{Bson, DateTime, Document, doc};
use tempfile::TempDir;

use super::exporter::{Exporter, Launch};
use super::mongo::Mongo;
use super::recorded::{is_exact, root};
use super::wait::eventually;

/// Where the runtime keeps its chats.
pub(crate) const CHATS: &str = "ChatSessions";

/// What is asked of a chat's usage, and where it is stored.
const USAGE: [(&str, &str); 3] = [
    ("prompt_tokens", "usage_prompt_tokens_final"),
    ("completion_tokens", "usage_completion_tokens_final"),
    ("cost_usd", "usage_total_cost_final"),
];

/// Milliseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Recorded documents, as if they had been stored so many milliseconds later.
pub(crate) fn recorded(path: &str, later: i64) -> Vec<Document> {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut documents: Vec<Document> =
        lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    for document in &mut documents {
        for (_, value) in document.iter_mut() {
            if let Bson::DateTime(date) = value {
                *date = DateTime::from_millis(date.timestamp_millis() + later);
            }
        }
    }
    documents
}

/// Makes these documents all that there is.
pub(crate) fn store(mongo: &Mongo, collection: &str, documents: &[Document]) {
    mongo.command(doc! {"delete": collection, "deletes": [{"q": {}, "limit": 0}]});
    mongo.insert(collection, documents);
}

/// Makes an index.
pub(crate) fn index(mongo: &Mongo, collection: &str, keys: Document, name: &str) {
    let index = doc! {"key": keys, "name": name};
    mongo.command(doc! {"createIndexes": collection, "indexes": [index]});
}

/// Makes the index that the exporter wishes for.
pub(crate) fn by_change(mongo: &Mongo, collection: &str) {
    index(mongo, collection, doc! {"last_updated_at": 1}, "by_change");
}

/// One who knows chats from the database alone.
pub(crate) fn cluster(mongo: &Mongo, state: &TempDir) -> Launch {
    reading(Launch::new(state.path()).runtime("cluster="), mongo)
}

/// One who reads that database often.
pub(crate) fn reading(launch: Launch, mongo: &Mongo) -> Launch {
    launch
        .flag("--mongodb.uri", mongo.uri())
        .flag("--mongodb.database", mongo.database())
        .flag("--mongodb.poll-interval", "100ms")
}

/// A chat that changed so many seconds ago and began a minute before.
pub(crate) fn chat(id: &str, workflow: &str, seconds_ago: i64, tokens: i32) -> Document {
    let changed = now() - seconds_ago * 1_000;
    doc! {
        "_id": id, "chat_id": id, "app_id": "acme", "workflow_name": workflow, "user_id": "alice",
        "status": 0, "created_at": DateTime::from_millis(changed - 60_000),
        "last_updated_at": DateTime::from_millis(changed), "usage_prompt_tokens_final": tokens,
        "messages": [{"role": "user", "content": "secret"}, {"role": "assistant", "content": "x"}],
    }
}

/// A chat that begins now.
pub(crate) fn new_chat(id: &str, workflow: &str, tokens: i32) -> Document {
    let mut chat = chat(id, workflow, 0, tokens);
    chat.insert("created_at", DateTime::from_millis(now()));
    chat
}

fn number(value: Option<&Bson>) -> f64 {
    match value {
        Some(Bson::Int32(number)) => f64::from(*number),
        #[expect(clippy::cast_precision_loss, reason = "recorded numbers are small")]
        Some(Bson::Int64(number)) => *number as f64,
        Some(Bson::Double(number)) => *number,
        _ => 0.0,
    }
}

/// Waits until each chat, app, workflow and user is worth what the documents of its chats hold.
pub(crate) fn published_is_stored(exporter: &Exporter, documents: &[Document]) {
    for (family, field) in USAGE {
        let per_chat = format!("mozaiks_chat_{family}_total");
        let per_workflow = format!("mozaiks_workflow_{family}_total");
        let mut workflows: BTreeMap<(String, String), f64> = BTreeMap::new();
        eventually(&per_chat, || {
            let shown = exporter.scrape();
            workflows.clear();
            for document in documents {
                let text = |field: &str| document.get_str(field).unwrap_or("GeneralCapability");
                let stored = number(document.get(field));
                let labels = ["chat_id", "app_id", "workflow_name", "user_id"];
                let labels = labels.map(|label| (label, text(label)));
                let value = shown.value(&per_chat, &labels);
                if !value.is_some_and(|value| is_exact(value, stored)) {
                    return Err(format!("{labels:?} is {value:?}, not {stored}"));
                }
                let key = (text("app_id").to_owned(), text("workflow_name").to_owned());
                *workflows.entry(key).or_default() += stored;
            }
            for ((app, workflow), stored) in &workflows {
                let labels = [("app_id", &**app), ("workflow_name", &**workflow)];
                let value = shown.sum(&per_workflow, &labels);
                if !is_exact(value, *stored) {
                    return Err(format!("{labels:?} is {value}, not {stored}"));
                }
            }
            Ok(())
        });
    }
    let mut users: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for document in documents {
        let key = (document.get_str("app_id").unwrap(), document.get_str("user_id").unwrap());
        *users.entry(key).or_default() += number(document.get("usage_total_cost_final"));
    }
    let shown = exporter.scrape();
    for ((app, user), stored) in users {
        let labels = [("app_id", app), ("user_id", user)];
        let value = shown.sum("mozaiks_user_cost_usd_total", &labels);
        assert!(is_exact(value, stored), "{labels:?} is {value}, not {stored}");
    }
}
