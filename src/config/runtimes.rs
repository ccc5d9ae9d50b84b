//! Which runtimes are watched, and by what: their routes, their logs, AG2's log.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::file::{FilePolling, FileRuntime};
use super::{ConfigError, either, variable};
use crate::cli::ServeArgs;
use crate::model::NameRule;
use crate::sources::scrape::{Endpoint, Token};
use crate::sources::tail::Pattern;

/// Where a runtime is looked for if none is named.
const RUNTIME_URL: &str = "http://127.0.0.1:8000";
/// Holds the token where no file is named.
pub const TOKEN_VARIABLE: &str = "MOZAIKS_EXPORTER_RUNTIME_TOKEN";
/// The longest interval and timeout of polls.
pub(super) const LONGEST_SPAN: Duration = Duration::from_hours(24);
/// Where the runtime writes its logs; the runtime's own variable.
pub const LOGS_VARIABLE: &str = "LOGS_BASE_DIR";
/// Where AG2 writes its log; the runtime's own variables.
pub const AG2_VARIABLES: [&str; 2] = ["AG2_RUNTIME_LOG_FILE", "AG2_RUNTIME_SQLITE_PATH"];
/// How AG2's log is called where nobody says otherwise.
const AG2_NAMES: [&str; 2] = ["ag2_runtime.log", "ag2_runtime.db"];

/// One runtime to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// The value of the `runtime` label.
    pub name: Arc<str>,
    /// How its routes are polled, if they are.
    pub polling: Option<Polling>,
    /// Its log: files, folders and globs.
    pub logs: Vec<Pattern>,
    /// AG2's log of its model calls: text files and databases.
    pub ag2: Vec<PathBuf>,
}

/// How the routes of a runtime are polled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polling {
    /// Where it is.
    pub endpoint: Endpoint,
    /// What it asks for.
    pub token: Option<Token>,
    /// Certificates to trust beside the system's.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Time between polls.
    pub interval: Duration,
    /// Bound of one request.
    pub timeout: Duration,
    /// Bound of one answer, in bytes.
    pub max_body_bytes: usize,
}

/// What is watched, and whether that is only a guess.
pub(super) fn load(
    args: &ServeArgs,
    from_file: Vec<FileRuntime>,
    polling: &FilePolling,
) -> Result<(Vec<RuntimeConfig>, bool), ConfigError> {
    let named = |text: &str| {
        let is_name = |name: &str| !name.contains(['/', ':']);
        let (name, url) = match text.split_once('=') {
            Some((name, url)) if is_name(name) => (Some(name.to_owned()), url),
            _ => (None, text),
        };
        FileRuntime {
            name,
            url: Some(url.to_owned()).filter(|url| !url.is_empty()),
            ..FileRuntime::default()
        }
    };
    let mut wanted: Vec<FileRuntime> = args.runtime_url.iter().map(|url| named(url)).collect();
    if wanted.is_empty() {
        wanted = from_file;
    }
    let is_default = wanted.is_empty();
    if is_default {
        wanted.push(named(RUNTIME_URL));
    }
    let mut runtimes: Vec<RuntimeConfig> = Vec::with_capacity(wanted.len());
    for runtime in wanted {
        let runtime = one_runtime(runtime, polling)?;
        if runtimes.iter().any(|known| known.name == runtime.name) {
            return Err(ConfigError::TwiceNamed(runtime.name.to_string()));
        }
        runtimes.push(runtime);
    }
    Ok((runtimes, is_default))
}

fn one_runtime(runtime: FileRuntime, common: &FilePolling) -> Result<RuntimeConfig, ConfigError> {
    let own = runtime.polling;
    let endpoint = runtime.url.as_deref().map(Endpoint::parse).transpose()?;
    let address = endpoint.as_ref().map(|endpoint| endpoint.authority().to_owned());
    let name = runtime.name.or(address).ok_or(ConfigError::Nameless)?;
    let polling = endpoint.map(|endpoint| polling(endpoint, own, common)).transpose()?;
    Ok(RuntimeConfig {
        name: NameRule::new(128).bound(name.into()).as_ref().into(),
        polling,
        logs: runtime.logs.iter().map(|path| Pattern::parse(path)).collect::<Result<_, _>>()?,
        ag2: runtime.ag2,
    })
}

