//! Born at zero: a new counter series first shows 0 to every Prometheus that watches.
//!
//! `increase()` sees a series from its first sample on; what that first sample already holds is
//! lost to it. So everything that begins under our eyes gets a *birth number*, and shows 0 until
//! that number is *revealed*: each live scraper was served after the birth, or the cap ran out.
//! One number serves all series, because births are revealed in their order.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Instant, Mono};

/// No birth waits longer than this, however slow the scrapers are.
const LONGEST_WAIT: Duration = Duration::from_mins(2);
/// Scrape interval assumed of a scraper that came once and said how long it would wait.
const ASSUMED_INTERVAL: Duration = Duration::from_secs(15);
/// Intervals after which a scraper that stays away is gone.
const MISSED_INTERVALS: u32 = 3;
/// A scraper with a very short interval is not given up before this.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(5);
/// A scraper that claims to wait for longer is not believed.
const LONGEST_TIMEOUT: Duration = Duration::from_hours(1);
/// Scrapers remembered at once.
const MAX_SCRAPERS: usize = 64;
/// Visits after which a client that does not say that it is a scraper may be one.
const REGULAR_VISITS: u32 = 3;

/// When a series began, as a number in the order of all births. Zero: a baseline, never hidden.
pub type Birth = u64;

/// Who asks for the exposition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// Address without the port, and user agent.
    pub name: String,
    /// Number of the connection, unique within the process.
    pub connection: u64,
    /// The scraper's own timeout, which Prometheus and its kin send with each scrape.
    pub timeout: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Scraper {
    name: String,
    connection: Option<u64>,
    announced: bool,
    visits: u32,
    regular: bool,
    interval: Option<Duration>,
    first: Mono,
    last: Mono,
    covered: Birth,
}

impl Scraper {
    fn interval(&self) -> Duration {
        self.interval.unwrap_or(ASSUMED_INTERVAL)
    }

    fn is_live(&self, now: Mono) -> bool {
        let patience = (self.interval().saturating_mul(MISSED_INTERVALS)).max(SHORTEST_PATIENCE);
        (self.announced || self.regular) && now.since(self.last) <= patience
    }
}

/// A scraper as the state store keeps it, so that births go on waiting for it over a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownScraper {
    name: String,
    interval_ms: u64,
}

/// What has to outlive the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BirthsRecord {
    last: Birth,
    revealed: Birth,
    scrapers: Vec<KnownScraper>,
}

/// All births and those who wait for them.
#[derive(Debug, Default)]
pub struct Births {
    last: Birth,
    revealed: Birth,
    pending: VecDeque<(Birth, Mono)>,
    scrapers: Vec<Scraper>,
}

impl Births {
    /// A birth under our eyes.
    pub fn born(&mut self, now: Instant) -> Birth {
        self.last += 1;
        self.pending.push_back((self.last, now.mono));
        self.last
    }

    /// Whether a series born then still shows 0.
    pub fn hides(&self, birth: Birth) -> bool {
        birth > self.revealed
    }

    /// Everything up to this one shows its values.
    pub fn revealed(&self) -> Birth {
        self.revealed
    }

    /// Takes note of a scrape that begins. Returns a ticket for [`Births::served`].
    pub fn arrive(&mut self, visitor: &Visitor, now: Instant) -> Ticket {
        let index = self.find(visitor).unwrap_or_else(|| self.enlist(visitor, now));
        let scraper = &mut self.scrapers[index];
        let was_live = scraper.visits > 0 && scraper.is_live(now.mono);
        let gap = now.mono.since(scraper.last);
        if scraper.visits > 0 && gap > Duration::ZERO {
            let alike = scraper
                .interval
                .is_some_and(|i| gap <= i.saturating_mul(2) && i <= gap.saturating_mul(2));
            scraper.regular |= alike && scraper.visits + 1 >= REGULAR_VISITS;
            // Nobody scrapes more often than it is ready to wait, however close two scrapes come.
            let timeout = visitor.timeout.unwrap_or_default().min(LONGEST_TIMEOUT);
            scraper.interval = Some(gap.max(timeout));
        }
        scraper.connection = Some(visitor.connection);
        scraper.announced |= visitor.timeout.is_some();
        scraper.visits = scraper.visits.saturating_add(1);
        scraper.last = now.mono;
        // That it scrapes, and how often, has to be known after a restart.
        let is_news = scraper.is_live(now.mono) && (!was_live || scraper.visits == 2);
        Ticket { connection: visitor.connection, covers: self.last, is_news }
    }

