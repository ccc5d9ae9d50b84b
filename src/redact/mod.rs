//! Takes secrets out of text: log lines, error messages, JSON, `key=value`.
//!
//! What goes in is any text; what comes out is the same text with `***` in the place of secrets.
//! Lines stay lines, JSON stays JSON, and what was redacted once is not changed again. The time
//! is linear in the length of the text, whatever it holds.
//!
//! | found by | examples |
//! |---|---|
//! | its name | `password=…`, `token: …`, `"api_key": "…"`, `'secret': '…'`, `\"api_key\": \"…\"` |
//! | its scheme | `Authorization: Bearer …`, `Bearer …`, `Basic …` |
//! | its place | `scheme://user:***@host`, `?sig=…`, `hooks.slack.com/services/…` |
//! | its shape | `sk-…`, `AKIA…`, `ghp_…`, `github_pat_…`, `xoxb-…`, `AIza…`, `eyJ….….…`, PEM |
//!
//! **Names** of secrets contain `token`, `secret`, `password`, `passwd`, `passphrase`, `passcode`,
//! `pwd`, `credential`, `connection string`, `auth` as a word, `authorization`, or `key` after
//! `api`, `access`, `account`, `encryption`, `master`, `private`, `shared`, `signing` or
//! `subscription`; in any case, with `_`, `-`, `.`, a blank or nothing between words. `pass` and
//! `bearer` alone count before `=` or in quotes. Not names of secrets are `tokens` (they are
//! counted), `tokenizer`, `author`, `authority`, `authenticated`, `authentication`, `secretary`,
//! `passed`, and what ends in `count`, `limit`, `type`, `file`, `path`, `name` and the like
//! (`key::ABOUT`).
//!
//! **What is kept.** In quotes after a name in quotes, as in JSON, nothing: `***`. Of passwords
//! and of `Basic` nothing anywhere. Else, where the secret has 24 characters or more, the first
//! and last four so far as they are letters and digits, so that people can tell keys apart:
//! `sk-p***abcd`. A secret whose middle was left out before (`abc1...xyz`) needs 12. Numbers,
//! truth values and nothing (`null`, `None`) stay, except that a number may be a password.
//!
//! **What is not found:** a secret that neither its name nor its shape gives away, one that is
//! encoded as a whole, and a value on another line than its name, but for PEM.

mod key;
mod look;
mod mask;
mod named;
mod pem;
mod scan;
mod stream;
mod trigger;
mod uri;
mod value;

use std::borrow::Cow;

use serde_json::Value;

use scan::State;
pub use stream::{WINDOW_BYTES, filter};

/// What stands in the place of a secret.
const MASK: &str = "***";

/// Takes the secrets out of a text. Borrowed where there are none.
pub fn redact(text: &str) -> Cow<'_, str> {
    match scan::scan(text.as_bytes(), &mut State::default()).text {
        None => Cow::Borrowed(text),
        // Secrets begin and end at ASCII characters or at the ends of lines.
        Some(bytes) => Cow::Owned(
            String::from_utf8(bytes)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        ),
    }
}

/// Whether a field of that name holds a secret.
pub fn is_secret_name(name: &str) -> bool {
    key::class_of(name.as_bytes()).is_some()
}

/// Takes the secret out of a field: all of it where the name says so, else what is in the text.
/// Numbers stay as in text.
pub fn redact_value<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    match key::class_of(name.as_bytes()) {
        None => redact(value),
        Some(_) if value.is_empty() => Cow::Borrowed(value),
        Some(class) => {
            let numbers_too = class != key::Class::Password;
            let is_plain = value::is_plain(value.as_bytes(), numbers_too);
            Cow::Borrowed(if is_plain { value } else { MASK })
        }
    }
}

/// As [`redact_value`], for a field with anything in it.
pub fn redact_json(name: &str, value: &mut Value) {
    let is_secret = is_secret_name(name);
    match value {
        Value::String(text) => {
            let redacted = redact_value(name, text);
            if redacted != *text {
                *text = redacted.into_owned();
            }
        }
        Value::Number(_) if key::class_of(name.as_bytes()) == Some(key::Class::Password) => {
            *value = MASK.into();
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact_json(name, item)),
        Value::Object(fields) => {
            for (field, item) in fields {
                // Everything under the name of a secret is one.
                redact_json(if is_secret { name } else { field }, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
