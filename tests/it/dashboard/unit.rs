//! In what a query counts, and which of Grafana's units say so.

use mozaiks_exporter::check::queries::promql::{inside, name, selector};
use mozaiks_exporter::check::queries::{Catalogue, Part};
use promql_parser::parser::{BinaryExpr, Expr};

/// What stands for `$__range_s` while nobody asks: no other number in a query is this one.
pub(super) const RANGE_SECONDS: f64 = 3_607.0;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum What {
    /// A number of the query itself, without a meaning of its own.
    Number(f64),
    Things,
    Share,
    Seconds,
    /// A point in time, in seconds.
    Moment,
    Bytes,
    Dollars,
}

/// A quantity, in all or for each so many seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Quantity {
    pub(super) what: What,
    pub(super) per_seconds: Option<f64>,
}

impl Quantity {
    fn of(what: What) -> Self {
        Self { what, per_seconds: None }
    }

    /// Whether one of Grafana's units means this.
    pub(super) fn is_shown_by(self, unit: &str) -> bool {
        let per = self.per_seconds;
        match self.what {
            What::Number(_) => matches!(unit, "none" | "short"),
            What::Things if per == Some(1.0) => matches!(unit, "ops" | "cps" | "reqps"),
            What::Things if per == Some(60.0) => matches!(unit, "opm" | "cpm"),
            What::Things => matches!(unit, "none" | "short"),
            What::Share => matches!(unit, "percentunit" | "none"),
            // Seconds of work in each second are a share.
            What::Seconds if per == Some(1.0) => unit == "percentunit",
            What::Seconds => matches!(unit, "s" | "dtdurations"),
            What::Moment => matches!(unit, "dateTimeFromNow" | "dateTimeAsIso"),
            What::Bytes if per == Some(1.0) => matches!(unit, "Bps" | "binBps"),
            What::Bytes => matches!(unit, "bytes" | "decbytes"),
            What::Dollars => unit == "currencyUSD",
        }
    }
}

/// What the results of an expression count.
pub(super) fn quantity(expr: &Expr, catalogue: &Catalogue) -> Quantity {
    match expr {
        Expr::NumberLiteral(number) => Quantity::of(What::Number(number.val)),
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) => {
            let name = selector(expr).and_then(name).unwrap_or_default();
            Quantity::of(named(name, catalogue))
        }
        Expr::Aggregate(aggregate) => match &*aggregate.op.to_string() {
            "count" | "count_values" | "group" => Quantity::of(What::Things),
            _ => quantity(&aggregate.expr, catalogue),
        },
        Expr::Call(call) => {
            let first = call.args.args.first();
            match call.func.name {
                "time" | "timestamp" => Quantity::of(What::Moment),
                "rate" | "irate" | "deriv" => {
                    let inner = first.map(|arg| quantity(arg, catalogue));
                    let what = inner.map_or(What::Things, |inner| inner.what);
                    Quantity { what, per_seconds: Some(1.0) }
                }
                "changes" | "resets" | "count_over_time" | "absent" => Quantity::of(What::Things),
                "histogram_quantile" => Quantity::of(distributed(expr, catalogue)),
                // A number where there is nothing else: the other side says what it is.
                "vector" => Quantity::of(What::Number(0.0)),
                _ => match first {
                    Some(arg) => quantity(arg, catalogue),
                    None => Quantity::of(What::Things),
                },
            }
        }
        Expr::Binary(binary) => combined(binary, catalogue),
        Expr::Paren(paren) => quantity(&paren.expr, catalogue),
        Expr::Unary(unary) => quantity(&unary.expr, catalogue),
        Expr::Subquery(subquery) => quantity(&subquery.expr, catalogue),
        Expr::StringLiteral(_) | Expr::Extension(_) => Quantity::of(What::Things),
    }
}

fn named(name: &str, catalogue: &Catalogue) -> What {
    match catalogue.find(name) {
        None | Some(Part::Bucket | Part::Count) => What::Things,
        Some(_) => by_name(catalogue.family(name)),
    }
}

/// Names say their unit; a record's stands between its colons.
fn by_name(family: &str) -> What {
    let mut words = family.split(':');
    let (level, metric, operation) = (words.next(), words.next(), words.next());
    if operation.is_some_and(|o| o.starts_with("ratio") || o.starts_with("remaining")) {
        return What::Share;
    }
    let name = metric.or(level).unwrap_or_default();
    let name = name.strip_suffix("_total").unwrap_or(name);
    if name.ends_with("_timestamp_seconds")
        || name.ends_with("_time_seconds")
        || name.ends_with("_update_time")
    {
        What::Moment
    } else if name.ends_with("_seconds") {
        What::Seconds
    } else if name.ends_with("bytes") || name.ends_with("_bytes_behind") {
        What::Bytes
    } else if name.contains("cost_usd") {
        What::Dollars
    } else if matches!(
        name,
        "up" | "mozaiks_up" | "mozaiks_exporter_state_durable" | "mozaiks_runtime_healthy"
    ) {
        // Zero or one: a mean of them is a share.
        What::Share
    } else {
        What::Things
    }
}

/// What the histogram inside counts in.
pub(super) fn distributed(expr: &Expr, catalogue: &Catalogue) -> What {
    if let Some(selector) = selector(expr) {
        return name(selector).map_or(What::Things, |name| by_name(catalogue.family(name)));
    }
    inside(expr)
        .into_iter()
        .map(|inner| distributed(inner, catalogue))
        .find(|what| *what != What::Things)
        .unwrap_or(What::Things)
}

fn combined(binary: &BinaryExpr, catalogue: &Catalogue) -> Quantity {
    let left = quantity(&binary.lhs, catalogue);
    let right = quantity(&binary.rhs, catalogue);
    let (left_what, right_what) = (left.what, right.what);
    match (&*binary.op.to_string(), left_what, right_what) {
        // What stands in for nothing counts the same; a number is added to what it is added to.
        ("or" | "+" | "-", What::Number(_), _) => right,
        ("*", What::Number(factor), _) => scaled(right, factor),
        ("*", _, What::Number(factor)) => scaled(left, factor),
        ("/", _, What::Number(RANGE_SECONDS)) => Quantity { per_seconds: Some(1.0), ..left },
        ("/", _, What::Number(_)) => left,
        ("/", ..) if left_what == right_what => Quantity::of(What::Share),
        // Dollars a turn are dollars, seconds a call are seconds.
        ("/", ..) => Quantity::of(left_what),
        ("-", What::Moment, What::Moment) => Quantity::of(What::Seconds),
        _ => left,
    }
}

fn scaled(quantity: Quantity, factor: f64) -> Quantity {
    Quantity { per_seconds: quantity.per_seconds.map(|seconds| seconds * factor), ..quantity }
}
