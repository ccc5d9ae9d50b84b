//! Families about the process, under the names that every Prometheus client uses.

use super::exposition::{Samples, Type};
use super::family::{Definition, Family};
use super::view::View;

pub(super) const FAMILIES: &[&dyn Definition] = &[
    &process(
        Type::Counter,
        "process_cpu_seconds_total",
        "User and system CPU time of the exporter.",
        |view, out| value(view, out, "process_cpu_seconds_total"),
    ),
    &process(
        Type::Gauge,
        "process_resident_memory_bytes",
        "Resident memory of the exporter.",
        |view, out| value(view, out, "process_resident_memory_bytes"),
    ),
    &process(
        Type::Gauge,
        "process_virtual_memory_bytes",
        "Virtual memory of the exporter.",
        |view, out| value(view, out, "process_virtual_memory_bytes"),
    ),
    &process(
        Type::Gauge,
        "process_open_fds",
        "File descriptors that the exporter has open.",
        |view, out| value(view, out, "process_open_fds"),
    ),
    &process(
        Type::Gauge,
        "process_max_fds",
        "File descriptors that the exporter may have open.",
        |view, out| value(view, out, "process_max_fds"),
    ),
    &process(Type::Gauge, "process_threads", "Threads of the exporter.", |view, out| {
        value(view, out, "process_threads");
    }),
    &process(
        Type::Gauge,
        "process_start_time_seconds",
        "Unix time at which the exporter was started.",
        |view, out| value(view, out, "process_start_time_seconds"),
    ),
];

type Collect = fn(&View<'_>, &mut Samples<'_, 0>);

const fn process(
    kind: Type,
    name: &'static str,
    help: &'static str,
    collect: Collect,
) -> Family<0> {
    Family::new(kind, name, help, [], collect)
}

fn value(view: &View<'_>, out: &mut Samples<'_, 0>, name: &str) {
    if let Some(value) = view.process.values.get(name) {
        out.put([], *value);
    }
}
