//! What is fuzzed: each parser of foreign bytes, and what must hold whatever the bytes are.
//!
//! A target takes bytes and returns, or it panics and has found something. The same functions are run
//! by libFuzzer (`fuzz/fuzz_targets`) and, over mutations of what was recorded, by `tests/fuzz.rs`.

use std::fmt::Debug;

use mongodb::bson::RawDocument;
use mozaiks_exporter::config::Config;
use mozaiks_exporter::model::{
    ChatSnapshot, Counters, Hear, Heard, Instant, Mark, Mono, NameRule, Timestamp,
};
use mozaiks_exporter::redact::{filter, redact};
use mozaiks_exporter::server::negotiate;
use mozaiks_exporter::sources::scrape::{Last, Roll, Shape, Told};
use mozaiks_exporter::sources::{ag2, logs, mongodb as stored, receive, scrape};

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("snapshot", snapshot),
    ("events", events),
    ("usage", usage),
    ("log_line", log_line),
    ("ag2_lines", ag2_lines),
    ("document", document),
    ("configuration", configuration),
    ("accept", accept),
    ("redaction", redaction),
];

/// Shorter than most inputs, so that names have to be cut.
const LONGEST_NAME: usize = 64;
/// Whatever is made of one item holds a dozen names and numbers, here with all of them escaped.
const LARGEST: usize = 16 << 10;
/// As the control listener takes at once, and fewer.
const MOST_ITEMS: usize = 100;
/// A time that is not the beginning of time.
const NOW: Timestamp = Timestamp(1_795_312_000_000_000);

fn names() -> NameRule {
    NameRule::new(LONGEST_NAME)
}

/// What is kept or said of an input does not grow with it.
fn is_bounded(what: &impl Debug) {
    let size = format!("{what:?}").len();
    assert!(size <= LARGEST, "{size} bytes are made of one item");
}

fn chat_is_sound(chat: &ChatSnapshot<'_>) {
    assert!(!chat.chat_id.is_empty(), "a chat without an id");
    for name in [&chat.chat_id, &chat.app_id, &chat.workflow_name, &chat.user_id] {
        assert!(name.len() <= LONGEST_NAME && !name.contains('\0'), "{name:?}");
    }
    assert!(chat.last_turn_seconds.is_none_or(|seconds| seconds.is_finite() && seconds >= 0.0));
}

/// Writes down what it is told, and knows all of it again.
#[derive(Default)]
struct Notes {
    said: Vec<String>,
    still: usize,
}

impl Hear for &mut Notes {
    fn say(&mut self, snapshot: &ChatSnapshot<'_>) -> Option<Mark> {
        self.said.push(format!("{snapshot:?}"));
        let started_at = snapshot.started_at.unwrap_or_default();
        Some(Mark { no: 1, started_at, last_turn_seconds: snapshot.last_turn_seconds })
    }

    fn still(&mut self, _: &Mark) -> bool {
        self.still += 1;
        true
    }

    fn end(self) -> Heard {
        Heard { sum: Counters::default(), distinct: true }
    }
}

/// The routes of the runtime. The walk and the parser that it stands for have one opinion; what is told
/// again is known again.
pub fn snapshot(body: &[u8]) {
    is_bounded(&scrape::process_created(body));
    is_bounded(&scrape::health(body));
    if let Ok(told) = scrape::single(body, names()) {
        told.chats.iter().for_each(chat_is_sound);
    }
    for (shape, plain) in [
        (Shape::Aggregate, scrape::aggregate(body, names())),
        (Shape::Chats, scrape::chats(body, names())),
    ] {
        let mut last = Last::default();
        let walked = Roll::read(body, shape, &mut last, names(), true);
        assert_eq!(plain.is_ok(), walked.is_ok(), "{shape:?}: one of two takes it");
        let (Ok(plain), Ok(walked)) = (plain, walked) else { continue };
        plain.chats.iter().for_each(chat_is_sound);
        same(&plain, &walked.told);
        let mut first = Notes::default();
        walked.tell(&mut last, &mut first);
        let chats: Vec<String> = plain.chats.iter().map(|chat| format!("{chat:?}")).collect();
        assert_eq!(first.said, chats, "{shape:?}: other chats");
        let again = Roll::read(body, shape, &mut last, names(), false);
        let again = again.expect("what was taken is taken again");
        let mut second = Notes::default();
        again.tell(&mut last, &mut second);
        assert_eq!(second.still + second.said.len(), chats.len(), "{shape:?}: a chat is lost");
    }
}

/// All but the chats.
fn same(plain: &Told<'_>, walked: &Told<'_>) {
    assert_eq!(plain.refused, walked.refused);
    assert_eq!(plain.unreadable, walked.unreadable);
    assert_eq!(plain.ignored, walked.ignored);
    assert_eq!(plain.stated, walked.stated);
}

/// Pushed events: a body, and each item of it.
pub fn events(body: &[u8]) {
    let reader = receive::Reader { runtime: "main", names: names(), failed_calls_count: false };
    let now = Instant { wall: NOW, mono: Mono(0) };
    for shape in [receive::Shape::Json, receive::Shape::Lines] {
        let items = match receive::items(body, shape, MOST_ITEMS) {
            Ok(items) => items,
            Err(error) => {
                is_bounded(&error.to_string());
                continue;
            }
        };
        assert!(items.len() <= MOST_ITEMS, "{} items", items.len());
        assert!(items.get(items.len()).is_none());
        for index in 0..items.len() {
            let item = items.get(index).expect("it is one of them");
            match receive::read(&item, reader, now) {
                Ok(read) => is_bounded(&read),
                Err(error) => is_bounded(&error.to_string()),
            }
        }
        if shape == receive::Shape::Json
            && let Ok(values) = serde_json::from_slice::<Vec<serde_json::Value>>(body)
        {
            assert_eq!(values.len(), items.len(), "an array has other items than its own");
        }
    }
}

