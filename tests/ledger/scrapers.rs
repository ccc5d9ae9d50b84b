//! Those who look at the metrics page, and what they have seen at zero.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mozaiks_exporter::ledger::{Birth, Visitor};
use mozaiks_exporter::model::Instant;

use super::world::SECOND;

/// Two Prometheis, a `curl`, and a scraper of another make that does not say that it is one.
pub(crate) const VISITORS: usize = 4;
const LONGEST_WAIT: i64 = 120 * SECOND;

#[derive(Debug, Clone, Default)]
struct Scraper {
    connection: Option<u64>,
    visits: u32,
    regular: bool,
    interval: Option<i64>,
    last: i64,
    /// The last birth that it was shown at zero.
    saw: Birth,
    /// It may be remembered as a scraper from before a restart, with an interval of then.
    remembered: bool,
}

impl Scraper {
    fn interval(&self) -> i64 {
        self.interval.unwrap_or(15 * SECOND)
    }
}

#[derive(Debug, Clone, Copy)]
struct Born {
    at: i64,
    /// It was before a restart, or its series were gone at once: who has seen it is not known.
    unclear: bool,
}

/// All births, each with its own date, and who has seen what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scrapers {
    visitors: BTreeMap<usize, Scraper>,
    births: BTreeMap<Birth, Born>,
    revealed: BTreeSet<Birth>,
    connections: u64,
    /// Until then scrapers of before the restart may be waited for.
    expected_back: Option<i64>,
}

impl Scrapers {
    pub(crate) fn visitor(&mut self, who: usize, now: Instant) -> Visitor {
        let scraper = self.visitors.entry(who).or_default();
        let gap = now.mono.0 - scraper.last;
        if scraper.visits > 0 && gap > 0 {
            let alike = scraper.interval.is_some_and(|i| gap <= 2 * i && i <= 2 * gap);
            scraper.regular |= alike && scraper.visits >= 2;
            // Who says how long it waits scrapes no more often than that.
            scraper.interval = Some(if who < 2 { gap.max(10 * SECOND) } else { gap });
            scraper.remembered &= who >= 2;
        }
        scraper.visits += 1;
        scraper.last = now.mono.0;
        if scraper.connection.is_none() {
            self.connections += 1;
            scraper.connection = Some(self.connections);
        }
        Visitor {
            name: format!("10.0.0.{who} visitor"),
            connection: scraper.connection.unwrap(),
            timeout: (who < 2).then_some(Duration::from_secs(10)),
        }
    }

    /// The last birth that an answer which begins now shows at zero.
    pub(crate) fn last(&self) -> Birth {
        self.births.keys().next_back().copied().unwrap_or(0)
    }

    /// The answer on that connection was written out.
    pub(crate) fn served(&mut self, connection: u64, shows: Birth) {
        let on_it = |scraper: &&mut Scraper| scraper.connection == Some(connection);
        if let Some(scraper) = self.visitors.values_mut().find(on_it) {
            scraper.saw = scraper.saw.max(shows);
        }
    }

    pub(crate) fn hang_up(&mut self, who: usize) -> Option<u64> {
        self.visitors.get_mut(&who)?.connection.take()
    }

    /// Takes note of births. Baselines are none.
    pub(crate) fn born(&mut self, births: impl IntoIterator<Item = Birth>, now: Instant) {
        let last = self.last();
        for birth in births.into_iter().filter(|birth| *birth > 0) {
            let born = Born { at: now.mono.0, unclear: birth <= last };
            self.births.entry(birth).or_insert(born);
        }
    }

    pub(crate) fn births(&self) -> impl Iterator<Item = Birth> {
        self.births.keys().copied()
    }

    fn live(&self, now: Instant) -> impl Iterator<Item = &Scraper> {
        self.visitors.iter().filter_map(move |(who, scraper)| {
            let patience = (3 * scraper.interval()).max(5 * SECOND);
            let scrapes = (*who < 2 || scraper.regular) && !scraper.remembered;
            (scrapes && now.mono.0 - scraper.last <= patience).then_some(scraper)
        })
    }

    /// Judges what the ledger hides after it has settled what is due.
    pub(crate) fn judge(
        &mut self,
        hides: impl Fn(Birth) -> bool,
        now: Instant,
    ) -> Result<(), String> {
        let longest = self.live(now).map(Scraper::interval).max().unwrap_or(0);
        let cap = (2 * longest).min(LONGEST_WAIT);
        let remembered =
            |s: &Scraper| s.remembered && now.mono.0 - s.last <= 3 * s.interval().max(LONGEST_WAIT);
        let may_expect_others = self.expected_back.is_some_and(|until| now.mono.0 <= until)
            || self.visitors.values().any(remembered);
        for (birth, born) in &self.births {
            let age = now.mono.0 - born.at;
            let missed = self.live(now).any(|s| s.saw < *birth);
            let was_revealed = self.revealed.contains(birth);
            let hidden = hides(*birth);
            if hidden && was_revealed {
                return Err(format!("{birth} was shown and is hidden again"));
            }
            if hidden && age >= LONGEST_WAIT {
                return Err(format!("{birth} is hidden for {age} us"));
            }
            let due = !missed || age >= cap;
            if hidden && due && !may_expect_others && !born.unclear {
                return Err(format!("{birth} is hidden for {age} us, though nobody waits for it"));
            }
            // Births are revealed in their order, so an older one may go with a younger; but no
            // younger one is due where this one is not.
            if !hidden && !was_revealed && !due && !born.unclear {
                return Err(format!("{birth} was shown before everyone saw it at zero"));
            }
        }
        let revealed: Vec<Birth> = self.births.keys().copied().filter(|b| !hides(*b)).collect();
        self.revealed.extend(revealed);
        Ok(())
    }

    /// What an exporter that starts now knows of them.
    pub(crate) fn reopened(&self, now: Instant) -> Self {
        let mut next = self.clone();
        for scraper in next.visitors.values_mut() {
            *scraper = Scraper { remembered: true, last: scraper.last, ..Scraper::default() };
        }
        for (birth, born) in &mut next.births {
            if !next.revealed.contains(birth) {
                *born = Born { at: now.mono.0, unclear: true };
            }
        }
        next.expected_back = Some(now.mono.0 + 3 * LONGEST_WAIT);
        next
    }
}
