//! Runtimes as the ledger has met them, and what that says of a chat that is new to it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::births::Birth;
use super::book::Standing;
use super::index::Index;
use crate::model::{Answer, Counters, Instant, Mono, Source, Timestamp};

/// Processes remembered per runtime: workers behind one port, and their successors.
const MAX_PROCESSES: usize = 64;
/// Workers of one runtime are started together; processes created closer than this are one restart.
const SAME_RESTART: Duration = Duration::from_secs(10);
/// A process that was silent for longer is not counted among the workers.
const WORKER_SILENCE: Duration = Duration::from_mins(10);

/// A process of a runtime, told by when it was created.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Process {
    created: Timestamp,
    /// It has once said everything it held, and all of it could be read.
    told_all: bool,
    /// None where it was not heard since we started, or since a successor was.
    #[serde(skip)]
    last_heard: Option<Mono>,
}

/// When a witness was first heard of a runtime, in the runtime's clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Contact {
    source: Source,
    first_heard: Timestamp,
}

/// Why a chat that is new to the ledger counts as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Newcomers {
    /// All alike.
    Are(Standing),
    /// Whole if they began after this.
    ByClock(Timestamp),
}

impl Newcomers {
    pub(super) fn standing(self, started_at: Option<Timestamp>) -> Standing {
        match self {
            Self::Are(standing) => standing,
            Self::ByClock(heard) => match started_at {
                Some(started_at) if started_at <= heard => Standing::Prior,
                _ => Standing::Whole,
            },
        }
    }
}

/// Sums over chats, kept up to date so that nobody has to add them up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sums {
    /// How many there are.
    pub chats: usize,
    /// How many of them live.
    pub live: usize,
    /// What they have counted.
    pub totals: Counters,
}

/// One runtime.
#[expect(clippy::struct_excessive_bools, reason = "none of them follows from another")]
#[derive(Debug, Serialize, Deserialize)]
pub struct Runtime {
    /// The value of the `runtime` label.
    pub name: Arc<str>,
    /// Starts of new processes that were seen.
    pub restarts: u64,
    /// Counters of the chats beyond the bound, which share one series each.
    pub folded: Counters,
    /// When those series began; none while no chat was folded.
    pub folded_birth: Option<Birth>,
    contacts: Vec<Contact>,
    processes: Vec<Process>,
    /// Followers that have come; what lay there before them is behind them.
    #[serde(default)]
    joined: Vec<Source>,
    last_restart: Option<Timestamp>,
    met: bool,
    /// Chats that began up to here may have been forgotten: they are no news.
    #[serde(default)]
    pub(super) forgotten: Option<Timestamp>,
    /// Whether the configuration names it.
    #[serde(skip)]
    pub configured: bool,
    /// Whether it answered its last poll; `None` before the first.
    #[serde(skip)]
    pub up: Option<bool>,
    #[serde(skip)]
    expected: Vec<Source>,
    #[serde(skip)]
    since: Mono,
    /// The sums of its chats that are not evicted.
    #[serde(skip)]
    pub sums: Sums,
    #[serde(skip)]
    pub(super) chats: Index,
    /// Chats that stood in the last complete answer.
    #[serde(skip)]
    pub(super) present: usize,
    /// Chats of the answer that is being applied that are in it as present.
    #[serde(skip)]
    pub(super) named: usize,
    /// Whether the process that answered last told all it held, where processes have no identity.
    #[serde(skip)]
    told_all: bool,
    /// Whether anything that is to be kept has changed.
    #[serde(skip)]
    pub(super) changed: bool,
    /// Number of the answer that is being applied; marks who was in it.
    #[serde(skip)]
    pub(super) answer: u64,
}

