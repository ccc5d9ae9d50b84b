//! The accounts of a chat of which more than one witness tells, or that has more than one life.

use serde::{Deserialize, Serialize};

use super::book::{Begun, Booked, Life, LifeKey, Standing, is_below};
use super::plain::Plain;
use crate::model::{Count, Counters, Stated, Timestamp, Usd, Witness};

/// Lives kept per chat. Beyond it the oldest are merged into a floor, and whatever began at or
/// before the floor is booked no more: late news of an ancient life is refused, never doubled.
pub(super) const MAX_LIVES: usize = 64;
/// Stands for the money beside the bits of the counts.
const COST_BIT: u8 = 1 << Count::LEN;

/// What each witness has told of one chat. What they are worth together stands in the
/// [`Book`](super::Book).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Accounts {
    pub(super) by_witness: Vec<(Witness, Counters)>,
    pub(super) lives: Vec<Life>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) floor: Option<Timestamp>,
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

impl Accounts {
    /// The same in short, if there is at most one of each and all numbers are the same.
    pub(super) fn as_plain(&self, published: &Counters) -> Option<Plain> {
        let (witness, account) = match self.by_witness.as_slice() {
            [] => (None, Counters::default()),
            [(witness, account)] => (Some(*witness), *account),
            _ => return None,
        };
        let life = match self.lives.as_slice() {
            [] => None,
            [life] => Some(life),
            _ => return None,
        };
        let marks = life.map_or_else(Counters::default, |life| life.marks);
        let is_marked = marks == *published;
        let is_same = account == *published && (is_marked || marks.is_zero());
        if self.floor.is_some() || !is_same || life.is_some_and(|life| life.unstated != 0) {
            return None;
        }
        let Some(Life { key, ended_at, end_counted, .. }) = life.copied() else {
            return Some(Plain { witness, ..Plain::NOTHING });
        };
        let LifeKey { source, runtime, started_at } = key;
        Some(Plain {
            started_at,
            ended_at: ended_at.into(),
            runtime,
            source: Some(source),
            witness,
            end_counted,
            marked: is_marked,
        })
    }

    /// Books what a witness says of one life. `standing` is asked only of a life not yet known.
    pub(super) fn record(
        &mut self,
        published: &mut Counters,
        key: LifeKey,
        stated: &Stated,
        standing: impl FnOnce() -> Standing,
    ) -> Booked {
        let mut booked = Booked::default();
        let witness = key.source.witnesses()[0];
        let growth = if let Some(life) = self.lives.iter_mut().find(|life| life.key == key) {
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
                end_counted: false,
                unstated: if standing == Standing::Prior { unstated(stated) } else { 0 },
            });
            match standing {
                Standing::Whole => marks,
                Standing::Prior => {
                    // Aligned: its account opens at what is published.
                    self.account(witness, *published);
                    Counters::default()
                }
            }
        };
        booked.life = growth;
        booked.published = self.add(published, witness, &growth);
        booked
    }

    /// Books what a witness says was added. Returns by how much the published values rose.
    pub(super) fn add(
        &mut self,
        published: &mut Counters,
        witness: Witness,
        growth: &Counters,
    ) -> Counters {
        let account = self.account(witness, Counters::default());
        account.add(growth);
        let account = *account;
        published.raise_to(&account)
    }

    /// Opens the account of a witness that is first heard now at what is published, so that only
    /// what it tells from here on counts. One that is open stays as it is.
    pub(super) fn open_account(&mut self, published: &Counters, witness: Witness) {
        self.account(witness, *published);
    }

    /// The account of a witness, opened with `opening` where it has none.
    fn account(&mut self, witness: Witness, opening: Counters) -> &mut Counters {
        let index = self.by_witness.iter().position(|(w, _)| *w == witness).unwrap_or_else(|| {
            // One by one: a vector that grows by itself starts with room for four.
            self.by_witness.reserve_exact(1);
            self.by_witness.push((witness, opening));
            self.by_witness.len() - 1
        });
        &mut self.by_witness[index].1
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
        self.lives.reserve_exact(1);
        self.lives.push(life);
    }
}
