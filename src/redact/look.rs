//! What is at a place, where the place or the shape says so.

use super::key::Class;
use super::mask::Style;
use super::pem::{self, PemState};
use super::scan::Scan;
use super::trigger::{Found, What};
use super::uri::{self, Secret};

/// The least length of a value of `sig=` that is a signature.
const SHORTEST_SIGNATURE: usize = 16;
/// The least length of Base64 of JSON that is a secret: with a dot as tokens have, and without.
const SHORTEST_TOKEN: usize = 20;
const SHORTEST_BLOB: usize = 40;

impl Scan<'_, '_> {
    /// Looks at a place. Returns where to go on if there is a secret, hidden now or before.
    pub(super) fn look(&mut self, found: Found) -> Option<usize> {
        let Found { start, end, .. } = found;
        match found.what {
            What::Key { class, is_common } => self.named(start, end, class, is_common),
            What::Basic => self.basic(start, end),
            What::Signature => self.signature(start, end),
            What::Address => self.address(start, end),
            What::Pem => self.pem(end),
            What::Webhook => {
                let to = self.line.bare_end(end);
                self.hide(end, to, Style::Whole);
                (to > end).then_some(to)
            }
            What::WebToken => self.web_token(start),
            What::Shape(shape) => {
                if !self.is_start(start) {
                    return None;
                }
                let length = self.word_len(end, b"_-");
                if !shape.takes(self.line.text.get(end..end + length)?) {
                    return None;
                }
                self.hide(start, end + length, Style::Ends);
                Some(end + length)
            }
        }
    }

    /// The number of letters, digits and `others` from `from` on.
    pub(super) fn word_len(&self, from: usize, others: &[u8]) -> usize {
        let goes_on = |byte: &&u8| byte.is_ascii_alphanumeric() || others.contains(byte);
        self.line.from(from).iter().take_while(goes_on).count()
    }

    /// Whether a word may start at `at`: behind something else than a letter or a digit, or behind
    /// an escape that ends with one (`\n`, `\u001b`, `%3D`, the colours of a terminal).
    pub(super) fn is_start(&self, at: usize) -> bool {
        let before = self.text.get(at.saturating_sub(12)..at).unwrap_or_default();
        let is_hex = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_hexdigit);
        if !before.last().is_some_and(u8::is_ascii_alphanumeric) {
            return true;
        }
        match before {
            [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f'] => true,
            [.., b'\\', b'u', a, b, c, d] => is_hex(&[*a, *b, *c, *d]),
            [.., b'%', a, b] if is_hex(&[*a, *b]) => true,
            [colour @ .., b'm'] => {
                let code = |byte: &&u8| byte.is_ascii_digit() || **byte == b';';
                let length = colour.iter().rev().take_while(code).count();
                colour.get(..colour.len() - length).is_some_and(|rest| rest.ends_with(b"["))
            }
            _ => false,
        }
    }

    /// `Basic` and Base64 of `user:password`.
    fn basic(&mut self, start: usize, end: usize) -> Option<usize> {
        let from = self.line.skip_blanks(end);
        let length = self.word_len(from, b"+/=_-");
        let encoded = self.line.text.get(from..from + length)?;
        if !self.is_start(start) || !holds_colon(encoded) {
            return None;
        }
        self.hide(from, from + length, Style::Whole);
        Some(from + length)
    }

    /// `sig=…`, as a part of an address or by its length.
    fn signature(&mut self, start: usize, end: usize) -> Option<usize> {
        if !self.is_start(start) {
            return None;
        }
        let before = start.checked_sub(1).and_then(|before| self.line.byte(before));
        let is_parameter = before.is_some_and(|byte| b"?&;".contains(&byte));
        let to = self.line.bare_end(end);
        if is_parameter || to - end >= SHORTEST_SIGNATURE {
            return self.value(end, Class::Bearer, None);
        }
        None
    }

    fn address(&mut self, start: usize, end: usize) -> Option<usize> {
        match uri::secret(self.line, start, end)? {
            Secret::Password(range) => {
                self.hide(range.start, range.end, Style::Whole);
                Some(range.end + 1)
            }
            Secret::Token(range) => {
                self.hide(range.start, range.end, Style::Ends);
                Some(range.end + 1)
            }
        }
    }

    fn pem(&mut self, end: usize) -> Option<usize> {
        let label_end = pem::label_end(self.line.text, end)?;
        let (to, is_end) = pem::body_end(self.line.text, label_end);
        let body = self.text.get(label_end..to)?;
        if !is_end {
            // What an earlier key would have had on the next line is this one's to say.
            (self.state.pem, self.pem_body) = (Some(PemState::default()), None);
            self.expect_pem(self.line.text.len() + 1);
        }
        if body.iter().any(u8::is_ascii_alphanumeric) {
            self.hide(label_end, to, Style::Whole);
        }
        Some(to)
    }

    fn web_token(&mut self, start: usize) -> Option<usize> {
        if !self.is_start(start) {
            return None;
        }
        let length = self.word_len(start, b"_-.");
        let run = self.line.text.get(start..start + length)?;
        let length = run.iter().rposition(|byte| *byte != b'.')? + 1;
        let run = run.get(..length)?;
        let least = if run.contains(&b'.') { SHORTEST_TOKEN } else { SHORTEST_BLOB };
        if length < least {
            return None;
        }
        self.hide(start, start + length, Style::Ends);
        Some(start + length)
    }
}

/// Whether Base64 decodes to something with a colon, as user and password are joined.
fn holds_colon(encoded: &[u8]) -> bool {
    let mut bits = 0_u32;
    let mut count = 0_u32;
    encoded.iter().any(|byte| {
        let sextet = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = (bits << 6 | u32::from(sextet)) & 0xffff;
        count += 6;
        if count < 8 {
            return false;
        }
        count -= 8;
        (bits >> count) & 0xff == u32::from(b':')
    })
}
