//! How far the witnesses are apart, summed over all chats and kept up to date.

use std::collections::BTreeMap;

use super::{Book, Booked, LifeKey, Standing};
use crate::model::{Counters, Stated, Witness};

/// Of the chats that one witness knows.
#[derive(Debug, Clone, Copy, Default)]
struct Drift {
    chats: usize,
    /// The sum of what is published of them.
    published: Counters,
    /// The sum of its own accounts.
    account: Counters,
}

/// By witness.
#[derive(Debug, Default)]
pub(super) struct Drifts([Drift; Witness::ALL.len()]);

impl Drifts {
    /// A chat is remembered from now on.
    pub(super) fn add(&mut self, book: &Book) {
        for (witness, account) in book.accounts() {
            let drift = &mut self.0[witness as usize];
            drift.chats += 1;
            drift.published.add(book.published());
            drift.account.add(account);
        }
    }

    /// A chat is forgotten.
    pub(super) fn remove(&mut self, book: &Book) {
        for (witness, account) in book.accounts() {
            let drift = &mut self.0[witness as usize];
            drift.chats -= 1;
            drift.published.remove(book.published());
            drift.account.remove(account);
        }
    }

    /// As [`Book::record`].
    pub(super) fn record(
        &mut self,
        book: &mut Book,
        key: LifeKey,
        stated: &Stated,
        standing: Standing,
    ) -> Booked {
        let known = book.accounts().count();
        let booked = book.record(key, stated, || standing);
        let witness = key.source.witnesses()[0];
        self.grow(book, known, witness, &booked.life, &booked.published);
        booked
    }

    /// As [`Book::add`].
    pub(super) fn tell(
        &mut self,
        book: &mut Book,
        witness: Witness,
        growth: &Counters,
    ) -> Counters {
        let known = book.accounts().count();
        let published = book.add(witness, growth);
        self.grow(book, known, witness, growth, &published);
        published
    }

    /// As [`Book::open_account`].
    pub(super) fn open(&mut self, book: &mut Book, witness: Witness) {
        let (known, none) = (book.accounts().count(), Counters::default());
        book.open_account(witness);
        self.grow(book, known, witness, &none, &none);
    }

    /// The account of `teller` has grown, and with it what is published by `risen`. `known` is how
    /// many accounts there were before.
    fn grow(
        &mut self,
        book: &Book,
        known: usize,
        teller: Witness,
        grown: &Counters,
        risen: &Counters,
    ) {
        let is_new = book.accounts().count() > known;
        if !is_new && grown.is_zero() {
            return;
        }
        for (witness, account) in book.accounts() {
            let drift = &mut self.0[witness as usize];
            if witness == teller && is_new {
                drift.chats += 1;
                drift.published.add(book.published());
                drift.account.add(account);
                continue;
            }
            drift.published.add(risen);
            if witness == teller {
                drift.account.add(grown);
            }
        }
    }

    /// The sums of what is published and of each witness's accounts, for those who know any chat.
    pub(super) fn sums(&self) -> BTreeMap<Witness, (Counters, Counters)> {
        let sums = Witness::ALL.into_iter().zip(&self.0).filter(|(_, drift)| drift.chats > 0);
        sums.map(|(witness, drift)| (witness, (drift.published, drift.account))).collect()
    }
}