/// The runtime's usage summaries.
pub fn usage(body: &[u8]) {
    match receive::summary(body, "main", names()) {
        Ok(summary) => {
            chat_is_sound(&summary.snapshot);
            is_bounded(&summary.id);
        }
        Err(error) => is_bounded(&error.to_string()),
    }
}

/// A line of the runtime's log, of either form.
pub fn log_line(line: &[u8]) {
    let read = logs::read(line, names(), NOW);
    if let logs::Read::Line(line) = &read {
        assert!((1..=LONGEST_NAME).contains(&line.logger.len()), "{:?}", line.logger);
        is_bounded(&line.event);
        assert!(line.event.is_none() || !line.echo, "what we caused ourselves counts");
    }
    // What is read in its usual form is read the same in an unusual one.
    if let Some(rest) = line.strip_prefix(br#"{"ts""#)
        && matches!(read, logs::Read::Line(_))
        && serde_json::from_slice::<Unique>(line).is_ok()
    {
        let unusual = [br#"{"\u0074s""#, rest].concat();
        assert_eq!(read, logs::read(&unusual, names(), NOW), "a form counts");
    }
    // A line break of another system changes nothing.
    if line.last() != Some(&b'\r') {
        let ended = [line, b"\r"].concat();
        assert_eq!(read, logs::read(&ended, names(), NOW), "a line break counts");
    }
}

/// An object that says nothing twice, and whatever is in it.
struct Unique;

impl<'de> serde::Deserialize<'de> for Unique {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> serde::de::Visitor<'de> for Keys {
            type Value = Unique;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Unique, A::Error> {
                let mut seen = std::collections::BTreeSet::new();
                while let Some((key, _)) = map.next_entry::<String, serde_json::Value>()? {
                    if !seen.insert(key) {
                        return Err(serde::de::Error::custom("a key stands twice"));
                    }
                }
                Ok(Unique)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// AG2's log: lines that follow each other.
pub fn ag2_lines(text: &[u8]) {
    let mut lines = ag2::Lines::new(names(), None);
    for line in text.split(|byte| *byte == b'\n') {
        let mut from_here = ag2::Lines::new(names(), lines.session());
        assert_eq!(lines.session(), from_here.session(), "a session is kept as it was");
        let read = lines.read(line, NOW);
        assert_eq!(read, from_here.read(line, NOW), "who goes on reads something else");
        is_bounded(&read);
        assert!(lines.session().is_none_or(|id| (1..=LONGEST_NAME).contains(&id.len())));
    }
}

/// A document of MongoDB, as it comes over the wire.
pub fn document(bytes: &[u8]) {
    let Ok(document) = RawDocument::from_bytes(bytes) else { return };
    is_bounded(&stored::wire::updated_at(document));
    if let Ok(told) = stored::wire::read(document, names()) {
        chat_is_sound(&told.chat);
    }
}

/// The configuration file.
pub fn configuration(text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    if let Err(problem) = Config::understood(&text) {
        is_bounded(&problem);
        assert!(!problem.trim().is_empty(), "refused without a word");
    }
}

/// `Accept` and `Accept-Encoding`.
pub fn accept(value: &[u8]) {
    use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, HeaderValue};
    let said = |value: &[u8]| {
        let value = HeaderValue::from_bytes(value).ok()?;
        // What is no text counts as not said.
        let is_said = value.to_str().is_ok_and(|text| !text.trim().is_empty());
        let headers: HeaderMap =
            [(ACCEPT, value.clone()), (ACCEPT_ENCODING, value)].into_iter().collect();
        Some((is_said, negotiate::format(&headers), negotiate::takes_gzip(&headers)))
    };
    let Some((is_said, format, gzip)) = said(value) else { return };
    if !is_said {
        assert!(format.is_some() && !gzip, "who says nothing gets plain text");
        return;
    }
    // One more range that nobody serves changes nothing.
    assert_eq!(Some((true, format, gzip)), said(&[value, b",image/png"].concat()));
    // Nor does whether a first one is empty, as long as all are read.
    if value.split(|byte| *byte == b',').count() < 20 {
        assert_eq!(Some((true, format, gzip)), said(&[b",", value].concat()));
    }
}

/// Redaction of text, of streams, and of text in front of a secret.
pub fn redaction(bytes: &[u8]) {
    const SECRET: &str = "sk-proj-Zq8vT3nXb1LmR7wKd5Yc2HfJ9sGp4EuA";
    let text = String::from_utf8_lossy(bytes);
    let once = redact(&text);
    assert_eq!(text.lines().count(), once.lines().count(), "lines come or go");
    let mut streamed = Vec::new();
    filter(text.as_bytes(), &mut streamed).expect("memory takes everything");
    assert_eq!(once.as_bytes(), streamed, "a stream is redacted otherwise");
    // It may have been found in here by the fuzzer, and stand where nobody would see a secret.
    if text.contains(SECRET) {
        return;
    }
    for planted in [format!("{text}\n{SECRET}\n"), format!("{text}\napi_key={SECRET}\nmore\n")] {
        assert!(!redact(&planted).contains(SECRET), "a secret is shown");
    }
}
