//! The configuration, read anew while the exporter runs.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::chat::{Chat, now};
use crate::support::exporter::{Exporter, Launch};
use crate::support::http::{self, Response};
use crate::support::runtime::FakeRuntime;
use crate::support::wait::eventually;

const SUCCESSFUL: &str = "mozaiks_exporter_config_last_reload_successful";
const SUCCESS_AT: &str = "mozaiks_exporter_config_last_reload_success_timestamp_seconds";

struct World {
    dir: TempDir,
    east: FakeRuntime,
    west: FakeRuntime,
}

impl World {
    fn new() -> Self {
        let (east, west) = (FakeRuntime::start(), FakeRuntime::start());
        east.hold(&[Chat::new("in-the-east").turns(3)]);
        west.hold(&[Chat::new("in-the-west").turns(5)]);
        Self { dir: TempDir::new().unwrap(), east, west }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("config.yml")
    }

    /// Writes a configuration that watches these, and says more.
    fn write(&self, runtimes: &[&str], more: &str) {
        let of = |name: &str| match name {
            "east" => self.east.url(),
            _ => self.west.url(),
        };
        let runtimes: Vec<_> = runtimes
            .iter()
            .map(|name| format!("- {{name: {name}, url: '{}'}}\n", of(name)))
            .collect();
        fs::write(self.file(), format!("runtimes:\n{}{more}", runtimes.concat())).unwrap();
    }

    fn launch(&self) -> Launch {
        Launch::new(&self.dir.path().join("state")).flag("--config.file", self.file())
    }
}

fn reload(exporter: &Exporter) -> Response {
    http::post(exporter.control(), "/-/reload", &[], b"").unwrap()
}

/// What a reload has applied, and what needs a restart.
fn changes(exporter: &Exporter) -> (Value, Value) {
    let answer = reload(exporter);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    (body["applied"].clone(), body["needs_restart"].clone())
}

