//! The control listener: whatever is pushed comes in here.
//!
//! ```text
//! body ──► unpacked ──► items ──► events ──► ledger ──► on the disk ──► 202
//! ```
//!
//! `body` reads a request's body within bounds, `intake` hands it to the ledger, `reload` asks for the
//! configuration to be read anew, `routes` answers, `refusal` says no. What was answered with 202 survives
//! SIGKILL and counts once.

mod body;
mod intake;
mod refusal;
mod reload;
mod routes;

pub use intake::{Intake, Roster};
pub use reload::{Changes, Reload, ReloadError, Reloads, reloads};
pub use routes::Control;
