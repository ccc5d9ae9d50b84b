//! What each path of the control listener answers.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::body::{Held, Room, discard};
use super::intake::{Intake, Outcome};
use super::refusal::Refusal;
use super::reload::{ReloadError, Reloads};
use crate::access::{Gate, check_origin};
use crate::model::RuntimeId;
use crate::server::reply::{
    JSON, PLAIN, finished, json, method_not_allowed, not_found, ok, respond,
};
use crate::server::{Handler, OPENAPI, Payload, Peer};
use crate::sources::receive::Shape;
use crate::store::Kept;

/// Bodies above it are read aside, so that nobody waits for them, in bytes.
const LARGE: usize = 64 << 10;

/// The control listener.
#[derive(Debug)]
pub struct Control {
    intake: Arc<Intake>,
    gate: Arc<Gate>,
    reloads: Option<Reloads>,
    room: Room,
}

/// Handlers, in the words of the `handler` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Events,
    UsageIngest,
    Reload,
    Healthy,
    Ready,
    OpenApi,
    Unknown,
}

impl Route {
    fn of(path: &str) -> Self {
        match path {
            "/api/v1/events" => Self::Events,
            "/usage/ingest" => Self::UsageIngest,
            "/-/reload" => Self::Reload,
            "/-/healthy" => Self::Healthy,
            "/-/ready" => Self::Ready,
            "/openapi.json" => Self::OpenApi,
            _ => Self::Unknown,
        }
    }

    /// Whether whoever asks is told, so that what watches over the process needs no secret.
    fn is_open(self) -> bool {
        matches!(self, Self::Healthy | Self::Ready)
    }

    fn label(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::UsageIngest => "usage_ingest",
            Self::Reload => "reload",
            Self::Healthy => "control_healthy",
            Self::Ready => "control_ready",
            Self::OpenApi => "control_openapi",
            Self::Unknown => "control_unknown",
        }
    }
}

/// What became of a batch.
#[derive(Serialize)]
struct OutcomeBody {
    accepted: u64,
    duplicates: u64,
    rejected: usize,
    errors: Vec<ItemBody>,
    durable: bool,
}

#[derive(Serialize)]
struct ItemBody {
    index: usize,
    error: String,
}

impl Handler for Control {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Payload> {
        let start = Instant::now();
        let route = Route::of(request.uri().path());
        let (head, mut body) = request.into_parts();
        let answered = if let Err(refusal) = self.admit(route, &head, peer).await {
            Err(refusal)
        } else {
            self.route(route, &head, &mut body).await
        };
        if answered.is_err() && !head.headers.contains_key(EXPECT) {
            discard(&mut body).await;
        }
        let response = answered.unwrap_or_else(|refusal| refusal.response());
        let (gate, telemetry) = (&self.gate, &self.intake.telemetry);
        finished(response, &head.headers, gate, telemetry, route.label(), start.elapsed())
    }
}

impl Control {
    /// Hands in what is pushed by those whom the gate admits.
    pub fn new(intake: Intake, gate: Arc<Gate>, reloads: Option<Reloads>) -> Self {
        Self { intake: Arc::new(intake), gate, reloads, room: Room::default() }
    }

    async fn admit(&self, route: Route, head: &Parts, peer: Peer) -> Result<(), Refusal> {
        if route.is_open() {
            return Ok(());
        }
        // Whoever has to show a secret cannot be a page that has borrowed the name of this machine.
        let by_name = peer.is_local && !self.gate.asks();
        check_origin(&head.headers, head.uri.authority(), by_name)?;
        Ok(self.gate.admit(&head.headers, peer.address).await?)
    }

