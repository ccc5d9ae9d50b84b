//! The accounts of one chat: what each witness has said of it, and what that is worth.
//!
//! A witness reports *lives*: a chat's counters start from zero whenever its runtime does, under
//! a new `started_at`. Each life has a high-water mark per counter; only what rises above the mark
//! is booked, so repeating, late and alternating answers book nothing. Booked growth goes to the
//! witness's own *account*, and so does what a witness tells as it happens. The *published* value is
//! the highest account, and because accounts only grow, so does it: a witness that lags, is blind
//! or says the same as another changes nothing.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::model::{Count, Counters, RuntimeId, Source, Stated, Timestamp, Usd, Witness};

/// Lives kept per chat. Beyond it the oldest are merged into a floor, and whatever began at or
/// before the floor is booked no more: late news of an ancient life is refused, never doubled.
const MAX_LIVES: usize = 64;
/// Stands for the money beside the bits of the counts.
const COST_BIT: u8 = 1 << Count::LEN;

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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Life {
    /// Which life.
    pub key: LifeKey,
    /// The highest value seen of each counter.
    pub marks: Counters,
    /// Its end as last stated.
    pub ended_at: Option<Timestamp>,
    /// The process that told it last.
    pub process: Option<Timestamp>,
    /// Whether its end was counted; an end counts once, even if the life moves on after it.
    pub end_counted: bool,
    /// It began before the witness was heard: what a counter holds when it is first stated is not
    /// news. These were not stated yet, one bit each; the last is that of the money.
    #[serde(default, skip_serializing_if = "is_none")]
    unstated: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_none(bits: &u8) -> bool {
    *bits == 0
}

impl Life {
    /// Raises the marks to what is stated, and returns the growth that is news.
    fn raise_to(&mut self, stated: &Stated) -> Counters {
        let mut growth = self.marks.raise_to(&stated.or(&self.marks));
        if self.unstated != 0 {
            let still = self.unstated & unstated(stated);
            for (bit, count) in growth.counts.iter_mut().enumerate() {
                if self.unstated & !still & (1 << bit) != 0 {
                    *count = 0;
                }
            }
            if self.unstated & !still & COST_BIT != 0 {
                growth.cost = Usd::ZERO;
            }
            self.unstated = still;
        }
        growth
    }
}

/// What is not stated, as in [`Life::unstated`].
fn unstated(stated: &Stated) -> u8 {
    let bits = (0..).zip(stated.counts).filter(|(_, count)| count.is_none());
    let cost = if stated.cost.is_none() { COST_BIT } else { 0 };
    bits.fold(cost, |bits, (bit, _): (u8, _)| bits | 1 << bit)
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

/// All accounts of one chat.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Book {
    published: Counters,
    accounts: SmallVec<[(Witness, Counters); 1]>,
    lives: SmallVec<[Life; 1]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    floor: Option<Timestamp>,
}

impl Book {
    /// The highest account, counter by counter.
    pub fn published(&self) -> &Counters {
        &self.published
    }

    /// Each witness's own account.
    pub fn accounts(&self) -> impl Iterator<Item = (Witness, &Counters)> {
        self.accounts.iter().map(|(witness, counters)| (*witness, counters))
    }

    /// The lives, in the order in which they were first seen.
    pub fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// Whether this life is known.
    pub fn knows(&self, key: &LifeKey) -> bool {
        self.lives.iter().any(|life| life.key == *key)
    }

    /// The life that speaks for the chat's state: of the witness that knows best whether chats
    /// live, the one that began last.
    pub fn latest(&self) -> Option<&Life> {
        self.lives.iter().max_by_key(|life| authority(life))
    }

    /// As [`Book::latest`].
    pub fn latest_mut(&mut self) -> Option<&mut Life> {
        self.lives.iter_mut().max_by_key(|life| authority(life))
    }

    /// The life of that key.
    pub fn life_mut(&mut self, key: &LifeKey) -> Option<&mut Life> {
        self.lives.iter_mut().find(|life| life.key == *key)
    }

    /// Books what a witness says of one life. `standing` is asked only of a life not yet known.
    pub fn record(
        &mut self,
        key: LifeKey,
        stated: &Stated,
        standing: impl FnOnce() -> Standing,
    ) -> Booked {
        let mut booked = Booked::default();
        let witness = key.source.witnesses()[0];
        let growth = if let Some(life) = self.life_mut(&key) {
            booked.regressed = is_below(stated, &life.marks);
            let before = life.unstated;
            let growth = life.raise_to(stated);
            booked.learnt = life.unstated != before;
            growth
        } else {
            if self.floor.is_some_and(|floor| key.started_at <= floor) {
                booked.too_old = true;
                return booked;
            }
            booked.new_life = true;
            let marks = stated.or(&Counters::default());
            let standing = standing();
            self.admit(Life {
                key,
                marks,
                ended_at: None,
                process: None,
                end_counted: false,
                unstated: if standing == Standing::Prior { unstated(stated) } else { 0 },
            });
            match standing {
                Standing::Whole => marks,
                Standing::Prior => {
                    // Aligned: its account opens at what is published.
                    self.account(witness, self.published);
                    Counters::default()
                }
            }
        };
        booked.life = growth;
        booked.published = self.add(witness, &growth);
        booked
    }

    /// Books what a witness says was added. Returns by how much the published values rose.
    pub fn add(&mut self, witness: Witness, growth: &Counters) -> Counters {
        let account = self.account(witness, Counters::default());
        account.add(growth);
        let account = *account;
        self.published.raise_to(&account)
    }

    /// Opens the account of a witness that is first heard now at what is published, so that only
    /// what it tells from here on counts. One that is open stays as it is.
    pub fn open_account(&mut self, witness: Witness) {
        self.account(witness, self.published);
    }

    /// The account of a witness, opened with `opening` where it has none.
    fn account(&mut self, witness: Witness, opening: Counters) -> &mut Counters {
        let index = self.accounts.iter().position(|(w, _)| *w == witness).unwrap_or_else(|| {
            self.accounts.push((witness, opening));
            self.accounts.len() - 1
        });
        &mut self.accounts[index].1
    }

    /// Opens a life of which only its beginning is told, not its counters. A source that tells of
    /// what happens has one life of each chat, and another one when it says that the chat starts
    /// `anew` after its end.
    pub(super) fn begin(&mut self, key: LifeKey, anew: bool) -> Begun {
        let last = self.lives.iter().filter(|life| life.key.source == key.source);
        let last = last.max_by_key(|life| life.key.started_at);
        let begun = match last {
            None => Begun::First,
            Some(life) if anew && life.ended_at.is_some_and(|end| end < key.started_at) => {
                Begun::Anew
            }
            Some(_) => return Begun::Before,
        };
        self.admit(Life {
            key,
            marks: Counters::default(),
            ended_at: None,
            process: None,
            end_counted: false,
            unstated: 0,
        });
        begun
    }

    fn admit(&mut self, life: Life) {
        if self.lives.len() >= MAX_LIVES {
            let oldest = self
                .lives
                .iter()
                .enumerate()
                .min_by_key(|(_, life)| life.key.started_at)
                .map_or(0, |(index, _)| index);
            let gone = self.lives.remove(oldest);
            self.floor = self.floor.max(Some(gone.key.started_at));
        }
        self.lives.push(life);
    }
}

/// Orders lives by how well they speak for their chat.
fn authority(life: &Life) -> (u8, Timestamp) {
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
fn is_below(stated: &Stated, marks: &Counters) -> bool {
    Count::ALL
        .iter()
        .any(|count| stated.counts[*count as usize].is_some_and(|value| value < marks.get(*count)))
        || stated.cost.is_some_and(|cost| cost < marks.cost)
}

#[cfg(test)]
mod tests {
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
