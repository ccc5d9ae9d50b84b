//! The last hour in steps of half a minute, and the day so far: what grew while we looked.
//!
//! The ledger keeps running totals and no history, so its sums are looked at now and then, and what
//! they rose by is laid to the step that is open. What a runtime held when it was met is no growth.
//! Costs as much as there are rows of workflows and agents, and never a look at a chat.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::ledger::{Dimension, Histogram, Ledger, Runtime};
use crate::model::{Count, Instant, Mono, RuntimeId, Timestamp, Usd};
use crate::telemetry::Numbers;

/// Steps that are remembered: an hour.
pub(super) const STEPS: usize = 120;
/// How long a step lasts.
pub(super) const STEP: Duration = Duration::from_secs(30);
/// Microseconds of a day.
const DAY: i64 = 24 * 60 * 60 * 1_000_000;
/// A day that was seen from here on was seen as a whole: a step may reach over midnight.
const DAWN: Duration = Duration::from_mins(1);
/// The handler whose answers are timed.
const SCRAPES: &str = "metrics";

/// What grew.
#[derive(Debug, Clone, Default)]
pub(super) struct Growth {
    /// Turns.
    pub(super) turns: u64,
    /// Failed tool calls.
    pub(super) errors: u64,
    /// Money.
    pub(super) cost: Usd,
    /// Turns whose duration was seen.
    pub(super) durations: Histogram,
}

impl Growth {
    fn add(&mut self, other: &Self) {
        self.turns += other.turns;
        self.errors += other.errors;
        self.cost += other.cost;
        self.durations.merge(&other.durations);
    }

    fn since(&self, earlier: &Self) -> Self {
        Self {
            turns: self.turns.saturating_sub(earlier.turns),
            errors: self.errors.saturating_sub(earlier.errors),
            cost: self.cost.saturating_sub(earlier.cost),
            durations: self.durations.since(&earlier.durations),
        }
    }
}

/// One step.
#[derive(Debug, Default)]
pub(super) struct Step {
    growth: Growth,
    /// How long it lasted; not at all, where nobody looked.
    lasted: Duration,
    /// Live chats at its end.
    live: u64,
    /// Answers to scrapes, and how long they took together.
    scrapes: (u64, f64),
    /// Money by row of workflow.
    spent: BTreeMap<usize, Usd>,
}

#[expect(clippy::cast_precision_loss, reason = "what is drawn is no account")]
impl Step {
    fn per_minute(&self, number: f64) -> Option<f64> {
        let minutes = self.lasted.as_secs_f64() / 60.0;
        (minutes > 0.0).then(|| number / minutes)
    }

    pub(super) fn live(&self) -> Option<f64> {
        (!self.lasted.is_zero()).then_some(self.live as f64)
    }

    pub(super) fn turns(&self) -> Option<f64> {
        self.per_minute(self.growth.turns as f64)
    }

    pub(super) fn errors(&self) -> Option<f64> {
        self.per_minute(self.growth.errors as f64)
    }

    pub(super) fn cost(&self) -> Option<f64> {
        self.per_minute(self.growth.cost.as_f64())
    }

    /// Milliseconds of an answer to a scrape, where there was one.
    pub(super) fn scrape(&self) -> Option<f64> {
        let (answers, seconds) = self.scrapes;
        (answers > 0).then(|| seconds * 1e3 / answers as f64)
    }
}

/// What was seen of the past.
#[derive(Debug)]
pub(super) struct Ring {
    /// Those that are over, the oldest first.
    steps: VecDeque<Step>,
    open: Step,
    opened: Mono,
    /// When somebody looked first.
    since: Timestamp,
    /// Each runtime's sums when they were last looked at; none before it was met.
    sums: Vec<Option<Growth>>,
    /// The money of each row of workflow, likewise.
    costs: Vec<Usd>,
    /// What each row spent today.
    today: Vec<Usd>,
    /// The day, in days since the epoch, and from when on it was seen.
    day: (i64, Timestamp),
    scrapes: (u64, f64),
}

impl Ring {
    /// Whatever the ledger holds now is the past.
    pub(super) fn new(ledger: &Ledger, numbers: &Numbers, now: Instant) -> Self {
        let mut ring = Self {
            steps: VecDeque::with_capacity(STEPS),
            open: Step::default(),
            opened: now.mono,
            since: now.wall,
            sums: Vec::new(),
            costs: Vec::new(),
            today: Vec::new(),
            day: (day(now.wall), now.wall),
            scrapes: scrapes(numbers),
        };
        ring.look(ledger, numbers, now.wall);
        ring
    }

