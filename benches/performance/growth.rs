//! What grows with the number of chats: the release binary beside a runtime that tells of C(n), with
//! nobody else on the machine's mind.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Options;
use crate::support::cpu;
use crate::support::http::{Client, Reply};
use crate::support::process::{Exporter, flags, wait};
use crate::support::results::{Results, at, median};
use crate::support::runtime::Runtime;
use crate::support::workload::{Which, World};

/// Clients that come at the same time, where sharing is looked at.
const CROWD: usize = 4;
/// The share of the chats that changes from one scrape to the next, in percent.
const CHANGED: f64 = 1.0;

pub(crate) fn run(options: Options, results: &mut Results) {
    let mut sizes = vec![100, 1_000, 10_000];
    if !options.quick {
        sizes.push(100_000);
    }
    if options.million {
        sizes.push(1_000_000);
    }
    for chats in sizes {
        let rounds = if options.quick || chats > 100_000 { 1 } else { 3 };
        Row { chats, rounds, results }.measure();
    }
}

/// One size.
struct Row<'a> {
    chats: usize,
    rounds: usize,
    results: &'a mut Results,
}

impl Row<'_> {
    fn put(&mut self, name: &str, value: f64) {
        self.results.put(format!("growth.{}.{name}", self.chats), value);
    }

    /// Scrapes are measured between two polls, so these have to be so far apart.
    fn interval(&self) -> Duration {
        match self.chats {
            0..10_000 => Duration::from_secs(2),
            10_000..100_000 => Duration::from_secs(4),
            100_000..1_000_000 => Duration::from_secs(15),
            _ => Duration::from_mins(3),
        }
    }

    fn flags(&self, url: &str) -> Vec<String> {
        let mut words = flags(&["--runtime.url", url, "--runtime.max-body", "2GiB"]);
        words.extend(flags(&["--runtime.timeout", "2m", "--users", "plain"]));
        words.push("--runtime.poll-interval".into());
        words.push(format!("{}s", self.interval().as_secs()));
        // A tenth of it is the number of chats with series.
        words.push("--chat.max-series".into());
        words.push((10 * self.chats).max(100_000).to_string());
        words
    }

    fn measure(&mut self) {
        let state = tempfile::tempdir().unwrap();
        let runtime = Runtime::start(World::new(self.chats));
        let exporter = Exporter::start(state.path(), &self.flags(&runtime.url()));
        let server = &exporter.server;
        poll_after(0, &runtime, &exporter);
        self.put("body_bytes", runtime.body_bytes() as f64);
        self.put("store_bytes", bytes_in(state.path()));
        self.put("rss_bytes", cpu::rss(server.pid()));
        self.put("first_poll_peak_bytes", cpu::peak(server.pid()));
        self.put("first_commit_seconds", commit_seconds(&exporter, (0.0, 0.0)));
        cpu::forget_peak(server.pid());
        self.scrapes(&runtime, &exporter);
        let series = exporter.samples().get("mozaiks_exporter_series").copied();
        self.put("series", series.unwrap_or(f64::NAN));
        self.polls(&runtime, &exporter);
        self.put("peak_bytes", cpu::peak(server.pid()));
        self.put("rss_after_bytes", cpu::rss(server.pid()));
        self.routes(&exporter);
        exporter.server.stop();
        self.restart(state.path());
        self.ended(&runtime);
    }

    /// CPU of scrapes: the first, one after a change, and one after nothing.
    fn scrapes(&mut self, runtime: &Runtime, exporter: &Exporter) {
        // The first of each kind may have to make what later ones find.
        for (name, gzip) in [("gzip", true), ("text", false)] {
            let (seconds, reply) = scrape(exporter, gzip);
            self.put(&format!("{name}.first_scrape_cpu_ms"), seconds * 1e3);
            self.put(&format!("{name}.bytes"), reply.body.len() as f64);
        }
        let kinds = [
            ("gzip.all_changed", true, 100.0, Which::Newest),
            ("gzip.newest_changed", true, CHANGED, Which::Newest),
            ("gzip.random_changed", true, CHANGED, Which::Random),
            ("text.random_changed", false, CHANGED, Which::Random),
        ];
        for (name, gzip, share, which) in kinds {
            // All of it once, to compare with; changes are what is repeated.
            let rounds = if share > CHANGED { 1 } else { self.rounds };
            let (mut changed, mut unchanged, mut first) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                runtime.change(|world| world.change(share, which));
                next_poll(runtime, exporter);
                let (seconds, reply) = scrape(exporter, gzip);
                changed.push(seconds * 1e3);
                first.push(reply.first_byte.as_secs_f64() * 1e3);
                unchanged.push(scrape(exporter, gzip).0 * 1e3);
            }
            self.put(&format!("{name}_cpu_ms"), median(&changed));
            if which == Which::Random {
                let encoding = if gzip { "gzip" } else { "text" };
                self.put(&format!("{encoding}.unchanged_cpu_ms"), median(&unchanged));
                self.put(&format!("{encoding}.first_byte_ms"), median(&first));
            }
        }
        runtime.change(|world| world.change(100.0, Which::Newest));
        next_poll(runtime, exporter);
        let before = exporter.server.cpu();
        std::thread::scope(|scope| {
            (0..CROWD).for_each(|_| drop(scope.spawn(|| exporter.scrape(true))));
        });
        exporter.server.settle();
        let crowd = exporter.server.cpu() - before;
        self.put("gzip.four_at_once_cpu_ms", crowd * 1e3);
    }

    /// CPU of polls, their commits included.
    fn polls(&mut self, runtime: &Runtime, exporter: &Exporter) {
        for (name, share) in
            [("unchanged", 0.0), ("one_percent_changed", 1.0), ("all_changed", 100.0)]
        {
            let mut spent = Vec::new();
            let mut commits = (0.0, 0.0);
            for _ in 0..if share > CHANGED { 1 } else { self.rounds } {
                runtime.change(|world| {
                    if share > 0.0 {
                        world.change(share, Which::Random);
                    }
                });
                commits = commit_sums(exporter);
                spent.push(next_poll(runtime, exporter) * 1e3);
            }
            self.put(&format!("poll.{name}_cpu_ms"), median(&spent));
            if share > 0.0 {
                self.put(&format!("commit.{name}_seconds"), commit_seconds(exporter, commits));
            }
        }
    }

    /// The runtime's own routes, as the seeds' documents time them.
    fn routes(&mut self, exporter: &Exporter) {
        let chat = World::new(self.chats).chat(self.chats / 2).chat_id;
        let snapshot = format!("/metrics/perf/chats/{chat}");
        for (name, path) in
            [("snapshot", snapshot.as_str()), ("aggregate", "/metrics/perf/aggregate")]
        {
            let mut client = exporter.server.client();
            let took = (0..10).map(|_| {
                let begun = Instant::now();
                let reply = client.get(path, "").unwrap();
                assert_eq!(reply.status, 200, "{path}");
                begun.elapsed().as_secs_f64() * 1e3
            });
            self.put(&format!("{name}_ms"), median(&took.collect::<Vec<_>>()));
        }
        let mut client = Client::connect(exporter.control).unwrap();
        let took = (0..50_usize).map(|number| {
            let body = format!(
                r#"{{"event":"agent_turn","event_id":"growth-{number}","chat_id":"{chat}","agent_name":"a","prompt_tokens":1,"completion_tokens":1,"cost":0.01}}"#
            );
            let length = body.len();
            let request = format!(
                "POST /api/v1/events HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{body}"
            );
            let begun = Instant::now();
            let reply = client.send(request.as_bytes()).unwrap();
            assert_eq!(reply.status, 202);
            begun.elapsed().as_secs_f64() * 1e3
        });
        let took: Vec<f64> = took.collect();
        self.put("record_p50_ms", median(&took));
        self.put("record_p99_ms", at(&took, 0.99));
    }

    /// From the start of the process to its first answers, with everything in the store.
    fn restart(&mut self, state: &Path) {
        let mut answers = Vec::new();
        for _ in 0..self.rounds {
            let begun = Instant::now();
            let exporter = Exporter::start(state, &self.flags("bench="));
            let reply = exporter.server.client().get("/-/healthy", "").unwrap();
            assert_eq!(reply.status, 200);
            answers.push(begun.elapsed().as_secs_f64() * 1e3);
            exporter.server.stop();
        }
        self.put("start_to_answer_ms", median(&answers));
    }

    /// As a system looks that has run for a day: nine of ten chats have ended.
    fn ended(&mut self, runtime: &Runtime) {
        runtime.change(|world| world.end(90.0));
        let (state, told) = (tempfile::tempdir().unwrap(), runtime.told());
        let exporter = Exporter::start(state.path(), &self.flags(&runtime.url()));
        poll_after(told, runtime, &exporter);
        scrape(&exporter, true);
        runtime.change(|world| world.change(CHANGED, Which::Newest));
        next_poll(runtime, &exporter);
        let (seconds, _) = scrape(&exporter, true);
        self.put("mostly_ended.gzip.newest_changed_cpu_ms", seconds * 1e3);
        self.put("mostly_ended.rss_bytes", cpu::rss(exporter.server.pid()));
    }
}

