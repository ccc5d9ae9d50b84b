//! Waiting, by the clock and by the system, and the speed.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::folder::{Folder, texts};
use crate::sources::tail::{Chunk, Tail};

/// Much longer than anything takes that is not waited for by the clock.
const SOON: Duration = Duration::from_secs(5);

fn open(folder: &Folder) -> Tail {
    let mut options = folder.options.clone();
    options.look_every = Duration::from_mins(1);
    Tail::open(options, Vec::new())
}

async fn lines(tail: &mut Tail) -> Vec<String> {
    timeout(SOON, tail.next()).await.map(|chunk: Chunk| texts(&chunk)).unwrap()
}

#[tokio::test]
async fn what_is_written_is_told_without_waiting_for_the_clock() {
    let folder = Folder::new();
    let mut tail = open(&folder);
    assert_eq!(lines(&mut tail).await, [""; 0]);
    for round in 0..5 {
        assert!(timeout(Duration::from_millis(80), tail.next()).await.is_err());
        folder.append("x.log", format!("{round}\n"));
        assert_eq!(lines(&mut tail).await, [format!("{round}")]);
        folder.rotate(3);
    }
    let status = tail.status();
    assert!(status.caught_up);
    assert_eq!((status.bytes_behind, status.problems.len()), (0, 0));
    assert_eq!(status.counters.lines, 5);
}

#[tokio::test]
async fn to_stop_waiting_loses_nothing() {
    let folder = Folder::new();
    let mut tail = open(&folder);
    let mut got = Vec::new();
    for round in 0..200 {
        folder.append("x.log", format!("{round}\n"));
        let patience = Duration::from_micros(fastrand::u64(0..3000));
        if let Ok(chunk) = timeout(patience, tail.next()).await {
            got.extend(texts(&chunk));
        }
    }
    while got.len() < 200 {
        got.extend(lines(&mut tail).await);
    }
    let expected: Vec<_> = (0..200).map(|round| round.to_string()).collect();
    let without_prior: Vec<_> = got.iter().map(|line| line.trim_start_matches('<')).collect();
    assert_eq!(without_prior, expected);
}

#[tokio::test]
async fn a_folder_that_appears_later_is_found_by_the_clock() {
    let mut folder = Folder::new();
    folder.follow(&["logs/"]);
    folder.options.look_every = Duration::from_millis(50);
    let mut tail = Tail::open(folder.options.clone(), Vec::new());
    assert_eq!(lines(&mut tail).await, [""; 0]);
    std::fs::create_dir(folder.path("logs")).unwrap();
    folder.append("logs/x.log", "a\n");
    assert_eq!(lines(&mut tail).await, ["a"]);
}

#[tokio::test]
async fn reading_goes_no_faster_than_allowed() {
    let mut folder = Folder::new();
    folder.options.max_bytes_per_second = 1 << 20;
    let line = "x".repeat(1023) + "\n";
    folder.append("x.log", line.repeat(2048));
    let start = Instant::now();
    let mut tail = open(&folder);
    let mut count = 0;
    while count < 2048 {
        count += lines(&mut tail).await.len();
    }
    let took = start.elapsed();
    // The first second's worth is free, and the last chunk is not waited for.
    assert!(took > Duration::from_millis(600), "{took:?}");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn who_writes_all_the_time_does_not_wake_us_all_the_time() {
    let folder = Folder::new();
    let mut tail = open(&folder);
    lines(&mut tail).await;
    let writer = async {
        for line in 0..500 {
            folder.append("x.log", format!("{line}\n"));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let reader = async {
        let (mut count, mut chunks) = (0, 0);
        while count < 500 {
            count += lines(&mut tail).await.len();
            chunks += 1;
        }
        chunks
    };
    let start = Instant::now();
    let ((), chunks) = tokio::join!(writer, reader);
    let allowed = start.elapsed().as_millis() / 50 * 2 + 4;
    assert!(chunks <= allowed, "{chunks} chunks");
}