    /// Lays what has grown to the step that is open.
    pub(super) fn look(&mut self, ledger: &Ledger, numbers: &Numbers, now: Timestamp) {
        if day(now) != self.day.0 {
            self.day = (day(now), now);
            self.today.fill(Usd::ZERO);
        }
        let rows = ledger.workflows();
        self.costs.resize(rows.len(), Usd::ZERO);
        self.today.resize(rows.len(), Usd::ZERO);
        for (row, workflow) in rows.iter().enumerate() {
            let cost = workflow.totals.cost;
            let grown = cost.saturating_sub(std::mem::replace(&mut self.costs[row], cost));
            if !grown.is_zero() && self.knows(workflow.runtime) {
                self.today[row] += grown;
                *self.open.spent.entry(row).or_default() += grown;
            }
        }
        let sums = sums(ledger);
        for (sum, before) in sums.iter().zip(&self.sums) {
            if let (Some(sum), Some(before)) = (sum, before) {
                self.open.growth.add(&sum.since(before));
            }
        }
        self.sums = sums;
        let (answers, seconds) = scrapes(numbers);
        self.open.scrapes.0 += answers.saturating_sub(self.scrapes.0);
        self.open.scrapes.1 += (seconds - self.scrapes.1).max(0.0);
        self.scrapes = (answers, seconds);
    }

    /// Looks, and closes the step. Those in which nobody looked are empty.
    pub(super) fn close(&mut self, ledger: &Ledger, numbers: &Numbers, now: Instant) {
        self.look(ledger, numbers, now.wall);
        let lasted = now.mono.since(std::mem::replace(&mut self.opened, now.mono));
        let missed = (lasted.as_secs() / STEP.as_secs()).saturating_sub(1);
        for _ in 0..missed.min(STEPS as u64) {
            self.push(Step::default());
        }
        let mut step = std::mem::take(&mut self.open);
        step.lasted = lasted;
        step.live = live(ledger);
        self.push(step);
    }

    fn push(&mut self, step: Step) {
        if self.steps.len() >= STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(step);
    }

    /// Whether growth of that runtime is news.
    fn knows(&self, runtime: RuntimeId) -> bool {
        self.sums.get(runtime.0 as usize).is_some_and(Option::is_some)
    }

    /// Steps that are over, the oldest first.
    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// What grew in the last hour.
    pub(super) fn hour(&self) -> Growth {
        let mut sum = self.open.growth.clone();
        for step in &self.steps {
            sum.add(&step.growth);
        }
        sum
    }

    /// What each row of workflow spent in the last hour.
    pub(super) fn spent_in_hour(&self) -> BTreeMap<usize, Usd> {
        let mut spent = self.open.spent.clone();
        for (row, cost) in self.steps.iter().flat_map(|step| &step.spent) {
            *spent.entry(*row).or_default() += *cost;
        }
        spent
    }

    /// What a row of workflow spent today.
    pub(super) fn spent_today(&self, row: usize) -> Usd {
        self.today.get(row).copied().unwrap_or_default()
    }

    /// From when on today was seen, where that is not its whole.
    pub(super) fn today_since(&self) -> Option<Timestamp> {
        let (day, seen) = self.day;
        let midnight = Timestamp(day.saturating_mul(DAY));
        (seen.since(midnight) > DAWN).then_some(seen)
    }

    /// From when on the last hour was seen, where that is not its whole.
    pub(super) fn hour_since(&self) -> Option<Timestamp> {
        (self.steps.len() < STEPS).then_some(self.since)
    }
}

/// Live chats of runtimes that answer.
pub(super) fn live(ledger: &Ledger) -> u64 {
    let up = ledger.runtimes().iter().filter(|runtime| runtime.is_up());
    up.map(|runtime| runtime.sums.live as u64).sum()
}

fn day(at: Timestamp) -> i64 {
    at.0.div_euclid(DAY)
}

/// Answers to scrapes, and how long they took together.
fn scrapes(numbers: &Numbers) -> (u64, f64) {
    let durations = numbers.answers.durations.get(SCRAPES);
    durations.map_or((0, 0.0), |durations| (durations.count(), durations.sum_seconds()))
}

