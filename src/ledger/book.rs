//! The accounts of one chat: what each witness has said of it, and what that is worth.
//!
//! A witness reports *lives*: a chat's counters start from zero whenever its runtime does, under
//! a new `started_at`. Each life has a high-water mark per counter; only what rises above the mark
//! is booked, so repeating, late and alternating answers book nothing. Booked growth goes to the
//! witness's own *account*, and so does what a witness tells as it happens. The *published* value is
//! the highest account, and because accounts only grow, so does it: a witness that lags, is blind
//! or says the same as another changes nothing.

//!
//! Nearly all chats have one witness and one life, all of whose numbers are the same: such a book is
//! kept in 88 bytes, and only one in which witnesses or lives differ has [`Accounts`] beside it.

use super::accounts::Accounts;
use super::plain::Plain;
use crate::model::{Count, Counters, RuntimeId, Source, Stated, Timestamp, Witness};
use serde::{Deserialize, Serialize};

/// What one witness saw of a chat between two starts of a runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LifeKey {
    /// The witness.
    pub source: Source,
    /// The runtime that it is about.
    pub runtime: RuntimeId,
    /// The start as stated; where it is missing, that of the process; else the epoch.
    pub started_at: Timestamp,
}

/// One life of a chat, as one witness tells it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Life {
    /// Which life.
    pub key: LifeKey,
    /// The highest value seen of each counter.
    pub marks: Counters,
    /// Its end as last stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Whether its end was counted; an end counts once, even if the life moves on after it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end_counted: bool,
    /// It began before the witness was heard: what a counter holds when it is first stated is not
    /// news. These were not stated yet, one bit each; the last is that of the money.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(super) unstated: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_none(bits: &u8) -> bool {
    *bits == 0
}

/// How a life that is seen for the first time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It began under our eyes, or everything is baseline now: its whole value is booked.
    Whole,
    /// It began before the witness was heard: only its growth from here on is booked.
    Prior,
}

/// What one snapshot did to the book.
#[expect(clippy::struct_excessive_bools, reason = "none of them follows from another")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Booked {
    /// By how much the published values rose.
    pub published: Counters,
    /// By how much this life rose.
    pub life: Counters,
    /// The life was not known before.
    pub new_life: bool,
    /// A counter of a life that began before our time was stated for the first time.
    pub learnt: bool,
    /// A counter stood below its mark.
    pub regressed: bool,
    /// The life began before the oldest one that is kept, and was refused.
    pub too_old: bool,
}

/// Whether something that happened began a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begun {
    /// No: it belongs to one that began before.
    Before,
    /// The first that the source tells of.
    First,
    /// Another one, after the end of the last.
    Anew,
}

/// How the accounts and lives of a book are kept.
#[derive(Debug, Clone)]
pub(super) enum Detail {
    Plain(Plain),
    Full(Box<Accounts>),
}

/// All accounts of one chat.
#[derive(Debug, Clone)]
pub struct Book {
    published: Counters,
    detail: Detail,
}

impl Default for Book {
    fn default() -> Self {
        Self { published: Counters::default(), detail: Detail::Plain(Plain::NOTHING) }
    }
}

impl Book {
    /// The highest account, counter by counter.
    pub fn published(&self) -> &Counters {
        &self.published
    }

    /// Each witness's own account.
    pub fn accounts(&self) -> impl Iterator<Item = (Witness, &Counters)> {
        let (one, more) = match &self.detail {
            Detail::Plain(plain) => (plain.witness, [].as_slice()),
            Detail::Full(full) => (None, full.by_witness.as_slice()),
        };
        let more = more.iter().map(|(witness, counters)| (*witness, counters));
        one.map(|witness| (witness, &self.published)).into_iter().chain(more)
    }

    /// The lives, in the order in which they were first seen.
    pub fn lives(&self) -> impl Iterator<Item = Life> {
        let (one, more) = match &self.detail {
            Detail::Plain(plain) => (plain.life(&self.published), [].as_slice()),
            Detail::Full(full) => (None, full.lives.as_slice()),
        };
        one.into_iter().chain(more.iter().copied())
    }

    /// Whether nothing was told of any life.
    pub fn is_unborn(&self) -> bool {
        match &self.detail {
            Detail::Plain(plain) => plain.source.is_none(),
            Detail::Full(full) => full.lives.is_empty(),
        }
    }

    /// The life of that key.
    pub fn life(&self, key: &LifeKey) -> Option<Life> {
        self.lives().find(|life| life.key == *key)
    }

