//! What panels say of alerts is what the alerts do.

use std::collections::BTreeMap;

use mozaiks_exporter::check::queries::bundled;
use mozaiks_exporter::check::queries::promql::{name, selector, visit};
use promql_parser::parser::{Expr, VectorSelector, parse};
use serde_json::Value;

use super::board::{Board, Home, list};
use super::lint::PLACEHOLDERS;

/// Where a panel names an alert, its colours change, or its query compares, at a number of that alert.
pub(super) fn disagreements(board: &Board) -> Vec<String> {
    let rules = Rules::load();
    let mut found = Vec::new();
    for panel in board.panels() {
        let mut shown = thresholds(panel);
        for query in board.queries() {
            if matches!(query.home, Home::Panel { panel: home, .. } if home == panel) {
                shown.extend(rules.limits(&parse(&query.filled_in(PLACEHOLDERS)).unwrap()));
            }
        }
        let description = panel["description"].as_str().unwrap_or_default();
        for word in description.split(|c: char| !c.is_ascii_alphanumeric()) {
            let limits: Vec<f64> =
                rules.of(word).iter().flat_map(|rule| rules.limits(rule)).collect();
            let agrees = |shown: &f64| limits.iter().any(|limit| close(*limit, *shown));
            if !rules.of(word).is_empty() && !shown.iter().any(agrees) {
                let (title, panel) = (board.title(), &panel["title"]);
                found.push(format!(
                    "{title}, {panel}: {word} compares with {limits:?}, not {shown:?}"
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

/// The rules, by the name that they record or the alert that they raise. Several may share one.
struct Rules(BTreeMap<String, Vec<Expr>>);

impl Rules {
    fn load() -> Self {
        let mut by_name: BTreeMap<String, Vec<Expr>> = BTreeMap::new();
        for rule in bundled() {
            by_name.entry(rule.name).or_default().push(rule.expr);
        }
        assert!(by_name.len() > 60, "the test looks at the wrong place: {} rules", by_name.len());
        Self(by_name)
    }

    fn of(&self, name: &str) -> &[Expr] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn asked(&self, selector: &VectorSelector) -> &[Expr] {
        name(selector).map_or(&[], |name| self.of(name))
    }

    /// What an expression compares with, also in the records that it is made of: the numbers there,
    /// one by one and reckoned together.
    fn limits(&self, expr: &Expr) -> Vec<f64> {
        let mut found = Vec::new();
        visit(expr, &mut |expr, _| {
            if let Some(selector) = selector(expr) {
                found.extend(self.asked(selector).iter().flat_map(|rule| self.limits(rule)));
            }
            if let Expr::Binary(binary) = expr
                && binary.op.is_comparison_operator()
            {
                let operator = binary.op.to_string();
                for side in [&binary.lhs, &binary.rhs] {
                    let mut limits = self.numbers(side);
                    if !limits.is_empty() {
                        visit(side, &mut |inner, _| {
                            if let Expr::NumberLiteral(number) = inner {
                                limits.push(number.val);
                            }
                        });
                    }
                    // More than nothing is a guard and no limit. What is down is zero, and a panel
                    // shows the same as less than all.
                    if operator == "==" && limits.contains(&0.0) {
                        limits.push(1.0);
                    }
                    limits.retain(|limit| *limit != 0.0 || operator != ">");
                    found.extend(limits);
                }
            }
        });
        found
    }

    /// The numbers that an expression may be, where it depends on nothing that is measured.
    fn numbers(&self, expr: &Expr) -> Vec<f64> {
        match expr {
            Expr::NumberLiteral(number) => vec![number.val],
            Expr::Paren(paren) => self.numbers(&paren.expr),
            Expr::VectorSelector(selector) => {
                self.asked(selector).iter().flat_map(|rule| self.numbers(rule)).collect()
            }
            Expr::Call(call) if matches!(call.func.name, "vector" | "scalar") => {
                call.args.args.iter().flat_map(|arg| self.numbers(arg)).collect()
            }
            Expr::Binary(binary) => {
                let reckon: fn(f64, f64) -> f64 = match &*binary.op.to_string() {
                    "+" => |left, right| left + right,
                    "-" => |left, right| left - right,
                    "*" => |left, right| left * right,
                    "/" => |left, right| left / right,
                    _ => return Vec::new(),
                };
                let rights = self.numbers(&binary.rhs);
                let lefts = self.numbers(&binary.lhs).into_iter();
                lefts
                    .flat_map(|left| rights.iter().map(move |right| reckon(left, *right)))
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}
