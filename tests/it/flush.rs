//! MongoDB as store: what is pushed stands there soon, whatever happens in between.

use std::path::Path;
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, Document, doc};
use serde_json::{Value, json};

use crate::support::exporter::{Exporter, Launch};
use crate::support::mongo::Mongo;
use crate::support::wait::{eventually, eventually_within, pause, quiet_port};

const EVENTS: &str = "/api/v1/events";
const BACKLOG: &str = "mozaiks_exporter_flush_backlog_chats";
const DOCUMENTS: &str = "mozaiks_exporter_flush_documents_total";
const FAILURES: &str = "mozaiks_exporter_flush_failures_total";
const SESSIONS: &str = "chat_sessions";
const STATS: &str = "workflow_stats_acme_Desk";

/// An exporter that only those who push tell anything, and that writes every second.
fn launch(state: &Path, uri: &str, database: &str) -> Launch {
    Launch::new(state)
        .runtime("app=")
        .flag("--mongodb.uri", uri)
        .flag("--mongodb.database", database)
        .flag("--mongodb.flush-interval", "1s")
}

fn begun(state: &Path, mongo: &Mongo) -> Exporter {
    launch(state, mongo.uri(), mongo.database()).start()
}

fn start_of(chat: &str, app: &str, workflow: &str) -> Value {
    json!({"event": "workflow_start", "chat_id": chat, "app_id": app, "workflow_name": workflow,
        "user_id": "alice"})
}

fn start(chat: &str) -> Value {
    start_of(chat, "acme", "Desk")
}

fn turn(chat: &str) -> Value {
    json!({"event": "agent_turn", "chat_id": chat, "agent_name": "planner", "model": "gpt-4",
        "duration_sec": 2.5, "prompt_tokens": 1500, "completion_tokens": 800, "cost": 0.05})
}

fn end(chat: &str) -> Value {
    json!({"event": "workflow_end", "chat_id": chat, "success": true})
}

fn push(exporter: &Exporter, events: &Value) {
    let answer = exporter.push(EVENTS, events);
    assert_eq!(answer.status, 202, "{}", answer.text());
}

fn int(document: &Document, field: &str) -> Option<i64> {
    match document.get(field)? {
        Bson::Int32(number) => Some(i64::from(*number)),
        Bson::Int64(number) => Some(*number),
        _ => None,
    }
}

/// The document, once it says that.
fn wait_for(mongo: &Mongo, collection: &str, id: &str, field: &str, value: i64) -> Document {
    eventually(&format!("{collection} {id:?} has {field} {value}"), || {
        let found = mongo.find(collection, id);
        found
            .filter(|found| int(found, field) == Some(value))
            .ok_or_else(|| format!("{:?}", mongo.find(collection, id)))
    })
}

