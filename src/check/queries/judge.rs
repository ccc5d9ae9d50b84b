//! What is wrong with a query, whoever asks it.

use promql_parser::label::Labels;
use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
};

use super::catalogue::{Catalogue, Part};
use super::grafana::ANYTHING;
use super::promql::{
    Kept, bare, chooses, functions, inside, kept, matchers, name, selector, selectors, visit,
};
use crate::check::report::Weight;

/// What counters grow by, or how fast.
const OF_COUNTERS: [&str; 3] = ["rate", "irate", "increase"];
/// Functions that give back about the value that they get.
const CLEAR: [&str; 12] = [
    "abs",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "floor",
    "label_join",
    "label_replace",
    "round",
    "sort",
    "sort_desc",
    "sgn",
];

/// Something that is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) weight: Weight,
    pub(super) kind: &'static str,
    pub(super) what: String,
    pub(super) advice: String,
}

impl Fault {
    pub(super) fn error(kind: &'static str, what: String, advice: impl Into<String>) -> Self {
        Self { weight: Weight::Error, kind, what, advice: advice.into() }
    }
}

/// All that is wrong, each once.
pub(super) fn faults(expr: &Expr, catalogue: &Catalogue) -> Vec<Fault> {
    let mut all: Vec<Fault> = Vec::new();
    visit(expr, &mut |expr, around| {
        let found = match expr {
            Expr::VectorSelector(_) | Expr::MatrixSelector(_) => {
                of_selector(expr, around, catalogue)
            }
            Expr::Aggregate(aggregate) => of_aggregate(aggregate, catalogue),
            Expr::Binary(binary) => of_binary(binary, catalogue),
            Expr::Call(call) => of_call(call, catalogue),
            _ => Vec::new(),
        };
        for fault in found {
            if !all.contains(&fault) {
                all.push(fault);
            }
        }
    });
    all
}

fn of_selector(expr: &Expr, around: &[&Expr], catalogue: &Catalogue) -> Vec<Fault> {
    // What is chosen by a pattern may be anything.
    let Some((selector, name)) = selector(expr).and_then(|s| Some((s, name(s)?))) else {
        return Vec::new();
    };
    let Some(part) = catalogue.find(name) else {
        let advice = match catalogue.nearest(name) {
            Some(near) => format!("did you mean {near}?"),
            None => "see docs/metrics.md, or name its beginning with --foreign".to_owned(),
        };
        return vec![Fault::error("unknown-metric", format!("there is no metric {name}"), advice)];
    };
    let labels = catalogue.labels(Some(name));
    let demanded = matchers(selector).map(|matcher| &matcher.name);
    let mut found: Vec<Fault> = demanded
        .filter(|label| *label != "__name__")
        .filter_map(|label| unknown(label, &labels, name))
        .collect();
    if part == Part::Histogram {
        let advice = format!("ask for {name}_bucket, {name}_sum or {name}_count");
        found.push(Fault::error(
            "histogram",
            format!("{name} is a histogram and has no samples"),
            advice,
        ));
    }
    let function = functions(around).next();
    if let Some(function) = function.filter(|f| part == Part::Gauge && OF_COUNTERS.contains(f)) {
        found.push(Fault::error(
            "rate-of-gauge",
            format!("{function} of {name}, which is a gauge and falls"),
            "use delta, deriv or avg_over_time",
        ));
    }
    // A chat has a beginning and an end: its counter is what it came to, and no longer a story.
    let is_life = labels.names.contains("chat_id");
    if part.is_counter() && !is_life && matches!(expr, Expr::VectorSelector(_)) {
        found.extend(is_bare(expr, around).then(|| Fault {
            weight: Weight::Warning,
            kind: "bare-counter",
            what: format!("{name} is a counter and is used as it is"),
            advice: "rate or increase say what happened lately".to_owned(),
        }));
    }
    found
}

/// Whether the value itself, and not its growth, is added up or compared.
fn is_bare(expr: &Expr, around: &[&Expr]) -> bool {
    let (mut inner, mut is_bare) = (expr, false);
    for outer in around.iter().rev() {
        match outer {
            Expr::Call(call) if CLEAR.contains(&call.func.name) => {}
            Expr::Call(_) | Expr::Subquery(_) => return is_bare,
            Expr::Aggregate(aggregate) => {
                if matches!(&*aggregate.op.to_string(), "count" | "group") {
                    return false;
                }
                is_bare = true;
            }
            Expr::Binary(binary) if binary.op.is_comparison_operator() => {
                let is_left = std::ptr::eq(&raw const *binary.lhs, inner);
                let other = if is_left { &binary.rhs } else { &binary.lhs };
                // More than nothing asks whether it ever happened.
                return !matches!(bare(other), Expr::NumberLiteral(number) if number.val == 0.0);
            }
            Expr::Binary(binary) => {
                let is_right = std::ptr::eq(&raw const *binary.rhs, inner);
                // There it only has to exist.
                if is_right && matches!(&*binary.op.to_string(), "and" | "unless") {
                    return false;
                }
            }
            _ => {}
        }
        inner = outer;
    }
    is_bare
}

