//! Bad input, bad networks and bad disks. Each ends in a message and a count; nothing else is
//! spoiled, and nothing that was counted is lost.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::chat::{Chat, count, iso, now};
use crate::support::exporter::{Exporter, Launch};
use crate::support::recorded::response;
use crate::support::runtime::{AGGREGATE, Answer, FakeRuntime};
use crate::support::wait::{eventually, pause, quiet_port};

const TURNS: &str = "mozaiks_chat_agent_turns_total";
const FAILURES: &str = "mozaiks_exporter_poll_failures_total";
const REJECTED: &str = "mozaiks_exporter_snapshots_rejected_total";
const REASONS: [&str; 7] =
    ["connect", "timeout", "tls", "unauthorized", "status", "too_large", "parse"];

/// A runtime with one good chat, and an exporter that has counted its first turn.
struct Weather {
    runtime: FakeRuntime,
    exporter: Exporter,
    dir: TempDir,
}

fn canary(turns: u64) -> Chat {
    Chat::new("canary").turns(turns)
}

impl Weather {
    fn fair() -> Self {
        Self::with(FakeRuntime::start(), |launch, _| launch)
    }

    fn with(runtime: FakeRuntime, launch: impl FnOnce(Launch, &Path) -> Launch) -> Self {
        runtime.hold(&[canary(1)]);
        let dir = TempDir::new().unwrap();
        let state = dir.path().join("state");
        let start = Launch::new(&state).runtime(&runtime.url());
        let exporter = launch(start, dir.path()).start();
        exporter.wait_for(TURNS, &[("chat_id", "canary")], 1.0);
        Self { runtime, exporter, dir }
    }

    fn failures(&self) -> BTreeMap<String, f64> {
        let exposition = self.exporter.scrape();
        let failures = exposition.all(FAILURES, &[]);
        failures.map(|sample| (sample.labels["reason"].clone(), sample.value)).collect()
    }

    fn rejected(&self) -> f64 {
        self.exporter.scrape().sum(REJECTED, &[])
    }

    fn canary_has(&self, turns: u64) {
        self.exporter.wait_for(TURNS, &[("chat_id", "canary")], count(turns));
    }

    /// Polls fail for that reason and no other; then all is well again and nothing is lost.
    fn storm(
        &self,
        reason: &str,
        begin: impl FnOnce(&FakeRuntime),
        end: impl FnOnce(&FakeRuntime),
    ) {
        let before = self.failures();
        let reasons: Vec<&str> = before.keys().map(String::as_str).collect();
        for known in REASONS {
            assert!(reasons.contains(&known), "{known} is not counted from the start: {reasons:?}");
        }
        begin(&self.runtime);
        self.exporter.wait_for("mozaiks_up", &[], 0.0);
        eventually(&format!("failures by {reason}"), || {
            let after = self.failures();
            if after[reason] > before[reason] { Ok(()) } else { Err(format!("{after:?}")) }
        });
        self.canary_has(1);
        for (other, failures) in self.failures() {
            assert!(other == reason || failures == before[&other], "{other} is at {failures}");
        }
        assert_eq!(self.exporter.get("/-/healthy").status, 200);
        self.runtime.hold(&[canary(5)]);
        end(&self.runtime);
        self.exporter.wait_for("mozaiks_up", &[], 1.0);
        self.canary_has(5);
    }

    /// One chat of an answer is bad; the other one in it is counted.
    fn spoil(&self, change: impl FnOnce(&mut Value)) {
        let mut bad = Chat::new("bad").turns(4).json();
        change(&mut bad);
        self.runtime.world().chats = vec![bad, canary(5).json()];
        self.canary_has(5);
        let exposition = self.exporter.scrape();
        assert_eq!(exposition.value("mozaiks_up", &[]), Some(1.0));
        for sample in exposition.samples.iter().filter(|s| s.name.starts_with("mozaiks_chat_")) {
            assert!(sample.value.is_finite() && sample.value >= 0.0, "{sample:?}");
        }
    }

    /// The bad chat is refused and counted as that.
    fn refuses(&self, change: impl FnOnce(&mut Value)) {
        let before = self.rejected();
        self.spoil(change);
        assert!(self.rejected() > before, "nothing was rejected");
        let shown = self.exporter.scrape().value(TURNS, &[("chat_id", "bad")]);
        assert_eq!(shown, None, "a chat that was refused is shown");
        self.runtime.hold(&[canary(5), Chat::new("bad").turns(6)]);
        self.exporter.wait_for(TURNS, &[("chat_id", "bad")], 6.0);
    }

