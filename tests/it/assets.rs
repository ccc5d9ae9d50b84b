//! `assets` and `check` as their users run them, and what Prometheus and Alertmanager say of it.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::alerting::{Daemon, Sinks, configuration};
use crate::support::exporter::Launch;
use crate::support::runtime::{Answer, FakeRuntime};
use crate::support::tools::missing;
use crate::support::wait::{eventually, quiet_port};

/// A value of its own for each parameter.
const OTHERS: &[(&str, &str)] = &[
    ("job", "team/agents"),
    ("probe-job", "agents-probe"),
    ("exporters", "exporter.example.org:9847"),
    ("runtimes", "https://agents.example.org"),
    ("blackbox", "probes.example.org:9115"),
    ("alertmanager", "alerts.example.org:9093"),
    ("prometheus", "metrics.example.org:9090"),
    ("runbook-url", "https://wiki.example.org/runbooks"),
    ("grafana-url", "https://example.org:3000/grafana"),
    ("data-stale-seconds", "90"),
    ("certificate-warning-days", "14"),
    ("certificate-critical-days", "2"),
    ("error-rate", "0.1"),
    ("error-rate-turns", "20"),
    ("unanswered-seconds", "900"),
    ("unanswered-chats", "4"),
    ("concurrency", "75"),
    ("slow-turn-seconds", "12.5"),
    ("stalled-seconds", "1200"),
    ("chat-cost-usd", "2.5"),
    ("runaway-chat-usd", "4"),
    ("daily-budget-usd", "150"),
    ("daily-cost-objective-usd", "750"),
    ("unpriced-ratio", "0.02"),
    ("unpriced-tokens", "5000"),
    ("availability-objective", "0.9995"),
    ("latency-objective", "0.9"),
    ("latency-objective-seconds", "2.5"),
    ("errors-objective", "0.98"),
    ("slo-events", "30"),
    ("source-stale-seconds", "240"),
    ("poll-failures", "0.2"),
    ("backlog-log-bytes", "20000000"),
    ("backlog-log-rows", "30000"),
    ("backlog-seconds", "700"),
    ("backlog-events", "60"),
    ("probe-token-file", "/etc/mozaiks/token"),
    ("series-ratio", "0.8"),
    ("clock-corrections", "15"),
    ("restarts", "5"),
    ("unparsed-ratio", "0.03"),
    ("unparsed-lines", "200"),
    ("rejected", "25"),
    ("mail-receiver", "none"),
    ("slack-receiver", "none"),
    ("webhook-receiver", "none"),
    ("watchdog-receiver", "none"),
    ("smtp-host", "mail.example.org:25"),
    ("smtp-user", "agents"),
    ("smtp-password-file", "/etc/mozaiks/smtp"),
    ("smtp-tls", "false"),
    ("mail-from", "agents@example.org"),
    ("mail-to", "first@example.org, second@example.org"),
    ("slack-url-file", "/etc/mozaiks/slack"),
    ("slack-channel", "agents"),
    ("webhook-url", "https://pager.example.org/hook/"),
    ("webhook-token-file", "/etc/mozaiks/webhook"),
    ("watchdog-url", "https://dead.example.org/ping"),
    ("watchdog-token-file", "/etc/mozaiks/watchdog"),
    ("quiet-from", "20:30"),
    ("quiet-until", "06:15"),
    ("quiet-days", "saturday:saturday, sunday"),
    ("timezone", "Europe/Berlin"),
];

fn exporter(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mozaiks-exporter")).args(args).output().unwrap()
}

fn assets(folder: &Path, args: &[&str]) -> Output {
    exporter(&[&["assets", "--output", folder.to_str().unwrap()], args].concat())
}

/// All files below a folder.
fn all(folder: &Path) -> BTreeMap<PathBuf, String> {
    let (mut open, mut found) = (vec![folder.to_owned()], BTreeMap::new());
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), text);
            }
        }
    }
    found
}

/// What Prometheus' and Alertmanager's own tools say of a folder.
fn judged(folder: &Path) {
    let rules = fs::read_dir(folder.join("alerts")).unwrap().map(|entry| entry.unwrap().path());
    let rules: Vec<_> =
        rules.filter(|path| path.to_string_lossy().ends_with(".rules.yml")).collect();
    assert_eq!(rules.len(), 6);
    fine("promtool", Command::new("promtool").args(["check", "rules"]).args(rules));
    // With the rules that it names.
    let config = folder.join("alerts/prometheus.yml");
    fine("promtool", Command::new("promtool").args(["check", "config"]).arg(config));
    let config = folder.join("alerts/alertmanager.yml");
    fine("amtool", Command::new("amtool").arg("check-config").arg(config));
}

