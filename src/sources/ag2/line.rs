//! AG2's log where it is a text file: one record per line, among lines of plain text.
//!
//! ```text
//! Started new session with Session ID: 4f67b8cd-1c19-49af-a262-773fe55ad4ea
//! {"invocation_id": …, "request": {…}, "response": "ChatCompletion(…)", "is_cached": 0,
//!  "cost": 0.000384, "start_time": "2026-11-22 01:45:50.890768", "end_time": …, "source_name": …}
//! {"source_id": …, "source_name": …, …, "timestamp": …, "input_args": "…", "returns": "…"}
//! ```

use std::borrow::Cow;

use super::call::{Call, Flaw, Taker, tool};
use super::response::{self, requested_model};
use crate::model::{Event, NameRule, Timestamp};
use crate::sources::flat::{Raw, fields, object_of};
use crate::sources::nan::without_nan;
use crate::sources::value::{Refusal, instant, money, text};

/// What comes before the id of a session.
const STARTED: &[u8] = b"Started new session with Session ID: ";

/// What a line says.
#[derive(Debug, Default, PartialEq)]
pub struct Read {
    /// What it tells.
    pub event: Option<Event>,
    /// Why `event` is missing, or tells less than it should.
    pub flaw: Option<Flaw>,
}

/// Reads a log from its beginning, or from where it was left.
///
/// Records of model calls and tools name no session: they belong to the one that began last.
#[derive(Debug, Clone)]
pub struct Lines {
    names: NameRule,
    session: Option<String>,
}

fields! {
    /// A record, as far as anything in it is used. Kinds are told apart by their keys.
    struct Record { invocation_id, request, response, is_cached, cost, start_time, end_time, source_name, event_name, timestamp, input_args }
}

impl Lines {
    /// Goes on in `session`, as [`Lines::session`] told it; `None` at the beginning of a log.
    pub fn new(names: NameRule, session: Option<&str>) -> Self {
        let session = session.filter(|id| !id.is_empty());
        let session = session.map(|id| names.bound(Cow::Borrowed(id)).into_owned());
        Self { names, session }
    }

    /// The session that began last. Bounded and not empty.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// Reads a line without its line break. `now` is when something happened that does not say so.
    pub fn read(&mut self, line: &[u8], now: Timestamp) -> Read {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(id) = line.strip_prefix(STARTED) {
            let id = String::from_utf8_lossy(id);
            *self = Self::new(self.names, Some(id.trim()));
            return Read::default();
        }
        if line.first() != Some(&b'{') {
            return Read::default();
        }
        if let Ok(record) = object_of(line) {
            return self.record(&record, now);
        }
        match without_nan(line).as_deref().map(object_of) {
            Some(Ok(record)) => self.record(&record, now),
            Some(Err(_)) | None => Read { event: None, flaw: Some(Flaw::Shape) },
        }
    }

    fn record(&self, record: &Record<'_>, now: Timestamp) -> Read {
        let mut take = Taker::new(self.names);
        let session = self.session.clone();
        let event = if record.invocation_id.is_some() {
            Some(call(session, record, &mut take).event(&mut take, now))
        } else if record.input_args.is_some() && record.event_name.is_none() {
            // The name of the tool is not written down; that of its agent is of no use without.
            let at = time(record.timestamp);
            Some(tool(session, None, take.time(at, now)))
        } else {
            None
        };
        Read { event, flaw: take.flaw }
    }
}

fn call(session: Option<String>, record: &Record<'_>, take: &mut Taker) -> Call {
    let mut response = response::read(record.response, take);
    if response.model.is_none() {
        response.model = requested_model(record.request, take);
    }
    let agent = take.or_none(text(record.source_name));
    let cost = take.or_none(money(record.cost));
    let cached = take.or_none(flag(record.is_cached)).unwrap_or_default();
    Call {
        session,
        agent: take.name(agent),
        response,
        cost,
        cached,
        start: time(record.start_time),
        end: time(record.end_time),
    }
}

fn time(raw: Option<Raw<'_>>) -> Option<Timestamp> {
    instant(&text(raw).ok()??)
}

/// Python's `0` and `1`, or what JSON has for them.
fn flag(raw: Option<Raw<'_>>) -> Result<Option<bool>, Refusal> {
    match raw.map(Raw::get) {
        None | Some("null") => Ok(None),
        Some("0" | "false") => Ok(Some(false)),
        Some("1" | "true") => Ok(Some(true)),
        Some(_) => Err(Refusal::NotANumber),
    }
}
