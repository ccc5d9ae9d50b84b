//! The legend: which emoji stands before which line. The categories are those of the runtime's log.

use tracing::Level;

/// Severity decides first, then the room that speaks.
const BY_ROOM: &[(&str, &str)] = &[
    ("::sources::logs", "🎯"),
    ("::sources::ag2", "🎯"),
    ("::sources::tail", "🎯"),
    ("::sources", "🔌"),
    ("::server", "🔌"),
    ("::logging::timing", "⏱️"),
    ("::ledger", "🪙"),
    ("::demo", "🧩"),
];

/// The emoji of a line.
pub(super) fn emoji(level: Level, target: &str) -> &'static str {
    let by_room =
        || BY_ROOM.iter().find(|(room, _)| target.contains(room)).map(|(_, emoji)| *emoji);
    match level {
        Level::ERROR => "❌",
        Level::WARN => "⚠️",
        Level::INFO => by_room().unwrap_or("ℹ️"),
        Level::DEBUG | Level::TRACE => "🐛",
    }
}

/// The level as the runtime writes it.
pub(super) fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_decides_before_the_room() {
        let of = |level, room| emoji(level, &format!("exporter::{room}"));
        assert_eq!(of(Level::INFO, "sources::runner"), "🔌");
        assert_eq!(of(Level::INFO, "sources::logs::source"), "🎯");
        assert_eq!(of(Level::INFO, "app"), "ℹ️");
        assert_eq!(of(Level::WARN, "sources::runner"), "⚠️");
    }
}
