//! The ledger: everything the sources say goes in, and only it decides what a counter is worth.
//!
//! It knows neither HTTP nor files and reads no clock: time is handed in. Each change raises
//! [`Ledger::version`]; what changed is taken out with [`Ledger::take_changes`] and kept by the
//! state store, and nothing is shown to a scraper before the version it shows is kept.
//!
//! | file | decides |
//! |---|---|
//! | `hear`, `apply` | what an answer does |
//! | `learn` | whose an event is |
//! | `add` | what it adds |
//! | `receive`, `seen` | what was pushed, and whether it was before |
//! | `waiting` | who has to be introduced first |
//! | `book`, `plain`, `accounts`, `drift` | what the witnesses of one chat are worth together |
//! | `chat` | whether a chat lives |
//! | `chats`, `index`, `names` | where the chats are, and which pages of them have changed |
//! | `runtimes` | what counts as baseline, and what as new |
//! | `births` | which series still show 0 |
//! | `totals`, `breakdown`, `histogram` | what outlives the chats |
//! | `known` | what sources may ask |
//! | `change` | what another configuration does |
//! | `owed` | which chats a shared store does not have yet |
//! | `upkeep` | what time alone does: lost, quiet, evicted |
//! | `record`, `meta`, `touched`, `restore`, `row`, `quick`, `old` | what outlives the process |

mod accounts;
mod add;
mod apply;
mod births;
mod book;
mod breakdown;
mod change;
mod chat;
mod chats;
mod crowd;
mod drift;
mod hear;
mod histogram;
mod index;
mod known;
mod learn;
mod meta;
mod names;
mod old;
mod owed;
mod plain;
mod quick;
mod receive;
mod record;
mod restore;
mod row;
mod runtimes;
mod seen;
mod totals;
mod touched;
mod upkeep;
mod waiting;
mod word;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use births::{Birth, Births, Ticket, Visitor};
pub use book::{Book, Booked, Life, LifeKey, Standing};
pub use breakdown::{Breakdown, Dimension, Exemplar, Figures, Names};
pub use chat::{Chat, Phase};
pub use chats::Page;
pub use hear::Hearing;
pub use histogram::{CALL_BOUNDS, Histogram, SESSION_BOUNDS, TOOL_BOUNDS, TURN_BOUNDS};
pub use owed::{Debt, Owing, Pair};
pub use receive::Received;
pub use record::{Entry, Kind, RestoreError};
pub use restore::Restorer;
pub use runtimes::{Runtime, Sums};
pub use totals::{Outcome, Spending, User, Workflow};

use crate::model::{Counters, Instant, Mono, RuntimeId, Source, Witness};

use breakdown::Breakdowns;
use chats::Chats;
use drift::Drifts;
use meta::Meta;
use names::NameTable;
use owed::Owed;
use record::Dirty;
use seen::Seen;
use totals::{Users, Workflows};
use waiting::{Bookmarks, Guests, Sessions};

/// What an operator can set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long an ended chat keeps its series.
    pub retention: Duration,
    /// How long a live chat may be missing from the answers before it is lost.
    pub lost_after: Duration,
    /// How long a chat that moved on after its end counts as live without moving.
    pub quiet_after: Duration,
    /// How long a chat that only logs or pushed events tell of counts as live without moving.
    pub abandoned_after: Duration,
    /// How long an event that was handed in is known again by its id.
    pub dedup_window: Duration,
    /// How long events of a chat wait for somebody who knows its app, workflow and user.
    pub introduction_wait: Duration,
    /// How long the other sources are waited for at the first meeting with a runtime.
    pub grace: Duration,
    /// Whether there is a shared store that is to have the state of pushed chats.
    pub shared_store: bool,
    /// Chats with series of their own.
    pub max_chats: usize,
    /// Chats that are remembered although nobody tells of them but those who push.
    pub max_pushed_chats: usize,
    /// Workflows with series of their own.
    pub max_workflows: usize,
    /// Users with series of their own.
    pub max_users: usize,
    /// Agents with models, tools, kinds of model calls and loggers: label sets with series of their
    /// own, for each of these.
    pub max_breakdowns: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retention: Duration::from_hours(24),
            lost_after: Duration::from_mins(2),
            quiet_after: Duration::from_mins(10),
            abandoned_after: Duration::from_hours(1),
            dedup_window: Duration::from_hours(24),
            introduction_wait: Duration::from_mins(1),
            grace: Duration::from_secs(30),
            shared_store: false,
            max_chats: 10_000,
            max_pushed_chats: 100_000,
            max_workflows: 2_000,
            max_users: 1_000,
            max_breakdowns: 1_000,
        }
    }
}