    /// The odd chat is understood.
    fn reads(&self, change: impl FnOnce(&mut Value)) {
        let before = self.rejected();
        self.spoil(change);
        self.exporter.wait_for(TURNS, &[("chat_id", "bad")], 4.0);
        assert_eq!(self.rejected().to_bits(), before.to_bits());
    }
}

fn both(answer: &Answer) -> impl FnOnce(&FakeRuntime) {
    let answer = answer.clone();
    move |runtime| runtime.script_both(&answer)
}

fn everything(answer: &Answer) -> impl FnOnce(&FakeRuntime) {
    let answer = answer.clone();
    move |runtime| runtime.script_everything(&answer)
}

#[test]
fn a_page_for_people_is_no_answer() {
    let page = Answer::html("<!doctype html><title>502</title><h1>Bad gateway</h1>");
    Weather::fair().storm("parse", both(&page), FakeRuntime::heal);
}

#[test]
fn json_that_ends_early_is_no_answer() {
    let whole = json!({ "chats": [canary(5).json()] }).to_string();
    let half = Answer::body(&whole.as_bytes()[..whole.len() / 2]);
    Weather::fair().storm("parse", both(&half), FakeRuntime::heal);
}

#[test]
fn other_json_is_no_answer() {
    for body in ["[]]", "null", "\"chats\"", "{}", "{\"chats\": 7}", "\u{feff}", ""] {
        let weather = Weather::fair();
        weather.storm("parse", both(&Answer::body(body)), FakeRuntime::heal);
    }
}

#[test]
fn a_connection_that_ends_in_the_middle_of_an_answer_spoils_nothing() {
    let cut = Answer::json(&json!({ "chats": [canary(5).json()] })).cut_after(100);
    Weather::fair().storm("connect", both(&cut), FakeRuntime::heal);
}

#[test]
fn a_half_closed_connection_spoils_nothing() {
    Weather::fair().storm("connect", both(&Answer::half_close()), FakeRuntime::heal);
}

#[test]
fn an_answer_beyond_the_limit_is_left_unread() {
    for declared in [true, false] {
        let weather = Weather::fair();
        let flood = Answer::flood(200_000_000, declared);
        weather.storm("too_large", both(&flood), FakeRuntime::heal);
        let memory = weather.exporter.scrape().value("process_resident_memory_bytes", &[]).unwrap();
        assert!(memory < 120e6, "{memory} bytes are resident");
    }
}

#[test]
fn one_byte_a_second_is_a_timeout() {
    let weather =
        Weather::with(FakeRuntime::start(), |launch, _| launch.flag("--runtime.timeout", "500ms"));
    let drip = Answer::json(&json!({ "chats": [] })).drip(Duration::from_secs(1));
    weather.storm("timeout", both(&drip), FakeRuntime::heal);
}

#[test]
fn a_runtime_that_says_nothing_is_a_timeout() {
    let weather =
        Weather::with(FakeRuntime::start(), |launch, _| launch.flag("--runtime.timeout", "300ms"));
    let silence = Answer::json(&json!({ "chats": [] })).after(Duration::from_secs(2));
    weather.storm("timeout", both(&silence), FakeRuntime::heal);
}

#[test]
fn a_server_error_is_a_failure_by_status() {
    let down = Answer::recorded(&response("health_500_database_down"));
    Weather::fair().storm("status", everything(&down), FakeRuntime::heal);
}

#[test]
fn a_redirect_is_not_followed() {
    let other = FakeRuntime::start();
    other.hold(&[Chat::new("elsewhere").turns(9)]);
    let redirect = Answer::redirect(&format!("{}{AGGREGATE}", other.url()));
    Weather::fair().storm("status", everything(&redirect), FakeRuntime::heal);
    assert!(other.asked(AGGREGATE).is_empty());
}

