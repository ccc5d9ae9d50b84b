//! A real Prometheus that scrapes the exporter.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tempfile::TempDir;

use super::exporter::METRICS;
use super::exposition::Labels;
use super::http;
use super::tools::missing;
use super::wait::{eventually, quiet_port};

/// One series as a query returned it.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) labels: Labels,
    /// As Prometheus wrote them, oldest first.
    pub(crate) samples: Vec<f64>,
}

impl Series {
    /// The first sample.
    pub(crate) fn first(&self) -> f64 {
        self.samples[0]
    }

    /// The last sample.
    pub(crate) fn last(&self) -> f64 {
        self.samples[self.samples.len() - 1]
    }

    /// By how much it rose while Prometheus watched. It must never have gone down.
    pub(crate) fn rise(&self) -> f64 {
        for pair in self.samples.windows(2) {
            assert!(pair[0] <= pair[1], "a counter went down: {self:?}");
        }
        self.last() - self.first()
    }
}

/// Prometheus with one target. It is killed when this is dropped.
pub(crate) struct Prometheus {
    child: Child,
    address: SocketAddr,
    dir: TempDir,
}

/// What it scrapes, and how.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) targets: Vec<SocketAddr>,
    /// Whether it scrapes itself as well, as the job `prometheus`.
    pub(crate) itself: bool,
    /// Between scrapes, and between evaluations of rules.
    pub(crate) interval: &'static str,
    pub(crate) job: &'static str,
    /// Files of rules.
    pub(crate) rules: Vec<PathBuf>,
}

impl Prometheus {
    /// Starts one that scrapes the exporter at that interval.
    pub(crate) fn start(target: SocketAddr, interval: &'static str) -> Self {
        Self::start_with(&Setup {
            targets: vec![target],
            itself: false,
            interval,
            job: "mozaiks",
            rules: Vec::new(),
        })
    }

    /// Starts one that is set up like this.
    pub(crate) fn start_with(setup: &Setup) -> Self {
        let Setup { targets, itself, interval, job, rules } = setup;
        let dir = TempDir::new().unwrap();
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let mut config = format!(
            "global: {{scrape_interval: {interval}, scrape_timeout: {interval}, \
             evaluation_interval: {interval}}}\n\
             rule_files: {rules:?}\n\
             scrape_configs:\n\
             - job_name: {job}\n\
             \x20 metrics_path: {METRICS}\n\
             \x20 static_configs: [{{targets: {targets:?}}}]\n"
        );
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, quiet_port()));
        if *itself {
            let itself = format!(
                "- job_name: prometheus\n\x20 static_configs: [{{targets: ['{address}']}}]\n"
            );
            config.push_str(&itself);
        }
        Self::launch(dir, address, &config)
    }

    /// Starts one that scrapes nothing, in a folder where `data` holds blocks.
    pub(crate) fn over(dir: TempDir) -> Self {
        Self::over_with(dir, &[])
    }

    /// As [`Prometheus::over`], with rules, which are evaluated as of now.
    pub(crate) fn over_with(dir: TempDir, rules: &[PathBuf]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, quiet_port()));
        Self::launch(dir, address, &format!("rule_files: {rules:?}\n"))
    }

    /// Starts one with that configuration.
    pub(crate) fn configured(config: &str) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, quiet_port()));
        Self::launch(TempDir::new().unwrap(), address, config)
    }

    fn launch(dir: TempDir, address: SocketAddr, config: &str) -> Self {
        std::fs::write(dir.path().join("prometheus.yml"), config).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}", missing("prometheus", &error)));
        let prometheus = Self { child, address, dir };
        eventually("Prometheus is ready", || {
            let ready = http::get(address, "/-/ready", &[]).is_ok_and(|r| r.status == 200);
            if ready { Ok(()) } else { Err(prometheus.log()) }
        });
        prometheus
    }

    /// Waits until it has scraped its target.
    pub(crate) fn wait_for_a_scrape(&self) {
        eventually("Prometheus scrapes", || {
            let up = self.query("up");
            if up.iter().any(|up| up.last() > 0.0) { Ok(()) } else { Err(self.last_error()) }
        });
    }

    /// All series that an expression yields: with one sample each where it is an instant vector,
    /// with all raw samples where it is a range vector.
    pub(crate) fn query(&self, expression: &str) -> Vec<Series> {
        self.ask(expression, "")
    }

    /// As [`Prometheus::query`], at a time in seconds since the epoch.
    pub(crate) fn query_at(&self, expression: &str, at: i64) -> Vec<Series> {
        self.ask(expression, &format!("&time={at}"))
    }

    /// All series that an expression yields within the last seconds, a sample every two of them.
    pub(crate) fn query_range(&self, expression: &str, seconds: i64) -> Vec<Series> {
        let query = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let now = super::chat::now().timestamp();
        let range = format!("start={}&end={now}&step=2", now - seconds);
        self.results(expression, &format!("/api/v1/query_range?query={query}&{range}"))
    }

    fn ask(&self, expression: &str, time: &str) -> Vec<Series> {
        let query = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        self.results(expression, &format!("/api/v1/query?query={query}{time}"))
    }

    fn results(&self, expression: &str, target: &str) -> Vec<Series> {
        let answer = self.api(target);
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let data = &answer["data"];
        data["result"].as_array().unwrap().iter().map(read).collect()
    }

    /// The values of an instant vector by one label.
    pub(crate) fn by(&self, label: &str, expression: &str) -> BTreeMap<String, f64> {
        self.query(expression)
            .into_iter()
            .map(|series| (series.labels.get(label).cloned().unwrap_or_default(), series.last()))
            .collect()
    }

    /// Everything that it keeps of a family, since its start.
    pub(crate) fn history(&self, family: &str) -> Vec<Series> {
        self.query(&format!("{family}[1h]"))
    }

    /// Why the last scrape failed; empty if it did not.
    pub(crate) fn last_error(&self) -> String {
        let targets = self.api("/api/v1/targets");
        targets["data"]["activeTargets"][0]["lastError"].as_str().unwrap_or_default().to_owned()
    }

    fn api(&self, target: &str) -> Value {
        http::get(self.address, target, &[("accept-encoding", "identity")]).unwrap().json()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

fn read(series: &Value) -> Series {
    let labels = series["metric"].as_object().unwrap();
    let samples = match series["values"].as_array() {
        Some(samples) => samples.clone(),
        None => vec![series["value"].clone()],
    };
    Series {
        labels: labels
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect(),
        samples: samples.iter().map(|s| s[1].as_str().unwrap().parse().unwrap()).collect(),
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
