//! From flags, environment and file to a configuration that has been looked through.

mod control;
mod file;
mod mongodb;
mod runtimes;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::access::Means;
use crate::cli::{Backlog, ServeArgs, Users};
use crate::ledger::Settings;
use crate::logging;
use crate::model::{HANDED_OVER, NameRule, UNIX_SOCKET};
use crate::sources::logs;
use crate::sources::scrape::UrlError;
use crate::sources::tail::{self, Options, Pattern, PatternError};
pub use control::{CONTROL_ADDRESS, ControlConfig};
use file::{FileConfig, FilePolling, OneOrMany};
pub use mongodb::{FlushConfig, MongodbConfig, MongodbError, URI_VARIABLE};
pub use runtimes::{AG2_VARIABLES, LOGS_VARIABLE, Polling, RuntimeConfig, TOKEN_VARIABLE};

/// Where metrics are served if nothing is said.
pub const LISTEN_ADDRESS: &str = "127.0.0.1:9847";
/// Series that one chat has at most, about.
const SERIES_PER_CHAT: u64 = 10;
/// Pushed chats that are remembered, for each that has series: some 1.4 kB each.
const PUSHED_PER_SHOWN: usize = 10;
/// Series that one workflow has, histograms included, about; half as many chats' worth at most.
const SERIES_PER_WORKFLOW: u64 = 50;
/// Series that one agent has with one model, about, its histogram included.
const SERIES_PER_BREAKDOWN: u64 = 20;
/// The longest line of a log that is read if nothing is said: prompts stand in some.
const MAX_LINE: bytesize::ByteSize = bytesize::ByteSize::mib(1);
/// The longest line of AG2's log that is read, at least.
const AG2_LINE: usize = 16 << 20;
/// How fast a backlog is read if nothing is said: 500 MiB in a quarter of a minute, at a share of a
/// core that the runtime does not miss.
const MAX_RATE: u64 = 32 << 20;
/// How long a runtime that nobody named is waited for before what else is heard is shown.
const GRACE_OF_A_GUESS: Duration = Duration::from_secs(5);
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
    /// A path of logs that is none.
    #[error("--logs.path")]
    Pattern(#[from] PatternError),
    /// The database cannot be used as it is said.
    #[error(transparent)]
    Mongodb(#[from] MongodbError),
    /// A runtime without an address and without a name.
    #[error("a runtime without a URL needs a name: --runtime.url NAME=, or `name:` in the file")]
    Nameless,
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
    #[error(
        "{flag} `{address}` is neither ADDRESS:PORT, such as {LISTEN_ADDRESS}, nor unix:PATH, nor \
             systemd:NAME"
    )]
    Address {
        /// The option.
        flag: &'static str,
        /// What it is.
        address: String,
    },
    /// A file without certificates.
    #[error("--runtime.ca-file {} holds no certificate in PEM format", .0.display())]
    NoCertificate(PathBuf),
}

/// How the process runs.
#[derive(Debug)]
pub struct Config {
    /// Where metrics are served.
    pub listen_addresses: Vec<String>,
    /// Who may read them.
    pub means: Means,
    /// Where pushed events are taken, if anywhere, and how.
    pub control: Option<ControlConfig>,
    /// Where the state is kept.
    pub state_dir: Option<PathBuf>,
    /// What is watched.
    pub runtimes: Vec<RuntimeConfig>,
    /// Whether nobody said what to watch.
    pub runtime_is_default: bool,
    /// The database that holds the chats, if there is one.
    pub mongodb: Option<MongodbConfig>,
    /// How log files are followed.
    pub following: Following,
    /// Where the exporter's own log goes: never to be followed.
    pub own_logs: Vec<PathBuf>,
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
    /// How the exporter logs.
    pub log: logging::Setup,
}

/// How log files are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Following {
    /// What becomes of what lies there at the very first start.
    pub backlog: Backlog,
    /// The longest line that is read, in bytes.
    pub max_line_bytes: usize,
    /// How fast a backlog is read, in bytes a second.
    pub max_bytes_per_second: u64,
}

impl Following {
    /// How the runtime's log is followed. Of a folder, what is somebody else's is left out, and
    /// what this exporter writes is left out of everything.
    pub fn logs(&self, patterns: &[Pattern], own: &[PathBuf]) -> Options {
        let folders = patterns.iter().filter_map(Pattern::path);
        let exclude = folders.flat_map(logs::not_ours).chain(own.iter().cloned()).collect();
        Options { exclude, ..self.options(patterns.to_vec()) }
    }

    /// How AG2's log is followed where it is text. Prompts stand in it in full.
    pub fn ag2(&self, path: &Path) -> Options {
        let patterns = Pattern::parse(&path.to_string_lossy()).into_iter().collect();
        let max_line_bytes = self.max_line_bytes.max(AG2_LINE);
        Options { max_line_bytes, ..self.options(patterns) }
    }

    fn options(&self, patterns: Vec<Pattern>) -> Options {
        Options {
            max_line_bytes: self.max_line_bytes,
            backlog: match self.backlog {
                Backlog::Read => tail::Backlog::Read,
                Backlog::Skip => tail::Backlog::Skip,
            },
            max_bytes_per_second: self.max_bytes_per_second,
            ..Options::new(patterns)
        }
    }
}

