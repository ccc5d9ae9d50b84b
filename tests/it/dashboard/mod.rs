//! The bundled dashboards: as files, against the catalogue of metrics and the rules, against
//! Grafana's own types, and against a real Prometheus that watches a busy world.

use std::collections::BTreeMap;

use mozaiks_exporter::check::queries::{Catalogue, bundled};
use mozaiks_exporter::metrics::Type;
use serde_json::Value;

use self::board::Board;
use self::exceptions::Exceptions;

mod alerts;
mod asked;
mod board;
mod broken;
mod exceptions;
mod layout;
mod lint;
mod month;
mod schema;
mod unit;
mod world;

/// The one rule that needs a running Prometheus.
const EMPTY: &str = "query-returns-data";

/// Series that are not the exporter's: name, type, labels besides those of the target.
const OTHERS: &[(&str, Type, &[&str])] = &[
    ("up", Type::Gauge, &[]),
    ("scrape_duration_seconds", Type::Gauge, &[]),
    (
        "ALERTS",
        Type::Gauge,
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
    ("prometheus_rule_evaluation_failures_total", Type::Counter, &["rule_group"]),
    ("prometheus_notifications_dropped_total", Type::Counter, &[]),
    ("alertmanager_notifications_failed_total", Type::Counter, &["integration"]),
];

/// What there is to ask for. Of others our dashboards take these few alone: what `check` lets pass
/// because it cannot know is unknown here.
fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::closed(&[]);
    for (name, kind, labels) in OTHERS {
        catalogue.add(name, *kind, labels);
    }
    catalogue.record(&bundled());
    catalogue
}

#[test]
fn panels_and_queries_keep_the_rules() {
    let (catalogue, exceptions) = (catalogue(), Exceptions::load());
    let mut open = Vec::new();
    for board in Board::load_all() {
        let found = [lint::panels(&board), lint::queries(&board, &catalogue)].concat();
        let found = found
            .iter()
            .filter(|finding| !exceptions.excuse(finding.rule, &finding.dashboard, &finding.panel));
        open.extend(found.map(ToString::to_string));
    }
    assert!(open.is_empty(), "{} findings: {open:#?}", open.len());
    let idle = exceptions.idle(|rule| rule != EMPTY);
    assert!(idle.is_empty(), "exceptions in grafana/.lint that nothing needs: {idle:#?}");
}

#[test]
fn dashboards_are_whole_and_lead_to_each_other() {
    let boards = Board::load_all();
    let faults: Vec<String> = boards.iter().flat_map(|b| layout::faults(b, &boards)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn panels_change_colour_where_alerts_fire() {
    let found: Vec<String> = Board::load_all().iter().flat_map(alerts::disagreements).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// A variable, a link or an annotation is the same wherever it stands.
#[test]
fn what_dashboards_share_is_the_same() {
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for board in Board::load_all() {
        let shared = ["/links", "/annotations", "/timezone", "/graphTooltip"];
        let shared = shared.map(|path| (path.to_owned(), board.json.pointer(path)));
        let named = board.variables().iter().map(|v| (v["name"].to_string(), Some(v)));
        for (name, value) in shared.into_iter().chain(named) {
            let value = value.unwrap_or_else(|| panic!("{} has no {name}", board.title()));
            let before = known.entry(name.clone()).or_insert_with(|| value.clone());
            assert_eq!(before, value, "{name} of {} is its own", board.title());
        }
    }
}

/// One form: keys in order, two spaces. So that a difference shows what has changed and no more.
#[test]
fn files_have_one_form() {
    for board in Board::load_all() {
        let form = serde_json::to_string_pretty(&board.json).unwrap() + "\n";
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&board.path, &form).unwrap();
        } else {
            let path = board.path.display();
            assert!(
                form == board.text,
                "{path} is out of form: UPDATE_GOLDEN=1 cargo test --test it"
            );
        }
    }
}
