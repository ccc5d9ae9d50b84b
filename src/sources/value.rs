//! Single values of the runtime's JSON, read from their text so that none is rounded on the way.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime};
use serde::Deserialize;

use super::flat::Raw;
use crate::model::{Timestamp, Usd, UsdError};

/// The largest count taken: above it a double, which is what Prometheus keeps, skips numbers.
pub(super) const LARGEST_COUNT: u64 = 1 << 53;
/// The longest turn taken, in seconds: some thirty years.
pub(super) const LONGEST_TURN: f64 = 1e9;

/// Why a value was refused, in the words of the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// Not an object, or not as the fields should be.
    #[error("it is not an object with the fields of a chat")]
    Shape,
    /// No `chat_id`.
    #[error("it has no chat_id")]
    NoId,
    /// No time at which it began.
    #[error("it does not say when it began")]
    NoStart,
    /// A name that is not text.
    #[error("a name in it is not text")]
    NotText,
    /// A number that is none.
    #[error("a number in it is not a number")]
    NotANumber,
    /// A number below zero.
    #[error("a number in it is negative")]
    Negative,
    /// A count with a fraction.
    #[error("a count in it has a fraction")]
    Fraction,
    /// A number beyond anything that can be counted.
    #[error("a number in it is too large")]
    TooLarge,
}

impl Refusal {
    /// The value of the `reason` label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Shape => "shape",
            Self::NoId => "no_id",
            Self::NoStart => "no_start",
            Self::NotText => "not_text",
            Self::NotANumber => "not_a_number",
            Self::Negative => "negative",
            Self::Fraction => "fraction",
            Self::TooLarge => "too_large",
        }
    }
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What a text in its quotes says. Most have no escapes, so that what they say stands there.
pub(super) fn unquoted(raw: &str) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.as_bytes().contains(&b'\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(raw).ok().map(|Text(text)| text)
}

/// Text, or a number that is used as a name; `None` for null and for what is not given.
pub(super) fn text(raw: Option<Raw<'_>>) -> Result<Option<Cow<'_, str>>, Refusal> {
    let Some(raw) = present(raw) else {
        return Ok(None);
    };
    match raw.as_bytes().first() {
        Some(b'"') => unquoted(raw).map(Some).ok_or(Refusal::NotText),
        Some(b'-' | b'0'..=b'9') => Ok(Some(Cow::Borrowed(raw))),
        _ => Err(Refusal::NotText),
    }
}

/// The text of a value that is neither missing nor null.
fn present(raw: Option<Raw<'_>>) -> Option<&str> {
    raw.map(Raw::get).filter(|text| *text != "null")
}

/// The text of a number, out of its quotes where it has some.
fn digits(raw: Option<Raw<'_>>) -> Option<&str> {
    let text = present(raw)?;
    Some(text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).trim())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the range is checked, and 2^53 is exact"
)]
/// A whole number, also one with an exponent or an empty fraction.
pub(super) fn whole(digits: &str) -> Result<u64, Refusal> {
    if let Ok(count) = digits.parse::<u64>() {
        return if count <= LARGEST_COUNT { Ok(count) } else { Err(Refusal::TooLarge) };
    }
    let number = float(digits)?;
    if number < 0.0 {
        return Err(Refusal::Negative);
    }
    if number > LARGEST_COUNT as f64 {
        return Err(Refusal::TooLarge);
    }
    if number.fract() != 0.0 {
        return Err(Refusal::Fraction);
    }
    Ok(number as u64)
}

pub(super) fn count(raw: Option<Raw<'_>>) -> Result<Option<u64>, Refusal> {
    digits(raw).map(whole).transpose()
}

pub(super) fn money(raw: Option<Raw<'_>>) -> Result<Option<Usd>, Refusal> {
    number(raw)?.map(dollars).transpose()
}

