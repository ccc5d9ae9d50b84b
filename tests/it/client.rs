//! The Python client of `deploy/python` before the real binary: what it records counts exactly once.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::exporter::{Exporter, Launch};
use crate::support::tools::{missing, python, python_script};
use crate::support::wait::{eventually, pause, quiet_port};

/// An exporter that nobody but the client tells anything, on a port that it keeps over restarts.
fn launch(state: &TempDir, port: u16) -> Launch {
    Launch::new(state.path())
        .runtime("app=")
        .flag("--control.listen-address", format!("127.0.0.1:{port}"))
}

/// A process of `client_load.py`.
struct Load {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Load {
    fn start(scenario: &str, port: u16, env: &[(&str, &Path)]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/client_load.py");
        let mut child = Command::new(python())
            .arg("-B")
            .arg(script)
            .args([scenario, &format!("http://127.0.0.1:{port}/api/v1/events")])
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}", missing("the Python environment", &error)));
        let says = BufReader::new(child.stdout.take().unwrap());
        Self { child, says }
    }

    /// Waits for the next line that it says.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Lets it go on.
    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    /// Waits for its end. Returns the last that it said: what was recorded, and what became of it.
    fn told(mut self) -> Value {
        let line = self.line();
        assert!(self.child.wait().unwrap().success(), "{line}");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(told["flushed"], true, "{told}");
        assert_eq!((&told["queued"], &told["rejected"]), (&json!(0), &json!(0)), "{told}");
        told
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Each turn was counted once, with all that belongs to it: tokens of 1 to 10, a tenth of a cent.
fn assert_exact(exporter: &Exporter, told: &Value) {
    let chat = exporter.get("/metrics/perf/chats/c").json();
    let turns = told["turns"].as_u64().unwrap();
    let counted = json!([chat["agent_turns"], chat["prompt_tokens"], chat["completion_tokens"]]);
    assert_eq!(counted, json!([turns, told["tokens"], turns]), "{told}\n{chat}");
    let cost = format!("{}.{:03}", turns / 1000, turns % 1000);
    assert_eq!(chat["cost"].as_f64().unwrap(), cost.parse::<f64>().unwrap());
    let series = [("app_id", "acme"), ("workflow_name", "Desk")];
    let tokens = told["tokens"].as_f64().unwrap();
    exporter.wait_for("mozaiks_workflow_prompt_tokens_total", &series, tokens);
}

#[test]
fn the_client_keeps_its_promises_before_a_server_that_does_what_it_is_told() {
    let said = python_script("test_mozaiks_metrics.py", &[]);
    said.unwrap_or_else(|wrong| panic!("{wrong}"));
}

#[test]
fn what_is_recorded_while_the_exporter_is_killed_again_and_again_counts_once() {
    let (state, port) = (TempDir::new().unwrap(), quiet_port());
    let mut exporter = launch(&state, port).start();
    let mut load = Load::start("outage", port, &[]);
    assert_eq!(load.line(), "recording");
    for down_millis in [0, 700, 1500] {
        pause(Duration::from_millis(300));
        exporter.kill();
        pause(Duration::from_millis(down_millis));
        exporter = launch(&state, port).start();
    }
    load.go_on();
    let told = load.told();
    assert_exact(&exporter, &told);
    assert!(told["turns"].as_u64().unwrap() > 1000 && told["retries"] != json!(0), "{told}");
    assert_eq!(told["dropped"], json!({"overflow": 0, "refused": 0, "exit": 0}));
    let chat = exporter.get("/metrics/perf/chats/c").json();
    assert_eq!(chat["status"], "completed");
}

#[test]
fn what_is_sent_again_because_the_answer_was_lost_counts_once() {
    let (state, port) = (TempDir::new().unwrap(), quiet_port());
    let exporter = launch(&state, port).start();
    let told = Load::start("lossy", port, &[]).told();
    assert_exact(&exporter, &told);
    // Two answers of three were lost, and the third says that it was all known.
    assert_eq!((&told["accepted"], &told["duplicates"]), (&json!(0), &json!(1001)), "{told}");
    assert!(told["answers"].as_u64().unwrap() >= 63, "{told}");
}

#[test]
fn what_the_queue_has_room_for_arrives_and_the_rest_is_counted() {
    let (state, port) = (TempDir::new().unwrap(), quiet_port());
    let mut load = Load::start("overflow", port, &[]);
    assert_eq!(load.line(), "full");
    let exporter = launch(&state, port).start();
    let told = load.told();
    assert_eq!((&told["accepted"], &told["dropped"]["overflow"]), (&json!(500), &json!(500)));
    assert_exact(&exporter, &told);
}

#[test]
fn forked_and_spawned_children_send_their_own_and_nothing_twice() {
    let (state, port) = (TempDir::new().unwrap(), quiet_port());
    let exporter = launch(&state, port).start();
    let told = Load::start("fork", port, &[]).told();
    assert_eq!(told["codes"], json!([0, 0, 0, 0]));
    assert_exact(&exporter, &told);
    assert_eq!(told["duplicates"], 0, "{told}");
    assert_eq!(told["accepted"], 201, "the parent sent what it recorded: {told}");
}

#[test]
fn coroutines_and_threads_record_into_one_chat() {
    let (state, port) = (TempDir::new().unwrap(), quiet_port());
    let exporter = launch(&state, port).start();
    let told = Load::start("coroutines", port, &[]).told();
    assert_exact(&exporter, &told);
    assert_eq!(told["seen"], told["tokens"], "its own view of it");
}

#[test]
fn what_is_left_at_the_end_of_the_process_is_sent() {
    let (state, port) = (TempDir::new().unwrap(), quiet_port());
    let exporter = launch(&state, port).start();
    let mut load = Load::start("leave", port, &[]);
    assert_eq!(load.line(), "leaving");
    assert!(load.child.wait().unwrap().success());
    assert_exact(&exporter, &json!({"turns": 500, "tokens": 2750}));
}

#[test]
fn a_process_ends_soon_also_where_there_is_no_exporter() {
    let mut load = Load::start("leave", quiet_port(), &[]);
    assert_eq!(load.line(), "leaving");
    let begun = Instant::now();
    assert!(load.child.wait().unwrap().success());
    // Three seconds are what it takes for trying.
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
}

#[test]
fn odd_values_neither_break_the_caller_nor_are_refused() {
    let (state, port) = (TempDir::new().unwrap(), quiet_port());
    let exporter = launch(&state, port).start();
    let told = Load::start("odd", port, &[]).told();
    assert_exact(&exporter, &told);
    let counts = ["invalid", "mended", "accepted"].map(|name| told[name].as_u64().unwrap());
    assert!(counts.iter().all(|count| *count > 20), "{told}");
}

#[test]
fn a_token_that_comes_late_opens() {
    let (state, port) = (TempDir::new().unwrap(), quiet_port());
    let (theirs, ours) = (state.path().join("theirs"), state.path().join("ours"));
    std::fs::write(&theirs, "right").unwrap();
    std::fs::write(&ours, "wrong").unwrap();
    let exporter = Launch::new(&state.path().join("state"))
        .runtime("app=")
        .flag("--control.listen-address", format!("127.0.0.1:{port}"))
        .flag("--control.token-file", &theirs)
        .start();
    let env = [("MOZAIKS_EXPORTER_EVENTS_TOKEN_FILE", ours.as_path())];
    let mut load = Load::start("token", port, &env);
    assert_eq!(load.line(), "refused");
    assert!(exporter.get("/metrics/perf/chats").json().as_array().unwrap().is_empty());
    std::fs::write(&ours, "right").unwrap();
    let told = load.told();
    eventually("all is there", || {
        let chat = exporter.get("/metrics/perf/chats/c");
        if chat.status == 200 { Ok(()) } else { Err(chat.text()) }
    });
    assert_exact(&exporter, &told);
}