    async fn route(
        &self,
        route: Route,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<Response<Payload>, Refusal> {
        let get = matches!(head.method, Method::GET | Method::HEAD);
        let post = head.method == Method::POST;
        Ok(match route {
            Route::Unknown => not_found(head.uri.path(), "POST /api/v1/events or /usage/ingest"),
            Route::Healthy if get => ok(PLAIN, "mozaiks-exporter is healthy\n"),
            Route::Ready if get && self.intake.ledger.is_failing() => {
                let body = "the state cannot be written to the disk for now\n";
                respond(StatusCode::SERVICE_UNAVAILABLE, PLAIN, body)
            }
            Route::Ready if get => ok(PLAIN, "mozaiks-exporter is ready\n"),
            Route::OpenApi if get => ok(JSON, OPENAPI),
            Route::Healthy | Route::Ready | Route::OpenApi => {
                method_not_allowed(&head.method, "GET, HEAD")
            }
            Route::Events | Route::UsageIngest | Route::Reload if !post => {
                method_not_allowed(&head.method, "POST")
            }
            Route::Events | Route::UsageIngest => self.receive(route, head, body).await?,
            Route::Reload => {
                let reloads = self.reloads.as_ref().ok_or(ReloadError::Ending)?;
                ok(JSON, json(&reloads.ask().await?))
            }
        })
    }

    async fn receive(
        &self,
        route: Route,
        head: &Parts,
        body: &mut Incoming,
    ) -> Result<Response<Payload>, Refusal> {
        // Whoever sends no id is counted twice if we take something that we cannot keep.
        if self.intake.ledger.is_failing() {
            return Err(Refusal::NotKept);
        }
        let runtime = self.runtime(head.uri.query())?;
        let shape = shape(&head.headers)?;
        let is_gzip = is_gzip(&head.headers)?;
        let held = self.room.read(body).await?;
        let (intake, room) = (Arc::clone(&self.intake), self.room.clone());
        let is_large = held.bytes.len() > LARGE || is_gzip;
        let work = move || take(&intake, &room, route, &held, is_gzip, shape, &runtime);
        let outcome = if is_large {
            tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::Stopping)??
        } else {
            work()?
        };
        let kept = self.intake.kept(&outcome).await.map_err(|_| Refusal::NotKept)?;
        if route == Route::UsageIngest && outcome.duplicates > 0 {
            return Err(Refusal::Known);
        }
        let counted = outcome.accepted + outcome.duplicates;
        let status = if counted == 0 && !outcome.refused.is_empty() {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            StatusCode::ACCEPTED
        };
        let errors = outcome.refused.iter();
        let errors =
            errors.map(|(index, error)| ItemBody { index: *index, error: error.to_string() });
        let body = OutcomeBody {
            accepted: outcome.accepted,
            duplicates: outcome.duplicates,
            rejected: outcome.refused.len(),
            errors: errors.collect(),
            durable: kept == Kept::OnDisk,
        };
        Ok(respond(status, JSON, json(&body)))
    }

    /// The runtime that the query names, or the first.
    fn runtime(&self, query: Option<&str>) -> Result<(Arc<str>, RuntimeId), Refusal> {
        let mut pairs =
            query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let name = pairs.find(|(key, _)| *key == "runtime").map(|(_, value)| {
            let value = value.replace('+', " ");
            percent_decode_str(&value).decode_utf8_lossy().into_owned()
        });
        let runtime = self.intake.runtime(name.as_deref());
        runtime.ok_or_else(|| Refusal::UnknownRuntime { known: self.intake.known() })
    }
}

fn take(
    intake: &Intake,
    room: &Room,
    route: Route,
    held: &Held,
    is_gzip: bool,
    shape: Shape,
    runtime: &(Arc<str>, RuntimeId),
) -> Result<Outcome, Refusal> {
    let unpacked;
    let body = if is_gzip {
        unpacked = room.unpack(held)?;
        &unpacked.bytes
    } else {
        &held.bytes
    };
    if route == Route::Events {
        return Ok(intake.events(body, shape, runtime)?);
    }
    Ok(intake.summary(body, runtime)?)
}

/// How the items stand in the body.
fn shape(headers: &HeaderMap) -> Result<Shape, Refusal> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Shape::Json) };
    let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match &*media.to_ascii_lowercase() {
        "application/json" => Ok(Shape::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Shape::Lines),
        _ => Err(Refusal::MediaType),
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let coding = values.next().map(|value| value.to_str().unwrap_or_default().trim());
    match coding.map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "identity") => Ok(false),
        Some("gzip" | "x-gzip") if values.next().is_none() => Ok(true),
        _ => Err(Refusal::Coding),
    }
}
