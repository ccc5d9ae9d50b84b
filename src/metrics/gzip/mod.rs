//! Answers in gzip that are put together from pieces which were compressed before (RFC 1951, 1952).
//!
//! A piece is a sequence of deflate blocks that ends at a whole byte and refers to nothing before
//! it. Any pieces in any order make one gzip member: its check sum is combined from theirs. Several
//! members would be simpler, and Prometheus reads them; curl and browsers stop after the first.

mod bits;
mod code;
mod lines;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};

pub(super) use lines::{Line, Lines, Part, Places};

/// The most bytes in a block of bytes as they are.
const MAX_STORED: usize = 0xffff;
/// A member without name and time, by an unknown system.
const HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty block, the last one.
const LAST: [u8; 2] = [3, 0];
/// Room for what a flush adds.
const FLUSH_BYTES: usize = 64;

/// A part of an answer, compressed.
#[derive(Debug, Clone, Default)]
pub(super) struct Piece {
    deflated: Bytes,
    /// Length of the text.
    text_len: u64,
    /// Check sum of the text.
    crc: u32,
}

impl Piece {
    /// A text that is not worth compressing.
    pub(super) fn stored(text: &[u8]) -> Self {
        let mut out = Vec::with_capacity(text.len() + FLUSH_BYTES);
        for block in text.chunks(MAX_STORED) {
            let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
            out.push(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&(!length).to_le_bytes());
            out.extend_from_slice(block);
        }
        Self::new(text, out.into())
    }

    fn new(text: &[u8], deflated: Bytes) -> Self {
        Self { deflated, text_len: text.len() as u64, crc: crc32fast::hash(text) }
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.text_len == 0
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        self.deflated.len()
    }
}

/// Compresses texts by the common way, the fast one.
#[derive(Default)]
pub(super) struct Deflate {
    /// Made for the first text: it takes a quarter of a megabyte.
    state: Option<Compress>,
}

impl Deflate {
    /// Compresses a text by itself.
    pub(super) fn compress(&mut self, text: &[u8]) -> Piece {
        let state = self.state.get_or_insert_with(|| Compress::new(Compression::fast(), false));
        state.reset();
        let mut out = Vec::with_capacity(text.len() / 4 + FLUSH_BYTES);
        let mut done = 0;
        loop {
            let rest = text.get(done..).unwrap_or_default();
            let before = state.total_in();
            if state.compress_vec(rest, &mut out, FlushCompress::Sync).is_err() {
                // It fails on wrong calls alone; as it is, the text is right, too.
                return Piece::stored(text);
            }
            done += usize::try_from(state.total_in() - before).unwrap_or(0);
            // All is out where there is room left over.
            if done == text.len() && out.len() < out.capacity() {
                out.shrink_to_fit();
                return Piece::new(text, out.into());
            }
            out.reserve(text.len() / 8 + FLUSH_BYTES);
        }
    }
}

/// Puts the pieces together to one member.
pub(super) fn assemble(pieces: impl IntoIterator<Item = Piece>) -> Vec<Bytes> {
    let mut parts = vec![Bytes::from_static(HEAD)];
    let mut sum = crc32fast::Hasher::new();
    let mut length = 0_u64;
    for piece in pieces {
        if piece.is_empty() {
            continue;
        }
        sum.combine(&crc32fast::Hasher::new_with_initial_len(piece.crc, piece.text_len));
        length = length.wrapping_add(piece.text_len);
        parts.push(piece.deflated);
    }
    let mut tail = LAST.to_vec();
    tail.extend_from_slice(&sum.finalize().to_le_bytes());
    tail.extend_from_slice(&length.to_le_bytes()[..4]);
    parts.push(tail.into());
    parts
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    fn unpacked(parts: &[Bytes]) -> Vec<u8> {
        let packed = parts.concat();
        // Not the one for several members: it is to be one.
        let mut reader = flate2::bufread::GzDecoder::new(&*packed);
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        assert!(reader.into_inner().is_empty(), "something is left behind the member");
        text
    }

    proptest! {
        #[test]
        fn pieces_of_both_kinds_make_one_member(
            texts in proptest::collection::vec(("(mozaiks_[a-z]{0,9} [0-9]\n){0,400}", any::<bool>()), 0..6),
        ) {
            let mut deflate = Deflate::default();
            let pieces = texts.iter().map(|(text, stored)| match stored {
                true => Piece::stored(text.as_bytes()),
                false => deflate.compress(text.as_bytes()),
            });
            let whole: String = texts.iter().map(|(text, _)| text.as_str()).collect();
            prop_assert_eq!(unpacked(&assemble(pieces)), whole.as_bytes());
        }
    }

    #[test]
    fn long_texts_of_any_bytes_are_kept() {
        let mut random = fastrand::Rng::with_seed(7);
        for length in [0, 1, MAX_STORED, MAX_STORED + 1, 300_000] {
            let text: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
            let pieces = [Piece::stored(&text), Deflate::default().compress(&text)];
            assert_eq!(unpacked(&assemble(pieces)), [&*text, &*text].concat());
        }
    }
}
