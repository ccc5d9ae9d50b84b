//! MongoDB as witness: what was stored is what is published, over restarts of all who take part, and
//! no collection is ever read as a whole.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::Value;
use tempfile::TempDir;

use super::support::chat::Chat;
use super::support::exporter::{Exporter, Launch};
use super::support::mongo::Mongo;
use super::support::recorded::{is_exact, root};
use super::support::runtime::FakeRuntime;
use super::support::wait::{eventually, pause};

const CHATS: &str = "ChatSessions";
/// When the last document changed that was stored before the recorded restart, in milliseconds.
const RESTART: i64 = 1_795_311_954_607;

/// What is asked of a chat's usage, and where it is stored.
const USAGE: [(&str, &str); 3] = [
    ("prompt_tokens", "usage_prompt_tokens_final"),
    ("completion_tokens", "usage_completion_tokens_final"),
    ("cost_usd", "usage_total_cost_final"),
];

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Recorded documents, as if they had been stored so many milliseconds later.
fn recorded(path: &str, later: i64) -> Vec<Document> {
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
fn store(mongo: &Mongo, collection: &str, documents: &[Document]) {
    mongo.command(doc! {"delete": collection, "deletes": [{"q": {}, "limit": 0}]});
    mongo.insert(collection, documents);
}

fn index(mongo: &Mongo, collection: &str, keys: Document, name: &str) {
    let index = doc! {"key": keys, "name": name};
    mongo.command(doc! {"createIndexes": collection, "indexes": [index]});
}

fn by_change(mongo: &Mongo, collection: &str) {
    index(mongo, collection, doc! {"last_updated_at": 1}, "by_change");
}

/// One who knows chats from the database alone.
fn cluster(mongo: &Mongo, state: &TempDir) -> Launch {
    reading(Launch::new(state.path()).runtime("cluster="), mongo)
}

fn reading(launch: Launch, mongo: &Mongo) -> Launch {
    launch
        .flag("--mongodb.uri", mongo.uri())
        .flag("--mongodb.database", mongo.database())
        .flag("--mongodb.poll-interval", "100ms")
}

/// A chat that changed so many seconds ago and began a minute before.
fn chat(id: &str, workflow: &str, seconds_ago: i64, tokens: i32) -> Document {
    let changed = now() - seconds_ago * 1_000;
    doc! {
        "_id": id, "chat_id": id, "app_id": "acme", "workflow_name": workflow, "user_id": "alice",
        "status": 0, "created_at": DateTime::from_millis(changed - 60_000),
        "last_updated_at": DateTime::from_millis(changed), "usage_prompt_tokens_final": tokens,
        "messages": [{"role": "user", "content": "secret"}, {"role": "assistant", "content": "x"}],
    }
}

/// A chat that begins now.
fn new_chat(id: &str, workflow: &str, tokens: i32) -> Document {
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
fn published_is_stored(exporter: &Exporter, documents: &[Document]) {
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

/// The recorded life of a runtime, with its restart, known from the database alone: by a cluster's
/// exporter that is killed, and a database that goes away and comes back.
#[test]
fn what_was_stored_is_published_over_all_restarts() {
    let mut mongo = Mongo::wire();
    let state = TempDir::new().unwrap();
    // The chats of the second process begin after the first contact: within the next minute.
    let later = now() + 60_000 - RESTART;
    let first = recorded("mongo/at_restart/ChatSessions.jsonl", later);
    let last = recorded("mongo/final/ChatSessions.jsonl", later);
    store(&mongo, CHATS, &first);
    let launch = cluster(&mongo, &state).flag("--mongodb.create-index", "true");
    let mut exporter = launch.clone().start();
    published_is_stored(&exporter, &first);
    let shown = exporter.scrape();
    assert_eq!(
        shown.value("mozaiks_exporter_mongodb_indexed", &[("collection", CHATS)]),
        Some(1.0)
    );
    assert_eq!(shown.value("mozaiks_tracked_chats", &[]), Some(38.0));
    let (starts, ends) = ("mozaiks_workflow_starts_total", "mozaiks_workflow_ends_total");
    assert_eq!((shown.sum(starts, &[]), shown.sum(ends, &[])), (38.0, 23.0));
    assert_eq!(shown.value("mozaiks_active_chats", &[]), Some(15.0));
    assert_eq!(exporter.get("/-/ready").status, 200);

    exporter.kill();
    let port = mongo.stop();
    let mut exporter = launch.clone().start();
    // What is kept is shown without the database.
    published_is_stored(&exporter, &first);
    exporter.wait_for_value(
        "mozaiks_exporter_mongodb_failures_total",
        &[("reason", "connect")],
        |failures| failures > Some(0.0),
    );
    assert_eq!(exporter.logged("MongoDB does not answer").len(), 1);
    mongo.restart_empty(port);
    store(&mongo, CHATS, &last);
    published_is_stored(&exporter, &last);
    assert_eq!(exporter.logged("MongoDB answers").len(), 1);

    let text = std::fs::read_to_string(root().join("mongo/truth.json")).unwrap();
    let truth: Value = serde_json::from_str(&text).unwrap();
    let shown = exporter.scrape();
    for (id, truth) in truth["llm_chats"].as_object().unwrap() {
        let labels = [("chat_id", id.as_str())];
        for (family, key) in [
            ("prompt_tokens", "prompt_tokens"),
            ("completion_tokens", "completion_tokens"),
            ("cost_usd", "cost"),
        ] {
            let value = shown.value(&format!("mozaiks_chat_{family}_total"), &labels).unwrap();
            assert!(is_exact(value, truth[key].as_f64().unwrap()), "{id}: {family} is {value}");
        }
    }
    assert_eq!(shown.sum(starts, &[]), 48.0);
    let outcome = |outcome: &str| shown.sum(ends, &[("outcome", outcome)]);
    // One of those that are stored as failed had come to a good end before.
    assert_eq!((outcome("completed"), outcome("failed")), (31.0, 6.0));
    exporter.kill();
    let again = launch.start();
    published_is_stored(&again, &last);
    assert_eq!(again.scrape().sum(starts, &[]), 48.0);
    assert_eq!(mongo.asked().with_field("messages"), 0);
}

#[test]
fn growth_after_the_first_contact_is_growth_and_the_past_is_none() {
    let mongo = Mongo::start();
    let state = TempDir::new().unwrap();
    store(&mongo, CHATS, &[chat("a", "Desk", 30, 100), chat("ancient", "Desk", 90_000, 1_000)]);
    by_change(&mongo, CHATS);
    let exporter = cluster(&mongo, &state).start();
    let tokens = "mozaiks_workflow_prompt_tokens_total";
    exporter.wait_for(tokens, &[], 100.0);
    // Somebody who wakes up after days is known from then on.
    let change = |id: &str, tokens: i32| {
        let set = doc! {
            "usage_prompt_tokens_final": tokens,
            "last_updated_at": DateTime::from_millis(now()),
        };
        let update = doc! {"q": {"_id": id}, "u": {"$set": set}};
        mongo.command(doc! {"update": CHATS, "updates": [update]});
    };
    change("ancient", 1_001);
    exporter.wait_for("mozaiks_tracked_chats", &[], 2.0);
    change("ancient", 1_003);
    change("a", 110);
    exporter.wait_for(tokens, &[], 112.0);
    exporter.wait_for("mozaiks_chat_agent_turns_total", &[("chat_id", "a")], 1.0);
    // The far future blinds nobody.
    let mut strange = new_chat("strange", "Desk", 7);
    strange.insert("last_updated_at", DateTime::from_millis(4_100_000_000_000));
    mongo.insert(CHATS, &[strange]);
    exporter.wait_for(tokens, &[], 119.0);
    change("a", 120);
    exporter.wait_for(tokens, &[], 129.0);
}

#[test]
fn without_an_index_a_bounded_part_is_read_at_each_poll() {
    let mongo = Mongo::wire();
    let state = TempDir::new().unwrap();
    let mut documents: Vec<Document> =
        (0..700).map(|n| chat(&format!("old{n:05}"), "Desk", 100_000, 5)).collect();
    documents.push(chat("live", "Desk", 20, 100));
    store(&mongo, CHATS, &documents);
    let keys = doc! {"app_id": 1, "workflow_name": 1, "created_at": -1};
    index(&mongo, CHATS, keys, "cs_ent_wf_created");
    let exporter = cluster(&mongo, &state).start();
    let tokens = |workflow, value| {
        let labels = [("workflow_name", workflow)];
        exporter.wait_for("mozaiks_workflow_prompt_tokens_total", &labels, value);
    };
    tokens("Desk", 100.0);
    exporter.wait_for("mozaiks_tracked_chats", &[], 1.0);
    let indexed = exporter.scrape().value("mozaiks_exporter_mongodb_indexed", &[]);
    assert_eq!(indexed, Some(0.0));
    // One that lives, a new one of a known workflow, and one of a workflow that nobody knows.
    let set = doc! {"usage_prompt_tokens_final": 101};
    let update = doc! {"q": {"_id": "live"}, "u": {"$set": set}};
    mongo.command(doc! {"update": CHATS, "updates": [update]});
    tokens("Desk", 101.0);
    mongo.insert(CHATS, &[new_chat("zz_new", "Desk", 7), new_chat("aa_other", "Other", 9)]);
    tokens("Desk", 108.0);
    tokens("Other", 9.0);

    let asked = mongo.asked();
    assert_eq!((asked.with_field("messages"), asked.count("find")), (0, 0));
    let commands = asked.commands("aggregate");
    assert!(commands.len() > 4);
    for command in commands {
        let stages: Vec<Document> = command
            .get_array("pipeline")
            .unwrap()
            .iter()
            .map(|stage| stage.as_document().unwrap().clone())
            .collect();
        let limit = stages.iter().find_map(|stage| stage.get_i64("$limit").ok());
        assert!(limit.is_some_and(|limit| limit <= 1_000), "{command}");
        let by_id = command.get_str("hint").unwrap() == "_id_";
        let filter = stages[0].get_document("$match").unwrap();
        let only_id = filter.keys().all(|field| field == "_id");
        let by_start = filter.contains_key("app_id") && filter.contains_key("created_at");
        assert!(by_id && only_id || !by_id && by_start, "{command}");
        assert!(command.get("maxTimeMS").is_some(), "{command}");
    }
    let gone =
        exporter.scrape().sum("mozaiks_exporter_mongodb_documents_total", &[("result", "stale")]);
    assert!(gone >= 700.0, "{gone}");
}

#[test]
fn a_server_that_refuses_goes_away_or_is_slow_holds_up_nobody() {
    let mongo = Mongo::wire();
    let state = TempDir::new().unwrap();
    store(&mongo, CHATS, &[chat("a", "Desk", 30, 100)]);
    by_change(&mongo, CHATS);
    mongo.misbehave(doc! {"credentials": true});
    let exporter = cluster(&mongo, &state).start();
    let failures = |reason: &str, at_least: f64| {
        let labels = [("reason", reason)];
        exporter.wait_for_value("mozaiks_exporter_mongodb_failures_total", &labels, |failures| {
            failures >= Some(at_least)
        });
    };
    // Three collections, three polls.
    failures("unauthorized", 9.0);
    assert_eq!(exporter.get("/-/ready").status, 503);
    let warned = || exporter.logged("MongoDB does not answer");
    assert_eq!(warned().len(), 1, "{:?}", warned());
    assert!(warned()[0]["extra"]["error"].as_str().unwrap().contains("credentials are refused"));
    mongo.misbehave(doc! {});
    let tokens = |value| exporter.wait_for("mozaiks_workflow_prompt_tokens_total", &[], value);
    tokens(100.0);
    assert_eq!(exporter.get("/-/ready").status, 200);

    mongo.misbehave(doc! {"drop": ["aggregate"]});
    failures("connect", 1.0);
    mongo.misbehave(doc! {"delayMs": 700});
    mongo.insert(CHATS, &[new_chat("b", "Desk", 10)]);
    let start = std::time::Instant::now();
    exporter.scrape();
    assert!(start.elapsed() < Duration::from_millis(600), "a scrape waits for no database");
    tokens(110.0);
    let slow = exporter.scrape();
    let interval = slow.value("mozaiks_exporter_mongodb_poll_interval_seconds", &[]).unwrap();
    assert!(interval >= 0.1, "{interval}");
}

#[test]
fn a_server_that_cannot_count_messages_is_read_without_turns() {
    let mongo = Mongo::wire();
    let state = TempDir::new().unwrap();
    mongo.misbehave(doc! {"refuse": ["$filter"]});
    store(&mongo, CHATS, &[chat("a", "Desk", 30, 100)]);
    by_change(&mongo, CHATS);
    let exporter = cluster(&mongo, &state).start();
    exporter.wait_for("mozaiks_workflow_prompt_tokens_total", &[], 100.0);
    exporter.wait_for("mozaiks_exporter_mongodb_counts_messages", &[], 0.0);
    exporter.wait_for("mozaiks_workflow_agent_turns_total", &[], 0.0);
    let before = mongo.asked().count("find");
    eventually("it goes on", || {
        let found = mongo.asked().count("find");
        if found > before + 3 { Ok(()) } else { Err(found.to_string()) }
    });
    assert_eq!(mongo.asked().with_field("messages"), 0);
    assert_eq!(exporter.logged("MongoDB answers in part").len(), 1);
    assert_eq!(mongo.asked().count("aggregate"), 1);
}

#[test]
fn a_document_that_cannot_be_counted_costs_itself() {
    let mongo = Mongo::wire();
    let state = TempDir::new().unwrap();
    let with = |id: &str, field: &str, value: Bson| {
        let mut chat = chat(id, "Desk", 30, 1);
        chat.insert(field, value);
        chat
    };
    let ours = with("ours", "written_by", "mozaiks-exporter".into());
    store(
        &mongo,
        CHATS,
        &[
            chat("good", "Desk", 30, 100),
            with("negative", "usage_prompt_tokens_final", Bson::Int32(-1)),
            with("nan", "usage_total_cost_final", Bson::Double(f64::NAN)),
            with("huge", "usage_completion_tokens_final", Bson::Double(1e300)),
            with("dateless", "created_at", "soon".into()),
            ours,
        ],
    );
    by_change(&mongo, CHATS);
    let exporter = cluster(&mongo, &state).start();
    exporter.wait_for("mozaiks_workflow_prompt_tokens_total", &[], 100.0);
    let shown = exporter.scrape();
    assert_eq!(shown.value("mozaiks_tracked_chats", &[]), Some(1.0));
    for reason in ["negative", "not_a_number", "too_large", "no_start"] {
        let name = "mozaiks_exporter_mongodb_documents_rejected_total";
        assert!(shown.value(name, &[("reason", reason)]) >= Some(1.0), "{reason}");
    }
    assert_eq!(
        exporter.logged("chat in MongoDB is left out; further ones are only counted").len(),
        4
    );
}

/// Beside one runtime of a cluster, only its own chats are read out of what all have stored.
#[test]
fn only_introduced_chats_are_read_where_that_is_wanted() {
    let mongo = Mongo::start();
    let (state, runtime) = (TempDir::new().unwrap(), FakeRuntime::start());
    runtime.hold(&[Chat::new("mine")]);
    store(&mongo, CHATS, &[chat("mine", "Desk", 30, 100), chat("theirs", "Desk", 30, 5_000)]);
    by_change(&mongo, CHATS);
    let launch = Launch::new(state.path()).runtime(&runtime.url());
    let exporter = reading(launch, &mongo).flag("--mongodb.chats", "known").start();
    exporter.wait_for("mozaiks_chat_prompt_tokens_total", &[("chat_id", "mine")], 100.0);
    assert_eq!(exporter.scrape().value("mozaiks_tracked_chats", &[]), Some(1.0));
    let left = "mozaiks_exporter_mongodb_documents_total";
    exporter.wait_for_value(left, &[("result", "not_introduced")], |left| left > Some(0.0));
}

/// Chats of the real orchestrator, told by its log and by its database: what is published is what
/// was stored, and no usage is added to another that says the same.
#[test]
fn log_and_database_tell_of_the_same_money() {
    for mode in ["sqlite", "file"] {
        let mongo = Mongo::start();
        let (state, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let log = logs.path().join("mozaiks.log");
        std::fs::write(&log, "").unwrap();
        let launch = reading(Launch::new(state.path()).runtime("desk="), &mongo);
        for collection in [CHATS, "GeneralChatSessions"] {
            by_change(&mongo, collection);
        }
        let mut exporter = launch.clone().flag("--logs.path", &log).start();
        eventually("the baseline is complete", || {
            let ready = exporter.get("/-/ready").status;
            if ready == 200 { Ok(()) } else { Err(ready.to_string()) }
        });
        let later = now() + 60_000 - 1_795_310_369_000;
        let dir = format!("orchestrated/{mode}");
        let mut stored = recorded(&format!("{dir}/mongo/ChatSessions.jsonl"), later);
        let (first, rest) = stored.split_at(3);
        mongo.insert(CHATS, first);
        for scenario in ["single", "failing", "general", "concurrent"] {
            let name = |kind| root().join(format!("{dir}/mozaiks.{scenario}{kind}.log"));
            let lines = std::fs::read(name("")).or_else(|_| std::fs::read(name(".filtered")));
            let mut whole = std::fs::read(&log).unwrap();
            whole.extend(lines.unwrap());
            std::fs::write(&log, whole).unwrap();
            if scenario == "failing" {
                exporter.kill();
                exporter = launch.clone().flag("--logs.path", &log).start();
            }
        }
        mongo.insert(CHATS, rest);
        let general = recorded(&format!("{dir}/mongo/GeneralChatSessions.jsonl"), later);
        mongo.insert("GeneralChatSessions", &general);
        stored.extend(general);
        published_is_stored(&exporter, &stored);
        // Two agents spoke once each in every chat but the one whose model refused; one more
        // answered twice in general chat, where that works.
        let turns = if mode == "sqlite" { 10.0 } else { 12.0 };
        exporter.wait_for_value("mozaiks_tracked_chats", &[], |chats| chats == Some(7.0));
        eventually("turns", || {
            let found = exporter.scrape().sum("mozaiks_workflow_agent_turns_total", &[]);
            if found == turns { Ok(()) } else { Err(found.to_string()) }
        });
        let waiting = || exporter.scrape().value("mozaiks_exporter_chats_awaited", &[]);
        assert_eq!(waiting(), Some(0.0));
        pause(Duration::from_millis(300));
        published_is_stored(&exporter, &stored);
        let text = exporter.get("/metrics/prometheus").text() + &exporter.log().join("\n");
        assert!(!text.contains("A customer asks") && !text.contains("what can you do"));
    }
}
