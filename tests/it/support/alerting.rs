//! The rules and the configuration of `alerts/` in a hurry, the programs that read them, and sinks
//! in the place of people.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::http;
use super::tools::{missing, python};
use super::wait::{eventually, quiet_port};

/// Who the mail server knows.
pub(crate) const USER: &str = "alerts@example.com";
/// Stands in a file alone.
const PASSWORD: &str = "a password";
const TOKEN: &str = "a token";

/// What `assets` writes with those parameters and every duration divided: the folder of the alerts.
fn written(into: &Path, by: u64, parameters: &[(&str, &str)]) -> PathBuf {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mozaiks-exporter"));
    command.arg("assets").arg("--output").arg(into).arg(format!("--time-scale={by}"));
    command.args(parameters.iter().map(|(name, value)| format!("--set={name}={value}")));
    let said = command.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    into.join("alerts")
}

/// Writes all files of rules with every duration divided, and parameters set.
pub(crate) fn rules(into: &Path, by: u64, parameters: &[(&str, &str)]) {
    let written = written(&into.join("assets"), by, parameters);
    for file in fs::read_dir(written).unwrap().map(|entry| entry.unwrap().path()) {
        let name = file.file_name().unwrap();
        if name.to_str().unwrap().ends_with(".rules.yml") {
            fs::rename(&file, into.join(name)).unwrap();
        }
    }
}

/// The configuration of Alertmanager with its waits divided and its addresses led to the sinks, whose
/// secrets lie in files.
pub(crate) fn configuration(
    into: &Path,
    sinks: &Sinks,
    by: u64,
    parameters: &[(&str, &str)],
) -> String {
    let secret = |name: &str, content: &str| {
        let file = into.join(name);
        fs::write(&file, content).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let url = |path: &str| format!("http://{}/{path}", sinks.http);
    let given = [
        ("smtp-host", sinks.smtp.to_string()),
        ("smtp-user", USER.to_owned()),
        ("smtp-password-file", secret("password", PASSWORD)),
        ("smtp-tls", "false".to_owned()),
        ("slack-url-file", secret("slack", &url("slack"))),
        ("webhook-url", url("webhook")),
        ("webhook-token-file", secret("token", TOKEN)),
        ("watchdog-url", url("watchdog")),
        ("watchdog-token-file", secret("watchdog", TOKEN)),
    ];
    let given = given.iter().map(|(name, value)| (*name, value.as_str()));
    let all: Vec<_> = given.chain(parameters.iter().copied()).collect();
    let folder = written(&into.join("assets"), by, &all);
    let templates = format!("  - {}", folder.join("templates/*.tmpl").display());
    fs::read_to_string(folder.join("alertmanager.yml"))
        .unwrap()
        .replace("  - templates/*.tmpl", &templates)
}

/// What Debian calls a program, or what it is called elsewhere.
fn debian(name: &str, elsewhere: &str) -> String {
    let here = Path::new("/usr/bin").join(name).exists();
    if here { name.to_owned() } else { elsewhere.to_owned() }
}

/// Prometheus or Alertmanager. It is killed when this is dropped.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

impl Daemon {
    /// An Alertmanager with that configuration, which is checked first.
    pub(crate) fn alertmanager(dir: &Path, config: &str) -> Self {
        let file = dir.join("alertmanager.yml");
        fs::write(&file, config).unwrap();
        let said = Command::new("amtool").arg("check-config").arg(&file).output();
        let said = said.unwrap_or_else(|error| panic!("{}", missing("amtool", &error)));
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
        let flags = ["--config.file=alertmanager.yml", "--cluster.listen-address="];
        let flags = [&flags[..], &["--storage.path=alertmanager"]].concat();
        Self::start(&debian("prometheus-alertmanager", "alertmanager"), dir, &flags)
    }

    /// A `blackbox_exporter` with our modules, which shows that token.
    pub(crate) fn blackbox(dir: &Path, token: &str) -> Self {
        let file = dir.join("probe-token");
        fs::write(&file, token).unwrap();
        let parameters = [("probe-token-file", file.to_str().unwrap())];
        written(&dir.join("assets"), 1, &parameters);
        let program = debian("prometheus-blackbox-exporter", "blackbox_exporter");
        Self::start(&program, dir, &["--config.file=assets/alerts/blackbox.yml"])
    }

    /// A Prometheus that scrapes an exporter twice a second and evaluates those rules. It learns of
    /// its targets some seconds after its start, which would be an outage to rules in a hurry, so it
    /// learns of the rules after its targets.
    pub(crate) fn prometheus(
        dir: &Path,
        target: SocketAddr,
        alertmanager: SocketAddr,
        rules: impl FnOnce(&Path),
    ) -> Self {
        let folder = dir.join("rules");
        fs::create_dir(&folder).unwrap();
        let config = json!({
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
            "rule_files": [folder.join("*.yml")],
            "scrape_configs": [{
                "job_name": "mozaiksai", "metrics_path": "/metrics/prometheus",
                "static_configs": [{"targets": [target.to_string()]}],
            }],
            "alerting": {"alertmanagers": [
                {"static_configs": [{"targets": [alertmanager.to_string()]}]},
            ]},
        });
        // JSON is YAML.
        fs::write(dir.join("prometheus.yml"), config.to_string()).unwrap();
        let flags = ["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus"];
        let more = ["--rules.alert.resend-delay=1s", "--web.enable-lifecycle"];
        let daemon = Self::start("prometheus", dir, &[&flags[..], &more].concat());
        eventually("Prometheus scrapes", || {
            let up = daemon.ask("/api/v1/query?query=up%3D%3D1");
            let scraped = up["data"]["result"].as_array().is_some_and(|up| !up.is_empty());
            if scraped { Ok(()) } else { Err(daemon.log()) }
        });
        rules(&folder);
        let reloaded = http::post(daemon.address, "/-/reload", &[], b"").unwrap();
        assert_eq!(reloaded.status, 200, "{}", daemon.log());
        daemon
    }

    /// A Prometheus at that address, with the `prometheus.yml` of a folder as it lies there.
    pub(crate) fn configured(folder: &Path, address: SocketAddr) -> Self {
        let flags = ["--config.file=prometheus.yml", "--storage.tsdb.path=prometheus"];
        Self::start_at("prometheus", folder, &flags, address)
    }

    fn start(program: &str, dir: &Path, flags: &[&str]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, quiet_port()));
        Self::start_at(program, dir, flags, address)
    }

    fn start_at(program: &str, dir: &Path, flags: &[&str], address: SocketAddr) -> Self {
        let log = dir.join(format!("{program}.log"));
        let output = fs::File::create(&log).unwrap();
        let child = Command::new(program)
            .args(flags)
            .arg(format!("--web.listen-address={address}"))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{}", missing(program, &error)));
        let daemon = Self { child, address, log };
        eventually(&format!("{program} is ready"), || {
            // blackbox_exporter is ready as soon as it is there.
            let path = if program.contains("blackbox") { "/-/healthy" } else { "/-/ready" };
            let ready = http::get(address, path, &[]).is_ok_and(|r| r.status == 200);
            if ready { Ok(()) } else { Err(daemon.log()) }
        });
        daemon
    }

    /// Asks it for JSON.
    pub(crate) fn ask(&self, target: &str) -> Value {
        http::get(self.address, target, &[("accept-encoding", "identity")]).unwrap().json()
    }

    /// All that it has said.
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A mail server, Slack, a webhook and the watchdog's receiver, all of which keep what they get.
pub(crate) struct Sinks {
    child: Child,
    /// They live as long as this is open.
    _stdin: ChildStdin,
    smtp: SocketAddr,
    http: SocketAddr,
    got: Arc<Mutex<Vec<Value>>>,
}

