//! A simulated MozaiksAI runtime, for `demo` and for whoever wants to watch without one.
//!
//! In goes a seed and the time; out come the answers of the runtime's HTTP routes, in its own
//! shapes and number formats. The world is lively and full of what goes wrong in a real one:
//! slow turns, failing tools, a model without a price, chats that stall, that move on after
//! their end or that cost a fortune, and a runtime that restarts and forgets everything.
//!
//! ```text
//! cast      who there is: apps, users, workflows, prices
//! world     what happens, and why; pure
//! agenda    what is going to happen, and when
//! chat      what one chat counts
//! answers   the JSON of the runtime
//! server    its routes over HTTP/1.1
//! run       the command: both of them together
//! ```
//!
//! Left out: authentication and CORS, logs, MongoDB. Nothing is read from a clock, a file or
//! the environment: equal seeds and times give equal worlds.

mod agenda;
mod answers;
mod cast;
mod chat;
mod run;
mod server;
mod world;

pub use run::{DemoError, run};
pub use server::serve;
pub use world::Simulation;
