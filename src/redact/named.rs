//! Values after the names of secrets.

use super::key::{self, Class};
use super::mask::{self, Style};
use super::scan::Scan;
use super::trigger;
use super::value::{Line, Quote, Separator, is_plain, is_quote};

/// How far a list or an object under a secret name is followed, in bytes.
const LONGEST_CONTAINER: usize = 256 * 1024;
/// The longest name that is looked for where a secret should be, in bytes.
const LONGEST_INNER_NAME: usize = 32;

/// What follows the name of an authentication scheme.
enum Scheme {
    /// A token.
    Token(usize),
    /// User and password, in Base64.
    Credentials(usize),
    /// Parameters, some of them secret.
    Parameters(usize),
}

/// Whether it is not yet the secret that stands at `from` but its name, as in
/// `Authorization: token=…`. Digits would speak for a secret that happens to look like one.
fn is_name(line: Line<'_>, from: usize) -> bool {
    let Some(end) = key::key_end(line.text, from) else { return false };
    let name = line.text.get(from..end).unwrap_or_default();
    // Blanks before the separator could as well be hidden as a part of something else.
    let is_assigned = || {
        matches!(line.from(end), [b':', ..] | [b'=', b'!'..=b'<' | b'>'.., ..])
            && line.separator(end).and_then(|sep| line.byte(sep.value)).is_some_and(|b| b > b' ')
    };
    name.len() <= LONGEST_INNER_NAME
        && !name.iter().any(u8::is_ascii_digit)
        && is_assigned()
        && key::class_of(name).is_some()
        && !trigger::has_shape(name)
}

impl Scan<'_, '_> {
    /// A name, and the value after it.
    pub(super) fn named(
        &mut self,
        start: usize,
        end: usize,
        class: Class,
        is_common: bool,
    ) -> Option<usize> {
        let line = self.line;
        let key_end = key::key_end(line.text, end)?;
        let name = line.text.get(start..key_end)?;
        if class == Class::Bearer && line.byte(end).is_some_and(|next| matches!(next, b' ' | b'\t'))
        {
            return self.bearer(line.skip_blanks(end));
        }
        // The dot at the end of a sentence is none of the name, and no value follows it either.
        let class = key::class_of(name)?;
        let separator = line.separator(key_end).or_else(|| {
            let value = line.skip_blanks(key_end);
            let follows = value > key_end && key::is_flag(line.text, start);
            follows.then_some(Separator { quote: None, is_equals: true, value })
        })?;
        if is_common && separator.quote.is_none() && !separator.is_equals {
            return None;
        }
        if trigger::has_shape(name) {
            return None;
        }
        self.value(separator.value, class, separator.quote)
    }

    /// What follows the word `Bearer` and a blank.
    fn bearer(&mut self, from: usize) -> Option<usize> {
        let to = self.line.bare_end(from);
        let word = self.line.text.get(from..to)?;
        let letters = word.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        let (letters, rest) = word.split_at(letters);
        // What comes after it in sentences, and in what servers ask for.
        let prose = [
            &b"a"[..],
            b"and",
            b"auth",
            b"authentication",
            b"authorization",
            b"bearer",
            b"credential",
            b"credentials",
            b"error",
            b"for",
            b"format",
            b"header",
            b"in",
            b"is",
            b"not",
            b"of",
            b"or",
            b"realm",
            b"scheme",
            b"scope",
            b"the",
            b"token",
            b"tokens",
            b"was",
            b"with",
        ];
        let is_prose = rest.first().is_none_or(|byte| b".,;:=!?".contains(byte))
            && prose.iter().any(|word| letters.eq_ignore_ascii_case(word));
        if is_prose { None } else { self.value(from, Class::Bearer, None) }
    }

