//! The ledger as one scrape sees it: names bounded, users disguised, hidden series at zero.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use super::exposition::Value;
use super::page::Draft;
use super::procfs::Process;
use crate::ledger::{
    Birth, Breakdown, Chat, Dimension, Exemplar, Histogram, Ledger, Names, Runtime, Spending,
    Workflow,
};
use crate::model::{Counters, Instant, OTHER, RuntimeId};
use crate::telemetry::Numbers;

/// How user ids are shown.
#[derive(Debug, Clone)]
pub enum UserPolicy {
    /// As they are.
    Plain,
    /// As a keyed hash: the same user is the same name, and the name says nothing.
    Hash(ring::hmac::Key),
    /// Not at all.
    None,
}

impl UserPolicy {
    /// What is shown for a user.
    pub fn show<'a>(&self, user_id: &'a str) -> Cow<'a, str> {
        match self {
            Self::Plain => Cow::Borrowed(user_id),
            Self::None => Cow::Borrowed(""),
            Self::Hash(_) if user_id == OTHER => Cow::Borrowed(user_id),
            Self::Hash(key) => {
                let tag = ring::hmac::sign(key, user_id.as_bytes());
                let mut name = String::from("u-");
                for byte in tag.as_ref().iter().take(8) {
                    write!(name, "{byte:02x}").expect("writing to memory does not fail");
                }
                Cow::Owned(name)
            }
        }
    }
}

/// What is shown, and how.
#[derive(Debug, Clone)]
pub struct Show {
    /// How user ids are shown.
    pub users: UserPolicy,
    /// Whether the families with second names are shown.
    pub compat: bool,
    /// The series budget, as configured.
    pub max_series: u64,
}

/// One workflow as it is shown: several rows of the ledger where runtimes are not told apart.
pub(super) struct WorkflowRow<'a> {
    pub(super) runtime: Option<&'a str>,
    pub(super) row: Cow<'a, Workflow>,
    pub(super) hidden: bool,
    /// Distinct users of its live chats.
    pub(super) users: usize,
    /// Whether its runtime answers, so that its gauges are true.
    pub(super) up: bool,
}

/// One user as it is shown.
pub(super) struct UserRow<'a> {
    pub(super) runtime: Option<&'a str>,
    pub(super) app_id: &'a str,
    pub(super) user_id: Cow<'a, str>,
    pub(super) spent: Spending,
    pub(super) hidden: bool,
}

/// One label set of events as it is shown.
pub(super) struct BreakdownRow<'a> {
    pub(super) runtime: Option<&'a str>,
    pub(super) row: Cow<'a, Breakdown>,
    pub(super) hidden: bool,
}

impl BreakdownRow<'_> {
    /// Exemplars of its durations; none while those are hidden.
    pub(super) fn exemplars(&self) -> &[Option<Exemplar>] {
        if self.hidden { &[] } else { &self.row.exemplars }
    }
}

/// The ledger at one moment, and how it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) show: &'a Show,
    pub(super) now: Instant,
    pub(super) several: bool,
}

impl<'a> Look<'a> {
    pub(super) fn new(ledger: &'a Ledger, show: &'a Show, now: Instant) -> Self {
        let several = ledger.runtimes().iter().filter(|runtime| runtime.configured).count() > 1;
        Self { ledger, show, now, several }
    }

    /// The value of `runtime`, where it is a label.
    pub(super) fn runtime_label(&self, id: RuntimeId) -> Option<&'a str> {
        let runtime = self.ledger.runtime(id).filter(|_| self.several)?;
        Some(&runtime.name)
    }

    /// Whether the series of a runtime may be shown.
    pub(super) fn is_met(&self, id: RuntimeId) -> bool {
        self.ledger.runtime(id).is_some_and(Runtime::is_met)
    }

    /// Whether a runtime answered its last poll, or only others ever told of it.
    pub(super) fn is_up(&self, id: RuntimeId) -> bool {
        self.ledger.runtime(id).is_some_and(Runtime::is_up)
    }

    /// Where runtimes are not told apart, one that is no longer configured may have had a chat of
    /// the same id; its series would be the same twice.
    pub(super) fn unifies(&self) -> bool {
        !self.several && self.ledger.runtimes().len() > 1
    }

    /// Whether a chat has series of its own.
    pub(super) fn is_shown(&self, chat: &Chat) -> bool {
        let shown = |chat: &Chat| !chat.evicted && !chat.folded && self.is_met(chat.runtime);
        shown(chat) && !(self.unifies() && self.ledger.twins_before(chat).any(shown))
    }

    /// The counters that the chats beyond the bound share, by runtime.
    pub(super) fn folded_chats(&self) -> Vec<(Option<&'a str>, Counters, Birth)> {
        let mut rows: Vec<(Option<&str>, Counters, Birth)> = Vec::new();
        for (id, runtime) in (0_u16..).map(RuntimeId).zip(self.ledger.runtimes()) {
            let Some(birth) = runtime.folded_birth.filter(|_| runtime.is_met()) else {
                continue;
            };
            match rows.first_mut().filter(|_| !self.several) {
                Some(first) => first.1.add(&runtime.folded),
                None => rows.push((self.runtime_label(id), runtime.folded, birth)),
            }
        }
        rows
    }
}

