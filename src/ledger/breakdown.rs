//! What events come to by agent, model, tool and logger: label sets that outlive the chats.
//!
//! Where two witnesses tell of the same label set, each has an account of it and the highest is
//! published, as with chats. Of durations, a witness's nth is taken if nobody has told of that
//! many before: so the number of observations is that of the witness that has told most, each is
//! one that somebody measured, and none is taken twice.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::births::Birth;
use super::histogram::Histogram;
use crate::model::{OTHER, RuntimeId, Timestamp, Usage, Usd, Witness};

/// What a row is about; it decides what its names are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Turns and usage: app, workflow, agent, model.
    Agent,
    /// Tool calls: app, workflow, tool, outcome.
    Tool,
    /// Model calls: app, workflow, model, cached, outcome.
    Call,
    /// Lines of the runtime's log: level, logger.
    Lines,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Agent, Self::Tool, Self::Call, Self::Lines];

    /// Which of its names become `_other` beyond the bound; the others have few values.
    fn unbounded(self) -> &'static [usize] {
        match self {
            Self::Agent => &[0, 1, 2, 3],
            Self::Tool | Self::Call => &[0, 1, 2],
            Self::Lines => &[1],
        }
    }
}

/// Names of a row, in the order that its dimension says.
pub type Names = SmallVec<[Arc<str>; 5]>;

/// What is counted of one label set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Turns, calls or lines.
    pub number: u64,
    /// Tokens and money.
    #[serde(flatten)]
    pub usage: Usage,
    /// How many of them came with a duration.
    timed: u64,
}

impl Figures {
    fn add(&mut self, number: u64, usage: &Usage) {
        self.number = self.number.saturating_add(number);
        let mine = &mut self.usage;
        mine.prompt_tokens = mine.prompt_tokens.saturating_add(usage.prompt_tokens);
        mine.completion_tokens = mine.completion_tokens.saturating_add(usage.completion_tokens);
        mine.cost += usage.cost;
    }

    fn raise_to(&mut self, other: &Self) {
        self.number = self.number.max(other.number);
        let (mine, theirs) = (&mut self.usage, &other.usage);
        mine.prompt_tokens = mine.prompt_tokens.max(theirs.prompt_tokens);
        mine.completion_tokens = mine.completion_tokens.max(theirs.completion_tokens);
        mine.cost = mine.cost.max(theirs.cost);
        self.timed = self.timed.max(other.timed);
    }
}

/// One measured duration and the chat it was measured in, to look at from a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// The chat.
    pub chat_id: Arc<str>,
    /// The duration in seconds.
    pub seconds: f64,
    /// When it was told.
    pub at: Timestamp,
}

/// One label set. Every number only grows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Breakdown {
    /// Where it was.
    pub runtime: RuntimeId,
    /// What it is about.
    pub dimension: Dimension,
    /// Its names.
    pub names: Names,
    /// The highest account, number by number.
    pub published: Figures,
    /// How long they took.
    pub durations: Histogram,
    /// When its series began.
    pub birth: Birth,
    accounts: SmallVec<[(Witness, Figures); 1]>,
    /// The last one of each bucket. Not kept over a restart.
    #[serde(skip)]
    pub exemplars: Vec<Option<Exemplar>>,
}

/// What is added to a row.
#[derive(Debug, Clone, Default)]
pub(super) struct Addition {
    pub(super) number: u64,
    pub(super) usage: Usage,
    pub(super) seconds: Option<f64>,
    pub(super) bounds: &'static [f64],
    pub(super) chat_id: Option<Arc<str>>,
    pub(super) at: Timestamp,
}

impl Breakdown {
    /// Adds the numbers of another row, for where the two are shown as one.
    pub fn merge(&mut self, other: &Self) {
        let theirs = other.published;
        self.published.add(theirs.number, &theirs.usage);
        self.durations.merge(&other.durations);
    }

    /// Opens the account of a witness that is first heard now at what is published.
    pub(super) fn open_account(&mut self, witness: Witness) {
        self.account(witness, self.published);
    }

    fn account(&mut self, witness: Witness, opening: Figures) -> &mut Figures {
        let index = self.accounts.iter().position(|(w, _)| *w == witness).unwrap_or_else(|| {
            self.accounts.push((witness, opening));
            self.accounts.len() - 1
        });
        &mut self.accounts[index].1
    }

    pub(super) fn add(&mut self, witness: Witness, addition: Addition) {
        let account = self.account(witness, Figures::default());
        account.add(addition.number, &addition.usage);
        account.timed += u64::from(addition.seconds.is_some());
        let account = *account;
        let leads = account.timed > self.published.timed;
        self.published.raise_to(&account);
        let Some(seconds) = addition.seconds.filter(|_| leads) else {
            return;
        };
        self.durations.observe(addition.bounds, seconds);
        if let Some(chat_id) = addition.chat_id {
            self.exemplars.resize(addition.bounds.len() + 1, None);
            let bucket = Histogram::bucket(addition.bounds, seconds);
            self.exemplars[bucket] = Some(Exemplar { chat_id, seconds, at: addition.at });
        }
    }
}

