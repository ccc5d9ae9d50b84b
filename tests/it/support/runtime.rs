//! A runtime whose every answer is scripted, down to the bytes on the wire.
//!
//! Without a script it answers as the real one does, from the chats that the test gives it. It is
//! written on plain sockets, because half of its work is to answer as no HTTP library would.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_rustls::rustls::{ServerConnection, StreamOwned};

use super::chat::{Chat, iso, now};
use super::tls::Identity;
use super::wait::{eventually, pause};

/// The route that is polled first.
pub(crate) const AGGREGATE: &str = "/metrics/perf/aggregate";
/// The route that is polled where the first one fails.
pub(crate) const CHATS: &str = "/metrics/perf/chats";
/// The route that tells one process from the next.
pub(crate) const EVENTS: &str = "/api/events/metrics";

/// What a route answers.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Arc<[u8]>,
    delay: Duration,
    manner: Manner,
}

/// How an answer goes out.
#[derive(Debug, Clone, Copy)]
enum Manner {
    Whole,
    /// That many bytes of the body, then the connection is closed.
    CutAfter(usize),
    /// The body one byte at a time.
    Drip(Duration),
    /// Nothing at all, but our half of the connection is closed.
    HalfClose,
    /// Spaces without end, up to this many, with their number said in advance or not.
    Flood {
        bytes: u64,
        declared: bool,
    },
}

