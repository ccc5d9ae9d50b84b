//! Reads the next lines of one file.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::chunk::Content as Lines;
use super::place::{self, Content, HEAD_BYTES, Print};
use super::rotation::Age;
use super::track::{Standing, Track};

/// How much is read at once, and how long a line may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes that are read at once; a longer line is looked at piece by piece.
    pub(super) chunk: usize,
    /// Longest line that is handed out.
    pub(super) line: usize,
    /// For so long a file that was rotated away must not have grown until its last line is taken
    /// without a newline.
    pub(super) last_line_after: Duration,
}

/// What reading brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Lines; the place stands after them.
    Lines { lines: Lines, prior: bool, bytes: u64 },
    /// So many bytes without a newline.
    Searched { bytes: u64 },
    /// All that is there was handed out.
    Nothing,
    /// The last line has no newline. It may be had then, if none comes until then.
    Waits { until: Instant },
    /// It is not the file that it was.
    Changed,
}

/// Reads on. The place moves only where lines are returned.
pub(super) fn read_on(
    track: &mut Track,
    file: &File,
    limits: &Limits,
    now: Instant,
) -> io::Result<Outcome> {
    let length = file.metadata()?.len();
    let offset = track.place.offset;
    if length < offset || track.is_unglimpsed() {
        return Ok(Outcome::Changed);
    }
    // A sibling is read no further than it was seen: what was added since may be a copy of a file
    // that is being read. So is a file that was not read before: it may have been cut, and then its
    // copy comes first. All others may be read as far as they go.
    let is_new = track.place.strength() == 0;
    let is_limited = track.is_live() && (track.age != Age::Current || is_new);
    let size = if is_limited { length.min(track.size) } else { length };
    if !is_limited {
        track.see_size(size, now);
    }
    let searched_to = offset + track.searched;
    if size <= searched_to {
        return last_line(track, file, size, limits, now);
    }
    let count = (size - searched_to).min(limits.chunk as u64);
    let bytes = place::read(file, searched_to, count)?;
    if track.searched == 0 {
        if let Some((end, prior)) = whole_lines(&bytes, track.place.border.saturating_sub(offset)) {
            let mut bytes = bytes;
            bytes.truncate(end);
            let lines = Lines::Lines { bytes, longest: limits.line };
            return hand_out(track, file, end as u64, lines, prior);
        }
    } else if let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
        return one_line(track, file, track.searched + at as u64, 1, limits);
    }
    track.searched += bytes.len() as u64;
    Ok(if bytes.is_empty() {
        Outcome::Changed
    } else {
        Outcome::Searched { bytes: bytes.len() as u64 }
    })
}

/// Looks how a file begins of which nothing was read yet, so that reading knows it again.
pub(super) fn glimpse(track: &mut Track, file: &File) -> io::Result<()> {
    track.glimpse = Print::of(&place::read(file, 0, HEAD_BYTES)?);
    Ok(())
}

/// Where the last whole line ends that is to be handed out with the first, and whether these
/// lines are prior: they are if they end within the next `border` bytes.
fn whole_lines(bytes: &[u8], border: u64) -> Option<(usize, bool)> {
    let end = |bytes: &[u8]| bytes.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    let border = usize::try_from(border).unwrap_or(usize::MAX).min(bytes.len());
    let prior = bytes.get(..border).and_then(end).map(|end| (end, true));
    prior.or_else(|| end(bytes).map(|end| (end, false)))
}

/// Hands out one line that was found piece by piece, with what ends it.
fn one_line(
    track: &mut Track,
    file: &File,
    length: u64,
    newline: u64,
    limits: &Limits,
) -> io::Result<Outcome> {
    let bytes = length + newline;
    let lines = if length <= limits.line as u64 {
        let line = place::read(file, track.place.offset, bytes)?;
        if line.len() as u64 != bytes {
            return Ok(Outcome::Changed);
        }
        Lines::Lines { bytes: line, longest: limits.line }
    } else {
        Lines::TooLong { bytes: length }
    };
    let prior = track.place.offset + bytes <= track.place.border;
    hand_out(track, file, bytes, lines, prior)
}

/// What is left after all whole lines: of a file that was rotated away it may be a line.
fn last_line(
    track: &mut Track,
    file: &File,
    size: u64,
    limits: &Limits,
    now: Instant,
) -> io::Result<Outcome> {
    if track.is_current() || size <= track.place.offset || track.standing == Standing::Kept {
        return Ok(Outcome::Nothing);
    }
    let until = track.grew + limits.last_line_after;
    if now < until {
        return Ok(Outcome::Waits { until });
    }
    one_line(track, file, size - track.place.offset, 0, limits)
}

