//! The task that follows AG2's log, be it text or a database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info, warn};

use super::{Error, Lines, Sqlite, Step};
use crate::model::{Event, NameRule, Report};
use crate::sources::follow::{CaughtUp, Desk};
use crate::sources::tail::{Chunk, Line, Options, Tail};
use crate::telemetry::Reader as Known;

/// How often a database is looked at. It says nothing by itself, and looking costs one `stat`.
const LOOK: Duration = Duration::from_secs(1);
/// Rows read in one step.
const ROWS: u32 = 500;
/// After that many looks a database is read even if it seems to be as before: the clock of its file
/// system may be coarse.
const BLIND_LOOKS: u32 = 30;
/// Endings of databases; a file that is there is known by its beginning.
const ENDINGS: [&str; 3] = ["db", "sqlite", "sqlite3"];
/// How every SQLite database begins.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Key of the last rows that were read.
const ROWS_KEY: &str = "rows";
/// What became of a line, in the words of the `result` label.
const RESULTS: [&str; 4] = ["event", "plain", "flawed", "too_long"];
/// Key of the session under which the last records were written.
const SESSION: &str = "session";

/// Whether that is, or will be, a database.
pub fn is_database(path: &Path) -> bool {
    use std::io::Read as _;
    let mut beginning = [0; MAGIC.len()];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut beginning));
    match read {
        Ok(()) => beginning == *MAGIC,
        Err(_) => path.extension().is_some_and(|ending| ENDINGS.iter().any(|e| ending == *e)),
    }
}

/// Follows AG2's log of one runtime, from one file.
#[derive(Debug)]
pub struct Ag2 {
    desk: Arc<Desk>,
    path: PathBuf,
    names: NameRule,
    options: Options,
}

impl Ag2 {
    /// One that goes on where the last run ended. `options` is for a log that is text.
    pub fn open(desk: Arc<Desk>, path: &Path, options: Options, names: NameRule) -> Self {
        Self { desk, path: path.to_owned(), names, options }
    }

