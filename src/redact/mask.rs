//! What stays of a secret.

use super::trigger;

/// What stands in the place of a secret.
pub(super) const MASK: &[u8] = b"***";
/// What the runtime puts into its own `***REDACTED***`, after the first half.
const RUNTIME_MASK: &[u8] = b"REDACTED***";
/// Bytes that are kept at either end.
pub(super) const KEPT: usize = 4;
/// The shortest secret of which the ends are kept, in bytes: what is kept is a third at most.
const LONG: usize = 24;
/// As [`LONG`], where `...` says that the middle was left out before.
const LONG_CUT: usize = 12;

/// How much of a secret is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Nothing: `***`.
    Whole,
    /// Up to four characters at either end if it is long: `sk-p***abcd`.
    Ends,
}

/// Writes what is shown of `secret`; `following` is what comes after it.
pub(super) fn write(out: &mut Vec<u8>, secret: &[u8], style: Style, following: &[u8]) {
    let is_cut = secret.windows(3).any(|three| three == b"...");
    let least = if is_cut { LONG_CUT } else { LONG };
    if style == Style::Whole || secret.len() < least {
        out.extend_from_slice(MASK);
        return;
    }
    out.extend_from_slice(head(secret));
    out.extend_from_slice(MASK);
    let tail = tail(secret);
    // What is kept must not make a word with what follows that would be understood next time.
    let mut seen = [b' '; KEPT + 1];
    for (place, byte) in seen.iter_mut().zip(tail.iter().chain(following.first())) {
        *place = *byte;
    }
    if !trigger::is_near(&seen) {
        out.extend_from_slice(tail);
    }
}

fn head(secret: &[u8]) -> &[u8] {
    let is_plain = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let length = secret.iter().take(KEPT).take_while(is_plain).count();
    secret.get(..length).unwrap_or_default()
}

fn tail(secret: &[u8]) -> &[u8] {
    let length = secret.iter().rev().take(KEPT).take_while(|b| b.is_ascii_alphanumeric()).count();
    secret.get(secret.len() - length..).unwrap_or_default()
}

/// How long the mask is that `text` begins with, if it begins with one.
pub(super) fn masked_len(text: &[u8], style: Style) -> Option<usize> {
    let ends = if style == Style::Ends { head(text).len() } else { 0 };
    let after = text.get(ends..)?.strip_prefix(MASK)?;
    let after = after.strip_prefix(RUNTIME_MASK).unwrap_or(after);
    let mut length = text.len() - after.len();
    if style == Style::Ends {
        length += after.iter().take(KEPT).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    }
    Some(length)
}

/// Whether all of `text` is a mask.
pub(super) fn is_masked(text: &[u8], style: Style) -> bool {
    masked_len(text, style) == Some(text.len())
}
