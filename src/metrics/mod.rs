//! The metric catalogue: one definition per family, and what is made from it.
//!
//! To add a family, add one [`Family`] to one of the lists; its `HELP` and `TYPE`, its samples,
//! its row in `docs/metrics.md` and its place in the tests follow by themselves. Families are
//! built from the ledger at each scrape, so a series that is gone there is gone here.

mod answer;
mod chats;
mod engine;
mod events;
mod exporter;
mod exposition;
mod family;
mod few;
mod flush;
mod gzip;
mod mongodb;
mod page;
mod plain;
mod press;
mod process;
mod procfs;
mod reference;
mod reload;
mod view;
mod workflows;

pub use answer::{Answer, Parts, Plain};
pub use engine::{Engine, Scrape, Wanted};
pub use exposition::{Exposition, Format, Type, Value};
pub use family::{Definition, Family};
pub use procfs::Process;
pub use reference::reference;
pub use view::{Show, UserPolicy, View};

/// What an exposition consists of, in its order.
#[derive(Clone, Copy)]
enum Section {
    /// Families whose series are few, and that show the ledger alone: while that is the same, so are
    /// they.
    OfLedger(&'static [&'static dyn Definition]),
    /// Other families whose series are few.
    Other(&'static [&'static dyn Definition]),
    /// The families of single chats.
    Chats,
}

const SECTIONS: [Section; 9] = [
    Section::Other(plain::FAMILIES),
    Section::OfLedger(workflows::FAMILIES),
    Section::Chats,
    Section::OfLedger(events::FAMILIES),
    Section::Other(exporter::FAMILIES),
    Section::Other(reload::FAMILIES),
    Section::Other(flush::FAMILIES),
    Section::Other(mongodb::FAMILIES),
    Section::Other(process::FAMILIES),
];

/// All families, in the order in which they are shown.
pub fn catalogue() -> impl Iterator<Item = &'static dyn Definition> {
    SECTIONS.into_iter().flat_map(|section| {
        let (few, of_chats) = match section {
            Section::OfLedger(families) | Section::Other(families) => (families, None),
            Section::Chats => (&[][..], Some(chats::FAMILIES)),
        };
        let of_chats = of_chats.into_iter().flatten();
        few.iter().copied().chain(of_chats.map(|family| *family as &dyn Definition))
    })
}

/// The upper bounds of a histogram's buckets; none of anything else.
pub fn bounds(histogram: &str) -> &'static [f64] {
    match catalogue().find(|family| family.name() == histogram).map(Definition::kind) {
        Some(Type::Histogram(bounds)) => bounds,
        _ => &[],
    }
}

/// Writes everything there is to show, and says how many samples it is.
pub fn render(view: &View<'_>, format: Format) -> (Vec<u8>, u64) {
    let mut out = Exposition::new(format, 64 * 1024);
    for family in catalogue().filter(|family| view.look.show.compat || !family.is_compat()) {
        family.write(view, &mut out);
    }
    out.finish()
}

/// Writes what only grows and outlives the chats, and on wish what the chats came to: what can be
/// told of the past.
pub fn render_history(view: &View<'_>, with_chats: bool) -> Vec<u8> {
    let mut out = Exposition::new(Format::OpenMetrics, 64 * 1024).without_exemplars();
    let few = [workflows::FAMILIES, events::FAMILIES].into_iter().flatten().copied();
    let of_chats = chats::FAMILIES.iter().filter(|_| with_chats);
    for family in few.chain(of_chats.map(|family| *family as &dyn Definition)) {
        if family.kind() != Type::Gauge && !family.is_compat() {
            family.write(view, &mut out);
        }
    }
    out.finish().0
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn definitions_are_sound() {
        let mut names = HashSet::new();
        for family in catalogue() {
            let name = family.name();
            assert!(names.insert(name), "{name} is defined twice");
            let is_name = |s: &str| {
                !s.is_empty()
                    && s.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b))
            };
            assert!(is_name(name), "{name}");
            assert!(family.labels().iter().all(|label| is_name(label)), "labels of {name}");
            assert!(!family.help().contains(['"', '\\', '\n']), "help of {name} needs escaping");
            assert!(family.help().ends_with('.'), "help of {name} is no sentence");
            let counts = family.kind() == Type::Counter;
            assert_eq!(name.ends_with("_total"), counts, "{name}");
            let has_runtime = family.labels().contains(&"runtime");
            assert!(!(has_runtime && family.is_by_runtime()), "{name} has runtime twice");
        }
    }
}
