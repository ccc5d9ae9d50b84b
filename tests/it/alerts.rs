//! From a misfortune of the runtime to the words that reach people: our rules in a real Prometheus,
//! our configuration in a real Alertmanager, all in a hurry; a mail server, Slack and a webhook that
//! keep what they get.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::alerting::{Daemon, Sinks, configuration, rules, told};
use crate::support::chat::{Chat, now};
use crate::support::exporter::Launch;
use crate::support::http;
use crate::support::runtime::{Answer, FakeRuntime};
use crate::support::wait::{eventually_within, pause};

/// A minute is a second.
const HURRY: u64 = 60;

/// Two dozen rules of a busy machine take their time; what is bound to come has come by then.
const SOON: Duration = Duration::from_mins(1);

/// Nights and weekends are tried on their own.
const QUIET: &str = "mute_time_intervals: [nights, weekends]";

/// A day of the runtime, played by a thread.
#[derive(Default)]
struct Day {
    turns: AtomicU64,
    errors: AtomicU64,
    /// Tools fail and turns are slow.
    bad: AtomicBool,
    /// In millionths of a dollar.
    burnt: AtomicU64,
    /// How often the chat that hangs was touched.
    moved: AtomicU64,
    over: AtomicBool,
}

impl Day {
    /// Eight turns, a few times a second.
    fn play(&self, runtime: &FakeRuntime) {
        while !self.over.load(Ordering::Relaxed) {
            let turns = self.turns.fetch_add(8, Ordering::Relaxed) + 8;
            let bad = self.bad.load(Ordering::Relaxed);
            let errors = self.errors.fetch_add(if bad { 4 } else { 0 }, Ordering::Relaxed);
            let mut busy = Chat::new("busy");
            busy.turns = turns;
            busy.errors = errors;
            busy.tool_calls = turns;
            busy.last_turn = Some(if bad { 15.0 } else { 1.0 });
            let mut dear = Chat::new("dear <!channel>").turns(turns);
            dear.errors = 0;
            dear.last_turn = busy.last_turn;
            dear.cost_micros = self.burnt.load(Ordering::Relaxed);
            let mut hangs = Chat::new("hangs").turns(1);
            hangs.tool_calls = self.moved.load(Ordering::Relaxed);
            runtime.hold(&[busy, dear, hangs]);
            pause(Duration::from_millis(150));
        }
    }
}

/// Ends the day also when the test fails, so that it does.
struct Evening<'a>(&'a Day);

