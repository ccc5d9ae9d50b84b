//! Where the benches touch the exporter's inside: how an exposition is made and how an answer is
//! booked. If that changes, it changes here.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use mozaiks_exporter::ledger::{Ledger, Settings};
use mozaiks_exporter::metrics::{self, Format, Parts, Process, Show, UserPolicy, Wanted};
use mozaiks_exporter::model::{
    Answer, Delivery, Event, Instant, Mono, NameRule, RuntimeId, Source, Timestamp,
};
use mozaiks_exporter::sources::scrape::{Last, Roll, Shape};
use mozaiks_exporter::telemetry::Numbers;

/// The benches' beginning of time: long after the chats' starts, so that all are a baseline.
const START: i64 = 1_780_000_000_000_000;

/// A ledger with its one runtime, and what renders it.
#[derive(Debug)]
pub(crate) struct Engine {
    ledger: Ledger,
    runtime: RuntimeId,
    numbers: Numbers,
    inner: metrics::Engine,
    seconds: i64,
    /// The last poll, for the next.
    last: Last,
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
        let inner = metrics::Engine::new(show);
        Self {
            ledger,
            runtime,
            numbers: Numbers::default(),
            inner,
            seconds: 0,
            last: Last::default(),
        }
    }

    /// Takes in what `/metrics/perf/aggregate` answered, as the poll does it.
    pub(crate) fn poll(&mut self, body: &[u8]) {
        self.seconds += 15;
        let names = NameRule::new(512);
        let mut roll = Roll::read(body, Shape::Aggregate, &mut self.last, names, false).unwrap();
        let now = now(self.seconds);
        let answer = Answer {
            source: Source::Scrape,
            runtime: self.runtime,
            process: Some(Timestamp(START)),
            runtime_clock: now.wall,
            complete: true,
            more: false,
            chats: Vec::new(),
            unreadable: std::mem::take(&mut roll.told.unreadable),
            bookmarks: Vec::new(),
        };
        let mentions = roll.mentions(&self.last);
        let hearing = self.ledger.hearing(&answer, roll.told.refused.len(), mentions, now);
        roll.tell(&mut self.last, hearing.unwrap());
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

    /// Writes the text piece by piece, as it is sent. Its bytes and samples.
    pub(crate) fn text(&mut self) -> (usize, u64) {
        self.sums(false)
    }

    /// The same for a client that takes gzip.
    pub(crate) fn gzip(&mut self) -> (usize, u64) {
        self.sums(true)
    }

    /// The text as a whole.
    pub(crate) fn whole_text(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        self.answer(false, |part| text.extend_from_slice(&part));
        text
    }

    fn sums(&mut self, packed: bool) -> (usize, u64) {
        let mut bytes = 0;
        let samples = self.answer(packed, |part| bytes += part.len());
        (bytes, samples)
    }

    /// Lets the next answer be made anew from the first byte to the last.
    pub(crate) fn forget(&mut self) {
        self.inner = metrics::Engine::new(self.inner.show().clone());
    }

    fn answer(&mut self, packed: bool, take: impl FnMut(Bytes)) -> u64 {
        // Run times of live chats go on from one scrape to the next.
        self.seconds += 5;
        let (engine, ledger, now) = (&self.inner, &self.ledger, now(self.seconds));
        let wanted = Wanted { format: Format::Text, packed };
        let mut scrape = engine.begin(ledger, &self.numbers, Process::read(), wanted, now);
        while scrape.goes_on() {
            engine.gather(&mut scrape, ledger);
        }
        let answer = engine.finish(scrape);
        let samples = answer.samples();
        match answer.into_parts() {
            Parts::Packed(parts) => parts.into_iter().for_each(take),
            Parts::Plain(parts) => parts.for_each(take),
        }
        samples
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
