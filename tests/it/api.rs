//! The document of the listeners and the binary say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::chat::Chat;
use crate::support::exporter::{Exporter, Launch};
use crate::support::runtime::FakeRuntime;
use crate::support::tools::{python_script, schemathesis};

fn document() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/server/openapi.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// An exporter that knows the document's chat, of a runtime that answers.
fn exporter(runtime: &FakeRuntime, state: &TempDir) -> Exporter {
    runtime.hold(&[Chat::new("chat_abc123").turns(3)]);
    let url = format!("east={}", runtime.url());
    let exporter = Launch::new(state.path()).runtime(&url).start();
    exporter.wait_for("mozaiks_up", &[], 1.0);
    exporter.wait_for_value("mozaiks_tracked_chats", &[], |chats| chats == Some(1.0));
    exporter
}

#[test]
fn each_path_of_the_listeners_is_in_the_document_and_no_other() {
    let document = document();
    let documented: BTreeSet<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut known = BTreeSet::new();
    for file in ["server/routes.rs", "control/routes.rs"] {
        let text = fs::read_to_string(src.join(file)).unwrap();
        let routes = text.split("fn of(path: &str)").nth(1).unwrap();
        let routes = routes.split("fn label").next().unwrap();
        let paths = routes.split('"').skip(1).step_by(2).filter(|text| text.starts_with('/'));
        known.extend(paths.map(str::to_owned));
    }
    // What follows it is the chat's id.
    assert!(known.remove("/metrics/perf/chats/"), "{known:?}");
    known.insert("/metrics/perf/chats/{chat_id}".to_owned());
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    assert_eq!(documented, known);
}

#[test]
fn each_answer_is_as_the_document_says() {
    let (runtime, state, guarded) =
        (FakeRuntime::start(), TempDir::new().unwrap(), TempDir::new().unwrap());
    let exporter = exporter(&runtime, &state);
    let token = guarded.path().join("token");
    fs::write(&token, "s3cret\n").unwrap();
    let guarded = Launch::new(&guarded.path().join("state"))
        .runtime(&runtime.url())
        .flag("--control.token-file", &token)
        .start();
    let addresses = [exporter.address(), exporter.control(), guarded.control()];
    let [metrics, control, guarded] = addresses.map(|address| address.to_string());
    let said = python_script("api_answers.py", &[&metrics, &control, &guarded, "s3cret"]);
    let answers: Value =
        serde_json::from_str(&said.unwrap_or_else(|wrong| panic!("{wrong}"))).unwrap();
    let statuses = |operation: &str| -> BTreeSet<u64> {
        let answers = answers.as_array().unwrap().iter();
        answers.filter(|answer| answer[0] == operation).map(|a| a[1].as_u64().unwrap()).collect()
    };
    for (path, item) in document()["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let operation = format!("{} {path}", method.to_uppercase());
            assert!(!statuses(&operation).is_empty(), "{operation} was not asked");
        }
    }
    let events = BTreeSet::from([202, 400, 401, 413, 415, 422]);
    assert_eq!(statuses("POST /api/v1/events"), events);
    let usage = BTreeSet::from([202, 400, 401, 409, 413, 415, 422]);
    assert_eq!(statuses("POST /usage/ingest"), usage);
}

#[test]
fn a_runtime_that_is_gone_is_answered_as_the_document_says() {
    let state = TempDir::new().unwrap();
    let exporter = Launch::new(state.path()).runtime("http://127.0.0.1:1").start();
    let responses = &document()["paths"];
    for path in ["/api/health", "/-/ready"] {
        let status = exporter.get(path).status.to_string();
        assert!(responses[path]["get"]["responses"].get(&status).is_some(), "{path} {status}");
    }
    assert_eq!(exporter.get("/api/health").json()["status"], json!("not_ok"));
}

#[test]
#[expect(clippy::print_stderr, reason = "how much was tried is worth knowing")]
fn schemathesis_finds_nothing() {
    let (runtime, state) = (FakeRuntime::start(), TempDir::new().unwrap());
    let exporter = exporter(&runtime, &state);
    let listeners = [("metrics", exporter.address()), ("control", exporter.control())];
    let tried = listeners.map(|(tag, address)| thread::spawn(move || schemathesis(address, tag)));
    for tried in tried {
        let said = tried.join().unwrap().unwrap_or_else(|found| panic!("{found}"));
        let summary = said.split("= SUMMARY =").last().unwrap_or_default();
        eprintln!("{summary}");
        assert!(summary.contains("No issues found"), "{said}");
    }
    let answers = exporter.scrape();
    let requests = "mozaiks_exporter_http_requests_total";
    for code in ["500", "501", "502", "504"] {
        assert_eq!(answers.sum(requests, &[("code", code)]), 0.0, "{code}");
    }
    for (code, least) in [("202", 100.0), ("400", 1.0), ("415", 10.0), ("422", 100.0)] {
        let tried = answers.sum(requests, &[("handler", "events"), ("code", code)]);
        assert!(tried >= least, "{code} was hardly tried: {tried}");
    }
}
