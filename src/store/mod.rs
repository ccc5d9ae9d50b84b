//! The state store: rows of text in a SQLite file that survive the process.
//!
//! It keeps what the ledger gives it and knows nothing of what is in it. Every row carries a
//! checksum; a file that is damaged is moved aside, not repaired and not guessed at. `sqlite3
//! state.db 'SELECT * FROM chats'` shows it to people.

mod file;
mod keeper;
mod layout;
mod look;
#[cfg(test)]
mod tests;

pub use file::{DirError, Opened, StoreFile, Take};
pub use keeper::{Keeper, Kept, NotKept, Shared};
pub use look::{Content, content, is_held};
