//! Where a value begins and ends: bare, in quotes, in quotes that are escaped in other quotes.

use super::trigger;

/// The longest run of blanks that is skipped.
const LONGEST_GAP: usize = 16;
/// The most backslashes that are counted before a quote: enough for six texts in each other.
const MOST_BACKSLASHES: usize = 128;
/// The longest name that is looked for after a comma, in bytes.
const LONGEST_NEXT_NAME: usize = 32;

/// One line, cut off from the text before its end; positions in it are positions of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// The text up to the end of the line.
    pub(super) text: &'a [u8],
    /// Whether it begins as JSON does. Then a quote that is followed as the end of a JSON string
    /// is followed is that end, so that what was JSON stays JSON.
    pub(super) is_json: bool,
}

/// A quote character. Escaping a text in a JSON string doubles backslashes and adds one, so that
/// the number of one-bits at the end of their count is how deep a quote stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quote {
    pub(super) byte: u8,
    pub(super) depth: u32,
    /// Position of the character itself.
    pub(super) at: usize,
    /// Backslashes before it.
    pub(super) backslashes: usize,
}

/// What separates a name from its value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Separator {
    /// The quote that ends the name, if it stands in quotes.
    pub(super) quote: Option<Quote>,
    /// Whether it is an equals sign.
    pub(super) is_equals: bool,
    /// Where the value begins.
    pub(super) value: usize,
}

impl Line<'_> {
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    pub(super) fn from(&self, at: usize) -> &[u8] {
        self.text.get(at..).unwrap_or_default()
    }

    pub(super) fn skip_blanks(&self, at: usize) -> usize {
        let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
        at + self.from(at).iter().take(LONGEST_GAP).take_while(is_blank).count()
    }

    /// The quote at `at`, with the backslashes that come first.
    pub(super) fn quote(&self, at: usize) -> Option<Quote> {
        // `\\"` is a backslash and the end of what is around.
        self.any_quote(at).filter(|quote| quote.backslashes == 0 || quote.depth > 0)
    }

    /// As [`Line::quote`], also where the backslashes are not of the quote.
    pub(super) fn any_quote(&self, at: usize) -> Option<Quote> {
        let backslashes = self.backslashes(at);
        let byte = self.byte(at + backslashes).filter(|byte| is_quote(*byte))?;
        let depth = backslashes.trailing_ones();
        Some(Quote { byte, depth, at: at + backslashes, backslashes })
    }

    pub(super) fn backslashes(&self, at: usize) -> usize {
        self.from(at).iter().take(MOST_BACKSLASHES).take_while(|byte| **byte == b'\\').count()
    }

    /// What stands between a name that ends at `at` and its value, if that is what it is.
    pub(super) fn separator(&self, at: usize) -> Option<Separator> {
        let quote = self.quote(at);
        let after = self.skip_blanks(quote.map_or(at, |quote| quote.at + 1));
        let (length, is_equals) = match self.from(after) {
            // A path of Rust or C++, and an address.
            [b':', b':', ..] | [b':', b'/', b'/', ..] => return None,
            [b':', b'=', ..] | [b'=', b'>' | b'=', ..] => (2, true),
            [b':', ..] => (1, false),
            [b'=', ..] => (1, true),
            [b'%', b'3', b'D' | b'd', ..] => (3, true),
            _ => return None,
        };
        Some(Separator { quote, is_equals, value: self.skip_blanks(after + length) })
    }

    /// Whether a quote at `at` is the end of a JSON string, going by what follows.
    pub(super) fn ends_json_string(&self, at: usize) -> bool {
        let next = self.skip_blanks(at + 1);
        // A longer gap is more blanks than anyone writes; then the string ends, to be safe.
        matches!(self.byte(next), None | Some(b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\r'))
    }

    /// Where the content of quotes ends, its trailing backslashes left out, and where the closing
    /// quote stands: at the line's end where they are never closed.
    pub(super) fn quoted_end(&self, from: usize, quote: Quote) -> (usize, usize) {
        let mut backslashes = 0_usize;
        for (at, byte) in self.from(from).iter().enumerate().map(|(n, byte)| (from + n, *byte)) {
            let ends = match byte {
                b'\\' => {
                    backslashes += 1;
                    continue;
                }
                // The quote itself, or one of what is around.
                b'"' if quote.byte == b'"' => backslashes.trailing_ones() <= quote.depth,
                b'"' => self.is_json && backslashes.is_multiple_of(2) && self.ends_json_string(at),
                byte if byte == quote.byte => self.follows_value(at + 1),
                _ => false,
            };
            if ends {
                return (at - backslashes, at);
            }
            backslashes = 0;
        }
        (self.text.len(), self.text.len())
    }

    /// Where a bare value ends.
    pub(super) fn bare_end(&self, from: usize) -> usize {
        let ends = |at: usize, byte: u8| match byte {
            0..=b' ' | 0x7f => true,
            b'"' | b'\'' | b'`' | b')' | b']' | b'}' | b'>' => self.follows_value(at + 1),
            b',' | b';' => self.follows_value(at + 1) || self.is_name(at + 1),
            b'&' => self.is_name(at + 1),
            b'<' => self.byte(at + 1) == Some(b'/'),
            _ => false,
        };
        let rest = self.from(from);
        let length = rest.iter().enumerate().position(|(n, byte)| ends(from + n, *byte));
        let end = from + length.unwrap_or(rest.len());
        // The backslashes of an escaped quote belong to the quote.
        let value = self.text.get(from..end).unwrap_or_default();
        let quoted = self.byte(end).is_some_and(is_quote);
        let escapes = value.iter().rev().take_while(|byte| quoted && **byte == b'\\').count();
        end - escapes
    }

    /// Whether what is at `at` can come after a value that ended there.
    pub(super) fn follows_value(&self, at: usize) -> bool {
        self.byte(at).is_none_or(|next| next <= b' ' || b",;:)]}>\"'`\\".contains(&next))
    }

    /// Whether a name and its separator are at `at`. What is itself a secret is no name: it would
    /// not be one any more once it is hidden.
    fn is_name(&self, at: usize) -> bool {
        let text = self.from(at);
        let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_.-".contains(byte);
        let length = text.iter().take(LONGEST_NEXT_NAME).take_while(is_name).count();
        text.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
            && matches!(text.get(length), Some(b'=' | b':'))
            && !text.get(..length).is_some_and(trigger::has_shape)
    }
}

pub(super) fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// Whether a bare value says nothing: a truth value, nothing, or a number that is no password.
pub(super) fn is_plain(value: &[u8], numbers_too: bool) -> bool {
    /// Digits of the longest number; what is longer is no count.
    const LONGEST_NUMBER: usize = 24;
    let literals = [&b"true"[..], b"false", b"null", b"none", b"nil", b"undefined"];
    let is_number = || {
        let numeric = |byte: &u8| byte.is_ascii_digit() || b"-.".contains(byte);
        value.len() <= LONGEST_NUMBER
            && value.iter().all(numeric)
            && value.iter().any(u8::is_ascii_digit)
    };
    literals.iter().any(|literal| value.eq_ignore_ascii_case(literal))
        || (numbers_too && is_number())
}
