//! What the operating system says of this process; read by the `prometheus` crate's collector.

use std::collections::BTreeMap;

use prometheus::core::Collector as _;
use prometheus::process_collector::ProcessCollector;

/// The values by the names of their families. Empty where nothing is said.
pub(super) fn read() -> BTreeMap<String, f64> {
    let families = ProcessCollector::for_self().collect();
    families
        .iter()
        .filter_map(|family| {
            let metric = family.get_metric().first()?;
            let value = match family.get_field_type() {
                prometheus::proto::MetricType::COUNTER => metric.get_counter().get_value(),
                _ => metric.get_gauge().get_value(),
            };
            Some((family.name().to_owned(), value))
        })
        .collect()
}
