//! Random histories of a writer, of those who rotate its file, and of a reader that dies.

use std::collections::VecDeque;
use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;

use super::folder::{Folder, texts};

/// Every line begins with a number of its own, so long.
const NUMBER_BYTES: usize = 6;

#[derive(Debug, Clone)]
enum Step {
    /// The writer appends whole lines, so long each.
    Lines(u8, u16),
    /// It appends part of a line.
    Part,
    /// `RotatingFileHandler` rolls over.
    Rotate,
    /// logrotate copies and cuts at once.
    CopyAndCut,
    /// logrotate begins to copy: so many percent.
    BeginCopy(u8),
    /// It has copied everything.
    FinishCopy,
    /// It cuts.
    Cut,
    DeleteOldest,
    /// The reader looks for files.
    Look,
    /// It takes and keeps so many chunks.
    Take(u8),
    /// It takes a chunk and dies before it is kept.
    TakeAndDie,
    Die,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..4_u8, 0..400_u16).prop_map(|(count, length)| Step::Lines(count, length)),
        2 => Just(Step::Part),
        3 => Just(Step::Rotate),
        2 => Just(Step::CopyAndCut),
        2 => (0..=100_u8).prop_map(Step::BeginCopy),
        2 => Just(Step::FinishCopy),
        2 => Just(Step::Cut),
        1 => Just(Step::DeleteOldest),
        4 => Just(Step::Look),
        4 => (1..6_u8).prop_map(Step::Take),
        2 => Just(Step::TakeAndDie),
        1 => Just(Step::Die),
        2 => prop_oneof![Just(1_u64), Just(6), Just(700)].prop_map(Step::Wait),
    ]
}

#[derive(Debug, Clone)]
struct Expected {
    text: String,
    /// It was taken away before the reader kept it, or may have been.
    may_be_missing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Copying {
    No,
    Copied(usize),
    Finished,
}

struct World {
    folder: Folder,
    keep: usize,
    expected: Vec<Expected>,
    received: Vec<String>,
    /// Numbers of the lines in each file, the current one first.
    files: VecDeque<Vec<usize>>,
    part: String,
    copying: Copying,
    count: usize,
}

impl World {
    fn new(keep: usize, is_blind_to_births: bool, chunk_bytes: usize) -> Self {
        let mut folder = Folder::new();
        folder.is_blind_to_births = is_blind_to_births;
        folder.chunk_bytes = Some(chunk_bytes);
        assert_eq!(folder.read(), [""; 0]);
        folder.append("x.log", "");
        Self {
            folder,
            keep,
            expected: Vec::new(),
            received: Vec::new(),
            files: VecDeque::from([Vec::new()]),
            part: String::new(),
            copying: Copying::No,
            count: 0,
        }
    }

    fn text(&mut self, length: usize) -> String {
        self.count += 1;
        format!("{:05} {}", self.count, "x".repeat(length))
    }

    fn expect(&mut self, text: String) {
        let may_be_missing = self.copying == Copying::Finished;
        self.files[0].push(self.expected.len());
        self.expected.push(Expected { text, may_be_missing });
    }

    fn line(&mut self, length: usize) {
        let text = self.text(length);
        self.folder.append("x.log", format!("{text}\n"));
        let part = std::mem::take(&mut self.part);
        self.expect(part + &text);
    }

    /// The current file is the current one no more; what has no newline in it will get none.
    fn close(&mut self) {
        if !self.part.is_empty() {
            let part = std::mem::take(&mut self.part);
            self.expect(part);
        }
        self.files.push_front(Vec::new());
        while self.files.len() > self.keep + 1 {
            self.lose_oldest();
        }
    }

    fn lose_oldest(&mut self) {
        for number in self.files.pop_back().unwrap_or_default() {
            let expected = &mut self.expected[number];
            expected.may_be_missing |= !self.received.contains(&expected.text);
        }
    }

    fn take(&mut self, chunks: u8) {
        for _ in 0..chunks {
            let Some(chunk) = self.folder.take() else { return };
            self.received.extend(texts(&chunk));
            self.folder.keep(&chunk);
        }
    }

