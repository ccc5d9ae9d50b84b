//! Fingerprints of bytes, to know them again without keeping them.
//!
//! What is known by its fingerprint is not looked at, so bytes that changed and have the fingerprint
//! of what they were would be missed until they change again. The sum is that of NH (the hash in UMAC,
//! RFC 4418) over words of 64 bits: for any two texts of one length, whoever chose them, one key in
//! 2^64 gives both the same sum, and the key is drawn by chance at each start and never leaves the
//! process. A hundred thousand chats in each of ten years' polls come to a chance of 10^-7 that it
//! ever happens. It takes a multiplication for 16 bytes: 20 ns for a chat.

use ring::rand::{SecureRandom as _, SystemRandom};

/// The fingerprint of a text of a length that is kept beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Print([u64; 2]);

/// What fingerprints are taken with.
pub struct Key(Vec<[u64; 2]>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A key that nobody knows, for texts of at most `longest` bytes; longer ones have no fingerprint.
    /// Without chance there is none, and no text has a fingerprint.
    pub fn random(longest: usize) -> Self {
        // Two texts may each leave a block unfilled.
        let mut bytes = vec![0; longest.next_multiple_of(16) + 16];
        if SystemRandom::new().fill(&mut bytes).is_err() {
            return Self(Vec::new());
        }
        let (pairs, _) = bytes.as_chunks::<16>();
        Self(pairs.iter().map(words).collect())
    }

    /// The fingerprint of two texts, each of a length that is known.
    pub fn print(&self, texts: [&[u8]; 2]) -> Option<Print> {
        let mut keys = self.0.iter();
        let mut sum = 0_u128;
        let mut add = |block: &[u8; 16]| {
            let ([low, high], key) = (words(block), keys.next()?);
            let factors = [low.wrapping_add(key[0]), high.wrapping_add(key[1])];
            sum = sum.wrapping_add(u128::from(factors[0]) * u128::from(factors[1]));
            Some(())
        };
        for text in texts {
            let (blocks, rest) = text.as_chunks::<16>();
            for block in blocks {
                add(block)?;
            }
            if !rest.is_empty() {
                let mut last = [0; 16];
                last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                add(&last)?;
            }
        }
        let [low, high] = words(&sum.to_le_bytes());
        Some(Print([low, high]))
    }
}

fn words(block: &[u8; 16]) -> [u64; 2] {
    let (words, _) = block.as_chunks::<8>();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_has_no_fingerprint() {
        let key = Key::random(1024);
        assert!(key.print([&[b'x'; 1000], b"x"]).is_some());
        assert!(key.print([&[b'x'; 1041], b"x"]).is_none());
        assert!(Key(Vec::new()).print([b"x", b""]).is_none());
    }

    proptest::proptest! {
        #[test]
        fn one_byte_more_or_less_is_another_fingerprint(
            text in proptest::collection::vec(proptest::num::u8::ANY, 1..400),
            at: proptest::sample::Index,
            change in 1..=255_u8,
            cut: proptest::sample::Index,
        ) {
            let key = Key::random(400);
            let (at, cut) = (at.index(text.len()), cut.index(text.len()));
            let print = |text: &[u8]| { let (a, b) = text.split_at(cut); key.print([a, b]).unwrap() };
            let mut other = text.clone();
            other[at] ^= change;
            proptest::prop_assert_eq!(print(&text), print(&text.clone()));
            proptest::prop_assert_ne!(print(&text), print(&other));
        }
    }
}