impl Runtime {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            restarts: 0,
            folded: Counters::default(),
            folded_birth: None,
            contacts: Vec::new(),
            processes: Vec::new(),
            joined: Vec::new(),
            last_restart: None,
            met: false,
            forgotten: None,
            told_all: false,
            configured: false,
            up: None,
            expected: Vec::new(),
            since: Mono::default(),
            sums: Sums::default(),
            chats: Index::default(),
            present: 0,
            named: 0,
            changed: false,
            answer: 0,
        }
    }

    /// Whether its baseline is complete, so that its series may be shown.
    pub fn is_met(&self) -> bool {
        self.met
    }

    /// Whether any source was ever heard of it.
    pub fn was_heard(&self) -> bool {
        !self.contacts.is_empty()
    }

    /// Whether that source was ever heard of it.
    pub fn has_heard(&self, source: Source) -> bool {
        self.contacts.iter().any(|contact| contact.source == source)
    }

    /// Whether it answered its last poll, or only others ever told of it: then what its chats are now is
    /// known.
    pub fn is_up(&self) -> bool {
        self.up == Some(true) || !self.has_heard(Source::Scrape)
    }

    /// The configuration wants it watched by these sources from now on.
    pub(super) fn expect(&mut self, sources: &[Source], now: Instant) {
        self.configured = true;
        self.expected = sources.to_vec();
        self.since = now.mono;
    }

    /// The configuration no longer wants it watched.
    pub(super) fn retire(&mut self) {
        self.configured = false;
        self.expected.clear();
        self.up = None;
    }

    /// Whether the configuration wants it watched by that source.
    pub fn expects(&self, source: Source) -> bool {
        self.expected.contains(&source)
    }

    /// Takes note that a follower has come. Returns whether it is the first time.
    pub(super) fn join(&mut self, source: Source) -> bool {
        let is_first = !self.joined.contains(&source);
        if is_first {
            self.joined.push(source);
        }
        is_first
    }

    /// Takes note that a source was heard. Returns whether it is the first time.
    pub(super) fn note_contact(&mut self, source: Source, first_heard: Timestamp) -> bool {
        let is_first = !self.has_heard(source);
        if is_first {
            self.contacts.push(Contact { source, first_heard });
        }
        is_first
    }

    /// Workers that were heard lately, at least one.
    pub(super) fn workers(&self, now: Instant) -> u32 {
        let lately =
            |p: &&Process| p.last_heard.is_some_and(|at| now.mono.since(at) <= WORKER_SILENCE);
        u32::try_from(self.processes.iter().filter(lately).count()).unwrap_or(1).max(1)
    }

    /// Takes note of who answered, and says how chats that are new to the ledger count.
    ///
    /// `holds_last` says whether this answer holds every chat of the last complete one.
    pub(super) fn hear(
        &mut self,
        answer: &Answer<'_>,
        unread: usize,
        holds_last: bool,
        now: Instant,
    ) -> Newcomers {
        let contact = self.contacts.iter().find(|c| c.source == answer.source);
        let first_heard = contact.map(|contact| contact.first_heard);
        if !answer.more {
            self.changed |= self.note_contact(answer.source, answer.runtime_clock);
        }
        let tells_all = answer.complete && unread == 0;
        let told_all = answer
            .process
            .and_then(|created| self.note_process(created, first_heard, tells_all, now));
        let same_told_all = holds_last && self.told_all;
        if answer.process.is_none() && answer.complete {
            self.told_all = same_told_all || tells_all;
        }
        let Some(first_heard) = first_heard else {
            let standing = if self.met { Standing::Prior } else { Standing::Whole };
            return Newcomers::Are(standing);
        };
        if !self.met {
            return Newcomers::Are(Standing::Whole);
        }
        match (answer.process, told_all) {
            // It has told all it held before, so what it adds now is new, whatever clocks say.
            (Some(_), Some(true)) => Newcomers::Are(Standing::Whole),
            // A process that is new to us: is it a successor, or a worker that was there before?
            (Some(created), None) if created > first_heard => Newcomers::Are(Standing::Whole),
            // Processes cannot be told apart. A runtime forgets no chat while it lives, so an
            // answer that holds all of the last one comes from the same process.
            (None, _) if same_told_all => Newcomers::Are(Standing::Whole),
            (Some(_) | None, _) => Newcomers::ByClock(first_heard),
        }
    }

    /// Returns whether a known process had told all before; `None` if it was not known.
    fn note_process(
        &mut self,
        created: Timestamp,
        first_heard: Option<Timestamp>,
        tells_all: bool,
        now: Instant,
    ) -> Option<bool> {
        if let Some(known) = self.processes.iter_mut().find(|p| p.created == created) {
            known.last_heard = Some(now.mono);
            let told_all = known.told_all;
            self.changed |= tells_all && !told_all;
            known.told_all |= tells_all;
            return Some(told_all);
        }
        self.changed = true;
        let is_successor = first_heard.is_some_and(|heard| created > heard);
        let is_another = self.last_restart.is_none_or(|last| created.since(last) > SAME_RESTART);
        if is_successor {
            // Those who still live will be heard again.
            self.processes.iter_mut().for_each(|process| process.last_heard = None);
        }
        if is_successor && is_another {
            self.restarts += 1;
            self.last_restart = Some(created);
        }
        if self.processes.len() >= MAX_PROCESSES {
            let oldest = (0..self.processes.len()).min_by_key(|i| self.processes[*i].last_heard);
            self.processes.swap_remove(oldest.unwrap_or(0));
        }
        self.processes.push(Process { created, told_all: tells_all, last_heard: Some(now.mono) });
        None
    }

    /// Whether the gathering of the baseline is over: all expected sources have answered, or one
    /// has and the others have had their time.
    pub(super) fn is_ready(&self, grace: Duration, now: Instant) -> bool {
        if self.met || self.contacts.is_empty() {
            return false;
        }
        let all = self.expected.iter().all(|source| self.has_heard(*source));
        all || now.mono.since(self.since) >= grace
    }

    /// Ends the gathering of the baseline.
    pub(super) fn meet(&mut self) {
        self.met = true;
    }
}
