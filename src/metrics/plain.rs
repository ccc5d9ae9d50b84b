//! Families about the runtimes as a whole.

use super::exposition::Type;
use super::family::{Definition, Family};
use super::view::View;
use crate::model::{RuntimeId, Source};

pub(super) const FAMILIES: &[&dyn Definition] = &[
    &Family::new(
        Type::Gauge,
        "mozaiks_active_chats",
        "Live chats of all runtimes that answer.",
        [],
        |view, out| {
            let ids = || (0_u16..).map(RuntimeId).zip(view.look.ledger.runtimes());
            let up = || ids().filter(|(id, _)| view.look.is_up(*id)).map(|(_, runtime)| runtime);
            if up().any(|runtime| runtime.configured && runtime.was_heard()) {
                out.put([], up().map(|runtime| runtime.sums.live).sum::<usize>());
            }
        },
    ),
    &Family::new(
        Type::Gauge,
        "mozaiks_tracked_chats",
        "Chats that the ledger holds, live and ended, until they are evicted.",
        [],
        |view, out| {
            let met = || view.look.ledger.runtimes().iter().filter(|runtime| runtime.is_met());
            if met().next().is_some() {
                out.put([], met().map(|runtime| runtime.sums.chats).sum::<usize>());
            }
        },
    ),
    &Family::new(
        Type::Gauge,
        "mozaiks_up",
        "Whether the runtime answered its last poll.",
        ["runtime"],
        |view, out| {
            for runtime in view.look.ledger.runtimes().iter().filter(|runtime| runtime.configured) {
                if let Some(up) = runtime.up {
                    out.put([&runtime.name], up);
                }
            }
        },
    ),
    &Family::new(
        Type::Counter,
        "mozaiks_runtime_restarts_total",
        "Starts of new processes of the runtime that were seen.",
        ["runtime"],
        |view, out| {
            for runtime in
                view.look.ledger.runtimes().iter().filter(|r| r.has_heard(Source::Scrape))
            {
                out.put([&runtime.name], runtime.restarts);
            }
        },
    ),
    &Family::new(
        Type::Gauge,
        "mozaiks_runtime_healthy",
        "Whether the runtime says of itself that it is well.",
        ["runtime"],
        |view, out| {
            for (name, health) in healths(view) {
                out.put([name], health.healthy);
            }
        },
    ),
    &Family::new(
        Type::Gauge,
        "mozaiks_runtime_mongodb_ping_seconds",
        "How long the runtime's database took to answer the runtime.",
        ["runtime"],
        |view, out| {
            for (name, health) in healths(view) {
                if let Some(seconds) = health.mongodb_ping_seconds {
                    out.put([name], seconds);
                }
            }
        },
    ),
    &Family::new(
        Type::Gauge,
        "mozaiks_runtime_websocket_connections",
        "Open WebSocket connections, as the runtime says.",
        ["runtime"],
        |view, out| {
            for (name, health) in healths(view) {
                if let Some(connections) = health.websocket_connections {
                    out.put([name], connections);
                }
            }
        },
    ),
];

/// What runtimes that answer said of their own health.
fn healths<'v>(
    view: &'v View<'_>,
) -> impl Iterator<Item = (&'v str, &'v crate::telemetry::Health)> + 'v {
    (0_u16..).map(RuntimeId).zip(view.look.ledger.runtimes()).filter_map(|(id, runtime)| {
        let target = view.numbers.targets.get(&*runtime.name)?;
        let health = target.health.as_ref().filter(|_| view.look.is_up(id))?;
        Some((&*runtime.name, health))
    })
}
