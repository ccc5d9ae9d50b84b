//! What each path of the control listener answers.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::access::Access;
use super::body::{Held, Refusal, Room};
use super::intake::{Intake, Outcome};
use crate::model::RuntimeId;
use crate::server::reply::{
    JSON, PLAIN, compressed, count, error, json, method_not_allowed, not_found, ok, respond,
};
use crate::server::{Handler, OPENAPI, Payload, Peer};
use crate::sources::receive::{BodyError, Shape};
use crate::store::Kept;

/// Bodies above it are read aside, so that nobody waits for them, in bytes.
const LARGE: usize = 64 << 10;
/// When to come again, in seconds.
const COME_AGAIN: &str = "1";

/// The control listener.
#[derive(Debug)]
pub struct Control {
    intake: Arc<Intake>,
    access: Option<Access>,
    room: Room,
}

/// Handlers, in the words of the `handler` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Events,
    UsageIngest,
    Healthy,
    OpenApi,
    Unknown,
}

impl Route {
    fn of(path: &str) -> Self {
        match path {
            "/api/v1/events" => Self::Events,
            "/usage/ingest" => Self::UsageIngest,
            "/-/healthy" => Self::Healthy,
            "/openapi.json" => Self::OpenApi,
            _ => Self::Unknown,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::UsageIngest => "usage_ingest",
            Self::Healthy => "control_healthy",
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
    async fn answer(self: Arc<Self>, request: Request<Incoming>, _: Peer) -> Response<Payload> {
        let start = Instant::now();
        let route = Route::of(request.uri().path());
        let get = matches!(*request.method(), Method::GET | Method::HEAD);
        let post = *request.method() == Method::POST;
        let wanted = request.headers().clone();
        let response = match route {
            Route::Unknown => {
                not_found(request.uri().path(), "POST /api/v1/events or /usage/ingest")
            }
            Route::Healthy if get => ok(PLAIN, "mozaiks-exporter is healthy\n"),
            Route::OpenApi if get => ok(JSON, OPENAPI),
            Route::Healthy | Route::OpenApi => method_not_allowed(request.method(), "GET, HEAD"),
            Route::Events | Route::UsageIngest if !post => {
                method_not_allowed(request.method(), "POST")
            }
            Route::Events | Route::UsageIngest => {
                self.receive(route, request).await.unwrap_or_else(|refused| refused)
            }
        };
        let response = compressed(response, &wanted);
        count(&self.intake.telemetry, route.label(), &response, start.elapsed());
        response
    }
}

impl Control {
    /// Hands in what is pushed; with `access`, only from those who show the token.
    pub fn new(intake: Intake, access: Option<Access>) -> Self {
        Self { intake: Arc::new(intake), access, room: Room::default() }
    }

    /// Everything that is wrong with a request comes back as `Err`.
    async fn receive(
        &self,
        route: Route,
        request: Request<Incoming>,
    ) -> Result<Response<Payload>, Response<Payload>> {
        if self.access.as_ref().is_some_and(|access| !access.allows(request.headers())) {
            let mut refused = error(
                StatusCode::UNAUTHORIZED,
                "show the token of --control.token-file: Authorization: Bearer TOKEN",
            );
            let scheme = HeaderValue::from_static("Bearer realm=\"mozaiks-exporter\"");
            refused.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            return Err(refused);
        }
        // Whoever sends no id is counted twice if we take something that we cannot keep.
        if self.intake.ledger.is_failing() {
            return Err(not_kept());
        }
        let runtime = self.runtime(request.uri().query())?;
        let shape = shape(request.headers())?;
        let is_gzip = is_gzip(request.headers())?;
        let held =
            self.room.read(request.into_body()).await.map_err(|refusal| refused(&refusal))?;
        let (intake, room) = (Arc::clone(&self.intake), self.room.clone());
        let large = held.bytes.len() > LARGE || is_gzip;
        let work = move || take(&intake, &room, route, &held, is_gzip, shape, &runtime);
        let outcome = if large {
            let task = tokio::task::spawn_blocking(work).await;
            task.map_err(|_| error(StatusCode::SERVICE_UNAVAILABLE, "shutting down"))??
        } else {
            work()?
        };
        let kept = self.intake.kept(&outcome).await.map_err(|_| not_kept())?;
        if route == Route::UsageIngest && outcome.duplicates > 0 {
            return Err(error(
                StatusCode::CONFLICT,
                "a summary of this event_id was counted before",
            ));
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
    fn runtime(&self, query: Option<&str>) -> Result<(Arc<str>, RuntimeId), Response<Payload>> {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let name = pairs.filter(|(key, _)| *key == "runtime").map(|(_, value)| value).next();
        let name = name.map(|value| {
            let value = value.replace('+', " ");
            percent_decode_str(&value).decode_utf8_lossy().into_owned()
        });
        self.intake.runtime(name.as_deref()).ok_or_else(|| {
            let known: Vec<_> = self.intake.runtimes.iter().map(|(name, _)| &**name).collect();
            let known = known.join(", ");
            let detail = format!("no runtime of that name is watched; there is {known}");
            error(StatusCode::UNPROCESSABLE_ENTITY, &detail)
        })
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
) -> Result<Outcome, Response<Payload>> {
    let unpacked;
    let body = if is_gzip {
        unpacked = room.unpack(held).map_err(|refusal| refused(&refusal))?;
        &unpacked.bytes
    } else {
        &held.bytes
    };
    let bad =
        |problem: &dyn std::error::Error| error(StatusCode::BAD_REQUEST, &problem.to_string());
    if route == Route::Events {
        return intake.events(body, shape, runtime).map_err(|problem| match problem {
            BodyError::TooMany(_) => error(StatusCode::PAYLOAD_TOO_LARGE, &problem.to_string()),
            BodyError::Syntax(_) | BodyError::Empty => bad(&problem),
        });
    }
    intake.summary(body, runtime).map_err(|problem| match problem.field {
        Some(_) => error(StatusCode::UNPROCESSABLE_ENTITY, &problem.to_string()),
        None => bad(&problem),
    })
}

/// How the items stand in the body.
fn shape(headers: &HeaderMap) -> Result<Shape, Response<Payload>> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Shape::Json) };
    let media = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    match &*media.to_ascii_lowercase() {
        "application/json" => Ok(Shape::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Shape::Lines),
        _ => Err(error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send Content-Type: application/json, or application/x-ndjson for an event a line",
        )),
    }
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Response<Payload>> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let coding = values.next().map(|value| value.to_str().unwrap_or_default().trim());
    match coding.map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "identity") => Ok(false),
        Some("gzip" | "x-gzip") if values.next().is_none() => Ok(true),
        _ => Err(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send Content-Encoding: gzip, or none")),
    }
}

fn refused(refusal: &Refusal) -> Response<Payload> {
    let status = match refusal {
        Refusal::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
        Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
        Refusal::Broken(_) | Refusal::NotGzip(_) => StatusCode::BAD_REQUEST,
    };
    let response = error(status, &refusal.to_string());
    if *refusal == Refusal::Busy { come_again(response) } else { response }
}

fn not_kept() -> Response<Payload> {
    come_again(error(
        StatusCode::SERVICE_UNAVAILABLE,
        "the state cannot be written to the disk for now; send the same again, with its event_id",
    ))
}

fn come_again(mut response: Response<Payload>) -> Response<Payload> {
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
    response
}
