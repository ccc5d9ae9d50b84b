//! What each path answers.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderValue, USER_AGENT, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::body::Payload;
use super::{json, negotiate, page};
use crate::ledger::Visitor;
use crate::metrics::{Show, View, render};
use crate::store::Shared;
use crate::telemetry::{OWN_BOUNDS, Telemetry};

const JSON: &str = "application/json";
const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
/// Prometheus, vmagent and their kin say with it how long they wait.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
/// Bodies below it are not worth compressing.
const SMALLEST_GZIP: usize = 1024;
/// The user agent is part of a scraper's name up to here.
const MAX_AGENT: usize = 128;

/// What all requests share.
#[derive(Debug)]
pub struct Site {
    /// The ledger.
    pub ledger: Arc<Shared>,
    /// The exporter's own numbers.
    pub telemetry: Arc<Telemetry>,
    /// How things are shown.
    pub show: Show,
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    pub(super) address: Option<IpAddr>,
    pub(super) connection: u64,
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
    Landing,
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
            "/" => Self::Landing,
            _ => match path.strip_prefix("/metrics/perf/chats/") {
                Some(id) if !id.is_empty() => {
                    Self::Chat(percent_decode_str(id).decode_utf8_lossy().into_owned())
                }
                _ => Self::Unknown,
            },
        }
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
            Self::Landing => "landing",
            Self::Unknown => "unknown",
        }
    }
}

impl Site {
    /// Answers one request.
    pub(super) async fn answer<B>(
        self: &Arc<Self>,
        request: Request<B>,
        peer: Peer,
    ) -> Response<Payload> {
        let start = Instant::now();
        let route = Route::of(request.uri().path());
        let handler = route.label();
        let response = match *request.method() {
            _ if route == Route::Unknown => {
                let path = request.uri().path();
                let known = path.chars().take(200).collect::<String>();
                error(
                    StatusCode::NOT_FOUND,
                    format!("there is nothing at {known}; / lists what is"),
                )
            }
            Method::GET | Method::HEAD => self.get(route, &request, peer).await,
            _ => {
                let method = request.method();
                let detail = format!("{method} is not for this path; GET and HEAD are");
                let mut response = error(StatusCode::METHOD_NOT_ALLOWED, detail);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        };
        let response = compressed(response, request.headers());
        self.count(handler, &response, start.elapsed());
        response
    }

    async fn get<B>(
        self: &Arc<Self>,
        route: Route,
        request: &Request<B>,
        peer: Peer,
    ) -> Response<Payload> {
        let now = self.ledger.clock().now().wall;
        let users = &self.show.users;
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
                    || error(StatusCode::NOT_FOUND, "Chat not tracked".into()),
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
            Route::Landing => {
                let numbers = self.telemetry.lock().clone();
                ok(HTML, page::landing(&self.ledger.lock(), &numbers, now))
            }
            Route::Unknown => error(StatusCode::NOT_FOUND, "there is nothing here".into()),
        }
    }

    async fn metrics<B>(self: &Arc<Self>, request: &Request<B>, peer: Peer) -> Response<Payload> {
        let Some(format) = negotiate::format(request.headers()) else {
            let detail = "metrics come as text/plain; version=0.0.4 or \
                          application/openmetrics-text; version=1.0.0";
            return error(StatusCode::NOT_ACCEPTABLE, detail.into());
        };
        let visitor = (request.method() == Method::GET).then(|| visitor(request.headers(), peer));
        let numbers = self.telemetry.lock().clone();
        let (text, series, version, ticket) = {
            let mut ledger = self.ledger.lock();
            let now = self.ledger.clock().now();
            let ticket = visitor.map(|visitor| ledger.scrape_begins(&visitor, now));
            let (text, series) = render(&View::new(&ledger, &numbers, &self.show, now), format);
            (text, series, ledger.version(), ticket)
        };
        self.telemetry.lock().answers.series = series;
        // Nothing is shown that a crash could take back.
        self.ledger.settled(version).await;
        let shared = Arc::clone(&self.ledger);
        let body = Payload::new(text).on_last(move || {
            if let Some(ticket) = ticket {
                shared.lock().scrape_served(ticket);
            }
        });
        let mut response = Response::new(body);
        let content_type = HeaderValue::from_static(format.content_type());
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }

    fn count(&self, handler: &'static str, response: &Response<Payload>, took: Duration) {
        let encoded = response.headers().contains_key(CONTENT_ENCODING);
        let encoding = if encoded { "gzip" } else { "identity" };
        let answers = &mut self.telemetry.lock().answers;
        *answers.requests.entry((handler, response.status().as_u16())).or_default() += 1;
        *answers.bytes.entry(encoding).or_default() += response.body().len() as u64;
        answers.durations.entry(handler).or_default().observe(OWN_BOUNDS, took.as_secs_f64());
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

fn ok(content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response<Payload> {
    respond(StatusCode::OK, content_type, body)
}

/// An error as JSON, in the runtime's own shape.
fn error(status: StatusCode, detail: String) -> Response<Payload> {
    respond(status, JSON, json::bytes(&json::ErrorBody { detail }))
}

fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<bytes::Bytes>,
) -> Response<Payload> {
    let mut response = Response::new(Payload::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if content_type == HTML {
        let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'");
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Compresses a body that is worth it for a client that takes it.
fn compressed(response: Response<Payload>, wanted: &HeaderMap) -> Response<Payload> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if body.len() < SMALLEST_GZIP || !negotiate::takes_gzip(wanted) {
        return Response::from_parts(head, body);
    }
    let body = body.map_bytes(|bytes| {
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
        let written = encoder.write_all(&bytes).and_then(|()| encoder.finish());
        written.expect("writing to memory does not fail")
    });
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(head, body)
}
