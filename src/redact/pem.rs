//! Private keys in PEM, on one line or over many.

use std::ops::Range;

use super::mask;

/// The longest label between the dashes, and the longest body on one line, in bytes.
const LONGEST_LABEL: usize = 64;
const LONGEST_BODY: usize = 64 * 1024;
/// The longest line that may belong to a body, in bytes.
const LONGEST_LINE: usize = 4096;
/// Lines that a key has at most: some 60 KiB.
const MOST_LINES: u16 = 1000;
/// So many characters of Base64 in a row are a part of the key wherever they stand.
const SURE: usize = 24;

/// Where the label of a private key ends that begins at `from`, its dashes included.
pub(super) fn label_end(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let rest = rest.get(..LONGEST_LABEL).unwrap_or(rest);
    let end = rest.windows(5).position(|five| five == b"-----")?;
    let is_private = rest.get(..end)?.windows(11).any(|label| label == b"PRIVATE KEY");
    is_private.then_some(from + end + 5)
}

/// Where the body that begins at `from` ends on the same line, and whether that is its end.
pub(super) fn body_end(text: &[u8], from: usize) -> (usize, bool) {
    let rest = text.get(from..).unwrap_or_default();
    let rest = rest.get(..LONGEST_BODY).unwrap_or(rest);
    let is_end = |at: usize| rest.get(at..).is_some_and(|rest| rest.starts_with(b"-----END "));
    let end = (0..rest.len()).find(|at| rest[*at] == b'"' || is_end(*at)).unwrap_or(rest.len());
    if is_end(end) {
        return (from + end, true);
    }
    let escapes = rest.iter().take(end).rev().take_while(|byte| **byte == b'\\').count();
    (from + end - escapes, false)
}

/// A private key that goes on over several lines, behind whatever a logger writes before each.
#[derive(Debug, Default)]
pub(super) struct PemState {
    lines: u16,
    /// Where the body began on the last line.
    column: Option<usize>,
}

impl PemState {
    /// Which part of the next line belongs to the key; an empty one of blank lines and headers.
    /// `None` where the key has ended.
    pub(super) fn line(&mut self, line: &[u8]) -> Option<Range<usize>> {
        self.lines += 1;
        // A line with a mask in it was looked at before, and so was the rest of the key.
        let is_seen = line.windows(mask::MASK.len()).any(|bytes| bytes == mask::MASK);
        if line.len() > LONGEST_LINE || self.lines > MOST_LINES || is_seen {
            return None;
        }
        if line.trim_ascii().is_empty() {
            return Some(0..0);
        }
        let indent = line.len() - line.trim_ascii_start().len();
        let quoted = line.get(indent).is_some_and(|byte| matches!(byte, b'"' | b'\''));
        let body = self
            .column
            .and_then(|column| body_at(line, column, 1))
            .or_else(|| body_at(line, indent + usize::from(quoted), 1))
            .or_else(|| long_body(line));
        if let Some(body) = body {
            self.column = Some(body.start);
            return Some(body);
        }
        let headers = [&b"Proc-Type:"[..], b"DEK-Info:", b"Comment:", b"Version:", b"Hash:"];
        let line = line.trim_ascii_start();
        headers.iter().any(|header| line.starts_with(header)).then_some(0..0)
    }
}

/// The first part of a line that is long enough to be sure.
fn long_body(line: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    while at < line.len() {
        match body_at(line, at, SURE) {
            Some(body) => return Some(body),
            None => at += body_len(line, at).max(1),
        }
    }
    None
}

/// What is of Base64 from `column` to the end of the line or of a text in quotes.
fn body_at(line: &[u8], column: usize, least: usize) -> Option<Range<usize>> {
    let end = column + body_len(line, column);
    let after = line.get(end..)?;
    let is_last = after.trim_ascii().is_empty() || matches!(after[0], b'"' | b'\'' | b'\\');
    (end >= column + least && is_last).then_some(column..end)
}

fn body_len(line: &[u8], from: usize) -> usize {
    let rest = line.get(from..).unwrap_or_default();
    let is_body = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    let letters = rest.iter().take_while(is_body).count();
    // One or two `=` may fill up the last line.
    let fill = rest.iter().skip(letters).take(2).take_while(|byte| **byte == b'=').count();
    if letters == 0 { 0 } else { letters + fill }
}
