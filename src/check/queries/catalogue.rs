//! What there is to ask for: the exporter's families, what rules record, and what others serve.

use std::collections::{BTreeMap, BTreeSet};

use super::Rule;
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
pub enum Part {
    /// A number that only grows.
    Counter,
    /// A number that rises and falls.
    Gauge,
    /// A bucket of a histogram.
    Bucket,
    /// The sum of a histogram.
    Sum,
    /// The count of a histogram.
    Count,
    /// A histogram's own name, which has no samples.
    Histogram,
    /// Recorded by a rule, or served by others.
    Unknown,
}

impl Part {
    /// Whether it only grows, so that its value alone says little.
    pub fn is_counter(self) -> bool {
        matches!(self, Self::Counter | Self::Bucket | Self::Sum | Self::Count)
    }
}

/// All names that queries may use.
#[derive(Debug, Default)]
pub struct Catalogue {
    families: BTreeMap<&'static str, (Type, BTreeSet<String>)>,
    records: BTreeMap<String, Kept>,
    /// Names of others.
    others: &'static [&'static str],
    /// Beginnings of names of others.
    foreign: Vec<String>,
}

impl Catalogue {
    /// The exporter's families, and whatever others serve. `foreign` are beginnings of names of others,
    /// `labels` stand on all series.
    pub(super) fn new(foreign: &[String], labels: &[String]) -> Self {
        let known = PREFIXES.iter().map(|prefix| (*prefix).to_owned());
        let foreign = known.chain(foreign.iter().cloned()).collect();
        Self { others: &OTHERS, foreign, ..Self::closed(labels) }
    }

    /// The exporter's families, and nothing of others but what is added.
    pub fn closed(labels: &[String]) -> Self {
        let mut catalogue = Self::default();
        for family in metrics::catalogue() {
            let own = family.labels().iter().copied();
            let own = own.chain(family.is_by_runtime().then_some("runtime"));
            let own: Vec<&str> = own.chain(labels.iter().map(String::as_str)).collect();
            catalogue.add(family.name(), family.kind(), &own);
        }
        catalogue
    }

    /// Adds a family with its labels, besides those of the target.
    pub fn add(&mut self, name: &'static str, kind: Type, labels: &[&str]) {
        let labels = labels.iter().chain(&TARGET).map(|label| (*label).to_owned());
        self.families.insert(name, (kind, labels.collect()));
    }

    /// Adds what rules record, with the labels that are left. Records may stand before those that
    /// they are made of, in another file.
    pub fn record(&mut self, rules: &[Rule]) {
        let rules = || rules.iter().filter(|rule| rule.is_record);
        for rule in rules() {
            self.records.entry(rule.name.clone()).or_default();
        }
        let mut grows = true;
        while grows {
            grows = false;
            for rule in rules() {
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
    pub fn find(&self, name: &str) -> Option<Part> {
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
        let is_foreign = self.others.contains(&name)
            || name.contains(super::grafana::ANYTHING)
            || self.foreign.iter().any(|prefix| name.starts_with(prefix.as_str()));
        is_foreign.then_some(Part::Unknown)
    }

    /// The family that a name belongs to: without the ending of a histogram's part.
    pub fn family<'a>(&self, name: &'a str) -> &'a str {
        match part(name) {
            Some((family, part)) if self.find(name) == Some(part) => family,
            _ => name,
        }
    }

    /// The labels that a name's series may have. Of what nobody knows, all.
    pub fn labels(&self, name: Option<&str>) -> Kept {
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
    [("_bucket", Part::Bucket), ("_sum", Part::Sum), ("_count", Part::Count)]
        .into_iter()
        .find_map(|(ending, part)| Some((name.strip_suffix(ending)?, part)))
}
