//! The control listener: whatever is pushed comes in here.
//!
//! ```text
//! body ──► unpacked ──► items ──► events ──► ledger ──► on the disk ──► 202
//! ```
//!
//! `body` reads a request's body within bounds, `intake` hands it to the ledger, `access` asks for the
//! token, `routes` answers, `refusal` says no. What was answered with 202 survives SIGKILL and counts once.

mod access;
mod body;
mod intake;
mod refusal;
mod routes;

pub use access::Access;
pub use intake::Intake;
pub use routes::Control;