/// All label sets, bounded: beyond the bound of a dimension, new ones share `_other`.
#[derive(Debug, Default)]
pub(super) struct Breakdowns {
    rows: Vec<Breakdown>,
    /// Rows by the hashes of their label sets: what is looked for need not be owned.
    index: HashMap<u64, SmallVec<[usize; 1]>>,
    hasher: RandomState,
    sizes: [usize; Dimension::ALL.len()],
}

/// A row, and whether the label set had to be folded into it for the first time.
pub(super) struct Found {
    pub(super) row: usize,
    pub(super) folded: bool,
}

impl Breakdowns {
    /// The row of a label set, if it has one of its own.
    pub(super) fn find(
        &self,
        runtime: RuntimeId,
        dimension: Dimension,
        names: &[impl AsRef<str>],
    ) -> Option<usize> {
        let rows = self.index.get(&self.hash(runtime, dimension, names))?;
        rows.iter().copied().find(|row| {
            let row = &self.rows[*row];
            let mine = row.names.iter().map(|name| &**name);
            row.runtime == runtime
                && row.dimension == dimension
                && mine.eq(names.iter().map(AsRef::as_ref))
        })
    }

    fn hash(&self, runtime: RuntimeId, dimension: Dimension, names: &[impl AsRef<str>]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        (runtime, dimension).hash(&mut hasher);
        for name in names {
            name.as_ref().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The row of a label set, or the one that it is folded into. `birth` is asked if it is new.
    pub(super) fn find_or_add(
        &mut self,
        runtime: RuntimeId,
        dimension: Dimension,
        names: Names,
        max: usize,
        birth: impl FnOnce() -> Birth,
    ) -> Found {
        let mut names = names;
        if let Some(row) = self.find(runtime, dimension, &names) {
            return Found { row, folded: false };
        }
        let folded = self.sizes[dimension as usize] >= max;
        if folded {
            for index in dimension.unbounded() {
                if let Some(name) = names.get_mut(*index) {
                    *name = OTHER.into();
                }
            }
            if let Some(row) = self.find(runtime, dimension, &names) {
                return Found { row, folded };
            }
        }
        let row = self.push(Breakdown {
            runtime,
            dimension,
            names,
            published: Figures::default(),
            durations: Histogram::default(),
            birth: birth(),
            accounts: SmallVec::new(),
            exemplars: Vec::new(),
        });
        Found { row, folded }
    }

    /// Puts back a row that the state store kept. Rows come in the order of their numbers.
    pub(super) fn push(&mut self, row: Breakdown) -> usize {
        let hash = self.hash(row.runtime, row.dimension, &row.names);
        self.index.entry(hash).or_default().push(self.rows.len());
        self.sizes[row.dimension as usize] += 1;
        self.rows.push(row);
        self.rows.len() - 1
    }

    /// All rows, by number.
    pub(super) fn rows(&self) -> &[Breakdown] {
        &self.rows
    }

    /// All rows, by number.
    pub(super) fn rows_mut(&mut self) -> &mut [Breakdown] {
        &mut self.rows
    }
}

/// Whether there is anything in it.
pub(super) fn is_nothing(usage: &Usage) -> bool {
    usage.prompt_tokens == 0 && usage.completion_tokens == 0 && usage.cost == Usd::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[f64] = &[1.0, 5.0];

    fn row(table: &mut Breakdowns, name: &str) -> Found {
        let names = ["a", "w", name, "m"].into_iter().map(Arc::from).collect();
        table.find_or_add(RuntimeId(0), Dimension::Agent, names, 2, || 0)
    }

    fn timed(seconds: f64) -> Addition {
        let chat_id = Some("c".into());
        Addition {
            number: 1,
            seconds: Some(seconds),
            bounds: BOUNDS,
            chat_id,
            ..Addition::default()
        }
    }

    #[test]
    fn two_witnesses_of_the_same_calls_are_not_added() {
        let mut table = Breakdowns::default();
        let at = row(&mut table, "x").row;
        let row = &mut table.rows_mut()[at];
        for seconds in [0.5, 2.0] {
            row.add(Witness::LogCalls, timed(seconds));
        }
        for seconds in [0.5, 2.0, 9.0] {
            row.add(Witness::Ag2, timed(seconds));
        }
        assert_eq!(row.published.number, 3);
        assert_eq!(row.durations.cumulative(BOUNDS), [1, 2]);
        assert_eq!(row.durations.count(), 3);
        assert_eq!(row.exemplars[2].as_ref().map(|e| e.seconds), Some(9.0));
    }

    #[test]
    fn who_leads_without_durations_leaves_them_to_the_other() {
        let mut table = Breakdowns::default();
        let at = row(&mut table, "x").row;
        let row = &mut table.rows_mut()[at];
        row.add(Witness::LogCalls, Addition { number: 1, ..Addition::default() });
        row.add(Witness::Ag2, timed(2.0));
        assert_eq!((row.published.number, row.durations.count()), (1, 1));
    }

    #[test]
    fn beyond_the_bound_label_sets_share_one_row() {
        let mut table = Breakdowns::default();
        assert!(!row(&mut table, "x").folded && !row(&mut table, "y").folded);
        let (one, two) = (row(&mut table, "z"), row(&mut table, "zz"));
        assert!(one.folded && two.folded);
        assert_eq!(one.row, two.row);
        assert_eq!(&*table.rows()[one.row].names[2], OTHER);
        assert_eq!(row(&mut table, "x").row, 0);
    }
}
