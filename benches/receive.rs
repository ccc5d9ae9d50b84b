//! How many events a second come in, how long an acknowledgement takes and what it costs, with
//! everything on the disk before it is answered; beside Debian's `prometheus-pushgateway`, which keeps
//! nothing on the disk, where it is on `PATH`.
//!
//! `cargo bench --bench receive -- [SECONDS] [CONNECTIONS]`

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so by stopping")]
#![expect(clippy::disallowed_methods, reason = "this is no part of the exporter")]
#![expect(clippy::print_stdout, reason = "its figures are its result")]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Ticks of `/proc/PID/stat` in a second.
const TICKS: f64 = 100.0;
/// Chats that the events are about.
const CHATS: u64 = 100;

/// A server that is ended with this.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    fn exporter(dir: &std::path::Path) -> Self {
        let addresses = [(); 2].map(|()| free_address());
        let child = Command::new(env!("CARGO_BIN_EXE_mozaiks-exporter"))
            .args(["--runtime.url", "app=", "--log.format", "json"])
            .args(["--web.listen-address", &addresses[0].to_string()])
            .args(["--control.listen-address", &addresses[1].to_string()])
            .arg("--state-dir")
            .arg(dir)
            .stderr(Stdio::null())
            .spawn();
        Self::wait(child.unwrap(), addresses[1])
    }

    fn pushgateway() -> Option<Self> {
        let address = free_address();
        let child = Command::new("prometheus-pushgateway")
            .args(["--push.disable-consistency-check", "--web.listen-address"])
            .arg(address.to_string())
            .stderr(Stdio::null())
            .spawn();
        Some(Self::wait(child.ok()?, address))
    }

    fn wait(child: Child, address: SocketAddr) -> Self {
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, address }
    }

    /// CPU seconds of the process so far.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
        fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS
    }

    /// Resident memory in MiB.
    fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One request, for a number that no other has.
type Request = fn(u64) -> Vec<u8>;

fn request(line: &str, content_type: &str, body: &str) -> Vec<u8> {
    let size = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: bench\r\ncontent-type: {content_type}\r\n\
         content-length: {size}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn event(number: u64, out: &mut String) {
    write!(
        out,
        r#"{{"event":"agent_turn","event_id":"5f3a9c1e-{number:016x}","ts":"2026-01-18T01:58:06Z",
        "chat_id":"d8a84353-ed69-4fee-8326-{:012}","app_id":"acme","workflow_name":"LeadScoring",
        "user_id":"u-0007","agent_name":"planner","model":"gpt-4o-mini","duration_sec":2.5,
        "prompt_tokens":1500,"completion_tokens":800,"cost":0.05}}"#,
        number % CHATS
    )
    .unwrap();
}

fn one(number: u64) -> Vec<u8> {
    let mut body = String::new();
    event(number, &mut body);
    request("POST /api/v1/events", "application/json", &body)
}

fn hundred(number: u64) -> Vec<u8> {
    let mut body = String::from("[");
    for index in 0..100 {
        body.push_str(if index == 0 { "" } else { "," });
        event(number * 100 + index, &mut body);
    }
    body.push(']');
    request("POST /api/v1/events", "application/json", &body)
}

/// Ten metrics of one group, as a client library pushes them.
fn push(number: u64) -> Vec<u8> {
    let mut body = String::new();
    for metric in 0..10 {
        writeln!(body, "# TYPE bench_metric_{metric} gauge\nbench_metric_{metric} {number}")
            .unwrap();
    }
    let group = number % CHATS;
    request(&format!("PUT /metrics/job/bench/chat/{group}"), "text/plain; version=0.0.4", &body)
}

/// Sends on one connection until the time is over. Returns how long each answer took.
fn client(
    address: SocketAddr,
    request: Request,
    numbers: &AtomicU64,
    end: Instant,
) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let mut times = Vec::new();
    let mut line = String::new();
    while Instant::now() < end {
        let bytes = request(numbers.fetch_add(1, Ordering::Relaxed));
        let sent = Instant::now();
        stream.write_all(&bytes).unwrap();
        line.clear();
        answers.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 20"), "{line}");
        let mut size = 0;
        while line != "\r\n" {
            line.clear();
            answers.read_line(&mut line).unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                size = value.trim().parse().unwrap();
            }
        }
        answers.by_ref().take(size).read_to_end(&mut Vec::new()).unwrap();
        times.push(sent.elapsed());
    }
    times
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
fn measure(name: &str, server: &Server, request: Request, per_request: u64, args: (u64, usize)) {
    let (seconds, connections) = args;
    let numbers = AtomicU64::new(0);
    let (cpu, begun) = (server.cpu(), Instant::now());
    let end = begun + Duration::from_secs(seconds);
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let work = || client(server.address, request, &numbers, end);
        let clients: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let (took, cpu) = (begun.elapsed().as_secs_f64(), server.cpu() - cpu);
    times.sort_unstable();
    let requests = times.len();
    let at = |share: usize| times[requests * share / 1000].as_secs_f64() * 1e3;
    let events = requests as f64 * per_request as f64;
    println!(
        "| {name} | {connections} | {:.0} | {:.0} | {:.1} | {:.2} | {:.2} | {} |",
        requests as f64 / took,
        events / took,
        cpu * 1e6 / events,
        at(500),
        at(990),
        server.rss(),
    );
}

fn main() {
    let args: Vec<u64> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let seconds = args.first().copied().unwrap_or(5);
    let connections = args.get(1).map_or(16, |n| usize::try_from(*n).unwrap());
    println!(
        "| what | connections | requests/s | events/s | µs CPU an event | p50 ms | p99 ms | RSS MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, request, per_request) in
        [("1 event", one as Request, 1), ("100 events", hundred as Request, 100)]
    {
        for connections in [1, connections] {
            let dir = tempfile::tempdir().unwrap();
            let server = Server::exporter(dir.path());
            measure(name, &server, request, per_request, (seconds, connections));
        }
    }
    let Some(server) = Server::pushgateway() else {
        println!("prometheus-pushgateway is not on PATH: nothing to compare with");
        return;
    };
    for connections in [1, connections] {
        measure("pushgateway, a push of ten", &server, push, 1, (seconds, connections));
    }
}