/// Moves the place behind what was read, if the file is still the one that it was. Compared is
/// after the reading: had the file been cut before, it would show now.
fn hand_out(
    track: &mut Track,
    file: &File,
    bytes: u64,
    lines: Lines,
    prior: bool,
) -> io::Result<Outcome> {
    let mut next = track.place.clone();
    next.offset += bytes;
    next.take_prints(file)?;
    let length = file.metadata()?.len();
    let is_same = matches!(track.place.compare(file, length)?, Content::Same { .. })
        && track.glimpse.begins(&place::read(file, 0, track.glimpse.bytes)?);
    if !is_same || length < next.offset {
        return Ok(Outcome::Changed);
    }
    track.place = next;
    track.glimpse = Print::default();
    track.searched = 0;
    Ok(Outcome::Lines { lines, prior, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::tail::place::{FileId, Place};
    use std::os::unix::fs::FileExt;

    const LIMITS: Limits = Limits { chunk: 8, line: 12, last_line_after: Duration::from_secs(5) };

    struct Reading {
        file: File,
        track: Track,
        now: Instant,
    }

    impl Reading {
        fn of(bytes: &[u8]) -> Self {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            let now = Instant::now();
            let place = Place::new("x".to_owned(), FileId { dev: 1, ino: 1 }, None);
            let mut track = Track::kept(place, now);
            track.standing = Standing::Live;
            track.size = bytes.len() as u64;
            glimpse(&mut track, &file).unwrap();
            Self { file, track, now }
        }

        fn read(&mut self) -> Outcome {
            read_on(&mut self.track, &self.file, &LIMITS, self.now).unwrap()
        }

        /// What comes until nothing more does; lengths of lines that are too long in brackets.
        fn all(&mut self) -> Vec<String> {
            let mut all = Vec::new();
            loop {
                match self.read() {
                    Outcome::Lines { lines: Lines::Lines { bytes, .. }, .. } => {
                        all.push(String::from_utf8(bytes).unwrap());
                    }
                    Outcome::Lines { lines: Lines::TooLong { bytes }, .. } => {
                        all.push(format!("[{bytes}]"));
                    }
                    Outcome::Searched { .. } => {}
                    Outcome::Nothing | Outcome::Waits { .. } => return all,
                    Outcome::Changed => panic!("{:?}", self.track),
                }
            }
        }
    }

    #[test]
    fn lines_longer_than_a_piece_are_put_together_or_measured() {
        let mut reading = Reading::of(b"a\nb\nlong line\nc\nmuch too long a line\n\nd\nhalf");
        let lines = ["a\nb\n", "long line\n", "c\n", "[20]", "\nd\n"];
        assert_eq!(reading.all(), lines);
        reading.file.write_all_at(b" a line\ne", 44).unwrap();
        assert_eq!(reading.all(), ["half a line\n"]);
        assert_eq!(reading.track.place.offset, 52);
    }

    #[test]
    fn a_half_line_is_not_read_again_and_again() {
        let mut reading = Reading::of(b"half");
        assert_eq!(reading.read(), Outcome::Searched { bytes: 4 });
        assert_eq!(reading.read(), Outcome::Nothing);
        reading.file.write_all_at(b" of", 4).unwrap();
        assert_eq!(reading.read(), Outcome::Nothing, "it was not seen to have grown");
        reading.track.size = 7;
        assert_eq!(reading.read(), Outcome::Searched { bytes: 3 });
        assert_eq!(reading.track.place.offset, 0);
    }

    #[test]
    fn the_last_line_of_a_rotated_file_needs_no_newline_after_a_while() {
        let mut reading = Reading::of(b"a\nhalf");
        reading.track.age = Age::Generation(1);
        assert_eq!(reading.all(), ["a\n"]);
        let until = reading.now + LIMITS.last_line_after;
        assert_eq!(reading.read(), Outcome::Waits { until });
        reading.now = until;
        assert_eq!(reading.all(), ["half"]);
        assert_eq!(reading.read(), Outcome::Nothing);
    }

    #[test]
    fn a_line_is_prior_if_it_ended_before_the_border() {
        let mut reading = Reading::of(b"a\nb\nc\nd\n");
        reading.track.place.border = 5;
        let priors = |reading: &mut Reading| match reading.read() {
            Outcome::Lines { prior, bytes, .. } => (bytes, prior),
            outcome => panic!("{outcome:?}"),
        };
        assert_eq!(priors(&mut reading), (4, true));
        assert_eq!(priors(&mut reading), (4, false));
    }

    #[test]
    fn a_file_that_was_cut_and_grew_past_the_place_is_seen() {
        let mut reading = Reading::of(b"one\n");
        assert_eq!(reading.all(), ["one\n"]);
        reading.file.set_len(0).unwrap();
        assert_eq!(reading.read(), Outcome::Changed);
        reading.file.write_all_at(b"two\nthree\n", 0).unwrap();
        assert_eq!(reading.read(), Outcome::Changed);
        assert_eq!(reading.track.place.offset, 4);
    }

    #[test]
    fn a_sibling_is_read_no_further_than_it_was_seen() {
        let mut reading = Reading::of(b"one\n");
        reading.track.age = Age::Generation(1);
        reading.file.write_all_at(b"two\n", 4).unwrap();
        assert_eq!(reading.all(), ["one\n"]);
        assert_eq!(reading.read(), Outcome::Nothing);
    }
}
