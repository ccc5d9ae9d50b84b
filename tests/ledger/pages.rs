//! What is kept of a page is right for as long as its revision stays.

use std::collections::BTreeMap;

use mozaiks_exporter::ledger::{Chat, Ledger, Page};
use proptest::prelude::*;

use super::cases;
use super::play::{Play, setup};
use super::world::history;

/// Pages as they were last seen, by revision: there is one for all ledgers of a process.
#[derive(Default)]
pub(crate) struct Album(BTreeMap<u64, Vec<String>>);

impl Album {
    /// Looks at all pages, and whether those that look otherwise say so.
    pub(crate) fn look(&mut self, ledger: &Ledger) {
        let mut chats = Vec::new();
        for (number, page) in ledger.pages() {
            let now: Vec<String> = page.chats().map(shown).collect();
            assert!(!now.is_empty(), "a page without chats");
            let before = self.0.entry(page.revision()).or_insert_with(|| now.clone());
            assert_eq!(*before, now, "page {number} changed unseen");
            assert_eq!(ledger.page(number).map(Page::revision), Some(page.revision()));
            chats.extend(page.chats().filter(|chat| !chat.evicted).map(shown));
        }
        assert!(ledger.chats().map(shown).eq(chats));
    }
}

/// Everything that an exposition may show of a chat.
pub(crate) fn shown(chat: &Chat) -> String {
    let names = [chat.chat_id(), chat.app_id(), chat.workflow_name(), chat.user_id()];
    let times = (chat.started_at(), chat.ended_at(), chat.last_update, chat.last_turn_seconds);
    let place = (chat.runtime, chat.birth, chat.folded, chat.evicted);
    format!("{names:?} {place:?} {times:?} {:?} {:?}", chat.phase, chat.book.published())
}

/// The revisions of all pages.
pub(crate) fn revisions(ledger: &Ledger) -> Vec<(u64, u64)> {
    ledger.pages().map(|(number, page)| (number, page.revision())).collect()
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn a_page_of_one_revision_always_looks_the_same(setup in setup(), ops in history(90)) {
        let mut play = Play::new(&setup);
        let mut album = Album::default();
        for op in &ops {
            play.step(op);
            album.look(&play.ledger);
        }
    }
}