fn fine(program: &str, command: &mut Command) {
    let said = command.output().unwrap_or_else(|error| panic!("{}", missing(program, &error)));
    assert!(said.status.success(), "{}", text(&said));
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn files_are_written_as_they_are_and_not_over_others() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("new/monitoring");
    let said = assets(&folder, &[]);
    assert!(said.status.success(), "{}", text(&said));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let written = all(&folder);
    assert!(written.len() > 40, "{}", written.len());
    for (path, text) in &written {
        assert!(
            fs::read_to_string(root.join(path)).unwrap() == *text,
            "{} differs",
            path.display()
        );
    }
    judged(&folder);
    assert!(
        text(&assets(&folder, &[]))
            .contains(&format!("0 files written, {} unchanged", written.len()))
    );

    // What people changed is kept, and nothing else is written then.
    let said = assets(&folder, &["--set", "error-rate=0.2"]);
    assert_eq!(said.status.code(), Some(1));
    let names = text(&said);
    assert!(names.contains("alerts/chats.rules.yml") && names.contains("--force"), "{names}");
    assert!(!names.contains("cost.rules.yml") && all(&folder) == written, "{names}");
    let said = assets(&folder, &["--set", "error-rate=0.2", "--force"]);
    assert!(said.status.success(), "{}", text(&said));
    assert!(
        fs::read_to_string(folder.join("alerts/chats.rules.yml")).unwrap().contains("vector(0.2)")
    );
}

#[test]
fn what_is_wrong_with_a_parameter_is_said() {
    let dir = TempDir::new().unwrap();
    for (args, part) in [
        (&["--set", "error-rat=1"][..], "there are job, probe-job,"),
        (&["--set", "error-rate=much"], "it takes a number"),
        (&["--set", "error-rate"], "NAME=VALUE"),
        (&["--datasource", "a b"], "UID/NAME"),
        (&["--time-scale", "0"], "--time-scale"),
        (&["--exporter", "here"], "exporters cannot be \"here\": it takes host:port"),
        (&["--runtime", "main"], "runtimes cannot be \"main\": it takes NAME=URL or URL"),
    ] {
        let said = assets(&dir.path().join("x"), args);
        assert_eq!(said.status.code(), Some(64), "{args:?}");
        assert!(text(&said).contains(part), "{}", text(&said));
    }
    assert!(!dir.path().join("x").exists());
    let list = text(&exporter(&["assets", "--list"]));
    for (name, _) in OTHERS {
        assert!(list.lines().any(|line| line.split(' ').next() == Some(name)), "{name}: {list}");
    }
    assert_eq!(exporter(&["assets"]).status.code(), Some(64), "nowhere to write to");
}

#[test]
fn each_parameter_changes_its_places_alone() {
    let dir = TempDir::new().unwrap();
    let plain = dir.path().join("plain");
    assert!(assets(&plain, &[]).status.success());
    let plain = all(&plain);
    let marked: Vec<(&str, &str)> = plain
        .iter()
        .filter(|(path, _)| path.extension().is_some_and(|ending| ending == "yml"))
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| line.trim().strip_prefix("# parameter ")?.split_once(": "))
        .collect();
    for (number, (name, value)) in OTHERS.iter().enumerate() {
        let folder = dir.path().join(number.to_string());
        let said = assets(&folder, &["--set", &format!("{name}={value}")]);
        assert!(said.status.success(), "{}", text(&said));
        let mut changed = 0;
        for (path, text) in all(&folder) {
            if path.starts_with("grafana") {
                continue;
            }
            let before = &plain[&path];
            assert_eq!(text.lines().count(), before.lines().count(), "{name}: {}", path.display());
            changed +=
                text.lines().zip(before.lines()).filter(|(now, before)| now != before).count();
        }
        let places = marked.iter().filter(|(marked, _)| marked == name).count();
        assert!(places > 0 && changed == places, "{name}: {changed} lines of {places} change");
        fs::remove_dir_all(folder).unwrap();
    }
    let mut names: Vec<&str> = marked.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    let mut tried: Vec<&str> = OTHERS.iter().map(|(name, _)| *name).collect();
    tried.sort_unstable();
    assert_eq!(names, tried, "each parameter is tried");
}

