//! What is pushed: how many events a second come in, how long an acknowledgement takes and what it
//! costs, with everything on the disk before it is answered; beside Debian's
//! `prometheus-pushgateway`, which keeps nothing on the disk, and beside a server that only counts.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Options;
use crate::support::counting;
use crate::support::cpu;
use crate::support::http::Client;
use crate::support::process::{Exporter, Server, flags, free_address};
use crate::support::results::{Results, at, median};
use crate::support::runtime::Runtime;
use crate::support::workload::World;

/// Chats that the events are about.
const CHATS: u64 = 100;
/// Events of a large body.
const BATCH: u64 = 100;
/// Connections that send at once, where it is not one.
const CONNECTIONS: usize = 16;
/// Chats of which memory per chat is taken.
const MANY_CHATS: u64 = 10_000;

/// One request, for a number that no other has.
type Request = fn(u64) -> Vec<u8>;

pub(crate) fn run(options: Options, results: &mut Results) {
    let time = Duration::from_secs(if options.quick { 2 } else { 5 });
    let rounds = if options.quick { 1 } else { 3 };
    let kinds: [(&str, Request, u64); 2] = [("one", one, 1), ("batch", batch, BATCH)];
    for (kind, request, events) in kinds {
        for connections in [1, CONNECTIONS] {
            let name = |who: &str| format!("push.{kind}.{connections}.{who}");
            let mut runs = [Vec::new(), Vec::new(), Vec::new()];
            for _ in 0..rounds {
                let load = Load { connections, request, time, pause: Duration::ZERO };
                runs[0].push(with_exporter(|exporter| {
                    load.measure(&exporter.server, exporter.control)
                }));
                runs[1].push(with_counting(|server| load.measure(server, server.address)));
                if kind == "one" {
                    let load = Load { request: group, ..load };
                    runs[2].extend(with_pushgateway(|server| load.measure(server, server.address)));
                }
            }
            for (who, runs) in ["ours", "counting", "pushgateway"].into_iter().zip(runs) {
                put(results, &name(who), &runs, events);
            }
        }
    }
    half_load(time, results);
    while_scraped(time, results);
    memory(results);
}

/// What a load came to.
struct Run {
    requests: usize,
    took: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
}

fn put(results: &mut Results, name: &str, runs: &[Run], events: u64) {
    if runs.is_empty() {
        return;
    }
    let of = |pick: &dyn Fn(&Run) -> f64| median(&runs.iter().map(pick).collect::<Vec<_>>());
    let rate = of(&|run| run.requests as f64 / run.took);
    results.put(format!("{name}.requests_per_second"), rate);
    results.put(format!("{name}.events_per_second"), rate * events as f64);
    let per_request = of(&|run| run.cpu * 1e6 / run.requests as f64);
    results.put(format!("{name}.cpu_us_per_request"), per_request);
    results.put(format!("{name}.cpu_us_per_event"), per_request / events as f64);
    results.put(format!("{name}.p50_ms"), of(&|run| run.p50));
    results.put(format!("{name}.p99_ms"), of(&|run| run.p99));
}

/// Requests on several connections for some time.
#[derive(Clone, Copy)]
struct Load {
    connections: usize,
    request: Request,
    time: Duration,
    /// From one request of a connection to its next, at least.
    pause: Duration,
}

impl Load {
    fn measure(self, server: &Server, address: SocketAddr) -> Run {
        let (numbers, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let (cpu, begun) = (server.cpu(), Instant::now());
        let times = std::thread::scope(|scope| {
            let send = || self.send(address, &numbers, &stop);
            let clients: Vec<_> = (0..self.connections).map(|_| scope.spawn(send)).collect();
            std::thread::sleep(self.time);
            stop.store(true, Ordering::Relaxed);
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<f64>>()
        });
        let (took, cpu) = (begun.elapsed().as_secs_f64(), server.cpu() - cpu);
        Run { requests: times.len(), took, cpu, p50: median(&times), p99: at(&times, 0.99) }
    }

    /// Milliseconds that each answer took.
    fn send(self, address: SocketAddr, numbers: &AtomicU64, stop: &AtomicBool) -> Vec<f64> {
        let mut client = Client::connect(address).unwrap();
        let mut times = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let request = (self.request)(numbers.fetch_add(1, Ordering::Relaxed));
            let sent = Instant::now();
            let reply = client.send(&request).unwrap();
            let took = sent.elapsed();
            assert!((200..300).contains(&reply.status), "{}", reply.status);
            times.push(took.as_secs_f64() * 1e3);
            std::thread::sleep(self.pause.saturating_sub(took));
        }
        times
    }
}

/// How long an answer takes while half of what is possible comes in.
fn half_load(time: Duration, results: &mut Results) {
    let rate = results.get(&format!("push.one.{CONNECTIONS}.ours.requests_per_second")).unwrap();
    let pause = Duration::from_secs_f64(CONNECTIONS as f64 / (rate / 2.0));
    let load = Load { connections: CONNECTIONS, request: one, time, pause };
    let run = with_exporter(|exporter| load.measure(&exporter.server, exporter.control));
    results.put("push.half_load.requests_per_second", run.requests as f64 / run.took);
    results.put("push.half_load.p50_ms", run.p50);
    results.put("push.half_load.p99_ms", run.p99);
}