impl Sinks {
    pub(crate) fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/alert_sinks.py");
        let mut child = Command::new(python())
            .arg("-B")
            .arg(script)
            .args([USER, PASSWORD])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}", missing("the Python environment", &error)));
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ports: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let at = |name: &str| {
            let port = ports[name].as_u64().and_then(|port| u16::try_from(port).ok());
            SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap()))
        };
        let got = Arc::new(Mutex::new(Vec::new()));
        let (smtp, http, all) = (at("smtp"), at("http"), Arc::clone(&got));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let message = serde_json::from_str(&line).unwrap();
                all.lock().unwrap_or_else(PoisonError::into_inner).push(message);
            }
        });
        Self { child, _stdin: stdin, smtp, http, got }
    }

    /// What came to `mail`, `slack`, `webhook` or `watchdog` with that in it.
    pub(crate) fn got(&self, to: &str, part: &str) -> Vec<Value> {
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        got.iter().filter(|m| m["to"] == to && told(m).contains(part)).cloned().collect()
    }

    /// All that came, in short.
    pub(crate) fn titles(&self) -> Vec<String> {
        let got = self.got.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |m: &Value| format!("{}: {}", m["to"], told(m).lines().next().unwrap_or_default());
        got.iter().filter(|m| m["to"] != "watchdog").map(of).collect()
    }

    /// Whether a request showed the token of the file.
    pub(crate) fn authorized(message: &Value) -> bool {
        message["authorization"] == format!("Bearer {TOKEN}")
    }
}

impl Drop for Sinks {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A message as its reader sees it: title and text.
pub(crate) fn told(message: &Value) -> String {
    let part = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match message["to"].as_str().unwrap() {
        "mail" => format!("{}\n{}", part(&message["subject"]), part(&message["text"])),
        "slack" => {
            let post = &message["body"]["attachments"][0];
            format!("{}\n{}", part(&post["title"]), part(&post["text"]))
        }
        _ => message["body"].to_string(),
    }
}
