//! The row of a chat: the most frequent by far, so it is kept short and read fast.
//!
//! A field that holds what it nearly always holds is left out, and so is what follows from another
//! one; 1,060 bytes of the file for each chat became some 190. `sqlite3` has the view `chats`, which
//! spells it out.
//!
//! | field | |
//! |---|---|
//! | `i` | id |
//! | `r` | runtime; 0 |
//! | `w`, `u` | rows of its workflow and its user; 0 |
//! | `a`, `f`, `n` | app, workflow and user, where those rows bear other names |
//! | `p` | phase: 0 live, 1 ended, 2 lost |
//! | `c`, `m` | published counters, and money |
//! | `s`, `v` | source of its life (`scrape`), and witness of its account (that of the source) |
//! | `b` | when its life began, in microseconds; none where there is no life |
//! | `e`, `z` | its end as stated, and as seen, after `b` |
//! | `t` | its last update, after `b` |
//! | `d` | seconds of its last turn |
//! | `o` | birth |
//! | `x` | flags: see [`Flag`] |
//! | `g` | what the shared store has of it |
//! | `k` | its accounts in full; without `s`, `v`, `b`, `e` |

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::accounts::Accounts;
use super::births::Birth;
use super::book::{Book, Detail};
use super::chat::{Chat, Phase};
use super::names::Name;
use super::owed::{Slip, Stored};
use super::plain::Plain;
use super::word::OptMicros;
use super::{Ledger, User, Workflow};
use crate::model::{Count, Counters, Instant, RuntimeId, Source, Timestamp, Usd, Witness};

/// Bits of `x`.
#[derive(Clone, Copy)]
pub(super) enum Flag {
    EndCounted = 1,
    /// The marks of its life are zero, not what is published.
    Unmarked = 2,
    NoAccount = 4,
    Folded = 8,
    Evicted = 16,
    Failing = 32,
    Pushed = 64,
    Unlisted = 128,
}

