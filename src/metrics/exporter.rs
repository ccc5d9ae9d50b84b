//! Families about the exporter itself: what it read, refused, kept and answered.

use std::collections::BTreeMap;

use super::exposition::{Samples, Type, Value};
use super::family::{Definition, Family};
use super::view::View;
use crate::model::{Count, Counters, Source};
use crate::telemetry::{Follower, OWN_BOUNDS, Reader, Target};

/// Every source that may have been heard.
const SOURCES: [Source; 6] = [
    Source::Scrape,
    Source::Logs,
    Source::Mongodb,
    Source::Ag2,
    Source::Receive,
    Source::UsageIngest,
];

/// What can be pushed.
const EVENTS: [&str; 6] =
    ["workflow_start", "agent_turn", "usage_delta", "tool_call", "workflow_end", "usage_summary"];

pub(super) const FAMILIES: &[&dyn Definition] = &[
    &Family::new(
        Type::Gauge,
        "mozaiks_exporter_build_info",
        "Always 1; the labels say which build this is.",
        ["version"],
        |_, out| out.put([env!("CARGO_PKG_VERSION")], 1_u64),
    ),
    &target(Type::Counter, "mozaiks_exporter_polls_total", "Polls of the runtime.", |view, out| {
        targets(view, out, |target| Some(target.polls.into()));
    }),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_poll_failures_total",
        "Requests to the runtime that failed, by why.",
        ["runtime", "reason"],
        |view, out| by_reason(view, out, |target| &target.failures),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_snapshots_rejected_total",
        "Chats in the runtime's answers that could not be understood, by why.",
        ["runtime", "reason"],
        |view, out| by_reason(view, out, |target| &target.rejected),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_snapshot_fields_ignored_total",
        "Fields in the runtime's answers that could not be read and count as not given.",
        ["runtime", "field"],
        |view, out| by_reason(view, out, |target| &target.ignored_fields),
    ),
    &Family::new(
        Type::Histogram(OWN_BOUNDS),
        "mozaiks_exporter_poll_duration_seconds",
        "How long polls took.",
        ["runtime"],
        |view, out| {
            for (name, target) in &view.numbers.targets {
                out.put_histogram(None, [name], OWN_BOUNDS, Some(&target.durations), &[]);
            }
        },
    ),
    &target(
        Type::Gauge,
        "mozaiks_exporter_poll_last_success_timestamp_seconds",
        "Unix time of the last poll that was answered: the age of what is shown.",
        |view, out| {
            targets(view, out, |target| target.last_success.map(|t| t.seconds().into()));
        },
    ),
    &target(
        Type::Gauge,
        "mozaiks_exporter_poll_interval_seconds",
        "Time from one poll to the next; grows with failures and with large answers.",
        |view, out| targets(view, out, |target| Some(target.interval_seconds.into())),
    ),
    &target(
        Type::Gauge,
        "mozaiks_exporter_poll_response_bytes",
        "Size of the last answer.",
        |view, out| targets(view, out, |target| Some(target.bytes.into())),
    ),
    &target(
        Type::Gauge,
        "mozaiks_exporter_poll_chats",
        "Chats in the last answer.",
        |view, out| targets(view, out, |target| Some(target.chats.into())),
    ),
    &follower(
        Type::Counter,
        "mozaiks_exporter_log_bytes_total",
        "Bytes of log files that were read.",
        |view, out| followers(view, out, |reader| reader.bytes),
    ),
    &follower(
        Type::Gauge,
        "mozaiks_exporter_log_bytes_behind",
        "Bytes of log files that lie there and were not read yet.",
        |view, out| followers(view, out, |reader| reader.bytes_behind),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_log_lines_total",
        "Lines of log files that were read, by what became of them.",
        ["runtime", "source", "result"],
        |view, out| by_word(view, out, |follower| &follower.lines),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_log_rotations_total",
        "Log files that were renamed and replaced, or cut back, by which.",
        ["runtime", "source", "kind"],
        |view, out| {
            for ((runtime, source), follower) in &view.numbers.followers {
                out.put([runtime, source, "renamed"], follower.sum(|reader| reader.renamed));
                out.put([runtime, source, "cut"], follower.sum(|reader| reader.cut));
            }
        },
    ),
    &follower(
        Type::Gauge,
        "mozaiks_exporter_log_files",
        "Log files and databases that are followed.",
        |view, out| followers(view, out, |reader| reader.files),
    ),
    &follower(
        Type::Gauge,
        "mozaiks_exporter_log_problems",
        "Log files, folders and databases that cannot be read now.",
        |view, out| followers(view, out, |reader| reader.problems),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_log_rows_total",
        "Rows of log databases that were read, by what became of them.",
        ["runtime", "source", "result"],
        |view, out| by_word(view, out, |follower| &follower.rows),
    ),
    &follower(
        Type::Gauge,
        "mozaiks_exporter_log_rows_behind",
        "Rows of log databases that lie there and were not read yet.",
        |view, out| followers(view, out, |reader| reader.rows_behind),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_events_total",
        "Pushed events and summaries that could be read, by what became of them.",
        ["event", "result"],
        |view, out| {
            for event in EVENTS {
                for result in ["accepted", "duplicate"] {
                    let count = view.numbers.events.received.get(&(event, result));
                    out.put([event, result], count.copied().unwrap_or(0));
                }
            }
        },
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_events_rejected_total",
        "Pushed events and summaries that could not be understood, by why.",
        ["reason"],
        |view, out| {
            for (reason, count) in &view.numbers.events.rejected {
                out.put([reason], *count);
            }
        },
    ),
    &plain(
        Type::Counter,
        "mozaiks_exporter_event_clocks_corrected_total",
        "Pushed events more than a minute ahead or a week behind; the time of their coming counts.",
        |view, out| out.put([], view.numbers.events.clocks_off),
    ),
    &plain(
        Type::Counter,
        "mozaiks_exporter_event_ids_forgotten_total",
        "Ids of events that were forgotten within their window, because there were too many.",
        |view, out| out.put([], view.look.ledger.tally().ids_forgotten),
    ),
    &plain(
        Type::Counter,
        "mozaiks_exporter_pushed_chats_forgotten_total",
        "Pushed chats that were forgotten before their time, because there were too many.",
        |view, out| out.put([], view.look.ledger.tally().forgotten_pushed),
    ),
    &plain(
        Type::Gauge,
        "mozaiks_exporter_events_pending",
        "Requests with events that wait for the disk before they are answered.",
        |view, out| out.put([], view.numbers.events.waiting),
    ),
    &plain(
        Type::Gauge,
        "mozaiks_exporter_chats_awaited",
        "Chats and sessions of which events were told, but not yet who they are.",
        |view, out| out.put([], view.look.ledger.waiting()),
    ),
    &Family::new(
        Type::Gauge,
        "mozaiks_exporter_stated_drift",
        "The runtime's own sum minus the sum of the chats in the same answer.",
        ["runtime", "quantity"],
        |view, out| {
            for (name, target) in &view.numbers.targets {
                let Some((stated, summed)) = &target.stated else {
                    continue;
                };
                for (quantity, value) in drift(stated, summed) {
                    out.put([name, quantity], value);
                }
            }
        },
    ),
    &Family::new(
        Type::Gauge,
        "mozaiks_exporter_witness_drift",
        "What is published minus what this source alone would say, over the chats it knows.",
        ["source", "quantity"],
        |view, out| {
            for (witness, (published, account)) in view.look.ledger.drifts() {
                for (quantity, value) in drift(&published, &account) {
                    out.put([witness.label(), quantity], value);
                }
            }
        },
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_regressions_total",
        "Snapshots that were below what the same life of the chat had shown before.",
        ["source"],
        |view, out| {
            for source in heard(view) {
                let regressions = view.look.ledger.tally().regressions.get(&source);
                out.put([source.label()], regressions.copied().unwrap_or(0));
            }
        },
    ),
    &plain(
        Type::Counter,
        "mozaiks_exporter_snapshot_duplicates_total",
        "Chats that stood more than once in one answer.",
        |view, out| out.put([], view.look.ledger.tally().duplicates),
    ),
    &plain(
        Type::Counter,
        "mozaiks_exporter_lives_refused_total",
        "Snapshots of lives that are older than the oldest one kept of their chat.",
        |view, out| out.put([], view.look.ledger.tally().ancient_lives),
    ),
    &plain(
        Type::Counter,
        "mozaiks_exporter_lives_aligned_total",
        "Lives that began before their source was heard; only their later growth counts.",
        |view, out| out.put([], view.look.ledger.tally().aligned),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_chats_evicted_total",
        "Chats whose series were dropped, by why. Totals keep what they spent.",
        ["reason"],
        |view, out| {
            out.put(["retention"], view.look.ledger.tally().evicted_by_age);
            out.put(["limit"], view.look.ledger.tally().evicted_by_bound);
        },
    ),
    &plain(
        Type::Gauge,
        "mozaiks_exporter_series",
        "Samples in the last exposition.",
        |view, out| out.put([], view.numbers.answers.series),
    ),
    &plain(Type::Gauge, "mozaiks_exporter_series_limit", "The series budget.", |view, out| {
        let changed = view.numbers.config.max_series;
        out.put([], changed.unwrap_or(view.look.show.max_series));
    }),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_series_folded_total",
        "Label sets that share _other because the budget is used up, by family.",
        ["family"],
        |view, out| {
            let tally = view.look.ledger.tally();
            out.put(["chat"], tally.folded_chats);
            out.put(["workflow"], tally.folded_workflows);
            out.put(["user"], tally.folded_users);
            out.put(["event"], tally.folded_breakdowns);
        },
    ),
    &plain(
        Type::Gauge,
        "mozaiks_exporter_state_durable",
        "Whether what is shown survives the process.",
        |view, out| out.put([], view.numbers.store.durable),
    ),
    &plain(
        Type::Counter,
        "mozaiks_exporter_state_commits_total",
        "Commits to the state store.",
        |view, out| out.put([], view.numbers.store.commits),
    ),
    &plain(
        Type::Counter,
        "mozaiks_exporter_state_commit_errors_total",
        "Commits to the state store that failed.",
        |view, out| out.put([], view.numbers.store.errors),
    ),
    &Family::new(
        Type::Histogram(OWN_BOUNDS),
        "mozaiks_exporter_state_commit_duration_seconds",
        "How long commits to the state store took.",
        [],
        |view, out| {
            out.put_histogram(None, [], OWN_BOUNDS, Some(&view.numbers.store.durations), &[]);
        },
    ),
    &plain(
        Type::Gauge,
        "mozaiks_exporter_state_size_bytes",
        "Size of the state store's files.",
        |view, out| out.put([], view.numbers.store.bytes),
    ),
    &plain(
        Type::Counter,
        "mozaiks_exporter_state_damaged_total",
        "Damaged state stores that were moved aside.",
        |view, out| out.put([], view.numbers.store.damaged),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_http_requests_total",
        "Requests answered, by handler and status.",
        ["handler", "code"],
        |view, out| {
            for ((handler, code), count) in &view.numbers.answers.requests {
                out.put([handler, &code.to_string()], *count);
            }
        },
    ),
    &Family::new(
        Type::Histogram(OWN_BOUNDS),
        "mozaiks_exporter_http_request_duration_seconds",
        "Time from a request to its answer, by handler.",
        ["handler"],
        |view, out| {
            for (handler, durations) in &view.numbers.answers.durations {
                out.put_histogram(None, [handler], OWN_BOUNDS, Some(durations), &[]);
            }
        },
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_http_response_bytes_total",
        "Bytes of answers' bodies, by encoding.",
        ["encoding"],
        |view, out| {
            for (encoding, bytes) in &view.numbers.answers.bytes {
                out.put([encoding], *bytes);
            }
        },
    ),
];

