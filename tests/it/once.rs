//! Clients push and retry while the exporter is killed again and again, at any moment. What they
//! were told is counted, is counted; nothing is counted twice; nothing that was shown is taken back.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::chat::{count, dollars};
use crate::support::exporter::{Exporter, Launch, METRICS};
use crate::support::exposition::Exposition;
use crate::support::http;
use crate::support::recorded::is_exact;
use crate::support::wait::{eventually, pause, quiet_port};

/// How often the process is killed, unless `MOZAIKS_TEST_KILLS` says otherwise.
const KILLS: u32 = 100;
/// The shortest and the longest life in milliseconds.
const LIFE: std::ops::RangeInclusive<u64> = 20..=250;
/// Clients at once.
const CLIENTS: u64 = 4;

/// What one client was told is counted: by workflow turns, calls, errors, prompt tokens, completion
/// tokens, micro-dollars, starts, ends.
type Books = BTreeMap<String, [u64; 8]>;

const FAMILIES: [&str; 8] = [
    "mozaiks_workflow_agent_turns_total",
    "mozaiks_workflow_tool_calls_total",
    "mozaiks_workflow_errors_total",
    "mozaiks_workflow_prompt_tokens_total",
    "mozaiks_workflow_completion_tokens_total",
    "mozaiks_workflow_cost_usd_total",
    "mozaiks_workflow_starts_total",
    "mozaiks_workflow_ends_total",
];

/// How often requests had to be repeated, and how many events were sent.
#[derive(Default)]
struct Score {
    events: AtomicU64,
    requests: AtomicU64,
    retries: AtomicU64,
    duplicates: AtomicU64,
}

struct Client<'a> {
    rng: Rng,
    address: SocketAddr,
    score: &'a Score,
    name: u64,
    made: u64,
    books: Books,
}

impl Client<'_> {
    /// One chat from its start to its end, in batches of random size.
    fn chat(&mut self) {
        self.made += 1;
        let chat = format!("chat-{}-{}", self.name, self.made);
        let workflow = format!("workflow-{}", self.rng.u8(..3));
        let mut events = vec![json!({"event": "workflow_start", "app_id": "acme",
            "workflow_name": workflow, "user_id": format!("user-{}", self.name)})];
        let mut book = [0; 8];
        book[6] = 1;
        for _ in 0..self.rng.usize(1..30) {
            let (prompt, completion) = (self.rng.u64(..4000), self.rng.u64(..700));
            let micros = self.rng.u64(..30_000);
            if self.rng.u8(..10) < 7 {
                book[0] += 1;
                events.push(json!({"event": "agent_turn", "agent_name": "a", "model": "m",
                    "duration_sec": 1.5, "prompt_tokens": prompt,
                    "completion_tokens": completion, "cost": dollars(micros)}));
            } else {
                events.push(json!({"event": "usage_delta", "agent_name": "a", "model": "m",
                    "prompt_tokens": prompt, "completion_tokens": completion,
                    "cost": dollars(micros)}));
            }
            book[3] += prompt;
            book[4] += completion;
            book[5] += micros;
            let ok = self.rng.u8(..5) > 0;
            book[if ok { 1 } else { 2 }] += 1;
            events.push(json!({"event": "tool_call", "tool_name": "t", "success": ok}));
        }
        book[7] = 1;
        events.push(json!({"event": "workflow_end", "success": self.rng.bool()}));
        for (n, event) in events.iter_mut().enumerate() {
            event["chat_id"] = json!(chat);
            event["event_id"] = json!(format!("{chat}-{n}"));
        }
        let mut rest = &events[..];
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(self.rng.usize(1..=rest.len()));
            self.deliver(batch);
            rest = later;
        }
        let books = self.books.entry(workflow).or_default();
        books.iter_mut().zip(book).for_each(|(sum, counted)| *sum += counted);
    }

    /// Sends a batch until it is acknowledged.
    fn deliver(&mut self, batch: &[Value]) {
        let (headers, body) = self.body(batch);
        loop {
            self.score.requests.fetch_add(1, Ordering::Relaxed);
            if self.rng.u8(..20) == 0 {
                self.send_and_go_away(&headers, &body);
            }
            match http::post(self.address, "/api/v1/events", &headers, &body) {
                Ok(answer) if answer.status == 202 => {
                    let said = answer.json();
                    assert_eq!((&said["rejected"], &said["durable"]), (&json!(0), &json!(true)));
                    let duplicates = said["duplicates"].as_u64().unwrap();
                    let sum = said["accepted"].as_u64().unwrap() + duplicates;
                    assert_eq!(sum, batch.len() as u64);
                    self.score.duplicates.fetch_add(duplicates, Ordering::Relaxed);
                    self.score.events.fetch_add(batch.len() as u64, Ordering::Relaxed);
                    return;
                }
                Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
                Err(_) => {}
            }
            self.score.retries.fetch_add(1, Ordering::Relaxed);
            pause(Duration::from_millis(self.rng.u64(1..20)));
        }
    }

    /// An array, or lines that are compressed.
    fn body(&mut self, batch: &[Value]) -> (Vec<(&'static str, &'static str)>, Vec<u8>) {
        if self.rng.bool() {
            let json = vec![("content-type", "application/json")];
            return (json, json!(batch).to_string().into_bytes());
        }
        let mut lines = GzEncoder::new(Vec::new(), Compression::fast());
        for event in batch {
            writeln!(lines, "{event}").unwrap();
        }
        let headers = vec![("content-type", "application/x-ndjson"), ("content-encoding", "gzip")];
        (headers, lines.finish().unwrap())
    }

    /// The answer gets lost.
    fn send_and_go_away(&mut self, headers: &[(&str, &str)], body: &[u8]) {
        let Ok(mut stream) = TcpStream::connect(self.address) else { return };
        let mut request = b"POST /api/v1/events HTTP/1.1\r\nhost: x\r\n".to_vec();
        for (name, value) in headers {
            request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        request.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        request.extend_from_slice(body);
        let sent = self.rng.usize(..=request.len());
        // It may be gone already.
        drop(stream.write_all(&request[..sent]));
        pause(Duration::from_millis(self.rng.u64(..4)));
    }
}

