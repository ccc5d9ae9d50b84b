//! One pushed event: its fields under the names of the recording API, checked one by one.

use std::borrow::Cow;
use std::fmt;

use crate::model::{
    About, Delivery, Event, EventId, Instant, NameRule, Timestamp, UNKNOWN, Usage, Usd, What,
};
use crate::sources::flat::{Fields, Raw, fields, object_of};
use crate::sources::value::{self, LONGEST_TURN, Refusal};

/// The longest id of an event, in bytes.
const MAX_ID_BYTES: usize = 256;
/// A clock that is ahead by more is wrong. What is ahead by less counts as now as well.
const AHEAD: i64 = 60_000_000;
/// What is older was not waiting somewhere, but has a wrong clock: a week, in micros.
const BEHIND: i64 = 7 * 24 * 3_600_000_000;

/// Why an item was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemError {
    /// Which field, where it was one.
    pub field: Option<&'static str>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is no JSON.
    Syntax(String),
    /// It is no object.
    NotAnObject,
    /// The field has to be there.
    Missing,
    /// It names no event that there is.
    UnknownEvent,
    /// It must not be empty.
    EmptyText,
    /// Text that is longer than is taken.
    TooLong,
    /// It has to be true or false.
    NotABool,
    /// It is no time.
    NotATime,
    /// It is no text, or no number that can be counted.
    Value(Refusal),
}

impl Problem {
    /// The value of the `reason` label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Syntax(_) => "syntax",
            Self::NotAnObject => "not_an_object",
            Self::Missing => "missing",
            Self::UnknownEvent => "unknown_event",
            Self::EmptyText => "empty",
            Self::TooLong => "too_long",
            Self::NotABool => "not_a_bool",
            Self::NotATime => "not_a_time",
            Self::Value(refusal) => refusal.label(),
        }
    }
}

impl fmt::Display for ItemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(field) = self.field {
            write!(f, "{field} ")?;
        }
        f.write_str(match &self.problem {
            Problem::Syntax(error) => return write!(f, "is not JSON: {error}"),
            Problem::NotAnObject => "is not an object",
            Problem::Missing => "is missing",
            Problem::UnknownEvent => {
                "is none of workflow_start, agent_turn, usage_delta, tool_call, workflow_end"
            }
            Problem::EmptyText => "is empty",
            Problem::TooLong => "is longer than 256 bytes",
            Problem::NotABool => "is neither true nor false",
            Problem::NotATime => {
                "is no time such as \"2026-01-18T01:58:06.123Z\" or seconds since 1970"
            }
            Problem::Value(Refusal::NotText) => "is not text",
            Problem::Value(Refusal::NotANumber) => "is not a finite number",
            Problem::Value(Refusal::Negative) => "is negative",
            Problem::Value(Refusal::Fraction) => "is not a whole number",
            Problem::Value(Refusal::TooLarge) => "is larger than anything that is counted",
            Problem::Value(Refusal::Shape | Refusal::NoId | Refusal::NoStart) => {
                "is not what it should be"
            }
        })
    }
}

impl std::error::Error for ItemError {}

fields! {
    /// One event.
    struct Wire {
        event,
        event_id,
        ts,
        chat_id,
        app_id,
        workflow_name,
        user_id,
        agent_name,
        tool_name,
        model,
        prompt_tokens,
        completion_tokens,
        cost,
        duration_sec,
        success,
    }
}

/// How events are read.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// Whose they are; an id says something within one runtime.
    pub runtime: &'a str,
    /// How long names may be.
    pub names: NameRule,
    /// Whether a failed tool call counts as a call, too.
    pub failed_calls_count: bool,
}

/// An event that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The event, and by what it is known again.
    pub delivery: Delivery<Event>,
    /// Its name, for counting.
    pub kind: &'static str,
    /// Its clock was so far off that the time of its coming stands in its place.
    pub clock_was_off: bool,
}

/// Reads one event that came at `now`.
pub fn read(item: &[u8], reader: Reader<'_>, now: Instant) -> Result<Read, ItemError> {
    let wire: Wire<'_> = object(item)?;
    let kind = match &*required("event", text("event", wire.event)?)? {
        "workflow_start" => "workflow_start",
        "agent_turn" => "agent_turn",
        "usage_delta" => "usage_delta",
        "tool_call" => "tool_call",
        "workflow_end" => "workflow_end",
        _ => return Err(error("event", Problem::UnknownEvent)),
    };
    let name = |field, raw| name(field, raw, reader.names);
    let or_unknown = |name: Option<String>| name.unwrap_or_else(|| UNKNOWN.to_owned());
    let chat_id = required("chat_id", name("chat_id", wire.chat_id)?)?;
    let mut app_id = name("app_id", wire.app_id)?;
    let mut workflow_name = name("workflow_name", wire.workflow_name)?;
    let usage = || -> Result<Usage, ItemError> {
        Ok(Usage {
            prompt_tokens: count("prompt_tokens", wire.prompt_tokens)?.unwrap_or(0),
            completion_tokens: count("completion_tokens", wire.completion_tokens)?.unwrap_or(0),
            cost: money("cost", wire.cost)?.unwrap_or(Usd::ZERO),
        })
    };
    let model = || Ok::<_, ItemError>(or_unknown(name("model", wire.model)?));
    let duration = || seconds("duration_sec", wire.duration_sec);
    let success = || Ok::<_, ItemError>(flag("success", wire.success)?.unwrap_or(true));
    let what = match kind {
        "workflow_start" => {
            app_id = Some(required("app_id", app_id)?);
            workflow_name = Some(required("workflow_name", workflow_name)?);
            What::Started
        }
        "agent_turn" => What::Turn {
            agent: required("agent_name", name("agent_name", wire.agent_name)?)?,
            model: model()?,
            usage: usage()?,
            seconds: duration()?,
        },
        "usage_delta" => What::Call {
            agent: or_unknown(name("agent_name", wire.agent_name)?),
            model: model()?,
            usage: usage()?,
            seconds: duration()?,
            cached: false,
            failed: false,
        },
        "tool_call" => What::Tool {
            tool: required("tool_name", name("tool_name", wire.tool_name)?)?,
            ok: success()?,
            as_call: reader.failed_calls_count,
            seconds: duration()?,
        },
        _ if success()? => What::Ended,
        _ => What::Aborted,
    };
    let (at, clock_was_off) = moment(wire.ts, now)?;
    let user_id = name("user_id", wire.user_id)?;
    let about = About::Chat(chat_id);
    let content = Event { at, about, app_id, workflow_name, user_id, what };
    let id = id_text(wire.event_id)?.map(|id| digest(&["event", reader.runtime, &id]));
    Ok(Read { delivery: Delivery { id, content }, kind, clock_was_off })
}