impl Drop for Evening<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn misfortunes_reach_people_once_in_the_right_words_and_resolve() {
    let dir = TempDir::new().unwrap();
    let sinks = Sinks::start();
    let runtime = FakeRuntime::start();
    let day = Day::default();
    std::thread::scope(|threads| {
        let evening = Evening(&day);
        threads.spawn(|| day.play(&runtime));
        let exporter = Launch::new(&dir.path().join("state")).runtime(&runtime.url()).start();
        exporter.wait_for("mozaiks_up", &[], 1.0);

        let config = configuration(dir.path(), &sinks, HURRY, &[]).replace(QUIET, "");
        // Reminders keep their time, or there would be some; but not the heartbeat.
        let reminder =
            |line: &&str| line.contains("repeat_interval: ") && !line.ends_with(" 1000ms");
        let config: Vec<&str> = config.lines().filter(|line| !reminder(line)).collect();
        let alertmanager = Daemon::alertmanager(dir.path(), &config.join("\n"));
        let prometheus =
            Daemon::prometheus(dir.path(), exporter.address(), alertmanager.address, |folder| {
                rules(folder, HURRY, &[("stalled-seconds", "10")]);
            });
        let wait = |to: &str, part: &str| -> Value {
            eventually_within(SOON, &format!("{to} gets {part:?}"), || {
                sinks.got(to, part).first().cloned().ok_or_else(|| {
                    format!("{:#?}\n{}", sinks.titles(), prometheus.ask("/api/v1/alerts"))
                })
            })
        };

        // A chat that has not moved since the beginning is told by itself, in its workflow's name.
        let stalled = wait("slack", "[FIRING: 1] ChatStalled (mozaiksai)");
        let text = told(&stalled);
        assert!(text.contains("Chat hangs has not moved for"), "{text}");
        assert!(text.contains("*App:* acme  *Workflow:* TicketDesk  *Chat:* hangs"), "{text}");
        assert_eq!(stalled["body"]["channel"], "#ops-alerts");

        // Tools fail, turns are slow, and one chat burns money.
        day.bad.store(true, Ordering::Relaxed);
        day.burnt.store(150_250_000, Ordering::Relaxed);
        let runaway = told(&wait("mail", "[FIRING: 1] RunawayChat (mozaiksai)"));
        let lines: Vec<&str> = runaway.lines().collect();
        let subject = "[FIRING: 1] RunawayChat (mozaiksai): Chat dear <!channel> spent $15";
        assert!(lines[0].starts_with(subject), "{runaway}");
        assert!(lines.contains(&"App:       acme"), "{runaway}");
        assert!(lines.contains(&"Workflow:  TicketDesk"), "{runaway}");
        assert!(lines.contains(&"Chat:      dear <!channel>"), "{runaway}");
        assert!(
            lines.contains(&"Runbook:   https://runbooks.example.com/RunawayChat"),
            "{runaway}"
        );
        let dashboard = "Dashboard: https://grafana.example.com/d/mozaiks-chats?var-job=mozaiksai&\
                         var-app_id=acme&var-workflow_name=TicketDesk&var-chat_id=dear+%3C%21channel%3E";
        assert!(lines.contains(&dashboard), "{runaway}");
        let budget = wait("mail", "[FIRING: 1] DailyCostExceeded (mozaiksai)");
        let html = budget["html"].as_str().unwrap();
        assert!(html.contains("<h3>$15"), "{html}");
        assert!(html.contains("(budget: $100)."), "{html}");
        assert!(html.contains("href=\"https://grafana.example.com/d/mozaiks-cost?"), "{html}");
        assert_eq!(budget["recipients"], json!(["ops@example.com"]));
        // Nobody is called by the name of a chat.
        let post = told(&wait("slack", "[FIRING: 1] RunawayChat (mozaiksai)"));
        assert!(post.contains("dear &lt;!channel&gt;") && !post.contains("<!channel>"), "{post}");
        let errors = told(&wait("slack", "[FIRING: 1] HighErrorRate (mozaiksai)"));
        assert!(errors.contains("errors per agent turn (threshold: 5%)."), "{errors}");
        assert!(
            errors.contains("<https://runbooks.example.com/HighErrorRate|Runbook>"),
            "{errors}"
        );
        let slow = told(&wait("slack", "[FIRING: 1] SlowAgentTurns (mozaiksai)"));
        assert!(slow.contains("on average (threshold: 10s)."), "{slow}");
        let page = wait("webhook", "RunawayChat");
        assert!(Sinks::authorized(&page), "{page}");

        // All is well again, and is told.
        day.bad.store(false, Ordering::Relaxed);
        day.moved.store(1, Ordering::Relaxed);
        for (to, name) in [
            ("slack", "HighErrorRate"),
            ("slack", "SlowAgentTurns"),
            ("slack", "ChatStalled"),
            ("slack", "RunawayChat"),
            ("mail", "RunawayChat"),
        ] {
            wait(to, &format!("[RESOLVED] {name} (mozaiksai)"));
        }

        // The runtime goes away, and comes back.
        runtime.script_everything(&Answer::detail(503, "down"));
        for to in ["mail", "slack"] {
            let down = told(&wait(to, "[FIRING: 1] ServiceDown (mozaiksai)"));
            assert!(down.contains("does not answer"), "{down}");
        }
        runtime.heal();
        wait("mail", "[RESOLVED] ServiceDown (mozaiksai)");
        wait("slack", "[RESOLVED] ServiceDown (mozaiksai)");

        each_came_once(&sinks);
        if std::env::var_os("SHOW_ALERTS").is_some() {
            show(&sinks);
        }
        drop(evening);
    });
}

