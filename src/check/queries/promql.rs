//! How queries are walked through, and which labels are left of them.

use std::collections::BTreeSet;

use promql_parser::label::{Labels, MatchOp, Matcher};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector,
};

use super::catalogue::Catalogue;

/// Labels that there may be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// Their names.
    pub names: BTreeSet<String>,
    /// Whether there may be others: what strangers serve has labels that nobody here knows.
    pub any: bool,
}

impl Kept {
    /// Whatever there is.
    pub fn anything() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// Whether there may be such a label.
    pub fn has(&self, label: &str) -> bool {
        self.any || self.names.contains(label)
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.names.extend(other.names);
        self.any |= other.any;
        self
    }

    fn with(mut self, label: String) -> Self {
        self.names.insert(label);
        self
    }

    /// Those that are chosen: they are known by being named.
    fn chosen(&self, labels: &Labels) -> Self {
        let names = labels.labels.iter().filter(|label| self.has(label)).cloned().collect();
        Self { names, any: false }
    }

    fn without(mut self, labels: &Labels) -> Self {
        self.names.retain(|name| !labels.labels.contains(name));
        self
    }
}

/// The expressions right inside one.
pub fn inside(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Aggregate(aggregate) => {
            aggregate.param.as_deref().into_iter().chain([&*aggregate.expr]).collect()
        }
        Expr::Unary(unary) => vec![&unary.expr],
        Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
        Expr::Paren(paren) => vec![&paren.expr],
        Expr::Subquery(subquery) => vec![&subquery.expr],
        Expr::Call(call) => call.args.args.iter().map(|arg| &**arg).collect(),
        Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::VectorSelector(_)
        | Expr::MatrixSelector(_)
        | Expr::Extension(_) => Vec::new(),
    }
}

/// Looks at an expression and at all inside it, each with what is around it, outermost first.
pub fn visit<'a>(expr: &'a Expr, look: &mut dyn FnMut(&'a Expr, &[&'a Expr])) {
    fn go<'a>(
        expr: &'a Expr,
        around: &mut Vec<&'a Expr>,
        look: &mut dyn FnMut(&'a Expr, &[&'a Expr]),
    ) {
        look(expr, around);
        around.push(expr);
        for inner in inside(expr) {
            go(inner, around, look);
        }
        around.pop();
    }
    go(expr, &mut Vec::new(), look);
}

/// The names of the functions that are around, innermost first.
pub fn functions(around: &[&Expr]) -> impl Iterator<Item = &'static str> {
    around.iter().rev().filter_map(|outer| match outer {
        Expr::Call(call) => Some(call.func.name),
        _ => None,
    })
}

/// All selectors in an expression.
pub fn selectors(expr: &Expr) -> Vec<&VectorSelector> {
    let mut found = Vec::new();
    visit(expr, &mut |inner, _| found.extend(selector(inner)));
    found
}

/// The selector that an expression is, if it is one.
pub fn selector(expr: &Expr) -> Option<&VectorSelector> {
    match expr {
        Expr::VectorSelector(selector) => Some(selector),
        Expr::MatrixSelector(matrix) => Some(&matrix.vs),
        _ => None,
    }
}

/// The name that a selector asks for; none where it asks for many.
pub fn name(selector: &VectorSelector) -> Option<&str> {
    let named = |matcher: &&Matcher| matcher.name == "__name__" && matcher.op == MatchOp::Equal;
    let by_matcher = || matchers(selector).find(named).map(|matcher| matcher.value.as_str());
    selector.name.as_deref().or_else(by_matcher)
}

/// What a selector demands of labels.
pub fn matchers(selector: &VectorSelector) -> impl Iterator<Item = &Matcher> {
    selector.matchers.matchers.iter().chain(selector.matchers.or_matchers.iter().flatten())
}

/// An expression without the brackets around it.
pub fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => bare(&paren.expr),
        _ => expr,
    }
}

