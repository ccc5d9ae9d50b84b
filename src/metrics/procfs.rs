//! What the operating system says of this process; read by the `prometheus` crate's collector.

use std::collections::BTreeMap;

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;

/// What the operating system says of this process at one moment.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// By the names of the families. Empty where nothing is said.
    pub(super) values: BTreeMap<String, f64>,
}

impl Process {
    /// Asks.
    pub fn read() -> Self {
        let families = ProcessCollector::for_self().collect();
        let values = families
            .iter()
            .filter_map(|family| {
                let metric = family.get_metric().first()?;
                let value = match family.get_field_type() {
                    prometheus::proto::MetricType::COUNTER => metric.get_counter().get_value(),
                    _ => metric.get_gauge().get_value(),
                };
                Some((family.name().to_owned(), value))
            })
            .collect();
        Self { values }
    }
}
