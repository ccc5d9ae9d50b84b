//! Compresses exposition text of any families, line by line.
//!
//! A line is mostly what the line before it was, but for the values of some labels and its number,
//! and a value that differs has often stood in an earlier line, with the same words behind it. So
//! repeats are looked for at two places alone: where the line before goes on, and where a value was
//! seen last. That takes a sixth of the time of zlib-rs at its fastest, for a result of about the
//! same size.

use memchr::{memchr2, memrchr2};

use super::Piece;
use super::bits::Bits;
use super::code::{CODE, MIN_REPEAT, REACH};

/// Values that were seen are found again by this many bits of a digest.
const SEEN_BITS: u32 = 10;
/// A shorter value costs less than saying where it stood.
const MIN_VALUE: usize = 4;
/// There is no such place.
const NOWHERE: usize = usize::MAX;

/// Compresses texts, one after another in the same room.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Texts {
    out: Bits,
    /// Where a value with this digest was last. One that is wrong is found out by comparing.
    seen: Vec<u32>,
}

impl Texts {
    /// Compresses a text of whole lines.
    pub(in crate::metrics) fn compress(&mut self, text: &[u8]) -> Piece {
        self.out.clear();
        self.seen.clear();
        self.seen.resize(1 << SEEN_BITS, u32::MAX);
        CODE.begin(&mut self.out);
        let (mut before, mut start) = (NOWHERE, 0);
        while start < text.len() {
            let end = memchr::memchr(b'\n', &text[start..]).map_or(text.len(), |at| start + at + 1);
            self.line(text, before, start, end);
            (before, start) = (start, end);
        }
        CODE.end(&mut self.out);
        Piece::new(text, bytes::Bytes::copy_from_slice(self.out.bytes()))
    }

    /// Compresses the line from `place` to `end`. `like` is where one like it begins.
    fn line(&mut self, text: &[u8], mut like: usize, mut place: usize, end: usize) {
        while place < end {
            let same = if like < place { common(&text[like..], &text[place..end]) } else { 0 };
            let differs = place + same;
            if differs == end {
                return self.repeat(text, like, place, same);
            }
            // The value in which they differ: what stands between quotes, or the number.
            let value =
                memrchr2(b'"', b' ', &text[place..differs]).map_or(place, |at| place + at + 1);
            // At least a byte of it, so that this comes to an end.
            let behind = differs.max(place + 1);
            let value_end = memchr2(b'"', b'\n', &text[behind..end]);
            let value_end = value_end.map_or(end, |at| behind + at);
            let known = self.seen(text, value, value_end);
            if let Some(known) = known {
                self.repeat(text, like, place, value - place);
                (like, place) = (known, value);
                continue;
            }
            self.repeat(text, like, place, same);
            self.literals(&text[differs..value_end]);
            // What follows the value may be the same again.
            like = match text.get(like + same..place) {
                Some(rest) => memchr2(b'"', b'\n', rest).map_or(NOWHERE, |at| like + same + at),
                None => NOWHERE,
            };
            place = value_end;
            if like == NOWHERE {
                self.literals(&text[place..end]);
                return;
            }
        }
    }

    /// Where the same value stood before. Remembers that it stands here, too.
    fn seen(&mut self, text: &[u8], start: usize, end: usize) -> Option<usize> {
        let value = &text[start..end];
        if value.len() < MIN_VALUE {
            return None;
        }
        let word = |bytes: Option<&[u8; 4]>| bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let digest = word(value.first_chunk()) ^ word(value.last_chunk()).rotate_left(15);
        let digest = digest.wrapping_mul(0x9e37_79b1) >> (u32::BITS - SEEN_BITS);
        let here = u32::try_from(start).unwrap_or(u32::MAX);
        let last = std::mem::replace(&mut self.seen[digest as usize], here) as usize;
        let is_same = last < start && text[last..].starts_with(value);
        (is_same && start - last <= REACH).then_some(last)
    }

    /// What stands at `place` stands at `like`, too.
    fn repeat(&mut self, text: &[u8], like: usize, place: usize, length: usize) {
        if length < MIN_REPEAT || place - like > REACH {
            self.literals(&text[place..place + length]);
        } else {
            CODE.repeat(&mut self.out, length, place - like);
        }
    }

    fn literals(&mut self, bytes: &[u8]) {
        CODE.literals(&mut self.out, bytes);
    }
}

/// How many bytes both begin with.
fn common(left: &[u8], right: &[u8]) -> usize {
    let (words, _) = left.as_chunks::<8>();
    let (others, _) = right.as_chunks::<8>();
    let mut same = 0;
    for (word, other) in words.iter().zip(others) {
        let differ = u64::from_le_bytes(*word) ^ u64::from_le_bytes(*other);
        if differ != 0 {
            return same + (differ.trailing_zeros() / 8) as usize;
        }
        same += 8;
    }
    let rest = left[same..].iter().zip(&right[same..]);
    same + rest.take_while(|(left, right)| left == right).count()
}
