//! Rows of chats as they were written before there was [`super::row`].

use std::borrow::Cow;

use serde::Deserialize;

use super::accounts::Accounts;
use super::births::Birth;
use super::book::Life;
use super::chat::Phase;
use super::owed::Stored;
use super::row::{Flag, Row};
use crate::model::{Counters, RuntimeId, Timestamp, Witness};

/// A chat, each field under its full name.
#[expect(clippy::struct_excessive_bools, reason = "they were written so")]
#[derive(Deserialize)]
pub(super) struct OldChat<'a> {
    runtime: RuntimeId,
    chat_id: Cow<'a, str>,
    app_id: Cow<'a, str>,
    workflow_name: Cow<'a, str>,
    user_id: Cow<'a, str>,
    book: OldBook,
    phase: Phase,
    last_update: Timestamp,
    closed_at: Option<Timestamp>,
    last_turn_seconds: Option<f64>,
    birth: Birth,
    folded: bool,
    evicted: bool,
    #[serde(default)]
    failing: bool,
    #[serde(default)]
    pushed: bool,
    #[serde(default)]
    stored: Stored,
    listed: bool,
    workflow: u32,
    user: u32,
}

#[derive(Deserialize)]
struct OldBook {
    published: Counters,
    accounts: Vec<(Witness, Counters)>,
    lives: Vec<Life>,
    #[serde(default)]
    floor: Option<Timestamp>,
}

impl<'a> OldChat<'a> {
    pub(super) fn parse(body: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(body)
    }

    /// The row that would be written of it now.
    pub(super) fn row(self) -> Row<'a> {
        let OldBook { published, accounts, lives, floor } = self.book;
        let flags = [
            (self.folded, Flag::Folded),
            (self.evicted, Flag::Evicted),
            (self.failing, Flag::Failing),
            (self.pushed, Flag::Pushed),
            (!self.listed, Flag::Unlisted),
        ];
        let flags = flags.into_iter().filter(|(is_set, _)| *is_set);
        Row {
            i: self.chat_id,
            r: self.runtime.0,
            w: self.workflow,
            u: self.user,
            a: Some(self.app_id),
            f: Some(self.workflow_name),
            n: Some(self.user_id),
            p: self.phase as u8,
            c: published.counts,
            m: published.cost,
            z: self.closed_at.map(|at| at.0),
            t: self.last_update.0,
            d: self.last_turn_seconds,
            o: self.birth,
            x: flags.fold(0, |bits, (_, flag)| bits | flag as u8),
            g: self.stored,
            k: Some(Cow::Owned(Accounts { by_witness: accounts, lives, floor })),
            ..Row::default()
        }
    }
}