impl Answer {
    fn new(status: u16, content_type: &str, body: &[u8]) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
            delay: Duration::ZERO,
            manner: Manner::Whole,
        }
    }

    /// 200 with these bytes as JSON.
    pub(crate) fn body(body: impl AsRef<[u8]>) -> Self {
        Self::new(200, "application/json", body.as_ref())
    }

    /// 200 with this JSON.
    pub(crate) fn json(body: &Value) -> Self {
        Self::body(body.to_string())
    }

    /// 200 with a page for people.
    pub(crate) fn html(body: &str) -> Self {
        Self::new(200, "text/html; charset=utf-8", body.as_bytes())
    }

    /// An error in the runtime's words.
    pub(crate) fn detail(status: u16, detail: &str) -> Self {
        let body = json!({ "detail": detail }).to_string();
        Self::new(status, "application/json", body.as_bytes())
    }

    /// Byte for byte what a real runtime once answered.
    pub(crate) fn recorded(bytes: &[u8]) -> Self {
        let end = super::http::find(bytes, b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|l| l.split(' ').nth(1)).unwrap().parse().unwrap();
        let ours = ["date", "server", "content-length"];
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .filter(|(name, _)| !ours.contains(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let body = bytes[end + 4..].into();
        Self { status, headers, body, delay: Duration::ZERO, manner: Manner::Whole }
    }

    /// The status.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// The body read as JSON.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A redirect.
    pub(crate) fn redirect(to: &str) -> Self {
        let mut answer = Self::new(307, "text/plain", b"");
        answer.headers.push(("location".to_owned(), to.to_owned()));
        answer
    }

    /// Closes our half of the connection instead of answering.
    pub(crate) fn half_close() -> Self {
        Self { manner: Manner::HalfClose, ..Self::body("") }
    }

    /// The beginning of a JSON object, and then spaces.
    pub(crate) fn flood(bytes: u64, declared: bool) -> Self {
        Self { manner: Manner::Flood { bytes, declared }, ..Self::body(r#"{"chats":["#) }
    }

    /// Closes the connection after so many bytes of the body.
    pub(crate) fn cut_after(self, bytes: usize) -> Self {
        Self { manner: Manner::CutAfter(bytes), ..self }
    }

    /// Sends the body one byte at a time.
    pub(crate) fn drip(self, interval: Duration) -> Self {
        Self { manner: Manner::Drip(interval), ..self }
    }

    /// Waits first.
    pub(crate) fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// What the runtime holds and how it answers. Changed as a whole: no request sees half a change.
#[derive(Debug)]
pub(crate) struct World {
    /// When the process was created.
    pub(crate) created: DateTime<Utc>,
    /// Its clock; the real time if there is none.
    pub(crate) clock: Option<DateTime<Utc>>,
    /// The chat objects it shows, in order.
    pub(crate) chats: Vec<Value>,
    /// The bearer token that it wants.
    pub(crate) token: Option<String>,
    /// What every route answers, whatever is asked.
    pub(crate) everywhere: Option<Answer>,
    /// Routes that answer otherwise.
    pub(crate) routes: HashMap<String, Answer>,
}

impl World {
    fn now(&self) -> DateTime<Utc> {
        self.clock.unwrap_or_else(now)
    }

    /// Shows these chats and no others.
    pub(crate) fn hold(&mut self, chats: &[Chat]) {
        self.chats = chats.iter().map(Chat::json).collect();
    }

    fn answer(&self, path: &str, authorization: Option<&str>) -> Answer {
        if let Some(token) = &self.token
            && authorization != Some(&format!("Bearer {token}"))
        {
            return Answer::detail(401, "Invalid token format");
        }
        if let Some(answer) = &self.everywhere {
            return answer.clone();
        }
        if let Some(answer) = self.routes.get(path) {
            return answer.clone();
        }
        match path {
            AGGREGATE => Answer::json(&self.aggregate()),
            CHATS => Answer::json(&json!(self.chats)),
            EVENTS => Answer::json(&self.events()),
            "/health/active-runs" => Answer::json(&json!({
                "active_count": 0, "total_runs": 0, "runs": [],
                "note": "Registry tracking disabled for simplicity",
            })),
            "/api/health" => Answer::json(&json!({
                "status": "healthy", "mongodb": "connected", "mongodb_ping_ms": 1.8,
                "simple_transport": "initialized",
                "active_connections": {"websocket_connections": 0, "total_connections": 0},
                "workflows": [], "transport_groups": {}, "tools_available": false,
                "total_tools": 0, "health_check_time_ms": 1.88,
            })),
            _ => match path.strip_prefix("/metrics/perf/chats/") {
                Some(id) => self.chat(id),
                None => Answer::detail(404, "Not Found"),
            },
        }
    }

    fn aggregate(&self) -> Value {
        let sum = |key: &str| self.chats.iter().filter_map(|c| c[key].as_u64()).sum::<u64>();
        let active = self.chats.iter().filter(|chat| chat["ended_at"].is_null()).count();
        json!({
            "active_chats": active,
            "tracked_chats": self.chats.len(),
            "total_agent_turns": sum("agent_turns"),
            "total_tool_calls": sum("tool_calls"),
            "total_errors": sum("errors"),
            "total_prompt_tokens": sum("prompt_tokens"),
            "total_completion_tokens": sum("completion_tokens"),
            "total_cost": self.chats.iter().filter_map(|c| c["cost"].as_f64()).sum::<f64>(),
            "chats": self.chats,
        })
    }

    fn events(&self) -> Value {
        json!({
            "status": "success",
            "data": {
                "events_processed": 1, "events_failed": 0,
                "events_by_category": {"business": 1, "ui_tool": 0},
                "created": iso(self.created), "handler_count": 2, "timestamp": iso(self.now()),
            },
            "timestamp": iso(self.now()),
        })
    }

    fn chat(&self, id: &str) -> Answer {
        // The real runtime decodes before it routes, so an id with a slash is no route.
        let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy();
        if id.contains('/') {
            return Answer::detail(404, "Not Found");
        }
        match self.chats.iter().find(|chat| chat["chat_id"] == *id) {
            Some(chat) => Answer::json(chat),
            None => Answer::detail(404, "Chat not tracked"),
        }
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) at: Instant,
}

impl Request {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A runtime on a port of its own. It is gone when this is dropped.
pub(crate) struct FakeRuntime {
    address: SocketAddr,
    shared: Arc<Shared>,
    tls: Option<Identity>,
}

struct Shared {
    world: Mutex<World>,
    requests: Mutex<Vec<Request>>,
    /// Requests in answer now, and the most there were at once.
    in_answer: Mutex<(usize, usize)>,
    connections: Mutex<Vec<TcpStream>>,
    stop: AtomicBool,
}

impl FakeRuntime {
    /// Starts one without chats.
    pub(crate) fn start() -> Self {
        Self::start_on(0, None)
    }

    /// Starts one that speaks TLS.
    pub(crate) fn start_tls() -> Self {
        Self::start_on(0, Some(Identity::new()))
    }

    /// Starts one on that port.
    pub(crate) fn start_on(port: u16, tls: Option<Identity>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let address = listener.local_addr().unwrap();
        let world = World {
            created: now(),
            clock: None,
            chats: Vec::new(),
            token: None,
            everywhere: None,
            routes: HashMap::new(),
        };
        let shared = Arc::new(Shared {
            world: Mutex::new(world),
            requests: Mutex::default(),
            in_answer: Mutex::default(),
            connections: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let config = tls.as_ref().map(|identity| Arc::clone(&identity.server));
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stop.load(Ordering::Relaxed) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                let config = config.clone();
                lock(&shared.connections).push(stream.try_clone().unwrap());
                std::thread::spawn(move || {
                    // A client that goes away is none of the runtime's business.
                    drop(match config {
                        None => shared.serve(stream.try_clone().unwrap(), &stream),
                        Some(config) => ServerConnection::new(config)
                            .map_err(io::Error::other)
                            .and_then(|tls| {
                                let tls = StreamOwned::new(tls, stream.try_clone()?);
                                shared.serve(tls, &stream)
                            }),
                    });
                });
            }
        });
        Self { address, shared, tls }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The certificate of whoever vouches for it.
    pub(crate) fn ca_pem(&self) -> &str {
        &self.tls.as_ref().unwrap().ca_pem
    }

    /// What it holds, to be looked at or changed in one step.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.shared.world)
    }

    /// Shows these chats from now on.
    pub(crate) fn hold(&self, chats: &[Chat]) {
        self.world().hold(chats);
    }

    /// Answers a route otherwise from now on.
    pub(crate) fn script(&self, path: &str, answer: Answer) {
        self.world().routes.insert(path.to_owned(), answer);
    }

    /// Answers both routes that tell of all chats otherwise.
    pub(crate) fn script_both(&self, answer: &Answer) {
        let mut world = self.world();
        for path in [AGGREGATE, CHATS] {
            world.routes.insert(path.to_owned(), answer.clone());
        }
    }

    /// Answers every request alike.
    pub(crate) fn script_everything(&self, answer: &Answer) {
        self.world().everywhere = Some(answer.clone());
    }

    /// Answers as the real one again.
    pub(crate) fn heal(&self) {
        let mut world = self.world();
        world.everywhere = None;
        world.routes.clear();
    }

    /// The requests for that path so far.
    pub(crate) fn asked(&self, path: &str) -> Vec<Request> {
        let requests = lock(&self.shared.requests);
        requests.iter().filter(|r| r.target == path).cloned().collect()
    }

    /// The most requests that were in answer at one time.
    pub(crate) fn most_at_once(&self) -> usize {
        lock(&self.shared.in_answer).1
    }

    /// Waits until the present state was polled so many times. A poll is over when the next begins.
    pub(crate) fn wait_for_polls(&self, polls: usize) {
        let asked = || self.asked(AGGREGATE).len().max(self.asked(CHATS).len());
        let before = asked();
        eventually("the exporter polls on", || {
            let now = asked();
            if now > before + polls { Ok(()) } else { Err(format!("{} polls", now - before)) }
        });
    }
}

impl Drop for FakeRuntime {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        for connection in lock(&self.shared.connections).drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

impl Shared {
    fn serve(&self, mut stream: impl Read + Write, tcp: &TcpStream) -> io::Result<()> {
        let mut pending = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut pending)? {
            let path = request.target.split('?').next().unwrap_or_default().to_owned();
            let authorization = request.header("authorization").map(str::to_owned);
            let is_last = request.header("connection") == Some("close");
            lock(&self.requests).push(request);
            let (answer, date) = {
                let world = lock(&self.world);
                (world.answer(&path, authorization.as_deref()), world.now())
            };
            {
                let mut in_answer = lock(&self.in_answer);
                in_answer.0 += 1;
                in_answer.1 = in_answer.1.max(in_answer.0);
            }
            let kept = self.reply(&mut stream, tcp, &answer, date);
            lock(&self.in_answer).0 -= 1;
            if !kept? || is_last {
                break;
            }
        }
        tcp.shutdown(Shutdown::Both)
    }

    /// Returns whether the connection is kept.
    fn reply(
        &self,
        stream: &mut impl Write,
        tcp: &TcpStream,
        answer: &Answer,
        date: DateTime<Utc>,
    ) -> io::Result<bool> {
        pause(answer.delay);
        let date = date.format("%a, %d %b %Y %H:%M:%S GMT");
        let mut head = Vec::new();
        write!(head, "HTTP/1.1 {} -\r\ndate: {date}\r\nserver: uvicorn\r\n", answer.status)?;
        for (name, value) in &answer.headers {
            write!(head, "{name}: {value}\r\n")?;
        }
        match answer.manner {
            Manner::Flood { declared: false, .. } => {
                write!(head, "transfer-encoding: chunked\r\n\r\n")?;
            }
            Manner::Flood { bytes, declared: true } => {
                write!(head, "content-length: {bytes}\r\n\r\n")?;
            }
            _ => write!(head, "content-length: {}\r\n\r\n", answer.body.len())?,
        }
        match answer.manner {
            Manner::Whole => {
                stream.write_all(&[&*head, &answer.body].concat())?;
                stream.flush()?;
                Ok(!answer.headers.iter().any(|(name, value)| {
                    name == "connection" && value.eq_ignore_ascii_case("close")
                }))
            }
            Manner::CutAfter(bytes) => {
                stream.write_all(&head)?;
                stream.write_all(answer.body.get(..bytes).unwrap_or(&answer.body))?;
                stream.flush()?;
                Ok(false)
            }
            Manner::Drip(interval) => {
                stream.write_all(&head)?;
                for byte in &*answer.body {
                    stream.write_all(&[*byte])?;
                    stream.flush()?;
                    if self.stop.load(Ordering::Relaxed) {
                        return Ok(false);
                    }
                    pause(interval);
                }
                Ok(true)
            }
            Manner::HalfClose => {
                tcp.shutdown(Shutdown::Write)?;
                tcp.set_read_timeout(Some(Duration::from_secs(5)))?;
                drop((&*tcp).read(&mut [0; 64]));
                Ok(false)
            }
            Manner::Flood { bytes, declared } => {
                stream.write_all(&head)?;
                flood(stream, &answer.body, bytes, declared)?;
                Ok(true)
            }
        }
    }
}

fn flood(stream: &mut impl Write, start: &[u8], bytes: u64, declared: bool) -> io::Result<()> {
    let mut piece = start.to_vec();
    let mut left = bytes;
    while left > 0 {
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= piece.len() as u64;
        if declared {
            stream.write_all(&piece)?;
        } else {
            let size = format!("{:x}\r\n", piece.len());
            stream.write_all(&[size.as_bytes(), &piece, b"\r\n"].concat())?;
        }
        piece = vec![b' '; 64 * 1024];
    }
    if !declared {
        stream.write_all(b"0\r\n\r\n")?;
    }
    stream.flush()
}

/// Reads one request head; `None` where the client has left.
fn read_request(stream: &mut impl Read, pending: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let end = loop {
        if let Some(end) = super::http::find(pending, b"\r\n\r\n") {
            break end;
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(None),
            Ok(read) => pending.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    let head = String::from_utf8_lossy(&pending[..end]).into_owned();
    pending.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    Ok(Some(Request {
        target: target.to_owned(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        at: Instant::now(),
    }))
}

/// A thread that failed elsewhere has its own report; what it held is still looked at.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
