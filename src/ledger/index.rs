//! Which number a chat has, by its id.
//!
//! The table holds numbers alone, 9 bytes with its own; the ids stand in the chats, where they are
//! anyway. Its hasher is keyed, so that nobody can choose ids that fall on one place.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use hashbrown::HashTable;

use super::chats::Chats;

/// The chats of one runtime.
#[derive(Debug, Default)]
pub(super) struct Index {
    numbers: HashTable<u64>,
    hasher: RandomState,
}

impl Index {
    /// The number of the chat of that id.
    pub(super) fn get(&self, id: &str, chats: &Chats) -> Option<u64> {
        let is_it = |no: &u64| chats.get(*no).is_some_and(|chat| chat.chat_id() == id);
        self.numbers.find(self.hasher.hash_one(id), is_it).copied()
    }

    /// Adds a chat of that id, which is not in here yet.
    pub(super) fn insert(&mut self, no: u64, id: &str, chats: &Chats) {
        let Self { numbers, hasher } = self;
        let hash = |no: &u64| hasher.hash_one(chats.get(*no).map_or("", |chat| chat.chat_id()));
        numbers.insert_unique(hasher.hash_one(id), no, hash);
    }

    /// Takes out a chat that is still in `chats`.
    pub(super) fn remove(&mut self, no: u64, chats: &Chats) {
        let Self { numbers, hasher } = self;
        let hash = |no: &u64| hasher.hash_one(chats.get(*no).map_or("", |chat| chat.chat_id()));
        if let Ok(entry) = numbers.find_entry(hash(&no), |known| *known == no) {
            entry.remove();
        }
        if numbers.len() < numbers.capacity() / 4 {
            numbers.shrink_to(numbers.len() * 2, hash);
        }
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize, chats: &Chats) {
        let Self { numbers, hasher } = self;
        let hash = |no: &u64| hasher.hash_one(chats.get(*no).map_or("", |chat| chat.chat_id()));
        numbers.reserve(more, hash);
    }
}
