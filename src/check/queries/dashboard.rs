//! Grafana's dashboards: everything in them that asks Prometheus.

use serde_json::Value;

use super::Query;

/// How deep panels may lie in each other: Grafana has rows, and no rows in rows.
const DEEPEST: usize = 8;

/// All queries of a dashboard, or why there are none.
pub(super) fn read(text: &str) -> Result<Vec<Query>, String> {
    let file: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    // Grafana's own answers have it one level deeper.
    let board = if file["dashboard"].is_object() { &file["dashboard"] } else { &file };
    if !board.is_object() {
        return Err("is no dashboard: an object with panels is wanted".to_owned());
    }
    let mut found = Vec::new();
    panels(board, DEEPEST, &mut found);
    for variable in list(&board["templating"]["list"]) {
        if variable["type"] == "query" && asks_prometheus(&variable["datasource"]) {
            found.extend(of_variable(variable));
        }
    }
    for annotation in list(&board["annotations"]["list"]) {
        let texts = [&annotation["expr"], &annotation["target"]["expr"]];
        if asks_prometheus(&annotation["datasource"]) {
            let name = annotation["name"].as_str().unwrap_or_default();
            found.extend(texts.iter().filter_map(|text| query(format!("annotation {name}"), text)));
        }
    }
    Ok(found)
}

fn panels(board: &Value, deep: usize, found: &mut Vec<Query>) {
    // Dashboards of old have rows beside panels.
    let all = list(&board["panels"]).iter().chain(list(&board["rows"]));
    for panel in all.filter(|_| deep > 0) {
        for target in list(&panel["targets"]) {
            let source = &target["datasource"];
            let source = if source.is_null() { &panel["datasource"] } else { source };
            if asks_prometheus(source) {
                let title = panel["title"].as_str().filter(|title| !title.is_empty());
                let title = title.map_or_else(|| format!("panel {}", panel["id"]), str::to_owned);
                found.extend(query(title, &target["expr"]));
            }
        }
        panels(panel, deep - 1, found);
    }
}

fn query(place: String, text: &Value) -> Option<Query> {
    let text = text.as_str().filter(|text| !text.trim().is_empty())?;
    Some(Query { place, text: text.to_owned(), label: None })
}

/// A variable lists the values of a label, or the results of a query.
fn of_variable(variable: &Value) -> Option<Query> {
    let asked = &variable["query"];
    let text = asked.as_str().or(asked["query"].as_str())?.trim();
    let place = format!("variable {}", variable["name"].as_str().unwrap_or_default());
    let inside = |function: &str| text.strip_prefix(function)?.strip_suffix(')');
    if let Some(inside) = inside("query_result(") {
        return Some(Query { place, text: inside.to_owned(), label: None });
    }
    // Of a label alone, all series are asked.
    let (series, label) = inside("label_values(")?.rsplit_once(',')?;
    Some(Query { place, text: series.trim().to_owned(), label: Some(label.trim().to_owned()) })
}

/// Whether that may be a Prometheus. A variable or a mere name may be one.
fn asks_prometheus(source: &Value) -> bool {
    source["type"].as_str().is_none_or(|kind| kind == "prometheus" || kind.starts_with('$'))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
