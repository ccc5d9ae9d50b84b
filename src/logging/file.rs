//! The file: never waited for, and rotated as the runtime rotates its own: before a line that would
//! pass the limit, `.N` becomes `.N+1`, the file becomes `.1`, and a new one is begun.
//!
//! A line that cannot be written, because the disk is full or the folder has gone, is counted and
//! costs nobody anything; each next line tries anew.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Name of the file; rotated ones end in `.1`, `.2` and so on. The `logs` source never follows it.
pub const FILE_NAME: &str = "mozaiks-exporter.log";
/// Lines on their way to the file. Beyond that, lines are dropped: nothing may wait for its log.
const LINES_WAITING: usize = 10_000;

/// Size in bytes at which a file is full, and old ones that are kept: as the runtime's own.
fn limits(production: bool) -> (u64, u32) {
    if production { (50 << 20, 10) } else { (10 << 20, 5) }
}

/// The way to the open file.
pub(super) struct Opened {
    pub(super) writer: NonBlocking,
    /// Writes what is still on its way when it goes.
    pub(super) guard: WorkerGuard,
    /// Lines that could not be written.
    pub(super) unwritten: Arc<AtomicUsize>,
}

/// Opens the file in that folder, which is made if it is missing.
pub(super) fn open(dir: &Path, production: bool) -> io::Result<Opened> {
    fs::create_dir_all(dir)?;
    let (limit, old) = limits(production);
    let file = Rotating::open(dir.join(FILE_NAME), limit, old)?;
    let unwritten = Arc::clone(&file.unwritten);
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_WAITING);
    let (writer, guard) = builder.finish(file);
    Ok(Opened { writer, guard, unwritten })
}

/// A file that is appended to, and its older ones.
struct Rotating {
    path: PathBuf,
    /// None after a failure, until the next line.
    file: Option<File>,
    bytes: u64,
    limit: u64,
    old: u32,
    unwritten: Arc<AtomicUsize>,
}

impl Rotating {
    fn open(path: PathBuf, limit: u64, old: u32) -> io::Result<Self> {
        let unwritten = Arc::default();
        let mut this = Self { path, file: None, bytes: 0, limit, old, unwritten };
        this.reopen()?;
        Ok(this)
    }

    fn reopen(&mut self) -> io::Result<&mut File> {
        let file = File::options().append(true).create(true).open(&self.path)?;
        self.bytes = file.metadata()?.len();
        Ok(self.file.insert(file))
    }

    fn old_path(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = None;
        for number in (1..self.old).rev() {
            match fs::rename(self.old_path(number), self.old_path(number + 1)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.old_path(1))
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if self.file.is_none() {
            self.reopen()?;
        }
        if self.bytes > 0 && self.bytes + length > self.limit {
            self.rotate()?;
        }
        let before = self.bytes;
        let file = match &mut self.file {
            Some(file) => file,
            None => self.reopen()?,
        };
        if let Err(error) = file.write_all(line) {
            // No half of a line stays before the next one.
            file.set_len(before).ok();
            return Err(error);
        }
        self.bytes += length;
        Ok(())
    }
}

impl Write for Rotating {
    /// Takes one line, always.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.append(line).is_err() {
            self.file = None;
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(name).collect();
        names.sort();
        names.into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn it_rotates_before_a_line_that_does_not_fit_and_keeps_so_many() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        for from in [0, 25] {
            // The second one goes on where the first has stopped.
            let mut file = Rotating::open(path.clone(), 100, 3).unwrap();
            for n in from..from + 25 {
                file.write_all(format!("line {n:>20}\n").as_bytes()).unwrap();
            }
        }
        assert_eq!(names(dir.path()), ["x.log", "x.log.1", "x.log.2", "x.log.3"]);
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let mut lines = String::new();
        for name in ["x.log.3", "x.log.2", "x.log.1", "x.log"] {
            assert!(read(name).len() <= 100);
            lines += &read(name);
        }
        // Three lines fit into each of the old ones, and two are left for the last.
        let expected: Vec<_> = (39..50).map(|n| format!("line {n:>20}")).collect();
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_folder_that_goes_costs_lines_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let mut file = Rotating::open(logs.join("x.log"), 10, 3).unwrap();
        file.write_all(b"12345678\n").unwrap();
        fs::remove_dir_all(&logs).unwrap();
        for _ in 0..3 {
            file.write_all(b"lost\n").unwrap();
        }
        assert_eq!(file.unwritten.load(Ordering::Relaxed), 3);
        fs::create_dir(&logs).unwrap();
        file.write_all(b"back\n").unwrap();
        assert_eq!(fs::read(logs.join("x.log")).unwrap(), b"back\n");
        assert_eq!(file.unwritten.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(open(&file.join("logs"), false).is_err());
    }
}
