//! Follows files line by line, without losing or repeating one.
//!
//! Knows bytes, lines, files and places; nothing of what lines mean. Whoever takes a [`Chunk`] keeps
//! its places in one transaction with what the lines meant, and asks for the next one after that.
//! What was not kept is handed out again after a restart, what was kept never is.
//!
//! # What is followed
//!
//! Files that [`Pattern`]s name, and their rotated siblings (`X.log.3`, `X.log-20260118`) as long as
//! they exist. In a family of siblings the oldest is read first, each to its end before the next,
//! so lines come in the order in which one writer wrote them.
//!
//! On the very first start what is there is read or skipped ([`Backlog`]); a line that ended by then
//! is *prior*. Later, a file without a kept place is new and is read from its start.
//!
//! # How a file is known again
//!
//! By its inode, by when it was made (where the file system remembers), by a digest of its first
//! KiB and one of the 256 bytes before the place. `reconcile.rs` says in which order these decide. The
//! content is compared when a file changed, and after each reading.
//!
//! * Renamed, several times, while we were down: the inode goes with it.
//! * Deleted, and the inode used again: another birth, or other content.
//! * Copied and cut (logrotate's `copytruncate`): the place goes over to the copy, and the cut file is
//!   new. A copy that is there while its original is not cut yet (it may still be written) is known
//!   by being a whole prefix of the original and made after it: it waits, and is not read.
//! * Cut by a crash of the machine: it goes on at its end.
//! * Moved to another disk, or the devices were renumbered: the content says it.
//!
//! # Limits
//!
//! * Two files with the same bytes up to the place are told apart only by inode and birth. So a file
//!   that is cut and then written with the very same bytes, past the place, is not seen to be cut; and
//!   where births are not known, a new file with the inode of a deleted one and the same beginning
//!   goes on at the old place. Lines that carry the time do not do that.
//! * Bytes are lost that are written between copying and cutting, unless we read them before: that
//!   is in the nature of `copytruncate`. So are the unread ones of a file that is deleted while we are
//!   down, or rotated into a compressed one. A deleted file that we know of is held open and read
//!   to its end; that keeps its disk space until then.
//! * A copy of less than a KiB that ends before the place, made and cut between two looks, is read
//!   again.
//! * A copy under a name of its own (`cp X.log Y.log`) is a file of its own.
//! * A line is what ends in `\n`. A file that was rotated away without one at its end is given
//!   five seconds to get it; then what is there is a line, and what comes after another. A line that
//!   was too long but had not ended is searched anew after a restart.
//! * Of more than 1,000 files the current ones and the youngest are followed.
//! * A place is forgotten ten minutes after its file is gone, if other followed files lie in its
//!   folder (else the disk may not be mounted), or when 2,000 are known.

mod chunk;
mod copies;
mod discover;
mod follower;
mod look;
mod pattern;
mod place;
mod read;
mod reconcile;
mod rotation;
mod survey;
#[cfg(test)]
mod tests;
mod track;
mod upkeep;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

pub use chunk::{Chunk, Line};
use follower::{Follower, Taken};
pub use pattern::{Pattern, PatternError};
pub use survey::{Present, survey};
use watch::{Events, Watches};

/// While something is written all the time, files are looked at no more often.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// No more than this share of the time is spent on looking (one twentieth), if that leaves a look
/// in [`Options::look_every`].
const SHARE: u32 = 20;
/// While there is much to read, other files are looked at so often.
const LOOK_WHILE_READING: Duration = Duration::from_secs(1);
/// So much of the allowed speed may be used at once.
const BURST: Duration = Duration::from_secs(1);

/// What to do, on the very first start, with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backlog {
    /// Read it all, marked as prior.
    #[default]
    Read,
    /// Begin at the ends.
    Skip,
}

/// What to follow, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which files.
    pub patterns: Vec<Pattern>,
    /// Files that are not followed, nor their siblings, whatever matches them.
    pub exclude: Vec<PathBuf>,
    /// Longest line that is handed out, in bytes; memory is needed for one.
    pub max_line_bytes: usize,
    /// What to do with what is there on the very first start.
    pub backlog: Backlog,
    /// Bytes read per second, at most, over more than a second; 0 is as fast as it goes.
    pub max_bytes_per_second: u64,
    /// How often to look even if nothing seems to have happened.
    pub look_every: Duration,
    /// How often to look where the system does not say what happens: on network file systems.
    pub poll_every: Duration,
}

impl Options {
    /// Follows these, with lines up to 1 MiB, at no more than 32 MiB a second.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self {
            patterns,
            exclude: Vec::new(),
            max_line_bytes: 1 << 20,
            backlog: Backlog::Read,
            max_bytes_per_second: 32 << 20,
            look_every: Duration::from_secs(10),
            poll_every: Duration::from_secs(1),
        }
    }
}

/// What was done since this process started. All only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Lines handed out.
    pub lines: u64,
    /// Bytes that were handed out or skipped.
    pub bytes: u64,
    /// Lines that were too long.
    pub too_long: u64,
    /// Files that were renamed to an older name while they were followed.
    pub rotations: u64,
    /// Files that were cut, or set back, with or without a copy.
    pub truncations: u64,
}

/// Something that cannot be read, or looked for, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub path: PathBuf,
    /// Why.
    pub error: String,
}

