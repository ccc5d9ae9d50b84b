//! Who gets in: what a listener asks of those who come to it.
//!
//! ```text
//! connection ──► TLS, client certificate ──► rate ──► name and password, or token ──► the listener
//! ```
//!
//! `web` reads a file in the format that Prometheus' exporters share, `token` a token, `files` sees that
//! they have changed, `users` compares passwords, `rate` counts, `origin` knows browsers' requests from
//! other sites, `gate` puts them together, `survey` tells what they say. Nothing here knows what is behind the gate.

mod files;
mod gate;
mod origin;
mod rate;
mod survey;
mod token;
mod users;
mod web;

pub use files::FileError;
pub use gate::{AccessError, Denied, Gate, Means, Prepared, Side};
pub use origin::{Foreign, check as check_origin};
pub use survey::{Survey, ends, survey};
pub use web::WebError;
