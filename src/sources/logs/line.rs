//! One line of the log, in either of its two forms.
//!
//! ```text
//! {"ts": "2026-11-22T01:47:03.388461+00:00", "level": "INFO", "logger": "mozaiks.workflow",
//!  "msg": "agent_turn", "mod": …, "extra": {"taskName": …, "chat_id": "3f2b…", "cost_usd": …}}
//! ```
//!
//! Four lines in five tell no event, and are known by their first keys, which Python's `json.dumps`
//! always writes in one place and one way. A line counts by its level and logger, whether or not
//! its end can be read.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::extra::{self, Extra};
use super::meaning::{Kind, Meaning, matters, meaning};
use super::pretty;
use crate::model::{Event, Level, NameRule, Timestamp};
use crate::sources::flat::{Walk, plain_len};
use crate::sources::nan::without_nan;
use crate::sources::value::{Refusal, instant, unquoted};

/// How every line of the JSON form begins.
const BEGINNING: &[u8] = br#"{"ts": ""#;

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once, and nearly always the first")]
pub enum Read<'a> {
    /// A line of the log.
    Line(Line<'a>),
    /// More of the line before: of a traceback, or of a message of several lines.
    Continuation,
    /// The beginning of a line of the JSON form whose level or logger cannot be read.
    Unreadable(Flaw),
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line<'a> {
    /// Its severity.
    pub level: Level,
    /// Who wrote it. Bounded and not empty.
    pub logger: Cow<'a, str>,
    /// It is there because somebody asked the runtime over HTTP, as this exporter does all the
    /// time. Not to be counted: we would count ourselves.
    pub echo: bool,
    /// What it tells.
    pub event: Option<Event>,
    /// Why `event` is missing, or tells less than it should.
    pub flaw: Option<Flaw>,
}

/// What is wrong with a line, in the words of the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Flaw {
    /// Not JSON, or broken off, or of another shape.
    #[error("it is not the JSON of a log line")]
    Shape,
    /// No level that is known.
    #[error("its level is none of Python's")]
    Level,
    /// No time.
    #[error("it does not say when it was written")]
    Time,
    /// No `chat_id`.
    #[error("it names no chat")]
    NoChat,
    /// No `session_id`.
    #[error("it names no session")]
    NoSession,
    /// Neither true nor false.
    #[error("a flag in it is neither true nor false")]
    NotABool,
    /// In the pretty form, an id that could end in more than one place.
    #[error("it does not say where the ids in it end")]
    Ambiguous,
    /// A value that cannot be used.
    #[error("{0}")]
    Value(Refusal),
}

impl Flaw {
    /// The value of the `reason` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Shape => "shape",
            Self::Level => "level",
            Self::Time => "time",
            Self::NoChat => "no_chat",
            Self::NoSession => "no_session",
            Self::NotABool => "not_a_bool",
            Self::Ambiguous => "ambiguous",
            Self::Value(refusal) => refusal.label(),
        }
    }
}

impl<'a> Line<'a> {
    /// A line that tells nothing.
    pub(super) fn bare(level: Level, logger: Cow<'a, str>, names: NameRule) -> Self {
        let logger = names.bound_or_unknown(Some(logger));
        Line { level, logger, echo: false, event: None, flaw: None }
    }
}

/// Reads a line without its line break.
///
/// `now` is when an event happened whose line does not say it: in the pretty form there is the time
/// of the day only, in the time zone of the runtime's host, which nobody knows.
pub fn read(line: &[u8], names: NameRule, now: Timestamp) -> Read<'_> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if let Some(head) = head(line) {
        return Read::Line(known(line, head, names, now));
    }
    if line.first() != Some(&b'{') {
        return pretty::read(line, names, now);
    }
    match with_wire(line, |wire| unknown(wire, names, now)) {
        Ok(read) => read,
        // What a message of several lines spills over may begin like that, too.
        Err(_) if !line.starts_with(BEGINNING) => Read::Continuation,
        Err(flaw) => Read::Unreadable(flaw),
    }
}

/// The first keys of a line in the place where `json.dumps` writes them.
#[derive(Clone, Copy)]
struct Head<'a> {
    level: Level,
    logger: &'a str,
    /// From the first character of the message on.
    rest: &'a [u8],
}

