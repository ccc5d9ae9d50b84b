//! What each path answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::body::Payload;
use super::reply::{
    HTML, JSON, PLAIN, compressed, count, error, method_not_allowed, not_found, ok, respond,
};
use super::{Handler, OPENAPI, Peer, json, negotiate, page};
use crate::ledger::Visitor;
use crate::metrics::{Show, View, render};
use crate::store::Shared;
use crate::telemetry::Telemetry;

/// Prometheus, vmagent and their kin say with it how long they wait.
const SCRAPE_TIMEOUT: &str = "x-prometheus-scrape-timeout-seconds";
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
            Self::OpenApi => "openapi",
            Self::Landing => "landing",
            Self::Unknown => "unknown",
        }
    }
}

impl Handler for Site {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Payload> {
        let start = Instant::now();
        let route = Route::of(request.uri().path());
        let handler = route.label();
        let response = match *request.method() {
            _ if route == Route::Unknown => not_found(request.uri().path(), "/ lists what is"),
            Method::GET | Method::HEAD => self.get(route, &request, peer).await,
            _ => method_not_allowed(request.method(), "GET, HEAD"),
        };
        let response = compressed(response, request.headers());
        count(&self.telemetry, handler, &response, start.elapsed());
        response
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
                ok(HTML, page::landing(&self.ledger.lock(), &numbers, now))
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
