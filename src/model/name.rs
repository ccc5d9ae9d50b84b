//! Names from outside, bounded before anything keeps them.

use std::borrow::Cow;

/// Stands for everything beyond a bound.
pub const OTHER: &str = "_other";
/// Stands for a name that was not given.
pub const UNKNOWN: &str = "unknown";

/// Hex digits of the digest that keeps two long names with one beginning apart.
const DIGEST_CHARS: usize = 16;

/// How long a name may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameRule {
    max_bytes: usize,
}

impl NameRule {
    /// The shortest limit that leaves room for the digest.
    pub const SHORTEST: usize = 32;

    /// Names of at most `max_bytes` bytes of UTF-8, at least [`NameRule::SHORTEST`].
    pub fn new(max_bytes: usize) -> Self {
        Self { max_bytes: max_bytes.max(Self::SHORTEST) }
    }

    /// Brings a name into bounds.
    ///
    /// A longer one is cut on a character boundary and ends in `~` and a digest of the whole,
    /// so that two names never become one. NUL, which ends the input for Prometheus' scanner,
    /// becomes U+FFFD. An empty name stays empty.
    pub fn bound(self, name: Cow<'_, str>) -> Cow<'_, str> {
        let name =
            if name.contains('\0') { Cow::Owned(name.replace('\0', "\u{fffd}")) } else { name };
        if name.len() <= self.max_bytes {
            return name;
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
        let keep = name.floor_char_boundary(self.max_bytes - DIGEST_CHARS - 1);
        let mut cut = String::with_capacity(self.max_bytes);
        cut.push_str(name.get(..keep).unwrap_or_default());
        cut.push('~');
        cut.extend(digest.as_ref().iter().take(DIGEST_CHARS / 2).map(|byte| format!("{byte:02x}")));
        Cow::Owned(cut)
    }

    /// As [`NameRule::bound`]; what was not given, or is empty, becomes [`UNKNOWN`].
    pub fn bound_or_unknown(self, name: Option<Cow<'_, str>>) -> Cow<'_, str> {
        match name {
            Some(name) if !name.is_empty() => self.bound(name),
            _ => Cow::Borrowed(UNKNOWN),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_on_a_character_and_stay_apart() {
        let rule = NameRule::new(40);
        let one = rule.bound(Cow::Owned("é".repeat(100) + "1")).into_owned();
        let two = rule.bound(Cow::Owned("é".repeat(100) + "2")).into_owned();
        assert!(one.len() <= 40 && two.len() <= 40);
        assert_ne!(one, two);
        assert!(one.starts_with(&("é".repeat(11) + "~")), "{one}");
    }

    #[test]
    fn short_names_are_left_alone() {
        let rule = NameRule::new(32);
        assert_eq!(rule.bound(Cow::Borrowed("a\"b\n")), "a\"b\n");
        assert_eq!(rule.bound_or_unknown(None), UNKNOWN);
        assert_eq!(rule.bound_or_unknown(Some(Cow::Borrowed(""))), UNKNOWN);
        assert_eq!(rule.bound(Cow::Borrowed("a\0b")), "a\u{fffd}b");
    }
}
