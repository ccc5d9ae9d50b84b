//! Flags of the short commands: those that write and check files for Prometheus and Grafana, and the
//! probe.

use std::path::PathBuf;

use clap::Args;

use super::ServeArgs;

/// Flags of `assets`.
#[derive(Debug, Default, Args)]
pub struct AssetsArgs {
    /// Folder to write to; it is made if need be
    #[arg(long, short, value_name = "DIR", required_unless_present = "list")]
    pub output: Option<PathBuf>,
    /// Set a parameter, by its name in the list; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Job of the exporters in Prometheus: short for --set job=NAME
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// Exporter for Prometheus to scrape; may be given several times: short for --set exporters=LIST
    #[arg(long, value_name = "HOST:PORT")]
    pub exporter: Vec<String>,
    /// Runtime to probe at the address that users reach; may be given several times: short for --set
    /// runtimes=LIST
    #[arg(long, value_name = "[NAME=]URL")]
    pub runtime: Vec<String>,
    /// Data source of the dashboards by its uid in Grafana, if need be with its name
    #[arg(long, value_name = "UID[/NAME]")]
    pub datasource: Option<String>,
    /// Divide every duration of rules, scrapes and Alertmanager's waits, for rehearsals: with 60 a
    /// minute is a second
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub time_scale: Option<u32>,
    /// Overwrite files that are there and differ
    #[arg(long)]
    pub force: bool,
    /// Print the parameters and write nothing
    #[arg(long)]
    pub list: bool,
}

/// Flags of `check`: with files it proves those, else what `serve` would do with the same flags.
#[derive(Debug, Default, Args)]
pub struct CheckArgs {
    /// Files of rules for Prometheus
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub rules: Vec<PathBuf>,
    /// Dashboards of Grafana (JSON)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub dashboard: Vec<PathBuf>,
    /// Beginning of the names of metrics that others serve; may be given several times
    #[arg(long, value_name = "PREFIX")]
    pub foreign: Vec<String>,
    /// Label that Prometheus adds to all that it scrapes, beside job and instance; may be given
    /// several times
    #[arg(long, value_name = "NAME")]
    pub label: Vec<String>,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
    /// Flags of `serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Flags of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// Address that the exporter listens on
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        env = "MOZAIKS_EXPORTER_WEB_LISTEN_ADDRESS",
        default_value = "127.0.0.1:9847"
    )]
    pub listen_address: String,
    /// Ask whether it is ready, instead of whether it lives
    #[arg(long)]
    pub ready: bool,
    /// The listener speaks TLS; whose certificate it shows is not looked at
    #[arg(long)]
    pub tls: bool,
    /// How long the answer may take
    #[arg(long, value_name = "DURATION", default_value = "3s")]
    pub timeout: humantime::Duration,
}
