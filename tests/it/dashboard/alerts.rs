//! What panels say of alerts is what the alerts do.

use promql_parser::parser::{Expr, parse};
use serde_json::Value;

use super::board::{Board, Home, list};
use super::catalogue::rules;
use super::lint::PLACEHOLDERS;
use super::promql::visit;

/// An alert's name and the numbers that its expressions compare with.
struct Alert {
    name: String,
    limits: Vec<f64>,
}

/// Where a panel names an alert, its colours change at a number of that alert.
pub(super) fn disagreements(board: &Board) -> Vec<String> {
    let alerts = alerts();
    let mut found = Vec::new();
    for panel in board.panels() {
        let description = panel["description"].as_str().unwrap_or_default();
        let words = || description.split(|c: char| !c.is_ascii_alphanumeric());
        for alert in alerts.iter().filter(|alert| words().any(|word| word == alert.name)) {
            let mut limits = thresholds(panel);
            // Who counts what is beyond a limit has it in the query.
            for query in board.queries() {
                if matches!(query.home, Home::Panel { panel: home, .. } if home == panel) {
                    limits.extend(limits_of(&parse(&query.filled_in(PLACEHOLDERS)).unwrap()));
                }
            }
            let agrees = |limit: &f64| alert.limits.iter().any(|own| close(*own, *limit));
            if !limits.iter().any(agrees) {
                found.push(format!(
                    "{}, {}: {} compares with {:?}, the panel with {limits:?}",
                    board.title(),
                    panel["title"],
                    alert.name,
                    alert.limits,
                ));
            }
        }
    }
    found
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-9 * one.abs().max(other.abs())
}

/// Where the colours of a panel, or of columns in it, change.
fn thresholds(panel: &Value) -> Vec<f64> {
    let config = &panel["fieldConfig"];
    let of_columns = list(&config["overrides"]).iter().flat_map(|o| list(&o["properties"]));
    let of_columns = of_columns.filter(|p| p["id"] == "thresholds").map(|p| &p["value"]);
    std::iter::once(&config["defaults"]["thresholds"])
        .chain(of_columns)
        .flat_map(|thresholds| list(&thresholds["steps"]))
        .filter_map(|step| step["value"].as_f64())
        .collect()
}

fn alerts() -> Vec<Alert> {
    let mut alerts: Vec<Alert> = Vec::new();
    for rule in rules() {
        let (Some(name), Some(expr)) = (rule["alert"].as_str(), rule["expr"].as_str()) else {
            continue;
        };
        let limits = limits_of(&parse(expr).unwrap());
        match alerts.iter_mut().find(|alert| alert.name == name) {
            Some(known) => known.limits.extend(limits),
            None => alerts.push(Alert { name: name.to_owned(), limits }),
        }
    }
    alerts
}

/// What an expression compares with: the numbers there, one by one and reckoned together.
fn limits_of(expr: &Expr) -> Vec<f64> {
    let mut found = Vec::new();
    visit(expr, &mut |expr, _| {
        if let Expr::Binary(binary) = expr
            && binary.op.is_comparison_operator()
        {
            for side in [&binary.lhs, &binary.rhs] {
                if let Some(limit) = reckoned(side) {
                    found.push(limit);
                    visit(side, &mut |inner, _| {
                        if let Expr::NumberLiteral(number) = inner {
                            found.push(number.val);
                        }
                    });
                }
            }
        }
    });
    // What is down is zero; a panel shows the same as less than all.
    if found.contains(&0.0) {
        found.push(1.0);
    }
    found
}

fn reckoned(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::NumberLiteral(number) => Some(number.val),
        Expr::Paren(paren) => reckoned(&paren.expr),
        Expr::Binary(binary) => {
            let (left, right) = (reckoned(&binary.lhs)?, reckoned(&binary.rhs)?);
            match &*binary.op.to_string() {
                "+" => Some(left + right),
                "-" => Some(left - right),
                "*" => Some(left * right),
                "/" => Some(left / right),
                _ => None,
            }
        }
        _ => None,
    }
}