    /// The life that speaks for the chat's state: of the witness that knows best whether chats
    /// live, the one that began last.
    pub fn latest(&self) -> Option<Life> {
        match &self.detail {
            Detail::Plain(plain) => plain.life(&self.published),
            Detail::Full(full) => full.lives.iter().max_by_key(|life| authority(life)).copied(),
        }
    }

    /// Notes of a known life when it ended, and whether that was counted.
    pub(super) fn note_end(&mut self, key: &LifeKey, ended_at: Option<Timestamp>, counted: bool) {
        match &mut self.detail {
            Detail::Plain(plain) if plain.key() == Some(*key) => {
                (plain.ended_at, plain.end_counted) = (ended_at.into(), counted);
            }
            Detail::Plain(_) => {}
            Detail::Full(full) => {
                if let Some(life) = full.lives.iter_mut().find(|life| life.key == *key) {
                    (life.ended_at, life.end_counted) = (ended_at, counted);
                }
            }
        }
    }

    /// Books what a witness says of one life. `standing` is asked only of a life not yet known.
    pub fn record(
        &mut self,
        key: LifeKey,
        stated: &Stated,
        standing: impl FnOnce() -> Standing,
    ) -> Booked {
        if let Detail::Plain(plain) = &self.detail
            && plain.marked
            && plain.key() == Some(key)
            && plain.witness == Some(key.source.witnesses()[0])
        {
            let regressed = is_below(stated, &self.published);
            let growth = self.published.raise_to(&stated.or(&self.published));
            return Booked { published: growth, life: growth, regressed, ..Booked::default() };
        }
        if !matches!(&self.detail, Detail::Plain(Plain { source: None, witness: None, .. })) {
            return self.in_full(|full, published| full.record(published, key, stated, standing));
        }
        let standing = standing();
        if standing == Standing::Prior {
            return self
                .in_full(|full, published| full.record(published, key, stated, || standing));
        }
        let LifeKey { source, runtime, started_at } = key;
        let witness = Some(source.witnesses()[0]);
        let source = Some(source);
        let plain = Plain { started_at, runtime, source, witness, marked: true, ..Plain::NOTHING };
        *self = Self::from_plain(stated.or(&Counters::default()), plain);
        let (published, life) = (self.published, self.published);
        Booked { published, life, new_life: true, ..Booked::default() }
    }

    /// Books what a witness says was added. Returns by how much the published values rose.
    pub fn add(&mut self, witness: Witness, growth: &Counters) -> Counters {
        if let Detail::Plain(plain) = &mut self.detail
            && plain.witness.is_none_or(|known| known == witness)
            && !(plain.source.is_some() && plain.marked)
        {
            plain.witness = Some(witness);
            let mut account = self.published;
            account.add(growth);
            return self.published.raise_to(&account);
        }
        self.in_full(|full, published| full.add(published, witness, growth))
    }

    /// Opens the account of a witness that is first heard now at what is published, so that only
    /// what it tells from here on counts. One that is open stays as it is.
    pub fn open_account(&mut self, witness: Witness) {
        if let Detail::Plain(plain) = &mut self.detail
            && plain.witness.is_none_or(|known| known == witness)
        {
            plain.witness = Some(witness);
            return;
        }
        self.in_full(|full, published| full.open_account(published, witness));
    }

    /// Opens a life of which only its beginning is told, not its counters. A source that tells of
    /// what happens has one life of each chat, and another one when it says that the chat starts
    /// `anew` after its end.
    pub(super) fn begin(&mut self, key: LifeKey, anew: bool) -> Begun {
        if let Detail::Plain(plain) = &mut self.detail
            && plain.source.is_none()
        {
            let LifeKey { source, runtime, started_at } = key;
            let witness = plain.witness;
            *plain = Plain { source: Some(source), runtime, started_at, witness, ..Plain::NOTHING };
            return Begun::First;
        }
        self.in_full(|full, _| full.begin(key, anew))
    }

    /// Lets something be done to the accounts in full, and keeps them as they are kept best.
    fn in_full<T>(&mut self, change: impl FnOnce(&mut Accounts, &mut Counters) -> T) -> T {
        let mut full = match std::mem::replace(&mut self.detail, Detail::Plain(Plain::NOTHING)) {
            Detail::Full(full) => full,
            Detail::Plain(plain) => Box::new(Accounts {
                by_witness: plain
                    .witness
                    .map(|witness| (witness, self.published))
                    .into_iter()
                    .collect(),
                lives: plain.life(&self.published).into_iter().collect(),
                floor: None,
            }),
        };
        let outcome = change(&mut full, &mut self.published);
        *self = Self::from_parts(self.published, full);
        outcome
    }

