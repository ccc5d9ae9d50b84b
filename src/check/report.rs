//! What a check finds, for people and for machines.

use std::fmt;

use serde::Serialize;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Cannot work, or means something else than it says.
    Error,
    /// May be meant.
    Warning,
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it weighs.
    pub weight: Weight,
    /// The file.
    pub file: String,
    /// Group and rule, or panel, variable or annotation.
    pub place: String,
    /// A short name for the kind of finding, which stays the same.
    pub kind: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { weight, file, place, what, advice, .. } = self;
        let weight = if *weight == Weight::Warning { "warning: " } else { "" };
        write!(f, "{file}: {place}: {weight}{what}; {advice}")
    }
}

/// All that was found, and in how much.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Each finding, in the order of the files.
    pub findings: Vec<Finding>,
    /// Files that were read.
    pub files: usize,
    /// Queries in them.
    pub queries: usize,
}

impl Report {
    /// How many findings are of that weight.
    pub fn count(&self, weight: Weight) -> usize {
        self.findings.iter().filter(|finding| finding.weight == weight).count()
    }

    /// Whether nothing has to be done. Warnings are told and excused.
    pub fn is_fine(&self) -> bool {
        self.count(Weight::Error) == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let (errors, warnings) = (self.count(Weight::Error), self.count(Weight::Warning));
        let Self { files, queries, .. } = self;
        writeln!(f, "{files} files, {queries} queries: {errors} errors, {warnings} warnings")
    }
}