impl Config {
    /// Whether a text can be a configuration file, or what is wrong with it and where. Files that it
    /// names are not looked at.
    pub fn understood(text: &str) -> Result<(), String> {
        file::parse(text).map(drop)
    }

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
        let (mut runtimes, runtime_is_default) = runtimes::load(args, file.runtimes, &polling)?;
        runtimes::follow(&mut runtimes, args, &file.logs.paths, &file.ag2.paths)?;
        let mongodb = mongodb::load(args, file.mongodb, &runtimes)?;
        let is_mere_guess = runtime_is_default
            && mongodb.is_none()
            && runtimes.iter().all(|runtime| runtime.logs.is_empty() && runtime.ag2.is_empty());
        let longest_poll = runtimes.iter().filter_map(|r| r.polling.as_ref()).map(|p| p.interval);
        let longest_poll = longest_poll.max().unwrap_or_default();
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
            grace: if is_mere_guess { GRACE_OF_A_GUESS } else { defaults.grace },
            shared_store: mongodb.as_ref().is_some_and(|mongodb| mongodb.flush.is_some()),
            abandoned_after: either(
                args.abandoned_after,
                file.chat.abandoned_after,
                defaults.abandoned_after,
            ),
            dedup_window: either(
                args.dedup_window,
                file.receive.dedup_window,
                defaults.dedup_window,
            ),
            max_chats: bounded(SERIES_PER_CHAT),
            max_pushed_chats: PUSHED_PER_SHOWN.saturating_mul(bounded(SERIES_PER_CHAT)),
            max_workflows: bounded(4 * SERIES_PER_WORKFLOW),
            max_users: bounded(100),
            max_breakdowns: bounded(4 * SERIES_PER_BREAKDOWN),
            // Whoever is polled introduces its chats at the next poll but one, at the latest.
            introduction_wait: either(
                args.introduction_wait,
                file.logs.introduction_wait,
                defaults.introduction_wait.max(2 * longest_poll),
            ),
            ..defaults
        };
        let listen_addresses = match (&args.listen_address[..], file.web.listen_address) {
            ([], Some(OneOrMany::Many(many))) if !many.is_empty() => many,
            ([], Some(OneOrMany::One(one))) => vec![one],
            ([], _) => vec![LISTEN_ADDRESS.to_owned()],
            (given, _) => given.to_vec(),
        };
        if let Some(wrong) = listen_addresses.iter().find(|address| !is_address(address)) {
            let (flag, address) = ("--web.listen-address", wrong.clone());
            return Err(ConfigError::Address { flag, address });
        }
        let in_file = [&file.web.config_file, &file.web.token_file];
        let means = means([&args.web_config_file, &args.web_token_file], in_file);
        let control = control::load(args, file.control, &file.receive)?;
        let log = logging::Setup::new(
            args.log_level.or(file.log.level),
            args.log_format.or(file.log.format),
            args.log_dir.as_deref().or(file.log.dir.as_deref()),
            variable,
        );
        Ok(Self {
            listen_addresses,
            means,
            control,
            state_dir: args.state_dir.clone().or(file.state_dir).or_else(default_state_dir),
            runtimes,
            runtime_is_default,
            mongodb,
            following: Following {
                backlog: args.logs_backlog.or(file.logs.backlog).unwrap_or(Backlog::Read),
                max_line_bytes: bytes(args.logs_max_line.or(file.logs.max_line), MAX_LINE),
                max_bytes_per_second: args
                    .logs_max_rate
                    .or(file.logs.max_rate)
                    .map_or(MAX_RATE, |rate| rate.as_u64().max(1024)),
            },
            own_logs: log.file().into_iter().collect(),
            ledger,
            max_series,
            names: NameRule::new(label_max_bytes),
            users: args.users.or(file.users),
            compat: args.compat.or(file.compat).unwrap_or(true),
            log,
        })
    }
}

/// The files that say who gets in: a web configuration file and a token. An empty path is none.
fn means(flags: [&Option<PathBuf>; 2], in_file: [&Option<PathBuf>; 2]) -> Means {
    let [web_config, token_file] = [0, 1].map(|i| {
        let path = flags[i].as_ref().or(in_file[i].as_ref());
        path.filter(|path| !path.as_os_str().is_empty()).cloned()
    });
    Means { web_config, token_file }
}

/// Whether it has the form `HOST:PORT`, `:PORT`, `unix:PATH` or `systemd:NAME`; whether the host exists shows at binding.
fn is_address(address: &str) -> bool {
    let special = [UNIX_SOCKET, HANDED_OVER].into_iter().find_map(|how| address.strip_prefix(how));
    if let Some(name) = special {
        return !name.is_empty();
    }
    address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

fn either(
    first: Option<humantime::Duration>,
    second: Option<humantime::Duration>,
    default: Duration,
) -> Duration {
    first.or(second).map_or(default, Into::into)
}

/// A size that is not nothing.
fn bytes(given: Option<bytesize::ByteSize>, default: bytesize::ByteSize) -> usize {
    usize::try_from(given.unwrap_or(default).as_u64()).unwrap_or(usize::MAX).max(1024)
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
    use std::fs;

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
        let polling: Vec<_> = config.runtimes.iter().filter_map(|r| r.polling.as_ref()).collect();
        assert_eq!(polling[0].interval, Duration::from_millis(250));
        assert_eq!(polling[1].interval, Duration::from_secs(5));
        assert_eq!(polling[1].max_body_bytes, 1 << 20);

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
