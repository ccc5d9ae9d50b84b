//! AG2's log where it is an SQLite database, read while AG2 writes it.
//!
//! The writer keeps a rollback journal: while anybody reads, it waits, and after five seconds it
//! gives up and drops the row. So every step opens the file, reads a bounded number of rows for a
//! bounded time, and closes it. Nothing is held in between, and a file that was deleted or replaced
//! is noticed at the next step. The file is never changed, and none is ever made beside it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::call::Flaw;
use super::place::{Mark, Place, Track};
use super::rows::{Rows, calls, completions, newest, sum_at};
use crate::model::{Event, NameRule, Timestamp};

/// The version of the tables that is known (`version.version_number`).
const VERSION: i64 = 1;
/// How long to wait for the writer. It holds its lock for one row.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the writer may be kept waiting: a small part of its five seconds.
const HOLD: Duration = Duration::from_millis(100);
/// Where the header of the file says how it is written, and what it says for a write-ahead log.
const WRITE_VERSION: (usize, u8) = (18, 2);
/// What is read of each table.
const COLUMNS: [(&str, &[&str]); 3] = [
    (
        "chat_completions",
        &[
            "id",
            "invocation_id",
            "session_id",
            "source_name",
            "request",
            "response",
            "is_cached",
            "cost",
            "start_time",
            "end_time",
        ],
    ),
    ("function_calls", &["source_id", "function_name", "timestamp"]),
    ("agents", &["id", "agent_id", "session_id", "timestamp"]),
];

/// Why the database could not be read. Holds nothing of what stands in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there. AG2 makes it when the first session begins.
    #[error("there is no file")]
    Absent,
    /// The writer held it for too long. It may be tried again at once.
    #[error("the writer holds the database")]
    Busy,
    /// The writer died in the middle of a write; who opens it next for writing repairs it.
    #[error("a write was broken off; AG2 repairs the database when it next starts")]
    Unfinished,
    /// It is no database, or a damaged one.
    #[error("the file is not an SQLite database, or is damaged")]
    Damaged,
    /// It keeps a write-ahead log, which cannot be read without making files beside it.
    #[error("the database is in WAL mode, which AG2 does not use and this reader does not take")]
    Wal,
    /// The tables are of another version.
    #[error("the tables have version {0}, known is {VERSION}")]
    Version(i64),
    /// A table or column is missing.
    #[error("table {table} has no column {column}; is this a log of AG2?")]
    Columns {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The place was not written by this reader.
    #[error("the bookmark is not one of this reader")]
    Place,
    /// Something in between failed.
    #[error("cannot read the file")]
    Io(#[source] io::Error),
    /// Anything else that SQLite may say.
    #[error("SQLite failed with code {0}")]
    Sqlite(i32),
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        // Messages of SQLite may quote the file; its codes do not.
        let Some(error) = error.sqlite_error() else {
            return Self::Damaged;
        };
        match error.code {
            _ if error.extended_code == ffi::SQLITE_READONLY_ROLLBACK => Self::Unfinished,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
            ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt => Self::Damaged,
            _ => Self::Sqlite(error.extended_code),
        }
    }
}

/// What one step read.
#[derive(Debug)]
pub struct Step {
    /// What was told, per table in the order in which it was written.
    pub events: Vec<Event>,
    /// What was wrong with rows, one each.
    pub flaws: Vec<Flaw>,
    /// All of it lay there at first contact.
    pub prior: bool,
    /// How far it has got: to be kept together with `events`.
    pub place: String,
    /// There is more to read right now.
    pub more: bool,
    /// About how many rows are still to be read.
    pub behind: u64,
}

/// Reads AG2's database step by step.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    names: NameRule,
    /// `None` before first contact.
    place: Option<Place>,
}

impl Sqlite {
    /// Goes on from `place`, as [`Step::place`] told it; `None` before first contact. Nothing is
    /// opened yet.
    pub fn open(
        path: impl Into<PathBuf>,
        names: NameRule,
        place: Option<&str>,
    ) -> Result<Self, Error> {
        let place = place.map(serde_json::from_str).transpose().map_err(|_| Error::Place)?;
        Ok(Self { path: path.into(), names, place })
    }

    /// How far it has got, to be kept; `None` before first contact.
    ///
    /// A file that is not there counts as a contact: what is written into it later is new.
    pub fn place(&self) -> Option<String> {
        self.place.as_ref().map(told)
    }