const fn follower(
    kind: Type,
    name: &'static str,
    help: &'static str,
    collect: fn(&View<'_>, &mut Samples<'_, 2>),
) -> Family<2> {
    Family::new(kind, name, help, ["runtime", "source"], collect)
}

fn followers(view: &View<'_>, out: &mut Samples<'_, 2>, value: fn(&Reader) -> u64) {
    for ((runtime, source), follower) in &view.numbers.followers {
        out.put([runtime, source], follower.sum(value));
    }
}

fn by_word(
    view: &View<'_>,
    out: &mut Samples<'_, 3>,
    values: fn(&Follower) -> &BTreeMap<&'static str, u64>,
) {
    for ((runtime, source), follower) in &view.numbers.followers {
        for (word, value) in values(follower) {
            out.put([runtime, source, word], *value);
        }
    }
}

const fn target(
    kind: Type,
    name: &'static str,
    help: &'static str,
    collect: fn(&View<'_>, &mut Samples<'_, 1>),
) -> Family<1> {
    Family::new(kind, name, help, ["runtime"], collect)
}

const fn plain(
    kind: Type,
    name: &'static str,
    help: &'static str,
    collect: fn(&View<'_>, &mut Samples<'_, 0>),
) -> Family<0> {
    Family::new(kind, name, help, [], collect)
}

