//! What failed, in people's words.

use std::fmt;
use std::time::Duration;

use mongodb::error::{Error, ErrorKind, WriteFailure};
use tokio_rustls::rustls;

use crate::redact::redact;

/// The longest explanation, in characters: servers answer with whole documents.
const MAX_DETAIL: usize = 400;
/// A part of a password that is shorter than this also stands in many words.
const SHORTEST_SECRET: usize = 3;

/// Codes of the server's errors that mean something to us.
pub mod code {
    /// The credentials are wrong.
    pub const AUTHENTICATION_FAILED: i32 = 18;
    /// The credentials do not allow it.
    pub const UNAUTHORIZED: i32 = 13;
    /// Atlas' word for refused credentials.
    pub const ATLAS: i32 = 8000;
    /// The collection or database is not there.
    pub const NAMESPACE_NOT_FOUND: i32 = 26;
    /// It took longer than was allowed.
    pub const MAX_TIME_EXPIRED: i32 = 50;
    /// The server does not know the command.
    pub const COMMAND_NOT_FOUND: i32 = 59;
    /// An index of that key or that name is there already, in another form.
    pub const INDEX_OPTIONS_CONFLICT: i32 = 85;
    /// A document of that id is there already.
    pub const DUPLICATE_KEY: i32 = 11000;
}

/// Why a database did not do what it was asked, in the words of the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// No connection, or it broke.
    Connect,
    /// No answer in time.
    Timeout,
    /// No trust between the two ends.
    Tls,
    /// The credentials were refused, or do not allow it.
    Unauthorized,
    /// The server answered with an error.
    Server,
    /// The answer, or the URI, is not what it should be.
    Parse,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Connect, Self::Timeout, Self::Tls, Self::Unauthorized, Self::Server, Self::Parse];

    /// The value of the `reason` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Unauthorized => "unauthorized",
            Self::Server => "server",
            Self::Parse => "parse",
        }
    }
}

/// A database did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MongoError {
    /// Why, for the label.
    pub reason: Reason,
    /// What, where, and what to do about it, for people. Holds nothing secret.
    pub detail: String,
    /// The server's code, where it is the server's error.
    pub code: Option<i32>,
}

impl MongoError {
    /// An error with its explanation.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into(), code: None }
    }

    /// Nobody answered.
    pub(super) fn timed_out(what: &str, limit: Duration) -> Self {
        let limit = humantime::format_duration(limit);
        Self::new(Reason::Timeout, format!("{what} took longer than {limit}"))
    }

    /// What the driver says of a URI, without what is secret in it.
    pub(super) fn of_uri(error: &Error, uri: &str) -> Self {
        let (reason, said) = match &*error.kind {
            ErrorKind::DnsResolve { message, .. } => (Reason::Connect, message.clone()),
            ErrorKind::InvalidTlsConfig { message, .. } => (Reason::Tls, message.clone()),
            ErrorKind::InvalidArgument { message, .. } => (Reason::Parse, message.clone()),
            other => (Reason::Parse, other.to_string()),
        };
        let said = bounded(&redact(&without_credentials(said, uri)));
        let form = "mongodb://[USER:PASSWORD@]HOST[:PORT]/, with %-escapes in USER and PASSWORD";
        Self::new(
            reason,
            match reason {
                Reason::Parse => format!("the URI is not of the form {form}: {said}"),
                _ => said,
            },
        )
    }

    /// What the driver says of a question.
    pub(super) fn of(error: &Error, what: &str, servers: &str) -> Self {
        let (reason, said) = explain(&error.kind);
        let code = server_code(&error.kind);
        let said = match reason {
            Reason::Unauthorized if code == Some(code::UNAUTHORIZED) => {
                format!("the credentials do not allow it: {said}")
            }
            Reason::Unauthorized => format!("the credentials are refused: {said}"),
            Reason::Connect => format!("no connection: {said}"),
            Reason::Tls => format!("no trust (TLS): {said}"),
            Reason::Timeout => format!("no answer in time: {said}"),
            Reason::Server | Reason::Parse => said,
        };
        let detail = bounded(&redact(&format!("{what} at {servers} failed: {said}")));
        Self { reason, detail, code }
    }
}

