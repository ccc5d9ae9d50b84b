//! The names of rotated files, and which of them is the older.
//!
//! `X.log` is rotated to `X.log.1` and on to `X.log.2` (Python's `RotatingFileHandler`, logrotate), or
//! away to a name with a date (`X.log-20260118`, `X.log.2026-01-18_13`). Nothing here looks at a disk.

use std::cmp::Ordering;

/// From so many digits on a suffix is a date, not a generation: `.20260118` against `.12`.
const DATE_DIGITS: usize = 6;
/// No date is written with more characters than this.
const LONGEST_SUFFIX: usize = 32;
/// What is compressed holds nothing that was not told before it was compressed.
const COMPRESSED: [&[u8]; 8] = [b".gz", b".bz2", b".xz", b".zst", b".lz4", b".Z", b".zip", b".br"];

/// How old a file is among those of one name. Greater is younger; the current one is the youngest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Age {
    /// Rotated away under a date: its digits.
    Date(Vec<u8>),
    /// Rotated away so many times.
    Generation(u32),
    /// Still under its own name.
    Current,
}

impl Age {
    fn rank(&self) -> u8 {
        match self {
            Self::Date(_) => 0,
            Self::Generation(_) => 1,
            Self::Current => 2,
        }
    }
}

impl Ord for Age {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Date(one), Self::Date(two)) => one.cmp(two),
            (Self::Generation(one), Self::Generation(two)) => two.cmp(one),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Age {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Takes a rotated file's name apart: the name that it had, and its age. `None` for other names.
pub(super) fn split(name: &[u8]) -> Option<(&[u8], Age)> {
    // From the left: the first cut that leaves a whole suffix. `X.log.2026-01-18` is cut before
    // the year, `X-2.log.1` before the one.
    (1..name.len()).filter(|at| matches!(name.get(*at), Some(b'.' | b'-'))).find_map(|at| {
        let (base, suffix) = name.split_at(at);
        Some((base, age(suffix.get(1..)?)?))
    })
}

fn age(suffix: &[u8]) -> Option<Age> {
    let (first, last) = (suffix.first()?, suffix.last()?);
    if !first.is_ascii_digit() || !last.is_ascii_digit() || suffix.len() > LONGEST_SUFFIX {
        return None;
    }
    let is_part = |byte: &u8| byte.is_ascii_digit() || b"-_:.T".contains(byte);
    if !suffix.iter().all(is_part) {
        return None;
    }
    let digits: Vec<u8> = suffix.iter().copied().filter(u8::is_ascii_digit).collect();
    if digits.len() >= DATE_DIGITS {
        return Some(Age::Date(digits));
    }
    // Few digits are a generation, and that has no separators: `app-1.2` is no sibling of `app`.
    let text = std::str::from_utf8(suffix).ok()?;
    text.parse().ok().map(Age::Generation)
}

/// Whether the name is that of a compressed file.
pub(super) fn is_compressed(name: &[u8]) -> bool {
    COMPRESSED.iter().any(|suffix| name.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(name: &str) -> Option<(String, Age)> {
        split(name.as_bytes()).map(|(base, age)| (String::from_utf8_lossy(base).into_owned(), age))
    }

    fn date(digits: &str) -> Age {
        Age::Date(digits.into())
    }

    #[test]
    fn rotated_names_are_taken_apart() {
        let of_log = |age| Some(("x.log".to_owned(), age));
        assert_eq!(parts("x.log.1"), of_log(Age::Generation(1)));
        assert_eq!(parts("x.log.12"), of_log(Age::Generation(12)));
        assert_eq!(parts("x.log-20260118"), of_log(date("20260118")));
        assert_eq!(parts("x.log-2026011813"), of_log(date("2026011813")));
        assert_eq!(parts("x.log.2026-01-18"), of_log(date("20260118")));
        assert_eq!(parts("x.log.2026-01-18_13-05"), of_log(date("202601181305")));
        assert_eq!(parts("x-2.log.1"), Some(("x-2.log".to_owned(), Age::Generation(1))));
        assert_eq!(parts("x.1.2"), Some(("x.1".to_owned(), Age::Generation(2))));
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in
            ["x.log", "x.log.gz", "x.log.1.gz", "x.log.old", "x.log.1-", ".1", "", "1", "x."]
        {
            assert_eq!(parts(name), None, "{name}");
        }
        assert!(is_compressed(b"x.log.1.gz") && !is_compressed(b"x.log"));
    }

    #[test]
    fn higher_generations_and_earlier_dates_are_older() {
        let mut ages = [
            Age::Current,
            Age::Generation(1),
            date("2026011801"),
            Age::Generation(10),
            date("20260117"),
        ];
        ages.sort();
        let oldest_first = [
            date("20260117"),
            date("2026011801"),
            Age::Generation(10),
            Age::Generation(1),
            Age::Current,
        ];
        assert_eq!(ages, oldest_first);
    }
}
