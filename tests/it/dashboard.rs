//! The bundled dashboard and rules against a real Prometheus that scrapes the demo.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::support::exporter::{Launch, METRICS};
use crate::support::http;
use crate::support::prometheus::{Prometheus, Setup};
use crate::support::wait::{eventually, eventually_within, quiet_port};

/// Some panels need a restart, or a chat that ended: that takes the demo a while.
const LIVELY: Duration = Duration::from_mins(2);

/// What Grafana puts in the place of its variables, for «All» and a range of two minutes.
const VARIABLES: &[(&str, &str)] = &[
    ("$__rate_interval", "30s"),
    ("$__range", "2m"),
    ("$job", ".+"),
    ("$instance", ".+"),
    ("$app_id", ".*"),
    ("$workflow_name", ".*"),
];

#[test]
fn every_query_of_the_dashboard_returns_data_from_the_demo() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, quiet_port()));
    let demo = Launch::bare("demo")
        .flag("--web.listen-address", address.to_string())
        .flag("--speed", "4")
        .spawn();
    eventually("the demo serves metrics", || {
        let answer = http::get(address, METRICS, &[]).map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    });
    let rules = vec![root("alerts/*.rules.yml")];
    let prometheus =
        Prometheus::start_with(&Setup { target: address, interval: "1s", job: "mozaiksai", rules });
    let dashboard = root("grafana/dashboards/mozaiks-overview.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(dashboard).unwrap()).unwrap();

    let mut open = queries(&dashboard);
    assert!(open.len() > 30, "the test looks at the wrong place: {open:?}");
    eventually_within(LIVELY, "every query returns data", || {
        open.retain(|(_, query)| prometheus.query(query).is_empty());
        if open.is_empty() { Ok(()) } else { Err(format!("without data: {open:#?}")) }
    });
    drop(demo);
}

/// The queries of panels, variables and annotations, with where they stand.
fn queries(dashboard: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Vec<&Value> = dashboard["panels"].as_array().unwrap().iter().collect();
    while let Some(panel) = open.pop() {
        open.extend(panel["panels"].as_array().into_iter().flatten());
        for target in panel["targets"].as_array().into_iter().flatten() {
            let title = panel["title"].as_str().unwrap().to_owned();
            found.push((title, filled_in(target["expr"].as_str().unwrap())));
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            let inside = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')'));
            let (series, label) = inside.unwrap().rsplit_once(',').unwrap();
            let query = format!("count by ({}) ({})", label.trim(), filled_in(series));
            found.push((variable["name"].as_str().unwrap().to_owned(), query));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        if let Some(query) = annotation["expr"].as_str() {
            let name = annotation["name"].as_str().unwrap().to_owned();
            // Nothing that deserves a mark need happen while the demo runs.
            found.push((name, format!("{} or vector(0)", filled_in(query))));
        }
    }
    found
}

fn filled_in(query: &str) -> String {
    let mut query = query.to_owned();
    for (variable, value) in VARIABLES {
        query = query.replace(variable, value);
    }
    assert!(!query.contains('$'), "unknown variable in {query}");
    query
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