/// `None` where anything is not as it is written by `json.dumps` without a need to escape.
fn head(line: &[u8]) -> Option<Head<'_>> {
    let (_, rest) = plain(line.strip_prefix(BEGINNING)?)?;
    let (level, rest) = plain(rest.strip_prefix(br#", "level": ""#)?)?;
    let (logger, rest) = plain(rest.strip_prefix(br#", "logger": ""#)?)?;
    let rest = rest.strip_prefix(br#", "msg": ""#)?;
    Some(Head { level: level_of(level)?, logger, rest })
}

/// The string that goes on from here, if nothing in it is escaped, and what comes after its end.
fn plain(rest: &[u8]) -> Option<(&str, &[u8])> {
    let (text, rest) = rest.split_at(plain_len(rest)?);
    Some((str::from_utf8(text).ok()?, rest.strip_prefix(b"\"")?))
}

pub(super) fn level_of(name: &str) -> Option<Level> {
    Level::ALL.into_iter().find(|level| level.label() == name)
}

/// A line whose level and logger are known.
fn known<'a>(line: &'a [u8], head: Head<'a>, names: NameRule, now: Timestamp) -> Line<'a> {
    let mut read = Line::bare(head.level, Cow::Borrowed(head.logger), names);
    if !matters(head.logger) {
        return read;
    }
    let by_message = plain(head.rest).map(|(text, _)| meaning(head.level, head.logger, text));
    let told = match by_message {
        Some(Meaning::None) => return read,
        Some(Meaning::Echo) => Ok((true, None, None)),
        Some(Meaning::Event(kind)) => with_wire(line, |wire| {
            let (event, flaw) = tell(kind, wire, names, now);
            Ok((false, event, flaw))
        }),
        None => with_wire(line, |wire| {
            let meaning = wire.msg.as_ref().map(|text| meaning(head.level, head.logger, text));
            Ok(match meaning {
                Some(Meaning::Event(kind)) => {
                    let (event, flaw) = tell(kind, wire, names, now);
                    (false, event, flaw)
                }
                meaning => (meaning == Some(Meaning::Echo), None, None),
            })
        }),
    };
    match told {
        Ok((echo, event, flaw)) => Line { echo, event, flaw, ..read },
        Err(flaw) => {
            read.flaw = Some(flaw);
            read
        }
    }
}

/// A line that another hand has written: the same keys in another order, or with other blanks.
fn unknown(wire: &Wire<'_>, names: NameRule, now: Timestamp) -> Result<Read<'static>, Flaw> {
    let level = level_of(&wire.level).ok_or(Flaw::Level)?;
    let logger = Cow::Owned(wire.logger.clone().into_owned());
    let line = Line::bare(level, logger, names);
    let message = wire.msg.as_deref().unwrap_or_default();
    Ok(Read::Line(match meaning(level, &wire.logger, message) {
        Meaning::None => line,
        Meaning::Echo => Line { echo: true, ..line },
        Meaning::Event(kind) => {
            let (event, flaw) = tell(kind, wire, names, now);
            Line { event, flaw, ..line }
        }
    }))
}

fn tell(
    kind: Kind,
    wire: &Wire<'_>,
    names: NameRule,
    now: Timestamp,
) -> (Option<Event>, Option<Flaw>) {
    let extra = match &wire.extra {
        None => return (None, Some(Flaw::NoChat)),
        Some(Err(flaw)) => return (None, Some(*flaw)),
        Some(Ok(extra)) => extra,
    };
    let at = wire.ts.as_deref().and_then(instant);
    let (event, flaw) = extra::event(kind, at.unwrap_or(now), extra, names);
    (event, flaw.or(at.is_none().then_some(Flaw::Time)))
}

/// A whole line.
struct Wire<'a> {
    ts: Option<Cow<'a, str>>,
    level: Cow<'a, str>,
    logger: Cow<'a, str>,
    msg: Option<Cow<'a, str>>,
    /// `Err` where something else than an object stands there.
    extra: Option<Result<Extra<'a>, Flaw>>,
}

/// As [`Wire`], before `extra` is read.
#[derive(Deserialize)]
struct Outside<'a> {
    #[serde(borrow)]
    ts: Option<Cow<'a, str>>,
    #[serde(borrow)]
    level: Cow<'a, str>,
    #[serde(borrow)]
    logger: Cow<'a, str>,
    #[serde(borrow)]
    msg: Option<Cow<'a, str>>,
    #[serde(borrow)]
    extra: Option<&'a RawValue>,
}

impl<'a> From<Outside<'a>> for Wire<'a> {
    fn from(outside: Outside<'a>) -> Self {
        let Outside { ts, level, logger, msg, extra } = outside;
        let inside = |raw: &'a RawValue| serde_json::from_str(raw.get()).map_err(|_| Flaw::Shape);
        Wire { ts, level, logger, msg, extra: extra.map(inside) }
    }
}

/// The line in one walk, `extra` included; `None` where anything is unusual. Half the time of
/// looking for the end of `extra` first and for what is in it then.
fn walked(line: &[u8]) -> Option<Wire<'_>> {
    let mut walk = Walk::new(str::from_utf8(line).ok()?, 0);
    let (mut ts, mut level, mut logger, mut msg, mut extra) = (None, None, None, None, None);
    walk.entries(|walk, key| {
        let slot = match key {
            "ts" => &mut ts,
            "level" => &mut level,
            "logger" => &mut logger,
            "msg" => &mut msg,
            "extra" => return extra.replace(Ok(walk.fields()?)).is_none().then_some(()),
            _ => return walk.value().map(drop),
        };
        slot.replace(unquoted(walk.value()?.get())?).is_none().then_some(())
    })?;
    walk.is_over().then_some(())?;
    Some(Wire { ts, level: level?, logger: logger?, msg, extra })
}

fn with_wire<T>(line: &[u8], then: impl FnOnce(&Wire<'_>) -> Result<T, Flaw>) -> Result<T, Flaw> {
    if let Some(wire) = walked(line) {
        return then(&wire);
    }
    if let Ok(wire) = serde_json::from_slice::<Outside<'_>>(line) {
        return then(&wire.into());
    }
    let finite = without_nan(line).ok_or(Flaw::Shape)?;
    let wire: Outside<'_> = serde_json::from_slice(&finite).map_err(|_| Flaw::Shape)?;
    then(&wire.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_through_a_recorded_line_finds_what_serde_finds() {
        let log =
            include_bytes!("../../../tests/fixtures/runtime/logs/production_json/mozaiks.log");
        let mut walks = 0;
        for line in log.split(|byte| *byte == b'\n').filter(|line| line.starts_with(BEGINNING)) {
            let Some(walked) = walked(line) else { continue };
            let told = Wire::from(serde_json::from_slice::<Outside<'_>>(line).unwrap());
            assert_eq!((walked.ts, walked.msg), (told.ts, told.msg));
            assert_eq!((walked.level, walked.logger), (told.level, told.logger));
            assert_eq!(walked.extra, told.extra);
            walks += 1;
        }
        assert!(walks > 500, "{walks}");
    }
}
