//! The file: never waited for, and rotated as the runtime rotates its own.

use std::fs;
use std::io;
use std::path::Path;

use file_rotate::compression::Compression;
use file_rotate::suffix::AppendCount;
use file_rotate::{ContentLimit, FileRotate};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Name of the file; rotated ones end in `.1`, `.2` and so on. The `logs` source never follows it.
pub const FILE_NAME: &str = "mozaiks-exporter.log";
/// Lines on their way to the file. Beyond that, lines are dropped: nothing may wait for its log.
const LINES_WAITING: usize = 10_000;

/// Size in bytes at which a file is full, and old ones that are kept: as the runtime's own.
fn limits(production: bool) -> (usize, usize) {
    if production { (50 << 20, 10) } else { (10 << 20, 5) }
}

/// Opens the file in that folder, which is made if it is missing.
pub(super) fn open(dir: &Path, production: bool) -> io::Result<(NonBlocking, WorkerGuard)> {
    fs::create_dir_all(dir)?;
    let path = dir.join(FILE_NAME);
    // The rotating writer panics where it cannot write, so it is tried first.
    fs::File::options().append(true).create(true).open(&path)?;
    let (bytes, old) = limits(production);
    let file = rotating(&path, bytes, old);
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_WAITING);
    Ok(builder.finish(file))
}

fn rotating(path: &Path, bytes: usize, old: usize) -> FileRotate<AppendCount> {
    // A line is written at once, so none is split.
    let limit = ContentLimit::BytesSurpassed(bytes);
    FileRotate::new(path, AppendCount::new(old), limit, Compression::None, None)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn it_rotates_between_lines_and_keeps_so_many() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let mut file = rotating(&path, 100, 3);
        for n in 0..50 {
            file.write_all(format!("line {n:>20}\n").as_bytes()).unwrap();
        }
        drop(file);
        let mut names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names.len(), 4, "{names:?}");
        for name in names {
            let text = fs::read_to_string(dir.path().join(name)).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'));
            assert!(text.lines().all(|line| line.len() == 25), "{text}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(open(&file.join("logs"), false).is_err());
    }
}
