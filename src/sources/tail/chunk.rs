//! What is handed out at once.

use std::path::PathBuf;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// Its bytes, without the newline and without a carriage return before it. Any bytes at all.
    Whole(&'a [u8]),
    /// It is longer than is taken.
    TooLong {
        /// How long, without the newline.
        bytes: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// Lines with their newlines; the last may have none.
    Lines { bytes: Vec<u8>, longest: usize },
    /// One line that is not taken.
    TooLong { bytes: u64 },
}

/// Some lines of one file, and the places to keep with what they meant.
///
/// May hold no lines, but places only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub(super) content: Content,
    /// The file, under the name that it had when it was last seen. Empty where there are no lines.
    pub path: PathBuf,
    /// The lines lay there when the tail was started for the very first time.
    pub prior: bool,
    /// To be kept in one transaction with what the lines meant: by key, `None` is to be removed.
    pub places: Vec<(String, Option<String>)>,
}

impl Chunk {
    /// Places alone.
    pub(super) fn places_only(places: Vec<(String, Option<String>)>) -> Self {
        let content = Content::Lines { bytes: Vec::new(), longest: 0 };
        Self { content, path: PathBuf::new(), prior: false, places }
    }

    /// The lines, in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let (bytes, longest, too_long) = match &self.content {
            Content::Lines { bytes, longest } => (bytes.as_slice(), *longest, None),
            Content::TooLong { bytes } => (&[][..], 0, Some(Line::TooLong { bytes: *bytes })),
        };
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if line.len() > longest {
                return Line::TooLong { bytes: line.len() as u64 };
            }
            Line::Whole(line.strip_suffix(b"\r").unwrap_or(line))
        });
        lines.chain(too_long)
    }

    /// How much was read for it.
    pub(super) fn bytes(&self) -> u64 {
        match &self.content {
            Content::Lines { bytes, .. } => bytes.len() as u64,
            // Paid for while it was searched.
            Content::TooLong { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Line<'static>> {
        let mut chunk = Chunk::places_only(Vec::new());
        chunk.content = Content::Lines { bytes: bytes.to_vec(), longest: 4 };
        let chunk: &'static Chunk = Box::leak(Box::new(chunk));
        chunk.lines().collect()
    }

    #[test]
    fn lines_end_at_newlines_and_nowhere_else() {
        let whole = |text: &'static str| Line::Whole(text.as_bytes());
        assert_eq!(lines(b""), []);
        assert_eq!(lines(b"a\n\nb\n"), [whole("a"), whole(""), whole("b")]);
        assert_eq!(lines(b"a\nb"), [whole("a"), whole("b")]);
        assert_eq!(lines(b"a\r\n\r\nb\rc\n"), [whole("a"), whole(""), whole("b\rc")]);
        assert_eq!(lines("\u{2028}\n\u{85}\n".as_bytes()), [whole("\u{2028}"), whole("\u{85}")]);
        assert_eq!(lines(b"\0\xff\n"), [Line::Whole(b"\0\xff")]);
    }

    #[test]
    fn lines_that_are_too_long_are_measured() {
        let of_four = Line::Whole(b"abcd");
        assert_eq!(lines(b"abcd\nabcde\nabcd"), [of_four, Line::TooLong { bytes: 5 }, of_four]);
    }
}
