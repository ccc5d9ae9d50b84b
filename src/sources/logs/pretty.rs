//! The pretty form of a line, which is what people get who set nothing.
//!
//! ```text
//! 01:47:55.987 [ INFO] 🧩 mozaiks.workflow - agent_turn | workflow_name=performance chat_id=3f2b…
//!     app_id=acme  (logging_config.py:478 _log)
//! ```
//!
//! It has no numbers, no date and no time zone, and nothing in it is quoted. So a turn is one of
//! unknown use by an unknown agent; model calls and tool calls, of which not even the outcome is
//! said, are no events; and a chat whose id cannot be told from what follows it is left out.

use std::borrow::Cow;

use super::line::{Flaw, Line, Read, level_of};
use super::meaning::{Kind, Meaning, meaning};
use crate::model::{About, Event, Level, NameRule, Timestamp, UNKNOWN, Usage, What};

/// What stands between the message and what the line is about.
const CONTEXT: &str = " | workflow_name=";

/// Reads a line without its line break.
pub(super) fn read(line: &[u8], names: NameRule, now: Timestamp) -> Read<'_> {
    // Cheap, and true of nearly every line of a traceback.
    if line.get(2) != Some(&b':') {
        return Read::Continuation;
    }
    match uncoloured(line) {
        Cow::Borrowed(text) => taken_apart(text, names, now),
        Cow::Owned(text) => owned(taken_apart(&text, names, now)),
    }
}

fn owned(read: Read<'_>) -> Read<'static> {
    match read {
        Read::Line(line) => {
            Read::Line(Line { logger: Cow::Owned(line.logger.into_owned()), ..line })
        }
        Read::Continuation => Read::Continuation,
        Read::Unreadable(flaw) => Read::Unreadable(flaw),
    }
}

/// The text of a line without the colours that terminals are given: `ESC [ … m`.
fn uncoloured(line: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(line);
    if !text.contains("\x1b[") {
        return text;
    }
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_digit() && c != ';');
        plain.push_str(match end.map(|end| part.split_at(end).1) {
            Some(rest) => rest.strip_prefix('m').unwrap_or(rest),
            None => "",
        });
    }
    Cow::Owned(plain)
}

fn taken_apart(text: &str, names: NameRule, now: Timestamp) -> Read<'_> {
    let Some((level, rest)) = header(text) else {
        return Read::Continuation;
    };
    // EMOJI logger - msg
    let after_emoji = rest.split_once(' ').map(|(_, rest)| rest);
    let Some((logger, body)) = after_emoji.and_then(|rest| rest.split_once(" - ")) else {
        return Read::Unreadable(Flaw::Shape);
    };
    let mut line = Line::bare(level, Cow::Borrowed(logger), names);
    let message = body.split_once(CONTEXT).map_or_else(|| said(body), |(message, _)| message);
    match meaning(level, logger, message) {
        Meaning::Echo => line.echo = true,
        Meaning::Event(kind) => match event(kind, body, names, now) {
            Ok(event) => line.event = event,
            Err(flaw) => line.flaw = Some(flaw),
        },
        Meaning::None => {}
    }
    Read::Line(line)
}

/// `HH:MM:SS.mmm [LEVEL] `, and what comes after it.
fn header(text: &str) -> Option<(Level, &str)> {
    let (time, rest) = text.split_once(" [")?;
    let is_time = time.len() == 12
        && time.bytes().zip(*b"00:00:00.000").all(|(byte, pattern)| match pattern {
            b'0' => byte.is_ascii_digit(),
            mark => byte == mark,
        });
    let (level, rest) = rest.split_once("] ")?;
    Some((level_of(level.trim_start()).filter(|_| is_time)?, rest))
}

/// The line's end without `  (file.py:LINE func)`; all of it, where it has no such end.
fn said(body: &str) -> &str {
    place(body).unwrap_or(body)
}

/// What stands before `  (file.py:LINE func)`; `None` where the line does not end with that.
fn place(body: &str) -> Option<&str> {
    let (before, place) = body.strip_suffix(')')?.rsplit_once("  (")?;
    place.contains(':').then_some(before)
}

/// `Ok(None)` where this form says too little for an event.
fn event(kind: Kind, body: &str, names: NameRule, at: Timestamp) -> Result<Option<Event>, Flaw> {
    let what = match kind {
        Kind::Started => What::Started,
        Kind::Ended => What::Ended,
        Kind::Failed => What::Failed,
        Kind::Turn => What::Turn {
            agent: UNKNOWN.to_owned(),
            model: UNKNOWN.to_owned(),
            usage: Usage::default(),
            seconds: None,
        },
        Kind::Recorded | Kind::Call | Kind::Tool | Kind::SessionOpened => return Ok(None),
    };
    // An id with a line break in it takes the rest of the line with it.
    let body = place(body).ok_or(Flaw::Ambiguous)?;
    let (_, context) = once(body, CONTEXT).ok_or(Flaw::Ambiguous)?;
    let (workflow_name, ids) = once(context, " chat_id=").ok_or(Flaw::Ambiguous)?;
    // A start names no app, and none of these an agent or a transport.
    let never = [" agent_name=", " transport_type="];
    let said_app = ids.contains(" app_id=");
    if never.iter().any(|key| context.contains(key)) || (said_app && kind == Kind::Started) {
        return Err(Flaw::Ambiguous);
    }
    let (chat_id, app_id) = match once(ids, " app_id=") {
        Some((chat_id, app_id)) => (chat_id, Some(app_id)),
        None if said_app => return Err(Flaw::Ambiguous),
        None => (ids, None),
    };
    let named = |name: &str| {
        let is_name = !name.is_empty();
        is_name.then(|| names.bound(Cow::Borrowed(name)).into_owned())
    };
    Ok(Some(Event {
        at,
        about: About::Chat(named(chat_id).ok_or(Flaw::NoChat)?),
        app_id: app_id.and_then(named),
        // The others say which part of the runtime wrote the line.
        workflow_name: named(workflow_name).filter(|_| matches!(kind, Kind::Ended | Kind::Failed)),
        user_id: None,
        what,
    }))
}

/// What stands before and after the only occurrence.
fn once<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    text.split_once(mark).filter(|(_, rest)| !rest.contains(mark))
}
