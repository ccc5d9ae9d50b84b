//! Where a file was left, and by what it is known again.

use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// The beginning of a file by which it is known, at most. Never more than was handed out, so that a
/// copy that was made before more was written is known, too.
pub(super) const HEAD_BYTES: u64 = 1024;
/// What stands before the place where we are, by which the place is known, at most.
pub(super) const TRAIL_BYTES: u64 = 256;
/// From so many equal bytes on, two files are one, whatever inode they have. A line of a log with
/// its time and its level is longer.
pub(super) const STRONG_BYTES: u64 = 64;
/// Bytes of SHA-256 that are kept.
const DIGEST_BYTES: usize = 16;

/// An inode. Not enough to know a file by: inodes are used again, and devices are renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct FileId {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { dev: metadata.dev(), ino: metadata.ino() }
    }
}

/// When the file was made, in nanoseconds since 1970, where the file system remembers it.
pub(super) fn born(metadata: &Metadata) -> Option<u64> {
    let since = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok().filter(|nanos| *nanos > 0)
}

/// What some bytes were.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Print {
    /// How many.
    pub(super) bytes: u64,
    /// The first half of their SHA-256, in hex; empty for none.
    pub(super) digest: String,
}

impl Print {
    pub(super) fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::default();
        }
        let sum = ring::digest::digest(&ring::digest::SHA256, bytes);
        let mut digest = String::with_capacity(2 * DIGEST_BYTES);
        for byte in sum.as_ref().iter().take(DIGEST_BYTES) {
            // Writing to a string does not fail.
            write!(digest, "{byte:02x}").ok();
        }
        Self { bytes: bytes.len() as u64, digest }
    }

    /// Whether these bytes begin with what was printed.
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        let count = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        bytes.get(..count).is_some_and(|bytes| Self::of(bytes) == *self)
    }
}

/// Where a file was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The path that it has, or had before it was rotated away.
    pub(super) base: String,
    #[serde(flatten)]
    pub(super) id: FileId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) born: Option<u64>,
    /// Everything before it was handed out. Stands after a newline, or at the end of a file that
    /// was rotated away without one.
    pub(super) offset: u64,
    /// What lies before it lay there when the tail was started for the first time.
    #[serde(default)]
    pub(super) border: u64,
    /// Its first bytes.
    #[serde(default)]
    pub(super) head: Print,
    /// The bytes before the offset.
    #[serde(default)]
    pub(super) trail: Print,
    /// It is a copy of the file with this key, which tells what is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) twin: Option<u64>,
}

/// What a file is to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The file that was left there: so many bytes say it.
    Same {
        /// Of head and trail.
        verified: u64,
    },
    /// It begins as that file does, but ends before the place.
    Short {
        /// Of the head.
        verified: u64,
    },
    /// Another file, or cut and written anew.
    Differs,
    /// It cannot be read.
    Unknown,
}

impl Place {
    /// The start of a file of which nothing is known.
    pub(super) fn new(base: String, id: FileId, born: Option<u64>) -> Self {
        let (head, trail) = (Print::default(), Print::default());
        Self { base, id, born, offset: 0, border: 0, head, trail, twin: None }
    }

    /// Both births are known, and they are two.
    pub(super) fn is_another(&self, born: Option<u64>) -> bool {
        self.born.is_some() && born.is_some() && self.born != born
    }

    /// What is open is the file that was found, as far as names and numbers say.
    pub(super) fn is_of(&self, metadata: &Metadata) -> bool {
        FileId::of(metadata) == self.id && !self.is_another(born(metadata))
    }

    /// How many bytes vouch for it.
    pub(super) fn strength(&self) -> u64 {
        self.head.bytes + self.trail.bytes
    }

    /// It says no more than that a file was there.
    pub(super) fn is_void(&self) -> bool {
        self.offset == 0 && self.border == 0 && self.twin.is_none()
    }

    /// Compares the place with a file of that size.
    pub(super) fn compare(&self, file: &File, size: u64) -> io::Result<Content> {
        if size < self.head.bytes {
            return Ok(Content::Differs);
        }
        let head = read(file, 0, self.head.bytes)?;
        if !self.head.begins(&head) {
            return Ok(Content::Differs);
        }
        if size < self.offset {
            return Ok(Content::Short { verified: self.head.bytes });
        }
        let from = self.offset.saturating_sub(self.trail.bytes);
        let trail = read(file, from, self.trail.bytes)?;
        if !self.trail.begins(&trail) {
            return Ok(Content::Differs);
        }
        Ok(Content::Same { verified: self.strength() })
    }

    /// Takes the prints of a file that is known to be this one: of what was handed out or is known
    /// to be prior, for nothing else needs to be known again.
    pub(super) fn take_prints(&mut self, file: &File) -> io::Result<()> {
        let head = self.offset.max(self.border).min(HEAD_BYTES);
        if self.head.bytes != head {
            self.head = Print::of(&read(file, 0, head)?);
        }
        let count = self.offset.min(TRAIL_BYTES);
        self.trail = Print::of(&read(file, self.offset - count, count)?);
        Ok(())
    }
}