#[test]
fn what_is_pushed_stands_there_when_the_chat_ends() {
    let (dir, mongo) = (tempfile::tempdir().unwrap(), Mongo::start());
    // Nobody waits for the interval.
    let exporter = launch(dir.path(), mongo.uri(), mongo.database())
        .flag("--mongodb.flush-interval", "1h")
        .start();
    let call = |success: bool| json!({"event": "tool_call", "chat_id": "c", "tool_name": "search", "success": success});
    push(&exporter, &json!([start("c"), turn("c"), turn("c"), call(true), call(false), end("c")]));
    let session = wait_for(&mongo, SESSIONS, "c", "status", 1);
    for (field, value) in [
        ("usage_prompt_tokens_final", 3000),
        ("usage_completion_tokens_final", 1600),
        ("usage_total_tokens_final", 4600),
    ] {
        assert_eq!(int(&session, field), Some(value), "{field}");
    }
    assert_eq!(session.get_f64("usage_total_cost_final").unwrap(), 0.1);
    for (field, value) in [
        ("chat_id", "c"),
        ("app_id", "acme"),
        ("workflow_name", "Desk"),
        ("user_id", "alice"),
        ("written_by", "mozaiks-exporter"),
    ] {
        assert_eq!(session.get_str(field).unwrap(), value, "{field}");
    }
    let created = session.get_datetime("created_at").unwrap();
    let ended = session.get_datetime("ended_at").unwrap();
    assert!(created <= ended && ended <= session.get_datetime("last_updated_at").unwrap());
    assert!(session.get_f64("duration_sec").unwrap() >= 0.0);
    assert!(!session.contains_key("messages"));

    let stats = wait_for(&mongo, STATS, "c", "agent_turns", 2);
    let expected = [("tool_calls", 1), ("errors", 1), ("prompt_tokens", 3000)];
    for (field, value) in expected {
        assert_eq!(int(&stats, field), Some(value), "{field}");
    }
    assert_eq!(stats.get_datetime("started_at").unwrap(), created);
    assert_eq!(stats.get_datetime("ended_at").unwrap(), ended);
    assert_eq!(stats.get_f64("last_turn_duration_sec").unwrap(), 2.5);
    assert_eq!(stats.get_f64("cost").unwrap(), 0.1);

    let overall = overall(&mongo, STATS);
    assert_eq!((int(&overall, "chats_started"), int(&overall, "chats_ended")), (Some(1), Some(1)));
    assert_eq!(int(&overall, "total_tokens"), Some(4600));
    let average = overall.get_document("overall_avg").unwrap();
    assert_eq!(int(average, "avg_prompt_tokens"), Some(3000));
    assert_eq!(average.get_f64("avg_cost_total_usd").unwrap(), 0.1);

    exporter.wait_for(BACKLOG, &[], 0.0);
    assert_eq!(exporter.scrape().value("mozaiks_exporter_flush_lag_seconds", &[]), Some(0.0));
    assert_eq!(exporter.scrape().value(DOCUMENTS, &[("result", "written")]), Some(3.0));
    assert_eq!(mongo.collections(), [SESSIONS, STATS]);
}

/// The one document of the pair as a whole.
fn overall(mongo: &Mongo, collection: &str) -> Document {
    let is_overall = |found: &Document| found.get_str("kind").ok() == Some("overall");
    eventually("there is an overall document", || {
        let found = mongo.find_all(collection).into_iter().filter(is_overall);
        let mut found: Vec<Document> = found.collect();
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err("none, or several".to_owned()),
        }
    })
}

#[test]
fn a_chat_that_goes_on_after_its_end_is_open_again() {
    let (dir, mongo) = (tempfile::tempdir().unwrap(), Mongo::start());
    let exporter = begun(dir.path(), &mongo);
    push(&exporter, &json!([start("c"), turn("c"), end("c")]));
    wait_for(&mongo, SESSIONS, "c", "status", 1);
    // Of the same second as the end it would be a late one.
    pause(Duration::from_millis(1100));
    push(&exporter, &json!([start("c"), turn("c")]));
    let session = wait_for(&mongo, SESSIONS, "c", "status", 0);
    assert!(!session.contains_key("ended_at") && !session.contains_key("duration_sec"));
    let session = wait_for(&mongo, SESSIONS, "c", "usage_prompt_tokens_final", 3000);
    assert_eq!(int(&session, "status"), Some(0));
    assert_eq!(wait_for(&mongo, STATS, "c", "agent_turns", 2).get("ended_at"), Some(&Bson::Null));
}