    /// The answer of that scrape was written out. Whatever it showed as 0 was seen as 0.
    pub fn served(&mut self, ticket: Ticket) {
        let scraper = self.scrapers.iter_mut().find(|s| s.connection == Some(ticket.connection));
        if let Some(scraper) = scraper {
            scraper.covered = scraper.covered.max(ticket.covers);
        }
    }

    /// A connection is gone; its scraper may come back on another, or has done so already.
    pub fn hang_up(&mut self, connection: u64) {
        let of_connection = |s: &Scraper| s.connection == Some(connection);
        let Some(index) = self.scrapers.iter().position(of_connection) else { return };
        let gone = &mut self.scrapers[index];
        gone.connection = None;
        let (name, last, interval) = (gone.name.clone(), gone.last, gone.interval);
        // It came back before we heard of the end: without this it would be waited for twice.
        let is_successor =
            |s: &Scraper| s.connection.is_some() && s.name == name && s.first >= last;
        if let Some(successor) = self.scrapers.iter_mut().find(|s| is_successor(s)) {
            successor.interval = successor.interval.or(interval);
            self.scrapers.remove(index);
        }
    }

    /// Reveals what every live scraper has seen at 0, and what has waited for too long.
    /// Returns whether anything changed that has to be kept.
    pub fn reveal(&mut self, now: Instant) -> bool {
        let before = self.revealed;
        let mut horizon = self.last;
        let mut longest = Duration::ZERO;
        for scraper in self.scrapers.iter().filter(|scraper| scraper.is_live(now.mono)) {
            horizon = horizon.min(scraper.covered);
            longest = longest.max(scraper.interval());
        }
        self.revealed = self.revealed.max(horizon);
        let cap = longest.saturating_mul(2).min(LONGEST_WAIT);
        while let Some((birth, born)) = self.pending.front().copied() {
            if birth > self.revealed {
                if now.mono.since(born) < cap {
                    break;
                }
                self.revealed = birth;
            }
            self.pending.pop_front();
        }
        if self.pending.len() < self.pending.capacity() / 4 {
            self.pending.shrink_to(self.pending.len() * 2);
        }
        self.revealed != before
    }

    /// What the state store keeps.
    pub fn record(&self, now: Instant) -> BirthsRecord {
        let scrapers = self
            .scrapers
            .iter()
            .filter(|scraper| scraper.is_live(now.mono))
            .map(|scraper| KnownScraper {
                name: scraper.name.clone(),
                interval_ms: u64::try_from(scraper.interval().as_millis()).unwrap_or(u64::MAX),
            })
            .collect();
        BirthsRecord { last: self.last, revealed: self.revealed, scrapers }
    }

    /// Goes on where a record ended. Known scrapers are expected back; births wait for them anew.
    pub fn restore(record: BirthsRecord, now: Instant) -> Self {
        let scrapers = record
            .scrapers
            .into_iter()
            .take(MAX_SCRAPERS)
            .map(|known| Scraper {
                name: known.name,
                connection: None,
                announced: true,
                visits: 0,
                regular: false,
                interval: Some(Duration::from_millis(known.interval_ms).min(LONGEST_WAIT)),
                first: now.mono,
                last: now.mono,
                covered: record.revealed,
            })
            .collect();
        let pending = if record.last > record.revealed {
            VecDeque::from([(record.last, now.mono)])
        } else {
            VecDeque::new()
        };
        Self { last: record.last, revealed: record.revealed, pending, scrapers }
    }

    /// The scraper on that connection, or one of that name that has lost its own.
    fn find(&self, visitor: &Visitor) -> Option<usize> {
        let same = |s: &Scraper| s.connection == Some(visitor.connection);
        let lost = |s: &Scraper| s.connection.is_none() && s.name == visitor.name;
        self.scrapers.iter().position(same).or_else(|| self.scrapers.iter().position(lost))
    }

    fn enlist(&mut self, visitor: &Visitor, now: Instant) -> usize {
        if self.scrapers.len() >= MAX_SCRAPERS {
            // Passers-by, however many, do not push out those who are waited for.
            let worth = |i: &usize| (self.scrapers[*i].is_live(now.mono), self.scrapers[*i].last);
            let least = (0..self.scrapers.len()).min_by_key(worth);
            self.scrapers.swap_remove(least.unwrap_or(0));
        }
        self.scrapers.push(Scraper {
            name: visitor.name.clone(),
            connection: Some(visitor.connection),
            announced: false,
            visits: 0,
            regular: false,
            interval: None,
            first: now.mono,
            last: now.mono,
            // Nothing is hidden from those who were not there: they see it as history.
            covered: self.revealed,
        });
        self.scrapers.len() - 1
    }
}