/// CPU seconds of one scrape, and the answer.
fn scrape(exporter: &Exporter, gzip: bool) -> (f64, Reply) {
    exporter.server.settle();
    let before = exporter.server.cpu();
    let reply = exporter.scrape(gzip);
    assert_eq!(reply.status, 200);
    exporter.server.settle();
    (exporter.server.cpu() - before, reply)
}

/// Waits for the next poll and until it is booked and kept. CPU seconds of that.
fn next_poll(runtime: &Runtime, exporter: &Exporter) -> f64 {
    exporter.server.settle();
    poll_after(runtime.told(), runtime, exporter)
}

/// The same for the poll after so many.
fn poll_after(told: u64, runtime: &Runtime, exporter: &Exporter) -> f64 {
    let before = exporter.server.cpu();
    wait(|| (runtime.told() > told).then_some(()));
    exporter.server.settle();
    exporter.server.cpu() - before
}

/// Seconds and number of commits so far.
fn commit_sums(exporter: &Exporter) -> (f64, f64) {
    let samples = exporter.samples();
    let value = |end: &str| {
        let name = format!("mozaiks_exporter_state_commit_duration_seconds_{end}");
        samples.get(&name).copied().unwrap_or_default()
    };
    (value("sum"), value("count"))
}

/// Seconds of commits since then: nearly all of it is the one with the chats.
fn commit_seconds(exporter: &Exporter, before: (f64, f64)) -> f64 {
    commit_sums(exporter).0 - before.0
}

fn bytes_in(folder: &Path) -> f64 {
    let files = std::fs::read_dir(folder).unwrap().flatten();
    files.map(|file| file.metadata().map_or(0, |file| file.len())).sum::<u64>() as f64
}
