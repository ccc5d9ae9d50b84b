//! Which chats have changed.

use std::collections::BTreeMap;

use super::chats::{PAGE, bit, numbers};

/// Chats that have changed: all of them, and those since it was last asked.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// By page, a bit for each. A set of numbers would take 30 bytes for each that changed, and a
    /// search in itself.
    pages: BTreeMap<u64, u64>,
    /// The page that was touched last; most changes come in the order of numbers.
    page: u64,
    /// What has changed of it, not yet in `pages`.
    bits: u64,
    fresh: Vec<u64>,
}

impl Touched {
    /// A chat has changed, and it shows.
    pub(super) fn insert(&mut self, no: u64) {
        self.note(no);
        if self.fresh.last() != Some(&no) {
            self.fresh.push(no);
        }
    }

    /// Of a chat, something is to be kept that concerns only us.
    pub(super) fn note(&mut self, no: u64) {
        if no / PAGE != self.page {
            self.turn(no / PAGE);
        }
        self.bits |= bit(no);
    }

    fn turn(&mut self, page: u64) {
        if self.bits != 0 {
            *self.pages.entry(self.page).or_default() |= self.bits;
        }
        (self.page, self.bits) = (page, 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bits == 0 && self.pages.is_empty()
    }

    /// All that have changed, in the order of their numbers.
    pub(super) fn numbers(mut self) -> impl Iterator<Item = u64> {
        self.turn(0);
        self.pages.into_iter().flat_map(|(page, bits)| numbers(page, bits))
    }

    /// The chats that have changed since the last call; one may stand there twice.
    pub(super) fn take_fresh(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.fresh)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_set_holds(notes in vec(0..500_u64, 0..200)) {
            let mut touched = Touched::default();
            for no in &notes {
                touched.note(*no);
            }
            prop_assert_eq!(touched.is_empty(), notes.is_empty());
            prop_assert!(touched.numbers().eq(notes.into_iter().collect::<BTreeSet<_>>()));
        }
    }
}
