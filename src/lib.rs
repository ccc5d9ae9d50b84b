//! mozaiks-exporter: exact Prometheus metrics for the MozaiksAI runtime.
//!
//! Data flows one way. A source knows nothing of metrics, the exposition knows nothing of sources,
//! and the ledger knows neither HTTP nor files.
//!
//! ```text
//! sources ──────► model ─────► ledger ─────► metrics ─────► server
//! foreign         facts, one   running       families,      /metrics,
//! formats, I/O    vocabulary   totals,       rebuilt at     JSON routes,
//!                              pure          each scrape    probes
//!                                │  ▲
//!                                ▼  │
//!                               store   rows on disk: nothing is shown before it is kept
//! ```
//!
//! | room | a line of code belongs here if it |
//! |---|---|
//! | [`model`] | names a quantity, a unit, a clock or a fact that several rooms share |
//! | [`mongo`] | knows how a MongoDB is reached, whoever asks it |
//! | [`sources`] | parses something foreign, waits for it, retries it |
//! | [`ledger`] | adds up, forgets, decides between witnesses; no I/O, no clock, no async |
//! | [`store`] | brings the ledger to the disk and back |
//! | [`flush`] | writes the state of chats to the shared store |
//! | [`metrics`] | contains a metric's name, or writes an exposition |
//! | [`access`] | decides who gets in |
//! | [`server`] | knows HTTP as a server, and answers who reads |
//! | [`control`] | takes in what is pushed |
//! | [`telemetry`] | counts what the exporter itself does |
//! | [`app`] | wires parts together and owns the tasks |
//! | [`cli`], [`config`], [`logging`] | concerns how the process is run |
//! | [`redact`] | takes secrets out of text; knows no other room |
//! | [`assets`] | writes the files that ship, with values of the user's |
//! | [`check`] | proves what the user wrote, and looks at what `serve` would work with |
//! | [`backfill`] | takes a ledger through the past |
//! | [`healthcheck`] | asks another exporter whether it is well |
//! | [`demo`] | simulates a runtime |

pub mod access;
pub mod app;
pub mod assets;
pub mod backfill;
pub mod check;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod flush;
pub mod healthcheck;
pub mod ledger;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod mongo;
pub mod redact;
pub mod server;
pub mod sources;
pub mod store;
pub mod telemetry;
