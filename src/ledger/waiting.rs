//! Events that cannot be booked yet, because nobody has said whose they are.
//!
//! A log line names a chat and seldom its app, workflow or user, and a line of AG2's log names only
//! a session. Labels are given once, so such events wait until somebody introduces the chat. They
//! are kept like everything else: the place in the log that they came from is behind us.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::model::{About, Event, Mono, RuntimeId, Source, Timestamp};

/// Events that wait for one introduction. One more, and they wait no longer.
const MAX_EVENTS: usize = 1_000;
/// Events that wait at once, of all chats and sessions: some 30 MB.
const MAX_WAITING: usize = 100_000;
/// Chats and sessions that wait at once.
const MAX_GUESTS: usize = 10_000;
/// Sessions remembered. AG2 tells of a session while it is open, and shortly after.
const MAX_SESSIONS: usize = 10_000;

/// An event and who told of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) source: Source,
    pub(super) event: Event,
}

/// Somebody who was not introduced yet.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Guest {
    pub(super) runtime: RuntimeId,
    pub(super) about: About,
    /// What the events say of the app.
    pub(super) app_id: Option<String>,
    /// What the events say of the workflow.
    pub(super) workflow_name: Option<String>,
    /// What the events say of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user_id: Option<String>,
    pub(super) events: Vec<Told>,
    /// When the first event came.
    since: Timestamp,
    #[serde(skip)]
    pub(super) arrived: Mono,
}

impl Guest {
    /// Whether all is known that events can tell.
    pub(super) fn is_named(&self) -> bool {
        self.app_id.is_some() && self.workflow_name.is_some()
    }

    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= MAX_EVENTS
    }
}

type GuestKey = (RuntimeId, About);

/// All who wait, by number, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Guests {
    rows: BTreeMap<u64, Guest>,
    index: HashMap<GuestKey, u64>,
    next: u64,
    /// Events of all of them together.
    events: usize,
}

impl Guests {
    /// Lets an event wait. Returns the number of its guest.
    pub(super) fn seat(
        &mut self,
        runtime: RuntimeId,
        about: &About,
        told: Told,
        now: crate::model::Instant,
    ) -> u64 {
        let key = (runtime, about.clone());
        let no = self.index.get(&key).copied().unwrap_or_else(|| {
            let no = self.next;
            self.insert(
                no,
                Guest {
                    runtime,
                    about: about.clone(),
                    app_id: None,
                    workflow_name: None,
                    user_id: None,
                    events: Vec::new(),
                    since: now.wall,
                    arrived: now.mono,
                },
            );
            no
        });
        if let Some(guest) = self.rows.get_mut(&no) {
            let Event { app_id, workflow_name, user_id, .. } = &told.event;
            guest.app_id = guest.app_id.take().or_else(|| app_id.clone());
            guest.workflow_name = guest.workflow_name.take().or_else(|| workflow_name.clone());
            guest.user_id = guest.user_id.take().or_else(|| user_id.clone());
            guest.events.push(told);
            self.events += 1;
        }
        no
    }

    fn insert(&mut self, no: u64, guest: Guest) {
        self.index.insert((guest.runtime, guest.about.clone()), no);
        self.next = self.next.max(no + 1);
        self.rows.insert(no, guest);
    }

    /// Puts back a guest that the state store kept.
    pub(super) fn restore(&mut self, no: u64, mut guest: Guest, now: crate::model::Instant) {
        guest.arrived = now.mono_at(guest.since);
        self.events += guest.events.len();
        self.insert(no, guest);
    }

    pub(super) fn get(&self, no: u64) -> Option<&Guest> {
        self.rows.get(&no)
    }

    pub(super) fn number(&self, runtime: RuntimeId, about: &About) -> Option<u64> {
        self.index.get(&(runtime, about.clone())).copied()
    }

    pub(super) fn remove(&mut self, no: u64) -> Option<Guest> {
        let guest = self.rows.remove(&no)?;
        self.events -= guest.events.len();
        self.index.remove(&(guest.runtime, guest.about.clone()));
        Some(guest)
    }

    /// The one that has waited longest, where there are more than may wait.
    pub(super) fn surplus(&self) -> Option<u64> {
        let too_many = self.rows.len() > MAX_GUESTS || self.events > MAX_WAITING;
        self.rows.keys().next().copied().filter(|_| too_many)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// When the one that has waited longest came.
    pub(super) fn first_arrival(&self) -> Option<Mono> {
        self.rows.values().next().map(|guest| guest.arrived)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Guest)> {
        self.rows.iter().map(|(no, guest)| (*no, guest))
    }
}

/// Which chat a session of AG2's log belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    runtime: RuntimeId,
    id: String,
    chat_id: String,
}

/// The sessions that were opened last, by number.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    rows: BTreeMap<u64, Session>,
    index: HashMap<(RuntimeId, String), u64>,
    next: u64,
}

impl Sessions {
    /// Remembers a session. Returns the numbers of the rows that changed; none if it was known.
    pub(super) fn open(
        &mut self,
        runtime: RuntimeId,
        session_id: &str,
        chat_id: &str,
    ) -> Option<(u64, Option<u64>)> {
        if self.chat(runtime, session_id).is_some() {
            return None;
        }
        let no = self.next;
        let session = Session { runtime, id: session_id.to_owned(), chat_id: chat_id.to_owned() };
        self.restore(no, session);
        let oldest = self.rows.keys().next().copied().filter(|_| self.rows.len() > MAX_SESSIONS);
        if let Some(gone) = oldest.and_then(|no| self.rows.remove(&no)) {
            self.index.remove(&(gone.runtime, gone.id));
        }
        Some((no, oldest))
    }

    pub(super) fn restore(&mut self, no: u64, session: Session) {
        self.index.insert((session.runtime, session.id.clone()), no);
        self.next = self.next.max(no + 1);
        self.rows.insert(no, session);
    }

    pub(super) fn chat(&self, runtime: RuntimeId, session_id: &str) -> Option<&str> {
        let no = self.index.get(&(runtime, session_id.to_owned()))?;
        self.rows.get(no).map(|session| session.chat_id.as_str())
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn get(&self, no: u64) -> Option<&Session> {
        self.rows.get(&no)
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.rows.keys().copied()
    }
}

/// A place that a follower has got to.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Marked {
    pub(super) key: String,
    pub(super) place: String,
}

/// All places, by number.
#[derive(Debug, Default)]
pub(super) struct Bookmarks {
    rows: BTreeMap<u64, Marked>,
    index: HashMap<String, u64>,
    next: u64,
}

impl Bookmarks {
    /// Moves, makes or removes one. Returns its number where anything changed.
    pub(super) fn set(&mut self, key: String, place: Option<String>) -> Option<u64> {
        let known = self.index.get(&key).copied();
        match (known, place) {
            (None, None) => None,
            (Some(no), None) => {
                self.index.remove(&key);
                self.rows.remove(&no).map(|_| no)
            }
            (Some(no), Some(place)) => {
                let marked = self.rows.get_mut(&no).filter(|marked| marked.place != place)?;
                marked.place = place;
                Some(no)
            }
            (None, Some(place)) => {
                let no = self.next;
                self.restore(no, Marked { key, place });
                Some(no)
            }
        }
    }

    pub(super) fn restore(&mut self, no: u64, marked: Marked) {
        self.index.insert(marked.key.clone(), no);
        self.next = self.next.max(no + 1);
        self.rows.insert(no, marked);
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn get(&self, no: u64) -> Option<&Marked> {
        self.rows.get(&no)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Marked)> {
        self.rows.iter().map(|(no, marked)| (*no, marked))
    }
}
