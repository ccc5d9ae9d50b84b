//! HTML in which nothing but our own words is markup, and numbers as people read them.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use chrono::DateTime;

use crate::model::{Timestamp, Usd};
use crate::server::json::iso;

/// Foreign text is cut after so many characters.
const MAX_CHARS: usize = 64;

/// HTML. Markup gets into it as `&'static str` alone; everything else is escaped.
#[derive(Debug, Clone, Default)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text of ours, and numbers.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        write!(Escaped(&mut self.0), "{text}").expect("writing to memory does not fail");
        self
    }

    /// A name that somebody else gave: cut, and kept from changing the direction of what is beside it.
    pub(super) fn name(&mut self, name: &str) -> &mut Self {
        self.foreign(name, MAX_CHARS)
    }

    /// Sentences in which there is foreign text; whoever gave them has bounded them.
    pub(super) fn words(&mut self, text: &str) -> &mut Self {
        self.foreign(text, usize::MAX)
    }

    fn foreign(&mut self, text: &str, max_chars: usize) -> &mut Self {
        self.raw("<bdi>");
        let mut chars = text.chars();
        for char in chars.by_ref().take(max_chars) {
            if is_unseen(char) {
                self.text(char.escape_unicode());
            } else {
                self.text(char);
            }
        }
        if chars.next().is_some() {
            self.raw("…");
        }
        self.raw("</bdi>")
    }

    /// A number that scripts can read, as people read it.
    pub(super) fn data(
        &mut self,
        id: &'static str,
        value: impl Display,
        shown: impl Display,
    ) -> &mut Self {
        self.raw("<data id=\"").raw(id).raw("\" value=\"").text(value).raw("\">");
        self.text(shown).raw("</data>")
    }

    /// A time of the day.
    pub(super) fn time(&mut self, at: Timestamp, format: &'static str) -> &mut Self {
        self.raw("<time datetime=\"").text(iso(at).unwrap_or_default()).raw("\">");
        self.text(Clock(at, format)).raw("</time>")
    }

    /// What was written before.
    pub(super) fn html(&mut self, html: &Html) -> &mut Self {
        self.0.push_str(&html.0);
        self
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Letters that cannot be seen and move others, or that HTML does not take.
fn is_unseen(char: char) -> bool {
    let moves = matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}');
    char.is_control() || moves
}

struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars() {
            match char {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                char => self.0.push(char),
            }
        }
        Ok(())
    }
}

/// A time in UTC.
struct Clock(Timestamp, &'static str);

impl Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = DateTime::from_timestamp_micros(self.0.0).unwrap_or_default();
        write!(f, "{}", at.format(self.1))
    }
}

/// A whole number with its thousands apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole(pub(super) u64);

impl Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// Money: cents, and of less than a dollar more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Money(pub(super) Usd);

impl Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CENT: u128 = 10_000_000_000;
        let pico = self.0.picodollars();
        if pico == 0 {
            return f.write_str("$0");
        }
        if pico < CENT * 100 {
            let places = if pico < CENT / 100 { 8 } else { 4 };
            return write!(f, "${:.places$}", self.0.as_f64());
        }
        let cents = (pico + CENT / 2) / CENT;
        let dollars = u64::try_from(cents / 100).unwrap_or(u64::MAX);
        write!(f, "${}.{:02}", Whole(dollars), cents % 100)
    }
}

/// How long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match seconds {
            0..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{minutes} min"),
            3600..172_800 => write!(f, "{hours} h {} min", minutes % 60),
            _ => write!(f, "{days} d"),
        }
    }
}

/// Bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes(pub(super) u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", bytesize::ByteSize(self.0).display().iec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_no_markup() {
        let mut html = Html::new();
        html.name("<script>alert('1')</script>&\"");
        assert_eq!(
            html.into_string(),
            "<bdi>&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;</bdi>"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_spelt_out_and_what_is_long_is_cut() {
        let mut html = Html::new();
        html.name("a\u{202e}b\0\n");
        assert_eq!(html.into_string(), "<bdi>a\\u{202e}b\\u{0}\\u{a}</bdi>");
        let mut html = Html::new();
        html.name(&"é".repeat(500));
        assert_eq!(html.into_string(), format!("<bdi>{}…</bdi>", "é".repeat(MAX_CHARS)));
    }

    #[test]
    fn numbers_are_for_people() {
        let money = |dollars: &str| Money(dollars.parse().unwrap()).to_string();
        assert_eq!(money("0"), "$0");
        assert_eq!(money("0.000012"), "$0.00001200");
        assert_eq!(money("0.0123"), "$0.0123");
        assert_eq!(money("1234567.895"), "$1,234,567.90");
        let whole = [0, 999, 1000, 1_234_567].map(|number| Whole(number).to_string());
        assert_eq!(whole, ["0", "999", "1,000", "1,234,567"]);
        let span = |seconds| Span(Duration::from_secs(seconds)).to_string();
        assert_eq!([0, 59, 60, 3599].map(span), ["0 s", "59 s", "1 min", "59 min"]);
        assert_eq!([3600, 172_799, 172_800].map(span), ["1 h 0 min", "47 h 59 min", "2 d"]);
    }
}