/// Reads an object that has these fields among others.
pub(super) fn object<'a, T: Fields<'a>>(item: &'a [u8]) -> Result<T, ItemError> {
    if item.trim_ascii_start().first().is_some_and(|byte| *byte != b'{') {
        return Err(ItemError { field: None, problem: Problem::NotAnObject });
    }
    object_of(item)
        .map_err(|error| ItemError { field: None, problem: Problem::Syntax(error.to_string()) })
}

fn error(field: &'static str, problem: Problem) -> ItemError {
    ItemError { field: Some(field), problem }
}

pub(super) fn refused(field: &'static str) -> impl Fn(Refusal) -> ItemError {
    move |refusal| error(field, Problem::Value(refusal))
}

pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, ItemError> {
    value.ok_or_else(|| error(field, Problem::Missing))
}

fn filled<'a>(
    field: &'static str,
    text: Option<Cow<'a, str>>,
) -> Result<Option<Cow<'a, str>>, ItemError> {
    match text {
        Some(text) if text.is_empty() => Err(error(field, Problem::EmptyText)),
        text => Ok(text),
    }
}

/// Text; a number is none, other than where the runtime is read.
fn text<'a>(field: &'static str, raw: Option<Raw<'a>>) -> Result<Option<Cow<'a, str>>, ItemError> {
    if raw.is_some_and(|raw| !raw.get().starts_with(['"', 'n'])) {
        return Err(error(field, Problem::Value(Refusal::NotText)));
    }
    value::text(raw).map_err(refused(field))
}

/// A name that fits into a label.
fn name(
    field: &'static str,
    raw: Option<Raw<'_>>,
    names: NameRule,
) -> Result<Option<String>, ItemError> {
    Ok(filled(field, text(field, raw)?)?.map(|text| names.bound(text).into_owned()))
}

fn numeric<'a>(field: &'static str, raw: Option<Raw<'a>>) -> Result<Option<Raw<'a>>, ItemError> {
    if raw.is_some_and(|raw| raw.get().starts_with('"')) {
        return Err(error(field, Problem::Value(Refusal::NotANumber)));
    }
    Ok(raw)
}

fn count(field: &'static str, raw: Option<Raw<'_>>) -> Result<Option<u64>, ItemError> {
    value::count(numeric(field, raw)?).map_err(refused(field))
}

fn money(field: &'static str, raw: Option<Raw<'_>>) -> Result<Option<Usd>, ItemError> {
    value::money(numeric(field, raw)?).map_err(refused(field))
}

fn seconds(field: &'static str, raw: Option<Raw<'_>>) -> Result<Option<f64>, ItemError> {
    let seconds = value::number(numeric(field, raw)?).map_err(refused(field))?;
    match seconds {
        Some(seconds) if seconds < 0.0 => Err(refused(field)(Refusal::Negative)),
        Some(seconds) if seconds > LONGEST_TURN => Err(refused(field)(Refusal::TooLarge)),
        // A negative zero is none.
        seconds => Ok(seconds.map(f64::abs)),
    }
}

fn flag(field: &'static str, raw: Option<Raw<'_>>) -> Result<Option<bool>, ItemError> {
    match raw.map(Raw::get) {
        None | Some("null") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(error(field, Problem::NotABool)),
    }
}

/// When it happened, never later than now; and whether its clock was so far off that the time of its
/// coming had to stand in.
fn moment(raw: Option<Raw<'_>>, now: Instant) -> Result<(Timestamp, bool), ItemError> {
    let not_a_time = |()| error("ts", Problem::NotATime);
    let Some(stated) = value::timestamp(raw).map_err(not_a_time)? else {
        return Ok((now.wall, false));
    };
    let late = now.wall.0.saturating_sub(stated.0);
    let is_off = !(-AHEAD..=BEHIND).contains(&late);
    let at = if is_off || late < 0 { now.wall } else { stated };
    Ok((at, is_off))
}

/// A digest of the id. SHA-256, so that nobody finds two of one digest by accident; cut to 64 bits:
/// with a million of them known, one in 10^13 events is taken for another.
pub(super) fn digest(parts: &[&str]) -> EventId {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part.as_bytes());
    }
    let mut id = [0; 8];
    id.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    EventId(u64::from_le_bytes(id))
}

pub(super) fn id_text(raw: Option<Raw<'_>>) -> Result<Option<Cow<'_, str>>, ItemError> {
    match filled("event_id", text("event_id", raw)?)? {
        Some(id) if id.len() > MAX_ID_BYTES => Err(error("event_id", Problem::TooLong)),
        id => Ok(id),
    }
}
