//! The exporter's own log.

use serde_json::Value;
use tempfile::TempDir;

use crate::support::exporter::Launch;

/// The keys of a line, sorted.
const KEYS: [&str; 9] = ["emoji", "extra", "fn", "level", "line", "logger", "mod", "msg", "ts"];

fn is_line(line: &str) {
    let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
    assert_eq!(keys, KEYS, "{line}");
}

#[test]
fn json_lines_go_to_standard_error_and_to_a_file_beside_the_runtimes_logs() {
    let (state, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let launch = Launch::bare("serve").flag("--state-dir", state.path());
    let launch = launch.flag("--runtime.url", "local=").env("LOGS_BASE_DIR", logs.path());
    let mut exporter = launch.env("LOGS_AS_JSON", "true").start();
    assert!(exporter.terminate().success());
    let file = std::fs::read_to_string(logs.path().join("mozaiks-exporter.log")).unwrap();
    let said = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("ts");
        line
    };
    let filed: Vec<Value> = file.lines().map(said).collect();
    let shown: Vec<Value> = exporter.log().iter().map(|line| said(line)).collect();
    assert_eq!(filed, shown, "both say the same");
    assert!(file.lines().count() > 3);
    file.lines().for_each(is_line);
    // Its own file lies in the folder that it follows, and is not followed.
    let mut exporter = Launch::new(state.path())
        .flag("--runtime.url", "local=")
        .env("LOGS_BASE_DIR", logs.path())
        .start();
    exporter.wait_for("mozaiks_exporter_log_files", &[("source", "logs")], 0.0);
    assert!(exporter.terminate().success());
}

#[test]
fn an_empty_folder_is_none() {
    let (state, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let launch = Launch::new(state.path()).env("LOGS_BASE_DIR", logs.path());
    let mut exporter = launch.flag("--log.dir", "").start();
    assert!(exporter.terminate().success());
    assert!(!logs.path().join("mozaiks-exporter.log").exists());
}

#[test]
fn a_folder_that_cannot_be_written_costs_the_file_alone() {
    let (state, logs) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = logs.path().join("file");
    std::fs::write(&file, "").unwrap();
    let launch = Launch::new(state.path()).flag("--runtime.url", "local=");
    let mut exporter = launch.flag("--log.dir", file.join("logs")).start();
    assert_eq!(exporter.logged("the log is not written to a file (--log.dir)").len(), 1);
    assert!(exporter.terminate().success());
}

#[test]
fn a_secret_in_a_flag_is_not_echoed() {
    let launch = Launch::bare("serve").flag("--runtime.url", "http://user:hunter2secret@host:1:2/");
    let (status, said) = launch.run_to_its_end();
    assert!(!status.success());
    assert!(said.contains("--runtime.url") && !said.contains("hunter2secret"), "{said}");
}