#[test]
fn a_runtime_that_goes_away_and_comes_back_is_counted_on() {
    let port = quiet_port();
    let weather = Weather::with(FakeRuntime::start_on(port, None), |launch, _| launch);
    let Weather { runtime, exporter, dir: _dir } = weather;
    drop(runtime);
    exporter.wait_for("mozaiks_up", &[], 0.0);
    exporter.wait_for_value(FAILURES, &[("reason", "connect")], |n| n > Some(0.0));
    exporter.wait_for(TURNS, &[("chat_id", "canary")], 1.0);
    let runtime = FakeRuntime::start_on(port, None);
    let mut again = canary(2);
    again.started_at = now();
    runtime.hold(&[again]);
    exporter.wait_for("mozaiks_up", &[], 1.0);
    // The chat started anew, so this is another life of it, and both count.
    exporter.wait_for(TURNS, &[("chat_id", "canary")], 3.0);
}

#[test]
fn failures_are_logged_once_and_so_is_their_end() {
    let weather = Weather::fair();
    let warnings = |weather: &Weather| {
        let log = weather.exporter.log();
        log.iter().filter(|line| line.contains("\"level\":\"WARN")).count()
    };
    let before = warnings(&weather);
    weather.runtime.script_everything(&Answer::detail(500, "no"));
    eventually("several failures", || {
        let failures = weather.failures()["status"];
        if failures >= 4.0 { Ok(()) } else { Err(failures.to_string()) }
    });
    assert_eq!(warnings(&weather), before + 1, "{:#?}", weather.exporter.log());
}

#[test]
fn a_refused_token_is_read_again_and_then_works() {
    let runtime = FakeRuntime::start();
    runtime.world().token = Some("first".to_owned());
    let weather = Weather::with(runtime, |launch, dir| {
        fs::write(dir.join("token"), "first\n").unwrap();
        launch.flag("--runtime.token-file", dir.join("token"))
    });
    let token = weather.dir.path().join("token");
    weather.storm(
        "unauthorized",
        |runtime| runtime.world().token = Some("second".to_owned()),
        |_| fs::write(&token, "second").unwrap(),
    );
    let log = weather.exporter.log().join("\n");
    assert!(!log.contains("first") && !log.contains("second"), "a token in the log: {log}");
}

#[test]
fn an_identity_provider_that_is_down_is_a_refusal_that_passes() {
    let refusal = Answer::recorded(&response("idp_down_unknown_kid_401"));
    Weather::fair().storm("unauthorized", both(&refusal), FakeRuntime::heal);
}

#[test]
fn a_certificate_nobody_vouches_for_is_refused() {
    let runtime = FakeRuntime::start_tls();
    runtime.hold(&[canary(1)]);
    let dir = TempDir::new().unwrap();
    let launch = Launch::new(&dir.path().join("state")).runtime(&runtime.url());
    let exporter = launch.clone().start();
    exporter.wait_for_value(FAILURES, &[("reason", "tls")], |n| n > Some(0.0));
    exporter.wait_for("mozaiks_up", &[], 0.0);
    assert!(runtime.asked(AGGREGATE).is_empty());
    drop(exporter);

    fs::write(dir.path().join("ca.pem"), runtime.ca_pem()).unwrap();
    let exporter = launch.flag("--runtime.ca-file", dir.path().join("ca.pem")).start();
    exporter.wait_for(TURNS, &[("chat_id", "canary")], 1.0);
}

#[test]
fn where_one_chat_breaks_both_routes_the_others_are_asked_for_singly() {
    let weather = Weather::fair();
    let mut poisoned = Chat::new("poisoned").turns(2);
    weather.runtime.hold(&[canary(1), poisoned.clone()]);
    weather.exporter.wait_for(TURNS, &[("chat_id", "poisoned")], 2.0);
    let broken = Answer::recorded(&response("aggregate_500_nan_cost"));
    poisoned.turns = 3;
    weather.runtime.hold(&[canary(5), poisoned]);
    weather.runtime.script_both(&broken);
    weather.runtime.script("/metrics/perf/chats/poisoned", broken);
    weather.canary_has(5);
    eventually("failures by status", || {
        let failures = weather.failures();
        if failures["status"] > 0.0 { Ok(()) } else { Err(format!("{failures:?}")) }
    });
    weather.exporter.wait_for(TURNS, &[("chat_id", "poisoned")], 2.0);
    weather.runtime.heal();
    weather.exporter.wait_for(TURNS, &[("chat_id", "poisoned")], 3.0);
}

