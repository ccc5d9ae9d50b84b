//! What can be said of a query without asking anybody: read by a parser, never by patterns.

use promql_parser::label::{Labels, Matcher};
use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector,
};

use super::catalogue::{Catalogue, Names};

/// The expressions right inside one.
pub(super) fn inside(expr: &Expr) -> Vec<&Expr> {
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

/// Looks at an expression and at all inside it, each with the functions around it, outermost first.
pub(super) fn visit<'a>(expr: &'a Expr, look: &mut impl FnMut(&'a Expr, &[&'static str])) {
    fn go<'a>(
        expr: &'a Expr,
        around: &mut Vec<&'static str>,
        look: &mut impl FnMut(&'a Expr, &[&'static str]),
    ) {
        look(expr, around);
        if let Expr::Call(call) = expr {
            around.push(call.func.name);
        }
        for inner in inside(expr) {
            go(inner, around, look);
        }
        if let Expr::Call(_) = expr {
            around.pop();
        }
    }
    go(expr, &mut Vec::new(), look);
}

/// The selector that an expression is, if it is one.
pub(super) fn selector(expr: &Expr) -> Option<&VectorSelector> {
    match expr {
        Expr::VectorSelector(selector) => Some(selector),
        Expr::MatrixSelector(matrix) => Some(&matrix.vs),
        _ => None,
    }
}

/// The name that a selector asks for.
pub(super) fn name(selector: &VectorSelector) -> &str {
    selector.name.as_deref().unwrap_or_default()
}

/// What a selector demands of labels.
pub(super) fn matchers(selector: &VectorSelector) -> impl Iterator<Item = &Matcher> {
    selector.matchers.matchers.iter().chain(selector.matchers.or_matchers.iter().flatten())
}

/// The labels that the results of an expression may have.
pub(super) fn kept(expr: &Expr, catalogue: &Catalogue) -> Names {
    match expr {
        Expr::VectorSelector(selector) => of_name(name(selector), catalogue),
        Expr::MatrixSelector(matrix) => of_name(name(&matrix.vs), catalogue),
        Expr::Paren(paren) => kept(&paren.expr, catalogue),
        Expr::Unary(unary) => kept(&unary.expr, catalogue),
        Expr::Subquery(subquery) => kept(&subquery.expr, catalogue),
        Expr::Aggregate(aggregate) => of_aggregate(aggregate, catalogue),
        Expr::Binary(binary) => of_binary(binary, catalogue),
        Expr::Call(call) => of_call(call, catalogue),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => Names::new(),
    }
}

fn of_name(name: &str, catalogue: &Catalogue) -> Names {
    catalogue.find(name).map(|series| series.labels).unwrap_or_default()
}

fn of_aggregate(aggregate: &AggregateExpr, catalogue: &Catalogue) -> Names {
    let inner = kept(&aggregate.expr, catalogue);
    match &aggregate.modifier {
        // These choose among series and leave them as they are.
        _ if matches!(&*aggregate.op.to_string(), "topk" | "bottomk") => inner,
        None => Names::new(),
        Some(LabelModifier::Include(by)) => both(&inner, by),
        Some(LabelModifier::Exclude(without)) => less(&inner, without),
    }
}

fn of_binary(binary: &BinaryExpr, catalogue: &Catalogue) -> Names {
    let left = kept(&binary.lhs, catalogue);
    let right = kept(&binary.rhs, catalogue);
    let is_scalar =
        |expr: &Expr| expr.value_type() == promql_parser::parser::value::ValueType::Scalar;
    match &*binary.op.to_string() {
        "or" => return &left | &right,
        "and" | "unless" => return left,
        _ if is_scalar(&binary.rhs) => return left,
        _ if is_scalar(&binary.lhs) => return right,
        _ => {}
    }
    let Some(modifier) = &binary.modifier else { return left };
    match &modifier.card {
        VectorMatchCardinality::ManyToOne(more) => &left | &all(more),
        VectorMatchCardinality::OneToMany(more) => &right | &all(more),
        VectorMatchCardinality::OneToOne | VectorMatchCardinality::ManyToMany => {
            match &modifier.matching {
                Some(LabelModifier::Include(on)) => both(&left, on),
                Some(LabelModifier::Exclude(ignored)) => less(&left, ignored),
                None => left,
            }
        }
    }
}

fn of_call(call: &Call, catalogue: &Catalogue) -> Names {
    let args = &call.args.args;
    let string = |at: usize| match args.get(at).map(|arg| &**arg) {
        Some(Expr::StringLiteral(literal)) => literal.val.clone(),
        other => panic!("{} wants a string, not {other:?}", call.func.name),
    };
    match call.func.name {
        "absent" | "absent_over_time" => {
            let selector = selector(&args[0]);
            selector.into_iter().flat_map(matchers).map(|matcher| matcher.name.clone()).collect()
        }
        "time" | "vector" | "scalar" | "pi" => Names::new(),
        "histogram_quantile" => {
            let mut inner = kept(&args[1], catalogue);
            inner.remove("le");
            inner
        }
        "label_replace" | "label_join" => {
            let mut inner = kept(&args[0], catalogue);
            inner.insert(string(1));
            inner
        }
        _ => args.iter().flat_map(|arg| kept(arg, catalogue)).collect(),
    }
}

fn all(labels: &Labels) -> Names {
    labels.labels.iter().cloned().collect()
}

fn both(names: &Names, labels: &Labels) -> Names {
    names & &all(labels)
}

fn less(names: &Names, labels: &Labels) -> Names {
    names - &all(labels)
}