fn polling(
    endpoint: Endpoint,
    own: FilePolling,
    common: &FilePolling,
) -> Result<Polling, ConfigError> {
    let token_file = own.token_file.or_else(|| common.token_file.clone());
    let ca_file = own.ca_file.or_else(|| common.ca_file.clone());
    let span = |name, own: Option<humantime::Duration>, common, default| {
        let span = either(own, common, default);
        if span.is_zero() || span > LONGEST_SPAN {
            let value = humantime::format_duration(span).to_string();
            return Err(ConfigError::Range { name, must: "more than 0s and at most 1day", value });
        }
        Ok(span)
    };
    let fifteen = Duration::from_secs(15);
    let ten = Duration::from_secs(10);
    let max_body = own.max_body.or(common.max_body).unwrap_or(bytesize::ByteSize::mib(64));
    Ok(Polling {
        token: match token_file {
            Some(path) => Some(Token::File(path)),
            None => variable(TOKEN_VARIABLE).map(Token::Value),
        },
        certificates: ca_file.as_deref().map(certificates).transpose()?.unwrap_or_default(),
        interval: span(
            "--runtime.poll-interval",
            own.poll_interval,
            common.poll_interval,
            fifteen,
        )?,
        timeout: span("--runtime.timeout", own.timeout, common.timeout, ten)?,
        max_body_bytes: usize::try_from(max_body.as_u64()).unwrap_or(usize::MAX),
        endpoint,
    })
}

/// Gives each runtime the logs that were named for it, or else, the first one those that the
/// runtime's own environment names.
pub(super) fn follow(
    runtimes: &mut [RuntimeConfig],
    args: &ServeArgs,
    logs: &[String],
    ag2: &[PathBuf],
) -> Result<(), ConfigError> {
    let logs = if args.logs_path.is_empty() { logs } else { &args.logs_path };
    for path in logs {
        if let Some((runtime, path)) = whose(runtimes, path) {
            runtime.logs.push(Pattern::parse(&path)?);
        }
    }
    let ag2 = if args.ag2_path.is_empty() { ag2 } else { &args.ag2_path };
    for path in ag2 {
        if let Some((runtime, path)) = whose(runtimes, &path.to_string_lossy()) {
            runtime.ag2.push(path.into());
        }
    }
    let dir = variable(LOGS_VARIABLE);
    if runtimes.iter().all(|runtime| runtime.logs.is_empty())
        && let Some(first) = runtimes.first_mut()
    {
        first.logs.extend(dir.as_deref().map(Pattern::parse).transpose()?);
    }
    if runtimes.iter().all(|runtime| runtime.ag2.is_empty())
        && let Some(first) = runtimes.first_mut()
    {
        first.ag2.extend(AG2_VARIABLES.into_iter().filter_map(variable).map(PathBuf::from));
        if let (true, Some(dir)) = (first.ag2.is_empty(), dir) {
            first.ag2.extend(AG2_NAMES.map(|name| Path::new(&dir).join(name)));
        }
    }
    Ok(())
}

/// Whose a path is: `NAME=PATH` names a runtime; without a name it is the first one's.
fn whose<'a>(
    runtimes: &'a mut [RuntimeConfig],
    path: &str,
) -> Option<(&'a mut RuntimeConfig, String)> {
    let named = path.split_once('=').and_then(|(name, path)| {
        let index = runtimes.iter().position(|runtime| &*runtime.name == name)?;
        Some((index, path))
    });
    let (index, path) = named.unwrap_or((0, path));
    Some((runtimes.get_mut(index)?, path.to_owned()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let pem = fs::read(path).map_err(|source| ConfigError::File {
        what: "--runtime.ca-file",
        path: path.to_owned(),
        source,
    })?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).flatten().collect();
    if certificates.is_empty() {
        return Err(ConfigError::NoCertificate(path.to_owned()));
    }
    Ok(certificates)
}
