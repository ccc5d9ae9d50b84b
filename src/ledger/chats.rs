//! All chats by their numbers, in pages: what changes on a page is known without looking.
//!
//! Numbers are given in the order in which chats are first seen, so the chats of a page are of one
//! age: those that live stand together, and pages of old chats go as a whole.

use std::collections::BTreeMap;

use super::Chat;

/// Chats on a page: few, so that one that changes takes few others with it into the next answer;
/// many, so that what is common to their lines is written once.
const ON_PAGE: u64 = 64;

/// Chats of consecutive numbers.
#[derive(Debug, Default)]
pub struct Page {
    revision: u64,
    /// By the rest of their number; those that are gone leave a gap.
    slots: Vec<Option<Box<Chat>>>,
}

impl Page {
    /// Changes whenever something changes that can be shown of its chats, and is never the same
    /// again within the process.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Its chats, in the order of their numbers.
    pub fn chats(&self) -> impl Iterator<Item = &Chat> {
        self.slots.iter().flatten().map(|chat| &**chat)
    }
}

/// All chats.
#[derive(Debug, Default)]
pub(super) struct Chats {
    pages: BTreeMap<u64, Page>,
    len: usize,
    last_revision: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as maps take their keys")]
impl Chats {
    pub(super) fn get(&self, no: &u64) -> Option<&Chat> {
        self.pages.get(&(no / ON_PAGE))?.slots.get(slot(*no))?.as_deref()
    }

    pub(super) fn get_mut(&mut self, no: &u64) -> Option<&mut Chat> {
        self.pages.get_mut(&(no / ON_PAGE))?.slots.get_mut(slot(*no))?.as_deref_mut()
    }

    pub(super) fn insert(&mut self, no: u64, chat: Chat) {
        let page = self.pages.entry(no / ON_PAGE).or_default();
        if page.slots.len() <= slot(no) {
            page.slots.resize_with(slot(no) + 1, || None);
        }
        self.len += usize::from(page.slots[slot(no)].replace(Box::new(chat)).is_none());
        self.touch(no);
    }

    pub(super) fn remove(&mut self, no: &u64) -> Option<Chat> {
        let page = self.pages.get_mut(&(no / ON_PAGE))?;
        let chat = page.slots.get_mut(slot(*no))?.take()?;
        self.len -= 1;
        if page.chats().next().is_none() {
            self.pages.remove(&(no / ON_PAGE));
        }
        self.touch(*no);
        Some(*chat)
    }

    /// Something has changed that can be shown of a chat.
    pub(super) fn touch(&mut self, no: u64) {
        self.last_revision += 1;
        if let Some(page) = self.pages.get_mut(&(no / ON_PAGE)) {
            page.revision = self.last_revision;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All of them with their numbers, in the order of these.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Chat)> {
        self.pages.iter().flat_map(|(number, page)| {
            let numbers = number * ON_PAGE..;
            numbers.zip(&page.slots).filter_map(|(no, chat)| Some((no, chat.as_deref()?)))
        })
    }

    /// As [`Chats::iter`].
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Chat)> {
        self.pages.iter_mut().flat_map(|(number, page)| {
            let numbers = number * ON_PAGE..;
            numbers.zip(&mut page.slots).filter_map(|(no, chat)| Some((no, chat.as_deref_mut()?)))
        })
    }

    /// Pages from that number on, in the order of their numbers.
    pub(super) fn pages_from(&self, first: u64) -> impl Iterator<Item = (u64, &Page)> {
        self.pages.range(first..).map(|(number, page)| (*number, page))
    }
}

fn slot(no: u64) -> usize {
    usize::try_from(no % ON_PAGE).unwrap_or(0)
}