#[test]
fn an_outage_and_a_sigkill_in_it_are_caught_up_with_in_bulk() {
    const CHATS: usize = 1200;
    let dir = tempfile::tempdir().unwrap();
    let port = quiet_port();
    let uri = format!("mongodb://127.0.0.1:{port}");
    let launch = || launch(dir.path(), &uri, "outage").start();
    let mut exporter = launch();
    let mut slowest = Duration::ZERO;
    for some in (0..CHATS).collect::<Vec<_>>().chunks(100) {
        let events = some.iter().flat_map(|n| {
            let chat = format!("chat-{n}");
            [start(&chat), turn(&chat)].into_iter().chain((n % 2 == 0).then(|| end(&chat)))
        });
        let before = Instant::now();
        push(&exporter, &events.collect());
        slowest = slowest.max(before.elapsed());
    }
    // Nobody who pushes waits for a database that is away.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    exporter.wait_for(BACKLOG, &[], 1200.0);
    exporter.wait_for_value(FAILURES, &[("reason", "connect")], |value| value >= Some(1.0));
    let lag = |exporter: &Exporter| {
        exporter.scrape().value("mozaiks_exporter_flush_lag_seconds", &[]).unwrap()
    };
    assert!(lag(&exporter) > 0.0);
    assert_eq!(
        exporter.logged("chats cannot be written to MongoDB; they are kept for it").len(),
        1
    );
    exporter.kill();

    let exporter = launch();
    exporter.wait_for(BACKLOG, &[], 1200.0);
    let mut mongo = Mongo::wire_on(port);
    mongo.use_database("outage");
    eventually_within(Duration::from_secs(90), "it is caught up with", || {
        let backlog = exporter.scrape().value(BACKLOG, &[]);
        if backlog == Some(0.0) { Ok(()) } else { Err(format!("{backlog:?}")) }
    });
    let sessions = mongo.find_all(SESSIONS);
    assert_eq!(sessions.len(), CHATS);
    for session in &sessions {
        assert_eq!(int(session, "usage_prompt_tokens_final"), Some(1500), "{session}");
    }
    let ended = sessions.iter().filter(|session| int(session, "status") == Some(1)).count();
    assert_eq!(ended, CHATS / 2);
    assert_eq!(mongo.find_all(STATS).len(), CHATS + 1);
    let overall = overall(&mongo, STATS);
    assert_eq!(int(&overall, "chats_started"), Some(1200));
    assert_eq!(int(&overall, "prompt_tokens"), Some(1200 * 1500));
    assert_eq!(lag(&exporter), 0.0);
    let asked = mongo.asked();
    assert!(asked.count("update") <= 12, "{} commands for three batches", asked.count("update"));
    let largest =
        asked.commands("update").iter().filter_map(|command| int(command, "updates")).max();
    assert!(largest >= Some(200), "{largest:?} documents in the largest command");
    // Nothing is owed, so nothing is asked.
    let before = mongo.asked().count("update");
    pause(Duration::from_millis(2500));
    assert_eq!(mongo.asked().count("update"), before);
}

#[test]
fn what_others_wrote_is_left_alone_unless_it_is_ours_to_own() {
    let (dir, mongo) = (tempfile::tempdir().unwrap(), Mongo::start());
    let theirs = doc! {"_id": "c", "chat_id": "c", "status": 0, "usage_prompt_tokens_final": 7,
    "messages": [{"content": "please help"}]};
    mongo.insert(SESSIONS, std::slice::from_ref(&theirs));
    let mut exporter = begun(dir.path(), &mongo);
    push(&exporter, &json!([start("c"), turn("c"), end("c"), start("d"), end("d")]));
    wait_for(&mongo, SESSIONS, "d", "status", 1);
    wait_for(&mongo, STATS, "c", "agent_turns", 1);
    exporter.wait_for(BACKLOG, &[], 0.0);
    assert_eq!(mongo.find(SESSIONS, "c"), Some(theirs));
    exporter.wait_for(DOCUMENTS, &[("result", "conflict")], 1.0);
    let said = "documents that somebody else wrote are left alone (--mongodb.own writes over them)";
    assert_eq!(exporter.logged(said).len(), 1);
    assert!(exporter.terminate().success());

    let exporter =
        launch(dir.path(), mongo.uri(), mongo.database()).flag("--mongodb.own", "true").start();
    push(&exporter, &json!([turn("c")]));
    let session = wait_for(&mongo, SESSIONS, "c", "usage_prompt_tokens_final", 3000);
    assert_eq!(session.get_array("messages").unwrap().len(), 1);
    assert!(!session.contains_key("written_by"));
}

