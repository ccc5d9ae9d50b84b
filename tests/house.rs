//! Rooms of the house use each other in one direction only, and what comes from outside has a reason.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by stopping")]

use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms that it may use, besides itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("ledger", &["model"]),
    ("telemetry", &["ledger", "model"]),
    ("store", &["ledger", "model", "telemetry"]),
    ("mongo", &["redact"]),
    ("sources", &["model", "mongo", "store", "telemetry"]),
    ("flush", &["ledger", "model", "mongo", "store", "telemetry"]),
    ("metrics", &["ledger", "model", "telemetry"]),
    ("access", &["logging", "model", "telemetry"]),
    ("server", &["access", "ledger", "logging", "metrics", "model", "store", "telemetry"]),
    ("control", &["access", "ledger", "model", "server", "sources", "store", "telemetry"]),
    ("cli", &[]),
    ("config", &["access", "cli", "flush", "ledger", "logging", "model", "mongo", "sources"]),
    ("backfill", &["cli", "ledger", "metrics", "model", "sources", "telemetry"]),
    ("assets", &["cli", "metrics"]),
    (
        "check",
        &[
            "access",
            "assets",
            "cli",
            "config",
            "healthcheck",
            "logging",
            "metrics",
            "model",
            "mongo",
            "redact",
            "server",
            "sources",
            "store",
        ],
    ),
    ("logging", &["cli", "model", "redact"]),
    ("redact", &[]),
    ("healthcheck", &["cli"]),
];

#[test]
fn rooms_use_each_other_in_one_direction() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for (room, may_use) in MAY_USE {
        for file in files(&src, room) {
            let text = fs::read_to_string(&file).unwrap();
            for used in text.match_indices("crate::").map(|(at, path)| word(&text, at + path.len()))
            {
                let fine = used == *room || may_use.contains(&used) || used == "{";
                assert!(fine, "{} uses {used}", file.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "the test looks at the wrong place: {seen} uses");
}

#[test]
fn metric_names_stand_in_the_metrics_room_alone() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (room, _) in MAY_USE.iter().filter(|(room, _)| *room != "metrics") {
        for file in files(&src, room) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(!text.contains("\"mozaiks_"), "{} names a metric", file.display());
        }
    }
}

/// The table in ARCHITECTURE.md names what Cargo.toml names, and what tests and benchmarks alone need.
#[test]
fn each_dependency_has_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let mut needed: Vec<(bool, String)> = Vec::new();
    for section in manifest.split("\n[") {
        let dev = section.starts_with("dev-dependencies]");
        if dev || section.starts_with("dependencies]") {
            let lines = section.lines().skip(1).filter_map(|line| line.split_once(" = "));
            needed.extend(lines.map(|(name, _)| (dev, name.to_owned())));
        }
    }
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let (_, table) = text.split_once("\n## Dependencies\n").unwrap();
    let mut explained: Vec<(bool, String)> = Vec::new();
    // Below its head.
    for row in table.lines().filter_map(|line| line.strip_prefix("| ")).skip(2) {
        let (names, reason) = row.split_once(" | ").unwrap();
        assert!(reason.trim_end_matches(" |").len() > 3, "{names} has no reason");
        let dev = names.ends_with(" only)");
        // What stands in brackets says which features, or who needs it.
        let mut plain = String::new();
        let mut depth = 0_u32;
        for c in names.chars() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ if depth == 0 => plain.push(c),
                _ => {}
            }
        }
        explained.extend(plain.split(',').map(|name| (dev, name.trim().to_owned())));
    }
    needed.sort_unstable();
    explained.sort_unstable();
    assert!(needed.len() > 40, "the test looks at the wrong place: {needed:?}");
    assert_eq!(needed, explained, "Cargo.toml, and the table in ARCHITECTURE.md");
}

fn files(src: &Path, room: &str) -> Vec<PathBuf> {
    let file = src.join(format!("{room}.rs"));
    if file.exists() {
        return vec![file];
    }
    let mut found = Vec::new();
    let mut open = vec![src.join(room)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

fn word(text: &str, at: usize) -> &str {
    let rest = text.split_at(at).1;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    if end == 0 { rest.split_at(1).0 } else { rest.split_at(end).0 }
}
