//! What the parts share.

pub(crate) mod counting;
pub(crate) mod cpu;
pub(crate) mod engine;
pub(crate) mod http;
pub(crate) mod process;
pub(crate) mod results;
pub(crate) mod runtime;
pub(crate) mod workload;