#[test]
fn everything_set_at_once_is_good_and_dashboards_follow() {
    let dir = TempDir::new().unwrap();
    let set: Vec<String> =
        OTHERS.iter().map(|(name, value)| format!("--set={name}={value}")).collect();
    let mut args: Vec<&str> = set.iter().map(String::as_str).collect();
    args.extend(["--datasource", "mimir-1/Mimir", "--time-scale", "60"]);
    let said = assets(dir.path(), &args);
    assert!(said.status.success(), "{}", text(&said));
    judged(dir.path());
    let files = all(dir.path());
    let slo = &files[Path::new("alerts/slo.rules.yml")];
    assert!(slo.contains(r#"{le=~"2[.]5([.]0)?"}[2000ms]"#), "a dot is a dot: {slo}");
    assert!(slo.contains("[43200000ms]") && !slo.contains("[30d]"), "a month is half a day");
    let rules = dir.path().join("alerts/chats.rules.yml");
    let board: Value =
        serde_json::from_str(&files[Path::new("grafana/dashboards/mozaiks-slo.json")]).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let panel = |title: &str| panels.iter().find(|panel| panel["title"] == title).unwrap();
    let steps = |title: &str| -> Vec<f64> {
        let steps = &panel(title)["fieldConfig"]["defaults"]["thresholds"]["steps"];
        steps.as_array().unwrap().iter().filter_map(|step| step["value"].as_f64()).collect()
    };
    assert_eq!(steps("Availability"), [0.9995]);
    assert_eq!(steps("Turns under 2.5 s"), [0.9]);
    assert_eq!(steps("Cost of 24 hours"), [150.0, 750.0]);
    let left = panel("Availability budget left")["description"].as_str().unwrap();
    assert!(left.contains("the 0.05% of 30 days (22 minutes)"), "{left}");
    let cost = panel("Cost budget left")["targets"][0]["expr"].as_str().unwrap();
    assert!(cost.ends_with("/ 750"), "{cost}");
    let source = &board["templating"]["list"][0];
    assert_eq!(source["current"]["value"], "mimir-1");
    // What is drawn is what fires, also with other numbers: what was 100 is nowhere left.
    let costs = &files[Path::new("grafana/dashboards/mozaiks-cost.json")];
    assert!(costs.contains("Last 24 h of $150") && !costs.contains("$100"), "{costs}");

    // And the whole of it passes our own check.
    let board = dir.path().join("grafana/dashboards/mozaiks-cost.json");
    let said = exporter(&[
        "check",
        "--rules",
        rules.to_str().unwrap(),
        "--dashboard",
        board.to_str().unwrap(),
    ]);
    assert!(said.status.success(), "{}", text(&said));
}

#[test]
fn the_written_configuration_watches_what_it_names() {
    let dir = TempDir::new().unwrap();
    let folder = |name: &str| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    let (runtime, sinks) = (FakeRuntime::start(), Sinks::start());
    let exporter = Launch::new(&dir.path().join("state")).runtime(&runtime.url()).start();
    let blackbox = Daemon::blackbox(&folder("blackbox"), "the token");
    let config = configuration(dir.path(), &sinks, 60, &[]);
    let alertmanager = Daemon::alertmanager(&folder("alertmanager"), &config);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, quiet_port()));
    let set = |name: &str, value: SocketAddr| format!("--set={name}={value}");
    let written = dir.path().join("written");
    let said = assets(
        &written,
        &[
            &format!("--exporter={}", exporter.address()),
            &format!("--runtime=main={}/", runtime.url()),
            &set("blackbox", blackbox.address),
            &set("alertmanager", alertmanager.address),
            &set("prometheus", address),
            "--time-scale=60",
        ],
    );
    assert!(said.status.success(), "{}", text(&said));
    judged(&written);
    let prometheus = Daemon::configured(&written.join("alerts"), address);
    let wait = |expression: &str| {
        eventually(expression, || {
            let query = utf8_percent_encode(expression, NON_ALPHANUMERIC);
            let answer = prometheus.ask(&format!("/api/v1/query?query={query}"));
            let found = answer["data"]["result"].as_array().is_some_and(|all| !all.is_empty());
            if found { Ok(()) } else { Err(prometheus.ask("/api/v1/targets").to_string()) }
        });
    };
    wait(&format!("up{{job=\"mozaiksai\",instance=\"{}\"}} == 1", exporter.address()));
    wait("mozaiks_up{job=\"mozaiksai\"} == 1");
    let probed = format!("runtime=\"main\",instance=\"{}/api/health\"", runtime.url());
    wait(&format!("probe_success{{job=\"mozaiksai-probe\",{probed}}} == 1"));
    wait("count(up == 1) == 4");
    // What meta.rules.yml asks for, and what the rules beside the configuration make of it all.
    wait("prometheus_notifications_alertmanagers_discovered == 1");
    wait("alertmanager_build_info");
    wait("ALERTS{alertname=\"Watchdog\",alertstate=\"firing\"}");
    runtime.script_everything(&Answer::detail(503, "down"));
    wait("ALERTS{alertname=\"EndpointDown\",alertstate=\"firing\"}");
    eventually("Alertmanager hears of it", || {
        let heard = sinks.got("mail", "EndpointDown");
        if heard.is_empty() { Err(format!("{:#?}", sinks.titles())) } else { Ok(()) }
    });
}