/// How far the tail has got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// What was done.
    pub counters: Counters,
    /// Bytes still to be handed out, as last seen.
    pub bytes_behind: u64,
    /// Files that are followed and there.
    pub files: usize,
    /// Everything that was there at the first look was handed out. Stays true.
    pub caught_up: bool,
    /// What stands in the way; they are retried.
    pub problems: Vec<Problem>,
}

/// Follows files.
#[derive(Debug)]
pub struct Tail {
    /// Away while it works.
    engine: Option<Box<Engine>>,
    /// A piece of work that goes on even if nobody waits for it.
    work: Option<JoinHandle<(Box<Engine>, Taken)>>,
    events: Option<Events>,
    status: Status,
    look: bool,
    last_look: Option<Instant>,
    /// By when what was read is paid for.
    paid_at: Instant,
    max_bytes_per_second: u64,
    look_every: Duration,
    poll_every: Duration,
}

/// All that reads files: may block.
#[derive(Debug)]
struct Engine {
    follower: Follower,
    watches: Watches,
    took: Duration,
}

impl Engine {
    fn step(&mut self, look: bool) -> Taken {
        let start = Instant::now();
        if look {
            self.follower.look(start.into_std());
            if self.watches.watch(&self.follower.folders) {
                self.follower.look(start.into_std());
            }
            self.took = start.elapsed();
        }
        self.follower.take(Instant::now().into_std())
    }
}

impl Tail {
    /// Follows files from the places that were kept, by key, from the last run; none on the very
    /// first start. Looks at nothing yet.
    pub fn open(options: Options, kept: Vec<(String, String)>) -> Self {
        let now = Instant::now();
        let Options { max_bytes_per_second, look_every, poll_every, .. } = options;
        let follower = Follower::new(options, kept, now.into_std());
        let engine = Engine { follower, watches: Watches::new(), took: Duration::ZERO };
        Self {
            engine: Some(Box::new(engine)),
            work: None,
            events: None,
            status: Status::default(),
            look: true,
            last_look: None,
            paid_at: now,
            max_bytes_per_second,
            look_every,
            poll_every,
        }
    }

    /// How far it has got.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// The next lines, or places to keep. Waits until there are some.
    ///
    /// To ask again says that everything that was handed out before is kept. To stop waiting loses
    /// nothing. A chunk that could not be kept must not be followed by another: open the tail anew.
    pub async fn next(&mut self) -> Chunk {
        loop {
            if self.work.is_none() {
                sleep_until(self.paid_at).await;
                self.start();
            }
            let Some(work) = self.work.as_mut() else { continue };
            let (engine, taken) = match work.await {
                Ok(done) => done,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime goes down, and we with it.
                    Err(_) => std::future::pending().await,
                },
            };
            self.work = None;
            self.finish(engine);
            match taken {
                Taken::Chunk(chunk) => {
                    self.pay(chunk.bytes());
                    return chunk;
                }
                Taken::Searched(bytes) => self.pay(bytes),
                Taken::Nothing => self.wait().await,
            }
        }
    }

    /// Starts a piece of work.
    fn start(&mut self) {
        let Some(mut engine) = self.engine.take() else { return };
        let is_due = self.last_look.is_none_or(|last| last.elapsed() >= LOOK_WHILE_READING);
        let look = std::mem::take(&mut self.look) || is_due;
        if look {
            self.last_look = Some(Instant::now());
        }
        // A network file system can take its time; scrapes must not wait for it.
        self.work = Some(spawn_blocking(move || {
            let taken = engine.step(look);
            (engine, taken)
        }));
    }

    fn finish(&mut self, engine: Box<Engine>) {
        let follower = &engine.follower;
        self.status = Status {
            counters: follower.counters,
            bytes_behind: follower.bytes_behind(),
            files: follower.files(),
            caught_up: follower.is_caught_up(),
            problems: follower.problems(),
        };
        self.engine = Some(engine);
    }

    /// Waits until it is worth looking again. Whoever stops waiting changes nothing.
    async fn wait(&mut self) {
        let Some(engine) = self.engine.as_ref() else { return };
        if self.events.is_none() {
            self.events = engine.watches.events();
        }
        let needs_clock = engine.watches.needs_clock() || self.events.is_none();
        let every = if needs_clock { self.poll_every } else { self.look_every };
        let last = self.last_look.unwrap_or_else(Instant::now);
        let share = engine.took.saturating_mul(SHARE).min(self.look_every);
        let earliest = last + SHORTEST_PAUSE.max(share);
        let mut latest = last + every;
        if let Some(at) = engine.follower.wake_at() {
            latest = latest.min(Instant::from_std(at));
        }
        if engine.follower.again {
            latest = earliest;
        }
        if let Some(events) = &self.events {
            tokio::select! {
                () = events.happened() => {
                    sleep_until(earliest).await;
                    events.drain();
                }
                () = sleep_until(latest.max(earliest)) => {}
            }
        } else {
            sleep_until(latest.max(earliest)).await;
        }
        self.look = true;
    }

    fn pay(&mut self, bytes: u64) {
        if self.max_bytes_per_second == 0 {
            return;
        }
        let now = Instant::now();
        let since = now.checked_sub(BURST).unwrap_or(now);
        let micros = bytes.saturating_mul(1_000_000) / self.max_bytes_per_second;
        self.paid_at = self.paid_at.max(since) + Duration::from_micros(micros);
    }
}
