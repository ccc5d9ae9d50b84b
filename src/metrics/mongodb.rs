//! Families about the database that is read: polls, documents, and how it can be read.

use std::collections::BTreeMap;

use super::exposition::{Samples, Type, Value};
use super::family::{Definition, Family};
use super::view::View;
use crate::telemetry::{Database, OWN_BOUNDS};

pub(super) const FAMILIES: &[&dyn Definition] = &[
    &database(
        Type::Counter,
        "mozaiks_exporter_mongodb_polls_total",
        "Polls of MongoDB.",
        |view, out| databases(view, out, |database| Some(database.polls.into())),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_mongodb_failures_total",
        "Questions to MongoDB that failed, by why.",
        ["runtime", "reason"],
        |view, out| by_word(view, out, |database| &database.failures),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_mongodb_documents_total",
        "Chats that were read from MongoDB, by what became of them.",
        ["runtime", "result"],
        |view, out| by_word(view, out, |database| &database.documents),
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_exporter_mongodb_documents_rejected_total",
        "Chats in MongoDB that could not be understood, by why.",
        ["runtime", "reason"],
        |view, out| by_word(view, out, |database| &database.rejected),
    ),
    &Family::new(
        Type::Histogram(OWN_BOUNDS),
        "mozaiks_exporter_mongodb_poll_duration_seconds",
        "How long polls of MongoDB took.",
        ["runtime"],
        |view, out| {
            for (name, database) in &view.numbers.databases {
                out.put_histogram(None, [name], OWN_BOUNDS, Some(&database.durations), &[]);
            }
        },
    ),
    &database(
        Type::Gauge,
        "mozaiks_exporter_mongodb_last_success_timestamp_seconds",
        "Unix time of the last poll that MongoDB answered.",
        |view, out| {
            databases(view, out, |database| database.last_success.map(|t| t.seconds().into()));
        },
    ),
    &database(
        Type::Gauge,
        "mozaiks_exporter_mongodb_poll_interval_seconds",
        "Time from one poll of MongoDB to the next; grows with failures and with slow answers.",
        |view, out| databases(view, out, |database| Some(database.interval_seconds.into())),
    ),
    &database(
        Type::Gauge,
        "mozaiks_exporter_mongodb_behind_seconds",
        "How much of the past is still to be read from MongoDB; 0 where all is read.",
        |view, out| databases(view, out, |database| Some(database.behind_seconds.into())),
    ),
    &Family::new(
        Type::Gauge,
        "mozaiks_exporter_mongodb_indexed",
        "Whether a collection has the index on last_updated_at; without it chats are read in turns.",
        ["runtime", "collection"],
        |view, out| {
            for (name, database) in &view.numbers.databases {
                for (collection, indexed) in &database.indexed {
                    out.put([name, collection], *indexed);
                }
            }
        },
    ),
    &database(
        Type::Gauge,
        "mozaiks_exporter_mongodb_counts_messages",
        "Whether MongoDB counts the messages of agents, which stand in for turns.",
        |view, out| databases(view, out, |database| database.counts_messages.map(Into::into)),
    ),
];

const fn database(
    kind: Type,
    name: &'static str,
    help: &'static str,
    collect: fn(&View<'_>, &mut Samples<'_, 1>),
) -> Family<1> {
    Family::new(kind, name, help, ["runtime"], collect)
}

fn databases(
    view: &View<'_>,
    out: &mut Samples<'_, 1>,
    value: impl Fn(&Database) -> Option<Value>,
) {
    for (name, database) in &view.numbers.databases {
        if let Some(value) = value(database) {
            out.put([name], value);
        }
    }
}

fn by_word(
    view: &View<'_>,
    out: &mut Samples<'_, 2>,
    values: fn(&Database) -> &BTreeMap<&'static str, u64>,
) {
    for (name, database) in &view.numbers.databases {
        for (word, value) in values(database) {
            out.put([name, word], *value);
        }
    }
}
