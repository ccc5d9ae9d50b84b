//! Single values of the runtime's JSON, read from their text so that none is rounded on the way.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime};
use serde::Deserialize;
use serde_json::value::RawValue;

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

/// Text, or a number that is used as a name; `None` for null and for what is not given.
pub(super) fn text(raw: Option<&RawValue>) -> Result<Option<Cow<'_, str>>, Refusal> {
    let Some(raw) = present(raw) else {
        return Ok(None);
    };
    match raw.as_bytes().first() {
        Some(b'"') => {
            let Text(text) = serde_json::from_str(raw).map_err(|_| Refusal::NotText)?;
            Ok(Some(text))
        }
        Some(b'-' | b'0'..=b'9') => Ok(Some(Cow::Borrowed(raw))),
        _ => Err(Refusal::NotText),
    }
}

/// The text of a value that is neither missing nor null.
fn present(raw: Option<&RawValue>) -> Option<&str> {
    raw.map(RawValue::get).filter(|text| *text != "null")
}

/// The text of a number, out of its quotes where it has some.
fn digits(raw: Option<&RawValue>) -> Option<&str> {
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

pub(super) fn count(raw: Option<&RawValue>) -> Result<Option<u64>, Refusal> {
    digits(raw).map(whole).transpose()
}

pub(super) fn money(raw: Option<&RawValue>) -> Result<Option<Usd>, Refusal> {
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

pub(super) fn number(raw: Option<&RawValue>) -> Result<Option<f64>, Refusal> {
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
pub(super) fn timestamp(raw: Option<&RawValue>) -> Result<Option<Timestamp>, ()> {
    let Some(value) = present(raw) else {
        return Ok(None);
    };
    if value.starts_with('"') {
        let Text(text) = serde_json::from_str(value).map_err(|_| ())?;
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
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(Timestamp(time.timestamp_micros()));
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|time| Timestamp(time.and_utc().timestamp_micros()))
}
