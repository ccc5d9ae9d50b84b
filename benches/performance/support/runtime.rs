//! A runtime that tells of a [`World`] over HTTP, as the real one does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::workload::World;

const EVENTS: &[u8] = br#"{"status":"success","data":{"events_processed":1,"events_failed":0,"events_by_category":{"business":1,"ui_tool":0},"created":"2026-01-18T01:58:00.000000+00:00","custom_events_emitted":0,"custom_events_by_type":{},"handler_count":2,"timestamp":"2026-11-22T01:45:54.732886+00:00"},"timestamp":"2026-11-22T01:45:54.732911+00:00"}"#;
const HEALTH: &[u8] = br#"{"status":"healthy","mongodb":"connected","mongodb_ping_ms":0.5,"active_connections":{"websocket_connections":3}}"#;

/// The server. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    body: Mutex<Arc<Vec<u8>>>,
    told: AtomicU64,
}

impl Runtime {
    /// Serves a world on a port of loopback.
    pub(crate) fn start(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let body = Mutex::new(Arc::new(world.aggregate()));
        let told = AtomicU64::new(0);
        let shared = Arc::new(Shared { world: Mutex::new(world), body, told });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the world; the next answer tells of it.
    pub(crate) fn change(&self, change: impl FnOnce(&mut World)) {
        let mut world = self.shared.world.lock().unwrap();
        change(&mut world);
        *self.shared.body.lock().unwrap() = Arc::new(world.aggregate());
    }

    /// Size of an answer.
    pub(crate) fn body_bytes(&self) -> usize {
        self.shared.body.lock().unwrap().len()
    }

    /// How often all chats were told.
    pub(crate) fn told(&self) -> u64 {
        self.shared.told.load(Ordering::SeqCst)
    }
}

impl Shared {
    /// Answers on one connection until it ends.
    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?);
        let mut stream = stream;
        loop {
            let mut request = String::new();
            lines.read_line(&mut request).ok().filter(|read| *read > 0)?;
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
            }
            let path = request.split(' ').nth(1)?;
            let mut answer = |status: &str, body: &[u8]| {
                let date = chrono::DateTime::from(std::time::SystemTime::now()).to_rfc2822();
                let date = date.replace("+0000", "GMT");
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status}\r\ndate: {date}\r\ncontent-type: application/json\r\n\
                     content-length: {length}\r\n\r\n"
                );
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok()
            };
            match path {
                "/metrics/perf/aggregate" => {
                    let body = Arc::clone(&self.body.lock().unwrap());
                    answer("200 OK", &body)?;
                    self.told.fetch_add(1, Ordering::SeqCst);
                }
                "/api/events/metrics" => answer("200 OK", EVENTS)?,
                "/api/health" => answer("200 OK", HEALTH)?,
                _ => answer("404 Not Found", br#"{"detail":"Not Found"}"#)?,
            }
        }
    }
}