/// The sums of each runtime that was met.
fn sums(ledger: &Ledger) -> Vec<Option<Growth>> {
    let met = |runtime: &Runtime| runtime.is_met().then(Growth::default);
    let mut sums: Vec<Option<Growth>> = ledger.runtimes().iter().map(met).collect();
    for row in ledger.workflows() {
        if let Some(Some(sum)) = sums.get_mut(row.runtime.0 as usize) {
            sum.turns += row.totals.get(Count::Turns);
            sum.errors += row.totals.get(Count::Errors);
            sum.cost += row.totals.cost;
            sum.durations.merge(&row.turns);
        }
    }
    for row in ledger.breakdowns().iter().filter(|row| row.dimension == Dimension::Agent) {
        if let Some(Some(sum)) = sums.get_mut(row.runtime.0 as usize) {
            sum.durations.merge(&row.durations);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Settings;
    use crate::model::{Answer, ChatSnapshot, Source, Stated};

    const SECOND: i64 = 1_000_000;
    /// Noon of some day.
    const NOON: i64 = 20_000 * DAY + DAY / 2;

    fn at(second: i64) -> Instant {
        Instant { wall: Timestamp(NOON + second * SECOND), mono: Mono(second * SECOND) }
    }

    fn dollars(text: &str) -> Usd {
        text.parse().unwrap()
    }

    /// The only runtime says that its only chat has had so many turns, at a dollar each.
    fn tell(ledger: &mut Ledger, turns: u64, second: i64) {
        let mut totals = Stated { cost: Some(dollars(&turns.to_string())), ..Stated::default() };
        totals.counts[Count::Turns as usize] = Some(turns);
        let chat = ChatSnapshot {
            chat_id: "c".into(),
            app_id: "a".into(),
            workflow_name: "w".into(),
            user_id: "u".into(),
            started_at: Some(at(-60).wall),
            ended_at: None,
            failed: false,
            updated_at: None,
            totals,
            last_turn_seconds: Some(2.0),
        };
        let answer = Answer {
            source: Source::Scrape,
            runtime: RuntimeId(0),
            process: Some(at(-600).wall),
            runtime_clock: at(second).wall,
            complete: true,
            more: false,
            chats: vec![chat],
            unreadable: Vec::new(),
            bookmarks: Vec::new(),
        };
        ledger.hear(&answer, 0, at(second));
    }

    fn desk() -> (Ledger, Numbers, Ring) {
        let mut ledger = Ledger::new(Settings::default());
        ledger.watch("runtime", &[Source::Scrape], at(0));
        let numbers = Numbers::default();
        let ring = Ring::new(&ledger, &numbers, at(0));
        (ledger, numbers, ring)
    }

    #[test]
    fn what_is_met_is_no_growth_and_what_follows_is() {
        let (mut ledger, numbers, mut ring) = desk();
        tell(&mut ledger, 40, 1);
        ring.look(&ledger, &numbers, at(2).wall);
        assert_eq!((ring.hour().turns, ring.spent_today(0)), (0, Usd::ZERO));
        tell(&mut ledger, 43, 10);
        ring.look(&ledger, &numbers, at(11).wall);
        ring.look(&ledger, &numbers, at(12).wall);
        tell(&mut ledger, 44, 20);
        ring.close(&ledger, &numbers, at(30));
        tell(&mut ledger, 45, 40);
        ring.look(&ledger, &numbers, at(41).wall);
        assert_eq!((ring.hour().turns, ring.hour().cost), (5, dollars("5")));
        assert_eq!((ring.spent_today(0), ring.spent_in_hour()[&0]), (dollars("5"), dollars("5")));
        let step = ring.steps().next().unwrap();
        assert_eq!((step.turns(), step.cost(), step.live()), (Some(8.0), Some(8.0), Some(1.0)));
        assert_eq!(step.scrape(), None);
    }

    #[test]
    fn a_day_begins_at_midnight() {
        let (mut ledger, numbers, mut ring) = desk();
        tell(&mut ledger, 1, 1);
        ring.look(&ledger, &numbers, at(1).wall);
        tell(&mut ledger, 3, 2);
        ring.look(&ledger, &numbers, at(2).wall);
        assert_eq!((ring.spent_today(0), ring.today_since()), (dollars("2"), Some(at(0).wall)));
        let midnight = 12 * 60 * 60;
        tell(&mut ledger, 7, midnight + 5);
        ring.look(&ledger, &numbers, at(midnight + 10).wall);
        assert_eq!((ring.spent_today(0), ring.today_since()), (dollars("4"), None));
        assert_eq!(ring.hour().cost, dollars("6"));
    }

    #[test]
    fn it_holds_an_hour_and_no_more() {
        let (mut ledger, numbers, mut ring) = desk();
        tell(&mut ledger, 1, 1);
        ring.close(&ledger, &numbers, at(30));
        for step in 2..=300 {
            assert_eq!(ring.hour_since().is_some(), step <= 120);
            tell(&mut ledger, step, 30 * i64::try_from(step).unwrap() - 1);
            ring.close(&ledger, &numbers, at(30 * i64::try_from(step).unwrap()));
        }
        assert_eq!((ring.steps().count(), ring.hour().turns), (STEPS, STEPS as u64));
        // Nobody looked for five minutes: nine steps are empty, and what grew is in the tenth.
        tell(&mut ledger, 320, 9290);
        ring.close(&ledger, &numbers, at(9300));
        let last: Vec<Option<f64>> = ring.steps().skip(STEPS - 11).map(Step::turns).collect();
        assert_eq!((last[0], last[10]), (Some(2.0), Some(4.0)));
        assert!(last[1..10].iter().all(Option::is_none), "{last:?}");
    }
}
