//! Which files to follow, as people write it.

use std::path::PathBuf;

use super::rotation;

/// Files in a folder that is named as such.
const IN_FOLDERS: &str = "*.log";
/// As a shell: `*` is neither `/` nor the dot of a hidden file.
pub(super) const MATCHING: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Why a pattern was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing at all.
    #[error("the pattern is empty")]
    Empty,
    /// Something like `[z-a]` or `a**`.
    #[error("`{pattern}` is no glob: {reason}")]
    Glob {
        /// As it was written.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Which files to follow: one file, all `*.log` of a folder, or whatever a glob matches.
///
/// A pattern that matches nothing yet is fine. Rotated siblings of whatever it matches belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(pub(super) Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file, or a folder; which of them is seen when it is there.
    Path(PathBuf),
    /// Folders that match the first, and in them names that match the second.
    Glob { folders: String, names: glob::Pattern },
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Path(path) => write!(f, "{}", path.display()),
            Kind::Glob { folders, names } => write!(f, "{}/{names}", folders.trim_end_matches('/')),
        }
    }
}

impl Pattern {
    /// The path, where it is one and no glob.
    pub fn path(&self) -> Option<&std::path::Path> {
        match &self.0 {
            Kind::Path(path) => Some(path),
            Kind::Glob { .. } => None,
        }
    }

    /// Reads a pattern. With one of `*?[` it is a glob, else a path.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if !text.contains(['*', '?', '[']) {
            return Ok(Self(Kind::Path(PathBuf::from(text))));
        }
        let (folders, names) = match text.rsplit_once('/') {
            Some(("", names)) => ("/", names),
            Some(parts) => parts,
            None => (".", text),
        };
        let compile = |part: &str| {
            let refuse = |error: glob::PatternError| PatternError::Glob {
                pattern: text.to_owned(),
                reason: error.msg,
            };
            glob::Pattern::new(part).map_err(refuse)
        };
        compile(folders)?;
        // What ends in a slash names folders; their `*.log` are meant.
        let names = if names.is_empty() { IN_FOLDERS } else { names };
        Ok(Self(Kind::Glob { folders: folders.to_owned(), names: compile(names)? }))
    }
}

/// Names of one folder that are followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selector {
    /// This one.
    Name(Vec<u8>),
    /// Those that match.
    Glob(glob::Pattern),
}

impl Selector {
    /// All that are followed in a folder that is named as such.
    pub(super) fn folder() -> Self {
        // The pattern is a constant that compiles; were it not, nothing would be followed.
        glob::Pattern::new(IN_FOLDERS).map_or_else(|_| Self::Name(Vec::new()), Self::Glob)
    }

    fn selects(&self, name: &[u8]) -> bool {
        match self {
            Self::Name(wanted) => wanted == name,
            Self::Glob(pattern) => {
                pattern.matches_with(&String::from_utf8_lossy(name), MATCHING)
                    && !rotation::is_compressed(name)
            }
        }
    }
}

/// Under which name, and how old, a file of the folder is followed.
pub(super) fn place_of<'a>(
    selectors: &[Selector],
    name: &'a [u8],
) -> Option<(&'a [u8], rotation::Age)> {
    let selected = |name: &[u8]| selectors.iter().any(|selector| selector.selects(name));
    // A sibling before a file of its own: `*.log*` matches rotated files by themselves.
    rotation::split(name)
        .filter(|(base, _)| selected(base))
        .or_else(|| selected(name).then_some((name, rotation::Age::Current)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::Age;

    fn glob(folders: &str, names: &str) -> Pattern {
        let names = glob::Pattern::new(names).unwrap();
        Pattern(Kind::Glob { folders: folders.to_owned(), names })
    }

    #[test]
    fn paths_and_globs_are_told_apart() {
        let path = Pattern(Kind::Path(PathBuf::from("/logs/a.log")));
        assert_eq!(Pattern::parse("/logs/a.log"), Ok(path));
        assert_eq!(Pattern::parse("/logs/*.log"), Ok(glob("/logs", "*.log")));
        assert_eq!(Pattern::parse("/*/a.log"), Ok(glob("/*", "a.log")));
        assert_eq!(Pattern::parse("/*.log"), Ok(glob("/", "*.log")));
        assert_eq!(Pattern::parse("*.log"), Ok(glob(".", "*.log")));
        assert_eq!(Pattern::parse("/logs/*/"), Ok(glob("/logs/*", "*.log")));
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
        assert!(matches!(Pattern::parse("/logs/[a"), Err(PatternError::Glob { .. })));
        assert!(matches!(Pattern::parse("/a***/b"), Err(PatternError::Glob { .. })));
    }

    #[test]
    fn siblings_are_placed_with_the_file_they_were() {
        let logs = [Selector::folder()];
        assert_eq!(place_of(&logs, b"a.log"), Some((&b"a.log"[..], Age::Current)));
        assert_eq!(place_of(&logs, b"a.log.3"), Some((&b"a.log"[..], Age::Generation(3))));
        assert_eq!(place_of(&logs, b"a.log.3.gz"), None);
        assert_eq!(place_of(&logs, b"a.txt"), None);
        assert_eq!(place_of(&logs, b".a.log"), None);
    }

    #[test]
    fn a_wide_glob_takes_no_compressed_file_and_no_sibling_for_itself() {
        let wide = [Selector::Glob(glob::Pattern::new("a.log*").unwrap())];
        assert_eq!(place_of(&wide, b"a.log.3"), Some((&b"a.log"[..], Age::Generation(3))));
        assert_eq!(place_of(&wide, b"a.log.3.gz"), None);
        assert_eq!(place_of(&wide, b"a.log.bak"), Some((&b"a.log.bak"[..], Age::Current)));
    }

    #[test]
    fn a_rotated_file_can_be_named_by_itself() {
        let one = [Selector::Name(b"a.log.3".to_vec())];
        assert_eq!(place_of(&one, b"a.log.3"), Some((&b"a.log.3"[..], Age::Current)));
        assert_eq!(place_of(&one, b"a.log"), None);
    }
}