/// Nothing twice; and that the budget would be spent was no news when it was.
fn each_came_once(sinks: &Sinks) {
    for (to, name) in [
        ("slack", "HighErrorRate"),
        ("slack", "SlowAgentTurns"),
        ("slack", "RunawayChat"),
        ("mail", "RunawayChat"),
        ("slack", "ServiceDown"),
        ("mail", "ServiceDown"),
    ] {
        for title in ["[FIRING: 1] ", "[RESOLVED] "] {
            let came = sinks.got(to, &format!("{title}{name} (mozaiksai)")).len();
            assert_eq!(came, 1, "{title}{name} came {came} times: {:#?}", sinks.titles());
        }
    }
    assert_eq!(sinks.got("mail", "] DailyCostExceeded").len(), 1, "{:#?}", sinks.titles());
    assert_eq!(sinks.got("slack", "] DailyCostOnPace").len(), 0, "{:#?}", sinks.titles());
    let heartbeat = sinks.got("watchdog", "Watchdog");
    assert!(heartbeat.len() > 3 && heartbeat.iter().all(Sinks::authorized));
}

/// Prints what came, for whoever wants to see it.
#[expect(clippy::print_stderr, reason = "asked for by a variable")]
fn show(sinks: &Sinks) {
    eprintln!("{:#?}", sinks.titles());
    for (to, part) in [("mail", "DailyCostExceeded"), ("mail", "RunawayChat"), ("slack", "")] {
        for message in sinks.got(to, part) {
            eprintln!("=== {to}\n{}", serde_json::to_string_pretty(&message).unwrap());
        }
    }
}

