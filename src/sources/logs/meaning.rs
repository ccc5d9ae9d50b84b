//! What a line is about, by its logger and its message.

use crate::model::Level;

/// Writes turns, tool calls and the ends of runs, and most else.
const WORKFLOW: &str = "mozaiks.workflow";
/// Writes what each model call used.
const USAGE: &str = "core.observability.realtime_token_logger";
/// Writes which session of AG2's log is whose.
const SESSIONS: &str = "core.observability.ag2.runtime";
/// Writes who was let in.
const AUTH: &str = "core.auth.dependencies";

/// Kinds of lines that tell an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `workflow_start`.
    Started,
    /// `agent_turn`.
    Turn,
    /// `usage_delta_recorded`.
    Recorded,
    /// `realtime_usage_delta`.
    Call,
    /// `tool_call`.
    Tool,
    /// `ag2_runtime_logging_started`.
    SessionOpened,
    /// ` [NAME] Workflow completed`.
    Ended,
    /// `Event loop failure: …`.
    Failed,
}

/// What a line means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It tells an event.
    Event(Kind),
    /// It is there because somebody asked the runtime over HTTP, as this exporter does.
    Echo,
    /// It is one line more.
    None,
}

/// Whether anything that this logger writes means something.
pub(super) fn matters(logger: &str) -> bool {
    matches!(logger, WORKFLOW | USAGE | SESSIONS | AUTH)
}

/// What a line means.
///
/// Lines of a tool's own logger (`core.tools.NAME`, `tool:start`, `tool:finish`) mean nothing: only
/// some tools write them, a call leaves up to two of them besides its `tool_call`, and nothing in
/// them says which of those belong together.
pub(super) fn meaning(level: Level, logger: &str, message: &str) -> Meaning {
    use Meaning::{Echo, Event, None};
    match (logger, message) {
        (WORKFLOW, "workflow_start") => Event(Kind::Started),
        (WORKFLOW, "agent_turn") => Event(Kind::Turn),
        (WORKFLOW, "usage_delta_recorded") => Event(Kind::Recorded),
        (WORKFLOW, "tool_call") => Event(Kind::Tool),
        (USAGE, "realtime_usage_delta") => Event(Kind::Call),
        (SESSIONS, "ag2_runtime_logging_started") => Event(Kind::SessionOpened),
        (WORKFLOW, "health_check_duration")
        | (AUTH, "Auth disabled - using anonymous principal") => Echo,
        (WORKFLOW, _) if message.starts_with("🔍 PERF_SINGLETON: Using existing") => Echo,
        (WORKFLOW, _) if level >= Level::Error && message.starts_with("Event loop failure") => {
            Event(Kind::Failed)
        }
        (WORKFLOW, _) if is_completion(message) => Event(Kind::Ended),
        _ => None,
    }
}

/// ` [TICKETDESK] Workflow completed`, also without the blank in front.
fn is_completion(message: &str) -> bool {
    message.trim_start().starts_with('[') && message.ends_with("] Workflow completed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_means_something_from_its_own_logger_only() {
        let of = |logger, message| meaning(Level::Info, logger, message);
        assert_eq!(of(WORKFLOW, "agent_turn"), Meaning::Event(Kind::Turn));
        assert_eq!(of(USAGE, "agent_turn"), Meaning::None);
        assert_eq!(of("core.tools.lookup_order", "tool:finish (error)"), Meaning::None);
        assert_eq!(of(SESSIONS, "ag2_runtime_logging_stopped"), Meaning::None);
        assert_eq!(of(USAGE, "realtime_session_totals"), Meaning::None);
        for logger in [WORKFLOW, USAGE, SESSIONS, AUTH] {
            assert!(matters(logger));
        }
        assert!(!matters("core.tools.lookup_order"));
    }

    #[test]
    fn ends_and_failures_are_known_by_a_part_of_the_message() {
        let of = |level, message| meaning(level, WORKFLOW, message);
        let ended = Meaning::Event(Kind::Ended);
        assert_eq!(of(Level::Info, " [TICKETDESK] Workflow completed"), ended);
        assert_eq!(of(Level::Info, " [A \"B\"]] Workflow completed"), ended);
        assert_eq!(of(Level::Info, "Workflow completed"), Meaning::None);
        assert_eq!(of(Level::Info, "WORKFLOW_COMPLETED"), Meaning::None);
        let failed = Meaning::Event(Kind::Failed);
        assert_eq!(of(Level::Error, "Event loop failure: Error code: 400"), failed);
        assert_eq!(of(Level::Info, "Event loop failure: Error code: 400"), Meaning::None);
    }
}