/// Reads so many bytes, or as many as there are.
pub(super) fn read(file: &File, offset: u64, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(count).map_err(|_| io::ErrorKind::InvalidInput)?];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Whether the first file, of that size, could be a copy of the second as it was at some time.
/// `None` where it has just changed too much to say.
pub(super) fn is_prefix(copy: (&File, u64), original: (&File, u64)) -> io::Result<Option<bool>> {
    let size = copy.1;
    if size == 0 || size > original.1 {
        return Ok(Some(false));
    }
    let count = size.min(HEAD_BYTES);
    for from in [0, size - count] {
        let one = read(copy.0, from, count)?;
        let two = read(original.0, from, count)?;
        if one.len() as u64 != count || two.len() as u64 != count {
            return Ok(None);
        }
        if one != two {
            return Ok(Some(false));
        }
    }
    Ok(Some(true))
}

/// Where the last line of a file begins that has no newline yet, or its end. A line that is longer
/// than `longest` is not looked for.
pub(super) fn last_line(file: &File, size: u64, longest: u64) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let mut end = size;
    while end > 0 && size - end <= longest {
        let start = end.saturating_sub(BLOCK);
        let block = read(file, start, end - start)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(if end == 0 { 0 } else { size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(bytes: &[u8]) -> (File, u64) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        (file, bytes.len() as u64)
    }

    fn place(bytes: &[u8], offset: u64) -> Place {
        let (file, _) = file(bytes);
        let mut place = Place::new("x".to_owned(), FileId { dev: 1, ino: 2 }, None);
        place.offset = offset;
        place.take_prints(&file).unwrap();
        place
    }

    fn compare(place: &Place, bytes: &[u8]) -> Content {
        let (file, size) = file(bytes);
        place.compare(&file, size).unwrap()
    }

    #[test]
    fn a_place_knows_its_file_by_head_and_trail() {
        let long: Vec<u8> = (0..1000).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        let place = place(&long, 5000);
        assert_eq!(place.head.bytes, HEAD_BYTES);
        assert_eq!(compare(&place, &long), Content::Same { verified: 1280 });
        let longer = [long.as_slice(), b"more\n"].concat();
        assert_eq!(compare(&place, &longer), Content::Same { verified: 1280 });
        let cut = long.get(..4999).unwrap();
        assert_eq!(compare(&place, cut), Content::Short { verified: 1024 });
        let mut other_head = long.clone();
        other_head[3] = b'X';
        assert_eq!(compare(&place, &other_head), Content::Differs);
        let mut other_trail = long.clone();
        other_trail[4990] = b'X';
        assert_eq!(compare(&place, &other_trail), Content::Differs);
        assert_eq!(compare(&place, b"line 0\n"), Content::Differs);
    }

    #[test]
    fn nothing_vouches_for_an_empty_file() {
        let place = place(b"", 0);
        assert_eq!(compare(&place, b"anything\n"), Content::Same { verified: 0 });
    }

    #[test]
    fn a_place_comes_back_from_its_text() {
        let mut place = place(b"one\ntwo\n", 4);
        place.twin = Some(7);
        place.born = Some(5);
        let text = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<Place>(&text).unwrap(), place);
        assert!(text.len() < 300, "{text}");
        let shortest = r#"{"base":"x","dev":1,"ino":2,"offset":3}"#;
        assert_eq!(serde_json::from_str::<Place>(shortest).unwrap().offset, 3);
    }

    #[test]
    fn a_copy_is_a_prefix() {
        let long = vec![b'x'; 5000];
        let copies = |copy: &[u8], original: &[u8]| {
            let (copy, original) = (file(copy), file(original));
            is_prefix((&copy.0, copy.1), (&original.0, original.1)).unwrap()
        };
        assert_eq!(copies(&long[..4096], &long), Some(true));
        assert_eq!(copies(&long, &long[..4096]), Some(false));
        assert_eq!(copies(b"", &long), Some(false));
        let mut other = long.clone();
        other[3000] = b'y';
        assert_eq!(copies(&long[..3500], &other), Some(false));
        let (copy, (original, _)) = (file(&long), file(b"x"));
        let cut_meanwhile = is_prefix((&copy.0, copy.1), (&original, 5000)).unwrap();
        assert_eq!(cut_meanwhile, None);
    }

    #[test]
    fn the_last_line_is_found_from_the_end() {
        let start = |bytes: &[u8], longest| {
            let (file, size) = file(bytes);
            last_line(&file, size, longest).unwrap()
        };
        assert_eq!(start(b"", 10), 0);
        assert_eq!(start(b"a\nb\n", 10), 4);
        assert_eq!(start(b"a\nbcd", 10), 2);
        assert_eq!(start(b"abc", 10), 0);
        let mut long = b"a\n".to_vec();
        long.resize(200_000, b'x');
        assert_eq!(start(&long, 1 << 20), 2);
        assert_eq!(start(&long, 1000), 200_000);
    }
}
