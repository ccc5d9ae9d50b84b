//! The task that follows the runtime's log.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;

use super::line::{Read, read};
use crate::model::{Level, NameRule, Report, Timestamp};
use crate::sources::follow::{CaughtUp, Desk};
use crate::sources::tail::{Chunk, Line, Options, Tail};

/// Files in a folder of logs that are somebody else's, or hold the lines of others once more:
/// AG2's own log under both its names, transcripts, what the service manager caught, and the tools'
/// log, which says in a form of its own what stands in the main log.
const NOT_OURS: [&str; 6] = [
    "ag2_runtime.log",
    "autogen_file.log",
    "agent_conversations.log",
    "app.log",
    "app-error.log",
    "tools.log",
];
/// The reader's part of a bookmark's key.
const READER: &str = "files";

/// What became of a line, in the words of the `result` label.
const RESULTS: [&str; 7] =
    ["event", "plain", "echo", "continuation", "unreadable", "flawed", "too_long"];

/// Follows the log of one runtime.
#[derive(Debug)]
pub struct Logs {
    desk: Arc<Desk>,
    tail: Tail,
    names: NameRule,
}

impl Logs {
    /// Goes on where the last run ended.
    pub fn open(desk: Arc<Desk>, options: Options, names: NameRule) -> Self {
        let tail = Tail::open(options, desk.places(READER));
        desk.announce(&RESULTS);
        Self { desk, tail, names }
    }

    /// Reads until `stop` is true.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let desk = Arc::clone(&self.desk);
        let mut caught_up = CaughtUp::new(&desk, READER);
        while !*stop.borrow_and_update() {
            let chunk = tokio::select! {
                chunk = caught_up.next(&mut self.tail) => chunk,
                _ = stop.changed() => return,
            };
            let now = self.desk.intake.ledger.clock().now().wall;
            let (report, results) = self.read(&chunk, now);
            self.desk.hear(report);
            desk.tell(READER, self.tail.status(), results);
        }
    }

    /// What a chunk says, and what became of its lines.
    fn read(&self, chunk: &Chunk, now: Timestamp) -> (Report, BTreeMap<&'static str, u64>) {
        let mut results = BTreeMap::new();
        let mut report = Report {
            source: self.desk.source,
            runtime: self.desk.runtime,
            prior: chunk.prior,
            events: Vec::new(),
            lines: BTreeMap::new(),
            bookmarks: Vec::new(),
        };
        let mut loggers = HashMap::new();
        for line in chunk.lines() {
            let result = match line {
                Line::TooLong { .. } => "too_long",
                Line::Whole(line) => self.one(line, now, &mut report, &mut loggers),
            };
            *results.entry(result).or_default() += 1;
        }
        for (logger, levels) in loggers {
            let counted = Level::ALL.into_iter().zip(levels).filter(|(_, lines)| *lines > 0);
            for (level, lines) in counted {
                report.lines.insert((level, logger.clone().into_owned()), lines);
            }
        }
        for (key, place) in &chunk.places {
            report.bookmarks.push(self.desk.bookmark(READER, key, place.clone()));
        }
        (report, results)
    }

    fn one<'a>(
        &self,
        line: &'a [u8],
        now: Timestamp,
        report: &mut Report,
        loggers: &mut HashMap<Cow<'a, str>, [u64; Level::ALL.len()]>,
    ) -> &'static str {
        let line = match read(line, self.names, now) {
            Read::Line(line) => line,
            Read::Continuation => return "continuation",
            Read::Unreadable(_) => return "unreadable",
        };
        if line.echo {
            return "echo";
        }
        loggers.entry(line.logger).or_default()[line.level as usize] += 1;
        let result = match (&line.event, line.flaw) {
            (_, Some(_)) => "flawed",
            (Some(_), None) => "event",
            (None, None) => "plain",
        };
        report.events.extend(line.event);
        result
    }
}

/// Which files in a folder are not to be followed.
pub fn not_ours(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> + '_ {
    NOT_OURS.iter().map(|name| folder.join(name))
}