impl fmt::Display for MongoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for MongoError {}

fn explain(kind: &ErrorKind) -> (Reason, String) {
    match kind {
        ErrorKind::Authentication { message, .. } => (Reason::Unauthorized, message.clone()),
        ErrorKind::Io(error) => {
            let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let is_tls = cause.is_some();
            let reason = match error.kind() {
                std::io::ErrorKind::TimedOut => Reason::Timeout,
                _ if is_tls => Reason::Tls,
                _ => Reason::Connect,
            };
            (reason, error.to_string())
        }
        ErrorKind::InvalidTlsConfig { message, .. } => (Reason::Tls, message.clone()),
        // The driver keeps what it knows of the servers in the text alone.
        ErrorKind::DnsResolve { message, .. }
        | ErrorKind::ConnectionPoolCleared { message, .. }
        | ErrorKind::ServerSelection { message, .. } => (in_text(message), cause_in(message)),
        ErrorKind::Command(error) => (
            of_code(error.code),
            format!("{} ({}, {})", error.message, error.code_name, error.code),
        ),
        ErrorKind::Write(WriteFailure::WriteError(error)) => {
            (of_code(error.code), format!("{} ({})", error.message, error.code))
        }
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => (
            of_code(error.code),
            format!("{} ({}, {})", error.message, error.code_name, error.code),
        ),
        ErrorKind::InvalidResponse { message, .. } => (Reason::Parse, message.clone()),
        ErrorKind::Bson(error) => (Reason::Parse, error.to_string()),
        ErrorKind::Shutdown => (Reason::Connect, "the connection was given up".to_owned()),
        other => (Reason::Server, other.to_string()),
    }
}

fn of_code(code: i32) -> Reason {
    match code {
        code::AUTHENTICATION_FAILED | code::UNAUTHORIZED | code::ATLAS => Reason::Unauthorized,
        code::MAX_TIME_EXPIRED => Reason::Timeout,
        _ => Reason::Server,
    }
}

fn server_code(kind: &ErrorKind) -> Option<i32> {
    match kind {
        ErrorKind::Command(error) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(error)) => Some(error.code),
        _ => None,
    }
}

fn in_text(message: &str) -> Reason {
    let says = |word: &str| message.contains(word);
    if says("certificate") || says("TLS") || says("tls") || says("handshake") {
        Reason::Tls
    } else {
        Reason::Connect
    }
}

/// The cause in the driver's account of all servers.
fn cause_in(message: &str) -> String {
    let cause = message.split_once("Error: Kind: ").map(|(_, cause)| cause);
    let cause = cause.map(|cause| cause.split_once(", labels:").map_or(cause, |(cause, _)| cause));
    cause.unwrap_or(message).to_owned()
}

/// Takes user and password out of what is said of a URI, also where they make it one that nobody
/// can take apart.
fn without_credentials(mut said: String, uri: &str) -> String {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let end = rest.rfind('@').unwrap_or(rest.len());
    let Some(credentials) = rest.get(..end) else { return said };
    // `user:password` where somebody forgot the host.
    let is_host = end == rest.len() && !rest.contains(':');
    if !is_host {
        let mut parts: Vec<&str> = credentials
            .split([':', '/', '@', '?', '#', '%', ',', '&', '='])
            .filter(|part| part.len() >= SHORTEST_SECRET)
            .chain([credentials])
            .collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            said = said.replace(part, "***");
        }
    }
    said
}

fn bounded(text: &str) -> String {
    let mut bounded: String = text.chars().take(MAX_DETAIL).collect();
    if bounded.len() < text.len() {
        bounded.push('…');
    }
    bounded
}