#[test]
fn numbers_that_are_none_cost_their_chat_only() {
    let weather = Weather::fair();
    let check = |key: &str, value: Value| {
        weather.runtime.hold(&[canary(5)]);
        let before = weather.rejected();
        weather.spoil(|chat| chat[key] = value.clone());
        eventually(&format!("{key} {value} is refused"), || {
            if weather.rejected() > before { Ok(()) } else { Err("it is not".to_owned()) }
        });
        assert_eq!(weather.exporter.scrape().value(TURNS, &[("chat_id", "bad")]), None);
    };
    for key in ["agent_turns", "prompt_tokens"] {
        check(key, json!(-1));
        check(key, json!(2.5));
        check(key, json!(1e308));
        check(key, json!("many"));
        check(key, json!([1]));
        check(key, json!(true));
    }
    check("cost", json!(-0.01));
    check("cost", json!(1e308));
    check("cost", json!("free"));
    check("chat_id", json!(null));
    check("chat_id", json!(""));
    check("chat_id", json!({}));
}

#[test]
fn what_is_no_chat_at_all_costs_itself_only() {
    let weather = Weather::fair();
    for bad in [json!(null), json!(7), json!("chat"), json!([]), json!({})] {
        let before = weather.rejected();
        weather.runtime.world().chats = vec![bad.clone(), canary(5).json()];
        weather.canary_has(5);
        eventually(&format!("{bad} is refused"), || {
            if weather.rejected() > before { Ok(()) } else { Err("it is not".to_owned()) }
        });
        weather.exporter.wait_for("mozaiks_up", &[], 1.0);
    }
}

#[test]
fn whole_numbers_are_read_however_they_are_written() {
    Weather::fair().reads(|chat| chat["agent_turns"] = json!(4.0));
    Weather::fair().reads(|chat| chat["prompt_tokens"] = json!("4000"));
    Weather::fair().reads(|chat| chat["cost"] = json!("0.006"));
}

#[test]
fn what_is_missing_or_null_or_unknown_is_no_error() {
    Weather::fair().reads(|chat| {
        let fields = chat.as_object_mut().unwrap();
        fields.remove("tool_calls");
        fields.remove("runtime_sec");
        fields.remove("user_id");
        fields.insert("last_turn_duration_sec".to_owned(), json!(null));
        fields.insert("errors".to_owned(), json!(null));
        fields.insert("brand_new".to_owned(), json!({"deep": [1, {"er": null}]}));
    });
}

#[test]
fn a_turn_duration_that_is_none_is_not_shown() {
    for duration in [json!(-1.0), json!("slow"), json!(1e308)] {
        let weather = Weather::fair();
        weather.spoil(|chat| chat["last_turn_duration_sec"] = duration);
    }
}

#[test]
fn a_refused_chat_is_counted_as_soon_as_it_makes_sense() {
    Weather::fair().refuses(|chat| chat["agent_turns"] = json!(-4));
}

#[test]
fn a_chat_that_stands_twice_in_one_answer_is_counted_once() {
    let weather = Weather::fair();
    let started_at = now();
    let twin = |turns| {
        let mut chat = Chat::new("twin").turns(turns);
        chat.started_at = started_at;
        chat
    };
    weather.runtime.hold(&[twin(3), twin(7), canary(5), twin(5)]);
    weather.canary_has(5);
    weather.runtime.wait_for_polls(2);
    weather.exporter.wait_for(TURNS, &[("chat_id", "twin")], 7.0);
    let duplicates = "mozaiks_exporter_snapshot_duplicates_total";
    weather.exporter.wait_for_value(duplicates, &[], |n| n >= Some(2.0));
}

