//! The rules that single queries and panels keep. Those with an ending `-rule` are the rules of
//! Grafana's dashboard-linter, by its names; the others are ours.

use std::time::Duration;

use mozaiks_exporter::check::queries::promql::{
    Kept, functions, kept, matchers, name, selector, visit,
};
use mozaiks_exporter::check::queries::{Catalogue, Part};
use promql_parser::label::MatchOp;
use promql_parser::parser::{Expr, LabelModifier, parse};
use serde_json::Value;

use super::board::{Board, Home, Query, list};
use super::exceptions::Finding;
use super::unit::{What, distributed, quantity};

/// What stands for Grafana's own variables while nobody asks: durations that no query has.
pub(super) const PLACEHOLDERS: &[(&str, &str)] =
    &[("$__rate_interval", "67s"), ("$__range_s", "3607"), ("$__range", "3607s")];
const RATE_INTERVAL: Duration = Duration::from_secs(67);

/// What single series grow by, or how fast.
const OF_COUNTERS: [&str; 5] = ["rate", "irate", "increase", "resets", "changes"];
/// What only gauges can do.
const OF_GAUGES: [&str; 4] = ["delta", "idelta", "deriv", "predict_linear"];

/// What is wrong with the queries of a dashboard.
pub(super) fn queries(board: &Board, catalogue: &Catalogue) -> Vec<Finding> {
    let mut found = Vec::new();
    for query in board.queries() {
        let mut tell = |rule, what| found.push(Finding::new(rule, &query, what));
        let chosen: Vec<&str> =
            board.variables().iter().filter_map(|v| v["name"].as_str()).collect();
        let text = query.filled_in(PLACEHOLDERS);
        match parse(&text) {
            Ok(expr) => {
                query_is_right(&query, &expr, catalogue, &mut tell);
                if let Home::Panel { .. } = query.home {
                    variables_are_obeyed(&expr, &chosen, catalogue, &mut tell);
                }
            }
            Err(error) => tell("target-promql-rule", format!("{error} in {text}")),
        }
    }
    found
}

