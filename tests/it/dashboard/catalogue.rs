//! What there is to ask for: the exporter's families, the rules' records, and a few of others.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::parser::parse;
use serde_json::Value;

use super::board::root;
use super::promql::kept;

/// Names of labels.
pub(super) type Names = BTreeSet<String>;

/// What Prometheus adds to whatever it scrapes.
const TARGET: [&str; 2] = ["job", "instance"];

/// Series that are not the exporter's: name, type, labels besides those of the target.
const OTHERS: &[(&str, Kind, &[&str])] = &[
    ("up", Kind::Gauge, &[]),
    ("scrape_duration_seconds", Kind::Gauge, &[]),
    (
        "ALERTS",
        Kind::Gauge,
        &[
            "alertname",
            "alertstate",
            "severity",
            "component",
            "slo",
            "runtime",
            "chat_id",
            "app_id",
            "workflow_name",
        ],
    ),
    ("prometheus_rule_evaluation_failures_total", Kind::Counter, &["rule_group"]),
    ("prometheus_notifications_dropped_total", Kind::Counter, &[]),
    ("alertmanager_notifications_failed_total", Kind::Counter, &["integration"]),
];

/// How a family grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A family, or what is recorded.
#[derive(Debug)]
struct Family {
    kind: Kind,
    labels: Names,
}

/// What a name in a query stands for.
#[derive(Debug)]
pub(super) struct Series<'a> {
    /// The name of the family, without the ending of a histogram's part.
    pub(super) family: &'a str,
    pub(super) part: Part,
    pub(super) labels: Names,
}

/// Which numbers of a family these are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Counter,
    Gauge,
    Bucket,
    Sum,
    Count,
}

impl Part {
    /// Whether it only grows, so that its value alone says nothing.
    pub(super) fn is_counter(self) -> bool {
        self != Self::Gauge
    }
}

/// All names that queries may use.
#[derive(Debug)]
pub(super) struct Catalogue(BTreeMap<String, Family>);

impl Catalogue {
    /// Reads the reference of the exporter's families, and the rules.
    pub(super) fn load() -> Self {
        let mut catalogue = Self(BTreeMap::new());
        let reference = std::fs::read_to_string(root("docs/metrics.md")).unwrap();
        for row in reference.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            // The table of histograms' bounds has fewer columns.
            if let [_, name, kind, labels, _, _] = cells[..] {
                let kind = match kind {
                    "counter" => Kind::Counter,
                    "gauge" => Kind::Gauge,
                    "histogram" => Kind::Histogram,
                    other => panic!("docs/metrics.md has a type {other}"),
                };
                let labels: Vec<&str> = labels.split('`').skip(1).step_by(2).collect();
                catalogue.add(name.trim_matches('`'), kind, &labels);
            }
        }
        assert!(catalogue.0.len() > 80, "docs/metrics.md is not what it was");
        for (name, kind, labels) in OTHERS {
            catalogue.add(name, *kind, labels);
        }
        catalogue.record();
        catalogue
    }

    fn add(&mut self, name: &str, kind: Kind, labels: &[&str]) {
        let labels = labels.iter().chain(&TARGET).map(|&label| label.to_owned()).collect();
        let before = self.0.insert(name.to_owned(), Family { kind, labels });
        assert!(before.is_none(), "{name} stands twice in the catalogue");
    }

    /// Adds what the rules record, with the labels that it keeps.
    fn record(&mut self) {
        let rules = rules();
        let mut grows = true;
        // Records may stand before those that they are made of, in another file.
        while grows {
            grows = false;
            for rule in &rules {
                let (Some(name), Some(expr)) = (rule["record"].as_str(), rule["expr"].as_str())
                else {
                    continue;
                };
                let mut labels = kept(&parse(expr).unwrap(), self);
                let own = rule["labels"].as_object().into_iter().flatten();
                labels.extend(own.map(|(label, _)| label.clone()));
                // Several rules may record under one name, each for a case of its own.
                let known = self.0.entry(name.to_owned()).or_insert_with(|| {
                    grows = true;
                    Family { kind: Kind::Gauge, labels: Names::new() }
                });
                grows |= !labels.is_subset(&known.labels);
                known.labels.extend(labels);
            }
        }
    }

    /// What a name means, if it means anything.
    pub(super) fn find<'a>(&self, name: &'a str) -> Option<Series<'a>> {
        let parts = [("_bucket", Part::Bucket), ("_sum", Part::Sum), ("_count", Part::Count)];
        for (ending, part) in parts {
            let family = name.strip_suffix(ending);
            if let Some((family, known)) = family.and_then(|f| Some((f, self.0.get(f)?)))
                && known.kind == Kind::Histogram
            {
                let mut labels = known.labels.clone();
                if part == Part::Bucket {
                    labels.insert("le".to_owned());
                }
                return Some(Series { family, part, labels });
            }
        }
        let known = self.0.get(name)?;
        let part = match known.kind {
            Kind::Counter => Part::Counter,
            Kind::Gauge => Part::Gauge,
            // Its parts have names of their own; this one has no samples.
            Kind::Histogram => return None,
        };
        Some(Series { family: name, part, labels: known.labels.clone() })
    }
}

/// All rules of `alerts/`.
pub(super) fn rules() -> Vec<Value> {
    let mut rules = Vec::new();
    for file in rule_files() {
        let text = std::fs::read_to_string(file).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        for group in read["groups"].as_array().unwrap() {
            rules.extend(group["rules"].as_array().unwrap().iter().cloned());
        }
    }
    rules
}

/// The files of rules.
pub(super) fn rule_files() -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(root("alerts")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|p| p.to_string_lossy().ends_with(".rules.yml")).collect();
    assert!(!files.is_empty(), "there are no rules in alerts/");
    files
}