/// A chat as it is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Row<'a> {
    #[serde(borrow)]
    pub(super) i: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) r: u16,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) w: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) u: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) a: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) f: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) n: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) p: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) c: [u64; Count::LEN],
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) m: Usd,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) s: Option<Source>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) v: Option<Witness>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) b: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) e: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) z: Option<i64>,
    #[serde(default)]
    pub(super) t: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) d: Option<f64>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) o: Birth,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) x: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) g: Stored,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) k: Option<Cow<'a, Accounts>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<'a> Row<'a> {
    pub(super) fn parse(body: &'a str) -> serde_json::Result<Self> {
        super::quick::read(body).map_or_else(|| Self::parse_any(body), Ok)
    }

    /// As [`Row::parse`], in whatever form of JSON it is.
    pub(super) fn parse_any(body: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(body)
    }

    /// All of a chat but its names.
    pub(super) fn of(chat: &'a Chat) -> Self {
        let mut flags = 0;
        let mut flag = |is_set: bool, flag: Flag| flags |= if is_set { flag as u8 } else { 0 };
        flag(chat.folded, Flag::Folded);
        flag(chat.evicted, Flag::Evicted);
        flag(chat.failing, Flag::Failing);
        flag(chat.pushed, Flag::Pushed);
        flag(!chat.listed, Flag::Unlisted);
        let Counters { counts, cost } = *chat.book.published();
        let mut row = Self {
            i: chat.chat_id().into(),
            r: chat.runtime.0,
            w: chat.workflow_row,
            u: chat.user_row,
            p: chat.phase as u8,
            c: counts,
            m: cost,
            d: chat.last_turn_seconds,
            o: chat.birth,
            g: chat.stored(),
            ..Self::default()
        };
        match chat.book.detail() {
            Detail::Plain(plain) => {
                let usual = plain.source.map(|source| source.witnesses()[0]);
                flag(plain.end_counted, Flag::EndCounted);
                flag(plain.source.is_some() && !plain.marked, Flag::Unmarked);
                flag(plain.witness.is_none(), Flag::NoAccount);
                row.b = plain.source.map(|_| plain.started_at.0);
                row.s = plain.source.filter(|source| *source != Source::Scrape);
                row.v = plain.witness.filter(|witness| usual != Some(*witness));
                row.e = plain.ended_at.wall().map(|at| row.after(at));
            }
            Detail::Full(full) => row.k = Some(Cow::Borrowed(full)),
        }
        row.z = chat.closed_at.wall().map(|at| row.after(at));
        row.t = row.after(chat.last_update);
        row.x = flags;
        row
    }

    /// Names what the rows of its workflow and user do not.
    fn name(&mut self, chat: &'a Chat, workflow: Option<&Workflow>, user: Option<&User>) {
        let other = |known: Option<&str>, name: &'a str| {
            (known != Some(name)).then_some(Cow::Borrowed(name))
        };
        self.a = other(workflow.map(|row| &*row.app_id), chat.app_id());
        self.f = other(workflow.map(|row| &*row.workflow_name), chat.workflow_name());
        self.n = other(user.map(|row| &*row.user_id), chat.user_id());
    }

    fn after(&self, at: Timestamp) -> i64 {
        at.0.wrapping_sub(self.b.unwrap_or(0))
    }

    fn at(&self, after: i64) -> Timestamp {
        Timestamp(after.wrapping_add(self.b.unwrap_or(0)))
    }

    fn has(&self, flag: Flag) -> bool {
        self.x & flag as u8 != 0
    }

    /// The chat, under these names.
    pub(super) fn chat(mut self, app: Name, workflow_name: Name, user: Name, now: Instant) -> Chat {
        let last_update = self.at(self.t);
        let closed_at = self.z.map(|at| self.at(at));
        Chat {
            book: self.book(),
            app,
            workflow_name,
            user,
            last_update,
            last_turn_seconds: self.d,
            birth: self.o,
            closed_at: closed_at.into(),
            slip: Slip::of(self.g),
            listed_life: Timestamp::default(),
            absent_since: OptMicros::NONE,
            told: now.mono,
            moved: now.mono_at(last_update),
            closed: closed_at.map_or(now.mono, |at| now.mono_at(at)),
            ended_key: OptMicros::NONE,
            answer: 0,
            workflow_row: self.w,
            user_row: self.u,
            runtime: RuntimeId(self.r),
            phase: match self.p {
                0 => Phase::Live,
                1 => Phase::Ended,
                _ => Phase::Lost,
            },
            folded: self.has(Flag::Folded),
            evicted: self.has(Flag::Evicted),
            failing: self.has(Flag::Failing),
            pushed: self.has(Flag::Pushed),
            listed: !self.has(Flag::Unlisted),
            id: self.i.into(),
        }
    }

    fn book(&mut self) -> Book {
        let published = Counters { counts: self.c, cost: self.m };
        if let Some(full) = self.k.take() {
            return Book::from_parts(published, Box::new(full.into_owned()));
        }
        let source = self.b.map(|_| self.s.unwrap_or(Source::Scrape));
        let usual = source.map(|source| source.witnesses()[0]);
        let plain = Plain {
            started_at: Timestamp(self.b.unwrap_or(0)),
            ended_at: self.e.map(|at| self.at(at)).into(),
            runtime: RuntimeId(self.r),
            source,
            witness: self.v.or(usual).filter(|_| !self.has(Flag::NoAccount)),
            end_counted: self.has(Flag::EndCounted),
            marked: source.is_some() && !self.has(Flag::Unmarked),
        };
        Book::from_plain(published, plain)
    }
}

impl Ledger {
    /// What is kept of a chat. `scratch` spares each row from being moved as it grows.
    pub(super) fn chat_row(&self, chat: &Chat, scratch: &mut Vec<u8>) -> String {
        let mut row = Row::of(chat);
        let workflow = self.workflows.rows().get(chat.workflow_row as usize);
        row.name(chat, workflow, self.users.rows().get(chat.user_row as usize));
        scratch.clear();
        serde_json::to_writer(&mut *scratch, &row)
            .expect("structs of numbers and strings are always JSON");
        str::from_utf8(scratch).expect("JSON is text").to_owned()
    }
}

/// As in its row, with all names.
impl Serialize for Chat {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = Row::of(self);
        row.name(self, None, None);
        row.serialize(serializer)
    }
}
