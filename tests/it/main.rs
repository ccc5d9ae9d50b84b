//! The built binary, between a scripted runtime and a real Prometheus.
//!
//! Each file but `support` is one subject. Everything runs in processes and sockets of its own,
//! so that tests do not touch each other; what they need is set up by `tests/run`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by stopping")]
#![expect(clippy::float_cmp, reason = "what is counted exactly is compared exactly")]

mod support;

mod access;
mod access_files;
mod alerts;
mod api;
mod assets;
mod backfill;
mod births;
mod check;
mod client;
mod dashboard;
mod flush;
mod follow;
mod formats;
mod kill;
mod lifecycle;
mod logging;
mod mongo;
mod mongodb;
mod mongodb_trouble;
mod once;
mod receive;
mod receive_bounds;
mod redact;
mod reload;
mod replay;
mod status;
mod weather;
mod witnesses;