/// An amount of money out of a double.
pub(super) fn dollars(amount: f64) -> Result<Usd, Refusal> {
    Usd::from_f64(amount).map_err(|error| match error {
        UsdError::NotFinite | UsdError::Text => Refusal::NotANumber,
        UsdError::Negative => Refusal::Negative,
        UsdError::TooLarge => Refusal::TooLarge,
    })
}

pub(super) fn number(raw: Option<Raw<'_>>) -> Result<Option<f64>, Refusal> {
    digits(raw).map(float).transpose()
}

/// Rust also reads `inf` and `nan`; here they are no numbers.
pub(super) fn float(digits: &str) -> Result<f64, Refusal> {
    let is_numeric = digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number: f64 = digits.parse().ok().filter(|_| is_numeric).ok_or(Refusal::NotANumber)?;
    if number.is_finite() { Ok(number) } else { Err(Refusal::TooLarge) }
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
/// `Err` where something stands there that is no time.
pub(super) fn timestamp(raw: Option<Raw<'_>>) -> Result<Option<Timestamp>, ()> {
    let Some(value) = present(raw) else {
        return Ok(None);
    };
    if value.starts_with('"') {
        let text = unquoted(value).ok_or(())?;
        return instant(&text).map(Some).ok_or(());
    }
    let seconds = float(value).map_err(|_| ())?;
    // Year 1 to 9999: what chrono and every reader of the JSON routes can show.
    if !(-62_135_596_800.0..=253_402_300_799.0).contains(&seconds) {
        return Err(());
    }
    Ok(Some(Timestamp((seconds * 1e6).round() as i64)))
}

/// ISO 8601 with an offset, or without one where UTC is meant.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    if let Some(time) = usual_instant(text.as_bytes()) {
        return Some(time);
    }
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(Timestamp(time.timestamp_micros()));
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|time| Timestamp(time.and_utc().timestamp_micros()))
}

/// A time as nearly all write it: `2026-01-18T01:58:06.123456+00:00`, with fewer decimals or none, and
/// `Z` as well. In a fifth of the time that it takes to read any notation; what is not quite so is left
/// to that.
fn usual_instant(text: &[u8]) -> Option<Timestamp> {
    let number = |range: std::ops::Range<usize>| {
        text.get(range)?.iter().try_fold(0_i64, |number, byte| {
            byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'))
        })
    };
    let rest = text.strip_suffix(b"+00:00").or_else(|| text.strip_suffix(b"Z"))?.get(19..)?;
    let is_usual = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')]
        .iter()
        .all(|(at, byte)| text[*at] == *byte);
    if !is_usual {
        return None;
    }
    let micros = match rest.split_first() {
        None => 0,
        Some((b'.', digits)) if (1..=6).contains(&digits.len()) => {
            number(20..20 + digits.len())? * [100_000, 10_000, 1_000, 100, 10, 1][digits.len() - 1]
        }
        Some(_) => return None,
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let longest = match month {
        // The day that some years have is for those who know the calendar.
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_plain = (1..=12).contains(&month)
        && (1..=longest).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !is_plain {
        return None;
    }
    // The year begins in March, so that the day that some years have is its last.
    let year = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719468 days lie between the March before year 0 and the epoch.
    let days = year * 365 + leap_days + day_of_year - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(Timestamp(seconds * 1_000_000 + micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn the_usual_notation_is_read_as_any_other(
            year in 0..=9999_i32, month in 0..=13_u32, day in 0..=32_u32,
            hour in 0..=24_u32, minute in 0..=60_u32, second in 0..=61_u32,
            fraction in "(\\.[0-9]{0,8})?", zone in "(Z|\\+00:00|\\+01:00|)",
        ) {
            let text = format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"
            );
            let slow = DateTime::parse_from_rfc3339(&text).ok();
            let slow = slow.map(|time| Timestamp(time.timestamp_micros()));
            if let Some(time) = usual_instant(text.as_bytes()) {
                proptest::prop_assert_eq!(Some(time), slow);
            }
            if slow.is_some() {
                proptest::prop_assert_eq!(instant(&text), slow);
            }
        }
    }
}
