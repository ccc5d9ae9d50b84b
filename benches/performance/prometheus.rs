//! A real Prometheus that scrapes the exporter: what each of them pays for the same scrapes.

use std::process::Command;
use std::time::Duration;

use crate::Options;
use crate::support::cpu;
use crate::support::process::{Exporter, Server, flags, free_address, wait};
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
    let interval = if chats > 10_000 { 30 } else { 5 };
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
    // The first scrapes make series in Prometheus, and what is kept in the exporter.
    wait(|| (scrapes(&prometheus) >= 2.0).then_some(()));
    let first = scrapes(&prometheus);
    let (ours, theirs) = (exporter.server.cpu(), prometheus.cpu());
    let wanted = if options.quick { 5.0 } else { 10.0 };
    let mut count = 0.0;
    while count < wanted {
        runtime.change(|world| world.change(1.0, Which::Newest));
        count = wait(|| Some(scrapes(&prometheus) - first).filter(|now| *now > count));
    }
    let ours = exporter.server.cpu() - ours;
    let theirs = prometheus.cpu() - theirs;
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

/// Scrapes that Prometheus has begun after its first.
fn scrapes(prometheus: &Server) -> f64 {
    // It does not like to be asked all the time.
    std::thread::sleep(Duration::from_millis(200));
    let text = prometheus.client().get("/metrics", "").unwrap().body;
    let text = String::from_utf8(text).unwrap();
    let count = |line: &str| {
        line.strip_prefix("prometheus_target_interval_length_seconds_count{")?
            .rsplit(' ')
            .next()?
            .parse()
            .ok()
    };
    text.lines().find_map(count).unwrap_or_default()
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