#[test]
fn worse_alerts_speak_for_lesser_ones_and_warnings_wait_for_the_day() {
    let dir = TempDir::new().unwrap();
    let sinks = Sinks::start();
    let all_week = [("quiet-days", "sunday:saturday")];
    let config = configuration(dir.path(), &sinks, HURRY, &all_week);
    let alertmanager = Daemon::alertmanager(dir.path(), &config);
    let alert = |name: &str, severity: &str, more: Value| {
        let mut labels = json!({"alertname": name, "severity": severity, "job": "mozaiksai"});
        let (labels_, more) = (labels.as_object_mut().unwrap(), more.as_object().unwrap());
        labels_.extend(more.clone());
        json!({"labels": labels, "annotations": {"summary": format!("{name} {severity}")},
               "startsAt": now().to_rfc3339()})
    };
    let on = |instance: &str| json!({"instance": instance});
    let speaks = [
        alert("ServiceDown", "critical", on("a")),
        alert("SLOErrorRateViolation", "critical", json!({"slo": "errors", "job": "other"})),
        alert("TLSCertificateExpiringSoon", "critical", on("x")),
        alert("RunawayChat", "critical", json!({"chat_id": "c"})),
        alert("CostSLOViolation", "critical", json!({"slo": "cost"})),
        alert("DailyCostExceeded", "critical", json!({"job": "other"})),
        // What is down elsewhere, what another replica says of itself, and money.
        alert("ServiceDown", "critical", on("b")),
        alert("ExporterBacklog", "warning", on("c")),
        alert("HighCostChat", "warning", json!({"chat_id": "d"})),
        alert("HighErrorRate", "warning", json!({"job": "other"})),
        alert("UnpricedTokens", "warning", json!({"workflow_name": "w"})),
        alert("TLSCertificateExpiringSoon", "warning", on("y")),
    ];
    let silent = [
        alert("HighErrorRate", "warning", json!({})),
        alert("SlowAgentTurns", "warning", json!({})),
        alert("ChatsNotAnswered", "warning", json!({})),
        alert("ChatStalled", "info", json!({"chat_id": "c"})),
        alert("SLOAvailabilityViolation", "critical", json!({"slo": "availability"})),
        alert("ExporterBacklog", "warning", on("a")),
        alert("RuntimeRestarting", "warning", on("a")),
        alert("SLOErrorRateViolation", "warning", json!({"slo": "errors", "job": "other"})),
        alert("TLSCertificateExpiringSoon", "warning", on("x")),
        alert("HighCostChat", "warning", json!({"chat_id": "c"})),
        alert("DailyCostExceeded", "critical", json!({})),
        alert("DailyCostOnPaceToExceed", "warning", json!({})),
        alert("DailyCostOnPaceToExceed", "warning", json!({"job": "other"})),
    ];
    let all: Vec<&Value> = speaks.iter().chain(&silent).collect();
    let body = json!(all).to_string();
    let headers = [("content-type", "application/json")];
    let sent = http::post(alertmanager.address, "/api/v2/alerts", &headers, body.as_bytes());
    assert_eq!(sent.unwrap().status, 200);

    // What goes to its receivers has been held against the rules of inhibition.
    eventually_within(SOON, "each alert speaks or is silent", || {
        let shown = alertmanager.ask("/api/v2/alerts");
        let inhibited = |wanted: &Value| {
            let found = shown.as_array().unwrap().iter().find(|a| a["labels"] == wanted["labels"]);
            found.is_some_and(|a| a["status"]["inhibitedBy"] != json!([]))
        };
        let wrong: Vec<_> = speaks.iter().filter(|a| inhibited(a)).collect();
        assert!(wrong.is_empty(), "these must be told: {wrong:?}");
        let open: Vec<_> = silent.iter().filter(|a| !inhibited(a)).collect();
        if open.is_empty() { Ok(()) } else { Err(format!("these are told: {open:?}")) }
    });
    eventually_within(SOON, "pages come also in quiet hours", || {
        let came = ["ServiceDown", "RunawayChat", "CostSLOViolation", "DailyCostExceeded"];
        let missing: Vec<_> =
            came.iter().filter(|name| sinks.got("mail", name).is_empty()).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} {:#?}", sinks.titles())) }
    });
    // Longer than warnings take to be grouped.
    pause(Duration::from_secs(2));
    for warning in ["UnpricedTokens", "HighCostChat", "HighErrorRate", "ExporterBacklog"] {
        let came = sinks.got("slack", warning);
        assert!(came.is_empty(), "came in quiet hours: {came:?}");
    }
}

#[test]
fn probes_tell_well_from_unwell_and_there_from_away() {
    let dir = TempDir::new().unwrap();
    let runtime = FakeRuntime::start();
    runtime.world().token = Some("the token".to_owned());
    let blackbox = Daemon::blackbox(dir.path(), "the token");
    let probe = |module: &str| {
        let url = percent_encoding::utf8_percent_encode(
            &format!("{}/api/health", runtime.url()),
            percent_encoding::NON_ALPHANUMERIC,
        )
        .to_string();
        let target = format!("/probe?module={module}&target={url}");
        let answer = http::get(blackbox.address, &target, &[]).unwrap().text();
        answer.lines().find_map(|line| line.strip_prefix("probe_success ")).unwrap() == "1"
    };
    let both = || (probe("mozaiks_health"), probe("mozaiks_alive"));
    let says = |body: &str| runtime.script("/api/health", Answer::body(body));
    assert_eq!(both(), (true, true), "the real runtime's answer");
    says(r#"{"status": "ok", "timestamp": "2025-10-02T10:30:00Z"}"#);
    assert!(probe("mozaiks_health"), "the documents' answer");
    says(r#"{"status": "degraded", "mongodb": "healthy"}"#);
    assert!(!probe("mozaiks_health"), "what is degraded is not well");
    // Without that, who has no token would be told of that first.
    runtime.world().token = None;
    runtime.script("/api/health", Answer::detail(500, "no database"));
    assert_eq!(both(), (false, false));
    runtime.heal();
    runtime.world().token = Some("another token".to_owned());
    assert_eq!(both(), (false, true), "who has no token still sees that it is there");
}
