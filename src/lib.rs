//! mozaiks-exporter.
pub mod ledger;
pub mod model;
