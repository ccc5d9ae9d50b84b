//! Families about files that are read while the exporter runs.

use super::exposition::Type;
use super::family::{Definition, Family};

pub(super) const FAMILIES: &[&dyn Definition] = &[
    &Family::new(
        Type::Gauge,
        "mozaiks_exporter_config_last_reload_successful",
        "Whether the last try to read the configuration succeeded; if not, the one before is in force.",
        [],
        |view, out| {
            if let Some((successful, _)) = view.numbers.config.last {
                out.put([], u64::from(successful));
            }
        },
    ),
    &Family::new(
        Type::Gauge,
        "mozaiks_exporter_config_last_reload_success_timestamp_seconds",
        "Unix time of the last try to read the configuration that succeeded.",
        [],
        |view, out| {
            if let Some((_, at)) = view.numbers.config.last {
                out.put([], at.seconds());
            }
        },
    ),
    &Family::new(
        Type::Gauge,
        "mozaiks_exporter_web_config_last_reload_successful",
        "Whether the last try to read who gets in succeeded, by listener.",
        ["listener"],
        |view, out| {
            for (listener, successful) in &view.numbers.config.access {
                out.put([listener], u64::from(*successful));
            }
        },
    ),
];
