//! What is fuzzed, without a fuzzer: everything that was recorded, what once made trouble, and some
//! hundred mutations of both for each target of `fuzz/targets.rs`.
//!
//! `PROPTEST_CASES=100000 cargo test --release --test fuzz` looks longer, `tests/fuzz.sh` longest.
//! `FUZZ_SEEDS=DIR cargo test --test fuzz seeds` writes what the fuzzer begins with.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by stopping")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestError, TestRunner};

#[path = "fuzz/seeds.rs"]
mod seeds;
#[expect(unreachable_pub, reason = "the fuzzer's programs have them from a library")]
#[path = "../fuzz/targets.rs"]
mod targets;

use targets::TARGETS;

/// Larger inputs are for the fuzzer: these are tried some thousand times without optimisation.
const LARGEST: usize = 8 << 10;

/// What formats are made of, and what breaks them.
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ",",
    ":",
    "null",
    "true",
    "NaN",
    "Infinity",
    "-",
    "1e999",
    "1e-9",
    "0.1",
    "-1",
    "18446744073709551616",
    "9007199254740993",
    "\\u0000",
    "\\ud800",
    "\\u0022",
    "\n",
    "\r\n",
    "\t",
    " ",
    "\0",
    "\u{feff}",
    "é",
    "\u{1f9e9}",
    "\"chat_id\": ",
    "\"chat_id\":\"\"",
    "\"chats\":[",
    "\"cost\":",
    "\"extra\": {",
    "\"ts\": \"",
    "ERROR",
    "agent_turn",
    "2026-11-22T01:45:51+00:00",
    "- ",
    ": ",
    "&a ",
    "*a",
    "!!binary ",
    "q=0",
    ";",
    "*/*",
    "text/plain",
    "password=",
    "sk-",
    "Bearer ",
    "-----BEGIN PRIVATE KEY-----",
    "://",
    "@",
];

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Edit {
    Put(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Copy(Index, Index, usize),
    End(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>;
    prop_oneof![
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Edit::Put(at, byte)),
        4 => (at(), select(WORDS)).prop_map(|(at, word)| Edit::Insert(at, word.into())),
        1 => (at(), vec(any::<u8>(), 1..5)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => (at(), 1_usize..200).prop_map(|(at, n)| Edit::Insert(at, vec![b'x'; n])),
        3 => (at(), 1_usize..30).prop_map(|(at, n)| Edit::Remove(at, n)),
        3 => (at(), at(), 1_usize..300).prop_map(|(from, to, n)| Edit::Copy(from, to, n)),
        1 => at().prop_map(Edit::End),
    ]
}

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let place = |at: &Index| at.index(bytes.len() + 1);
        let until = |from: usize, size: usize| bytes.len().min(from + size);
        match edit {
            Edit::Put(at, byte) => {
                let at = place(at);
                if let Some(there) = bytes.get_mut(at) {
                    *there = *byte;
                }
            }
            Edit::Insert(at, new) => {
                let at = place(at);
                bytes.splice(at..at, new.iter().copied());
            }
            Edit::Remove(at, size) => {
                let at = place(at);
                let end = until(at, *size);
                bytes.drain(at..end);
            }
            Edit::Copy(from, to, size) => {
                let (from, to) = (place(from), place(to));
                let part: Vec<u8> = bytes[from..until(from, *size)].to_vec();
                bytes.splice(to..to, part);
            }
            Edit::End(at) => bytes.truncate(place(at)),
        }
    }
    bytes
}

/// What once made trouble, by target.
fn regressions(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions").join(name);
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let paths = files.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn seeds_and_what_once_made_trouble_pass() {
    let written = std::env::var_os("FUZZ_SEEDS").map(PathBuf::from);
    let known: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for (name, target) in TARGETS {
        let seeds = seeds::of(name);
        assert!(seeds.len() >= 10, "{name} has {} seeds", seeds.len());
        for (number, seed) in seeds.iter().enumerate() {
            target(seed);
            if let Some(folder) = &written {
                fs::create_dir_all(folder.join(name)).unwrap();
                fs::write(folder.join(name).join(format!("seed-{number}")), seed).unwrap();
            }
        }
        for (_, bytes) in regressions(name) {
            target(&bytes);
        }
    }
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/regressions");
    for folder in fs::read_dir(kept).into_iter().flatten() {
        let name = folder.unwrap().file_name();
        assert!(known.contains(name.to_str().unwrap()), "{} is no target", name.display());
    }
}

/// Each has a file for the fuzzer and a place in its manifest.
#[test]
fn the_fuzzer_knows_each_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let file = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(file.contains(&format!("targets::{name}(data)")), "{name}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
    assert_eq!(fs::read_dir(folder.join("fuzz_targets")).unwrap().count(), TARGETS.len());
}

#[test]
fn mutations_pass() {
    for (name, target) in TARGETS {
        let seeds: Vec<Vec<u8>> =
            seeds::of(name).into_iter().filter(|seed| seed.len() <= LARGEST).collect();
        let inputs = (any::<Index>(), vec(edit(), 0..8));
        let inputs = inputs.prop_map(|(seed, edits)| edited(seed.get(&seeds).clone(), &edits));
        // Files of failures would lie about: what was found is put among the regressions.
        let config = Config { failure_persistence: None, ..Config::default() };
        let tried = TestRunner::new(config).run(&inputs, |bytes| {
            target(&bytes);
            Ok(())
        });
        match tried {
            Ok(()) => {}
            Err(TestError::Fail(reason, bytes)) => {
                panic!("{name}: {reason}: b\"{}\"", bytes.escape_ascii())
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}