/// How often something was refused, folded, or done twice. Nothing is hidden.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Tally {
    /// Counters that stood below their mark, by source.
    pub regressions: BTreeMap<Source, u64>,
    /// Chats that stood twice in one answer.
    pub duplicates: u64,
    /// Lives that were older than the oldest kept.
    pub ancient_lives: u64,
    /// Chats that began before their witness was heard, and were aligned.
    pub aligned: u64,
    /// Chats whose series were dropped after the retention time.
    pub evicted_by_age: u64,
    /// Chats whose series were dropped to make room.
    pub evicted_by_bound: u64,
    /// Chats that were folded into `_other`.
    pub folded_chats: u64,
    /// Workflows that were folded into `_other`.
    pub folded_workflows: u64,
    /// Users that were folded into `_other`.
    pub folded_users: u64,
    /// Ids of events that were forgotten before their time, because there were too many.
    pub ids_forgotten: u64,
    /// Pushed chats that were forgotten before their time, because there were too many.
    pub forgotten_pushed: u64,
    /// Chats that were forgotten before the shared store had their last state.
    pub forgotten_owed: u64,
    /// Additions to label sets that were folded into `_other`.
    pub folded_breakdowns: u64,
}

/// Who a chat is, as it is given once.
#[derive(Debug, Clone, Copy)]
struct Identity<'a> {
    chat_id: &'a str,
    app_id: &'a str,
    workflow_name: &'a str,
    user_id: &'a str,
}

/// The running totals of everything, and who said what of it.
#[derive(Debug)]
pub struct Ledger {
    settings: Settings,
    runtimes: Vec<Runtime>,
    chats: Chats,
    drifts: Drifts,
    next_chat: u64,
    /// Chats that have ended and still have series, in the order of their end.
    ended: BTreeSet<(i64, u64)>,
    shown: usize,
    workflows: Workflows,
    users: Users,
    breakdowns: Breakdowns,
    guests: Guests,
    sessions: Sessions,
    bookmarks: Bookmarks,
    births: Births,
    tally: Tally,
    names: NameTable,
    version: u64,
    dirty: Dirty,
    /// As it was last handed out to be kept.
    kept_meta: Option<Meta>,
    owed: Owed,
    own_name: String,
    seen: Seen,
    last_tick: Option<Mono>,
    last_sweep: Option<Mono>,
    /// With so many chats, it is looked whether too many of them were pushed.
    crowded_at: usize,
}

