//! The families whose series are few, as parts of an answer: written as text, some families
//! together, and compressed where the text is not what it was.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Format};
use super::family::Definition;
use super::gzip::{Deflate, Piece};
use super::view::View;
use super::{SECTIONS, Section};

/// Families are compressed together until they come to this many bytes of text: enough to be worth
/// it, and few enough that one that changes takes few others with it.
const TEXT_BYTES: usize = 16 * 1024;

/// A part of an answer.
#[derive(Debug)]
pub(super) enum Part {
    /// The place of the families of chats.
    Chats,
    /// Families as text: which of its section, and how many samples it has.
    Text { section: usize, text: Vec<u8>, lines: u64 },
    /// Families whose text is what it was.
    Kept { piece: Piece, lines: u64 },
}

/// What was written last, and what was made of it.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    sections: BTreeMap<(usize, Format), Filed>,
}

#[derive(Debug, Default)]
struct Filed {
    /// The ledger that it shows.
    version: u64,
    texts: Vec<(Vec<u8>, Piece, u64)>,
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
                    let filed = self.sections.get(&(section, format));
                    let texts = filed.into_iter().flat_map(|filed| &filed.texts);
                    let kept = |(_, piece, lines): &(_, Piece, u64)| Part::Kept {
                        piece: piece.clone(),
                        lines: *lines,
                    };
                    parts.extend(texts.map(kept));
                }
                Section::OfLedger(families) | Section::Other(families) => {
                    let texts = texts(families, view, format);
                    parts.extend(texts.map(|(text, lines)| Part::Text { section, text, lines }));
                }
            }
        }
        parts
    }

    /// Makes pieces of texts, and keeps both. None stands in the place of the chats.
    pub(super) fn pack(
        &mut self,
        parts: Vec<Part>,
        format: Format,
        version: u64,
    ) -> Vec<Option<Piece>> {
        let mut deflate = Deflate::default();
        let mut fresh: BTreeMap<(usize, Format), Filed> = BTreeMap::new();
        let mut pack = |part| match part {
            Part::Chats => None,
            Part::Kept { piece, .. } => Some(piece),
            Part::Text { section, text, lines } => {
                let filed = fresh.entry((section, format)).or_default();
                filed.version = version;
                let known = self.sections.get(&(section, format));
                let known = known.and_then(|known| known.texts.get(filed.texts.len()));
                let piece = match known.filter(|(known, ..)| *known == text) {
                    Some((_, piece, _)) => piece.clone(),
                    None => deflate.compress(&text),
                };
                filed.texts.push((text, piece.clone(), lines));
                Some(piece)
            }
        };
        let pieces = parts.into_iter().map(&mut pack).collect();
        self.sections.extend(fresh);
        pieces
    }
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
