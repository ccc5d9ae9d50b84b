//! Files that are read while the exporter runs, and how it is seen that they have changed.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};

/// Certificates, keys, tokens and lists of users are not longer; a larger file is another file.
const MAX_BYTES: u64 = 1 << 20;

/// A file cannot be read.
#[derive(Debug, thiserror::Error)]
// After a colon the reason would be taken for a secret where the path ends in `token`.
#[error("cannot read {what} {} ({why})", path.display())]
pub struct FileError {
    /// What it is for: a flag or a key of a file.
    pub what: &'static str,
    /// Which one.
    pub path: PathBuf,
    /// Why.
    pub why: io::Error,
}

/// What was read, by digest: secrets are not kept to compare them. `None` where it could not be.
type Print = Option<[u8; 32]>;

/// Reads files, and remembers which, and how they were.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reader {
    seen: Vec<(PathBuf, Print)>,
}

impl Reader {
    /// Reads a file.
    pub(super) fn read(&mut self, what: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
        let read = read(path);
        self.seen.push((path.to_owned(), read.as_deref().ok().map(print)));
        read.map_err(|why| FileError { what, path: path.to_owned(), why })
    }

    /// The files that were read.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.seen.iter().map(|(path, _)| path.as_path())
    }

    /// Whether any of the files is no longer as it was read.
    pub(super) fn is_outdated(&self) -> bool {
        self.seen.iter().any(|(path, print_then)| {
            let now = read(path).ok().map(|bytes| print(&bytes));
            now != *print_then
        })
    }
}

pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 1 MiB"));
    }
    Ok(bytes)
}

fn print(bytes: &[u8]) -> [u8; 32] {
    let mut print = [0; 32];
    print.copy_from_slice(digest(&SHA256, bytes).as_ref());
    print
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_whatever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let look = || {
            let mut reader = Reader::default();
            reader.read("--flag", &path).ok();
            reader
        };
        let missing = look();
        assert!(!missing.is_outdated());
        std::fs::write(&path, "one").unwrap();
        assert!(missing.is_outdated(), "it has come");
        let one = look();
        assert!(!one.is_outdated());
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, "two").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        assert!(one.is_outdated(), "of the same size and time");
        let two = look();
        std::fs::remove_file(&path).unwrap();
        assert!(two.is_outdated(), "it has gone");
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![0; (1 << 20) + 1]).unwrap();
        let error = Reader::default().read("--flag", &path).unwrap_err();
        assert_eq!(error.why.to_string(), "it is larger than 1 MiB");
    }
}