/// Whether an aggregation chooses among series and leaves them as they are.
pub fn chooses(aggregate: &AggregateExpr) -> bool {
    matches!(&*aggregate.op.to_string(), "topk" | "bottomk" | "limitk" | "limit_ratio")
}

/// The labels that the results of an expression may have.
pub fn kept(expr: &Expr, catalogue: &Catalogue) -> Kept {
    match expr {
        Expr::VectorSelector(selector) => catalogue.labels(name(selector)),
        Expr::MatrixSelector(matrix) => catalogue.labels(name(&matrix.vs)),
        Expr::Paren(paren) => kept(&paren.expr, catalogue),
        Expr::Unary(unary) => kept(&unary.expr, catalogue),
        Expr::Subquery(subquery) => kept(&subquery.expr, catalogue),
        Expr::Aggregate(aggregate) => of_aggregate(aggregate, catalogue),
        Expr::Binary(binary) => of_binary(binary, catalogue),
        Expr::Call(call) => of_call(call, catalogue),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Kept::default(),
        Expr::Extension(_) => Kept::anything(),
    }
}

fn of_aggregate(aggregate: &AggregateExpr, catalogue: &Catalogue) -> Kept {
    let inner = kept(&aggregate.expr, catalogue);
    let left = match &aggregate.modifier {
        _ if chooses(aggregate) => return inner,
        None => Kept::default(),
        Some(LabelModifier::Include(by)) => inner.chosen(by),
        Some(LabelModifier::Exclude(without)) => inner.without(without),
    };
    match aggregate.param.as_deref().map(bare) {
        // The label that count_values makes.
        Some(Expr::StringLiteral(label)) => left.with(label.val.clone()),
        _ => left,
    }
}

fn of_binary(binary: &BinaryExpr, catalogue: &Catalogue) -> Kept {
    let left = kept(&binary.lhs, catalogue);
    let right = kept(&binary.rhs, catalogue);
    match &*binary.op.to_string() {
        "or" => return left.and(right),
        "and" | "unless" => return left,
        _ if binary.rhs.value_type() == ValueType::Scalar => return left,
        _ if binary.lhs.value_type() == ValueType::Scalar => return right,
        _ => {}
    }
    let Some(modifier) = &binary.modifier else { return left };
    let all = |labels: &Labels| labels.labels.iter().cloned().collect();
    match &modifier.card {
        VectorMatchCardinality::ManyToOne(more) => left.and(Kept { names: all(more), any: false }),
        VectorMatchCardinality::OneToMany(more) => right.and(Kept { names: all(more), any: false }),
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {
            match &modifier.matching {
                Some(LabelModifier::Include(on)) => left.chosen(on),
                Some(LabelModifier::Exclude(ignored)) => left.without(ignored),
                None => left,
            }
        }
    }
}

fn of_call(call: &Call, catalogue: &Catalogue) -> Kept {
    let args = &call.args.args;
    let first = || args.first().map(|arg| kept(arg, catalogue)).unwrap_or_default();
    match call.func.name {
        "absent" | "absent_over_time" => {
            let inner = args.first().map(|arg| bare(arg)).and_then(selector);
            let names = inner.into_iter().flat_map(matchers).map(|matcher| matcher.name.clone());
            Kept { names: names.collect(), any: false }
        }
        "time" | "vector" | "scalar" | "pi" => Kept::default(),
        "histogram_quantile" | "histogram_fraction" => {
            let mut inner = args.last().map(|arg| kept(arg, catalogue)).unwrap_or_default();
            inner.names.remove("le");
            inner
        }
        "label_replace" | "label_join" => match args.get(1).map(|arg| bare(arg)) {
            Some(Expr::StringLiteral(label)) => first().with(label.val.clone()),
            _ => first(),
        },
        "info" => Kept::anything(),
        _ => args.iter().map(|arg| kept(arg, catalogue)).fold(Kept::default(), Kept::and),
    }
}
