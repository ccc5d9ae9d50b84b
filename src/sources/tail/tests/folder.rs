//! A folder of log files, and someone who follows them by hand.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sources::tail::discover::Listing;
use crate::sources::tail::follower::{Follower, Taken};
use crate::sources::tail::track::open;
use crate::sources::tail::{Backlog, Chunk, Line, Options, Pattern};

impl Follower {
    /// As on a file system that does not remember when a file was made.
    pub(in crate::sources::tail) fn without_births(&self, mut listing: Listing) -> Listing {
        if self.is_blind_to_births {
            listing.found.iter_mut().for_each(|found| found.born = None);
        }
        listing
    }
}

/// Opens no file beside which lies another with `.denied` at the end of its name. As permissions
/// do, but also for root.
fn open_unless_denied(path: &Path) -> io::Result<File> {
    let mut denied = path.as_os_str().to_owned();
    denied.push(".denied");
    if Path::new(&denied).exists() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    open(path)
}

pub(super) struct Folder {
    dir: tempfile::TempDir,
    pub(super) options: Options,
    pub(super) kept: BTreeMap<String, String>,
    pub(super) follower: Option<Follower>,
    pub(super) now: Instant,
    pub(super) is_blind_to_births: bool,
    pub(super) chunk_bytes: Option<usize>,
}

impl Folder {
    /// `x.log` is followed.
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new(vec![pattern(&dir.path().join("x.log"))]);
        Self {
            dir,
            options,
            kept: BTreeMap::new(),
            follower: None,
            now: Instant::now(),
            is_blind_to_births: false,
            chunk_bytes: None,
        }
    }

    pub(super) fn follow(&mut self, patterns: &[&str]) {
        self.options.patterns = patterns.iter().map(|name| pattern(&self.path(name))).collect();
    }

    pub(super) fn skipping(mut self) -> Self {
        self.options.backlog = Backlog::Skip;
        self
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    pub(super) fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    pub(super) fn cut(&self, name: &str) {
        OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(0).unwrap();
    }

    /// As `RotatingFileHandler` does it, which keeps `keep` old files.
    pub(super) fn rotate(&self, keep: usize) {
        self.shift(keep);
        self.rename("x.log", "x.log.1");
        self.append("x.log", "");
    }

    /// As logrotate does it with `copytruncate`.
    pub(super) fn copy_and_cut(&self, keep: usize) {
        self.shift(keep);
        self.copy("x.log", "x.log.1");
        self.cut("x.log");
    }

    fn shift(&self, keep: usize) {
        for age in (1..=keep).rev() {
            let from = self.path(&format!("x.log.{age}"));
            if !from.exists() {
                continue;
            }
            if age == keep {
                fs::remove_file(from).unwrap();
            } else {
                fs::rename(from, self.path(&format!("x.log.{}", age + 1))).unwrap();
            }
        }
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// Dies; the next one starts from what was kept.
    pub(super) fn kill(&mut self) {
        self.follower = None;
    }

    pub(super) fn follower(&mut self) -> &mut Follower {
        let kept = &self.kept;
        let (options, now) = (&self.options, self.now);
        let (chunk_bytes, is_blind) = (self.chunk_bytes, self.is_blind_to_births);
        self.follower.get_or_insert_with(|| {
            let kept = kept.iter().map(|(key, place)| (key.clone(), place.clone())).collect();
            let mut follower = Follower::new(options.clone(), kept, now);
            follower.opener = open_unless_denied;
            follower.is_blind_to_births = is_blind;
            follower.limits.chunk = chunk_bytes.unwrap_or(follower.limits.chunk);
            follower
        })
    }

    pub(super) fn look(&mut self) {
        let now = self.now;
        self.follower().look(now);
    }

    /// The next lines, without looking for files. Nothing is kept.
    pub(super) fn take(&mut self) -> Option<Chunk> {
        let now = self.now;
        loop {
            match self.follower().take(now) {
                Taken::Chunk(chunk) => return Some(chunk),
                Taken::Searched(_) => {}
                Taken::Nothing => return None,
            }
        }
    }

    pub(super) fn keep(&mut self, chunk: &Chunk) {
        for (key, place) in &chunk.places {
            match place {
                Some(place) => self.kept.insert(key.clone(), place.clone()),
                None => self.kept.remove(key),
            };
        }
    }

    /// Looks, takes and keeps until nothing more comes. Prior lines begin with `<`, lines that
    /// are too long are their length in brackets.
    pub(super) fn read(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for _ in 0..3 {
            self.look();
            for _ in 0..10_000 {
                let Some(chunk) = self.take() else { break };
                lines.extend(texts(&chunk));
                self.keep(&chunk);
            }
            if !self.follower().again {
                return lines;
            }
        }
        panic!("it looks again and again: {:?}", self.follower);
    }

    /// As [`Folder::read`], after five seconds in which nothing was written.
    pub(super) fn read_after_a_while(&mut self) -> Vec<String> {
        let mut lines = self.read();
        self.wait(5);
        lines.extend(self.read());
        lines
    }
}

fn pattern(path: &Path) -> Pattern {
    Pattern::parse(path.to_str().unwrap()).unwrap()
}

pub(super) fn texts(chunk: &Chunk) -> Vec<String> {
    let text = |line: Line<'_>| match line {
        Line::Whole(line) => String::from_utf8_lossy(line).into_owned(),
        Line::TooLong { bytes } => format!("[{bytes}]"),
    };
    let prior = if chunk.prior { "<" } else { "" };
    chunk.lines().map(|line| format!("{prior}{}", text(line))).collect()
}