impl Ledger {
    /// An empty ledger: whatever it hears first is a baseline.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            runtimes: Vec::new(),
            chats: Chats::default(),
            drifts: Drifts::default(),
            next_chat: 1,
            ended: BTreeSet::new(),
            shown: 0,
            workflows: Workflows::default(),
            users: Users::default(),
            breakdowns: Breakdowns::default(),
            guests: Guests::default(),
            sessions: Sessions::default(),
            bookmarks: Bookmarks::default(),
            births: Births::default(),
            tally: Tally::default(),
            names: NameTable::default(),
            version: 0,
            dirty: Dirty::default(),
            kept_meta: None,
            owed: Owed::default(),
            own_name: String::new(),
            seen: Seen::default(),
            last_tick: None,
            last_sweep: None,
            crowded_at: 0,
        }
    }

    /// Watches a runtime by these sources. The same name is the same runtime over restarts.
    pub fn watch(&mut self, name: &str, sources: &[Source], now: Instant) -> RuntimeId {
        let known = self.runtimes.iter().position(|runtime| &*runtime.name == name);
        let index = known.unwrap_or_else(|| {
            self.runtimes.push(Runtime::new(name.into()));
            self.runtimes.len() - 1
        });
        self.runtimes[index].expect(sources, now);
        let id = RuntimeId(u16::try_from(index).unwrap_or(u16::MAX));
        if known.is_none() {
            self.dirty.runtimes.insert(id.0);
            self.settle_version();
        }
        id
    }

    /// To be called once all runtimes are watched: the chats of those that no longer are get lost.
    pub fn retire_unwatched(&mut self, now: Instant) {
        let is_retired = |chat: &Chat| !self.runtimes[chat.runtime.0 as usize].configured;
        let stranded: Vec<u64> =
            self.chats.iter().filter(|(_, chat)| is_retired(chat)).map(|(no, _)| no).collect();
        for no in stranded {
            self.mark_absent(no, now);
        }
        self.settle_version();
    }

    /// A runtime did not answer.
    pub fn runtime_failed(&mut self, runtime: RuntimeId) {
        if let Some(runtime) = self.runtimes.get_mut(runtime.0 as usize) {
            runtime.up = Some(false);
        }
    }

    /// A runtime said of a single chat that it does not hold it.
    pub fn chat_untracked(&mut self, runtime: RuntimeId, chat_id: &str, now: Instant) {
        let no =
            self.runtimes.get(runtime.0 as usize).and_then(|r| r.chats.get(chat_id, &self.chats));
        if let Some(no) = no {
            self.mark_absent(no, now);
            self.settle_version();
        }
    }

    /// A scrape begins: settles what time has done, and which series it will show at 0.
    pub fn scrape_begins(&mut self, visitor: &Visitor, now: Instant) -> Ticket {
        self.tick(now);
        let ticket = self.births.arrive(visitor, now);
        self.dirty.meta |= ticket.is_news;
        self.settle_version();
        ticket
    }

    /// The answer to a scrape was written out.
    pub fn scrape_served(&mut self, ticket: Ticket) {
        self.births.served(ticket);
    }

    /// A connection of the metrics listener is gone.
    pub fn hang_up(&mut self, connection: u64) {
        self.births.hang_up(connection);
    }

    /// Chats, runtimes and totals as they stand. Order: as first seen.
    pub fn chats(&self) -> impl Iterator<Item = &Chat> {
        self.pages().flat_map(|(_, page)| page.chats()).filter(|chat| !chat.evicted)
    }

    /// All chats in pages, in the order of their numbers.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &Page)> {
        self.pages_from(0)
    }

    /// As [`Ledger::pages`], from that number on.
    pub fn pages_from(&self, first: u64) -> impl Iterator<Item = (u64, &Page)> {
        self.chats.pages_from(first)
    }

    /// The page of that number, as long as any of its chats is remembered.
    pub fn page(&self, number: u64) -> Option<&Page> {
        self.chats.page(number)
    }

    /// Chats of the same names in other runtimes that were seen before that one.
    pub fn twins_before(&self, chat: &Chat) -> impl Iterator<Item = &Chat> {
        let no = |runtime: &Runtime| runtime.chats.get(chat.chat_id(), &self.chats);
        let own = self.runtime(chat.runtime).and_then(no);
        let others = self.runtimes.iter().filter_map(no).filter(move |no| Some(*no) < own);
        others.filter_map(|no| self.chats.get(no)).filter(|other| {
            other.app_id() == chat.app_id() && other.workflow_name() == chat.workflow_name()
        })
    }

    /// The chat of that id, whichever runtime has it.
    pub fn chat(&self, chat_id: &str) -> Option<&Chat> {
        self.runtimes
            .iter()
            .filter_map(|runtime| runtime.chats.get(chat_id, &self.chats))
            .filter_map(|no| self.chats.get(no))
            .find(|chat| !chat.evicted)
    }

    /// Chats that live, whether or not their runtime answers.
    pub fn live_chats(&self) -> impl Iterator<Item = &Chat> {
        self.chats.live().map(|(_, chat)| chat)
    }

    /// All runtimes, by number.
    pub fn runtimes(&self) -> &[Runtime] {
        &self.runtimes
    }

    /// The runtime of that number.
    pub fn runtime(&self, id: RuntimeId) -> Option<&Runtime> {
        self.runtimes.get(id.0 as usize)
    }

    /// All workflows.
    pub fn workflows(&self) -> &[Workflow] {
        self.workflows.rows()
    }

    /// All users.
    pub fn users(&self) -> &[User] {
        self.users.rows()
    }

    /// All label sets of events.
    pub fn breakdowns(&self) -> &[Breakdown] {
        self.breakdowns.rows()
    }

    /// Chats and sessions of which events were told, but not yet who they are.
    pub fn waiting(&self) -> usize {
        self.guests.iter().count()
    }

    /// Up to which birth series show their values.
    pub fn revealed(&self) -> Birth {
        self.births.revealed()
    }

    /// Whether a series born then still shows 0.
    pub fn hides(&self, birth: Birth) -> bool {
        self.births.hides(birth)
    }

    /// What was refused, folded or done twice.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Rises with every change that is to be kept.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// For each witness the sums of the published values and of its own accounts, over the chats
    /// that it knows: a blind witness is seen by the difference.
    pub fn drifts(&self) -> BTreeMap<Witness, (Counters, Counters)> {
        self.drifts.sums()
    }
}
