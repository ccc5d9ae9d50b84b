//! Bits as deflate packs them: from the lowest bit of each byte up (RFC 1951, section 3.1.1).

/// Bits on their way into bytes.
#[derive(Debug, Default)]
pub(super) struct Bits {
    out: Vec<u8>,
    /// Those that do not fill a word yet; fewer than 32 between calls.
    pending: u64,
    held: u32,
}

/// A piece of a bit sequence that begins at a whole byte of its [`Bits`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Run {
    start: usize,
    bits: usize,
}

impl Bits {
    /// Adds up to 32 bits; those above `count` are zero.
    #[inline]
    pub(super) fn put(&mut self, bits: u32, count: u32) {
        debug_assert!(count <= 32 && u64::from(bits) >> count == 0);
        self.pending |= u64::from(bits) << self.held;
        self.held += count;
        if self.held >= 32 {
            let [a, b, c, d, ..] = self.pending.to_le_bytes();
            self.out.extend_from_slice(&[a, b, c, d]);
            self.pending >>= 32;
            self.held -= 32;
        }
    }

    /// Adds what was written elsewhere, at whatever bit this stands.
    #[inline]
    pub(super) fn put_run(&mut self, from: &Self, run: Run) {
        let bytes = &from.out[run.start..run.start + run.bits.div_ceil(8)];
        let (words, rest) = bytes.as_chunks::<4>();
        let mut left = run.bits;
        for word in words {
            // The last word may be whole in bytes and not in bits.
            let count = left.min(32);
            self.put(u32::from_le_bytes(*word), narrow(count));
            left -= count;
        }
        let rest = rest.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        self.put(rest, narrow(left));
    }

    /// Goes on at a whole byte; the bits in between are zero. Returns where that is.
    pub(super) fn align(&mut self) -> usize {
        let bytes = self.held.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.pending.to_le_bytes()[..bytes]);
        self.pending = 0;
        self.held = 0;
        self.out.len()
    }

    /// How many bits there are.
    pub(super) fn len(&self) -> usize {
        self.out.len() * 8 + self.held as usize
    }

    /// What was written since `start`, a place that [`Bits::align`] gave. Goes on at a whole byte.
    pub(super) fn run_since(&mut self, start: usize) -> Run {
        let bits = self.len() - start * 8;
        self.align();
        Run { start, bits }
    }

    /// Whole bytes, as they are. To be called at a whole byte.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.held, 0, "the bytes would overtake bits");
        self.out.extend_from_slice(bytes);
    }

    /// The bytes so far. To be called at a whole byte.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Starts anew and keeps the room.
    pub(super) fn clear(&mut self) {
        self.out.clear();
        self.pending = 0;
        self.held = 0;
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bit_list(bits: &mut Bits, count: usize) -> Vec<bool> {
        bits.align();
        let bit = |at: usize| bits.bytes()[at / 8] >> (at % 8) & 1 == 1;
        (0..count).map(bit).collect()
    }

    proptest! {
        #[test]
        fn bits_and_runs_keep_their_order(
            parts in proptest::collection::vec((any::<u32>(), 0_u32..=32, any::<bool>()), 0..50),
        ) {
            let (mut direct, mut spliced, mut scratch) =
                (Bits::default(), Bits::default(), Bits::default());
            for (bits, count, as_run) in parts {
                let bits = if count == 32 { bits } else { bits & ((1 << count) - 1) };
                direct.put(bits, count);
                if as_run {
                    let start = scratch.align();
                    scratch.put(bits, count);
                    let run = scratch.run_since(start);
                    spliced.put_run(&scratch, run);
                } else {
                    spliced.put(bits, count);
                }
            }
            prop_assert_eq!(direct.len(), spliced.len());
            let count = direct.len();
            prop_assert_eq!(bit_list(&mut direct, count), bit_list(&mut spliced, count));
        }
    }
}
