//! What each path answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::sync::{Semaphore, watch};
use tokio::task::{spawn_blocking, yield_now};

use super::body::Payload;
use super::reply::{
    JSON, PLAIN, denied, error, finished, method_not_allowed, not_found, ok, respond,
};
use super::status::Status;
use super::{Handler, OPENAPI, Peer, json, negotiate};
use crate::access::Gate;
use crate::ledger::Visitor;
use crate::metrics::{Answer, Engine, Parts, Process, Scrape, Show, Wanted};
use crate::store::Shared;
use crate::telemetry::Telemetry;

/// Prometheus, vmagent and their kin say with it how long they wait.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// Chats that are written and compressed beside the tasks: some milliseconds.
const LONG: usize = 4096;
/// The user agent is part of a scraper's name up to here.
const MAX_AGENT: usize = 128;

/// What all requests share.
#[derive(Debug)]
pub struct Site {
    /// The ledger.
    pub ledger: Arc<Shared>,
    /// The exporter's own numbers.
    pub telemetry: Arc<Telemetry>,
    /// What makes the expositions.
    pub engine: Engine,
    /// Who may ask.
    gate: Arc<Gate>,
    /// For one scrape at a time.
    turn: Semaphore,
    status: Status,
}

impl Site {
    /// Shows the ledger.
    pub fn new(
        ledger: Arc<Shared>,
        telemetry: Arc<Telemetry>,
        show: Show,
        gate: Arc<Gate>,
    ) -> Self {
        let status = Status::new(&ledger, &telemetry);
        let (engine, turn) = (Engine::new(show), Semaphore::new(1));
        Self { ledger, telemetry, engine, gate, turn, status }
    }

    /// Remembers the last hour for the status page, until `stop` is true.
    pub async fn remember(self: Arc<Self>, stop: watch::Receiver<bool>) {
        self.status.remember(&self.ledger, &self.telemetry, stop).await;
    }
}

/// Handlers, in the words of the `handler` label.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Route {
    Metrics,
    Aggregate,
    Chats,
    Chat(String),
    ActiveRuns,
    Health,
    Healthy,
    Ready,
    OpenApi,
    Landing,
    Status,
    Unknown,
}

impl Route {
    fn of(path: &str) -> Self {
        match path {
            "/metrics" | "/metrics/prometheus" => Self::Metrics,
            "/metrics/perf/aggregate" => Self::Aggregate,
            "/metrics/perf/chats" => Self::Chats,
            "/health/active-runs" => Self::ActiveRuns,
            "/api/health" => Self::Health,
            "/-/healthy" => Self::Healthy,
            "/-/ready" => Self::Ready,
            "/openapi.json" => Self::OpenApi,
            "/" => Self::Landing,
            "/-/status" => Self::Status,
            _ => match path.strip_prefix("/metrics/perf/chats/") {
                Some(id) if !id.is_empty() => {
                    Self::Chat(percent_decode_str(id).decode_utf8_lossy().into_owned())
                }
                _ => Self::Unknown,
            },
        }
    }

    /// Whether whoever asks is told, so that what watches over the process needs no secret.
    fn is_open(&self) -> bool {
        matches!(self, Self::Healthy | Self::Ready)
    }

    fn label(&self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Aggregate => "aggregate",
            Self::Chats => "chats",
            Self::Chat(_) => "chat",
            Self::ActiveRuns => "active_runs",
            Self::Health => "health",
            Self::Healthy => "healthy",
            Self::Ready => "ready",
            Self::OpenApi => "openapi",
            Self::Landing => "landing",
            Self::Status => "status",
            Self::Unknown => "unknown",
        }
    }
}

impl Handler for Site {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Payload> {
        let start = Instant::now();
        let route = Route::of(request.uri().path());
        let handler = route.label();
        let admitted = if route.is_open() {
            Ok(())
        } else {
            self.gate.admit(request.headers(), peer.address).await
        };
        let response = match (admitted, request.method()) {
            (Err(why), _) => denied(&why),
            _ if route == Route::Unknown => not_found(request.uri().path(), "/ lists what is"),
            (Ok(()), &Method::GET | &Method::HEAD) => self.get(route, &request, peer).await,
            (Ok(()), method) => method_not_allowed(method, "GET, HEAD"),
        };
        let wanted = request.headers();
        finished(response, wanted, &self.gate, &self.telemetry, handler, start.elapsed())
    }

    fn hang_up(&self, connection: u64) {
        self.ledger.lock().hang_up(connection);
    }
}

