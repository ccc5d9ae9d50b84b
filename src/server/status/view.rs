//! What the page shows: taken out of the ledger in one go, bounded, with no more than a look at those
//! chats that live.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::time::Duration;

use super::ring::{Growth, Ring, live};
use crate::ledger::{Chat, Dimension, Histogram, Ledger, Runtime};
use crate::metrics::Show;
use crate::model::{Source, Timestamp, Usd};
use crate::server::json::configured;
use crate::telemetry::Numbers;

/// Chats that are listed.
pub(super) const MAX_CHATS: usize = 30;
/// Workflows that are listed.
pub(super) const MAX_WORKFLOWS: usize = 20;
/// Runtimes and sources that are listed.
pub(super) const MAX_ROWS: usize = 30;
/// A live chat that is silent for longer stands still: what the alert `ChatStalled` takes by default.
const STALLED: Duration = Duration::from_mins(10);
/// A database is silent if its answer is overdue by so much, after three polls.
const OVERDUE_SECONDS: f64 = 30.0;

/// Everything at one moment.
pub(super) struct View<'a> {
    pub(super) now: Timestamp,
    pub(super) ledger: &'a Ledger,
    pub(super) numbers: &'a Numbers,
    pub(super) show: &'a Show,
    pub(super) ring: &'a Ring,
    /// Runtimes that are watched.
    pub(super) runtimes: Vec<&'a Runtime>,
    pub(super) live: u64,
    pub(super) tracked: u64,
    /// Live chats, those first that are silent for the longest.
    pub(super) chats: Vec<&'a Chat>,
    pub(super) stalled: u64,
    pub(super) spending: Spending<'a>,
    /// What grew in the last hour.
    pub(super) hour: Growth,
    /// Durations of turns, of all that were counted.
    pub(super) durations: Histogram,
}

/// Money of one workflow of one app, whichever runtimes it runs in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    pub(super) hour: Usd,
    pub(super) today: Usd,
    pub(super) ever: Usd,
}

impl Spent {
    fn add(&mut self, other: &Self) {
        self.hour += other.hour;
        self.today += other.today;
        self.ever += other.ever;
    }
}

/// Money of all of them.
#[derive(Debug, Default)]
pub(super) struct Spending<'a> {
    /// By app and workflow, those first that spent the most today.
    pub(super) rows: Vec<((&'a str, &'a str), Spent)>,
    /// Those that are not listed, and what they spent together.
    pub(super) rest: (usize, Spent),
    pub(super) all: Spent,
}

impl<'a> View<'a> {
    pub(super) fn new(
        ledger: &'a Ledger,
        numbers: &'a Numbers,
        show: &'a Show,
        ring: &'a Ring,
        now: Timestamp,
    ) -> Self {
        let met = ledger.runtimes().iter().filter(|runtime| runtime.is_met());
        let (chats, stalled) = oldest(ledger, now);
        Self {
            now,
            ledger,
            numbers,
            show,
            ring,
            runtimes: configured(ledger).collect(),
            live: live(ledger),
            tracked: met.map(|runtime| runtime.sums.chats as u64).sum(),
            chats,
            stalled,
            spending: spending(ledger, ring),
            hour: ring.hour(),
            durations: durations(ledger),
        }
    }

    /// Whether a chat stands still.
    pub(super) fn is_stalled(&self, chat: &Chat) -> bool {
        is_stalled(chat, self.now)
    }

    /// What somebody should look at, in sentences.
    pub(super) fn problems(&self) -> Vec<Problem<'a>> {
        let mut problems = Vec::new();
        for runtime in &self.runtimes {
            let target = self.numbers.targets.get(&*runtime.name);
            let health = target.and_then(|target| target.health);
            if runtime.up == Some(false) {
                problems.push(Problem::Away(&runtime.name));
            } else if health.is_some_and(|health| !health.healthy) {
                problems.push(Problem::Unwell(&runtime.name));
            }
        }
        for ((runtime, source), follower) in &self.numbers.followers {
            let unread = follower.sum(|reader| reader.problems);
            if unread > 0 {
                problems.push(Problem::Unread { runtime, source, unread });
            }
        }
        for (runtime, database) in &self.numbers.databases {
            let patience = 3.0 * database.interval_seconds + OVERDUE_SECONDS;
            let is_old = |at| self.now.since(at).as_secs_f64() > patience;
            if database.polls > 0 && database.last_success.is_none_or(is_old) {
                problems.push(Problem::Silent(runtime));
            }
        }
        if !self.numbers.store.durable {
            problems.push(Problem::NotDurable);
        }
        problems
    }
}

