//! Families about the flush to MongoDB. They are there where a flush is configured.

use super::exposition::{Samples, Type, Value};
use super::family::{Definition, Family};
use super::view::View;
use crate::telemetry::{FlushNumbers, OWN_BOUNDS};

pub(super) const FAMILIES: &[&dyn Definition] = &[
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_flushes_total",
        "Flushes of pushed chats to MongoDB that had something to write, by what came of them.",
        ["result"],
        |view, out| {
            if let Some(flush) = &view.numbers.flush {
                out.put(["success"], flush.successes);
                out.put(["failed"], flush.failures.values().sum::<u64>());
            }
        },
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_flush_failures_total",
        "Flushes to MongoDB that failed and are tried again, by why.",
        ["reason"],
        |view, out| by_word(view, out, |flush| &flush.failures),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_flush_documents_total",
        "Documents that were sent to MongoDB: written, left alone because somebody else wrote them \
         (conflict), or refused by the server.",
        ["result"],
        |view, out| by_word(view, out, |flush| &flush.documents),
    ),
    &plain(
        Type::Gauge,
        "mozaiks_exporter_flush_backlog_chats",
        "Pushed chats whose last state MongoDB does not have yet.",
        |view, out| put(view, out, |_| Some((view.look.ledger.debt().chats as u64).into())),
    ),
    &plain(
        Type::Gauge,
        "mozaiks_exporter_flush_lag_seconds",
        "Age of the oldest change of a pushed chat that MongoDB does not have yet; 0 without any.",
        |view, out| {
            put(view, out, |_| {
                let since = view.look.ledger.debt().since;
                Some(
                    since.map_or(0.0, |since| view.look.now.wall.since(since).as_secs_f64()).into(),
                )
            });
        },
    ),
    &plain(
        Type::Gauge,
        "mozaiks_exporter_flush_last_success_timestamp_seconds",
        "Unix time of the last flush that wrote all there was to write.",
        |view, out| put(view, out, |flush| flush.last_success.map(|at| at.seconds().into())),
    ),
    &plain(
        Type::Counter,
        "mozaiks_exporter_flush_chats_forgotten_total",
        "Pushed chats that were forgotten before MongoDB had their last state.",
        |view, out| put(view, out, |_| Some(view.look.ledger.tally().forgotten_owed.into())),
    ),
    &Family::new(
        Type::Histogram(OWN_BOUNDS),
        "mozaiks_exporter_flush_duration_seconds",
        "How long flushes to MongoDB took that had something to write.",
        [],
        |view, out| {
            if let Some(flush) = &view.numbers.flush {
                out.put_histogram(None, [], OWN_BOUNDS, Some(&flush.durations), &[]);
            }
        },
    ),
];

const fn plain(
    kind: Type,
    name: &'static str,
    help: &'static str,
    collect: fn(&View<'_>, &mut Samples<'_, 0>),
) -> Family<0> {
    Family::new(kind, name, help, [], collect)
}

fn put(view: &View<'_>, out: &mut Samples<'_, 0>, value: impl Fn(&FlushNumbers) -> Option<Value>) {
    if let Some(value) = view.numbers.flush.as_ref().and_then(value) {
        out.put([], value);
    }
}

fn by_word(
    view: &View<'_>,
    out: &mut Samples<'_, 1>,
    counts: impl Fn(&FlushNumbers) -> &std::collections::BTreeMap<&'static str, u64>,
) {
    for (word, count) in view.numbers.flush.iter().flat_map(counts) {
        out.put([word], *count);
    }
}
