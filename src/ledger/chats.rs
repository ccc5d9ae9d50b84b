//! All chats by number, in pages of 64 consecutive numbers.
//!
//! A page is the unit of the exposition's cache: its revision rises whenever anything of its chats
//! changed that can be shown, so that whoever kept what a page looks like need not look at it again.
//! Chats of a page lie side by side without gaps, which costs no more than themselves; a page whose
//! last chat is removed is freed, and one that lost some gives their room back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Chat;

/// Numbers of one page: the bits of a word say which of them are there.
pub(super) const PAGE: u64 = 64;

/// The revision that was given last. One counter for the process, so that no two states of any page
/// of any ledger ever go by the same number.
static LAST_REVISION: AtomicU64 = AtomicU64::new(0);

/// Chats of 64 consecutive numbers.
#[derive(Debug, Default)]
pub struct Page {
    revision: u64,
    /// Which numbers are there, one bit each.
    held: u64,
    /// Which of them live.
    live: u64,
    /// Those that are there, in the order of their numbers.
    chats: Vec<Chat>,
}

impl Page {
    /// Tells this state of the page from all others: as long as it is the same, so is everything of
    /// its chats that can be shown.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Its chats in the order of their numbers, evicted ones included.
    pub fn chats(&self) -> impl Iterator<Item = &Chat> {
        self.chats.iter()
    }

    /// Where the chat with that bit lies, or would lie.
    fn rank(&self, bit: u64) -> usize {
        (self.held & (bit - 1)).count_ones() as usize
    }

    fn slot(&self, no: u64) -> Option<usize> {
        let bit = bit(no);
        (self.held & bit != 0).then(|| self.rank(bit))
    }

    fn revise(&mut self) {
        self.revision = LAST_REVISION.fetch_add(1, Ordering::Relaxed) + 1;
    }
}

/// All chats.
#[derive(Debug, Default)]
pub(super) struct Chats {
    pages: BTreeMap<u64, Page>,
    len: usize,
}

impl Chats {
    pub(super) fn get(&self, no: u64) -> Option<&Chat> {
        let page = self.pages.get(&(no / PAGE))?;
        page.chats.get(page.slot(no)?)
    }

    pub(super) fn get_mut(&mut self, no: u64) -> Option<&mut Chat> {
        let page = self.pages.get_mut(&(no / PAGE))?;
        let slot = page.slot(no)?;
        page.chats.get_mut(slot)
    }

    /// Puts a chat in its place. It counts as one that does not live.
    pub(super) fn insert(&mut self, no: u64, chat: Chat) {
        let page = self.pages.entry(no / PAGE).or_default();
        match page.slot(no) {
            Some(slot) => page.chats[slot] = chat,
            None => {
                let slot = page.rank(bit(no));
                page.chats.insert(slot, chat);
                page.held |= bit(no);
                self.len += 1;
            }
        }
        page.live &= !bit(no);
        page.revise();
    }

    pub(super) fn remove(&mut self, no: u64) -> Option<Chat> {
        let page = self.pages.get_mut(&(no / PAGE))?;
        let slot = page.slot(no)?;
        let chat = page.chats.remove(slot);
        page.held &= !bit(no);
        page.live &= !bit(no);
        self.len -= 1;
        if page.held == 0 {
            self.pages.remove(&(no / PAGE));
        } else {
            page.chats.shrink_to(page.chats.len().next_power_of_two());
            page.revise();
        }
        Some(chat)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of them in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Chat)> {
        self.pages.iter().flat_map(|(no, page)| numbers(*no, page.held).zip(&page.chats))
    }

