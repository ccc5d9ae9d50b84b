//! AG2's own log: every model call and every use of a tool, by session.
//!
//! AG2 keeps it in a text file ([`Lines`]) or in an SQLite database ([`Sqlite`]). Neither names a
//! chat; the runtime's log says which session is whose (`ag2_runtime_logging_started`). Prompts,
//! answers and API keys stand in both in clear: nothing of them leaves this folder.

mod call;
mod line;
mod place;
mod repr;
mod response;
mod rows;
mod source;
mod sqlite;

pub use call::Flaw;
pub use line::{Lines, Read};
pub use source::{Ag2, is_database};
pub use sqlite::{Error, Sqlite, Step};

#[cfg(test)]
mod tests;
