//! The exporter's own log: pretty for people, JSON lines for machines, always to standard error.

use std::fmt;
use std::io::IsTerminal as _;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer as _, filter::LevelFilter, util::SubscriberInitExt as _};

use crate::cli::LogFormat;
use crate::model::{Clock as _, SystemClock};

/// Starts the log. To be called once.
pub fn start(level: Level, format: Option<LogFormat>) {
    let pretty = match format {
        Some(format) => format == LogFormat::Pretty,
        None => std::io::stderr().is_terminal(),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if pretty {
        layer.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed()
    } else {
        layer.event_format(JsonLines { clock: SystemClock::start() }).boxed()
    };
    let filter = tracing_subscriber::filter::Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(env!("CARGO_CRATE_NAME"), level);
    // A second start, as in tests, keeps the first log.
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().ok();
}

/// `{"ts":…,"level":…,"logger":…,"msg":…,"mod":…,"line":…,"extra":{…}}`, as the runtime writes.
struct JsonLines {
    clock: SystemClock,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let ts = DateTime::from_timestamp_micros(self.clock.now().wall.0)
            .map(|ts| ts.to_rfc3339_opts(SecondsFormat::Micros, true));
        let level = match *metadata.level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        let line = serde_json::json!({
            "ts": ts,
            "level": level,
            "logger": metadata.target(),
            "msg": fields.message,
            "mod": metadata.module_path(),
            "line": metadata.line(),
            "extra": fields.extra,
        });
        writeln!(writer, "{line}")
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    extra: Map<String, Value>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.extra.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