#[test]
fn a_start_in_any_form_or_none_counts_once() {
    let forms = [
        json!(null),
        json!("yesterday"),
        json!(""),
        json!(1_768_701_486),
        json!(1_768_701_486.25),
        json!("2026-01-18T01:58:06Z"),
        json!("2026-01-18 01:58:06"),
        json!("2026-01-18T03:58:06.5+02:00"),
        json!(iso(now() + chrono::Duration::days(400))),
        json!("9999-12-31T23:59:59.999999+00:00"),
        json!("0001-01-01T00:00:00+00:00"),
    ];
    let weather = Weather::fair();
    let show = |turns: u64| {
        let mut chats = vec![canary(5).json()];
        for (index, form) in forms.iter().enumerate() {
            let mut chat = Chat::new(&format!("form-{index}")).turns(turns).json();
            chat["started_at"] = form.clone();
            chats.push(chat);
        }
        let mut chat = Chat::new("form-none").turns(turns).json();
        chat.as_object_mut().unwrap().remove("started_at");
        chats.push(chat);
        weather.runtime.world().chats = chats;
        weather.runtime.wait_for_polls(2);
        let exposition = weather.exporter.scrape();
        for index in (0..forms.len()).map(|i| i.to_string()).chain(["none".to_owned()]) {
            let id = format!("form-{index}");
            let found = exposition.value(TURNS, &[("chat_id", &id)]);
            assert_eq!(
                found,
                Some(count(turns)),
                "{id}: {:?}",
                index.parse().map(|i: usize| &forms[i])
            );
        }
        for sample in exposition.all("mozaiks_chat_runtime_seconds", &[]) {
            assert!(sample.value >= 0.0, "{sample:?}");
        }
        for sample in exposition.all("mozaiks_chat_last_update_time", &[]) {
            let soon = count(u64::try_from(now().timestamp() + 60).unwrap());
            assert!((0.0..soon).contains(&sample.value), "{sample:?}");
        }
    };
    show(4);
    show(6);
    weather.canary_has(5);
}

#[test]
fn a_chat_that_moves_on_after_its_end_is_counted_on() {
    let weather = Weather::fair();
    let mut chat = Chat::new("resumed").turns(2);
    let labels = [("chat_id", "resumed")];
    let gauge = "mozaiks_chat_last_update_time";
    weather.runtime.hold(&[canary(1), chat.clone()]);
    weather.exporter.wait_for_value(gauge, &labels, |value| value.is_some());
    chat.ended_at = Some(now());
    weather.runtime.hold(&[canary(1), chat.clone()]);
    weather.exporter.wait_for_value(gauge, &labels, |value| value.is_none());
    weather.exporter.wait_for(TURNS, &labels, 2.0);
    chat.turns = 9;
    weather.runtime.hold(&[canary(1), chat]);
    weather.exporter.wait_for(TURNS, &labels, 9.0);
    weather.exporter.wait_for_value(gauge, &labels, |value| value.is_some());
    let ends = weather.exporter.scrape().sum("mozaiks_workflow_ends_total", &[]);
    assert_eq!(ends, 1.0);
}

#[test]
fn numbers_that_go_back_are_counted_and_change_nothing() {
    let weather = Weather::fair();
    let chat = Chat::new("canary").turns(8);
    let mut back = chat.clone().turns(3);
    weather.runtime.hold(std::slice::from_ref(&chat));
    weather.exporter.wait_for_value(TURNS, &[("chat_id", "canary")], |n| n >= Some(8.0));
    let before = weather.exporter.scrape().value(TURNS, &[("chat_id", "canary")]);
    back.started_at = chat.started_at;
    weather.runtime.hold(&[back]);
    let regressions = "mozaiks_exporter_regressions_total";
    weather.exporter.wait_for_value(regressions, &[("source", "scrape")], |n| n > Some(0.0));
    assert_eq!(weather.exporter.scrape().value(TURNS, &[("chat_id", "canary")]), before);
}

#[test]
fn a_port_in_use_ends_the_start_with_its_address() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = TempDir::new().unwrap();
    let (status, said) =
        Launch::new(dir.path()).flag("--web.listen-address", &address).run_to_its_end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&address), "{said}");
    assert!(said.to_lowercase().contains("in use"), "{said}");
}

#[test]
fn a_directory_that_cannot_be_written_costs_durability_only() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let runtime = FakeRuntime::start();
    runtime.hold(&[canary(3)]);
    let exporter = Launch::new(&file.path().join("state")).runtime(&runtime.url()).start();
    exporter.wait_for(TURNS, &[("chat_id", "canary")], 3.0);
    assert_eq!(exporter.scrape().value("mozaiks_exporter_state_durable", &[]), Some(0.0));
    let path = file.path().display().to_string();
    let said = exporter.log().iter().filter(|line| line.contains(&path)).count();
    assert_eq!(said, 1, "{:#?}", exporter.log());
}