type Tell<'a> = &'a mut dyn FnMut(&'static str, String);

fn query_is_right(query: &Query<'_>, expr: &Expr, catalogue: &Catalogue, tell: Tell<'_>) {
    visit(expr, &mut |expr, around| {
        if selector(expr).is_some() {
            let around: Vec<&str> = functions(around).collect();
            selector_is_right(query, expr, &around, catalogue, tell);
        }
        match expr {
            Expr::Aggregate(aggregate) => {
                let inner = kept(&aggregate.expr, catalogue);
                if let Some(LabelModifier::Include(labels)) = &aggregate.modifier {
                    are_known(&labels.labels, &inner, tell);
                }
            }
            Expr::Binary(binary) => {
                let both = kept(&binary.lhs, catalogue).and(kept(&binary.rhs, catalogue));
                let modifier = binary.modifier.as_ref();
                if let Some(matching) = modifier.and_then(|modifier| modifier.matching.as_ref()) {
                    are_known(&matching.labels().labels, &both, tell);
                }
            }
            Expr::Call(call) if call.func.name == "histogram_quantile" => {
                let inner = &call.args.args[1];
                let mut parts = Vec::new();
                visit(inner, &mut |expr, _| {
                    parts.extend(selector(expr).and_then(name).map(|name| catalogue.find(name)));
                });
                if parts.iter().any(|part| *part != Some(Part::Bucket)) {
                    tell("quantile-of-buckets", format!("{inner} has no buckets"));
                }
                if !kept(inner, catalogue).has("le") {
                    tell("quantile-of-buckets", format!("{inner} has lost le"));
                }
            }
            _ => {}
        }
    });
    let names = kept(expr, catalogue);
    // What may have any label has been looked for in vain.
    if names.any {
        tell("label-is-known", format!("nobody knows which labels are left of {expr}"));
    }
    match query.home {
        Home::Variable(label) => are_known(&[label.to_owned()], &names, tell),
        Home::Annotation(annotation) => {
            for field in ["titleFormat", "textFormat"] {
                are_kept(annotation[field].as_str().unwrap_or_default(), &names, tell);
            }
            let tags = annotation["tagKeys"].as_str().unwrap_or_default();
            let tags: Vec<String> = tags.split(',').map(str::to_owned).collect();
            are_known(&tags, &names, tell);
        }
        Home::Panel { panel, target } => {
            are_kept(target["legendFormat"].as_str().unwrap_or_default(), &names, tell);
            if panel["type"] == "table" {
                columns_are_known(panel, target, &names, tell);
            }
            unit_fits(panel, target, expr, catalogue, tell);
        }
    }
}

fn selector_is_right(
    query: &Query<'_>,
    expr: &Expr,
    around: &[&'static str],
    catalogue: &Catalogue,
    tell: Tell<'_>,
) {
    let Some(selector) = selector(expr) else { return };
    let name = name(selector).unwrap_or_default();
    // A histogram has no samples under its own name.
    let Some(part) = catalogue.find(name).filter(|part| *part != Part::Histogram) else {
        tell("metric-is-known", format!("nobody has a series {name:?}"));
        return;
    };
    let labels = catalogue.labels(Some(name));
    for matcher in matchers(selector) {
        are_known(std::slice::from_ref(&matcher.name), &labels, tell);
    }
    if let Home::Panel { .. } | Home::Annotation(_) = query.home {
        for (rule, label) in [("target-job-rule", "job"), ("target-instance-rule", "instance")] {
            let values = [format!("${label}"), format!("${label}|")];
            let chosen = matchers(selector).any(|matcher| {
                let is_regex = matches!(matcher.op, MatchOp::Re(_));
                matcher.name == label && is_regex && values.contains(&matcher.value)
            });
            if !chosen {
                tell(rule, format!("{name} is not chosen by {label}=~\"${label}\""));
            }
        }
        let grown = around.iter().any(|function| OF_COUNTERS.contains(function));
        if part.is_counter() && !grown {
            tell("target-counter-agg-rule", format!("{name} is a counter and is shown as it is"));
        }
    }
    let last = around.first().copied().unwrap_or_default();
    if !part.is_counter() && OF_COUNTERS[..4].contains(&last) {
        tell("rate-of-counter", format!("{last} of {name}, which is a gauge"));
    }
    if part.is_counter() && OF_GAUGES.contains(&last) {
        tell("rate-of-counter", format!("{last} of {name}, which is a counter"));
    }
    if let ("rate" | "irate", Expr::MatrixSelector(matrix)) = (last, expr)
        && matrix.range != RATE_INTERVAL
    {
        tell("target-rate-interval-rule", format!("{last} of {name} over {:?}", matrix.range));
    }
}

/// Who chooses an app sees nothing of the others, in any panel whose series say whose they are.
fn variables_are_obeyed(expr: &Expr, chosen: &[&str], catalogue: &Catalogue, tell: Tell<'_>) {
    visit(expr, &mut |expr, _| {
        let Some(selector) = selector(expr) else { return };
        let Some(name) = name(selector).filter(|name| *name != "ALERTS") else { return };
        let labels = catalogue.labels(Some(name)).names;
        // Those of the target have rules of their own.
        for variable in chosen.iter().skip(3).filter(|variable| labels.contains(**variable)) {
            let value = format!("${variable}");
            if !matchers(selector).any(|m| m.name == **variable && m.value == value) {
                tell("variable-is-obeyed", format!("{name} is not chosen by {variable}"));
            }
        }
    });
}

fn are_known(labels: &[String], known: &Kept, tell: Tell<'_>) {
    for label in labels.iter().filter(|label| !known.has(label)) {
        tell("label-is-known", format!("there is no label {label:?} among {:?}", known.names));
    }
}

/// The labels that a legend shows are there after all sums.
fn are_kept(legend: &str, known: &Kept, tell: Tell<'_>) {
    for part in legend.split("{{").skip(1) {
        let label = part.split("}}").next().unwrap_or_default().trim();
        if !known.has(label) {
            tell("legend-is-kept", format!("{{{{{label}}}}} is not among {:?}", known.names));
        }
    }
}

/// A table renames and orders what is there.
fn columns_are_known(panel: &Value, target: &Value, known: &Kept, tell: Tell<'_>) {
    let names = &known.names;
    let refs: Vec<String> = list(&panel["targets"])
        .iter()
        .map(|target| format!("Value #{}", target["refId"].as_str().unwrap_or_default()))
        .collect();
    let Some(organize) = list(&panel["transformations"]).iter().find(|t| t["id"] == "organize")
    else {
        tell("columns-are-known", "a table without names for its columns".to_owned());
        return;
    };
    for options in ["indexByName", "renameByName"] {
        let columns = organize["options"][options].as_object().into_iter().flatten();
        for column in columns.map(|(column, _)| column) {
            let is_value = refs.contains(column) || (refs.len() == 1 && column == "Value");
            if !is_value && !names.contains(column) {
                tell("columns-are-known", format!("{column:?} is not among {names:?}"));
            }
        }
    }
    // Each label that is left needs a place, or it stands where Grafana likes.
    let placed = &organize["options"]["indexByName"];
    let hidden = &organize["options"]["excludeByName"];
    for label in names.iter().filter(|name| placed[*name].is_null() && hidden[*name].is_null()) {
        tell("columns-are-known", format!("the column {label:?} has no place"));
    }
    let reference = target["refId"].as_str().unwrap_or_default();
    if refs.len() > 1 && placed[format!("Value #{reference}")].is_null() {
        tell("columns-are-known", format!("the numbers of {reference} have no place"));
    }
}

/// The unit of a panel, or of the column that a query makes.
fn unit_of<'a>(panel: &'a Value, target: &Value) -> &'a str {
    let rename = list(&panel["transformations"]).iter().find(|t| t["id"] == "organize");
    let reference = target["refId"].as_str().unwrap_or_default();
    let column = rename.and_then(|organize| {
        let names = &organize["options"]["renameByName"];
        names[format!("Value #{reference}")].as_str().or(names["Value"].as_str())
    });
    let overrides = list(&panel["fieldConfig"]["overrides"]).iter();
    let of_column = overrides
        .filter(|o| column.is_some() && o["matcher"]["options"].as_str() == column)
        .flat_map(|o| list(&o["properties"]))
        .find(|property| property["id"] == "unit");
    let unit = of_column.map_or(&panel["fieldConfig"]["defaults"]["unit"], |p| &p["value"]);
    unit.as_str().unwrap_or_default()
}

