//! What a check finds, for people and for machines.

use std::fmt;

use serde::Serialize;

use crate::redact::redact;

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

/// How it stands with a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// May be meant, or will be wrong soon.
    Warn,
    /// Cannot work.
    Fail,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// A thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// How it stands with it.
    pub state: State,
    /// What was looked at.
    pub thing: String,
    /// What was seen. Holds nothing secret.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Row {
    /// A thing as it should be.
    pub fn ok(thing: impl Into<String>, what: impl AsRef<str>) -> Self {
        Self::new(State::Ok, thing, what.as_ref(), None)
    }

    /// A thing that may be meant, and what to do if it is not.
    pub fn warn(
        thing: impl Into<String>,
        what: impl AsRef<str>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(State::Warn, thing, what.as_ref(), Some(remedy.into()))
    }

    /// A thing that cannot work, and what to do about it.
    pub fn fail(
        thing: impl Into<String>,
        what: impl AsRef<str>,
        remedy: impl Into<String>,
    ) -> Self {
        Self::new(State::Fail, thing, what.as_ref(), Some(remedy.into()))
    }

    /// What was seen may come from elsewhere: it is one line, without secrets.
    fn new(state: State, thing: impl Into<String>, what: &str, remedy: Option<String>) -> Self {
        let what = redact(what).replace(|c: char| c.is_control(), " ");
        Self { state, thing: thing.into(), what, remedy }
    }
}

/// All that was found, and in how much.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// What `serve` would work with, each thing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Row>,
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
        self.count(Weight::Error) == 0 && self.rows.iter().all(|row| row.state != State::Fail)
    }

    /// How many things stand so.
    fn stand(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.state == state).count()
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.thing.chars().count()).max().unwrap_or(0);
        for Row { state, thing, what, remedy } in &self.rows {
            write!(f, "{state:4}  {thing:width$}  {what}")?;
            match remedy {
                Some(remedy) => writeln!(f, "; {remedy}")?,
                None => writeln!(f)?,
            }
        }
        let [fine, warnings, failures] =
            [State::Ok, State::Warn, State::Fail].map(|state| self.stand(state));
        writeln!(f, "{fine} ok, {warnings} warnings, {failures} failures")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.rows.is_empty() {
            return self.table(f);
        }
        for finding in &self.findings {
            writeln!(f, "{finding}")?;
        }
        let (errors, warnings) = (self.count(Weight::Error), self.count(Weight::Warning));
        let Self { files, queries, .. } = self;
        writeln!(f, "{files} files, {queries} queries: {errors} errors, {warnings} warnings")
    }
}
