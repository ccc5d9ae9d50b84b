//! Events come in: whose they are, and who waits to be introduced.

use super::waiting::{Guest, Told};
use super::{Identity, Ledger, Standing};
use crate::model::{About, Bookmark, Instant, Report, RuntimeId, Source, UNKNOWN, What};

impl Ledger {
    /// A follower comes. To be called before it looks at what lies there: what it finds was there
    /// before it came, and counts only if the baseline is not complete yet.
    pub fn join(&mut self, id: RuntimeId, source: Source) {
        let Some(runtime) = self.runtimes.get_mut(id.0 as usize) else { return };
        if !runtime.join(source) {
            return;
        }
        self.dirty.runtimes.insert(id.0);
        if runtime.is_met() {
            for (no, chat) in self.chats.iter_mut().filter(|(_, chat)| chat.runtime == id) {
                for witness in source.witnesses() {
                    self.drifts.open(&mut chat.book, *witness);
                }
                self.dirty.chats.insert(no);
            }
            for (no, row) in self.breakdowns.rows_mut().iter_mut().enumerate() {
                if row.runtime == id {
                    source.witnesses().iter().for_each(|w| row.open_account(*w));
                    self.dirty.breakdowns.insert(no);
                }
            }
        }
        self.settle_version();
    }

    /// A follower has told all that lay there when it came.
    pub fn caught_up(&mut self, runtime: RuntimeId, source: Source, now: Instant) {
        let Some(known) = self.runtimes.get_mut(runtime.0 as usize) else { return };
        if known.note_contact(source, now.wall) {
            self.dirty.runtimes.insert(runtime.0);
        }
        self.try_meet(now);
        self.settle_version();
    }

    /// Books what a follower has read in one go, and how far it has got with it.
    pub fn learn(&mut self, report: Report, now: Instant) {
        self.tick_in_passing(now);
        let Some(runtime) = self.runtime(report.runtime) else { return };
        let counts = !(report.prior && runtime.is_met());
        for event in report.events {
            self.take(report.runtime, Told { source: report.source, event }, counts, now);
        }
        for ((level, logger), number) in report.lines.into_iter().filter(|_| counts) {
            self.count_lines(report.source, report.runtime, level, &logger, number, now);
        }
        for bookmark in &report.bookmarks {
            self.keep_place(bookmark);
        }
        self.settle_version();
    }

    /// Keeps how far somebody has got.
    pub(super) fn keep_place(&mut self, bookmark: &Bookmark) {
        let Bookmark { key, place } = bookmark;
        self.dirty.bookmarks.extend(self.bookmarks.set(key.clone(), place.clone()));
    }

    /// The places that were kept under keys that begin so: the rest of the key, and the place.
    pub fn bookmarks(&self, prefix: &str) -> Vec<(String, String)> {
        let with_prefix = |marked: &super::waiting::Marked| {
            let rest = marked.key.strip_prefix(prefix)?;
            Some((rest.to_owned(), marked.place.clone()))
        };
        self.bookmarks.iter().filter_map(|(_, marked)| with_prefix(marked)).collect()
    }

    /// Finds out whose an event is: books it, or lets it wait.
    pub(super) fn take(&mut self, runtime: RuntimeId, mut told: Told, counts: bool, now: Instant) {
        if let (What::SessionOpened { session_id }, About::Chat(chat_id)) =
            (&told.event.what, &told.event.about)
        {
            let (session_id, chat_id) = (session_id.clone(), chat_id.clone());
            self.open_session(runtime, &session_id, &chat_id, now);
        }
        if !counts {
            return;
        }
        if let About::Session(session_id) = &told.event.about
            && let Some(chat_id) = self.sessions.chat(runtime, session_id)
        {
            told.event.about = About::Chat(chat_id.to_owned());
        }
        let watched = &self.runtimes[runtime.0 as usize];
        match &told.event.about {
            About::Nobody => self.book_nobodys(runtime, &told, now),
            // Only the runtime's log says which chat a session belongs to.
            About::Session(_) if !watched.expects(Source::Logs) => {
                self.book_nobodys(runtime, &told, now);
            }
            About::Session(_) => self.seat(runtime, told, now),
            About::Chat(chat_id) => match watched.chats.get(chat_id, &self.chats) {
                Some(no) => self.book(no, &told, now),
                None => self.seat(runtime, told, now),
            },
        }
    }

