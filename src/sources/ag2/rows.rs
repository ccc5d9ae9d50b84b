//! Rows of AG2's database, as events.
//!
//! Answers and requests are taken apart by SQLite, so that only models and counts come out of it.

use std::time::Instant;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::call::{Call, Flaw, Response, Taker, tool};
use super::place::{Mark, Track};
use super::response::ERROR;
use super::sqlite::{Error, Limits, Step};
use crate::model::{NameRule, Timestamp};
use crate::sources::value::{LARGEST_COUNT, Refusal, dollars, float, instant, whole};

/// Answers and requests above this many bytes are not looked into.
const LARGEST_JSON: i64 = 32 << 20;

/// Tables that are read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rows {
    Completions,
    Calls,
}

impl Rows {
    /// The query for the row at `?1`: its id, and what its checksum is made of.
    fn mark(self) -> &'static str {
        match self {
            Self::Completions => {
                "SELECT id, invocation_id, end_time FROM chat_completions WHERE id = ?1"
            }
            Self::Calls => {
                "SELECT rowid, source_id, timestamp FROM function_calls WHERE rowid = ?1"
            }
        }
    }

    fn newest(self) -> &'static str {
        match self {
            Self::Completions => "SELECT max(id) FROM chat_completions",
            Self::Calls => "SELECT max(rowid) FROM function_calls",
        }
    }
}

/// A column where it is JSON, else `NULL`, of which `json_extract` makes `NULL`.
macro_rules! json {
    ($column:literal) => {
        concat!(
            "CASE WHEN octet_length(",
            $column,
            ") <= ?4 AND json_valid(",
            $column,
            ") THEN ",
            $column,
            " END"
        )
    };
}

/// A name in a column of JSON. Anything else in its place may be anything.
macro_rules! json_text {
    ($column:literal, $path:literal) => {
        concat!(
            "CASE json_type(",
            json!($column),
            ", '",
            $path,
            "') WHEN 'text' THEN json_extract(",
            $column,
            ", '",
            $path,
            "') END"
        )
    };
}

