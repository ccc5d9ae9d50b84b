//! A real Prometheus that scrapes the exporter: what each of them pays for the same scrapes.

use std::process::Command;
use std::time::Duration;

use crate::Options;
use crate::support::cpu;
use crate::support::process::{Exporter, Server, flags, free_address};
use crate::support::results::Results;
use crate::support::runtime::Runtime;
use crate::support::workload::{Which, World};

pub(crate) fn run(options: Options, results: &mut Results) {
    // A million series take more than 4 GB of Prometheus.
    let sizes: &[usize] = if options.quick { &[10_000] } else { &[1_000, 10_000, 100_000] };
    for chats in sizes {
        measure(*chats, options, results);
    }
}

fn measure(chats: usize, options: Options, results: &mut Results) {
    let runtime = Runtime::start(World::new(chats));
    let state = tempfile::tempdir().unwrap();
    let interval = if chats > 10_000 { 15 } else { 3 };
    let every = format!("{interval}s");
    let most = (10 * chats).max(100_000).to_string();
    let words = ["--runtime.url", &runtime.url(), "--runtime.poll-interval", &every];
    let mut words = flags(&words);
    words.extend(flags(&["--chat.max-series", &most, "--runtime.max-body", "1GiB"]));
    let exporter = Exporter::start(state.path(), &words);
    exporter.server.settle();
    let Some((prometheus, _folder)) = start(&exporter, interval) else {
        println!("prometheus is not on PATH: nothing to compare with");
        return;
    };
    // The first scrapes make series in Prometheus, and blocks in the exporter.
    std::thread::sleep(Duration::from_secs(3 * interval));
    let scrapes = || exporter_scrapes(&exporter);
    let (first, ours, theirs) = (scrapes(), exporter.server.cpu(), prometheus.cpu());
    for _ in 0..if options.quick { 5 } else { 10 } {
        runtime.change(|world| world.change(1.0, Which::Newest));
        std::thread::sleep(Duration::from_secs(interval));
    }
    let ours = exporter.server.cpu() - ours;
    let theirs = prometheus.cpu() - theirs;
    // Our own question is the last.
    let count = scrapes() - first - 1.0;
    let at = |name: &str| format!("prometheus.{chats}.{name}");
    results.put(at("scrapes"), count);
    results.put(at("ours.cpu_ms_per_scrape"), ours * 1e3 / count);
    results.put(at("prometheus.cpu_ms_per_scrape"), theirs * 1e3 / count);
    results.put(at("prometheus.rss_bytes"), cpu::rss(prometheus.pid()));
    results.put(at("ours.rss_bytes"), cpu::rss(exporter.server.pid()));
    let target = "/api/v1/query?query=scrape_duration_seconds";
    let reply = prometheus.client().get(target, "").unwrap();
    let reply: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    let took = reply["data"]["result"][0]["value"][1].as_str().and_then(|took| took.parse().ok());
    results.put(at("scrape_seconds"), took.unwrap_or(f64::NAN));
    let reply = prometheus.client().get("/api/v1/query?query=up", "").unwrap();
    let reply: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(reply["data"]["result"][0]["value"][1], "1", "Prometheus does not get its answer");
}

/// Requests for metrics that were answered; asking is one.
fn exporter_scrapes(exporter: &Exporter) -> f64 {
    let text = String::from_utf8(exporter.scrape(false).body).unwrap();
    let ours = |line: &&str| {
        line.starts_with("mozaiks_exporter_http_requests_total") && line.contains("\"metrics\"")
    };
    let lines = text.lines().filter(ours);
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn start(exporter: &Exporter, interval: u64) -> Option<(Server, tempfile::TempDir)> {
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let config = folder.path().join("prometheus.yml");
    let target = exporter.server.address;
    let text = format!(
        "global: {{scrape_interval: {interval}s, scrape_timeout: {interval}s}}\n\
         scrape_configs:\n\
         - job_name: mozaiksai\n  static_configs: [{{targets: ['{target}']}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new("prometheus");
    command.arg("--config.file").arg(config).arg("--storage.tsdb.path").arg(folder.path());
    command.args(["--web.listen-address", &address.to_string()]);
    Server::start(&mut command, address).map(|server| (server, folder))
}
