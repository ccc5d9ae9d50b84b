//! Reads whole logs once, from their beginning to their end, with the readers that follow them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;

use super::ag2;
use super::logs;
use super::tail::{Line, Options, Pattern, PatternError, Tail};
use crate::model::{Event, NameRule, Source, Timestamp};

/// The longest line that is read: AG2 writes prompts in full.
const MAX_LINE: usize = 16 << 20;
/// Rows of a database that are read at a time.
const ROWS: u32 = 1_000;
/// How often it is asked whether all was read.
const ASK: Duration = Duration::from_millis(20);

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A path that is none.
    #[error("--logs.path")]
    Pattern(#[from] PatternError),
    /// Nothing lies there.
    #[error("there is no log at {0}")]
    Missing(String),
    /// A database that cannot be read.
    #[error("cannot read {}", path.display())]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: ag2::Error,
    },
}

/// What was read.
#[derive(Debug, Default)]
pub struct History {
    /// Events and who told of them.
    pub events: Vec<(Source, Event)>,
    /// Lines that tell of something, but not on which day.
    pub undated: u64,
}

/// Reads all of these.
pub async fn read(
    logs: &[String],
    ag2: &[PathBuf],
    names: NameRule,
) -> Result<History, HistoryError> {
    let mut history = History::default();
    for pattern in logs {
        lines(pattern, |line| {
            let dated = line.first() == Some(&b'{');
            if let logs::Read::Line(logs::Line { event: Some(event), .. }) =
                logs::read(line, names, Timestamp::default())
            {
                history.undated += u64::from(!dated);
                history.events.extend(dated.then_some((Source::Logs, event)));
            }
        })
        .await?;
    }
    for path in ag2 {
        if ag2::is_database(path) {
            database(path, names, &mut history)?;
            continue;
        }
        let mut log = ag2::Lines::new(names, None);
        lines(&path.to_string_lossy(), |line| {
            let event = log.read(line, Timestamp::default()).event;
            history.events.extend(event.map(|event| (Source::Ag2, event)));
        })
        .await?;
    }
    Ok(history)
}

async fn lines(pattern: &str, mut take: impl FnMut(&[u8])) -> Result<(), HistoryError> {
    let options = Options {
        max_line_bytes: MAX_LINE,
        max_bytes_per_second: 0,
        ..Options::new(vec![Pattern::parse(pattern)?])
    };
    let mut tail = Tail::open(options, Vec::new());
    while !tail.status().caught_up {
        let Ok(chunk) = timeout(ASK, tail.next()).await else { continue };
        for line in chunk.lines() {
            if let Line::Whole(line) = line {
                take(line);
            }
        }
    }
    if tail.status().files == 0 {
        return Err(HistoryError::Missing(pattern.to_owned()));
    }
    Ok(())
}

fn database(path: &Path, names: NameRule, history: &mut History) -> Result<(), HistoryError> {
    let failed = |source| HistoryError::Database { path: path.to_owned(), source };
    let mut database = ag2::Sqlite::open(path, names, None).map_err(failed)?;
    loop {
        let step = database.step(ROWS, Timestamp::default()).map_err(failed)?;
        history.events.extend(step.events.into_iter().map(|event| (Source::Ag2, event)));
        if !step.more {
            return Ok(());
        }
    }
}
