//! The web configuration file, in the format that Prometheus' exporters share.
//!
//! ```yaml
//! tls_server_config: {cert_file: server.crt, key_file: server.key}
//! basic_auth_users: {prometheus: $2y$10$…}
//! ```
//!
//! `file` is the format, `value` what its values may be, `tls` makes of them what the TLS library takes,
//! `client` looks at clients' certificates.

mod client;
mod file;
mod tls;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use serde_saphyr::options;
use tokio_rustls::rustls::ServerConfig;

use super::files::{FileError, Reader};
use super::rate::Rate;
use super::users::Users;
use file::{FileRate, FileWeb};
use tls::TlsError;

/// Nobody waits longer for a token.
const LONGEST_INTERVAL: Duration = Duration::from_hours(24);
/// No burst is larger.
const LARGEST_BURST: u32 = 1_000_000;
/// A password takes seconds from here on.
const HIGH_COST: u32 = 15;

/// Why a web configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The file, or one that it names, cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no web configuration.
    #[error("{flag} {}{} is refused: {problem}", path.display(), At(*line))]
    Syntax {
        /// The flag that named it.
        flag: &'static str,
        /// Which one.
        path: PathBuf,
        /// Where in it, if that is known.
        line: Option<u64>,
        /// What is wrong there.
        problem: String,
    },
    /// What it says of TLS cannot be done.
    #[error("{flag} {} is refused: tls_server_config: {problem}", path.display())]
    Tls {
        /// The flag that named it.
        flag: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why not.
        problem: Box<TlsError>,
    },
}

/// A line, if there is one.
struct At(Option<u64>);

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

/// What a web configuration file says.
#[derive(Debug, Default)]
pub(super) struct Web {
    /// How connections are encrypted, if they are.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Whether nobody gets in without a certificate that is verified.
    pub(super) verifies_clients: bool,
    /// Headers of every answer.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Who may come; nobody in particular if empty.
    pub(super) users: Users,
    /// How often each peer may ask.
    pub(super) rate: Option<Rate>,
    /// What is not done as it is written there.
    pub(super) notes: Vec<String>,
}

impl Web {
    /// Reads a file, and those that it names.
    pub(super) fn read(
        reader: &mut Reader,
        flag: &'static str,
        path: &Path,
    ) -> Result<Self, WebError> {
        let refused = |line, problem| {
            let path = path.to_owned();
            WebError::Syntax { flag, path, line, problem }
        };
        let bytes = reader.read(flag, path)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| refused(None, format!("it is not UTF-8 ({error})")))?;
        let file = parse(text).map_err(|(line, problem)| refused(line, problem))?;
        let mut web = Self::default();
        let dir = path.parent().unwrap_or(Path::new(""));
        if let Some(tls) = file.tls_server_config
            && tls.is_wanted()
        {
            let made = tls::make(reader, &tls, dir, &mut web.notes);
            let (config, verifies_clients) = made.map_err(|problem| WebError::Tls {
                flag,
                path: path.to_owned(),
                problem: Box::new(problem),
            })?;
            (web.tls, web.verifies_clients) = (Some(Arc::new(config)), verifies_clients);
        }
        if let Some(http) = file.http_server_config {
            let headers = http.headers.unwrap_or_default();
            web.headers = file::headers(headers).map_err(|problem| refused(None, problem))?;
        }
        let users = file.basic_auth_users.unwrap_or_default();
        let hashes: BTreeMap<_, _> =
            users.into_iter().map(|(name, hash)| (name, hash.into_text())).collect();
        let costs = hashes.values().filter_map(|hash| hash.get(4..6)?.parse::<u32>().ok());
        if let Some(cost) = costs.max().filter(|cost| *cost >= HIGH_COST) {
            web.notes.push(format!(
                "a hash in basic_auth_users has cost {cost}; 10 is usual, and each step doubles how \
                 long the first request of a user takes"
            ));
        }
        web.users = Users::new(hashes);
        web.rate =
            file.rate_limit.as_ref().map(rate).transpose().map_err(|p| refused(None, p))?.flatten();
        Ok(web)
    }
}

/// The rate that is meant; none where there is no interval.
fn rate(file: &FileRate) -> Result<Option<Rate>, String> {
    let interval = file.interval.map(Duration::from).unwrap_or_default().min(LONGEST_INTERVAL);
    if interval.is_zero() {
        return Ok(None);
    }
    let burst = u32::try_from(file.burst.unwrap_or(0).max(0)).unwrap_or(u32::MAX);
    if burst == 0 {
        return Err("rate_limit.burst must be at least 1, or nobody gets in".to_owned());
    }
    Ok(Some(Rate { interval, burst: burst.min(LARGEST_BURST) }))
}

/// Parses a file; what is wrong with it comes with its line.
fn parse(text: &str) -> Result<FileWeb, (Option<u64>, String)> {
    // Comments alone are no document.
    if text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with('#')) {
        return Ok(FileWeb::default());
    }
    // No excerpt: keys and hashes stand in the file.
    let parsed = serde_saphyr::from_str_with_options(text, options! { with_snippet: false });
    let parsed: Result<Option<FileWeb>, _> = parsed;
    parsed.map(Option::unwrap_or_default).map_err(|error| {
        let line = error.location().map(|location| location.line());
        (line.filter(|line| *line > 0), error.to_string())
    })
}

#[cfg(test)]
mod tests;
