//! The pass over a text: from one place to the next, each byte of a value once.

use std::ops::Range;

use super::mask::{self, Style};
use super::pem::PemState;
use super::trigger::Triggers;
use super::value::Line;

/// Bytes after a place that may decide what it is, with room to spare.
pub(super) const LOOKAHEAD: usize = 8 * 1024;
/// A value that ends so close before a cut may go on behind it, in bytes.
const NEAR_CUT: usize = 64;

/// What is known from the text before.
#[derive(Debug, Default)]
pub(super) struct State {
    /// A private key goes on.
    pub(super) pem: Option<PemState>,
    /// The text goes on in the middle of a line, which began like JSON, or not.
    pub(super) mid_line: Option<bool>,
}

/// What became of a text.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The new text, if anything changed, for the bytes up to `consumed`.
    pub(super) text: Option<Vec<u8>>,
    /// How much of the text is done.
    pub(super) consumed: usize,
}

/// Goes over whole lines.
pub(super) fn scan(text: &[u8], state: &mut State) -> Scanned {
    Scan::new(text, state, None).run()
}

/// Goes over the beginning of a line that is longer than the memory for it. What cannot be decided
/// before more is read is not consumed.
pub(super) fn scan_part(text: &[u8], state: &mut State) -> Scanned {
    let before = text.len().saturating_sub(LOOKAHEAD);
    // Better between two words than in one.
    let words = text.get(before.saturating_sub(LOOKAHEAD)..before).unwrap_or_default();
    let blank = words.iter().rposition(|byte| *byte == b' ').map(|at| before - words.len() + at);
    Scan::new(text, state, Some(blank.unwrap_or(before))).run()
}

pub(super) struct Scan<'a, 's> {
    pub(super) text: &'a [u8],
    pub(super) state: &'s mut State,
    /// Where to stop, if the line goes on behind the text.
    cut: Option<usize>,
    pub(super) out: Vec<u8>,
    /// Up to where the text is in `out`.
    pub(super) copied: usize,
    pub(super) line: Line<'a>,
    /// The next part of a private key.
    pub(super) pem_body: Option<Range<usize>>,
}

impl<'a, 's> Scan<'a, 's> {
    fn new(text: &'a [u8], state: &'s mut State, cut: Option<usize>) -> Self {
        let line = Line { text: &[], is_json: false };
        Self { text, state, cut, out: Vec::new(), copied: 0, line, pem_body: None }
    }

    fn run(mut self) -> Scanned {
        let mut triggers = Triggers::new(self.text);
        let mut at = 0;
        self.expect_pem(0);
        loop {
            let found = triggers.next(at);
            // A part of a private key comes before what is found behind it.
            if let Some(body) =
                self.pem_body.take_if(|body| found.is_none_or(|found| found.start >= body.start))
            {
                self.hide(body.start.max(at), body.end, Style::Whole);
                at = at.max(body.end);
                self.expect_pem(self.line_end(at) + 1);
                continue;
            }
            let Some(found) = found.filter(|found| self.cut.is_none_or(|cut| found.start < cut))
            else {
                break;
            };
            self.enter_line(found.start);
            let (written, copied) = (self.out.len(), self.copied);
            let end = self.look(found);
            if self.cut.is_some() && end.is_some_and(|end| end + NEAR_CUT > self.text.len()) {
                self.out.truncate(written);
                self.copied = copied;
                self.state.pem = None;
                return self.end(found.start.max(copied));
            }
            at = end.unwrap_or(0).max(found.at + 1);
        }
        let end = self.cut.map_or(self.text.len(), |cut| cut.max(at.min(self.text.len())));
        self.end(end)
    }

    fn end(mut self, consumed: usize) -> Scanned {
        let is_json = self.is_json(0);
        self.state.mid_line = self.cut.map(|_| self.state.mid_line.unwrap_or(is_json));
        if self.copied == 0 && self.out.is_empty() {
            return Scanned { text: None, consumed };
        }
        self.out.extend_from_slice(self.text.get(self.copied..consumed).unwrap_or_default());
        Scanned { text: Some(self.out), consumed }
    }

    /// Moves on to the line that `at` is on.
    fn enter_line(&mut self, at: usize) {
        let known = self.line.text.len();
        if at < known {
            return;
        }
        let is_end = |byte: &u8| *byte == b'\n';
        let between = self.text.get(known..at).unwrap_or_default();
        let start = between.iter().rposition(is_end).map(|end| known + end + 1);
        let end = self.line_end(at);
        let is_json = match (start, self.state.mid_line) {
            (None, Some(is_json)) => is_json,
            (start, _) => self.is_json(start.unwrap_or(0)),
        };
        self.line = Line { text: self.text.get(..end).unwrap_or_default(), is_json };
    }

    fn is_json(&self, start: usize) -> bool {
        let line = self.text.get(start..).unwrap_or_default();
        let first = line.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
        first.is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"'))
    }

    /// Puts a mask in the place of a secret.
    pub(super) fn hide(&mut self, from: usize, to: usize, style: Style) {
        let Some(secret) = self.text.get(from..to).filter(|secret| !secret.is_empty()) else {
            return;
        };
        if !mask::is_masked(secret, style) {
            self.copy_to(from);
            let following = self.text.get(to..).unwrap_or_default();
            mask::write(&mut self.out, secret, style, following);
            self.copied = to;
        }
    }

    pub(super) fn copy_to(&mut self, at: usize) {
        self.out.extend_from_slice(self.text.get(self.copied..at).unwrap_or_default());
        self.copied = at;
    }

    /// Looks whether a private key goes on, on the line that begins at `from`.
    pub(super) fn expect_pem(&mut self, from: usize) {
        let Some(rest) = self.text.get(from..).filter(|rest| !rest.is_empty()) else { return };
        let Some(pem) = self.state.pem.as_mut() else { return };
        let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
        match pem.line(line) {
            Some(body) => self.pem_body = Some(from + body.start..from + body.end),
            None => self.state.pem = None,
        }
    }

    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        rest.iter().position(|byte| *byte == b'\n').map_or(self.text.len(), |end| at + end)
    }
}
