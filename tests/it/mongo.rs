//! How a MongoDB is reached, over real sockets: what goes wrong is said, and every wait ends.

use std::time::{Duration, Instant};

use mongodb::bson::{DateTime, Document, doc};
use mozaiks_exporter::mongo::{Mongo, MongoError, Reason, UriSource, code};

use serde_json::json;

use super::support::exporter::Launch;
use super::support::mongo::Mongo as Server;
use super::support::wait::eventually;

const LIMIT: Duration = Duration::from_millis(500);

async fn ask(mongo: &Mongo) -> Result<(), MongoError> {
    let database = mongo.database().await?;
    let collection = database.collection::<Document>("c");
    mongo.ask("reading c", LIMIT, collection.find_one(doc! {})).await.map(drop)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn the_runtimes_own_variable_is_enough_and_is_never_shown() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::wire());
    let launch = || Launch::new(dir.path()).runtime("app=");
    let with_user = server.uri().replace("mongodb://", "mongodb://user:sesame@");
    // The wire server knows no user, so it refuses all of them.
    let exporter = launch()
        .env("MONGO_URI", with_user)
        .flag("--mongodb.flush-interval", "1s")
        .flag("--log.level", "debug")
        .start();
    let start = json!({"event": "workflow_start", "chat_id": "c", "app_id": "acme",
        "workflow_name": "Desk", "user_id": "alice"});
    assert_eq!(exporter.push("/api/v1/events", &start).status, 202);
    let failures = "mozaiks_exporter_flush_failures_total";
    exporter.wait_for_value(failures, &[("reason", "unauthorized")], |n| n >= Some(1.0));
    let log = exporter.log().join("\n");
    assert!(log.contains("the credentials are refused") && !log.contains("sesame"), "{log}");

    for (args, wanted) in [
        (&["mongodb://user:sesame@host:port"][..], "--mongodb.uri is refused"),
        (&["b=mongodb://user:sesame@host"], "names a runtime `b`, but the runtimes are `app`"),
    ] {
        let (status, said) = launch().flag("--mongodb.uri", args[0]).run_to_its_end();
        assert_eq!(status.code(), Some(64), "{said}");
        assert!(said.contains(wanted) && !said.contains("sesame"), "{said}");
    }
    let (status, said) =
        launch().runtime("other=").env("MONGO_URI", "mongodb://user:sesame@host").run_to_its_end();
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("--mongodb.uri NAME=URI") && !said.contains("sesame"), "{said}");
}

#[test]
fn the_server_of_the_tests_keeps_the_types_of_what_it_holds() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start());
    let path = dir.path().join("lines.jsonl");
    let line = r#"{"_id": "a.b$c", "at": {"$date": {"$numberLong": "1795311952268"}},
        "n": {"$numberInt": "7"}, "long": {"$numberLong": "5000000000"},
        "x": {"$numberDouble": "1.0"}, "none": null}"#;
    std::fs::write(&path, line.replace('\n', " ") + "\n\n").unwrap();
    for _ in 0..2 {
        server.load("c", &path);
    }
    let expected = doc! {"_id": "a.b$c", "at": DateTime::from_millis(1_795_311_952_268),
    "n": 7, "long": 5_000_000_000_i64, "x": 1.0, "none": null};
    assert_eq!(server.find_all("c"), [expected]);
}

#[test]
fn failures_have_names_and_pass() {
    let (server, runtime) = (Server::wire(), runtime());
    let mongo = Mongo::new(UriSource::Value(server.uri().to_owned()), server.database()).unwrap();
    runtime.block_on(ask(&mongo)).unwrap();
    let refused = code::AUTHENTICATION_FAILED;
    for (wrong, reason, code) in [
        (doc! {"credentials": true}, Reason::Unauthorized, Some(refused)),
        (doc! {"drop": ["find"]}, Reason::Connect, None),
        (doc! {"delayMs": 60_000}, Reason::Timeout, None),
    ] {
        server.misbehave(wrong.clone());
        let start = Instant::now();
        let error = runtime.block_on(ask(&mongo)).unwrap_err();
        assert_eq!((error.reason, error.code), (reason, code), "{wrong}: {error}");
        assert!(error.detail.starts_with("reading c at 127.0.0.1:"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{wrong}");
        server.misbehave(doc! {});
        eventually("it answers again", || {
            runtime.block_on(ask(&mongo)).map_err(|error| error.to_string())
        });
    }
}

#[test]
fn credentials_that_are_replaced_in_the_file_are_read_again() {
    let (server, runtime) = (Server::wire(), runtime());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("uri");
    // The wire server knows no user, so it refuses all of them.
    let with_user = server.uri().replace("mongodb://", "mongodb://user:sesame@");
    std::fs::write(&path, with_user).unwrap();
    let mongo = Mongo::new(UriSource::File(path.clone()), server.database()).unwrap();
    let error = runtime.block_on(ask(&mongo)).unwrap_err();
    assert_eq!(error.reason, Reason::Unauthorized, "{error}");
    assert!(!error.detail.contains("sesame"), "{error}");
    std::fs::write(&path, server.uri()).unwrap();
    runtime.block_on(ask(&mongo)).unwrap();
}

#[test]
fn a_server_that_was_away_is_found_again() {
    let (mut server, runtime) = (Server::wire(), runtime());
    let mongo = Mongo::new(UriSource::Value(server.uri().to_owned()), server.database()).unwrap();
    runtime.block_on(ask(&mongo)).unwrap();
    let port = server.stop();
    let error = runtime.block_on(ask(&mongo)).unwrap_err();
    assert_eq!(error.reason, Reason::Connect, "{error}");
    server.restart_empty(port);
    runtime.block_on(ask(&mongo)).unwrap();
}