    /// A value in any form. `name_quote` ended the name, if that stands in quotes.
    pub(super) fn value(
        &mut self,
        from: usize,
        class: Class,
        name_quote: Option<Quote>,
    ) -> Option<usize> {
        let line = self.line;
        let style = match class {
            Class::Password => Style::Whole,
            _ if name_quote.is_some() => Style::Whole,
            _ => Style::Ends,
        };
        // Python writes `b'…'`.
        let prefix = line.byte(from).is_some_and(|byte| b"bBuUfFrR".contains(&byte));
        let prefixed =
            prefix && line.byte(from + 1).is_some_and(|byte| matches!(byte, b'"' | b'\''));
        let from = from + usize::from(prefixed);
        if let Some(quote) = line.quote(from) {
            let is_open = line.is_json && quote.byte == b'"' && quote.depth == 0;
            let in_json_name = name_quote.is_some_and(|name| name.byte == b'"' && name.depth == 0);
            if is_open && !in_json_name && line.ends_json_string(quote.at) {
                return None;
            }
            let content = quote.at + 1;
            let (to, _) = line.quoted_end(content, quote);
            self.hide(content, to, style);
            return (to > content).then_some(to);
        }
        let opens = line.byte(from).is_some_and(|byte| matches!(byte, b'[' | b'{'));
        if opens && class != Class::Bearer {
            return self.container(from, name_quote);
        }
        let from = match class {
            Class::Authorization => match self.scheme(from) {
                Some(Scheme::Parameters(from)) => {
                    let to = self.parameters_end(from);
                    self.hide(from, to, Style::Whole);
                    return Some(to);
                }
                Some(Scheme::Credentials(from)) => {
                    let to = line.bare_end(from);
                    self.hide(from, to, Style::Whole);
                    return Some(to);
                }
                Some(Scheme::Token(from)) => return self.value(from, Class::Bearer, name_quote),
                None => from,
            },
            _ => from,
        };
        if let Some(length) = mask::masked_len(line.from(from), style)
            && (line.follows_value(from + length)
                || matches!(line.byte(from + length), Some(b'&' | b'<')))
        {
            return Some(from + length);
        }
        if is_name(line, from) {
            return None;
        }
        let to = line.bare_end(from);
        let value = line.text.get(from..to).filter(|value| !value.is_empty())?;
        if is_plain(value, matches!(class, Class::Authorization | Class::Other)) {
            return None;
        }
        if let Some(name) = name_quote
            && is_plain(value, true)
        {
            // A number in JSON: text in its place needs quotes.
            let escape = |out: &mut Vec<u8>| {
                out.extend(std::iter::repeat_n(b'\\', name.backslashes));
                out.push(name.byte);
            };
            self.copy_to(from);
            escape(&mut self.out);
            self.out.extend_from_slice(mask::MASK);
            escape(&mut self.out);
            self.copied = to;
        } else {
            self.hide(from, to, style);
        }
        Some(to)
    }

    /// The scheme of an `Authorization` header, and where what is secret begins after it.
    fn scheme(&self, from: usize) -> Option<Scheme> {
        let length = self.word_len(from, b"-");
        let name = self.line.text.get(from..from + length)?;
        let after = self.line.skip_blanks(from + length);
        if after == from + length || self.line.byte(after).is_none_or(|byte| byte <= b' ') {
            return None;
        }
        let is = |names: &[&[u8]]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        if is(&[b"bearer", b"token", b"apikey", b"api-key", b"key", b"jwt"]) {
            Some(Scheme::Token(after))
        } else if is(&[b"basic", b"negotiate", b"ntlm"]) {
            Some(Scheme::Credentials(after))
        } else if is(&[
            b"aws4-hmac-sha256",
            b"digest",
            b"hmac",
            b"oauth",
            b"sharedaccesssignature",
            b"sharedkey",
            b"signature",
        ]) {
            Some(Scheme::Parameters(after))
        } else {
            None
        }
    }

    /// Where the parameters of a header end: at the quote around it, or at the end of the line.
    fn parameters_end(&self, from: usize) -> usize {
        let line = self.line;
        let mut backslashes = 0_usize;
        for (at, byte) in line.from(from).iter().enumerate().map(|(n, byte)| (from + n, *byte)) {
            // In `response="…", uri="…"` quotes open a value or are followed by a comma.
            let is_around = line.follows_value(at + 1) && line.byte(at + 1) != Some(b',');
            let is_json = line.is_json && byte == b'"' && backslashes.is_multiple_of(2);
            let ends_json = is_json && line.ends_json_string(at);
            if byte == b'\r' || (is_quote(byte) && (is_around || ends_json)) {
                return at - backslashes;
            }
            backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
        }
        line.text.len()
    }

    /// A list or an object under a secret name: all texts in it are secrets.
    fn container(&mut self, from: usize, name_quote: Option<Quote>) -> Option<usize> {
        let line = self.line;
        let depth = name_quote.filter(|quote| quote.byte == b'"').map(|quote| quote.depth);
        let last = line.text.len().min(from + LONGEST_CONTAINER);
        let (mut at, mut open) = (from, 0_usize);
        while at < last {
            match line.byte(at)? {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open -= 1,
                b'"' | b'\'' | b'\\' => {
                    let Some(quote) = line.any_quote(at) else {
                        at += line.backslashes(at).max(1);
                        continue;
                    };
                    let is_around = match depth {
                        Some(depth) => quote.byte == b'"' && quote.depth < depth,
                        None => quote.byte == b'"' && line.ends_json_string(quote.at),
                    };
                    if is_around {
                        break;
                    }
                    let content = quote.at + 1;
                    let (to, close) = line.quoted_end(content, quote);
                    let after = close + usize::from(line.byte(close) == Some(quote.byte));
                    if line.byte(line.skip_blanks(after)) != Some(b':') {
                        self.hide(content, to, Style::Whole);
                    }
                    at = after.max(at + 1);
                    continue;
                }
                _ => {}
            }
            at += 1;
            if open == 0 {
                break;
            }
        }
        Some(at)
    }
}