    fn open_session(&mut self, runtime: RuntimeId, session_id: &str, chat_id: &str, now: Instant) {
        let Some((no, gone)) = self.sessions.open(runtime, session_id, chat_id) else { return };
        self.dirty.sessions.extend([Some(no), gone].into_iter().flatten());
        let waiting = self.guests.number(runtime, &About::Session(session_id.to_owned()));
        for told in waiting.and_then(|no| self.dismiss(no)).into_iter().flat_map(|g| g.events) {
            self.take(runtime, told, true, now);
        }
    }

    /// Lets an event wait for whoever introduces its chat.
    fn seat(&mut self, runtime: RuntimeId, told: Told, now: Instant) {
        let about = told.event.about.clone();
        let no = self.guests.seat(runtime, &about, told, now);
        self.dirty.guests.insert(no);
        let watched = &self.runtimes[runtime.0 as usize];
        let tells_users = watched.expects(Source::Scrape) || watched.expects(Source::Mongodb);
        let met = watched.is_met();
        let is_ready = |guest: &Guest| guest.is_full() || met && !tells_users && guest.is_named();
        if self.guests.get(no).is_some_and(is_ready) {
            self.release(no, now);
        }
        if let Some(no) = self.guests.surplus() {
            self.release(no, now);
        }
    }

    pub(super) fn dismiss(&mut self, no: u64) -> Option<Guest> {
        self.dirty.guests.insert(no);
        self.guests.remove(no)
    }

    /// Books what waited for a chat that is introduced now, before that one's first snapshot.
    /// When it began and ended is for those to say who introduce it.
    pub(super) fn welcome(&mut self, no: u64, now: Instant) {
        let Some(chat) = self.chats.get(no).filter(|_| !self.guests.is_empty()) else { return };
        let about = About::Chat(chat.id.to_string());
        let waiting = self.guests.number(chat.runtime, &about);
        for told in waiting.and_then(|no| self.dismiss(no)).into_iter().flat_map(|g| g.events) {
            self.add(no, &told, now);
        }
    }

    /// Books what has waited long enough, under the names that are known by now.
    fn release(&mut self, guest: u64, now: Instant) {
        let Some(guest) = self.dismiss(guest) else { return };
        let About::Chat(chat_id) = &guest.about else {
            for told in &guest.events {
                self.book_nobodys(guest.runtime, told, now);
            }
            return;
        };
        let identity = Identity {
            chat_id,
            app_id: guest.app_id.as_deref().unwrap_or(UNKNOWN),
            workflow_name: guest.workflow_name.as_deref().unwrap_or(UNKNOWN),
            user_id: guest.user_id.as_deref().unwrap_or(UNKNOWN),
        };
        let (no, _) = self.chat_no(guest.runtime, &identity, Standing::Whole, now);
        for told in &guest.events {
            self.book(no, told, now);
        }
    }

    /// Books what waits for that runtime, or what has waited for too long.
    pub(super) fn release_due(&mut self, of: Option<RuntimeId>, now: Instant) {
        let patience = self.settings.introduction_wait;
        let is_due = |guest: &Guest| match of {
            Some(runtime) => guest.runtime == runtime,
            None => {
                let met = self.runtime(guest.runtime).is_some_and(super::Runtime::is_met);
                met && now.mono.since(guest.arrived) >= patience
            }
        };
        let due: Vec<u64> =
            self.guests.iter().filter(|(_, guest)| is_due(guest)).map(|(no, _)| no).collect();
        for no in due {
            self.release(no, now);
        }
    }
}
