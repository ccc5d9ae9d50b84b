//! What a scraper gets: compressed and complete, or plain and written while it leaves.

use bytes::Bytes;

use super::chats::{ChatFamily, FAMILIES};
use super::exposition::{Exposition, Format};
use super::family::Definition as _;
use super::page::Draft;

/// An exposition on its way out.
#[derive(Debug)]
pub struct Answer {
    lines: u64,
    parts: Parts,
}

/// The bytes of an answer.
#[derive(Debug)]
pub enum Parts {
    /// One gzip member.
    Packed(Vec<Bytes>),
    /// Text.
    Plain(Plain),
}

impl Answer {
    pub(super) fn packed(lines: u64, parts: Vec<Bytes>) -> Self {
        Self { lines, parts: Parts::Packed(parts) }
    }

    pub(super) fn plain(lines: u64, plain: Plain) -> Self {
        Self { lines, parts: Parts::Plain(plain) }
    }

    /// How many samples it has.
    pub fn samples(&self) -> u64 {
        self.lines
    }

    /// Its bytes.
    pub fn into_parts(self) -> Parts {
        self.parts
    }
}

/// Text that is written piece by piece, so that no answer is ever held as a whole.
#[derive(Debug)]
pub struct Plain {
    format: Format,
    /// What is still to come, the next one last; none for the chats.
    texts: Vec<Option<Bytes>>,
    drafts: Vec<Draft>,
    families: Vec<usize>,
    /// Which page of which family comes next.
    place: (usize, usize),
    ended: bool,
}

impl Plain {
    pub(super) fn new(
        format: Format,
        mut texts: Vec<Option<Bytes>>,
        drafts: Vec<Draft>,
        families: &[usize],
    ) -> Self {
        texts.reverse();
        let families = families.to_vec();
        Self { format, texts, drafts, families, place: (0, 0), ended: false }
    }

    /// The lines of the next page; none where that was the last.
    fn next_page(&mut self) -> Option<Bytes> {
        let (place, page) = self.place;
        let family = *self.families.get(place)?;
        let mut text = Vec::new();
        if page == 0 && self.drafts.iter().any(|draft| draft.shows(family)) {
            text = head(FAMILIES[family], self.format);
        }
        match self.drafts.get(page) {
            Some(draft) => {
                draft.write(family, &mut text);
                self.place = (place, page + 1);
            }
            None => self.place = (place + 1, 0),
        }
        Some(text.into())
    }
}

impl Iterator for Plain {
    type Item = Bytes;

    /// The next piece; some are empty.
    fn next(&mut self) -> Option<Bytes> {
        match self.texts.last() {
            Some(Some(_)) => self.texts.pop().flatten(),
            Some(None) => {
                let page = self.next_page();
                if page.is_none() {
                    self.texts.pop();
                }
                Some(page.unwrap_or_default())
            }
            None if self.ended => None,
            None => {
                self.ended = true;
                Some(Bytes::from_static(self.format.end()))
            }
        }
    }
}

/// The lines in front of a family.
pub(super) fn head(family: &ChatFamily, format: Format) -> Vec<u8> {
    let mut out = Exposition::new(format, 256);
    out.open(family.name(), family.help(), family.kind());
    out.into_text().0
}
