//! The two forms of a line.
//!
//! ```text
//! 2026-11-24 02:10:07 🔌 INFO [sources::runner] src/sources/runner.rs:117 runner
//!   runtime answers runtime=127.0.0.1:8000
//! ```
//!
//! ```text
//! {"ts":"2026-11-24T02:10:07.123456Z","level":"INFO","logger":"sources::runner",
//!  "msg":"runtime answers","mod":"…::sources::runner","fn":"runner","line":117,
//!  "emoji":"🔌","extra":{"runtime":"127.0.0.1:8000"}}
//! ```

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::legend;
use super::record::Record;
use crate::model::Clock;

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// For people.
    Pretty {
        /// With the colours of a terminal.
        colours: bool,
    },
    /// For machines.
    Json,
}

/// Writes events as lines.
pub(super) struct Lines {
    style: Style,
    clock: Arc<dyn Clock>,
}

impl Lines {
    pub(super) fn new(style: Style, clock: Arc<dyn Clock>) -> Self {
        Self { style, clock }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut record = Record::default();
        event.record(&mut record);
        let metadata = event.metadata();
        let span = context.lookup_current().map(|span| span.name());
        let line = Line {
            at: DateTime::from_timestamp_micros(self.clock.now().wall.0).unwrap_or_default(),
            metadata,
            function: function(span, metadata.module_path()),
            record,
        };
        match self.style {
            Style::Pretty { colours } => line.pretty(&mut writer, colours),
            Style::Json => line.json(&mut writer),
        }
    }
}

/// A line as it is to be written.
struct Line<'a> {
    at: DateTime<Utc>,
    metadata: &'a Metadata<'a>,
    function: &'a str,
    record: Record,
}

/// Rust does not say in which function a line was written: the span around it does, where there is
/// one; else it is the module.
fn function<'a>(span: Option<&'a str>, module: Option<&'a str>) -> &'a str {
    span.or_else(|| module.and_then(|module| module.rsplit("::").next())).unwrap_or_default()
}

impl Line<'_> {
    fn logger(&self) -> &str {
        let target = self.metadata.target();
        let own = concat!(env!("CARGO_CRATE_NAME"), "::");
        target.strip_prefix(own).unwrap_or(target)
    }

    fn json(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let metadata = self.metadata;
        let line = serde_json::json!({
            "ts": self.at.to_rfc3339_opts(SecondsFormat::Micros, true),
            "level": legend::level(*metadata.level()),
            "logger": self.logger(),
            "msg": self.record.message,
            "mod": metadata.module_path(),
            "fn": self.function,
            "line": metadata.line(),
            "emoji": legend::emoji(*metadata.level(), metadata.target()),
            "extra": self.record.extra,
        });
        writeln!(writer, "{line}")
    }

    fn pretty(&self, writer: &mut Writer<'_>, colours: bool) -> fmt::Result {
        let level = *self.metadata.level();
        let colour = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            Level::DEBUG | Level::TRACE => "36",
        };
        let (on, off) =
            if colours { (format!("\x1b[{colour}m"), "\x1b[0m") } else { (String::new(), "") };
        writeln!(
            writer,
            "{} {} {on}{}{off} [{}] {}:{} {}",
            self.at.format("%F %T"),
            legend::emoji(level, self.metadata.target()),
            legend::level(level),
            self.logger(),
            self.metadata.file().unwrap_or_default(),
            self.metadata.line().unwrap_or_default(),
            self.function,
        )?;
        write!(writer, "  {}", OneLine(&self.record.message))?;
        for (name, value) in &self.record.extra {
            match value {
                Value::String(text) => write!(writer, " {name}={}", OneLine(text))?,
                value => write!(writer, " {name}={value}")?,
            }
        }
        writeln!(writer)
    }
}

/// Text without what would move a terminal's cursor: foreign text is echoed here.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            let plain = part.trim_end_matches(char::is_control);
            f.write_str(plain)?;
            for control in part.chars().skip(plain.chars().count()) {
                write!(f, "{}", control.escape_default())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::model::{Instant, Timestamp};

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            Instant { wall: Timestamp(1_795_500_607_123_456), ..Instant::default() }
        }
    }

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(style: Style, log: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(Lines::new(style, Arc::new(Stopped)))
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let bytes = page.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_have_the_keys_of_the_runtimes() {
        let line = logged(Style::Json, || {
            tracing::info!(api_key = "sk-abc123", tokens = 2300, "API call");
        });
        let line: Value = serde_json::from_str(&line).unwrap();
        let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
        let mut expected = ["ts", "level", "logger", "msg", "mod", "fn", "line", "emoji", "extra"];
        expected.sort_unstable();
        assert_eq!(keys, expected);
        assert_eq!(line["ts"], "2026-11-24T06:10:07.123456Z");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["msg"], "API call");
        assert_eq!(line["extra"], serde_json::json!({"api_key": "***", "tokens": 2300}));
        assert_eq!(line["fn"], "tests");
    }

    #[test]
    fn pretty_lines_are_for_people() {
        let text = logged(Style::Pretty { colours: false }, || {
            let _span = tracing::info_span!("poll").entered();
            tracing::warn!(url = "mongodb://u:pass@h", odd = "a\x1b[31mb\nc", "it is away");
        });
        let (first, second) = text.split_once('\n').unwrap();
        assert!(first.starts_with("2026-11-24 06:10:07 ⚠️ WARNING [logging::lines::tests] src/"));
        assert!(first.ends_with(" poll"), "{first}");
        assert_eq!(second, "  it is away odd=a\\u{1b}[31mb\\nc url=mongodb://u:***@h\n");
    }
}