fn up(runtime: &str) -> [(&'static str, &str); 1] {
    [("runtime", runtime)]
}

#[test]
fn runtimes_come_and_go_and_the_others_go_on() {
    let world = World::new();
    world.write(&["east"], "");
    let exporter = world.launch().start();
    exporter.wait_for("mozaiks_up", &up("east"), 1.0);
    let polls = |name| {
        exporter.scrape().value("mozaiks_exporter_polls_total", &up(name)).unwrap_or_default()
    };
    let before = polls("east");

    world.write(&["west", "east"], "");
    exporter.signal("HUP");
    exporter.wait_for("mozaiks_up", &up("west"), 1.0);
    exporter.wait_for("mozaiks_up", &up("east"), 1.0);
    assert!(polls("east") >= before, "it was not started anew");
    eventually("it is said", || {
        let read = exporter.logged("the configuration was read anew");
        let changes = read.first().map(|line| line["extra"]["changes"].clone());
        if changes == Some(json!("runtime west added")) { Ok(()) } else { Err(format!("{read:?}")) }
    });
    let turns = [("chat_id", "in-the-west")];
    exporter.wait_for("mozaiks_chat_agent_turns_total", &turns, 5.0);

    world.write(&["west"], "");
    assert_eq!(changes(&exporter), (json!(["runtime east removed"]), json!([])));
    exporter.wait_for_value("mozaiks_up", &up("east"), |value| value.is_none());
    exporter.wait_for("mozaiks_up", &up("west"), 1.0);
    let asked = world.east.asked("/metrics/perf/aggregate").len();
    let later = polls("west") + 3.0;
    exporter.wait_for_value("mozaiks_exporter_polls_total", &up("west"), |p| p >= Some(later));
    assert_eq!(world.east.asked("/metrics/perf/aggregate").len(), asked, "it is asked no more");
    let of_east = exporter.scrape().value("mozaiks_exporter_polls_total", &up("east"));
    assert_eq!(of_east, None, "what was counted of it is gone");
    // Its chats are lost in their time, not at once; what it has added up stays.
    let workflow = [("workflow_name", "TicketDesk")];
    exporter.wait_for_value("mozaiks_workflow_agent_turns_total", &workflow, |t| t >= Some(5.0));

    world.write(&["east", "west"], "");
    assert_eq!(changes(&exporter), (json!(["runtime east added"]), json!([])));
    exporter.wait_for("mozaiks_up", &up("east"), 1.0);
    let turns = [("chat_id", "in-the-east")];
    exporter.wait_for("mozaiks_chat_agent_turns_total", &turns, 3.0);
}

#[test]
fn a_runtime_that_moves_keeps_its_counters() {
    let world = World::new();
    world.write(&["east"], "");
    let exporter = world.launch().start();
    let turns = [("chat_id", "in-the-east")];
    exporter.wait_for("mozaiks_chat_agent_turns_total", &turns, 3.0);
    // The same name, elsewhere, with the same chats that have moved on.
    world.west.hold(&[Chat::new("in-the-east").turns(4)]);
    let moved = format!("runtimes: [{{name: east, url: '{}'}}]\n", world.west.url());
    fs::write(world.file(), moved).unwrap();
    assert_eq!(changes(&exporter).0, json!(["runtime east changed"]));
    exporter.wait_for("mozaiks_chat_agent_turns_total", &turns, 4.0);
    assert_eq!(changes(&exporter), (json!([]), json!([])), "nothing has changed since");
}

#[test]
fn a_bad_file_is_refused_and_changes_nothing() {
    let world = World::new();
    world.write(&["east"], "");
    let exporter = world.launch().start();
    exporter.wait_for("mozaiks_up", &up("east"), 1.0);
    let at = || exporter.scrape().value(SUCCESS_AT, &[]).unwrap();
    assert_eq!(exporter.scrape().value(SUCCESSFUL, &[]), Some(1.0));
    let start = at();
    let missing = world.dir.path().join("gone.yml").display().to_string();
    let gone = format!("web: {{config_file: {missing}}}\n");
    for (more, problem) in [
        ("chat: {retention: soon}\n", "line 3"),
        ("chatt: {}\n", "unknown field `chatt`"),
        ("chat: {max_series: 5}\n", "at least 100, not 5"),
        (&gone, "cannot read --web.config.file"),
    ] {
        world.write(&["west"], more);
        let refused = reload(&exporter);
        assert_eq!(refused.status, 500, "{more}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("the configuration stays as it was: "), "{detail}");
        assert!(detail.contains(problem), "{detail}");
        assert_eq!(exporter.scrape().value(SUCCESSFUL, &[]), Some(0.0));
    }
    assert_eq!(at().to_bits(), start.to_bits());
    let scrape = exporter.scrape();
    assert_eq!(scrape.value("mozaiks_up", &up("east")), Some(1.0));
    assert_eq!(scrape.value("mozaiks_up", &up("west")), None);
    world.write(&["east"], "");
    exporter.signal("HUP");
    exporter.wait_for(SUCCESSFUL, &[], 1.0);
    assert!(at() > start);
}

#[test]
fn limits_hold_at_once_and_what_needs_a_restart_is_named() {
    let world = World::new();
    world.write(&["east"], "");
    let exporter = world.launch().start();
    let turns = [("chat_id", "in-the-east")];
    let mut ended = Chat::new("in-the-east").turns(3);
    ended.ended_at = Some(now());
    world.east.hold(&[ended]);
    exporter.wait_for("mozaiks_chat_agent_turns_total", &turns, 3.0);
    exporter.wait_for("mozaiks_active_chats", &[], 0.0);
    let more = "chat: {retention: 1s, lost_after: 3m, max_series: 5000}\n\
                receive: {dedup_window: 1h, failed_tool_calls: calls}\n\
                web: {listen_address: '127.0.0.1:1'}\nusers: none\ncompat: false\n\
                label: {max_bytes: 64}\n";
    world.write(&["east"], more);
    let applied =
        json!(["chat.retention", "chat.lost_after", "chat.max_series", "receive.dedup_window"]);
    let fixed = json!(["receive.failed_tool_calls", "users", "compat", "label.max_bytes"]);
    assert_eq!(changes(&exporter), (applied, fixed.clone()));
    exporter.wait_for_value("mozaiks_chat_agent_turns_total", &turns, |value| value.is_none());
    assert_eq!(exporter.scrape().value("mozaiks_exporter_series_limit", &[]), Some(5000.0));
    assert_eq!(changes(&exporter), (json!([]), fixed), "it still does");
    eventually("each is said", || {
        let said = exporter.logged("what else has changed needs a restart");
        if said.len() == 2 { Ok(()) } else { Err(format!("{said:?}")) }
    });
}

#[test]
fn events_go_to_who_is_watched_now() {
    let world = World::new();
    world.write(&["east"], "");
    let exporter = world.launch().start();
    let push = |runtime: &str| {
        exporter.push(&format!("/api/v1/events?runtime={runtime}"), &json!([])).status
    };
    assert_eq!((push("east"), push("west")), (202, 422));
    world.write(&["west"], "");
    changes(&exporter);
    assert_eq!((push("east"), push("west")), (422, 202));
    let refused = exporter.push("/api/v1/events?runtime=east", &json!([]));
    assert!(refused.json()["detail"].as_str().unwrap().ends_with("there is west"));
}

#[test]
fn who_gets_in_may_change_with_the_file() {
    let world = World::new();
    world.write(&["east"], "");
    let exporter = world.launch().start();
    let asked = || http::get(exporter.address(), "/metrics", &[]).unwrap().status;
    assert_eq!(asked(), 200);
    let token = world.dir.path().join("token");
    fs::write(&token, "s3cret").unwrap();
    world.write(&["east"], &format!("web: {{token_file: {}}}\n", token.display()));
    assert_eq!(changes(&exporter).0, json!(["who may read metrics"]));
    assert_eq!(asked(), 401);
    world.write(&["east"], "");
    assert_eq!(changes(&exporter).0, json!(["who may read metrics"]));
    assert_eq!(asked(), 200);
}

#[test]
fn users_that_are_named_to_those_with_credentials_are_not_shown_to_everybody() {
    let world = World::new();
    let token = world.dir.path().join("token");
    fs::write(&token, "s3cret").unwrap();
    world.write(&["east"], &format!("web: {{token_file: {}}}\n", token.display()));
    let exporter = world.launch().flag("--web.listen-address", "0.0.0.0:0").start();
    world.write(&["east"], "");
    let refused = reload(&exporter);
    assert_eq!(refused.status, 500);
    assert!(refused.text().contains("restart to open the listener"), "{}", refused.text());
    eventually("it is still closed", || {
        let port = exporter.address().port();
        let answer = http::get(([127, 0, 0, 1], port).into(), "/metrics", &[]).unwrap();
        if answer.status == 401 { Ok(()) } else { Err(answer.text()) }
    });
}

#[test]
fn logs_are_followed_on_from_where_they_were() {
    let world = World::new();
    let logs = ["a", "b"].map(|name| world.dir.path().join(name));
    for dir in &logs {
        fs::create_dir(dir).unwrap();
    }
    let config = |paths: &str| {
        let text = format!("runtimes: [{{name: here, logs: [{paths}]}}]\n");
        fs::write(world.file(), text).unwrap();
    };
    let [a, b] = logs.each_ref().map(|dir| dir.display().to_string());
    let line = |dir: &str, text: &str| {
        use std::io::Write as _;
        let path = format!("{dir}/mozaiks.log");
        let mut file = fs::File::options().create(true).append(true).open(path).unwrap();
        writeln!(
            file,
            "{}",
            json!({"ts": "2026-11-22T01:47:03.696011", "level": "INFO", "logger": "core", "msg": text})
        )
        .unwrap();
    };
    line(&a, "one");
    config(&a);
    let exporter = world.launch().start();
    let lines = || {
        let labels = [("runtime", "here")];
        exporter.scrape().sum("mozaiks_exporter_log_lines_total", &labels)
    };
    let wait = |wanted: f64| {
        eventually(&format!("{wanted} lines"), || {
            let found = lines();
            if found.to_bits() == wanted.to_bits() { Ok(()) } else { Err(format!("{found}")) }
        });
    };
    wait(1.0);
    line(&a, "two");
    wait(2.0);
    line(&b, "three");
    config(&format!("{a}, {b}"));
    assert_eq!(changes(&exporter).0, json!(["runtime here changed"]));
    line(&a, "four");
    wait(4.0);
}
