//! How a MongoDB is reached, over real sockets: what goes wrong is said, and every wait ends.

use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use mozaiks_exporter::mongo::{Mongo, MongoError, Reason, UriSource, code};

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