/// Scrapes and remembers the highest value of each counter. Returns how many samples were compared.
fn watch(address: SocketAddr, over: &AtomicBool) -> u64 {
    let mut highest: BTreeMap<String, f64> = BTreeMap::new();
    let mut samples = 0;
    while !over.load(Ordering::Relaxed) {
        pause(Duration::from_millis(10));
        let Ok(answer) = http::get(address, METRICS, &[]) else { continue };
        let shown = Exposition::parse(&answer.text());
        for family in FAMILIES {
            for sample in shown.all(family, &[]) {
                let name = format!("{family}{:?}", sample.labels);
                let before = highest.entry(name.clone()).or_default();
                assert!(sample.value >= *before, "{name} fell from {before} to {}", sample.value);
                *before = sample.value;
                samples += 1;
            }
        }
    }
    samples
}

fn start(dir: &std::path::Path, web: SocketAddr, control: SocketAddr) -> Exporter {
    Launch::new(dir)
        .runtime("app=")
        .flag("--web.listen-address", web.to_string())
        .flag("--control.listen-address", control.to_string())
        .start()
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures belong to the result")]
fn what_is_acknowledged_counts_once_however_often_it_is_killed() {
    let kills = std::env::var("MOZAIKS_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let seed = std::env::var("MOZAIKS_TEST_SEED").map_or(11, |seed| seed.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let [web, control] = [(); 2].map(|()| SocketAddr::from(([127, 0, 0, 1], quiet_port())));
    let (over, score) = (AtomicBool::new(false), Score::default());
    let mut rng = Rng::with_seed(seed);
    let begun = Instant::now();
    let (books, samples, exporter) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|name| {
                let (over, score) = (&over, &score);
                let rng = rng.fork();
                let books = Books::new();
                scope.spawn(move || {
                    let mut client = Client { rng, address: control, score, name, made: 0, books };
                    while !over.load(Ordering::Relaxed) {
                        client.chat();
                    }
                    client.books
                })
            })
            .collect();
        let scraper = scope.spawn(|| watch(web, &over));
        let mut exporter = start(dir.path(), web, control);
        for _ in 0..kills {
            pause(Duration::from_millis(rng.u64(LIFE)));
            exporter.kill();
            exporter = start(dir.path(), web, control);
        }
        over.store(true, Ordering::Relaxed);
        let books: Vec<Books> = clients.into_iter().map(|client| client.join().unwrap()).collect();
        (books, scraper.join().unwrap(), exporter)
    });
    let mut totals = Books::new();
    for (workflow, book) in books.into_iter().flatten() {
        let sums = totals.entry(workflow).or_default();
        sums.iter_mut().zip(book).for_each(|(sum, counted)| *sum += counted);
    }
    for (workflow, book) in &totals {
        let labels = [("workflow_name", workflow.as_str())];
        for (n, family) in FAMILIES.into_iter().enumerate() {
            let expected = if n == 5 { dollars(book[n]) } else { count(book[n]) };
            eventually(&format!("{family} of {workflow}"), || {
                let value = exporter.scrape().sum(family, &labels);
                if is_exact(value, expected) { Ok(()) } else { Err(format!("{value} {expected}")) }
            });
        }
    }
    let [events, requests, retries, duplicates] =
        [&score.events, &score.requests, &score.retries, &score.duplicates]
            .map(|number| number.load(Ordering::Relaxed));
    assert!(events > u64::from(kills) * 20 && retries > 0 && duplicates > 0, "too quiet a test");
    eprintln!(
        "{kills} kills in {:.0?}: {events} events acknowledged in {requests} requests, {retries} \
         sent again, {duplicates} events known; {samples} samples, no fall",
        begun.elapsed()
    );
}
