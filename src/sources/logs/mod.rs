//! The runtime's log, line by line.
//!
//! [`read`] takes a line apart and remembers nothing; who follows the file is another's concern.
//! A message may hold prompts, answers and keys: it never leaves this folder.

mod extra;
mod line;
mod meaning;
mod pretty;
mod source;

pub use line::{Flaw, Line, Read, read};
pub use source::{Logs, not_ours};

#[cfg(test)]
mod tests;
