//! The one Huffman code that lines of samples are written in (RFC 1951, section 3.2).
//!
//! A code made for each text would fit it better by some percent and cost more than all the rest
//! of the writing. Exposition text is much alike everywhere: digits and letters of ids, few
//! repeats within reach, and those of known lengths. So the code is made once, from how often
//! each symbol stands in such text.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::LazyLock;

use super::bits::{Bits, Run};

/// Literals, the end of the block, and lengths.
const SYMBOLS: usize = 286;
const DISTANCES: usize = 30;
const END: usize = 256;
/// No symbol may have a longer one.
const LONGEST: u32 = 15;
/// Shortest and longest repeat.
pub(super) const MIN_REPEAT: usize = 3;
pub(super) const MAX_REPEAT: usize = 258;
/// How far back a repeat may reach.
pub(super) const REACH: usize = 32 * 1024;
/// First length of each length symbol, and its further bits.
const LENGTHS: [(u16, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];
/// Bits of each symbol of the code in which code lengths are sent: those of 3 to 13 bits are
/// common, and so is «the same again» (16).
const LENGTH_CODE: [u32; 19] = [5, 5, 5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 4, 4, 5, 5];
/// The order in which these are sent.
const LENGTH_CODE_ORDER: [usize; 19] =
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
const AGAIN: usize = 16;

/// Bits of one symbol, together with the further bits that go with it.
#[derive(Debug, Clone, Copy, Default)]
struct Symbol {
    bits: u32,
    count: u32,
}

/// The code, ready for use.
#[derive(Debug)]
pub(super) struct Code {
    literals: [Symbol; 256],
    end: Symbol,
    /// By the length of the repeat.
    lengths: [Symbol; MAX_REPEAT + 1],
    distances: [Symbol; DISTANCES],
    header: (Bits, Run),
}

/// The code of all lines.
pub(super) static CODE: LazyLock<Code> = LazyLock::new(Code::new);

impl Code {
    fn new() -> Self {
        let symbol_bits = code_lengths(&symbol_weights());
        let distance_bits = code_lengths(&distance_weights());
        let symbols = canonical(&symbol_bits);
        let mut code = Self {
            literals: [Symbol::default(); 256],
            end: symbols[END],
            lengths: [Symbol::default(); MAX_REPEAT + 1],
            distances: [Symbol::default(); DISTANCES],
            header: header(&symbol_bits, &distance_bits),
        };
        code.literals.copy_from_slice(&symbols[..256]);
        code.distances.copy_from_slice(&canonical(&distance_bits));
        for ((first, further), symbol) in LENGTHS.into_iter().zip(&symbols[END + 1..]) {
            for offset in 0..1 << further {
                // The last length has a symbol of its own, and overwrites what is reached before.
                if let Some(length) = code.lengths.get_mut(first as usize + offset as usize) {
                    let bits = symbol.bits | offset << symbol.count;
                    *length = Symbol { bits, count: symbol.count + further };
                }
            }
        }
        code
    }

    /// Begins a block in this code that is not the last one.
    pub(super) fn begin(&self, out: &mut Bits) {
        out.put_run(&self.header.0, self.header.1);
    }

    /// Ends the block, and goes on at a whole byte: an empty block of bytes as they are.
    pub(super) fn end(&self, out: &mut Bits) {
        out.put(self.end.bits, self.end.count);
        out.put(0, 3);
        out.align();
        out.put_bytes(&[0, 0, 0xff, 0xff]);
    }

    /// Bytes as they are.
    #[inline]
    pub(super) fn literals(&self, out: &mut Bits, bytes: &[u8]) {
        for byte in bytes {
            let symbol = self.literals[usize::from(*byte)];
            out.put(symbol.bits, symbol.count);
        }
    }

    /// The `length` bytes from `distance` bytes back, once more.
    #[inline]
    pub(super) fn repeat(&self, out: &mut Bits, length: usize, distance: usize) {
        debug_assert!((1..=REACH).contains(&distance) && length >= MIN_REPEAT);
        let mut left = length;
        while left > 0 {
            // What is left over is never too short to be a repeat.
            let step = match left {
                0..=MAX_REPEAT => left,
                _ if left < MAX_REPEAT + MIN_REPEAT => left - MIN_REPEAT,
                _ => MAX_REPEAT,
            };
            let symbol = self.lengths[step];
            out.put(symbol.bits, symbol.count);
            let symbol = self.distance(distance);
            out.put(symbol.bits, symbol.count);
            left -= step;
        }
    }

    fn distance(&self, distance: usize) -> Symbol {
        let back = u32::try_from(distance - 1).unwrap_or(0);
        if back < 4 {
            return self.distances[back as usize];
        }
        // Two symbols for each power of two, and the bits below.
        let further = back.ilog2() - 1;
        let symbol = self.distances[(2 * further + (back >> further)) as usize];
        let bits = symbol.bits | (back & ((1 << further) - 1)) << symbol.count;
        Symbol { bits, count: symbol.count + further }
    }
}

/// How often the symbols stand in exposition text, roughly. None is missing: labels may hold any
/// byte.
fn symbol_weights() -> [u32; SYMBOLS] {
    let mut weights = [1; SYMBOLS];
    let mut weigh = |bytes: &mut dyn Iterator<Item = u8>, weight| {
        bytes.for_each(|byte| weights[usize::from(byte)] = weight);
    };
    weigh(&mut (b'!'..=b'~'), 4);
    weigh(&mut (b'A'..=b'Z'), 12);
    weigh(&mut (b'a'..=b'z'), 40);
    weigh(&mut (b'a'..=b'f'), 380);
    weigh(&mut (b'0'..=b'9'), 430);
    weigh(&mut b"_.".iter().copied(), 60);
    weigh(&mut b"-\"} \n".iter().copied(), 130);
    // Repeats: names of labels, names of families with what follows, and whole values.
    weights[END + 1..].fill(8);
    weights[END + 8..END + 13].fill(110);
    weights[END + 13..END + 22].fill(60);
    weights
}

/// Most repeats are of the line before; the others reach back some lines.
fn distance_weights() -> [u32; DISTANCES] {
    let mut weights = [1; DISTANCES];
    weights[13..=16].fill(300);
    weights[17..=25].fill(40);
    weights
}

/// Huffman's lengths for these weights.
fn code_lengths<const N: usize>(weights: &[u32; N]) -> [u32; N] {
    let mut heap: BinaryHeap<_> =
        weights.iter().enumerate().map(|(node, weight)| Reverse((*weight, node))).collect();
    let mut parents = vec![0; N];
    while let (Some(Reverse((first, a))), Some(Reverse((second, b)))) = (heap.pop(), heap.pop()) {
        let parent = parents.len();
        parents.push(0);
        (parents[a], parents[b]) = (parent, parent);
        if heap.is_empty() {
            break;
        }
        heap.push(Reverse((first + second, parent)));
    }
    let root = parents.len() - 1;
    std::array::from_fn(|symbol| {
        let (mut node, mut depth) = (symbol, 0);
        while node != root {
            node = parents[node];
            depth += 1;
        }
        depth
    })
}

/// The codes that follow from their lengths, as they are sent: the first bit lowest.
fn canonical<const N: usize>(lengths: &[u32; N]) -> [Symbol; N] {
    let mut symbols = [Symbol::default(); N];
    let mut next = 0_u32;
    for count in 1..=LONGEST {
        for (symbol, _) in symbols.iter_mut().zip(lengths).filter(|(_, l)| **l == count) {
            *symbol = Symbol { bits: next.reverse_bits() >> (32 - count), count };
            next += 1;
        }
        next <<= 1;
    }
    symbols
}

/// The beginning of a block: that it is not the last, and the code it is in.
fn header(symbols: &[u32; SYMBOLS], distances: &[u32; DISTANCES]) -> (Bits, Run) {
    let mut out = Bits::default();
    let start = out.align();
    out.put(0b10 << 1, 3);
    // All symbols of each kind are there.
    out.put(29, 5);
    out.put(29, 5);
    out.put(15, 4);
    for symbol in LENGTH_CODE_ORDER {
        out.put(LENGTH_CODE[symbol], 3);
    }
    let code = canonical(&LENGTH_CODE);
    let lengths: Vec<u32> = symbols.iter().chain(distances).copied().collect();
    let mut rest = &*lengths;
    while let Some(length) = rest.first() {
        let symbol = code[*length as usize];
        out.put(symbol.bits, symbol.count);
        rest = &rest[1..];
        let mut same = rest.iter().take_while(|next| *next == length).count();
        while same >= 3 {
            let run = same.min(6);
            out.put(code[AGAIN].bits, code[AGAIN].count);
            out.put(u32::try_from(run - 3).unwrap_or(0), 2);
            rest = &rest[run..];
            same -= run;
        }
    }
    let run = out.run_since(start);
    (out, run)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of these lengths fill all there is, and leave no sequence without a meaning.
    fn is_complete(lengths: &[u32], longest: u32) -> bool {
        lengths.iter().all(|length| (1..=longest).contains(length))
            && lengths.iter().map(|length| 1 << (longest - length)).sum::<u32>() == 1 << longest
    }

    #[test]
    fn codes_are_complete_and_within_bounds() {
        assert!(is_complete(&code_lengths(&symbol_weights()), LONGEST));
        assert!(is_complete(&code_lengths(&distance_weights()), LONGEST));
        assert!(is_complete(&LENGTH_CODE, 7));
    }
}
