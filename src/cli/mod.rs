//! The command line. Flags are named as operators know them from Prometheus.

mod files;
mod mongodb;

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use files::{AssetsArgs, CheckArgs, HealthcheckArgs};
pub use mongodb::{Chats, MongodbArgs, Secret};

/// Exact Prometheus metrics for the MozaiksAI runtime.
#[derive(Debug, Parser)]
#[command(name = "mozaiks-exporter", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `serve` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch runtimes and serve their metrics (the default).
    Serve(Box<ServeArgs>),
    /// Start a simulated runtime with this exporter beside it.
    Demo(DemoArgs),
    /// Take the secrets out of standard input, line by line, and write the rest to standard output.
    Redact,
    /// Turn old logs into samples with timestamps, for `promtool tsdb create-blocks-from
    /// openmetrics`.
    Backfill(BackfillArgs),
    /// Write the rules, the configurations of Prometheus and Alertmanager and the dashboards, with
    /// thresholds and targets of one's own.
    Assets(AssetsArgs),
    /// Look at all that `serve` would work with, by the same flags; or prove rules and dashboards of
    /// one's own against the metrics that there are.
    Check(Box<CheckArgs>),
    /// Ask an exporter on this machine whether it is well, as a container's probe.
    Healthcheck(HealthcheckArgs),
}

/// Flags of `backfill`.
#[derive(Debug, Default, Args)]
pub struct BackfillArgs {
    /// Log of the runtime: a file with its rotated siblings, a folder or a glob; may be given
    /// several times
    #[arg(long = "logs.path", value_name = "PATH")]
    pub logs_path: Vec<String>,
    /// AG2's log of model calls, text or SQLite; may be given several times
    #[arg(long = "ag2.path", value_name = "PATH")]
    pub ag2_path: Vec<PathBuf>,
    /// Where the samples go [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Time from one sample of a series to the next
    #[arg(long, default_value = "1m", value_name = "DURATION")]
    pub step: humantime::Duration,
    /// Series of single chats as well
    #[arg(long)]
    pub chats: bool,
    /// Label of all samples, as Prometheus adds job and instance to what it scrapes; may be given
    /// several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
}

/// Flags of `demo`.
#[derive(Debug, Default, Args)]
pub struct DemoArgs {
    /// Address to serve metrics on.
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub listen_address: Option<String>,
    /// How much faster than life the simulated chats move.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub speed: f64,
    /// Number that the simulation follows from: the same number, the same chats.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub seed: u64,
}

