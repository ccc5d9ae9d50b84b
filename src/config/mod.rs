//! From flags, environment and file to a configuration that has been looked through.

mod file;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use crate::cli::{LogFormat, ServeArgs, Users};
use crate::ledger::Settings;
use crate::model::NameRule;
use crate::sources::scrape::{Endpoint, Token, UrlError};
use file::{FileConfig, FilePolling, FileRuntime, OneOrMany};

/// Where metrics are served if nothing is said.
pub const LISTEN_ADDRESS: &str = "127.0.0.1:9847";
/// Where a runtime is looked for if none is named.
pub const RUNTIME_URL: &str = "http://127.0.0.1:8000";
/// Holds the token where no file is named.
const TOKEN_VARIABLE: &str = "MOZAIKS_EXPORTER_RUNTIME_TOKEN";
/// Series that one chat has at most, about.
const SERIES_PER_CHAT: u64 = 10;
/// Series that one workflow has, histograms included, about; half as many chats' worth at most.
const SERIES_PER_WORKFLOW: u64 = 50;
/// The longest interval and timeout of polls.
const LONGEST_SPAN: Duration = Duration::from_hours(24);
/// The smallest budget: a chat, a workflow and a user are always shown.
const SMALLEST_BUDGET: u64 = 100;

/// Why there is no configuration. Each says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {what} {}", path.display())]
    File {
        /// What it was for.
        what: &'static str,
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no configuration.
    #[error("configuration file {} is refused: {problem}", path.display())]
    Syntax {
        /// Which one.
        path: PathBuf,
        /// Where, and what is wrong there.
        problem: String,
    },
    /// A runtime's address is none.
    #[error("--runtime.url")]
    Url(#[from] UrlError),
    /// Two runtimes of one name.
    #[error("two runtimes are named `{0}`; give them names: --runtime.url NAME=URL")]
    TwiceNamed(String),
    /// A number out of range.
    #[error("{name} must be {must}, not {value}")]
    Range {
        /// The option.
        name: &'static str,
        /// What it must be.
        must: &'static str,
        /// What it is.
        value: String,
    },
    /// An address that is none.
    #[error("--web.listen-address `{0}` is not ADDRESS:PORT, such as {LISTEN_ADDRESS}")]
    Address(String),
    /// A file without certificates.
    #[error("--runtime.ca-file {} holds no certificate in PEM format", .0.display())]
    NoCertificate(PathBuf),
}

/// How the process runs.
#[derive(Debug)]
pub struct Config {
    /// Where metrics are served.
    pub listen_addresses: Vec<String>,
    /// Where the state is kept.
    pub state_dir: Option<PathBuf>,
    /// What is watched.
    pub runtimes: Vec<RuntimeConfig>,
    /// Whether nobody said what to watch.
    pub runtime_is_default: bool,
    /// Bounds and times of the ledger.
    pub ledger: Settings,
    /// The series budget.
    pub max_series: u64,
    /// How long names may be.
    pub names: NameRule,
    /// How user ids are shown, if somebody said.
    pub users: Option<Users>,
    /// Whether second names are shown.
    pub compat: bool,
    /// Least level of the log.
    pub log_level: tracing::Level,
    /// Format of the log, if somebody said.
    pub log_format: Option<LogFormat>,
}

/// One runtime to watch.
#[derive(Debug)]
pub struct RuntimeConfig {
    /// The value of the `runtime` label.
    pub name: Arc<str>,
    /// Where it is.
    pub endpoint: Endpoint,
    /// What it asks for.
    pub token: Option<Token>,
    /// Certificates to trust beside the system's.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Time between polls.
    pub poll_interval: Duration,
    /// Bound of one request.
    pub timeout: Duration,
    /// Bound of one answer, in bytes.
    pub max_body_bytes: usize,
}

impl Config {
    /// Puts together what was said. Flags and environment are in `args`, flags first.
    pub fn load(args: &ServeArgs) -> Result<Self, ConfigError> {
        let file = match &args.config_file {
            Some(path) => file::read(path)?,
            None => FileConfig::default(),
        };
        let polling = FilePolling {
            poll_interval: args.poll_interval.or(file.runtime.poll_interval),
            timeout: args.timeout.or(file.runtime.timeout),
            token_file: args.token_file.clone().or(file.runtime.token_file),
            ca_file: args.ca_file.clone().or(file.runtime.ca_file),
            max_body: args.max_body.or(file.runtime.max_body),
        };
        let (runtimes, runtime_is_default) = runtimes(args, file.runtimes, &polling)?;
        let max_series =
            at_least("--chat.max-series", args.max_series.or(file.chat.max_series), 100_000)?;
        let label_max_bytes = args.label_max_bytes.or(file.label.max_bytes).unwrap_or(512);
        if label_max_bytes < NameRule::SHORTEST {
            let (name, must) = ("--label.max-bytes", "at least 32");
            return Err(ConfigError::Range { name, must, value: label_max_bytes.to_string() });
        }
        let defaults = Settings::default();
        let bounded =
            |share: u64| usize::try_from((max_series / share).max(1)).unwrap_or(usize::MAX);
        let ledger = Settings {
            retention: either(args.retention, file.chat.retention, defaults.retention),
            lost_after: either(args.lost_after, file.chat.lost_after, defaults.lost_after),
            max_chats: bounded(SERIES_PER_CHAT),
            max_workflows: bounded(4 * SERIES_PER_WORKFLOW),
            max_users: bounded(100),
            ..defaults
        };
        let listen_addresses = match (&args.listen_address[..], file.web.listen_address) {
            ([], Some(OneOrMany::Many(many))) if !many.is_empty() => many,
            ([], Some(OneOrMany::One(one))) => vec![one],
            ([], _) => vec![LISTEN_ADDRESS.to_owned()],
            (given, _) => given.to_vec(),
        };
        if let Some(wrong) = listen_addresses.iter().find(|address| !is_address(address)) {
            return Err(ConfigError::Address(wrong.clone()));
        }
        Ok(Self {
            listen_addresses,
            state_dir: args.state_dir.clone().or(file.state_dir).or_else(default_state_dir),
            runtimes,
            runtime_is_default,
            ledger,
            max_series,
            names: NameRule::new(label_max_bytes),
            users: args.users.or(file.users),
            compat: args.compat.or(file.compat).unwrap_or(true),
            log_level: args.log_level.or(file.log.level).unwrap_or(tracing::Level::INFO),
            log_format: args.log_format.or(file.log.format),
        })
    }
}

/// Whether it has the form `HOST:PORT` or `:PORT`; whether the host exists shows at binding.
fn is_address(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

/// What is watched, and whether that is only a guess.
fn runtimes(
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
            url: url.to_owned(),
            poll_interval: None,
            timeout: None,
            token_file: None,
            ca_file: None,
            max_body: None,
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

fn one_runtime(runtime: FileRuntime, polling: &FilePolling) -> Result<RuntimeConfig, ConfigError> {
    let endpoint = Endpoint::parse(&runtime.url)?;
    let name = runtime.name.unwrap_or_else(|| endpoint.authority().to_owned());
    let token_file = runtime.token_file.or_else(|| polling.token_file.clone());
    let ca_file = runtime.ca_file.or_else(|| polling.ca_file.clone());
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
    let max_body = runtime.max_body.or(polling.max_body).unwrap_or(bytesize::ByteSize::mib(64));
    Ok(RuntimeConfig {
        name: NameRule::new(128).bound(name.into()).as_ref().into(),
        token: match token_file {
            Some(path) => Some(Token::File(path)),
            None => variable(TOKEN_VARIABLE).map(Token::Value),
        },
        certificates: ca_file.as_deref().map(certificates).transpose()?.unwrap_or_default(),
        poll_interval: span(
            "--runtime.poll-interval",
            runtime.poll_interval,
            polling.poll_interval,
            fifteen,
        )?,
        timeout: span("--runtime.timeout", runtime.timeout, polling.timeout, ten)?,
        max_body_bytes: usize::try_from(max_body.as_u64()).unwrap_or(usize::MAX),
        endpoint,
    })
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

fn either(
    first: Option<humantime::Duration>,
    second: Option<humantime::Duration>,
    default: Duration,
) -> Duration {
    first.or(second).map_or(default, Into::into)
}

fn at_least(name: &'static str, value: Option<u64>, default: u64) -> Result<u64, ConfigError> {
    let value = value.unwrap_or(default);
    if value < SMALLEST_BUDGET {
        return Err(ConfigError::Range { name, must: "at least 100", value: value.to_string() });
    }
    Ok(value)
}

/// What systemd gives us, else where state of the system or of the user belongs.
fn default_state_dir() -> Option<PathBuf> {
    if let Some(dirs) = variable("STATE_DIRECTORY") {
        return dirs.split(':').next().map(PathBuf::from);
    }
    if let Some(state) = variable("XDG_STATE_HOME") {
        return Some(Path::new(&state).join("mozaiks-exporter"));
    }
    match variable("HOME") {
        Some(home) if home != "/" && home != "/root" => {
            Some(Path::new(&home).join(".local/state/mozaiks-exporter"))
        }
        _ => Some(PathBuf::from("/var/lib/mozaiks-exporter")),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(yaml: &str, args: &ServeArgs) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.yml");
        fs::write(&path, yaml).unwrap();
        Config::load(&ServeArgs { config_file: Some(path), ..args.clone() })
    }

    #[test]
    fn the_file_is_read_and_flags_come_first() {
        let yaml = "web: {listen_address: '127.0.0.1:1'}\nusers: none\ncompat: false\n\
                    runtime: {poll_interval: 5s, max_body: 1MiB}\n\
                    runtimes:\n- {name: a, url: 'http://a:1', poll_interval: 250ms}\n\
                    - {url: 'http://b:2'}\nchat: {retention: 1h, max_series: 1000}\n";
        let config = load(yaml, &ServeArgs::default()).unwrap();
        assert_eq!(config.listen_addresses, ["127.0.0.1:1"]);
        assert_eq!(config.users, Some(Users::None));
        assert_eq!(config.ledger.max_chats, 100);
        let names: Vec<_> = config.runtimes.iter().map(|runtime| &*runtime.name).collect();
        assert_eq!(names, ["a", "b:2"]);
        assert_eq!(config.runtimes[0].poll_interval, Duration::from_millis(250));
        assert_eq!(config.runtimes[1].poll_interval, Duration::from_secs(5));
        assert_eq!(config.runtimes[1].max_body_bytes, 1 << 20);

        let args = ServeArgs { users: Some(Users::Plain), ..ServeArgs::default() };
        assert_eq!(load(yaml, &args).unwrap().users, Some(Users::Plain));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let problem = |yaml: &str| load(yaml, &ServeArgs::default()).unwrap_err().to_string();
        let unknown = problem("users: plain\nruntimez: []\n");
        assert!(unknown.contains("runtimez") && unknown.contains("line 2"), "{unknown}");
        let kind = problem("chat:\n  retention: soon\n");
        assert!(kind.contains("line 2"), "{kind}");
        assert!(problem("chat: {max_series: 5}").contains("at least 100, not 5"));
        assert!(problem("runtime: {poll_interval: 0s}").contains("more than 0s"));
        assert!(problem("runtime: {timeout: 5000years}").contains("at most 1day, not 5000years"));
        let twice = problem("runtimes: [{url: 'http://a'}, {url: 'http://a/x'}]");
        assert!(twice.contains("two runtimes are named `a`"), "{twice}");
    }

    #[test]
    fn a_runtime_may_be_named_on_the_command_line() {
        let urls = ["east=http://e:1", "http://w:2/?a=b"].map(str::to_owned).to_vec();
        let config =
            Config::load(&ServeArgs { runtime_url: urls, ..ServeArgs::default() }).unwrap();
        let names: Vec<_> = config.runtimes.iter().map(|runtime| &*runtime.name).collect();
        assert_eq!(names, ["east", "w:2"]);
    }
}
