//! Names that are kept once, however many chats bear them.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::sync::Arc;

/// A name in one word: a chat bears three, and an `Arc<str>` takes two words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name(Arc<Arc<str>>);

impl Name {
    pub(super) fn text(&self) -> &Arc<str> {
        &self.0
    }

    /// Whether nobody bears it but the table that it stands in.
    fn is_unused(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && Arc::strong_count(self.text()) == 1
    }
}

impl std::ops::Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self
    }
}

/// All names.
#[derive(Debug, Default)]
pub(super) struct NameTable(HashSet<Name>);

impl NameTable {
    /// The one copy of a name.
    pub(super) fn name(&mut self, text: &str) -> Name {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let name = Name(Arc::new(text.into()));
        self.0.insert(name.clone());
        name
    }

    /// As [`NameTable::name`], for those who have no need of a single word.
    pub(super) fn intern(&mut self, text: &str) -> Arc<str> {
        Arc::clone(self.name(text).text())
    }

    /// Forgets names that nobody bears.
    pub(super) fn sweep(&mut self) {
        self.0.retain(|name| !name.is_unused());
        if self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to(self.0.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_for_as_long_as_anybody_bears_it() {
        let mut names = NameTable::default();
        let (one, two) = (names.name("a"), names.name("a"));
        assert!(Arc::ptr_eq(&one.0, &two.0));
        let text = names.intern("b");
        drop(names.name("c"));
        names.sweep();
        let mut left: Vec<&str> = names.0.iter().map(|name| &**name).collect();
        left.sort_unstable();
        assert_eq!(left, ["a", "b"]);
        drop((one, two, text));
        names.sweep();
        assert!(names.0.is_empty());
    }
}