/// Flags of `serve`. Each can also be set by the environment variable `MOZAIKS_EXPORTER_` and its
/// name, and most by the configuration file; flags come first, then the environment, then the file.
#[derive(Debug, Default, Clone, Args)]
pub struct ServeArgs {
    /// Configuration file (YAML).
    #[arg(long = "config.file", value_name = "FILE", env = "MOZAIKS_EXPORTER_CONFIG_FILE")]
    pub config_file: Option<PathBuf>,
    /// Address to serve metrics on; may be given several times [default: 127.0.0.1:9847]
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        env = "MOZAIKS_EXPORTER_WEB_LISTEN_ADDRESS",
        value_delimiter = ','
    )]
    pub listen_address: Vec<String>,
    /// Who gets in where metrics are served, and whether it is encrypted: a file in the format that
    /// Prometheus' exporters share; read anew when it changes
    #[arg(long = "web.config.file", value_name = "FILE", env = "MOZAIKS_EXPORTER_WEB_CONFIG_FILE")]
    pub web_config_file: Option<PathBuf>,
    /// File with a token that opens where metrics are served; read anew when it changes
    #[arg(long = "web.token-file", value_name = "FILE", env = "MOZAIKS_EXPORTER_WEB_TOKEN_FILE")]
    pub web_token_file: Option<PathBuf>,
    /// Address to take pushed events on; empty for none [default: 127.0.0.1:9848]
    #[arg(
        long = "control.listen-address",
        value_name = "ADDRESS",
        env = "MOZAIKS_EXPORTER_CONTROL_LISTEN_ADDRESS"
    )]
    pub control_address: Option<String>,
    /// Who gets in where events are pushed, as `--web.config.file`
    #[arg(
        long = "control.config.file",
        value_name = "FILE",
        env = "MOZAIKS_EXPORTER_CONTROL_CONFIG_FILE"
    )]
    pub control_config_file: Option<PathBuf>,
    /// File with a token that opens where events are pushed; read anew when it changes
    #[arg(
        long = "control.token-file",
        value_name = "FILE",
        env = "MOZAIKS_EXPORTER_CONTROL_TOKEN_FILE"
    )]
    pub control_token_file: Option<PathBuf>,
    /// Whether a failed tool call that is pushed counts as an error alone, or as a call as well
    /// [default: errors]
    #[arg(
        long = "receive.failed-tool-calls",
        value_enum,
        env = "MOZAIKS_EXPORTER_RECEIVE_FAILED_TOOL_CALLS"
    )]
    pub failed_tool_calls: Option<FailedToolCalls>,
    /// How long a pushed event is known again by its id [default: 24h]
    #[arg(
        long = "receive.dedup-window",
        value_name = "DURATION",
        env = "MOZAIKS_EXPORTER_RECEIVE_DEDUP_WINDOW"
    )]
    pub dedup_window: Option<humantime::Duration>,
    /// Directory of the state store [default: the service manager's, else where
    /// state belongs]
    #[arg(long = "state-dir", value_name = "DIR", env = "MOZAIKS_EXPORTER_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Runtime to watch, as URL or NAME=URL; may be given several times; one without URL (NAME=)
    /// is known by its logs alone [default: the one at 127.0.0.1:8000]
    #[arg(
        long = "runtime.url",
        value_name = "[NAME=]URL",
        env = "MOZAIKS_EXPORTER_RUNTIME_URL",
        value_delimiter = ','
    )]
    pub runtime_url: Vec<String>,
    /// Time from one poll of a runtime to the next [default: 15s]
    #[arg(
        long = "runtime.poll-interval",
        value_name = "DURATION",
        env = "MOZAIKS_EXPORTER_RUNTIME_POLL_INTERVAL"
    )]
    pub poll_interval: Option<humantime::Duration>,
    /// How long one request to a runtime may take [default: 10s]
    #[arg(
        long = "runtime.timeout",
        value_name = "DURATION",
        env = "MOZAIKS_EXPORTER_RUNTIME_TIMEOUT"
    )]
    pub timeout: Option<humantime::Duration>,
    /// File with the bearer token for the runtimes; read anew at each poll
    #[arg(
        long = "runtime.token-file",
        value_name = "FILE",
        env = "MOZAIKS_EXPORTER_RUNTIME_TOKEN_FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// File with certificates (PEM) to trust beside the system's
    #[arg(long = "runtime.ca-file", value_name = "FILE", env = "MOZAIKS_EXPORTER_RUNTIME_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Largest answer taken from a runtime [default: 64MiB]
    #[arg(
        long = "runtime.max-body",
        value_name = "SIZE",
        env = "MOZAIKS_EXPORTER_RUNTIME_MAX_BODY"
    )]
    pub max_body: Option<bytesize::ByteSize>,
    /// Log of the runtime to follow: a file, a folder or a glob; may be given several times; with
    /// NAME= it belongs to the runtime of that name, else to the first [default: `LOGS_BASE_DIR`]
    #[arg(
        long = "logs.path",
        value_name = "[NAME=]PATH",
        env = "MOZAIKS_EXPORTER_LOGS_PATH",
        value_delimiter = ','
    )]
    pub logs_path: Vec<String>,
    /// What becomes of log lines that lie there at the very first start [default: read]
    #[arg(long = "logs.backlog", value_enum, env = "MOZAIKS_EXPORTER_LOGS_BACKLOG")]
    pub logs_backlog: Option<Backlog>,
    /// The longest line that is read; longer ones are counted and skipped [default: 1MiB]
    #[arg(long = "logs.max-line", value_name = "SIZE", env = "MOZAIKS_EXPORTER_LOGS_MAX_LINE")]
    pub logs_max_line: Option<bytesize::ByteSize>,
    /// How much of a backlog is read in a second [default: 32MiB]
    #[arg(long = "logs.max-rate", value_name = "SIZE", env = "MOZAIKS_EXPORTER_LOGS_MAX_RATE")]
    pub logs_max_rate: Option<bytesize::ByteSize>,
    /// How long usage of a chat that only the log knows waits for the routes to say whose it is
    /// [default: 1m]
    #[arg(
        long = "logs.introduction-wait",
        value_name = "DURATION",
        env = "MOZAIKS_EXPORTER_LOGS_INTRODUCTION_WAIT"
    )]
    pub introduction_wait: Option<humantime::Duration>,
    /// AG2's log of model calls, text or SQLite; may be given several times [default:
    /// `AG2_RUNTIME_LOG_FILE`, `AG2_RUNTIME_SQLITE_PATH`, else beside the runtime's log]
    #[arg(
        long = "ag2.path",
        value_name = "[NAME=]PATH",
        env = "MOZAIKS_EXPORTER_AG2_PATH",
        value_delimiter = ','
    )]
    pub ag2_path: Vec<PathBuf>,
    /// Flags of MongoDB.
    #[command(flatten)]
    pub mongodb: MongodbArgs,
    /// How long an ended chat keeps its series [default: 24h]
    #[arg(
        long = "chat.retention",
        value_name = "DURATION",
        env = "MOZAIKS_EXPORTER_CHAT_RETENTION"
    )]
    pub retention: Option<humantime::Duration>,
    /// After how long a chat that is missing from the answers is lost [default: 2m]
    #[arg(
        long = "chat.lost-after",
        value_name = "DURATION",
        env = "MOZAIKS_EXPORTER_CHAT_LOST_AFTER"
    )]
    pub lost_after: Option<humantime::Duration>,
    /// After how long without any event a chat that only logs or pushed events tell of is abandoned
    /// [default: 1h]
    #[arg(
        long = "chat.abandoned-after",
        value_name = "DURATION",
        env = "MOZAIKS_EXPORTER_CHAT_ABANDONED_AFTER"
    )]
    pub abandoned_after: Option<humantime::Duration>,
    /// Series budget; a tenth of it is the number of chats with series [default: 100000]
    #[arg(
        long = "chat.max-series",
        value_name = "NUMBER",
        env = "MOZAIKS_EXPORTER_CHAT_MAX_SERIES"
    )]
    pub max_series: Option<u64>,
    /// Longest label value; longer names are cut and get a digest [default: 512]
    #[arg(
        long = "label.max-bytes",
        value_name = "BYTES",
        env = "MOZAIKS_EXPORTER_LABEL_MAX_BYTES"
    )]
    pub label_max_bytes: Option<usize>,
    /// How user ids are shown [default: plain on loopback addresses, else hash]
    #[arg(long = "users", value_enum, env = "MOZAIKS_EXPORTER_USERS")]
    pub users: Option<Users>,
    /// Whether the families' second names are shown, too [default: true]
    #[arg(
        long = "compat",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        env = "MOZAIKS_EXPORTER_COMPAT"
    )]
    pub compat: Option<bool>,
    /// Least level of the log: error, warn, info, debug or trace [default: info]
    #[arg(long = "log.level", value_name = "LEVEL", env = "MOZAIKS_EXPORTER_LOG_LEVEL")]
    pub log_level: Option<tracing::Level>,
    /// Folder of a log file that rotates, beside standard error; empty for none [default:
    /// `LOGS_BASE_DIR`]
    #[arg(
        long = "log.dir",
        value_name = "DIR",
        env = "MOZAIKS_EXPORTER_LOG_DIR",
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    pub log_dir: Option<PathBuf>,
    /// Format of the log [default: json with `LOGS_AS_JSON` or `ENVIRONMENT=production`, else
    /// pretty on a terminal]
    #[arg(long = "log.format", value_enum, env = "MOZAIKS_EXPORTER_LOG_FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How user ids are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Users {
    /// As they are.
    Plain,
    /// As a keyed hash.
    Hash,
    /// Not at all.
    None,
}

impl Users {
    /// How they are shown where `wanted` was said: where anybody may ask, users are not named unless
    /// somebody wants them to be.
    pub fn effective(wanted: Option<Self>, in_reach: bool, asks: bool) -> Self {
        match wanted {
            Some(wanted) => wanted,
            None if !in_reach || asks => Self::Plain,
            None => Self::Hash,
        }
    }
}

/// What a failed tool call counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailedToolCalls {
    /// As an error, as the runtime's documents have it.
    Errors,
    /// As an error and as a call, as the runtime itself does it.
    Calls,
}

/// What becomes of log lines that lie there at the very first start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backlog {
    /// They are read, and belong to the baseline.
    Read,
    /// They are passed over.
    Skip,
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines, a line each.
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn flags_do_not_stand_in_each_others_way() {
        Cli::command().debug_assert();
    }
}