#[test]
fn the_environment_says_what_flags_do_not() {
    let runtime = FakeRuntime::start();
    runtime.hold(&[canary(2)]);
    let dir = TempDir::new().unwrap();
    let launch = Launch::new(dir.path()).env("MOZAIKS_EXPORTER_RUNTIME_URL", runtime.url());
    let exporter = launch.clone().start();
    exporter.wait_for(TURNS, &[("chat_id", "canary")], 2.0);
    drop(exporter);

    let other = FakeRuntime::start();
    let asked = runtime.asked(AGGREGATE).len();
    let exporter = launch.runtime(&other.url()).start();
    exporter.wait_for("mozaiks_up", &[], 1.0);
    assert_eq!(runtime.asked(AGGREGATE).len(), asked, "the environment won over the flag");
}

#[test]
fn an_unknown_flag_is_named() {
    let (status, said) = Launch::bare("serve").flag("--runtime.ulr", "x").run_to_its_end();
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("--runtime.ulr"), "{said}");
}

#[test]
fn a_value_that_makes_no_sense_is_named_with_its_flag() {
    let cases = [
        ("--runtime.poll-interval", "soon"),
        ("--runtime.url", "ftp://127.0.0.1:8000"),
        ("--web.listen-address", "here"),
        ("--log.format", "xml"),
    ];
    for (flag, value) in cases {
        let (status, said) = Launch::bare("serve").flag(flag, value).run_to_its_end();
        assert_eq!(status.code(), Some(64), "{flag}: {said}");
        assert!(said.contains(flag) && said.contains(value), "{flag}: {said}");
    }
}

#[test]
fn an_unknown_key_in_the_configuration_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("config.yml");
    fs::write(&file, "runtime:\n  poll_intervall: 5s\n").unwrap();
    let (status, said) = Launch::bare("serve").flag("--config.file", &file).run_to_its_end();
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("poll_intervall") || said.contains("runtime"), "{said}");
    assert!(said.contains("config.yml"), "{said}");
}

/// State in which `gone` has 7 turns, left behind by a process that was stopped or killed.
fn state_left_behind(dir: &Path, stop: impl FnOnce(&mut Exporter)) {
    let runtime = FakeRuntime::start();
    runtime.hold(&[canary(1), Chat::new("gone").turns(7)]);
    let mut exporter = Launch::new(dir).runtime(&runtime.url()).start();
    exporter.wait_for(TURNS, &[("chat_id", "gone")], 7.0);
    stop(&mut exporter);
}

fn copy_of(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// Cuts a file of the state at a place, starts on it, and returns whether the state was intact.
fn starts_on(dir: &Path, file: &str, cut: u64, runtime: &FakeRuntime) -> bool {
    let copy = copy_of(dir);
    let path = copy.path().join(file);
    fs::File::options().write(true).open(&path).unwrap().set_len(cut).unwrap();
    let exporter = Launch::new(copy.path()).runtime(&runtime.url()).start();
    exporter.wait_for(TURNS, &[("chat_id", "canary")], 1.0);
    let exposition = exporter.scrape();
    let gone = exposition.value(TURNS, &[("chat_id", "gone")]);
    let damaged = exposition.value("mozaiks_exporter_state_damaged_total", &[]);
    let durable = exposition.value("mozaiks_exporter_state_durable", &[]);
    assert_eq!(durable, Some(1.0), "{file} cut at {cut}: {:#?}", exporter.log());
    match (gone, damaged) {
        (Some(7.0), Some(0.0)) => true,
        (None, Some(1.0)) => {
            let aside = fs::read_dir(copy.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .any(|name| name.starts_with("state.db.damaged-"));
            assert!(aside, "the damaged file is gone: {file} cut at {cut}");
            let loud = exporter.log().iter().any(|line| line.contains("\"level\":\"ERROR\""));
            assert!(loud, "{:#?}", exporter.log());
            false
        }
        // A log that was cut loses what was last written, as if it had never come to it.
        (None, Some(0.0)) if file.ends_with("-wal") => false,
        other => panic!("{other:?} after cutting {file} at {cut}"),
    }
}

#[test]
fn a_state_cut_anywhere_is_used_whole_or_moved_aside() {
    let dir = TempDir::new().unwrap();
    state_left_behind(dir.path(), |exporter| {
        assert!(exporter.terminate().success());
    });
    let runtime = FakeRuntime::start();
    runtime.hold(&[canary(1)]);
    let size = fs::metadata(dir.path().join("state.db")).unwrap().len();
    assert!(starts_on(dir.path(), "state.db", size, &runtime), "an intact state was not used");
    let mut cuts =
        vec![0, 1, 15, 16, 99, 100, 1023, 4095, 4096, 4097, size / 2, size - 4096, size - 1];
    let mut rng = fastrand::Rng::with_seed(7);
    cuts.extend((0..8).map(|_| rng.u64(1..size)));
    let whole = fs::read(dir.path().join("state.db")).unwrap();
    for cut in cuts {
        // What is missing at the end of a page reads as zeros: if it was zeros, nothing is missing.
        let is_missed = whole.iter().skip(usize::try_from(cut).unwrap()).any(|byte| *byte != 0);
        let is_used = starts_on(dir.path(), "state.db", cut, &runtime);
        assert!(!(is_used && is_missed), "cut at {cut} unseen");
    }
}

#[test]
fn a_log_of_the_state_cut_anywhere_is_survived() {
    let dir = TempDir::new().unwrap();
    state_left_behind(dir.path(), Exporter::kill);
    let runtime = FakeRuntime::start();
    runtime.hold(&[canary(1)]);
    let log = "state.db-wal";
    let size = fs::metadata(dir.path().join(log)).unwrap().len();
    assert!(starts_on(dir.path(), log, size, &runtime), "a killed process left too little");
    for cut in [0, 31, 32, 100, size / 3, size / 2, size - 1] {
        starts_on(dir.path(), log, cut, &runtime);
    }
}

#[test]
fn two_on_one_state_directory_are_one_too_many() {
    let weather = Weather::fair();
    let state = weather.dir.path().join("state");
    let before = files(&state);
    let (status, said) = Launch::new(&state).runtime(&weather.runtime.url()).run_to_its_end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&state.display().to_string()), "{said}");
    assert_eq!(files(&state), before);
    weather.canary_has(1);
}

