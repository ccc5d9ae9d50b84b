//! `check`: proves what the user wrote or set up, and says what to do about the rest.
//!
//! Each kind of check is a folder of its own that adds to a [`Report`]: `queries` holds rules and
//! dashboards against the catalogue of metrics, `serve` looks at what `serve` would work with.

pub mod queries;
mod report;
mod serve;

use std::io;
use std::path::PathBuf;

pub use report::{Finding, Report, Row, State, Weight};

use crate::cli::CheckArgs;

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// No query was named that these say something of.
    #[error("--foreign and --label are about queries: name files with --rules or --dashboard")]
    Nothing,
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is larger than any that people write.
    #[error("{} is larger than {limit} bytes", path.display())]
    Large {
        /// Which.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
}

/// Runs the checks that were asked for.
pub async fn run(args: &CheckArgs) -> Result<Report, CheckError> {
    if !args.rules.is_empty() || !args.dashboard.is_empty() {
        return queries::check(args);
    }
    if !args.foreign.is_empty() || !args.label.is_empty() {
        return Err(CheckError::Nothing);
    }
    Ok(serve::check(&args.serve).await)
}
