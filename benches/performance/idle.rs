//! Standing still: a hundred chats, a poll each 15 seconds, a log that is followed, a scrape each 5
//! seconds; beside pushgateway and mtail, which are scraped likewise, in the same minute.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::Options;
use crate::support::cpu::{self, Switches};
use crate::support::process::{Exporter, Server, binary, flags, free_address};
use crate::support::results::{Results, root};
use crate::support::runtime::Runtime;
use crate::support::workload::World;

/// What is told per minute is measured for one, or for a part of it.
const MINUTE: f64 = 60.0;
const SCRAPE_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(crate) fn run(options: Options, results: &mut Results) {
    let time = Duration::from_secs(if options.quick { 30 } else { 60 });
    results.put("idle.binary_bytes", std::fs::metadata(binary()).unwrap().len() as f64);
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("mozaiks.log");
    let recorded = root().join("tests/fixtures/runtime/logs/production_json/mozaiks.log");
    std::fs::copy(recorded, &log).unwrap();
    let log = log.display().to_string();
    let state = tempfile::tempdir().unwrap();
    let runtime = Runtime::start(World::new(100));
    let words = ["--runtime.url", &runtime.url(), "--logs.path", &log];
    let exporter = Exporter::start(state.path(), &flags(&words));
    let mut idlers = vec![Idler::new("ours", exporter.server)];
    let address = free_address();
    let mut pushgateway = Command::new("prometheus-pushgateway");
    pushgateway.args(["--web.listen-address", &address.to_string()]);
    idlers.extend(Idler::start("pushgateway", &mut pushgateway, address));
    let address = free_address();
    let mut mtail = Command::new("mtail");
    mtail.args(["-address", "127.0.0.1", "-port", &address.port().to_string(), "-logs", &log]);
    mtail.arg("-progs").arg(root().join("benches/logs.mtail")).arg("-log_dir").arg(folder.path());
    idlers.extend(Idler::start("mtail", &mut mtail, address));
    // What the start leaves behind is no part of standing still.
    std::thread::sleep(Duration::from_secs(12));
    let begun = Instant::now();
    idlers.iter_mut().for_each(Idler::begin);
    let mut scraped = begun;
    while begun.elapsed() < time {
        if scraped.elapsed() >= SCRAPE_EVERY {
            scraped = Instant::now();
            idlers.iter_mut().for_each(Idler::scrape);
        }
        for idler in &mut idlers {
            idler.switches.look(idler.server.pid());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let seconds = begun.elapsed().as_secs_f64();
    for idler in idlers {
        let Idler { name, server, cpu, switches, before, .. } = idler;
        let spent = server.cpu() - cpu;
        results.put(format!("idle.{name}.rss_bytes"), cpu::rss(server.pid()));
        results.put(format!("idle.{name}.cpu_ms_per_minute"), spent * 1e3 * MINUTE / seconds);
        let woken = (switches.sum() - before) as f64;
        results.put(format!("idle.{name}.wake_ups_per_second"), woken / seconds);
    }
}

/// One that stands still.
struct Idler {
    name: &'static str,
    server: Server,
    client: Option<crate::support::http::Client>,
    cpu: f64,
    switches: Switches,
    before: u64,
}

impl Idler {
    fn new(name: &'static str, server: Server) -> Self {
        let (client, cpu) = (None, 0.0);
        Self { name, server, client, cpu, switches: Switches::default(), before: 0 }
    }

    /// Nothing where it is not on `PATH`.
    fn start(
        name: &'static str,
        command: &mut Command,
        address: std::net::SocketAddr,
    ) -> Option<Self> {
        Server::start(command, address).map(|server| Self::new(name, server))
    }

    fn begin(&mut self) {
        self.client = Some(self.server.client());
        self.cpu = self.server.cpu();
        self.switches.look(self.server.pid());
        self.before = self.switches.sum();
    }

    /// On a connection that stays, as Prometheus does it.
    fn scrape(&mut self) {
        let client = self.client.as_mut().unwrap();
        let headers = "accept-encoding: gzip\r\nuser-agent: Prometheus/2.42.0\r\n\
                       x-prometheus-scrape-timeout-seconds: 5\r\n";
        // Mtail closes connections.
        if client.get("/metrics", headers).is_err() {
            *client = self.server.client();
        }
    }
}
