//! Answers in gzip that are put together from pieces which were compressed before (RFC 1951, 1952).
//!
//! A piece is a sequence of deflate blocks that ends at a whole byte and refers to nothing before
//! it. Any pieces in any order make one gzip member: its check sum is combined from theirs. Several
//! members would be simpler, and Prometheus reads them; curl and browsers stop after the first.

mod bits;
mod code;
mod lines;
mod text;

use bytes::Bytes;

pub(super) use lines::{Line, Lines, Part, Places};
pub(super) use text::Texts;

/// The most bytes in a block of bytes as they are.
const MAX_STORED: usize = 0xffff;
/// A member without name and time, by an unknown system.
const HEAD: &[u8] = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty block, the last one.
const LAST: [u8; 2] = [3, 0];
/// Room for the lengths of blocks.
const HEAD_BYTES: usize = 64;

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
        let mut out = Vec::with_capacity(text.len() + HEAD_BYTES);
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

    /// Whether it is of a text of that length.
    pub(super) fn is_of(&self, length: usize) -> bool {
        self.text_len == length as u64
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        self.deflated.len()
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
            let mut compressor = Texts::default();
            let pieces = texts.iter().map(|(text, stored)| match stored {
                true => Piece::stored(text.as_bytes()),
                false => compressor.compress(text.as_bytes()),
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
            let pieces = [Piece::stored(&text), Texts::default().compress(&text)];
            assert_eq!(unpacked(&assemble(pieces)), [&*text, &*text].concat());
        }
    }
}