    /// As [`Chats::iter`].
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Chat)> {
        self.pages.iter_mut().flat_map(|(no, page)| numbers(*no, page.held).zip(&mut page.chats))
    }

    /// Those that live, in the order of their numbers.
    pub(super) fn live(&self) -> impl Iterator<Item = (u64, &Chat)> {
        let living = self.pages.iter().filter(|(_, page)| page.live != 0);
        living.flat_map(|(no, page)| {
            numbers(*no, page.live).filter_map(|no| Some((no, page.chats.get(page.slot(no)?)?)))
        })
    }

    /// Notes whether a chat lives.
    pub(super) fn set_live(&mut self, no: u64, live: bool) {
        if let Some(page) = self.pages.get_mut(&(no / PAGE)) {
            page.live = if live { page.live | bit(no) } else { page.live & !bit(no) } & page.held;
        }
    }

    /// Notes that these chats have changed in a way that can be shown.
    pub(super) fn revise(&mut self, numbers: &[u64]) {
        // Most changes come in the order of numbers: one look-up for each page, not for each chat.
        for of_page in numbers.chunk_by(|a, b| a / PAGE == b / PAGE) {
            if let Some(page) = self.pages.get_mut(&(of_page[0] / PAGE)) {
                page.revise();
            }
        }
    }

    /// All pages from that number on, in the order of their numbers.
    pub(super) fn pages_from(&self, first: u64) -> impl Iterator<Item = (u64, &Page)> {
        self.pages.range(first..).map(|(no, page)| (*no, page))
    }

    /// The page of that number.
    pub(super) fn page(&self, number: u64) -> Option<&Page> {
        self.pages.get(&number)
    }
}

pub(super) fn bit(no: u64) -> u64 {
    1 << (no % PAGE)
}

/// The numbers of a page whose bits are set.
pub(super) fn numbers(page: u64, mut bits: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let lowest = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(page * PAGE + u64::from(lowest))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::{Ledger, Settings, Standing};
    use crate::model::{Instant, RuntimeId};

    fn chat(id: &str) -> Chat {
        let mut ledger = Ledger::new(Settings::default());
        ledger.watch("runtime", &[], Instant::default());
        let identity =
            crate::ledger::Identity { chat_id: id, app_id: "a", workflow_name: "w", user_id: "u" };
        let now = Instant::default();
        let (no, _) = ledger.chat_no(RuntimeId(0), &identity, Standing::Whole, now);
        ledger.chats.remove(no).unwrap()
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(ops in vec((0..200_u64, 0..4_u8), 1..200)) {
            let (mut chats, mut map) = (Chats::default(), BTreeMap::new());
            for (no, op) in ops {
                let id = no.to_string();
                match op {
                    0 => {
                        prop_assert_eq!(chats.remove(no).is_some(), map.remove(&no).is_some());
                    }
                    1 => {
                        chats.set_live(no, true);
                        map.entry(no).and_modify(|live| *live = true);
                    }
                    _ => {
                        chats.insert(no, chat(&id));
                        map.insert(no, false);
                    }
                }
                prop_assert_eq!(chats.len(), map.len());
                prop_assert_eq!(chats.get(no).is_some(), map.contains_key(&no));
                prop_assert!(chats.iter().map(|(no, _)| no).eq(map.keys().copied()));
                prop_assert!(chats.iter().all(|(no, chat)| chat.chat_id() == no.to_string()));
                let live = map.iter().filter(|(_, live)| **live).map(|(no, _)| *no);
                prop_assert!(chats.live().map(|(no, _)| no).eq(live));
                prop_assert!(chats.pages_from(0).all(|(_, page)| !page.chats.is_empty()));
            }
        }
    }

    #[test]
    fn a_change_revises_its_page_alone() {
        let mut chats = Chats::default();
        for no in [1, 63, 64, 200] {
            chats.insert(no, chat("c"));
        }
        let revisions =
            |chats: &Chats| chats.pages_from(0).map(|(_, p)| p.revision()).collect::<Vec<_>>();
        let before = revisions(&chats);
        chats.revise(&[1, 63, 200]);
        let after = revisions(&chats);
        assert!(after[0] > before[0] && after[1] == before[1] && after[2] > before[2]);
        assert!(after[2] > after[0], "no number is given twice");
    }
}
