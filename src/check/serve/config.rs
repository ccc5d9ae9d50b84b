//! The configuration: which file, which variables, and whether they make one.

use std::env;

use clap::{Args as _, Command};

use super::Row;
use crate::cli::ServeArgs;
use crate::config::{AG2_VARIABLES, Config, LOGS_VARIABLE, TOKEN_VARIABLE, URI_VARIABLE};
use crate::logging::chain;

/// How all variables of the exporter begin.
const OURS: &str = "MOZAIKS_EXPORTER_";
/// What Kubernetes sets beside them where a service is called as the exporter is.
const OF_SERVICES: [&str; 2] = ["SERVICE_", "PORT"];

/// What there is to say, and the configuration if there is one.
pub(super) fn rows(args: &ServeArgs) -> (Vec<Row>, Option<Config>) {
    let mut rows = variables();
    let file = args.config_file.as_ref().map(|path| path.display().to_string());
    let config = match Config::load(args) {
        Ok(config) => {
            let what = file.map_or("flags and environment alone".to_owned(), |file| {
                format!("{file} is read and understood")
            });
            rows.insert(0, Row::ok("configuration", what));
            Some(config)
        }
        Err(error) => {
            let remedy = "set it right: nothing else can be looked at before";
            rows.insert(0, Row::fail("configuration", chain(&error), remedy));
            None
        }
    };
    (rows, config)
}

/// Variables by their names: what is in them may be secret.
fn variables() -> Vec<Row> {
    let known = known();
    let set = |name: &String| env::var_os(name).is_some_and(|value| !value.is_empty());
    let set: Vec<_> = known.iter().filter(|name| set(name)).cloned().collect();
    let mut rows = Vec::new();
    if !set.is_empty() {
        let what = format!("set, and before the file: {}", set.join(", "));
        rows.push(Row::ok("environment", what));
    }
    let named = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<_> = named
        .filter(|name| {
            name.strip_prefix(OURS)
                .is_some_and(|rest| !OF_SERVICES.iter().any(|service| rest.starts_with(service)))
        })
        .filter(|name| !known.contains(name))
        .collect();
    unknown.sort_unstable();
    if !unknown.is_empty() {
        let what = format!("set, and not known: {}", unknown.join(", "));
        rows.push(Row::warn("environment", what, "correct the names (serve --help lists them)"));
    }
    rows
}

/// Variables that mean something.
fn known() -> Vec<String> {
    let flags = ServeArgs::augment_args(Command::new("serve"));
    let named = flags.get_arguments().filter_map(|flag| flag.get_env());
    let mut known: Vec<_> = named.map(|name| name.to_string_lossy().into_owned()).collect();
    known.extend([TOKEN_VARIABLE, LOGS_VARIABLE, URI_VARIABLE].map(str::to_owned));
    known.extend(AG2_VARIABLES.map(str::to_owned));
    known
}