/// The sources that have told anything yet.
fn heard(view: &View<'_>) -> impl Iterator<Item = Source> {
    let runtimes = view.look.ledger.runtimes();
    SOURCES.into_iter().filter(|source| runtimes.iter().any(|r| r.has_heard(*source)))
}

fn targets(view: &View<'_>, out: &mut Samples<'_, 1>, value: impl Fn(&Target) -> Option<Value>) {
    for (name, target) in &view.numbers.targets {
        if let Some(value) = value(target) {
            out.put([name], value);
        }
    }
}

fn by_reason(
    view: &View<'_>,
    out: &mut Samples<'_, 2>,
    counts: impl Fn(&Target) -> &std::collections::BTreeMap<&'static str, u64>,
) {
    for (name, target) in &view.numbers.targets {
        for (reason, count) in counts(target) {
            out.put([name, reason], *count);
        }
    }
}

/// `a - b` by quantity.
#[expect(clippy::cast_precision_loss, reason = "a drift is looked at, not counted with")]
fn drift(a: &Counters, b: &Counters) -> [(&'static str, f64); 6] {
    let count = |count| a.get(count) as f64 - b.get(count) as f64;
    [
        ("agent_turns", count(Count::Turns)),
        ("tool_calls", count(Count::ToolCalls)),
        ("errors", count(Count::Errors)),
        ("prompt_tokens", count(Count::PromptTokens)),
        ("completion_tokens", count(Count::CompletionTokens)),
        (
            "cost_usd",
            a.cost.saturating_sub(b.cost).as_f64() - b.cost.saturating_sub(a.cost).as_f64(),
        ),
    ]
}
