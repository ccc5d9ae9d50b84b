//! Where the benches touch the exporter's inside: how an exposition is made and how an answer is
//! booked. If that changes, it changes here.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use mozaiks_exporter::ledger::{Ledger, Settings};
use mozaiks_exporter::metrics::{Format, Show, UserPolicy, View, render};
use mozaiks_exporter::model::{
    Answer, Delivery, Event, Instant, Mono, NameRule, RuntimeId, Source, Timestamp,
};
use mozaiks_exporter::sources::scrape;
use mozaiks_exporter::telemetry::Numbers;

/// The benches' beginning of time: long after the chats' starts, so that all are a baseline.
const START: i64 = 1_780_000_000_000_000;

/// A ledger with its one runtime, and what renders it.
#[derive(Debug)]
pub(crate) struct Engine {
    ledger: Ledger,
    runtime: RuntimeId,
    numbers: Numbers,
    show: Show,
    seconds: i64,
}

impl Engine {
    /// An empty ledger with room for so many chats.
    pub(crate) fn new(chats: usize) -> Self {
        let mut settings = Settings::default();
        settings.max_chats = settings.max_chats.max(chats);
        let mut ledger = Ledger::new(settings);
        let runtime = ledger.watch("bench", &[Source::Scrape], now(0));
        let max_series = 20 * chats as u64;
        let show = Show { users: UserPolicy::Plain, compat: true, max_series };
        Self { ledger, runtime, numbers: Numbers::default(), show, seconds: 0 }
    }

    /// Takes in what `/metrics/perf/aggregate` answered, as the poll does it.
    pub(crate) fn poll(&mut self, body: &[u8]) {
        self.seconds += 15;
        let told = scrape::aggregate(body, NameRule::new(512)).unwrap();
        let now = now(self.seconds);
        let answer = Answer {
            source: Source::Scrape,
            runtime: self.runtime,
            process: Some(Timestamp(START)),
            runtime_clock: now.wall,
            complete: true,
            more: false,
            chats: told.chats,
            unreadable: told.unreadable,
            bookmarks: Vec::new(),
        };
        self.ledger.hear(&answer, told.refused.len(), now);
    }

    /// Books what was pushed.
    pub(crate) fn receive(&mut self, events: Vec<Delivery<Event>>) {
        self.ledger.receive(self.runtime, events, now(self.seconds));
    }

    /// What the store would write: the bytes of the rows that changed.
    pub(crate) fn take_changes(&mut self) -> usize {
        let (_, changes) = self.ledger.take_changes(now(self.seconds));
        changes.iter().map(|entry| entry.body.as_ref().map_or(0, String::len)).sum()
    }

    /// The text, and how many samples are in it.
    pub(crate) fn text(&mut self) -> (Vec<u8>, u64) {
        render(&self.view(), Format::Text)
    }

    /// The same for a client that takes gzip, as it goes over the wire.
    pub(crate) fn gzip(&mut self) -> Vec<u8> {
        gzip(&self.text().0)
    }

    /// Lets the next answer be made anew from the first byte to the last.
    #[expect(clippy::unused_self, reason = "nothing is kept yet that could be forgotten")]
    pub(crate) fn forget(&mut self) {}

    fn view(&self) -> View<'_> {
        View::new(&self.ledger, &self.numbers, &self.show, now(self.seconds))
    }
}

/// zlib-rs at its fastest.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A point of both clocks.
pub(crate) fn now(seconds: i64) -> Instant {
    let micros = seconds * 1_000_000;
    Instant { wall: Timestamp(START + micros), mono: Mono(micros) }
}
