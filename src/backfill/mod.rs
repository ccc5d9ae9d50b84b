//! `backfill`: what old logs tell, as samples with timestamps.
//!
//! The events are read by the same readers and booked by the same ledger as in `serve`, which is
//! taken through the past step by step. So last month's numbers are made by the rules of today's.

mod labels;
mod series;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::BackfillArgs;
use crate::ledger::{Ledger, Settings};
use crate::metrics::{Show, UserPolicy, View, render_history};
use crate::model::{Event, Instant, Mono, NameRule, Report, RuntimeId, Source, Timestamp};
use crate::sources::history::{self, HistoryError};
use crate::telemetry::Numbers;
use series::Recorder;

/// Micros in a second.
const SECOND: i64 = 1_000_000;
/// Longest label value, as in `serve` if nothing is said.
const LABEL_BYTES: usize = 512;

/// A year of half minutes.
const MAX_STEPS: i64 = 1_051_200;

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// Nothing to read was named.
    #[error("nothing to read: name a log with --logs.path or --ag2.path")]
    Nothing,
    /// A step that is none.
    #[error("--step must be at least 1s")]
    Step,
    /// A label that cannot be one.
    #[error("--label cannot be {text:?}: {wanted}")]
    Label {
        /// What was given.
        text: String,
        /// What would be one.
        wanted: &'static str,
    },
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] HistoryError),
    /// No event has a time.
    #[error("the logs tell of nothing that could be dated ({undated} lines have no date)")]
    Empty {
        /// Lines of the pretty form.
        undated: u64,
    },
    /// More steps than anybody wants.
    #[error("the logs tell of {} to {}, which are more than {MAX_STEPS} steps; give a larger --step", first.seconds(), last.seconds())]
    Span {
        /// When the first event happened.
        first: Timestamp,
        /// When the last one did.
        last: Timestamp,
    },
    /// The samples cannot be written.
    #[error("cannot write {}", path.as_ref().map_or("standard output".into(), |p| p.display().to_string()))]
    Write {
        /// Where to.
        path: Option<PathBuf>,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What was done.
#[derive(Debug, Clone, Copy)]
pub struct Summary {
    /// Events that were read.
    pub events: usize,
    /// Lines without a date, which were left out.
    pub undated: u64,
    /// Samples that were written.
    pub samples: u64,
    /// When the first event happened.
    pub first: Timestamp,
    /// When the last one did.
    pub last: Timestamp,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let day = |at: Timestamp| {
            let time = chrono::DateTime::from_timestamp_micros(at.0);
            time.map_or_else(|| at.0.to_string(), |time| time.format("%F %T").to_string())
        };
        let Self { events, samples, undated, .. } = self;
        let (first, last) = (day(self.first), day(self.last));
        write!(f, "{samples} samples of {events} events from {first} to {last} UTC")?;
        if *undated > 0 {
            write!(f, "; {undated} lines without a date were left out")?;
        }
        Ok(())
    }
}

/// Reads the logs and writes the samples.
pub async fn run(args: &BackfillArgs) -> Result<Summary, BackfillError> {
    if args.logs_path.is_empty() && args.ag2_path.is_empty() {
        return Err(BackfillError::Nothing);
    }
    let step = i64::try_from(args.step.as_secs()).unwrap_or(i64::MAX);
    if step < 1 {
        return Err(BackfillError::Step);
    }
    let labels = labels::read(&args.label)?;
    let names = NameRule::new(LABEL_BYTES);
    let read = history::read(&args.logs_path, &args.ag2_path, names).await?;
    let mut events = read.events;
    events.sort_by_key(|(_, event)| event.at);
    let (Some((_, first)), Some((_, last))) = (events.first(), events.last()) else {
        return Err(BackfillError::Empty { undated: read.undated });
    };
    let (first, last, number) = (first.at, last.at, events.len());
    if last.0.saturating_sub(first.0) / SECOND / step > MAX_STEPS {
        return Err(BackfillError::Span { first, last });
    }
    let mut recorder = Recorder::new(step, labels);
    record(events, step, args, &mut recorder);
    let written = |source| BackfillError::Write { path: args.output.clone(), source };
    let samples = match &args.output {
        Some(path) => {
            let mut out = BufWriter::new(File::create(path).map_err(written)?);
            recorder.write(&mut out).and_then(|samples| out.flush().map(|()| samples))
        }
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            recorder.write(&mut out).and_then(|samples| out.flush().map(|()| samples))
        }
    };
    let samples = samples.map_err(written)?;
    Ok(Summary { events: number, undated: read.undated, samples, first, last })
}

/// Takes a ledger through the past, and notes what is to be seen after each step.
fn record(events: Vec<(Source, Event)>, step: i64, args: &BackfillArgs, recorder: &mut Recorder) {
    let settings = Settings {
        // What happened is shown to the end, however long it lies back.
        retention: Duration::MAX,
        max_chats: if args.chats { usize::MAX } else { 0 },
        introduction_wait: Duration::from_secs(step.unsigned_abs()),
        ..Settings::default()
    };
    let show = Show { users: UserPolicy::None, compat: false, max_series: 0 };
    let numbers = Numbers::default();
    let mut ledger = Ledger::new(settings);
    let mut events = events.into_iter().peekable();
    let Some((_, first)) = events.peek() else { return };
    let mut at = first.at.0.div_euclid(SECOND).div_euclid(step).saturating_mul(step);
    let moment = |at: i64| {
        let micros = at.saturating_mul(SECOND);
        Instant { wall: Timestamp(micros), mono: Mono(micros) }
    };
    let sources = sources(args);
    let runtime = ledger.watch("backfill", &sources, moment(at));
    for source in &sources {
        ledger.join(runtime, *source);
        ledger.caught_up(runtime, *source, moment(at));
    }
    let mut seen = 0;
    while events.peek().is_some() || ledger.waiting() > 0 {
        at = at.saturating_add(step);
        let now = moment(at);
        while let Some((source, event)) = events.next_if(|(_, event)| event.at < now.wall) {
            ledger.learn(report(runtime, source, event), now);
        }
        ledger.tick(now);
        recorder.pass(at);
        if ledger.version() != seen {
            // Nobody keeps this ledger; taking the changes out makes the next ones show.
            ledger.take_changes(now);
            seen = ledger.version();
            let text = render_history(&View::new(&ledger, &numbers, &show, now), args.chats);
            recorder.take(at, &String::from_utf8_lossy(&text));
        }
    }
}

fn sources(args: &BackfillArgs) -> Vec<Source> {
    let ag2 = (!args.ag2_path.is_empty()).then_some(Source::Ag2);
    let logs = (!args.logs_path.is_empty()).then_some(Source::Logs);
    [logs, ag2].into_iter().flatten().collect()
}

fn report(runtime: RuntimeId, source: Source, event: Event) -> Report {
    let (lines, bookmarks) = (std::collections::BTreeMap::new(), Vec::new());
    Report { source, runtime, prior: false, events: vec![event], lines, bookmarks }
}
