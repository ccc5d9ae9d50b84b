//! Accumulators of workflows and users: they outlive the chats that fed them.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::births::Birth;
use super::histogram::Histogram;
use crate::model::{Counters, OTHER, RuntimeId, Usd};

/// How a chat came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its witness said that it ended.
    Completed,
    /// Its witness said that it failed.
    Failed,
    /// It vanished from the answers of its runtime.
    Lost,
    /// Nothing was heard of it for too long.
    Abandoned,
}

impl Outcome {
    /// All of them, in the order of [`Workflow::ends`].
    pub const ALL: [Self; 4] = [Self::Completed, Self::Failed, Self::Lost, Self::Abandoned];

    /// The value of the `outcome` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What all chats of one workflow of one app came to. Every number only grows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Workflow {
    /// Where it runs.
    pub runtime: RuntimeId,
    /// Bounded, or `_other`.
    pub app_id: Arc<str>,
    /// Bounded, or `_other`.
    pub workflow_name: Arc<str>,
    /// Sums of the chats' published counters.
    pub totals: Counters,
    /// Chats that began.
    pub starts: u64,
    /// Chats that ended, by [`Outcome`].
    pub ends: [u64; Outcome::ALL.len()],
    /// From start to end of completed chats.
    pub sessions: Histogram,
    /// Turns whose duration was seen.
    pub turns: Histogram,
    /// Turns whose duration was not.
    pub turns_unobserved: u64,
    /// Tokens that came without cost.
    pub unpriced_tokens: u64,
    /// When its series began.
    pub birth: Birth,
    /// Chats that are live now.
    #[serde(skip)]
    pub active: u64,
}

impl Workflow {
    /// Adds the numbers of another row, for where the two are shown as one.
    pub fn merge(&mut self, other: &Self) {
        self.totals.add(&other.totals);
        self.starts += other.starts;
        for (mine, theirs) in self.ends.iter_mut().zip(other.ends) {
            *mine += theirs;
        }
        self.sessions.merge(&other.sessions);
        self.turns.merge(&other.turns);
        self.turns_unobserved = self.turns_unobserved.saturating_add(other.turns_unobserved);
        self.unpriced_tokens = self.unpriced_tokens.saturating_add(other.unpriced_tokens);
        self.active += other.active;
    }
}

/// What one user of one app spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spending {
    /// Chats begun.
    pub chats: u64,
    /// Prompt and completion tokens.
    pub tokens: u64,
    /// Money.
    pub cost: Usd,
}

impl Spending {
    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.chats = self.chats.saturating_add(other.chats);
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.cost += other.cost;
    }

    fn minus(&self, other: &Self) -> Self {
        Self {
            chats: self.chats.saturating_sub(other.chats),
            tokens: self.tokens.saturating_sub(other.tokens),
            cost: self.cost.saturating_sub(other.cost),
        }
    }
}

/// The account of one user of one app.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// Where it was spent.
    pub runtime: RuntimeId,
    /// Bounded, or `_other`.
    pub app_id: Arc<str>,
    /// Bounded, or `_other`.
    pub user_id: Arc<str>,
    /// Everything since the ledger began.
    total: Spending,
    /// The part of it that is shown under `_other`.
    folded: Spending,
    /// Whether it has series of its own.
    pub shown: bool,
    /// When those began.
    pub birth: Birth,
}

impl User {
    /// What its own series show.
    pub fn own(&self) -> Spending {
        self.total.minus(&self.folded)
    }
}

type Key = (RuntimeId, Arc<str>, Arc<str>);

/// All workflows, bounded: beyond the bound, new ones share `_other`.
#[derive(Debug, Default)]
pub(super) struct Workflows {
    rows: Vec<Workflow>,
    index: HashMap<Key, usize>,
}

impl Workflows {
    /// The row of a workflow, or of `_other` where the table is full. `birth` is asked if it is new.
    pub(super) fn find_or_add(
        &mut self,
        runtime: RuntimeId,
        app_id: &Arc<str>,
        workflow_name: &Arc<str>,
        max: usize,
        birth: impl FnOnce() -> Birth,
    ) -> usize {
        let mut key = (runtime, Arc::clone(app_id), Arc::clone(workflow_name));
        if let Some(row) = self.index.get(&key) {
            return *row;
        }
        if self.rows.len() >= max {
            key = (runtime, OTHER.into(), OTHER.into());
            if let Some(row) = self.index.get(&key) {
                return *row;
            }
        }
        self.push(Workflow {
            runtime,
            app_id: Arc::clone(&key.1),
            workflow_name: Arc::clone(&key.2),
            totals: Counters::default(),
            starts: 0,
            ends: [0; Outcome::ALL.len()],
            sessions: Histogram::default(),
            turns: Histogram::default(),
            turns_unobserved: 0,
            unpriced_tokens: 0,
            birth: birth(),
            active: 0,
        })
    }

