//! How many bytes a second redaction takes in: clean lines, lines as runtimes write them, and
//! texts that are made to be slow. `cargo bench --bench redact`.

use divan::Bencher;
use divan::counter::BytesCount;

use mozaiks_exporter::redact::{filter, redact};

fn main() {
    divan::main();
}

/// Each text is about that long, in bytes.
const LENGTH: usize = 10_000_000;

fn repeated(piece: &str) -> String {
    piece.repeat(LENGTH / piece.len())
}

/// Lines of a log without anything to look at.
fn clean() -> String {
    let mut lines = String::with_capacity(LENGTH);
    for chat in 0_u32.. {
        lines.push_str("2026-11-22T01:47:03.592160+00:00 INFO mozaiks.workflow - Starting chat ");
        lines.push_str(&chat.to_string());
        lines.push_str(" in workflow orders, 3 turns, 17 tools, 812 ms\n");
        if lines.len() >= LENGTH {
            break;
        }
    }
    lines
}

/// What the runtime writes: nearly every line counts tokens, some hold keys.
fn recorded() -> String {
    repeated(
        &[
            include_str!("../tests/fixtures/redact/mozaiks.log"),
            include_str!("../tests/fixtures/redact/ag2_runtime.log"),
        ]
        .concat(),
    )
}

fn measure(bencher: Bencher<'_, '_>, text: &str) {
    bencher.counter(BytesCount::of_str(text)).bench(|| redact(divan::black_box(text)).len());
}

#[divan::bench(sample_count = 20)]
fn clean_lines(bencher: Bencher<'_, '_>) {
    measure(bencher, &clean());
}

#[divan::bench(sample_count = 20)]
fn recorded_lines(bencher: Bencher<'_, '_>) {
    measure(bencher, &recorded());
}

#[divan::bench(sample_count = 20)]
fn recorded_lines_as_a_stream(bencher: Bencher<'_, '_>) {
    let text = recorded();
    bencher.counter(BytesCount::of_str(&text)).bench(|| {
        let mut out = Vec::with_capacity(text.len());
        filter(text.as_bytes(), &mut out).map(|()| out.len())
    });
}

/// Pieces that, repeated on one line, make careless searches quadratic.
const ADVERSARIAL: &[&str] = &[
    "sk-",
    "asig=",
    "eyJ-",
    "aeyJ",
    "token",
    "token.",
    "password=",
    "password: ",
    "auth: {\"",
    "{\"token\":",
    "{\"token\":[\"",
    "\"",
    "\\\"",
    "\\",
    "'",
    "token='",
    "token=\"\" ",
    "://",
    "a:b@",
    "redis://:@",
    "Bearer ",
    "Basic A",
    "Authorization: Digest \"",
    ",a=",
    "token=,a=",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\"",
    "{\"a\":",
    "key",
    " --password",
];

#[divan::bench(args = ADVERSARIAL, sample_count = 3)]
fn adversarial(bencher: Bencher<'_, '_>, piece: &str) {
    measure(bencher, &repeated(piece));
}

/// Private keys that begin on each line and never end.
#[divan::bench(sample_count = 3)]
fn private_keys_begun(bencher: Bencher<'_, '_>) {
    measure(bencher, &repeated("-----BEGIN PRIVATE KEY-----\n"));
}
