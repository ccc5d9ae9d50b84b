//! The families whose series are few, as parts of an answer: written as text, some families
//! together, and compressed block by block where the text is not what it was.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Format};
use super::family::Definition;
use super::gzip::{Piece, Texts};
use super::view::View;
use super::{SECTIONS, Section};
use crate::model::{Key, Print};

/// What is written and compressed together comes to about this many bytes of text: enough to be
/// worth it, and few enough that a line that changes takes few others with it.
const TEXT_BYTES: usize = 16 * 1024;

/// A part of an answer.
#[derive(Debug)]
pub(super) enum Part {
    /// The place of the families of chats.
    Chats,
    /// Families as text: which of its section, and how many samples it has.
    Text { section: usize, text: Vec<u8>, lines: u64 },
    /// Families whose text is what it was.
    Kept { pieces: Vec<Piece>, lines: u64 },
}

/// What was written last, as fingerprints, and what was made of it.
#[derive(Debug)]
pub(super) struct Shelf {
    key: Key,
    texts: Texts,
    sections: BTreeMap<(usize, Format), Filed>,
}

#[derive(Debug, Default)]
struct Filed {
    /// The ledger that it shows.
    version: u64,
    lines: u64,
    blocks: Vec<(Option<Print>, Piece)>,
}

impl Default for Shelf {
    fn default() -> Self {
        let key = Key::random(TEXT_BYTES);
        Self { key, texts: Texts::default(), sections: BTreeMap::new() }
    }
}

/// Whether a section shows nothing but the ledger, so that it is the same as long as that is.
fn is_of_ledger(section: Section) -> bool {
    matches!(section, Section::OfLedger(_))
}

impl Shelf {
    /// Whether all that shows the ledger alone is there for this version of it.
    pub(super) fn has(&self, format: Format, version: u64) -> bool {
        let mut sections = SECTIONS.into_iter().enumerate();
        sections.all(|(section, what)| {
            let filed = self.sections.get(&(section, format));
            !is_of_ledger(what) || filed.is_some_and(|filed| filed.version == version)
        })
    }

    /// Writes what is to be written; with `from_shelf`, what shows the ledger alone is taken as it is.
    pub(super) fn write(&self, view: &View<'_>, format: Format, from_shelf: bool) -> Vec<Part> {
        let mut parts = Vec::new();
        for (section, what) in SECTIONS.into_iter().enumerate() {
            match what {
                Section::Chats => parts.push(Part::Chats),
                Section::OfLedger(_) if from_shelf => {
                    if let Some(filed) = self.sections.get(&(section, format)) {
                        let pieces = filed.blocks.iter().map(|(_, piece)| piece.clone()).collect();
                        parts.push(Part::Kept { pieces, lines: filed.lines });
                    }
                }
                Section::OfLedger(families) | Section::Other(families) => {
                    let texts = texts(families, view, format);
                    parts.extend(texts.map(|(text, lines)| Part::Text { section, text, lines }));
                }
            }
        }
        parts
    }

    /// Makes pieces of texts, and keeps them as those of that version; without one they are not kept.
    /// None stands in the place of the chats.
    pub(super) fn pack(
        &mut self,
        parts: Vec<Part>,
        format: Format,
        version: Option<u64>,
    ) -> Vec<Option<Piece>> {
        let mut fresh: BTreeMap<(usize, Format), Filed> = BTreeMap::new();
        let mut pieces = Vec::new();
        for part in parts {
            match part {
                Part::Chats => pieces.push(None),
                Part::Kept { pieces: kept, .. } => pieces.extend(kept.into_iter().map(Some)),
                Part::Text { section, text, lines } => {
                    let known = self.sections.get(&(section, format));
                    let filed = fresh.entry((section, format)).or_default();
                    filed.version = version.unwrap_or_default();
                    filed.lines += lines;
                    for block in blocks(&text) {
                        let known = known.and_then(|known| known.blocks.get(filed.blocks.len()));
                        let print = self.key.print([block, b""]);
                        let is_known = |(before, piece): &&(Option<Print>, Piece)| {
                            print.is_some() && *before == print && piece.is_of(block.len())
                        };
                        let piece = match known.filter(is_known) {
                            Some((_, piece)) => piece.clone(),
                            None => self.texts.compress(block),
                        };
                        pieces.push(Some(piece.clone()));
                        filed.blocks.push((print, piece));
                    }
                }
            }
        }
        if version.is_some() {
            self.sections.extend(fresh);
        }
        pieces
    }
}

/// The text in blocks of whole lines, each of at most [`TEXT_BYTES`] where its lines allow.
fn blocks(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let fitting = rest.len().min(TEXT_BYTES);
        let end = match memchr::memrchr(b'\n', &rest[..fitting]) {
            _ if fitting == rest.len() => fitting,
            Some(at) => at + 1,
            None => memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1),
        };
        let (block, left) = rest.split_at(end);
        rest = left;
        Some(block)
    })
}

/// How many samples there are in all parts together.
pub(super) fn lines(parts: &[Part]) -> u64 {
    let lines = |part: &Part| match part {
        Part::Chats => 0,
        Part::Text { lines, .. } | Part::Kept { lines, .. } => *lines,
    };
    parts.iter().map(lines).sum()
}

/// The families as texts, with the number of samples in each.
fn texts<'v>(
    families: &'static [&'static dyn Definition],
    view: &'v View<'_>,
    format: Format,
) -> impl Iterator<Item = (Vec<u8>, u64)> + 'v {
    let shown = |family: &&&dyn Definition| view.look.show.compat || !family.is_compat();
    let mut families = families.iter().filter(shown).peekable();
    std::iter::from_fn(move || {
        families.peek()?;
        let mut out = Exposition::new(format, TEXT_BYTES);
        while out.len() < TEXT_BYTES
            && let Some(family) = families.next()
        {
            family.write(view, &mut out);
        }
        Some(out.into_text())
    })
}