/// The first three columns are those of [`Rows::mark`]. The request is not touched where the answer
/// names the model. SQLite keeps the JSON that it parsed last, so that each answer is parsed once.
const COMPLETIONS: &str = concat!(
    "SELECT id, invocation_id, end_time, start_time, session_id, source_name, is_cached, cost,
        coalesce(",
    json_text!("response", "$.model"),
    ", ",
    json_text!("request", "$.model"),
    ") AS model,
        coalesce(json_type(",
    json!("response"),
    ", '$.usage') = 'object', 0) AS has_usage,
        json_extract(",
    json!("response"),
    ", '$.usage.prompt_tokens') AS prompt_tokens,
        json_extract(",
    json!("response"),
    ", '$.usage.completion_tokens') AS completion_tokens,
        CASE json_type(",
    json!("response"),
    ", '$.response')
            WHEN 'null' THEN 1
            WHEN 'text' THEN substr(json_extract(response, '$.response'), 1, ?6) = ?5
            ELSE coalesce(substr(response, 1, ?6) = ?5 OR response = 'null', 1)
        END AS is_error,
        response IS NOT NULL AND ",
    json!("response"),
    " IS NULL AS is_unread
    FROM chat_completions WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3"
);

/// Ids of agents are addresses and come back: the one is meant that was made last before the call.
const CALLS: &str = "
    SELECT f.rowid, f.source_id, f.timestamp, f.function_name, (
        SELECT a.session_id FROM agents AS a
        WHERE a.agent_id = f.source_id AND a.timestamp <= f.timestamp
        ORDER BY a.timestamp DESC, a.id DESC LIMIT 1
    ) AS session_id
    FROM function_calls AS f WHERE f.rowid > ?1 AND f.rowid <= ?2 ORDER BY f.rowid LIMIT ?3";

/// The last row, if there is one.
pub(super) fn newest(connection: &Connection, rows: Rows) -> Result<Option<Mark>, Error> {
    let id: Option<i64> = connection.query_row(rows.newest(), [], |row| row.get(0))?;
    let Some(id) = id.filter(|id| *id > 0) else {
        return Ok(None);
    };
    Ok(sum_at(connection, rows, id)?.map(|sum| Mark { id, sum }))
}

/// The checksum of the row with this id, if there is one.
pub(super) fn sum_at(connection: &Connection, rows: Rows, id: i64) -> Result<Option<u32>, Error> {
    Ok(connection.query_row(rows.mark(), [id], |row| Ok(mark(row)?.sum)).optional()?)
}

fn mark(row: &Row<'_>) -> rusqlite::Result<Mark> {
    let mut sum = crc32fast::Hasher::new();
    for column in [1, 2] {
        match row.get_ref(column)? {
            ValueRef::Null => sum.update(b"n"),
            ValueRef::Integer(number) => sum.update(&number.to_le_bytes()),
            ValueRef::Real(number) => sum.update(&number.to_le_bytes()),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => sum.update(bytes),
        }
    }
    Ok(Mark { id: row.get(0)?, sum: sum.finalize() })
}

/// Reads model calls into `step`. Tells whether those that the limits allow were all.
pub(super) fn completions(
    connection: &Connection,
    track: &mut Track,
    limits: Limits,
    (names, now): (NameRule, Timestamp),
    step: &mut Step,
) -> Result<bool, Error> {
    let mut query = connection.prepare(COMPLETIONS)?;
    let up_to = track.up_to(limits.prior);
    let error_chars = i64::try_from(ERROR.len()).unwrap_or(i64::MAX);
    let parameters = params![track.last, up_to, limits.rows, LARGEST_JSON, ERROR, error_chars];
    let mut rows = query.query(parameters)?;
    let mut read = 0;
    while let Some(row) = rows.next()? {
        let mark = mark(row)?;
        let mut take = Taker::new(names);
        let call = call(row, &mut take)?;
        step.events.push(call.event(&mut take, now));
        step.flaws.extend(take.flaw);
        track.told(mark);
        read += 1;
        if Instant::now() >= limits.until {
            return Ok(false);
        }
    }
    Ok(read < limits.rows)
}

/// Reads uses of tools into `step`. Tells whether those that the limits allow were all.
pub(super) fn calls(
    connection: &Connection,
    track: &mut Track,
    limits: Limits,
    (names, now): (NameRule, Timestamp),
    step: &mut Step,
) -> Result<bool, Error> {
    let mut query = connection.prepare(CALLS)?;
    let mut rows = query.query(params![track.last, track.up_to(limits.prior), limits.rows])?;
    let mut read = 0;
    while let Some(row) = rows.next()? {
        let mark = mark(row)?;
        let mut take = Taker::new(names);
        let name = name(row, "function_name", &mut take)?;
        let session = self::name(row, "session_id", &mut take)?;
        let at = take.time(time(row, "timestamp")?, now);
        step.events.push(tool(session, name, at));
        step.flaws.extend(take.flaw);
        track.told(mark);
        read += 1;
        if Instant::now() >= limits.until {
            return Ok(false);
        }
    }
    Ok(read < limits.rows)
}

fn call(row: &Row<'_>, take: &mut Taker) -> rusqlite::Result<Call> {
    if row.get::<_, bool>("is_unread")? && !row.get::<_, bool>("is_error")? {
        take.note(Flaw::Shape);
    }
    let prompt = take.or_none(count(row.get_ref("prompt_tokens")?));
    let completion = take.or_none(count(row.get_ref("completion_tokens")?));
    let has_usage: bool = row.get("has_usage")?;
    let response = Response {
        model: name(row, "model", take)?,
        tokens: has_usage.then(|| (prompt.unwrap_or_default(), completion.unwrap_or_default())),
        error: row.get("is_error")?,
    };
    let cost = take.or_none(number(row.get_ref("cost")?));
    Ok(Call {
        session: name(row, "session_id", take)?,
        agent: name(row, "source_name", take)?,
        response,
        cost: take.or_none(cost.map(dollars).transpose()),
        cached: take.or_none(flag(row.get_ref("is_cached")?)).unwrap_or_default(),
        start: time(row, "start_time")?,
        end: time(row, "end_time")?,
    })
}

/// Text, or a number that is used as a name.
fn name(row: &Row<'_>, column: &str, take: &mut Taker) -> rusqlite::Result<Option<String>> {
    let name = match row.get_ref(column)? {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string().into()),
        ValueRef::Real(number) => Some(number.to_string().into()),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes)),
        ValueRef::Blob(_) => {
            take.note(Flaw::Value(Refusal::NotText));
            None
        }
    };
    Ok(take.name(name))
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get_ref(column)?.as_str().ok().and_then(instant))
}

fn count(value: ValueRef<'_>) -> Result<Option<u64>, Refusal> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => match u64::try_from(number) {
            Ok(count) if count <= LARGEST_COUNT => Ok(Some(count)),
            Ok(_) => Err(Refusal::TooLarge),
            Err(_) => Err(Refusal::Negative),
        },
        ValueRef::Real(number) => whole(&number.to_string()).map(Some),
        ValueRef::Text(bytes) => whole(text(bytes)?).map(Some),
        ValueRef::Blob(_) => Err(Refusal::NotANumber),
    }
}

#[expect(clippy::cast_precision_loss, reason = "no sum of money comes near 2^53 dollars")]
fn number(value: ValueRef<'_>) -> Result<Option<f64>, Refusal> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number as f64)),
        ValueRef::Real(number) => Ok(Some(number)),
        ValueRef::Text(bytes) => float(text(bytes)?).map(Some),
        ValueRef::Blob(_) => Err(Refusal::NotANumber),
    }
}

fn flag(value: ValueRef<'_>) -> Result<Option<bool>, Refusal> {
    Ok(number(value)?.map(|number| number != 0.0))
}

fn text(bytes: &[u8]) -> Result<&str, Refusal> {
    str::from_utf8(bytes).map_err(|_| Refusal::NotANumber)
}
