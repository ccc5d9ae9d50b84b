//! MongoDB as witness: what was stored is what is published, over restarts of all who take part.

use std::time::Duration;

use mongodb::bson::{DateTime, doc};
use serde_json::Value;
use tempfile::TempDir;

use super::support::chat::Chat;
use super::support::exporter::Launch;
use super::support::mongo::Mongo;
use super::support::recorded::{is_exact, root};
use super::support::runtime::FakeRuntime;
use super::support::stored::{
    CHATS, by_change, chat, cluster, new_chat, now, published_is_stored, reading, recorded, store,
};
use super::support::wait::{eventually, pause};

/// When the last document changed that was stored before the recorded restart, in milliseconds.
const RESTART: i64 = 1_795_311_954_607;

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
