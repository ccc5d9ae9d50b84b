//! MongoDB as witness where things are not as they should be: no index, no credentials, no answer, a
//! server that cannot count, documents that cannot be counted with.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use tempfile::TempDir;

use super::support::mongo::Mongo;
use super::support::stored::{CHATS, by_change, chat, cluster, index, new_chat, store};
use super::support::wait::{eventually, eventually_within};

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
    assert!(asked.documents() <= 500 * asked.count("aggregate"), "no answer is more than a slice");
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

/// As after a migration that touched everything: more at one time than a poll reads, and than lies
/// between two passes.
#[test]
fn more_changes_within_two_minutes_than_a_poll_reads_are_all_read() {
    const NUMBER: i32 = 11_000;
    let mongo = Mongo::wire();
    // The wire server takes its time to count messages.
    mongo.misbehave(doc! {"refuse": ["$filter"]});
    let state = TempDir::new().unwrap();
    let documents: Vec<Document> =
        (0..NUMBER).map(|n| chat(&format!("c{n:05}"), "Desk", 30, 1)).collect();
    store(&mongo, CHATS, &documents);
    by_change(&mongo, CHATS);
    let exporter = cluster(&mongo, &state).start();
    eventually_within(Duration::from_mins(3), "all of them are read", || {
        let tokens = exporter.scrape().sum("mozaiks_workflow_prompt_tokens_total", &[]);
        if tokens == f64::from(NUMBER) { Ok(()) } else { Err(tokens.to_string()) }
    });
    exporter.wait_for("mozaiks_exporter_mongodb_behind_seconds", &[], 0.0);
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