#[test]
fn with_no_runtime_anywhere_it_says_so_and_waits() {
    let dir = TempDir::new().unwrap();
    let nobody = format!("127.0.0.1:{}", quiet_port());
    let exporter = Launch::new(dir.path()).runtime(&format!("http://{nobody}")).start();
    exporter.wait_for("mozaiks_up", &[], 0.0);
    assert_eq!(exporter.get("/-/healthy").status, 200);
    assert_eq!(exporter.scrape().all(TURNS, &[]).count(), 0);
    assert!(exporter.log().iter().any(|line| line.contains(&nobody)), "{:#?}", exporter.log());
}

#[test]
fn a_half_sent_request_and_an_idle_connection_do_not_hold_up_the_end() {
    use std::io::Write;
    let weather = Weather::fair();
    let Weather { mut exporter, .. } = weather;
    let idle = std::net::TcpStream::connect(exporter.address()).unwrap();
    let mut half = std::net::TcpStream::connect(exporter.address()).unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\nhost: ").unwrap();
    pause(Duration::from_millis(50));
    let asked = std::time::Instant::now();
    let status = exporter.terminate();
    assert!(status.success(), "{status}");
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    drop((idle, half));
}

#[test]
fn a_full_disk_costs_durability_until_there_is_room_again() {
    let runtime = FakeRuntime::start();
    let crowd: Vec<Chat> = (0..300).map(|n| Chat::new(&format!("chat-{n}")).turns(2)).collect();
    runtime.hold(&crowd);
    let dir = TempDir::new().unwrap();
    let launch = || Launch::new(dir.path()).runtime(&runtime.url());
    // Room for an empty database and its log, not for three hundred chats.
    let mut exporter = launch().file_limit_kib(64).start();
    exporter.wait_for("mozaiks_exporter_state_durable", &[], 0.0);
    exporter.wait_for("mozaiks_tracked_chats", &[], 300.0);
    assert_eq!(exporter.logged("the state cannot be kept; counting goes on in memory").len(), 1);

    exporter.lift_file_limit();
    exporter.wait_for("mozaiks_exporter_state_durable", &[], 1.0);
    exporter.kill();

    // What was counted while the disk was full is there after the worst of ends.
    runtime.hold(&[]);
    let exporter = launch().start();
    exporter.wait_for("mozaiks_tracked_chats", &[], 300.0);
    exporter.wait_for(TURNS, &[("chat_id", "chat-299")], 2.0);
}