#[test]
fn our_own_rules_and_dashboards_are_clean() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = |folder: &str, ending: &str| -> Vec<String> {
        let files = fs::read_dir(root.join(folder)).unwrap();
        let names = files.map(|entry| entry.unwrap().path().display().to_string());
        names.filter(|name| name.ends_with(ending)).collect()
    };
    let rules = list("alerts", ".rules.yml");
    let boards = list("grafana/dashboards", ".json");
    let args: Vec<&str> = ["check", "--rules"]
        .into_iter()
        .chain(rules.iter().map(String::as_str))
        .chain(["--dashboard"])
        .chain(boards.iter().map(String::as_str))
        .collect();
    let said = exporter(&args);
    assert!(said.status.success(), "{}", text(&said));
    let closing = text(&said);
    let closing = closing.lines().last().unwrap();
    assert!(
        closing.starts_with("12 files, ") && closing.ends_with(": 0 errors, 0 warnings"),
        "{}",
        text(&said)
    );
}

#[test]
fn a_users_mistakes_are_told_with_their_place() {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rules = write(
        "mine.yml",
        r#"groups:
- name: mine
  rules:
  - {record: "app:cost:rate5m", expr: "sum by (app_id) (rate(mozaiks_workflow_cost_usd_total[5m]))"}
  - {alert: Dear, expr: 'app:cost:rate5m{workflow_name="x"} > 1'}
  - {alert: Typo, expr: 'mozaiks_active_chat > 5'}
  - {alert: Fine, expr: 'app:cost:rate5m > 1'}
"#,
    );
    let board = write(
        "mine.json",
        r#"{"panels": [{"type": "row", "panels": [
            {"title": "Load", "targets": [{"expr": "rate(mozaiks_active_chats{job=~\"$job\"}[$__rate_interval])"}]},
            {"title": "Logs", "datasource": {"type": "loki"}, "targets": [{"expr": "{x=\"y\"} |= \"z\""}]},
            {"title": "Total", "targets": [{"expr": "sum(mozaiks_workflow_cost_usd_total)"}]}]}],
            "templating": {"list": [{"type": "query", "name": "app",
                "query": "label_values(mozaiks_active_chats, application)"}]}}"#,
    );
    let said = exporter(&["check", "--rules", &rules, "--dashboard", &board]);
    assert_eq!(said.status.code(), Some(1));
    let lines = text(&said);
    for part in [
        "mine.yml: mine/Dear: app:cost:rate5m knows no label workflow_name; there are app_id",
        "mine.yml: mine/Typo: there is no metric mozaiks_active_chat; did you mean mozaiks_active_chats?",
        "mine.json: Load: rate of mozaiks_active_chats, which is a gauge and falls; use ",
        "mine.json: Total: warning: mozaiks_workflow_cost_usd_total is a counter",
        "mine.json: variable app: there is no label application to list; there are ",
        "2 files, 7 queries: 4 errors, 1 warnings",
    ] {
        assert!(lines.contains(part), "{part:?} is missing: {lines}");
    }
    assert_eq!(lines.lines().count(), 6, "{lines}");
    let json = exporter(&["check", "--json", "--rules", &rules]);
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["findings"][1]["kind"], "unknown-metric");

    assert_eq!(exporter(&["check", "--foreign", "http_"]).status.code(), Some(64));
    assert_eq!(exporter(&["check", "--rules", "/nowhere.yml"]).status.code(), Some(64));
    let broken = write("broken.yml", "groups: [");
    assert_eq!(exporter(&["check", "--rules", &broken]).status.code(), Some(1));
}
