//! What the tests stand on: a runtime, the exporter, Prometheus, and a client for all of them.

pub(crate) mod alerting;
pub(crate) mod browser;
pub(crate) mod chat;
pub(crate) mod curl;
pub(crate) mod exporter;
pub(crate) mod exposition;
pub(crate) mod http;
pub(crate) mod mongo;
pub(crate) mod prometheus;
pub(crate) mod recorded;
pub(crate) mod runtime;
pub(crate) mod stored;
pub(crate) mod tls;
pub(crate) mod tools;
pub(crate) mod wait;