    /// Reads until `stop` is true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        if is_database(&self.path) {
            tokio::select! {
                () = self.follow_database() => {}
                _ = stop.changed() => {}
            }
        } else {
            self.follow_text(stop).await;
        }
    }

    /// The reader's part of a bookmark's key.
    fn reader(&self) -> String {
        self.path.display().to_string()
    }

    async fn follow_text(self, mut stop: watch::Receiver<bool>) {
        let reader = self.reader();
        let mut places = self.desk.places(&reader);
        let session = places.iter().position(|(key, _)| key == SESSION);
        let session = session.map(|index| places.swap_remove(index).1);
        let mut log = Lines::new(self.names, session.as_deref());
        let mut tail = Tail::open(self.options.clone(), places);
        self.desk.announce(&RESULTS);
        let mut caught_up = CaughtUp::new(&self.desk, &reader);
        while !*stop.borrow_and_update() {
            let chunk = tokio::select! {
                chunk = caught_up.next(&mut tail) => chunk,
                _ = stop.changed() => return,
            };
            let (report, results) = self.read(&chunk, &mut log, &reader);
            self.desk.hear(report);
            self.desk.tell(&reader, tail.status(), results);
        }
    }

    fn read(
        &self,
        chunk: &Chunk,
        log: &mut Lines,
        reader: &str,
    ) -> (Report, BTreeMap<&'static str, u64>) {
        let mut results = BTreeMap::new();
        let mut report = self.report(chunk.prior, Vec::new());
        let now = self.desk.intake.ledger.clock().now().wall;
        for line in chunk.lines() {
            let result = match line {
                Line::TooLong { .. } => "too_long",
                Line::Whole(line) => {
                    let read = log.read(line, now);
                    let result = match (&read.event, read.flaw) {
                        (_, Some(_)) => "flawed",
                        (Some(_), None) => "event",
                        (None, None) => "plain",
                    };
                    report.events.extend(read.event);
                    result
                }
            };
            *results.entry(result).or_default() += 1;
        }
        for (key, place) in &chunk.places {
            report.bookmarks.push(self.desk.bookmark(reader, key, place.clone()));
        }
        let session = log.session().map(str::to_owned);
        report.bookmarks.push(self.desk.bookmark(reader, SESSION, session));
        (report, results)
    }

    fn report(&self, prior: bool, events: Vec<Event>) -> Report {
        let (source, runtime) = (self.desk.source, self.desk.runtime);
        Report { source, runtime, prior, events, lines: BTreeMap::new(), bookmarks: Vec::new() }
    }

    async fn follow_database(&self) {
        let reader = self.reader();
        let place = self.desk.places(&reader).into_iter().next().map(|(_, place)| place);
        let mut kept = place.clone();
        let database = Sqlite::open(&self.path, self.names, place.as_deref());
        let mut database = match database {
            Ok(database) => database,
            Err(error) => {
                error!(path = %self.path.display(), %error, "AG2's database is not read");
                self.desk.caught_up();
                return;
            }
        };
        let mut seen = None;
        let mut looks = 0;
        let mut failing = false;
        let mut caught_up = false;
        let mut is_held = false;
        loop {
            let state = look(&self.path);
            looks += 1;
            // The first look is a contact, even if there is nothing.
            if state != seen || looks >= BLIND_LOOKS || kept.is_none() {
                let now = self.desk.intake.ledger.clock().now().wall;
                let task = tokio::task::spawn_blocking(move || {
                    let step = database.step(ROWS, now);
                    (database, step)
                });
                let Ok((back, step)) = task.await else { return };
                database = back;
                let place = database.place();
                let (more, error) = match step {
                    Ok(step) => {
                        let more = step.more;
                        self.take(step, &reader);
                        (more, None)
                    }
                    Err(error) => {
                        if place != kept {
                            self.keep(place.clone(), &reader);
                        }
                        (false, Some(error))
                    }
                };
                kept = place;
                // What the writer holds may be read the next time; what is not there is not wrong.
                let error = error.filter(|error| !matches!(error, Error::Absent));
                is_held = matches!(error, Some(Error::Busy | Error::Unfinished));
                if error.is_none() {
                    (seen, looks) = (state, 0);
                }
                self.announce(error, &mut failing);
                if more {
                    continue;
                }
            }
            // What lies there belongs to the baseline, so the baseline waits for it.
            if !is_held && !std::mem::replace(&mut caught_up, true) {
                self.desk.caught_up();
            }
            sleep(LOOK).await;
        }
    }

    fn announce(&self, error: Option<Error>, failing: &mut bool) {
        let path = self.path.display();
        match error {
            None => {
                self.known(|known| known.problems = 0);
                if std::mem::take(failing) {
                    info!(%path, "AG2's database can be read again");
                }
            }
            Some(Error::Busy) => {}
            Some(error) => {
                self.known(|known| known.problems = 1);
                if !std::mem::replace(failing, true) {
                    warn!(%path, %error, "AG2's database cannot be read");
                }
            }
        }
    }

    fn known(&self, change: impl FnOnce(&mut Known)) {
        self.desk.count(|follower| change(follower.readers.entry(self.reader()).or_default()));
    }

    fn keep(&self, place: Option<String>, reader: &str) {
        let mut report = self.report(false, Vec::new());
        report.bookmarks.push(self.desk.bookmark(reader, ROWS_KEY, place));
        self.desk.hear(report);
    }

    fn take(&self, step: Step, reader: &str) {
        let (events, flaws) = (step.events.len() as u64, step.flaws.len() as u64);
        let mut report = self.report(step.prior, step.events);
        report.bookmarks.push(self.desk.bookmark(reader, ROWS_KEY, Some(step.place)));
        self.desk.hear(report);
        self.desk.count(|follower| {
            *follower.rows.entry("event").or_default() += events;
            *follower.rows.entry("flawed").or_default() += flaws;
        });
        self.known(|known| (known.files, known.rows_behind) = (1, step.behind));
    }
}

/// What changes when a database is written to.
fn look(path: &Path) -> Option<(u64, Option<SystemTime>)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}
