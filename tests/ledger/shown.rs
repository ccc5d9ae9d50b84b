//! What is put together from pieces that were kept is what is written anew.

use std::io::Read as _;

use mozaiks_exporter::ledger::Ledger;
use mozaiks_exporter::metrics::{
    Engine, Format, Parts, Process, Scrape, Show, UserPolicy, View, Wanted, render,
};
use mozaiks_exporter::model::Instant;
use mozaiks_exporter::telemetry::Numbers;
use proptest::prelude::*;

use super::cases;
use super::play::{Play, setup};
use super::world::{Op, history};

fn show(compat: bool, hashed: bool) -> Show {
    let key = || ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[7; 32]);
    let users = if hashed { UserPolicy::Hash(key()) } else { UserPolicy::Plain };
    Show { users, compat, max_series: 100_000 }
}

/// Unpacks one member, and sees to it that nothing is behind it.
fn unpacked(packed: &[u8]) -> String {
    let mut reader = flate2::bufread::GzDecoder::new(packed);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(reader.into_inner().is_empty(), "something is left behind the member");
    text
}

/// What is taken out of the ledger for an answer.
fn begun(engine: &Engine, ledger: &Ledger, wanted: Wanted, now: Instant) -> Scrape {
    let (numbers, process) = (Numbers::default(), Process::default());
    let mut scrape = engine.begin(ledger, &numbers, process, wanted, now);
    engine.gather(&mut scrape, ledger);
    while scrape.goes_on() {
        engine.gather(&mut scrape, ledger);
    }
    scrape
}

/// The answer that comes of it, and how many samples it says it has.
fn finished(engine: &Engine, scrape: Scrape) -> (String, u64) {
    let answer = engine.finish(scrape);
    let samples = answer.samples();
    let text = match answer.into_parts() {
        Parts::Packed(parts) => unpacked(&parts.concat()),
        Parts::Plain(parts) => String::from_utf8(parts.collect::<Vec<_>>().concat()).unwrap(),
    };
    (text, samples)
}

/// All of it, written at once.
fn whole(ledger: &Ledger, show: &Show, format: Format, now: Instant) -> String {
    let numbers = Numbers::default();
    let (text, _) = render(&View::new(ledger, &numbers, show, now), format);
    let text = String::from_utf8(text).unwrap();
    let is_kept = |line: &&str| !line.trim_start_matches(['#', ' ']).contains("process_");
    text.lines().filter(is_kept).flat_map(|line| [line, "\n"]).collect()
}

proptest! {
    #![proptest_config(cases(60))]

    #[test]
    fn an_answer_is_the_same_however_it_is_made(
        setup in setup(), ops in history(60), compat: bool, hashed: bool,
    ) {
        let mut play = Play::new(&setup);
        let show = show(compat, hashed);
        let mut engine = Engine::new(show.clone());
        for (op, format) in ops.iter().zip([Format::Text, Format::OpenMetrics].iter().cycle()) {
            play.step(op);
            if matches!(op, Op::Crash | Op::Reopen) {
                engine = Engine::new(show.clone());
            }
            let whole = whole(&play.ledger, &show, *format, play.now);
            for packed in [true, false] {
                let wanted = Wanted { format: *format, packed };
                let scrape = begun(&engine, &play.ledger, wanted, play.now);
                let (text, samples) = finished(&engine, scrape);
                prop_assert_eq!(&text, &whole);
                let lines = whole.lines().filter(|line| !line.starts_with('#'));
                prop_assert_eq!(samples, lines.count() as u64);
            }
        }
    }

    #[test]
    fn scrapes_that_overtake_each_other_show_what_each_of_them_saw(
        setup in setup(), ops in history(60), waits in proptest::collection::vec(0_usize..4, 60),
    ) {
        let mut play = Play::new(&setup);
        let show = show(true, false);
        let engine = Engine::new(show.clone());
        let wanted = Wanted { format: Format::Text, packed: true };
        let mut waiting: Vec<(usize, Scrape, String)> = Vec::new();
        for (op, waits) in ops.iter().zip(&waits) {
            // Revisions begin anew with a ledger that is read from the store.
            if matches!(op, Op::Crash | Op::Reopen) {
                continue;
            }
            play.step(op);
            let whole = whole(&play.ledger, &show, wanted.format, play.now);
            waiting.push((*waits, begun(&engine, &play.ledger, wanted, play.now), whole));
            let (due, later): (Vec<_>, Vec<_>) = waiting.drain(..).partition(|(left, ..)| *left == 0);
            // The one that began last is finished first.
            for (_, scrape, whole) in due.into_iter().rev() {
                let text = finished(&engine, scrape).0;
                let differing = text.lines().zip(whole.lines()).find(|(is, was)| is != was);
                prop_assert_eq!(differing, None);
                prop_assert_eq!(text.len(), whole.len());
            }
            waiting = later.into_iter().map(|(left, scrape, whole)| (left - 1, scrape, whole)).collect();
        }
    }
}
