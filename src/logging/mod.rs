//! The exporter's own log, after the runtime's fashion: pretty with emoji for people, JSON lines for
//! machines, to standard error and into a file that rotates. No secret gets through.

mod chain;
mod file;
mod legend;
mod lines;
mod recent;
mod record;
mod timing;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::Level;
use tracing_appender::non_blocking::{ErrorCounter, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer as _, util::SubscriberInitExt as _};

pub use chain::chain;
pub use file::FILE_NAME;
use lines::{Lines, Style};
use recent::Recent;
pub use recent::{Trouble, recent};
pub use timing::{Timed, timed};

use crate::cli::LogFormat;
use crate::model::{Clock, SystemClock};

/// How to log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Setup {
    /// Least level; INFO where nothing is said.
    pub level: Option<Level>,
    /// Format, if somebody said.
    pub format: Option<LogFormat>,
    /// Whether this is production: machines read the log, and files grow larger.
    pub production: bool,
    /// Folder of the file; none without one.
    pub dir: Option<PathBuf>,
}

impl Setup {
    /// Puts together what flags say and, where they are silent, the runtime's own variables say:
    /// `LOGS_AS_JSON`, `ENVIRONMENT` and `LOGS_BASE_DIR`. An empty folder is none.
    pub fn new(
        level: Option<Level>,
        format: Option<LogFormat>,
        dir: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let is_on = |value: String| {
            ["1", "true", "yes", "on"].contains(&value.trim().to_ascii_lowercase().as_str())
        };
        let production = variable("ENVIRONMENT")
            .is_some_and(|environment| environment.trim().eq_ignore_ascii_case("production"));
        let as_json = variable("LOGS_AS_JSON").map(is_on);
        let by_variables = match as_json {
            Some(true) => Some(LogFormat::Json),
            Some(false) | None if production => Some(LogFormat::Json),
            _ => None,
        };
        let dir = dir.map_or_else(
            || variable("LOGS_BASE_DIR").map(PathBuf::from),
            |dir| Some(dir.to_owned()),
        );
        let dir = dir.filter(|dir| !dir.as_os_str().is_empty());
        Self { level, format: format.or(by_variables), production, dir }
    }

    /// The file that is written, if one is.
    pub fn file(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(FILE_NAME))
    }
}

/// To be held until the end: what is still on its way to the file is written when it goes.
#[derive(Debug, Default)]
pub struct Logging {
    worker: Option<WorkerGuard>,
    dropped: Option<ErrorCounter>,
    unwritten: Arc<AtomicUsize>,
}

impl Logging {
    /// Lines that are not in the file: it was too slow for them, or could not be written.
    pub fn dropped_lines(&self) -> usize {
        self.dropped.as_ref().map_or(0, ErrorCounter::dropped_lines)
            + self.unwritten.load(Ordering::Relaxed)
    }
}

/// Starts the log. To be called once; a second start, as in tests, keeps the first log.
pub fn start(setup: &Setup) -> Logging {
    let terminal = std::io::stderr().is_terminal();
    let pretty = setup.format.map_or(terminal, |format| format == LogFormat::Pretty);
    let style = match (pretty, terminal) {
        (true, colours) => Style::Pretty { colours },
        (false, _) => Style::Json,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let console = tracing_subscriber::fmt::layer()
        .event_format(Lines::new(style, Arc::clone(&clock)))
        .with_writer(std::io::stderr);
    let mut logging = Logging::default();
    let mut problem = None;
    let opened = setup.dir.as_deref().and_then(|dir| match file::open(dir, setup.production) {
        Ok(opened) => Some(opened),
        Err(error) => {
            problem = Some((dir.display().to_string(), error.to_string()));
            None
        }
    });
    let file = opened.map(|file::Opened { writer, guard, unwritten }| {
        logging.dropped = Some(writer.error_counter());
        logging.worker = Some(guard);
        logging.unwritten = unwritten;
        let style = match setup.format {
            Some(LogFormat::Pretty) => Style::Pretty { colours: false },
            Some(LogFormat::Json) | None => Style::Json,
        };
        tracing_subscriber::fmt::layer().event_format(Lines::new(style, clock)).with_writer(writer)
    });
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(env!("CARGO_CRATE_NAME"), setup.level.unwrap_or(Level::INFO));
    tracing_subscriber::registry()
        .with(console.with_filter(filter.clone()))
        .with(file.map(|file| file.with_filter(filter)))
        .with(Recent::start().with_filter(LevelFilter::WARN))
        .try_init()
        .ok();
    if let Some((dir, error)) = problem {
        tracing::warn!(%dir, %error, "the log is not written to a file (--log.dir)");
    }
    logging
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(variables: &[(&str, &str)], format: Option<LogFormat>, dir: Option<&str>) -> Setup {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Setup::new(None, format, dir.map(Path::new), find)
    }

    #[test]
    fn flags_come_before_the_runtimes_variables() {
        let json = Some(LogFormat::Json);
        for on in ["1", "true", "YES", "on"] {
            assert_eq!(setup(&[("LOGS_AS_JSON", on)], None, None).format, json);
        }
        assert_eq!(setup(&[("LOGS_AS_JSON", "0")], None, None).format, None);
        let production = setup(&[("ENVIRONMENT", "production")], None, None);
        assert_eq!((production.format, production.production), (json, true));
        let pretty = Some(LogFormat::Pretty);
        assert_eq!(setup(&[("LOGS_AS_JSON", "1")], pretty, None).format, pretty);
    }

    #[test]
    fn the_file_lies_where_the_runtimes_logs_lie_or_nowhere() {
        let variables = [("LOGS_BASE_DIR", "/app/logs")];
        let file = |dir| setup(&variables, None, dir).file();
        assert_eq!(file(None), Some(Path::new("/app/logs").join(FILE_NAME)));
        assert_eq!(file(Some("/else")), Some(Path::new("/else").join(FILE_NAME)));
        assert_eq!(file(Some("")), None);
        assert_eq!(setup(&[], None, None).file(), None);
    }
}
