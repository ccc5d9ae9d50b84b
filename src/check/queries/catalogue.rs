//! What there is to ask for: the exporter's families, what rules record, and what others serve.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::Expr;

use super::promql::{Kept, kept};
use crate::metrics::{self, Type};

/// What Prometheus adds to whatever it scrapes.
const TARGET: [&str; 2] = ["job", "instance"];
/// What Prometheus makes itself.
const OTHERS: [&str; 3] = ["up", "ALERTS", "ALERTS_FOR_STATE"];
/// Beginnings of the names of what is often scraped beside us.
const PREFIXES: [&str; 15] = [
    "alertmanager_",
    "blackbox_",
    "container_",
    "go_",
    "grafana_",
    "kube_",
    "kubelet_",
    "machine_",
    "net_conntrack_",
    "node_",
    "probe_",
    "prometheus_",
    "promhttp_",
    "pushgateway_",
    "scrape_",
];
/// A name that is further away than a third of its letters is another one.
const NEAR: usize = 3;

/// Which numbers a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Counter,
    Gauge,
    Bucket,
    /// Sum or count of a histogram.
    Total,
    /// A histogram's own name, which has no samples.
    Histogram,
    /// Recorded by a rule, or served by others.
    Unknown,
}

impl Part {
    /// Whether it only grows, so that its value alone says little.
    pub(super) fn is_counter(self) -> bool {
        matches!(self, Self::Counter | Self::Bucket | Self::Total)
    }
}

/// All names that queries may use.
#[derive(Debug)]
pub(super) struct Catalogue {
    families: BTreeMap<&'static str, (Type, BTreeSet<String>)>,
    records: BTreeMap<String, Kept>,
    foreign: Vec<String>,
}

/// A rule that records.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) labels: Vec<String>,
    pub(super) expr: Expr,
}

impl Catalogue {
    /// The exporter's families. `foreign` are beginnings of names of others, `labels` stand on all series.
    pub(super) fn new(foreign: &[String], labels: &[String]) -> Self {
        let mut families = BTreeMap::new();
        for family in metrics::catalogue() {
            let own = family.labels().iter().copied().chain(["runtime"]);
            let own = own.filter(|label| {
                *label != "runtime" || family.is_by_runtime() || family.labels().contains(label)
            });
            let all = own.chain(TARGET).map(str::to_owned).chain(labels.iter().cloned());
            families.insert(family.name(), (family.kind(), all.collect()));
        }
        let foreign =
            PREFIXES.iter().map(|prefix| (*prefix).to_owned()).chain(foreign.iter().cloned());
        Self { families, records: BTreeMap::new(), foreign: foreign.collect() }
    }

    /// Adds what rules record, with the labels that are left. Records may stand before those that
    /// they are made of, in another file.
    pub(super) fn record(&mut self, rules: &[Record]) {
        for rule in rules {
            self.records.entry(rule.name.clone()).or_default();
        }
        let mut grows = true;
        while grows {
            grows = false;
            for rule in rules {
                let mut left = kept(&rule.expr, self);
                left.names.extend(rule.labels.iter().cloned());
                // Several rules may record under one name, each for a case of its own.
                let known = self.records.entry(rule.name.clone()).or_default();
                let all = known.clone().and(left);
                grows |= all != *known;
                *known = all;
            }
        }
    }

    /// What a name stands for, if there is such a thing.
    pub(super) fn find(&self, name: &str) -> Option<Part> {
        if self.records.contains_key(name) {
            return Some(Part::Unknown);
        }
        if let Some((kind, _)) = self.families.get(name) {
            return Some(match kind {
                Type::Counter => Part::Counter,
                Type::Gauge => Part::Gauge,
                Type::Histogram(_) => Part::Histogram,
            });
        }
        if let Some((family, part)) = part(name)
            && matches!(self.families.get(family), Some((Type::Histogram(_), _)))
        {
            return Some(part);
        }
        let is_foreign = OTHERS.contains(&name)
            || name.contains(super::grafana::ANYTHING)
            || self.foreign.iter().any(|prefix| name.starts_with(prefix.as_str()));
        is_foreign.then_some(Part::Unknown)
    }

    /// The labels that a name's series may have. Of what nobody knows, all.
    pub(super) fn labels(&self, name: Option<&str>) -> Kept {
        let Some(name) = name else { return Kept::anything() };
        if let Some(known) = self.records.get(name) {
            return known.clone();
        }
        if let Some((_, names)) = self.families.get(name) {
            return Kept { names: names.clone(), any: false };
        }
        let family = part(name).and_then(|(family, part)| Some((self.families.get(family)?, part)));
        match family {
            Some(((Type::Histogram(_), names), part)) => {
                let mut names = names.clone();
                if part == Part::Bucket {
                    names.insert("le".to_owned());
                }
                Kept { names, any: false }
            }
            _ => Kept::anything(),
        }
    }

    /// The known name that is most like one.
    pub(super) fn nearest(&self, name: &str) -> Option<String> {
        let parts = self.families.iter().flat_map(|(family, (kind, _))| {
            let endings: &[&str] = match kind {
                Type::Histogram(_) => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            endings.iter().map(move |ending| format!("{family}{ending}"))
        });
        let all = parts.chain(self.records.keys().cloned());
        let far = |known: &String| strsim::levenshtein(known, name);
        all.map(|known| (far(&known), known))
            .min()
            .filter(|(far, _)| *far <= name.len() / NEAR)
            .map(|(_, known)| known)
    }
}

/// The histogram that a name may be a part of.
fn part(name: &str) -> Option<(&str, Part)> {
    [("_bucket", Part::Bucket), ("_sum", Part::Total), ("_count", Part::Total)]
        .into_iter()
        .find_map(|(ending, part)| Some((name.strip_suffix(ending)?, part)))
}