/// The ledger and the exporter at one moment.
pub struct View<'a> {
    pub(super) look: Look<'a>,
    pub(super) numbers: &'a Numbers,
    /// Chats, page by page, and those that share one row.
    pub(super) chats: Vec<Draft>,
    pub(super) workflows: Vec<WorkflowRow<'a>>,
    pub(super) users: Vec<UserRow<'a>>,
    pub(super) breakdowns: Vec<BreakdownRow<'a>>,
    pub(super) process: Process,
}

impl<'a> View<'a> {
    /// Looks at the ledger once, for all families.
    pub fn new(ledger: &'a Ledger, numbers: &'a Numbers, show: &'a Show, now: Instant) -> Self {
        let look = Look::new(ledger, show, now);
        let mut view = Self::without_chats(look, numbers, Process::read(), true);
        let look = &view.look;
        let pages = ledger.pages().map(|(_, page)| Draft::of_page(page, look, |_| true));
        view.chats = pages.chain([Draft::of_folded(&view.look)]).collect();
        view
    }

    /// Leaves out the families of single chats.
    /// With `rows` or without those of the ledger's other families.
    pub(super) fn without_chats(
        look: Look<'a>,
        numbers: &'a Numbers,
        process: Process,
        rows: bool,
    ) -> Self {
        let mut view = Self {
            look,
            numbers,
            chats: Vec::new(),
            workflows: Vec::new(),
            users: Vec::new(),
            breakdowns: Vec::new(),
            process,
        };
        if rows {
            view.workflows = view.workflow_rows();
            view.users = view.user_rows();
            view.breakdowns = view.breakdown_rows();
        }
        view
    }

    fn workflow_rows(&self) -> Vec<WorkflowRow<'a>> {
        let users = self.look.ledger.users_by_workflow(|runtime| self.look.is_up(runtime));
        let mut rows: Vec<WorkflowRow<'a>> = Vec::new();
        let mut index: HashMap<(&str, &str), usize> = HashMap::new();
        let all = self.look.ledger.workflows().iter().zip(users);
        for (row, users) in all.filter(|(row, _)| self.look.is_met(row.runtime)) {
            let known =
                index.get(&(&*row.app_id, &*row.workflow_name)).filter(|_| !self.look.several);
            if let Some(known) = known {
                let known = &mut rows[*known];
                known.row.to_mut().merge(row);
                known.hidden &= self.look.ledger.hides(row.birth);
                known.users += users;
                known.up |= self.look.is_up(row.runtime);
                continue;
            }
            index.insert((&row.app_id, &row.workflow_name), rows.len());
            rows.push(WorkflowRow {
                runtime: self.look.runtime_label(row.runtime),
                row: Cow::Borrowed(row),
                hidden: self.look.ledger.hides(row.birth),
                users,
                up: self.look.is_up(row.runtime),
            });
        }
        rows
    }

    fn breakdown_rows(&self) -> Vec<BreakdownRow<'a>> {
        let mut rows: Vec<BreakdownRow<'a>> = Vec::new();
        let mut index: HashMap<(Dimension, &Names), usize> = HashMap::new();
        let unify = self.look.unifies();
        for row in self.look.ledger.breakdowns().iter().filter(|row| self.look.is_met(row.runtime))
        {
            if unify {
                if let Some(known) = index.get(&(row.dimension, &row.names)) {
                    let known = &mut rows[*known];
                    known.row.to_mut().merge(row);
                    known.hidden &= self.look.ledger.hides(row.birth);
                    continue;
                }
                index.insert((row.dimension, &row.names), rows.len());
            }
            rows.push(BreakdownRow {
                runtime: self.look.runtime_label(row.runtime),
                row: Cow::Borrowed(row),
                hidden: self.look.ledger.hides(row.birth),
            });
        }
        rows
    }

    fn user_rows(&self) -> Vec<UserRow<'a>> {
        if matches!(self.look.show.users, UserPolicy::None) {
            return Vec::new();
        }
        let mut rows: Vec<UserRow<'a>> = Vec::new();
        let mut index: HashMap<(&str, &str), usize> = HashMap::new();
        let shown = self.look.ledger.users().iter().filter(|user| user.shown);
        for user in shown.filter(|user| self.look.is_met(user.runtime)) {
            let key = (&*user.app_id, &*user.user_id);
            if let Some(known) = index.get(&key).filter(|_| !self.look.several) {
                rows[*known].spent.add(&user.own());
                rows[*known].hidden &= self.look.ledger.hides(user.birth);
                continue;
            }
            index.insert(key, rows.len());
            rows.push(UserRow {
                runtime: self.look.runtime_label(user.runtime),
                app_id: &user.app_id,
                user_id: self.look.show.users.show(&user.user_id),
                spent: user.own(),
                hidden: self.look.ledger.hides(user.birth),
            });
        }
        rows
    }
}

/// A counter's value, or 0 while it is hidden.
pub(super) fn counter(hidden: bool, value: impl Into<Value>) -> Value {
    if hidden { Value::Int(0) } else { value.into() }
}

/// Counters, or zeros while they are hidden.
pub(super) fn counters(hidden: bool, counters: &Counters) -> Counters {
    if hidden { Counters::default() } else { *counters }
}

/// A histogram, or none while it is hidden.
pub(super) fn histogram(hidden: bool, histogram: &Histogram) -> Option<&Histogram> {
    (!hidden).then_some(histogram)
}