#[test]
fn odd_names_are_values_and_stay_apart() {
    let (dir, mongo) = (tempfile::tempdir().unwrap(), Mongo::start());
    let exporter = begun(dir.path(), &mongo);
    let long = "x".repeat(400);
    let ids =
        ["a.b.c", "$set", "$.$", "q\"d \\ '", "line\nbreak", "nul\u{0}byte", "🦄\u{202e}", &long];
    let events = ids.iter().flat_map(|id| [start(id), turn(id), end(id)]);
    push(&exporter, &events.collect());
    // Two pairs of one name, a name that no collection may have, and one that is too long.
    let pairs = [("a_b", "c"), ("a", "b_c"), ("$x", "100%\u{1}"), (&*long, "w"), (".", ".")];
    for (n, (app, workflow)) in pairs.iter().enumerate() {
        let chat = format!("pair-{n}");
        push(&exporter, &json!([start_of(&chat, app, workflow), turn(&chat), end(&chat)]));
    }
    let chats = ids.len() + pairs.len();
    eventually("all chats stand there", || {
        let found = mongo.find_all(SESSIONS).len();
        if found == chats { Ok(()) } else { Err(format!("{found}")) }
    });
    exporter.wait_for(BACKLOG, &[], 0.0);
    for id in ids {
        let id = id.replace('\0', "\u{fffd}");
        let session = mongo.find(SESSIONS, &id).unwrap();
        assert_eq!(session.get_str("chat_id").unwrap(), id);
        assert_eq!(int(&mongo.find(STATS, &id).unwrap(), "agent_turns"), Some(1), "{id:?}");
    }
    let shared = mongo.find_all("workflow_stats_a_b_c");
    let mut apps: Vec<&str> = shared.iter().map(|found| found.get_str("app_id").unwrap()).collect();
    apps.sort_unstable();
    assert_eq!(apps, ["a", "a", "a_b", "a_b"]);
    let names = mongo.collections();
    assert!(names.contains(&"workflow_stats_%24x_100%25%01".to_owned()), "{names:?}");
    assert!(names.contains(&"workflow_stats_._%2E".to_owned()), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.contains('~')).count(), 1, "{names:?}");
    assert_eq!(exporter.scrape().value(DOCUMENTS, &[("result", "refused")]), Some(0.0));
}

#[test]
fn what_goes_wrong_is_said_once_and_passes() {
    let (dir, mongo) = (tempfile::tempdir().unwrap(), Mongo::wire());
    let exporter = begun(dir.path(), &mongo);
    let mut turns = 0;
    for (wrong, reason) in [
        (doc! {"credentials": true}, "unauthorized"),
        (doc! {"drop": ["update"]}, "connect"),
        // It is written, and nobody hears of it.
        (doc! {"applyThenDrop": ["update"]}, "connect"),
        (doc! {"readOnly": true}, "server"),
    ] {
        mongo.misbehave(wrong);
        let before = exporter.scrape().value(FAILURES, &[("reason", reason)]).unwrap();
        turns += 1;
        push(
            &exporter,
            &if turns == 1 { json!([start("c"), turn("c")]) } else { json!([turn("c")]) },
        );
        exporter.wait_for_value(FAILURES, &[("reason", reason)], |now| now > Some(before));
        exporter.wait_for(BACKLOG, &[], 1.0);
        mongo.misbehave(doc! {});
        let stats = wait_for(&mongo, STATS, "c", "agent_turns", turns);
        assert_eq!(int(&stats, "prompt_tokens"), Some(1500 * turns));
        exporter.wait_for(BACKLOG, &[], 0.0);
    }
    let said = exporter.logged("chats cannot be written to MongoDB; they are kept for it");
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(exporter.logged("MongoDB has the chats again").len(), 4);
    assert!(said[0]["extra"]["error"].as_str().unwrap().contains("the credentials are refused"));
}