fn unit_fits(panel: &Value, target: &Value, expr: &Expr, catalogue: &Catalogue, tell: Tell<'_>) {
    let unit = unit_of(panel, target);
    if panel["type"] == "heatmap" {
        let axis = panel["options"]["yAxis"]["unit"].as_str().unwrap_or_default();
        let right = distributed(expr, catalogue) == What::Seconds && axis == "s" && unit == "s";
        if !right {
            tell("unit-fits", format!("a heatmap of {expr} with {axis:?} at its side"));
        }
    // Who turns numbers into words shows no unit.
    } else if list(&panel["fieldConfig"]["defaults"]["mappings"]).is_empty() {
        let quantity = quantity(expr, catalogue);
        if !quantity.is_shown_by(unit) {
            tell("unit-fits", format!("{quantity:?} is no {unit:?}: {expr}"));
        }
    }
}

/// What is wrong with the panels of a dashboard.
pub(super) fn panels(board: &Board) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut titles = Vec::new();
    for panel in board.panels() {
        let title = panel["title"].as_str().unwrap_or_default();
        let mut tell = |rule, what: String| {
            found.push(Finding {
                rule,
                dashboard: board.title().to_owned(),
                panel: title.to_owned(),
                what,
            });
        };
        if titles.contains(&title) {
            tell("panel-title-description-rule", "two panels have this title".to_owned());
        }
        titles.push(title);
        if panel["type"] == "row" {
            continue;
        }
        let description = panel["description"].as_str().unwrap_or_default();
        if title.is_empty() || !description.ends_with('.') {
            tell("panel-title-description-rule", format!("{description:?} is no description"));
        }
        if panel["datasource"]["uid"] != "${datasource}" {
            tell("panel-datasource-rule", panel["datasource"].to_string());
        }
        if panel["type"] == "text" {
            continue;
        }
        let targets = list(&panel["targets"]);
        if targets.is_empty() {
            tell("panel-no-targets-rule", "asks nothing".to_owned());
        }
        for target in targets {
            if target["datasource"]["uid"] != "${datasource}" {
                tell("panel-datasource-rule", target["datasource"].to_string());
            }
            let legend = target["legendFormat"].as_str();
            let silent = matches!(panel["type"].as_str(), Some("table" | "stat" | "gauge"));
            if !silent && legend.is_none_or(str::is_empty) {
                tell("legend-is-kept", "a series without a legend".to_owned());
            }
        }
        let defaults = &panel["fieldConfig"]["defaults"];
        if defaults["unit"].as_str().is_none_or(str::is_empty) {
            tell("panel-units-rule", "has no unit".to_owned());
        }
        if defaults["noValue"].as_str().is_none_or(str::is_empty) {
            tell("panel-says-nothing", "has no text for no value".to_owned());
        }
    }
    found
}