/// Says which births a scrape in progress shows.
#[derive(Debug, Clone, Copy)]
pub struct Ticket {
    connection: u64,
    covers: Birth,
    /// Whether the state store has to know of that scraper.
    pub(super) is_news: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Instant {
        Instant { mono: Mono(seconds * 1_000_000), ..Instant::default() }
    }

    fn prometheus(connection: u64) -> Visitor {
        let timeout = Some(Duration::from_secs(10));
        Visitor { name: "127.0.0.1 Prometheus".into(), connection, timeout }
    }

    fn curl(connection: u64) -> Visitor {
        Visitor { name: "127.0.0.1 curl".into(), connection, timeout: None }
    }

    fn scrape(births: &mut Births, visitor: &Visitor, now: Instant) {
        births.reveal(now);
        let ticket = births.arrive(visitor, now);
        births.served(ticket);
    }

    #[test]
    fn a_series_shows_zero_until_each_prometheus_has_seen_it() {
        let mut births = Births::default();
        scrape(&mut births, &prometheus(1), at(0));
        scrape(&mut births, &prometheus(2), at(1));
        let birth = births.born(at(2));
        scrape(&mut births, &prometheus(1), at(15));
        births.reveal(at(15));
        assert!(births.hides(birth), "the second has not been served");
        scrape(&mut births, &prometheus(2), at(16));
        births.reveal(at(16));
        assert!(!births.hides(birth));
    }

    #[test]
    fn nobody_watching_means_no_zero() {
        let mut births = Births::default();
        let birth = births.born(at(0));
        births.reveal(at(0));
        assert!(!births.hides(birth));
    }

    #[test]
    fn one_curl_neither_starts_nor_prolongs() {
        let mut births = Births::default();
        scrape(&mut births, &curl(1), at(0));
        let birth = births.born(at(1));
        births.reveal(at(1));
        assert!(!births.hides(birth), "a curl does not start a wait");

        scrape(&mut births, &prometheus(2), at(2));
        let birth = births.born(at(3));
        scrape(&mut births, &curl(3), at(4));
        scrape(&mut births, &prometheus(2), at(17));
        births.reveal(at(17));
        assert!(!births.hides(birth), "a curl is not waited for");
    }

    #[test]
    fn a_scraper_that_stays_away_is_waited_for_two_intervals() {
        let mut births = Births::default();
        scrape(&mut births, &prometheus(1), at(0));
        scrape(&mut births, &prometheus(1), at(15));
        let birth = births.born(at(20));
        births.reveal(at(49));
        assert!(births.hides(birth));
        births.reveal(at(50));
        assert!(!births.hides(birth));
    }

    #[test]
    fn births_wait_on_over_a_restart() {
        let mut births = Births::default();
        scrape(&mut births, &prometheus(1), at(0));
        scrape(&mut births, &prometheus(1), at(15));
        let birth = births.born(at(16));
        let mut births = Births::restore(births.record(at(17)), at(3));
        assert!(births.hides(birth));
        let next = births.born(at(4));
        births.reveal(at(4));
        assert!(births.hides(birth) && births.hides(next));
        scrape(&mut births, &prometheus(7), at(5));
        births.reveal(at(6));
        assert!(!births.hides(birth) && !births.hides(next));
    }

    #[test]
    fn a_regular_client_that_says_nothing_is_a_scraper() {
        let mut births = Births::default();
        for visit in 0..3 {
            scrape(&mut births, &curl(visit), at(visit.cast_signed() * 10));
            births.hang_up(visit);
        }
        let birth = births.born(at(25));
        births.reveal(at(25));
        assert!(births.hides(birth));
    }

    #[test]
    fn a_scraper_that_claims_to_wait_for_ever_is_not_believed() {
        let mut births = Births::default();
        let patient = Visitor { timeout: Some(Duration::MAX), ..prometheus(1) };
        scrape(&mut births, &patient, at(0));
        scrape(&mut births, &patient, at(15));
        let birth = births.born(at(16));
        births.reveal(at(16 + 120));
        assert!(!births.hides(birth));
    }

    #[test]
    fn a_crowd_of_passers_by_pushes_no_scraper_out() {
        let mut births = Births::default();
        scrape(&mut births, &prometheus(0), at(0));
        let birth = births.born(at(1));
        for passer_by in (1_u64..).take(MAX_SCRAPERS * 2) {
            let name = format!("10.0.0.1 browser {passer_by}");
            let visitor = Visitor { name, ..curl(passer_by) };
            births.arrive(&visitor, at(2));
        }
        births.reveal(at(3));
        assert!(births.hides(birth), "the one that scrapes has not seen it");
    }
}