    /// Reads the next rows, at most `limit` of each table. `now` is when something happened that
    /// does not say so. Waits for the disk: not to be called where nothing may wait.
    pub fn step(&mut self, limit: u32, now: Timestamp) -> Result<Step, Error> {
        match self.try_step(limit, now) {
            Err(Error::Absent) => {
                self.place.get_or_insert_default();
                Err(Error::Absent)
            }
            result => result,
        }
    }

    fn try_step(&mut self, limit: u32, now: Timestamp) -> Result<Step, Error> {
        if is_empty(&self.path)? {
            return Ok(nothing(self.place.get_or_insert_default()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(PATIENCE)?;
        if !check(&connection)? {
            return Ok(nothing(self.place.get_or_insert_default()));
        }
        let newest = (newest(&connection, Rows::Completions)?, newest(&connection, Rows::Calls)?);
        let mut place = match self.place {
            Some(place) => Place {
                completions: same_file(place.completions, Rows::Completions, &connection)?,
                calls: same_file(place.calls, Rows::Calls, &connection)?,
            },
            None => Place { completions: Track::before(newest.0), calls: Track::before(newest.1) },
        };
        let prior = place.completions.is_prior() || place.calls.is_prior();
        let mut step = Step { prior, ..nothing(&place) };
        let limits = Limits { rows: limit.max(1), until: Instant::now() + HOLD, prior };
        let done =
            completions(&connection, &mut place.completions, limits, (self.names, now), &mut step)?;
        if prior && done {
            place.completions.border_reached();
        }
        let limits = Limits { until: Instant::now() + HOLD, ..limits };
        let done = calls(&connection, &mut place.calls, limits, (self.names, now), &mut step)?;
        if prior && done {
            place.calls.border_reached();
        }
        let behind = |newest: Option<Mark>, track: Track| {
            let newest = newest.map_or(0, |mark| mark.id);
            u64::try_from(newest.saturating_sub(track.last)).unwrap_or(0)
        };
        step.behind = behind(newest.0, place.completions) + behind(newest.1, place.calls);
        step.more = step.behind > 0;
        step.place = told(&place);
        // Only now: a step that failed is read again from its beginning.
        self.place = Some(place);
        Ok(step)
    }
}

/// What a step may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) rows: u32,
    pub(super) until: Instant,
    pub(super) prior: bool,
}

fn nothing(place: &Place) -> Step {
    Step {
        events: Vec::new(),
        flaws: Vec::new(),
        prior: false,
        place: told(place),
        more: false,
        behind: 0,
    }
}

fn told(place: &Place) -> String {
    serde_json::json!(place).to_string()
}

/// Whether nothing was written yet. Refuses what cannot be read without writing.
fn is_empty(path: &Path) -> Result<bool, Error> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::Absent,
        _ => Error::Io(error),
    };
    let mut header = Vec::with_capacity(20);
    File::open(path).map_err(failed)?.take(20).read_to_end(&mut header).map_err(failed)?;
    let (at, wal) = WRITE_VERSION;
    if header.get(at) == Some(&wal) { Err(Error::Wal) } else { Ok(header.is_empty()) }
}

/// Whether the tables are there; `false` where none is yet.
fn check(connection: &Connection) -> Result<bool, Error> {
    let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
    if connection.query_row(count, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(false);
    }
    let mut has = connection.prepare("SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2")?;
    for (table, columns) in COLUMNS {
        for column in columns {
            if !has.exists([table, column])? {
                return Err(Error::Columns { table, column });
            }
        }
    }
    if !has.exists(["version", "version_number"])? {
        return Err(Error::Columns { table: "version", column: "version_number" });
    }
    let version = "SELECT max(CAST(version_number AS INTEGER)) FROM version";
    match connection.query_row(version, [], |row| row.get::<_, Option<i64>>(0))? {
        // It is written last, in a transaction of its own.
        None | Some(VERSION) => Ok(true),
        Some(other) => Err(Error::Version(other)),
    }
}

/// The track as it was, or a new one where the file is another.
fn same_file(track: Track, rows: Rows, connection: &Connection) -> Result<Track, Error> {
    let Some(mark) = track.mark else {
        return Ok(track);
    };
    let is_same = sum_at(connection, rows, mark.id)? == Some(mark.sum);
    Ok(if is_same { track } else { Track::default() })
}
