//! Reads the row of a chat as it is written, and no other way.
//!
//! At a start as many rows are read as there are chats. Nearly all of them hold plain text, whole
//! numbers and fields in their order: for those, a walk over the bytes takes a third of what a general
//! reader does. Whatever looks otherwise is left to that one.

use std::borrow::Cow;

use super::row::Row;
use crate::model::{Count, Usd};

/// Fields that are read here, in the order in which they are written.
const FIELDS: &[u8] = b"rwuafnpcmbeztdox";
/// Digits that fit into every number. Longer ones are left to the general reader.
const MAX_DIGITS: usize = 18;

/// The row, if there is nothing unusual in it.
pub(super) fn read(body: &str) -> Option<Row<'_>> {
    let mut rest = Rest(body);
    rest.eat("{\"i\":")?;
    let mut row = Row { i: Cow::Borrowed(rest.text()?), ..Row::default() };
    let mut fields = FIELDS.iter();
    while rest.eat(",\"").is_some() {
        let field = rest.byte()?;
        // In their order, so that none stands there twice.
        fields.find(|known| **known == field)?;
        rest.eat("\":")?;
        match field {
            b'r' => row.r = rest.number()?,
            b'w' => row.w = rest.number()?,
            b'u' => row.u = rest.number()?,
            b'a' => row.a = Some(Cow::Borrowed(rest.text()?)),
            b'f' => row.f = Some(Cow::Borrowed(rest.text()?)),
            b'n' => row.n = Some(Cow::Borrowed(rest.text()?)),
            b'p' => row.p = rest.number()?,
            b'c' => row.c = rest.counts()?,
            b'm' => row.m = rest.text()?.parse::<Usd>().ok()?,
            b'b' => row.b = Some(rest.signed()?),
            b'e' => row.e = Some(rest.signed()?),
            b'z' => row.z = Some(rest.signed()?),
            b't' => row.t = rest.signed()?,
            b'd' => row.d = Some(rest.float()?),
            b'o' => row.o = rest.number()?,
            b'x' => row.x = rest.number()?,
            _ => return None,
        }
    }
    (rest.0 == "}").then_some(row)
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn eat(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.as_bytes().split_first()?;
        // What is not ASCII is no boundary, and no name of a field.
        self.0 = self.0.get(self.0.len() - rest.len()..)?;
        Some(*byte)
    }

    /// Takes bytes for as long as they are like that.
    fn span(&mut self, is_like: impl Fn(u8) -> bool) -> Option<&'a str> {
        let length = self.0.bytes().position(|byte| !is_like(byte))?;
        let (span, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(span)
    }

    /// A string without escapes.
    fn text(&mut self) -> Option<&'a str> {
        self.eat("\"")?;
        let text = self.span(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')?;
        self.eat("\"")?;
        Some(text)
    }

    fn digits(&mut self) -> Option<u64> {
        let digits = self.span(|byte| byte.is_ascii_digit())?;
        let is_plain = digits.len() == 1 || !digits.starts_with('0');
        if digits.is_empty() || digits.len() > MAX_DIGITS || !is_plain {
            return None;
        }
        Some(digits.bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
    }

    fn number<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.digits()?.try_into().ok()
    }

    fn signed(&mut self) -> Option<i64> {
        let negative = self.eat("-").is_some();
        let number: i64 = self.number()?;
        Some(if negative { -number } else { number })
    }

    fn float(&mut self) -> Option<f64> {
        let text = self.span(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e'))?;
        let seconds: f64 = text.parse().ok()?;
        seconds.is_finite().then_some(seconds)
    }

    fn counts(&mut self) -> Option<[u64; Count::LEN]> {
        let mut counts = [0; Count::LEN];
        for (index, count) in counts.iter_mut().enumerate() {
            self.eat(if index == 0 { "[" } else { "," })?;
            *count = self.digits()?;
        }
        self.eat("]")?;
        Some(counts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(row: &Row<'_>) -> String {
        serde_json::to_string(row).unwrap()
    }

    proptest! {
        /// Whatever it reads says what the general reader finds in it; and the usual is read.
        #[test]
        fn it_reads_what_is_written(
            i in "[a-z0-9é\"\\\\\n-]{1,20}",
            names in any::<[Option<bool>; 3]>(),
            (r, w, u, p, x) in any::<(u16, u32, u32, u8, u8)>(),
            c in any::<[u64; 5]>(),
            m in 0..1_000_000_000_u64,
            (b, e, z) in any::<(Option<i64>, Option<i64>, Option<i64>)>(),
            (t, o) in any::<(i64, u64)>(),
            d in proptest::option::of(0.0..1e6_f64),
        ) {
            let name = |own: Option<bool>| own.map(|plain| Cow::Borrowed(if plain { "a-b" } else { "a\tb" }));
            let row = Row {
                i: Cow::Owned(i), a: name(names[0]), f: name(names[1]), n: name(names[2]),
                r, w, u, p, x, c, b, e, z, t, o, d, m: format!("0.{m}").parse().unwrap(),
                ..Row::default()
            };
            let body = json(&row);
            let is_usual = !body.contains('\\')
                && c.iter().chain([&o]).all(|number| *number < 10_u64.pow(18))
                && [b, e, z, Some(t)].into_iter().flatten().all(|at| at.unsigned_abs() < 10_u64.pow(18));
            let read = read(&body);
            prop_assert_eq!(read.is_some(), is_usual, "{}", body);
            if let Some(read) = read {
                prop_assert_eq!(json(&read), body);
            }
        }

        #[test]
        fn what_is_damaged_is_left_alone_or_read_as_it_stands(
            at in any::<proptest::sample::Index>(), byte in 32..127_u8,
        ) {
            let row = Row { i: "chat".into(), c: [1, 2, 3, 4, 5], b: Some(7), d: Some(1.5), x: 3, ..Row::default() };
            let mut body = json(&row).into_bytes();
            let at = at.index(body.len());
            body[at] = byte;
            let body = String::from_utf8(body).unwrap();
            if let (Some(quick), Ok(slow)) = (read(&body), Row::parse_any(&body)) {
                prop_assert_eq!(json(&quick), json(&slow));
            }
        }
    }

    #[test]
    fn a_field_out_of_its_order_or_twice_is_left_alone() {
        for body in [
            r#"{"i":"c","x":1,"t":0}"#,
            r#"{"i":"c","t":0,"t":0}"#,
            r#"{"i":"c","t":01}"#,
            r#"{"i":"c","t":0} "#,
        ] {
            assert!(read(body).is_none(), "{body}");
        }
    }
}