/// How long an answer takes while somebody scrapes 10,000 chats again and again.
fn while_scraped(time: Duration, results: &mut Results) {
    let runtime = Runtime::start(World::new(MANY_CHATS as usize));
    let state = tempfile::tempdir().unwrap();
    let words = ["--runtime.url", &runtime.url(), "--runtime.poll-interval", "1h"];
    let exporter = Exporter::start(state.path(), &flags(&words));
    exporter.server.settle();
    let pause = Duration::from_millis(10);
    let load = Load { connections: 1, request: one, time, pause };
    let stop = AtomicBool::new(false);
    let run = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                exporter.scrape(true);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let run = load.measure(&exporter.server, exporter.control);
        stop.store(true, Ordering::Relaxed);
        run
    });
    results.put("push.while_scraped.p50_ms", run.p50);
    results.put("push.while_scraped.p99_ms", run.p99);
}

/// What a chat costs that was only pushed, what it costs the pushgateway, and what events cost that
/// come on top of others.
fn memory(results: &mut Results) {
    let grow = |server: &Server, address, request: Request, requests: u64| {
        let before = cpu::rss(server.pid());
        let mut client = Client::connect(address).unwrap();
        for number in 0..requests {
            let reply = client.send(&request(number)).unwrap();
            assert!((200..300).contains(&reply.status), "{}", reply.status);
        }
        server.settle();
        cpu::rss(server.pid()) - before
    };
    with_exporter(|exporter| {
        let (server, address) = (&exporter.server, exporter.control);
        // The first of everything, once.
        grow(server, address, start_of_chats, 1);
        let kept = grow(server, address, start_of_chats, MANY_CHATS / BATCH);
        results.put("push.memory.ours.bytes_per_chat", kept / MANY_CHATS as f64);
        let events = 1000 * BATCH;
        let kept = grow(server, address, without_ids, 1000);
        results.put("push.memory.ours.bytes_per_event", kept / events as f64);
        let kept = grow(server, address, batch, 1000);
        results.put("push.memory.ours.bytes_per_event_with_id", kept / events as f64);
    });
    with_pushgateway(|server| {
        grow(server, server.address, group, 1);
        let kept = grow(server, server.address, many_groups, MANY_CHATS);
        results.put("push.memory.pushgateway.bytes_per_chat", kept / MANY_CHATS as f64);
    });
}

fn with_exporter<T>(work: impl FnOnce(&Exporter) -> T) -> T {
    let state = tempfile::tempdir().unwrap();
    work(&Exporter::start(state.path(), &flags(&["--runtime.url", "bench="])))
}

fn with_counting<T>(work: impl FnOnce(&Server) -> T) -> T {
    work(&counting::start())
}

/// Nothing where it is not on `PATH`.
fn with_pushgateway<T>(work: impl FnOnce(&Server) -> T) -> Option<T> {
    let address = free_address();
    let mut command = Command::new("prometheus-pushgateway");
    command.args(["--push.disable-consistency-check", "--web.listen-address"]);
    command.arg(address.to_string()).current_dir(Path::new("/"));
    Server::start(&mut command, address).map(|server| work(&server))
}

fn post(line: &str, content_type: &str, body: &str) -> Vec<u8> {
    let size = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: bench\r\ncontent-type: {content_type}\r\n\
         content-length: {size}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn events(body: &str) -> Vec<u8> {
    post("POST /api/v1/events", "application/json", body)
}

/// A turn; where it has an id, none is given twice.
fn turn(number: u64, with_id: bool, out: &mut String) {
    out.push_str(r#"{"event":"agent_turn","#);
    if with_id {
        write!(out, r#""event_id":"5f3a9c1e-{number:016x}","#).unwrap();
    }
    write!(
        out,
        r#""ts":"2026-01-18T01:58:06Z",
        "chat_id":"d8a84353-ed69-4fee-8326-{:012}","app_id":"acme","workflow_name":"LeadScoring",
        "user_id":"u-0007","agent_name":"planner","model":"gpt-4o-mini","duration_sec":2.5,
        "prompt_tokens":1500,"completion_tokens":800,"cost":0.05}}"#,
        number % CHATS
    )
    .unwrap();
}

fn one(number: u64) -> Vec<u8> {
    let mut body = String::new();
    turn(number, true, &mut body);
    events(&body)
}

fn batch(number: u64) -> Vec<u8> {
    turns(number, true)
}

fn without_ids(number: u64) -> Vec<u8> {
    turns(number, false)
}

fn turns(number: u64, with_id: bool) -> Vec<u8> {
    let mut body = String::from("[");
    for index in 0..BATCH {
        body.push_str(if index == 0 { "" } else { "," });
        turn(number * BATCH + index, with_id, &mut body);
    }
    body.push(']');
    events(&body)
}

/// Chats of C(n) that begin, a hundred a request.
fn start_of_chats(number: u64) -> Vec<u8> {
    let world = World::new(MANY_CHATS as usize);
    let starts: Vec<String> = (0..BATCH)
        .map(|index| {
            let chat = world.chat((number * BATCH + index) as usize % world.len());
            format!(
                r#"{{"event":"workflow_start","chat_id":"{}","app_id":"{}","workflow_name":"{}","user_id":"{}"}}"#,
                chat.chat_id, chat.app_id, chat.workflow_name, chat.user_id
            )
        })
        .collect();
    events(&format!("[{}]", starts.join(",")))
}

/// Ten metrics of one group, as a client library pushes them.
fn group(number: u64) -> Vec<u8> {
    group_of(number, number % CHATS)
}

fn many_groups(number: u64) -> Vec<u8> {
    group_of(number, number)
}

fn group_of(number: u64, group: u64) -> Vec<u8> {
    let mut body = String::new();
    for metric in 0..10 {
        writeln!(body, "# TYPE bench_metric_{metric} gauge\nbench_metric_{metric} {number}")
            .unwrap();
    }
    let line = format!("PUT /metrics/job/bench/chat/{group}");
    post(&line, "text/plain; version=0.0.4", &body)
}
