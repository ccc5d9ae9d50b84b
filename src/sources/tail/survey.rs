//! What would be followed, for somebody who looks through it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::discover::discover;
use super::follower::MAX_FILES;
use super::{Options, Problem};

/// A file that is there and would be followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Where.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
    /// When it was last written to.
    pub modified: Option<SystemTime>,
}

impl Present {
    /// The last whole lines, of so many bytes at most.
    pub fn last_lines(&self, bytes: u64) -> io::Result<Vec<Vec<u8>>> {
        last_lines(&self.path, bytes)
    }
}

/// Which files there are, and what cannot be looked at. Waits for the disk.
pub fn survey(options: &Options) -> (Vec<Present>, Vec<Problem>) {
    let listing = discover(&options.patterns, &options.exclude, MAX_FILES);
    let present = listing.found.into_iter().map(|found| Present {
        path: found.path,
        bytes: found.size,
        modified: found.modified,
    });
    let problems = listing.problems.into_iter().map(|(path, error)| Problem { path, error });
    (present.collect(), problems.collect())
}

fn last_lines(path: &Path, bytes: u64) -> io::Result<Vec<Vec<u8>>> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(bytes);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(bytes).read_to_end(&mut end)?;
    let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    end.truncate(whole);
    let lines = end.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    // The first one may have begun earlier.
    Ok(lines.skip(usize::from(start > 0)).map(<[u8]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_taken_from_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "one\ntwo\nthree\nfo").unwrap();
        let lines = |bytes| {
            let lines = last_lines(&path, bytes).unwrap();
            lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(lines(100), ["one", "two", "three"]);
        assert_eq!(lines(10), ["three"], "two is cut");
        assert_eq!(lines(2), Vec::<String>::new());
    }
}
