//! Answers as every listener gives them: their headers, their errors, and how they are counted.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
    HeaderValue, REFERRER_POLICY, RETRY_AFTER, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::body::Payload;
use super::negotiate;
use crate::access::{Denied, Gate};
use crate::telemetry::{OWN_BOUNDS, Telemetry};

/// JSON.
pub const JSON: &str = "application/json";
/// Text for people and probes.
pub const PLAIN: &str = "text/plain; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";
/// Bodies below it are not worth compressing.
const SMALLEST_GZIP: u64 = 1024;

/// An error, as the runtime words its own.
#[derive(Serialize)]
struct ErrorBody<'a> {
    detail: &'a str,
}

/// An answer that is as it should be.
pub fn ok(content_type: &'static str, body: impl Into<bytes::Bytes>) -> Response<Payload> {
    respond(StatusCode::OK, content_type, body)
}

/// An error as JSON, in the runtime's own shape.
pub fn error(status: StatusCode, detail: &str) -> Response<Payload> {
    respond(status, JSON, json(&ErrorBody { detail }))
}

/// An answer that nobody keeps.
pub fn respond(
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
        let policy = HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
        );
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("deny"));
    }
    response
}

/// A body as JSON.
///
/// # Panics
///
/// Where a map has keys that are no text; ours have none.
pub fn json<T: Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).expect("structs of numbers and strings are always JSON")
}

/// The answer to somebody who is not let in.
pub fn denied(denied: &Denied) -> Response<Payload> {
    let status = match denied {
        Denied::Unknown { .. } => StatusCode::UNAUTHORIZED,
        Denied::TooOften(..) | Denied::Busy => StatusCode::TOO_MANY_REQUESTS,
    };
    let mut response = error(status, &denied.to_string());
    let headers = response.headers_mut();
    match denied {
        Denied::Unknown { users, token, .. } => {
            if *token {
                let scheme = HeaderValue::from_static("Bearer realm=\"mozaiks-exporter\"");
                headers.append(WWW_AUTHENTICATE, scheme);
            }
            if *users {
                let scheme = "Basic realm=\"mozaiks-exporter\", charset=\"UTF-8\"";
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
        }
        Denied::TooOften(_, wait) => {
            // Whole seconds; a part of one is one.
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            headers.insert(RETRY_AFTER, seconds.into());
        }
        Denied::Busy => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }
    response
}

/// A request for something that there is, in another way than by these methods.
pub fn method_not_allowed(method: &hyper::Method, allowed: &'static str) -> Response<Payload> {
    let detail = format!("{method} is not for this path; {allowed} is");
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &detail);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A request for something that there is not.
pub fn not_found(path: &str, hint: &str) -> Response<Payload> {
    let path: String = path.chars().take(200).collect();
    error(StatusCode::NOT_FOUND, &format!("there is nothing at {path}; {hint}"))
}

/// The last steps of every answer: compressed where that is worth it, dressed as the gate wants it, and
/// counted.
pub fn finished(
    response: Response<Payload>,
    wanted: &HeaderMap,
    gate: &Gate,
    telemetry: &Arc<Telemetry>,
    handler: &'static str,
    took: Duration,
) -> Response<Payload> {
    let mut response = compressed(response, wanted);
    gate.dress(response.headers_mut());
    counted(telemetry, handler, response, took)
}

/// Counts an answer, and its bytes once they are known.
fn counted(
    telemetry: &Arc<Telemetry>,
    handler: &'static str,
    response: Response<Payload>,
    took: Duration,
) -> Response<Payload> {
    let encoded = response.headers().contains_key(CONTENT_ENCODING);
    let encoding = if encoded { "gzip" } else { "identity" };
    {
        let answers = &mut telemetry.lock().answers;
        *answers.requests.entry((handler, response.status().as_u16())).or_default() += 1;
        answers.durations.entry(handler).or_default().observe(OWN_BOUNDS, took.as_secs_f64());
    }
    let count = |telemetry: &Telemetry, bytes| {
        *telemetry.lock().answers.bytes.entry(encoding).or_default() += bytes;
    };
    if let Some(bytes) = response.body().len() {
        count(telemetry, bytes);
        return response;
    }
    let telemetry = Arc::clone(telemetry);
    response.map(|body| body.on_last(move |bytes| count(&telemetry, bytes)))
}

/// Compresses a body that is worth it for a client that takes it, where it is not compressed yet.
///
/// # Panics
///
/// Never: writing to memory does not fail.
fn compressed(response: Response<Payload>, wanted: &HeaderMap) -> Response<Payload> {
    let (mut head, body) = response.into_parts();
    head.headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    let is_small = body.len().is_none_or(|bytes| bytes < SMALLEST_GZIP);
    let is_done = head.headers.contains_key(CONTENT_ENCODING);
    if is_small || is_done || !negotiate::takes_gzip(wanted) {
        return Response::from_parts(head, body);
    }
    let body = body.map_bytes(|bytes| {
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
        let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
        written.expect("writing to memory does not fail")
    });
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(head, body)
}