    /// Puts back a row that the state store kept. Rows come in the order of their numbers.
    pub(super) fn push(&mut self, row: Workflow) -> usize {
        let key = (row.runtime, Arc::clone(&row.app_id), Arc::clone(&row.workflow_name));
        self.index.insert(key, self.rows.len());
        self.rows.push(row);
        self.rows.len() - 1
    }

    /// All rows, by number.
    pub(super) fn rows(&self) -> &[Workflow] {
        &self.rows
    }

    /// One row.
    pub(super) fn row_mut(&mut self, row: usize) -> Option<&mut Workflow> {
        self.rows.get_mut(row)
    }
}

/// All users. Only the top spenders have series of their own.
#[derive(Debug, Default)]
pub(super) struct Users {
    rows: Vec<User>,
    index: HashMap<Key, usize>,
    shown: usize,
}

/// Users that are followed for each that has series, so that a late heavy spender is found.
const FOLLOWED_PER_SHOWN: usize = 10;

impl Users {
    /// The row of a user, or of the app's `_other`, or of the one for all where even that is full.
    pub(super) fn find_or_add(
        &mut self,
        runtime: RuntimeId,
        app_id: &Arc<str>,
        user_id: &Arc<str>,
        max_shown: usize,
        mut birth: impl FnMut() -> Birth,
    ) -> usize {
        let followed = max_shown.saturating_mul(FOLLOWED_PER_SHOWN);
        let candidates = [
            (runtime, Arc::clone(app_id), Arc::clone(user_id), followed),
            (runtime, Arc::clone(app_id), OTHER.into(), followed.saturating_mul(2)),
            (runtime, OTHER.into(), OTHER.into(), usize::MAX),
        ];
        for (runtime, app_id, user_id, room) in candidates {
            let key = (runtime, app_id, user_id);
            if let Some(row) = self.index.get(&key) {
                return *row;
            }
            if self.rows.len() < room {
                let shown = &*key.2 == OTHER || self.shown < max_shown;
                let (runtime, app_id, user_id) = key;
                let birth = if shown { birth() } else { 0 };
                let (total, folded) = (Spending::default(), Spending::default());
                return self.push(User { runtime, app_id, user_id, total, folded, shown, birth });
            }
        }
        0
    }

    /// Puts back a row that the state store kept. Rows come in the order of their numbers.
    pub(super) fn push(&mut self, row: User) -> usize {
        let key = (row.runtime, Arc::clone(&row.app_id), Arc::clone(&row.user_id));
        self.index.insert(key, self.rows.len());
        self.shown += usize::from(row.shown && &*row.user_id != OTHER);
        self.rows.push(row);
        self.rows.len() - 1
    }

    /// Adds what a user spent. Returns the row of `_other` where it was folded into that.
    pub(super) fn spend(
        &mut self,
        row: usize,
        spent: &Spending,
        birth: impl FnMut() -> Birth,
    ) -> Option<usize> {
        let user = self.rows.get_mut(row)?;
        user.total.add(spent);
        if user.shown {
            return None;
        }
        user.folded.add(spent);
        let (runtime, app_id) = (user.runtime, Arc::clone(&user.app_id));
        let other = self.find_or_add(runtime, &app_id, &OTHER.into(), self.shown, birth);
        self.rows[other].total.add(spent);
        Some(other)
    }

    /// Gives the series of the smallest shown spender to the largest hidden one, where that one
    /// has spent more than twice as much. What is taken from the one goes to `_other`, so the sum
    /// over all series stays; only so small a share of it can look like new spending there.
    /// Returns the rows that changed.
    pub(super) fn promote(&mut self, mut birth: impl FnMut() -> Birth) -> Vec<usize> {
        let by_cost = |row: &usize| (self.rows[*row].total.cost, self.rows[*row].total.tokens);
        let named = |row: &usize| &*self.rows[*row].user_id != OTHER;
        let hidden = (0..self.rows.len()).filter(|row| !self.rows[*row].shown).max_by_key(by_cost);
        let shown = (0..self.rows.len())
            .filter(|row| self.rows[*row].shown)
            .filter(named)
            .min_by_key(by_cost);
        let (Some(rising), Some(falling)) = (hidden, shown) else {
            return Vec::new();
        };
        let (more, less) = (self.rows[rising].total.cost, self.rows[falling].total.cost);
        if more <= less + less || more.is_zero() {
            return Vec::new();
        }
        let own = self.rows[falling].own();
        self.rows[falling].folded.add(&own);
        self.rows[falling].shown = false;
        self.rows[rising].shown = true;
        self.rows[rising].birth = birth();
        let (runtime, app_id) =
            (self.rows[falling].runtime, Arc::clone(&self.rows[falling].app_id));
        let other = self.find_or_add(runtime, &app_id, &OTHER.into(), self.shown, birth);
        self.rows[other].total.add(&own);
        vec![rising, falling, other]
    }

    /// All rows, by number.
    pub(super) fn rows(&self) -> &[User] {
        &self.rows
    }
}