/// Something that somebody should look at.
#[derive(Debug, Clone, Copy)]
pub(super) enum Problem<'a> {
    /// A runtime does not answer.
    Away(&'a str),
    /// A runtime says that it is not well.
    Unwell(&'a str),
    /// The database that is read for a runtime does not answer.
    Silent(&'a str),
    /// Files that cannot be read.
    Unread { runtime: &'a str, source: &'static str, unread: u64 },
    /// What is counted does not survive the process.
    NotDurable,
}

/// The live chats that are silent for the longest, and how many of all stand still. Keeps no more of them
/// than twice as many as are wanted.
fn oldest(ledger: &Ledger, now: Timestamp) -> (Vec<&Chat>, u64) {
    let mut chats: Vec<&Chat> = Vec::with_capacity(2 * MAX_CHATS);
    let mut stalled = 0;
    let is_shown = |chat: &&Chat| {
        ledger.runtime(chat.runtime).is_some_and(|runtime| runtime.is_met() && runtime.is_up())
    };
    for chat in ledger.live_chats().filter(is_shown) {
        stalled += u64::from(is_stalled(chat, now));
        if chats.len() == 2 * MAX_CHATS {
            chats.select_nth_unstable_by(MAX_CHATS, |a, b| by_silence(a, b));
            chats.truncate(MAX_CHATS);
        }
        chats.push(chat);
    }
    chats.sort_unstable_by(|a, b| by_silence(a, b));
    chats.truncate(MAX_CHATS);
    (chats, stalled)
}

fn by_silence(a: &Chat, b: &Chat) -> Ordering {
    let key = |chat: &Chat| (chat.last_update, chat.runtime);
    key(a).cmp(&key(b)).then_with(|| a.chat_id().cmp(b.chat_id()))
}

fn is_stalled(chat: &Chat, now: Timestamp) -> bool {
    now.since(chat.last_update) > STALLED
}

fn spending<'a>(ledger: &'a Ledger, ring: &Ring) -> Spending<'a> {
    let in_hour = ring.spent_in_hour();
    let mut sums: BTreeMap<(&str, &str), Spent> = BTreeMap::new();
    let mut all = Spent::default();
    for (row, workflow) in ledger.workflows().iter().enumerate() {
        if !ledger.runtime(workflow.runtime).is_some_and(Runtime::is_met) {
            continue;
        }
        let spent = Spent {
            hour: in_hour.get(&row).copied().unwrap_or_default(),
            today: ring.spent_today(row),
            ever: workflow.totals.cost,
        };
        all.add(&spent);
        sums.entry((&workflow.app_id, &workflow.workflow_name)).or_default().add(&spent);
    }
    let mut rows: Vec<_> = sums.into_iter().collect();
    rows.sort_by_key(|(_, spent)| Reverse((spent.today, spent.hour, spent.ever)));
    let mut rest = (0, Spent::default());
    for (_, spent) in rows.iter().skip(MAX_WORKFLOWS) {
        rest.0 += 1;
        rest.1.add(spent);
    }
    rows.truncate(MAX_WORKFLOWS);
    Spending { rows, rest, all }
}

/// Durations of all turns of runtimes that were met.
fn durations(ledger: &Ledger) -> Histogram {
    let is_met = |runtime| ledger.runtime(runtime).is_some_and(Runtime::is_met);
    let mut sum = Histogram::default();
    for row in ledger.workflows().iter().filter(|row| is_met(row.runtime)) {
        sum.merge(&row.turns);
    }
    for row in ledger.breakdowns().iter().filter(|row| is_met(row.runtime)) {
        if row.dimension == Dimension::Agent {
            sum.merge(&row.durations);
        }
    }
    sum
}

/// How a runtime is, in words, and whether that is well.
pub(super) fn state(runtime: &Runtime) -> (&'static str, State) {
    match runtime.up {
        Some(true) => ("answers", State::Well),
        Some(false) => ("does not answer", State::Bad),
        None if runtime.expects(Source::Scrape) => ("not asked yet", State::Unknown),
        None => ("known by its logs or its database", State::Well),
    }
}

/// Whether something is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Well,
    Unknown,
    Bad,
}
