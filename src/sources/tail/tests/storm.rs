//! A writer that rotates every few milliseconds, and a reader that dies every few more.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::folder::{Folder, texts};
use crate::sources::tail::Tail;

/// How long the storm lasts.
const STORM: Duration = Duration::from_secs(3);
/// More than are made in that time: nothing is deleted unread.
const KEEP: usize = 1000;

/// Writes numbered lines and rotates, and returns how many lines there are.
fn write(folder: &Folder, copies: bool) -> u64 {
    let end = Instant::now() + STORM;
    let mut lines = 0;
    while Instant::now() < end {
        let mut text = String::new();
        for _ in 0..fastrand::u64(1..30) {
            lines += 1;
            let filling = "x".repeat(fastrand::usize(0..200));
            writeln!(text, "{lines} {filling}").unwrap();
        }
        folder.append("x.log", text);
        if fastrand::u8(0..4) == 0 {
            if copies { folder.copy_and_cut(KEEP) } else { folder.rotate(KEEP) }
        }
        // The writer is another process in real life.
        thread::park_timeout(Duration::from_millis(fastrand::u64(0..12)));
    }
    lines
}

/// Follows the file, dies at random, and returns the numbers in the order in which they came.
async fn follow(folder: &Folder, is_over: &AtomicBool) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut kept = BTreeMap::new();
    let mut options = folder.options.clone();
    options.max_bytes_per_second = 0;
    loop {
        let mut tail = Tail::open(options.clone(), kept.clone().into_iter().collect());
        let dies_at = Instant::now() + Duration::from_millis(fastrand::u64(1..120));
        loop {
            let was_over = is_over.load(Ordering::Relaxed);
            let patience = Duration::from_millis(if was_over { 600 } else { 150 });
            let Ok(chunk) = tokio::time::timeout(patience, tail.next()).await else {
                if was_over {
                    return numbers;
                }
                break;
            };
            if !was_over && Instant::now() > dies_at {
                break;
            }
            let lines = texts(&chunk);
            let number =
                |line: &String| line.trim_start_matches('<').split(' ').next()?.parse::<u64>().ok();
            numbers.extend(lines.iter().map(|line| number(line).unwrap_or(u64::MAX)));
            for (key, place) in chunk.places {
                match place {
                    Some(place) => kept.insert(key, place),
                    None => kept.remove(&key),
                };
            }
        }
    }
}

fn storm(copies: bool) {
    let folder = Folder::new();
    folder.append("x.log", "");
    let folder = Arc::new(folder);
    let is_over = Arc::new(AtomicBool::new(false));
    let writer = thread::spawn({
        let (folder, is_over) = (Arc::clone(&folder), Arc::clone(&is_over));
        move || {
            let lines = write(&folder, copies);
            is_over.store(true, Ordering::Relaxed);
            lines
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let numbers = runtime.block_on(follow(&folder, &is_over));
    let lines = writer.join().unwrap();
    assert!(lines > 1000, "{lines}");
    let wrong = numbers.iter().zip(1..).position(|(number, expected)| *number != expected);
    assert_eq!(wrong.map(|at| &numbers[at.saturating_sub(3)..(at + 4).min(numbers.len())]), None);
    assert_eq!(numbers.len() as u64, lines);
}

#[test]
fn a_storm_of_renames_loses_repeats_and_mixes_nothing() {
    storm(false);
}

#[test]
fn a_storm_of_copies_loses_repeats_and_mixes_nothing() {
    storm(true);
}