    fn read_all(&mut self) {
        for _ in 0..4 {
            let lines = self.folder.read_after_a_while();
            self.received.extend(lines);
        }
    }

    fn step(&mut self, step: &Step) {
        let is_copying = self.copying != Copying::No;
        match step {
            Step::Lines(count, length) => {
                (0..*count).for_each(|_| self.line(usize::from(*length)));
            }
            Step::Part if self.copying != Copying::Finished => {
                let text = self.text(3);
                self.folder.append("x.log", &text);
                self.part += &text;
            }
            Step::Rotate if !is_copying => {
                self.folder.rotate(self.keep);
                self.close();
            }
            Step::CopyAndCut if !is_copying => {
                self.folder.copy_and_cut(self.keep);
                self.close();
            }
            Step::BeginCopy(percent) if !is_copying => {
                let bytes = fs::read(self.folder.path("x.log")).unwrap();
                // Never less than what makes a line another than any other: without births, a file
                // that begins as another did is not told from it if it gets its inode.
                let count = bytes.len() * usize::from(*percent) / 100;
                let count = count.next_multiple_of(NUMBER_BYTES).min(bytes.len());
                // The oldest goes at once, its successor comes when all is over.
                if self.files.len() == self.keep + 1 {
                    self.lose_oldest();
                }
                for age in (1..=self.keep).rev() {
                    let from = format!("x.log.{age}");
                    if age == self.keep && self.folder.path(&from).exists() {
                        self.folder.remove(&from);
                    } else if self.folder.path(&from).exists() {
                        self.folder.rename(&from, &format!("x.log.{}", age + 1));
                    }
                }
                self.folder.append("x.log.1", &bytes[..count]);
                self.copying = Copying::Copied(count);
            }
            Step::FinishCopy => {
                if let Copying::Copied(count) = self.copying {
                    if !self.part.is_empty() {
                        self.line(1);
                    }
                    let bytes = fs::read(self.folder.path("x.log")).unwrap();
                    self.folder.append("x.log.1", &bytes[count..]);
                    self.copying = Copying::Finished;
                    // In real life the system says that something was written.
                    if self.folder.follower.is_some() {
                        self.folder.look();
                    }
                }
            }
            Step::Cut if self.copying == Copying::Finished => {
                self.folder.cut("x.log");
                self.close();
                self.copying = Copying::No;
            }
            Step::DeleteOldest if !is_copying && self.files.len() > 1 => {
                self.folder.remove(&format!("x.log.{}", self.files.len() - 1));
                self.lose_oldest();
            }
            Step::Look => self.folder.look(),
            Step::Take(chunks) => self.take(*chunks),
            Step::TakeAndDie => {
                self.folder.take();
                self.folder.kill();
            }
            Step::Die => self.folder.kill(),
            Step::Wait(seconds) => self.folder.wait(*seconds),
            _ => {}
        }
    }

    fn check(&self) {
        let mut received = self.received.iter().peekable();
        for expected in &self.expected {
            if received.next_if(|text| **text == expected.text).is_none() {
                assert!(
                    expected.may_be_missing,
                    "{:?} is missing; next is {:?}\n{:?}\n{:?}",
                    expected.text,
                    received.peek(),
                    self.received,
                    self.expected,
                );
            }
        }
        assert_eq!(received.next(), None, "nobody wrote that: {:?}", self.received);
    }
}

/// So many histories, where `PROPTEST_CASES` does not say otherwise.
fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return default;
    }
    ProptestConfig { cases: 200, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_line_comes_once_and_in_order(
        keep in 1..5_usize,
        is_blind_to_births: bool,
        chunk_bytes in prop_oneof![Just(16_usize), Just(200), Just(4096)],
        steps in vec(step(), 1..60),
    ) {
        let mut world = World::new(keep, is_blind_to_births, chunk_bytes);
        for step in &steps {
            world.step(step);
        }
        if let Copying::Copied(_) = world.copying {
            world.step(&Step::FinishCopy);
        }
        world.step(&Step::Cut);
        if !world.part.is_empty() {
            world.line(0);
        }
        world.read_all();
        world.check();
        prop_assert!(world.folder.follower().is_caught_up());
        prop_assert_eq!(world.folder.follower().bytes_behind(), 0);
    }
}