    /// Makes a book of what is published and the accounts that it is the highest of.
    pub(super) fn from_parts(published: Counters, full: Box<Accounts>) -> Self {
        let plain = full.as_plain(&published);
        Self { published, detail: plain.map_or(Detail::Full(full), Detail::Plain) }
    }

    /// Makes a book of what is published, where all numbers are the same.
    pub(super) fn from_plain(published: Counters, plain: Plain) -> Self {
        Self { published, detail: Detail::Plain(plain) }
    }

    pub(super) fn detail(&self) -> &Detail {
        &self.detail
    }
}

/// Orders lives by how well they speak for their chat.
pub(super) fn authority(life: &Life) -> (u8, Timestamp) {
    (rank(life.key.source), life.key.started_at)
}

/// How well a source knows whether a chat lives. The runtime knows of each chat whether it ended, and so
/// does who pushes events; the others may never say.
pub(super) fn rank(source: Source) -> u8 {
    match source {
        Source::Scrape => 5,
        Source::Receive => 4,
        Source::Mongodb => 3,
        Source::Logs => 2,
        Source::UsageIngest => 1,
        Source::Ag2 => 0,
    }
}

/// Whether a stated counter is below its mark.
pub(super) fn is_below(stated: &Stated, marks: &Counters) -> bool {
    Count::ALL
        .iter()
        .any(|count| stated.counts[*count as usize].is_some_and(|value| value < marks.get(*count)))
        || stated.cost.is_some_and(|cost| cost < marks.cost)
}

#[cfg(test)]
mod tests {
    use super::super::accounts::MAX_LIVES;
    use super::*;

    fn key(source: Source, started_at: i64) -> LifeKey {
        LifeKey { source, runtime: RuntimeId(0), started_at: Timestamp(started_at) }
    }

    fn turns(n: u64) -> Stated {
        let mut stated = Stated::default();
        stated.counts[Count::Turns as usize] = Some(n);
        stated
    }

    fn published(book: &Book) -> u64 {
        book.published().get(Count::Turns)
    }

    #[test]
    fn alternating_workers_add_nothing_twice() {
        let mut book = Book::default();
        for _ in 0..1000 {
            book.record(key(Source::Scrape, 1), &turns(5), || Standing::Whole);
            book.record(key(Source::Scrape, 2), &turns(3), || Standing::Whole);
        }
        assert_eq!(published(&book), 8);
    }

    #[test]
    fn a_late_answer_is_not_a_restart() {
        let mut book = Book::default();
        for n in [10, 8, 10] {
            book.record(key(Source::Scrape, 1), &turns(n), || Standing::Whole);
        }
        assert_eq!(published(&book), 10);
    }

    #[test]
    fn two_witnesses_of_the_same_are_not_added() {
        let mut book = Book::default();
        book.record(key(Source::Scrape, 1), &turns(4), || Standing::Whole);
        book.record(key(Source::Logs, 1), &turns(6), || Standing::Whole);
        book.record(key(Source::Scrape, 1), &turns(5), || Standing::Whole);
        assert_eq!(published(&book), 6);
    }

    #[test]
    fn a_witness_that_comes_late_is_aligned() {
        let mut book = Book::default();
        book.record(key(Source::Scrape, 1), &turns(4), || Standing::Whole);
        book.record(key(Source::Mongodb, 1), &turns(50), || Standing::Prior);
        assert_eq!(published(&book), 4);
        book.record(key(Source::Mongodb, 1), &turns(53), || Standing::Prior);
        assert_eq!(published(&book), 7);
    }

    #[test]
    fn a_life_older_than_the_oldest_kept_is_refused() {
        let mut book = Book::default();
        for start in (0_i64..).take(MAX_LIVES + 1) {
            book.record(key(Source::Scrape, start), &turns(1), || Standing::Whole);
        }
        let before = published(&book);
        let booked = book.record(key(Source::Scrape, 0), &turns(9), || Standing::Whole);
        assert!(booked.too_old);
        assert_eq!(published(&book), before);
    }

    #[test]
    fn what_is_not_said_is_not_zero() {
        let mut book = Book::default();
        book.record(key(Source::Scrape, 1), &turns(4), || Standing::Whole);
        let booked = book.record(key(Source::Scrape, 1), &Stated::default(), || Standing::Whole);
        assert!(!booked.regressed);
        assert_eq!(published(&book), 4);
    }
}
