//! From drafts to compressed pieces.

use super::chats::{FAMILIES, LABELS};
use super::family::Definition as _;
use super::gzip::{Line, Lines, Part, Piece};
use super::page::Draft;

/// Values that were seen are found again by this many bits of a digest.
const SEEN_BITS: u32 = 8;

/// Compresses drafts one after another in the same room.
#[derive(Debug, Default)]
pub(super) struct Press {
    lines: Lines<{ LABELS.len() }>,
    text: Vec<u8>,
    places: Vec<Line>,
}

impl Press {
    /// Compresses the lines of these families, in their order. Also says how many lines they are.
    pub(super) fn compress(&mut self, draft: &Draft, families: &[usize]) -> (Vec<Piece>, u64) {
        self.lines.clear();
        let mut seen = [(); LABELS.len()].map(|()| Seen::default());
        for (index, (row, _)) in (0_u16..).zip(draft.rows(0)) {
            let labels = draft.labels(row);
            let mut parts = [Part::default(); LABELS.len()];
            for ((part, seen), (value, end)) in parts.iter_mut().zip(&mut seen).zip(row.values) {
                (part.value, part.end) = (value, end);
                part.seen = seen.replace(&labels[value as usize..end as usize], index);
            }
            self.lines.push(labels, parts);
        }
        let mut lines = 0;
        let mut compress = |family: &usize| {
            let piece = self.compress_family(draft, *family);
            lines += self.places.len() as u64;
            piece
        };
        let pieces = families.iter().map(&mut compress).collect();
        (pieces, lines)
    }

    fn compress_family(&mut self, draft: &Draft, family: usize) -> Piece {
        self.text.clear();
        self.places.clear();
        let name = FAMILIES[family].name();
        for (index, (row, value)) in (0_u16..).zip(draft.rows(family)) {
            if let Some(value) = value {
                let places = draft.write_line(name, row, value, &mut self.text);
                self.places.push(Line { row: index, places });
            }
        }
        if self.places.is_empty() {
            return Piece::default();
        }
        self.lines.compress(&self.text, &self.places)
    }
}

/// Which row last had a value. Where two values share a place, the later one is remembered.
struct Seen<'a> {
    rows: [Option<(u16, &'a [u8])>; 1 << SEEN_BITS],
}

impl Default for Seen<'_> {
    fn default() -> Self {
        Self { rows: [None; 1 << SEEN_BITS] }
    }
}

impl<'a> Seen<'a> {
    /// The row that had the value before this one.
    fn replace(&mut self, value: &'a [u8], row: u16) -> Option<u16> {
        // Ids differ in their last bytes, if anywhere.
        let end = value.last_chunk().copied().unwrap_or_else(|| {
            let mut end = [0; 8];
            end[..value.len()].copy_from_slice(value);
            end
        });
        let digest = u64::from_le_bytes(end).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let place = &mut self.rows[(digest >> (u64::BITS - SEEN_BITS)) as usize];
        let (before, same) = place.replace((row, value))?;
        (same == value).then_some(before)
    }
}