fn of_aggregate(aggregate: &AggregateExpr, catalogue: &Catalogue) -> Vec<Fault> {
    let inner = kept(&aggregate.expr, catalogue);
    let operator = aggregate.op.to_string();
    let mut found = match &aggregate.modifier {
        Some(LabelModifier::Include(by)) => all_known(by, &inner, &format!("{operator} by")),
        Some(LabelModifier::Exclude(without)) => {
            let ever = ever(&aggregate.expr, catalogue);
            all_known(without, &ever, &format!("{operator} without"))
        }
        None => Vec::new(),
    };
    let keeps = match &aggregate.modifier {
        Some(LabelModifier::Include(by)) => {
            by.labels.iter().any(|label| label == "le" || label.contains(ANYTHING))
        }
        Some(LabelModifier::Exclude(without)) => !without.labels.iter().any(|label| label == "le"),
        None => false,
    };
    if !keeps && !chooses(aggregate) && inner.names.contains("le") {
        let of_all = |name: &str| catalogue.find(name) == Some(Part::Bucket);
        for selector in selectors(&aggregate.expr) {
            let is_one = matchers(selector).any(|matcher| matcher.name == "le");
            if let Some(name) = name(selector).filter(|name| of_all(name) && !is_one) {
                found.push(Fault::error(
                    "buckets-without-le",
                    format!("{operator} of {name} loses le: each bucket holds those below it"),
                    "keep le (by (le)), choose one bucket, or use _count",
                ));
            }
        }
    }
    found
}

fn of_binary(binary: &BinaryExpr, catalogue: &Catalogue) -> Vec<Fault> {
    let Some(modifier) = &binary.modifier else { return Vec::new() };
    let (left, right) = (kept(&binary.lhs, catalogue), kept(&binary.rhs, catalogue));
    let mut found = match &modifier.matching {
        Some(LabelModifier::Include(on)) => all_known(on, &left.clone().and(right.clone()), "on"),
        Some(LabelModifier::Exclude(ignored)) => {
            let both = ever(&binary.lhs, catalogue).and(ever(&binary.rhs, catalogue));
            all_known(ignored, &both, "ignoring")
        }
        None => Vec::new(),
    };
    match &modifier.card {
        VectorMatchCardinality::ManyToOne(more) => {
            found.extend(all_known(more, &right, "group_left"));
        }
        VectorMatchCardinality::OneToMany(more) => {
            found.extend(all_known(more, &left, "group_right"));
        }
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {}
    }
    found
}

fn of_call(call: &Call, catalogue: &Catalogue) -> Vec<Fault> {
    let Some(argument) = call.args.args.last() else { return Vec::new() };
    if !matches!(call.func.name, "histogram_quantile" | "histogram_fraction") {
        return Vec::new();
    }
    let function = call.func.name;
    let mut found = Vec::new();
    for name in selectors(argument).into_iter().filter_map(name) {
        let is_other =
            |part: &Part| !matches!(part, Part::Bucket | Part::Unknown | Part::Histogram);
        if catalogue.find(name).as_ref().is_some_and(is_other) {
            found.push(Fault::error(
                "quantile-of-buckets",
                format!("{function} of {name}, which has no buckets"),
                "it takes rates of a _bucket",
            ));
        }
    }
    if let Some(name) = since_ever(argument, catalogue) {
        found.push(Fault::error(
            "quantile-of-buckets",
            format!("{function} of {name} as it is tells of all time since the beginning"),
            "take its rate or increase first",
        ));
    }
    if found.is_empty() && !selectors(argument).is_empty() && !kept(argument, catalogue).has("le") {
        found.push(Fault::error(
            "quantile-of-buckets",
            format!("{function} of what has lost le"),
            "aggregate by (le, …)",
        ));
    }
    found
}

/// A bucket whose growth nobody asks for.
fn since_ever<'a>(expr: &'a Expr, catalogue: &Catalogue) -> Option<&'a str> {
    let is_bucket = |name: &&str| catalogue.find(name) == Some(Part::Bucket);
    match expr {
        Expr::VectorSelector(selector) => name(selector).filter(is_bucket),
        Expr::MatrixSelector(_) | Expr::Subquery(_) => None,
        _ => inside(expr).into_iter().find_map(|inner| since_ever(inner, catalogue)),
    }
}

/// All labels that there are anywhere in an expression: to leave one out that is gone already does
/// no harm.
fn ever(expr: &Expr, catalogue: &Catalogue) -> Kept {
    let named = selectors(expr).into_iter().map(|selector| catalogue.labels(name(selector)));
    named.fold(kept(expr, catalogue), Kept::and)
}

fn all_known(labels: &Labels, known: &Kept, place: &str) -> Vec<Fault> {
    labels.labels.iter().filter_map(|label| unknown(label, known, place)).collect()
}

fn unknown(label: &str, known: &Kept, place: &str) -> Option<Fault> {
    if known.has(label) || label.contains(ANYTHING) {
        return None;
    }
    let names: Vec<&str> = known.names.iter().map(String::as_str).collect();
    let advice = if names.is_empty() {
        "there are no labels left there".to_owned()
    } else {
        format!("there are {}", names.join(", "))
    };
    Some(Fault::error("unknown-label", format!("{place} knows no label {label}"), advice))
}
