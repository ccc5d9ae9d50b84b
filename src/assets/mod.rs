//! `assets`: the rules, the configurations of Prometheus and Alertmanager and the dashboards, written
//! to a folder with the user's thresholds and targets.
//!
//! Values are put into the text of the files, so that comments stay and defaults change no byte.

mod boards;
mod files;
mod parameter;
mod scale;
mod value;
mod write;

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

pub use files::{FILES, File};
pub use parameter::{Parameter, parameters};
pub use write::Written;

use crate::cli::AssetsArgs;
use boards::Datasource;
use parameter::Settings;

/// Why nothing, or not everything, was written.
#[derive(Debug, thiserror::Error)]
pub enum AssetsError {
    /// Nowhere to write to.
    #[error("name a folder with --output")]
    Nowhere,
    /// No `NAME=VALUE`.
    #[error("--set wants NAME=VALUE, not {text:?}")]
    Form {
        /// What was given.
        text: String,
    },
    /// Nothing has this name.
    #[error("there is no parameter {name:?}; there are {known} (assets --list says more)")]
    Unknown {
        /// The name.
        name: String,
        /// All names.
        known: String,
    },
    /// A value of another kind.
    #[error("{name} cannot be {value:?}: it takes {wanted} (default: {default})")]
    Value {
        /// Of which parameter.
        name: String,
        /// What was given.
        value: String,
        /// What would be one.
        wanted: String,
        /// What is taken if nothing is said.
        default: &'static str,
    },
    /// No uid.
    #[error("--datasource wants UID or UID/NAME of a data source in Grafana, not {text:?}")]
    Datasource {
        /// What was given.
        text: String,
    },
    /// A dashboard of ours is broken.
    #[error("a dashboard that ships is no JSON")]
    Board(#[source] serde_json::Error),
    /// Files are there that differ.
    #[error(
        "nothing was written: these files are there and differ (--force overwrites them)\n{names}"
    )]
    Differ {
        /// Which, a line each.
        names: String,
    },
    /// What is there cannot be looked at.
    #[error("nothing was written: cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl AssetsError {
    /// Whether the command line is wrong, and not the disk.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Nowhere
                | Self::Form { .. }
                | Self::Unknown { .. }
                | Self::Value { .. }
                | Self::Datasource { .. }
        )
    }
}

/// Writes all files, and says what was done.
pub fn run(args: &AssetsArgs) -> Result<Written, AssetsError> {
    let folder = args.output.as_deref().ok_or(AssetsError::Nowhere)?;
    write::write(folder, &rendered(args)?, args.force)
}

/// All files with what was set.
fn rendered(args: &AssetsArgs) -> Result<Vec<(&'static str, String)>, AssetsError> {
    let mut given = Vec::new();
    for text in &args.set {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        given.push(pair.ok_or_else(|| AssetsError::Form { text: text.clone() })?);
    }
    given.extend(args.job.as_deref().map(|job| ("job", job)));
    let lists = [("exporters", &args.exporter), ("runtimes", &args.runtime)]
        .map(|(name, all)| (name, (!all.is_empty()).then(|| all.join(","))));
    given.extend(lists.iter().filter_map(|(name, list)| Some((*name, list.as_deref()?))));
    let settings = Settings::read(given.into_iter())?;
    let datasource = args.datasource.as_deref().map(Datasource::read).transpose()?;
    FILES
        .iter()
        .map(|file| {
            let text = settings.apply(file.path, file.text)?;
            let text = boards::apply(file.path, &text, &settings, datasource.as_ref())?;
            let is_timed = file.path.ends_with(".rules.yml")
                || matches!(file.path, "alerts/alertmanager.yml" | "alerts/prometheus.yml");
            Ok((
                file.path,
                match args.time_scale {
                    Some(by) if is_timed && by > 1 => scale::divided(&text, by),
                    _ => text,
                },
            ))
        })
        .collect()
}

/// The parameters as a table.
pub fn list() -> String {
    let all = parameters();
    let width = |of: fn(&Parameter) -> &str| all.iter().map(|p| of(p).len()).max().unwrap_or(0);
    let (names, defaults) = (width(|p| p.name), width(|p| p.default));
    let units = width(|p| p.unit);
    let mut out = String::new();
    for Parameter { name, default, unit, what, places } in &all {
        let line = format!("{name:names$}  {default:defaults$}  {unit:units$}  {what}");
        // A string takes whatever is written to it.
        writeln!(out, "{}", line.trim_end()).ok();
        for (path, lines) in places {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            writeln!(out, "{:names$}  {path}:{}", "", lines.join(",")).ok();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(set: &[&str]) -> AssetsArgs {
        let set = set.iter().map(|text| (*text).to_owned()).collect();
        AssetsArgs { set, ..AssetsArgs::default() }
    }

    #[test]
    fn defaults_change_no_byte() {
        for given in [args(&[]), args(&["error-rate=0.05", "error-rate= 5e-2"])] {
            for ((path, text), file) in rendered(&given).unwrap().iter().zip(FILES) {
                assert!(*path == file.path && text == file.text, "{path} has changed");
            }
        }
    }

    #[test]
    fn what_cannot_be_set_is_told_precisely() {
        let said = |set: &str| rendered(&args(&[set])).unwrap_err().to_string();
        assert!(
            said("error-rat=1").contains("error-rate, error-rate-turns,"),
            "{}",
            said("error-rat=1")
        );
        assert_eq!(
            said("quiet-from=7pm"),
            "quiet-from cannot be \"7pm\": it takes a time from 00:01 to 23:59 (default: 19:00)"
        );
        assert!(said("error-rate").contains("NAME=VALUE"));
        let bound = said("latency-objective-seconds=4");
        assert!(bound.contains("a bound of") && bound.contains("2.5, 5, 10"), "{bound}");
    }

    #[test]
    fn each_target_has_a_line() {
        let given = AssetsArgs {
            exporter: vec!["a:1".to_owned(), "[::1]:2".to_owned()],
            runtime: vec!["main=https://a.example.com/".to_owned()],
            ..args(&["runtimes=http://before", "concurrency=70"])
        };
        let all = rendered(&given).unwrap();
        let of = |name| &all.iter().find(|(path, _)| *path == name).unwrap().1;
        let config = of("alerts/prometheus.yml");
        let lines: Vec<&str> = config.lines().filter(|line| line.contains("- targets:")).collect();
        let targets =
            ["127.0.0.1:9093", "a:1", "[::1]:2", "main=https://a.example.com", "127.0.0.1:9090"];
        for (line, target) in lines.iter().zip(targets) {
            assert_eq!(line.trim(), format!("- targets: [\"{target}\"]"));
        }
        assert_eq!(lines.len(), 6, "{config}");
    }

    #[test]
    fn links_have_one_slash() {
        let given = args(&["runbook-url=https://wiki.example.com/runbooks/"]);
        let all = rendered(&given).unwrap();
        let rules: String = all.iter().map(|(_, text)| text.as_str()).collect();
        assert!(rules.contains("https://wiki.example.com/runbooks/HighErrorRate\n"));
        assert!(!rules.contains("runbooks//"));
    }

    #[test]
    fn the_list_names_each_place() {
        let list = list();
        assert!(list.contains("alerts/service.rules.yml:10,15\n"), "{list}");
    }
}