#[test]
fn a_document_that_is_refused_costs_itself() {
    let (dir, mongo) = (tempfile::tempdir().unwrap(), Mongo::wire());
    mongo.misbehave(doc! {"failIds": ["bad"]});
    let exporter = begun(dir.path(), &mongo);
    push(&exporter, &json!([start("bad"), turn("bad"), end("bad"), start("good"), end("good")]));
    wait_for(&mongo, SESSIONS, "good", "status", 1);
    exporter.wait_for(DOCUMENTS, &[("result", "refused")], 2.0);
    exporter.wait_for(BACKLOG, &[], 0.0);
    // Only this test has read anything.
    let asked = mongo.asked();
    assert_eq!((asked.count("aggregate"), asked.with_field("messages")), (0, 0));
    assert!(asked.documents() <= asked.count("find"), "{}", asked.documents());
    assert_eq!(mongo.find(SESSIONS, "bad"), None);
    assert_eq!(exporter.logged("MongoDB refuses documents; they are left out").len(), 1);
    // It is tried again when there is something new to say of it.
    mongo.misbehave(doc! {});
    push(&exporter, &json!([turn("bad")]));
    wait_for(&mongo, SESSIONS, "bad", "usage_prompt_tokens_final", 3000);
}

#[test]
fn a_collection_that_fails_keeps_the_others_from_nothing() {
    let (dir, mongo) = (tempfile::tempdir().unwrap(), Mongo::wire());
    // One has a name that the server does not take, the other has some trouble of its own.
    mongo.misbehave(doc! {"failCollections": {
        "workflow_stats_acme_Refused": 73, "workflow_stats_acme_Troubled": 8,
    }});
    let exporter = begun(dir.path(), &mongo);
    for workflow in ["Refused", "Troubled", "Desk"] {
        push(&exporter, &json!([start_of(workflow, "acme", workflow), turn(workflow)]));
    }
    wait_for(&mongo, STATS, "Desk", "agent_turns", 1);
    // Its document and that of the pair.
    exporter.wait_for_value(DOCUMENTS, &[("result", "refused")], |now| now >= Some(2.0));
    exporter.wait_for(BACKLOG, &[], 1.0);
    exporter.wait_for_value(FAILURES, &[("reason", "server")], |now| now >= Some(1.0));
    for chat in ["Refused", "Troubled"] {
        wait_for(&mongo, SESSIONS, chat, "usage_prompt_tokens_final", 1500);
    }
    mongo.misbehave(doc! {});
    wait_for(&mongo, "workflow_stats_acme_Troubled", "Troubled", "agent_turns", 1);
    exporter.wait_for(BACKLOG, &[], 0.0);
}

#[test]
fn a_server_that_hangs_keeps_nobody_waiting() {
    let (dir, mongo) = (tempfile::tempdir().unwrap(), Mongo::wire());
    let mut exporter = begun(dir.path(), &mongo);
    mongo.misbehave(doc! {"delayMs": 60_000});
    push(&exporter, &json!([start("c"), turn("c"), end("c")]));
    let before = Instant::now();
    push(&exporter, &json!([start("d"), turn("d")]));
    assert_eq!(exporter.get("/metrics/prometheus").status, 200);
    assert!(before.elapsed() < Duration::from_secs(2));
    let stopping = Instant::now();
    assert!(exporter.terminate().success());
    assert!(stopping.elapsed() < Duration::from_secs(8), "{:?}", stopping.elapsed());
    let said = "stopping before MongoDB had all chats; they are written after the start";
    assert_eq!(exporter.logged(said).len(), 1);
    mongo.misbehave(doc! {});
    let _exporter = begun(dir.path(), &mongo);
    wait_for(&mongo, SESSIONS, "c", "usage_prompt_tokens_final", 1500);
    wait_for(&mongo, SESSIONS, "d", "usage_prompt_tokens_final", 1500);
}

#[test]
fn who_stops_the_exporter_loses_nothing() {
    let (dir, mongo) = (tempfile::tempdir().unwrap(), Mongo::start());
    let mut exporter = launch(dir.path(), mongo.uri(), mongo.database())
        .flag("--mongodb.flush-interval", "1h")
        .start();
    // The first flush comes within seconds of the start; this is after it, or part of it.
    push(&exporter, &json!([start("c"), turn("c")]));
    assert!(exporter.terminate().success());
    assert_eq!(int(&mongo.find(SESSIONS, "c").unwrap(), "usage_prompt_tokens_final"), Some(1500));
}
