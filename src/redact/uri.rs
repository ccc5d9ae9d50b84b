//! User and password in an address: `scheme://user:password@host`.

use std::ops::Range;

use super::value::Line;

/// The longest user and password that are found, in bytes.
const LONGEST: usize = 4096;
/// The shortest user that is taken for a token, in bytes.
const SHORTEST_TOKEN: usize = 20;

/// What is secret in the address whose part after `://` begins at `from`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Secret {
    /// A password, `user:***@host`.
    Password(Range<usize>),
    /// What stands for a user and is long enough to be a token, `https://token@host`.
    Token(Range<usize>),
}

/// Finds it. Passwords may hold `@`, `/`, `?` and `#` that nobody escaped, so the last `@` counts
/// that can: in an address of the web one before the query, elsewhere any.
pub(super) fn secret(line: Line<'_>, start: usize, from: usize) -> Option<Secret> {
    let region = region(line, from);
    let find = |wanted: &[u8]| region.iter().position(|byte| wanted.contains(byte));
    let colon = find(b":");
    if let Some(colon) = colon
        && region.get(colon + 1..).is_some_and(|rest| rest.starts_with(b"***@"))
    {
        return Some(Secret::Password(from + colon + 1..from + colon + 4));
    }
    let last_at = |end: usize| region.get(..end)?.iter().rposition(|byte| *byte == b'@');
    let is_web = is_web(line.text.get(..start).unwrap_or_default());
    let authority = find(b"/?#").unwrap_or(region.len());
    let split = if last_at(authority).is_some() {
        last_at(if is_web { find(b"?#").unwrap_or(region.len()) } else { region.len() })?
    } else {
        // `host:8000/a@b`, or a password with a slash.
        let port = region.get(colon? + 1..authority)?;
        let is_port = is_web && port.iter().all(u8::is_ascii_digit);
        if is_port || region.starts_with(b"[") {
            return None;
        }
        last_at(region.len())?
    };
    match colon.filter(|colon| *colon < split) {
        Some(colon) if colon + 1 < split => Some(Secret::Password(from + colon + 1..from + split)),
        Some(_) => None,
        None => {
            let user = region.get(..split)?;
            let is_token = user.len() >= SHORTEST_TOKEN && user.iter().any(u8::is_ascii_digit);
            is_token.then_some(Secret::Token(from..from + split))
        }
    }
}

/// The bytes that may belong to the address.
fn region(line: Line<'_>, from: usize) -> &[u8] {
    let rest = line.text.get(from..).unwrap_or_default();
    let rest = rest.get(..LONGEST).unwrap_or(rest);
    let ends = |(n, byte): (usize, &u8)| match byte {
        0..=b' ' | 0x7f | b'<' | b'>' => true,
        b'"' | b'\'' | b'`' => line.follows_value(from + n + 1),
        // The next address.
        b':' => rest
            .get(n + 1..)
            .is_some_and(|rest| rest.starts_with(b"//") || rest.starts_with(b"\\/\\/")),
        _ => false,
    };
    let end = rest.iter().enumerate().position(ends).unwrap_or(rest.len());
    rest.get(..end).unwrap_or_default()
}

fn is_web(before: &[u8]) -> bool {
    let is_scheme = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+.-".contains(byte);
    let length = before.iter().rev().take(16).take_while(is_scheme).count();
    let scheme = before.get(before.len() - length..).unwrap_or_default();
    [&b"http"[..], b"https", b"ws", b"wss"].iter().any(|web| scheme.eq_ignore_ascii_case(web))
}