impl Site {
    async fn get<B>(
        self: &Arc<Self>,
        route: Route,
        request: &Request<B>,
        peer: Peer,
    ) -> Response<Payload> {
        let now = self.ledger.clock().now().wall;
        let users = &self.engine.show().users;
        match route {
            Route::Metrics => self.metrics(request, peer).await,
            Route::Aggregate => {
                let body = json::aggregate(&self.ledger.lock(), users, now);
                ok(JSON, body)
            }
            Route::Chats => ok(JSON, json::chats(&self.ledger.lock(), users, now)),
            Route::Chat(id) => {
                let body = json::chat(&self.ledger.lock(), &id, users, now);
                body.map_or_else(
                    || error(StatusCode::NOT_FOUND, "Chat not tracked"),
                    |body| ok(JSON, body),
                )
            }
            Route::ActiveRuns => ok(JSON, json::active_runs(&self.ledger.lock())),
            Route::Health => {
                let (well, body) = json::health(&self.ledger.lock(), now);
                let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                respond(status, JSON, body)
            }
            Route::Healthy => ok(PLAIN, "mozaiks-exporter is healthy\n"),
            Route::Ready => {
                if json::is_ready(&self.ledger.lock()) {
                    ok(PLAIN, "mozaiks-exporter is ready\n")
                } else {
                    let body = "not every runtime has been asked yet\n";
                    respond(StatusCode::SERVICE_UNAVAILABLE, PLAIN, body)
                }
            }
            Route::OpenApi => ok(JSON, OPENAPI),
            Route::Landing => {
                let numbers = self.telemetry.lock().clone();
                self.status.page(&self.ledger.lock(), &numbers, self.engine.show(), now)
            }
            Route::Status => {
                let numbers = self.telemetry.lock().clone();
                self.status.fragment(&self.ledger.lock(), &numbers, self.engine.show(), now)
            }
            Route::Unknown => error(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    async fn metrics<B>(self: &Arc<Self>, request: &Request<B>, peer: Peer) -> Response<Payload> {
        let Some(format) = negotiate::format(request.headers()) else {
            let detail = "metrics come as text/plain; version=0.0.4 or \
                          application/openmetrics-text; version=1.0.0";
            return error(StatusCode::NOT_ACCEPTABLE, detail);
        };
        let wanted = Wanted { format, packed: negotiate::takes_gzip(request.headers()) };
        let visitor = (request.method() == Method::GET).then(|| visitor(request.headers(), peer));
        // Half of the scraper's time is for the disk, at most.
        let patience = visitor.as_ref().and_then(|visitor| visitor.timeout);
        let patience = patience.map_or(Duration::MAX, |timeout| timeout / 2);
        let (process, numbers) = (Process::read(), self.telemetry.lock().clone());
        // What one has compressed the next can use.
        let turn = self.turn.acquire().await;
        let (ticket, mut scrape, mut version) = {
            let mut ledger = self.ledger.lock();
            let now = self.ledger.clock().now();
            let ticket = visitor.map(|visitor| ledger.scrape_begins(&visitor, now));
            let mut scrape = self.engine.begin(&ledger, &numbers, process, wanted, now);
            self.engine.gather(&mut scrape, &ledger);
            (ticket, scrape, ledger.version())
        };
        while scrape.goes_on() {
            // Whoever waits for the ledger comes first.
            yield_now().await;
            let ledger = self.ledger.lock();
            self.engine.gather(&mut scrape, &ledger);
            version = ledger.version();
        }
        let answer = self.finish(scrape).await;
        // Nobody else has to wait while this one waits for the disk.
        drop(turn);
        // Nothing is shown that a crash could take back.
        self.ledger.settled(version, patience).await;
        let Some(answer) = answer else {
            return error(StatusCode::SERVICE_UNAVAILABLE, "the exporter is ending");
        };
        self.telemetry.lock().answers.series = answer.samples();
        let shared = Arc::clone(&self.ledger);
        let body = match answer.into_parts() {
            Parts::Packed(parts) => Payload::of_parts(parts),
            Parts::Plain(parts) => Payload::made(parts),
        };
        let body = body.on_last(move |_| {
            if let Some(ticket) = ticket {
                shared.lock().scrape_served(ticket);
            }
        });
        let mut response = Response::new(body);
        let content_type = HeaderValue::from_static(format.content_type());
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        if wanted.packed {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    /// Writes an answer; beside the tasks where that takes its time.
    async fn finish(self: &Arc<Self>, scrape: Scrape) -> Option<Answer> {
        if scrape.effort() < LONG {
            return Some(self.engine.finish(scrape));
        }
        let site = Arc::clone(self);
        // It fails only where the process is about to end.
        spawn_blocking(move || site.engine.finish(scrape)).await.ok()
    }
}

/// Names the scraper behind a request.
fn visitor(headers: &HeaderMap, peer: Peer) -> Visitor {
    let agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
    let agent: String = String::from_utf8_lossy(agent).chars().take(MAX_AGENT).collect();
    let address = peer.address.map(|address| address.to_string()).unwrap_or_default();
    let timeout = headers
        .get(SCRAPE_TIMEOUT)
        .and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    Visitor { name: format!("{address} {agent}"), connection: peer.connection, timeout }
}
