//! One body, many items: an object, an array of objects, or an object a line.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::sources::flat::Walk;
use crate::sources::nan::without_nan;

/// How items stand in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value, or an array of them.
    Json,
    /// A value a line; empty lines count for nothing.
    Lines,
}

/// Why a body has no items.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is no JSON.
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    /// There is nothing in it.
    #[error("the body is empty; send an event, an array of events, or an event a line")]
    Empty,
    /// More items than are taken at once.
    #[error("the body has more than {0} items; send them in several requests")]
    TooMany(usize),
}

/// The items of a body, in their order: the text of each.
#[derive(Debug)]
pub struct Items<'a>(Inner<'a>);

#[derive(Debug)]
enum Inner<'a> {
    Values(Vec<&'a str>),
    Lines(Vec<&'a [u8]>),
    /// As the first, where the text had to be written anew.
    Mended(Vec<Box<RawValue>>),
}

impl Items<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Inner::Values(values) => values.len(),
            Inner::Lines(lines) => lines.len(),
            Inner::Mended(values) => values.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them as JSON, with what Python writes for numbers that are none taken out.
    pub fn get(&self, index: usize) -> Option<Cow<'_, [u8]>> {
        match &self.0 {
            Inner::Values(values) => values.get(index).map(|text| Cow::Borrowed(text.as_bytes())),
            Inner::Mended(values) => {
                values.get(index).map(|raw| Cow::Borrowed(raw.get().as_bytes()))
            }
            Inner::Lines(lines) => lines
                .get(index)
                .map(|line| without_nan(line).map_or(Cow::Borrowed(*line), Cow::Owned)),
        }
    }
}

/// Takes a body apart; at most `max` items.
///
/// An array is read to its end before anything counts, so that half a body counts nothing. Lines
/// are read one by one: one that is broken costs itself.
pub fn items(body: &[u8], shape: Shape, max: usize) -> Result<Items<'_>, BodyError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(BodyError::Empty);
    }
    if shape == Shape::Lines {
        let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let lines: Vec<_> = lines.filter(|line| !line.is_empty()).take(max + 1).collect();
        if lines.len() > max {
            return Err(BodyError::TooMany(max));
        }
        return Ok(Items(Inner::Lines(lines)));
    }
    if let Some(values) = walked(body, max) {
        return values.map(|values| Items(Inner::Values(values)));
    }
    match values::<&RawValue>(body, max) {
        Ok(values) => Ok(Items(Inner::Values(values.into_iter().map(RawValue::get).collect()))),
        Err(error @ (BodyError::TooMany(_) | BodyError::Empty)) => Err(error),
        // The error is about what was sent, not about what we made of it.
        Err(error) => {
            let mended = without_nan(body).ok_or_else(|| error.clone())?;
            match values::<Box<RawValue>>(&mended, max) {
                Ok(values) => Ok(Items(Inner::Mended(values))),
                Err(BodyError::TooMany(max)) => Err(BodyError::TooMany(max)),
                Err(_) => Err(error),
            }
        }
    }
}

/// The values of an array; `None` if `serde_json` has to find out what is wrong with it.
fn walked(body: &[u8], max: usize) -> Option<Result<Vec<&str>, BodyError>> {
    let mut walk = Walk::new(str::from_utf8(body.trim_ascii_start()).ok()?, 0);
    let (mut items, mut too_many) = (Vec::new(), false);
    let read = walk.items(|walk| {
        too_many = items.len() == max;
        (!too_many).then_some(())?;
        items.push(walk.value()?.get());
        Some(())
    });
    if too_many {
        return Some(Err(BodyError::TooMany(max)));
    }
    read.filter(|()| walk.is_over()).map(|()| Ok(items))
}

/// The values of an array, or the one value that there is.
fn values<'a, T: serde::Deserialize<'a>>(body: &'a [u8], max: usize) -> Result<Vec<T>, BodyError> {
    let syntax = |error: serde_json::Error| BodyError::Syntax(error.to_string());
    if body.trim_ascii_start().first() != Some(&b'[') {
        return serde_json::from_slice(body).map(|value| vec![value]).map_err(syntax);
    }
    let mut too_many = false;
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = AtMost { max, too_many: &mut too_many, items: std::marker::PhantomData };
    let values = seed.deserialize(&mut deserializer);
    if too_many {
        return Err(BodyError::TooMany(max));
    }
    let values = values.map_err(syntax)?;
    deserializer.end().map_err(syntax)?;
    Ok(values)
}

/// Reads an array and stops at the item that is one too many, so that ten million of them cost no
/// more than as many as are taken.
struct AtMost<'b, T> {
    max: usize,
    too_many: &'b mut bool,
    items: std::marker::PhantomData<T>,
}

impl<'de, T: serde::Deserialize<'de>> DeserializeSeed<'de> for AtMost<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: serde::Deserialize<'de>> Visitor<'de> for AtMost<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == self.max {
                *self.too_many = true;
                return Err(A::Error::custom("too many items"));
            }
            items.push(item);
        }
        Ok(items)
    }
}
