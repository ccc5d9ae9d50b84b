//! Rules and dashboards against the catalogue: does each query mean what its author thinks?

mod catalogue;
mod dashboard;
mod grafana;
mod judge;
pub mod promql;
mod rules;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use promql_parser::parser::{Expr, parse};

pub use self::catalogue::{Catalogue, Part};
use self::judge::Fault;
use self::promql::{inside, kept};
use super::CheckError;
use super::report::{Finding, Report};
use crate::assets::FILES;
use crate::cli::CheckArgs;

/// Sixteen of the largest dashboards that people share.
const LARGEST_FILE: u64 = 16 << 20;
/// A query of a screenful has some two thousand letters.
const LONGEST_QUERY: usize = 16 << 10;
/// Expressions in each other. What looks at them goes by recursion, and its stack has an end.
const DEEPEST_QUERY: usize = 200;

/// A query, and where it stands.
#[derive(Debug)]
struct Query {
    place: String,
    text: String,
    /// The label whose values a variable lists.
    label: Option<String>,
}

/// A rule, as those who build on it see it.
#[derive(Debug)]
pub struct Rule {
    /// What it records, or the alert that it raises.
    pub name: String,
    /// Whether it records.
    pub is_record: bool,
    /// The labels that it adds.
    pub labels: Vec<String>,
    /// Its query.
    pub expr: Expr,
}

/// A file with what it asks.
struct Asked {
    file: String,
    queries: Vec<Query>,
}

/// Holds the files against the catalogue, and against each other's records.
pub(super) fn check(args: &CheckArgs) -> Result<Report, CheckError> {
    let mut report = Report::default();
    let (mut asked, mut known) = (Vec::new(), bundled());
    for path in &args.rules {
        let text = read(path)?;
        let file = path.display().to_string();
        match rules::read(&text) {
            Ok(found) => {
                known.extend(found.iter().filter_map(rule));
                let queries = found.into_iter().map(|found| found.query).collect();
                asked.push(Asked { file, queries });
            }
            Err(error) => report.findings.push(unreadable(
                file,
                &error,
                "rules",
                "promtool check rules says more",
            )),
        }
    }
    for path in &args.dashboard {
        let text = read(path)?;
        let file = path.display().to_string();
        match dashboard::read(&text) {
            Ok(queries) => asked.push(Asked { file, queries }),
            Err(error) => report.findings.push(unreadable(
                file,
                &error,
                "dashboard",
                "export it from Grafana anew",
            )),
        }
    }
    let mut catalogue = Catalogue::new(&args.foreign, &args.label);
    catalogue.record(&known);
    report.files = args.rules.len() + args.dashboard.len();
    for Asked { file, queries } in asked {
        report.queries += queries.len();
        for query in queries {
            for fault in faults(&query, &catalogue) {
                let finding = finding(file.clone(), query.place.clone(), fault);
                // The same in several queries of a panel is one.
                if !report.findings.contains(&finding) {
                    report.findings.push(finding);
                }
            }
        }
    }
    Ok(report)
}

/// Our own rules: dashboards and rules may be built on what they record.
pub fn bundled() -> Vec<Rule> {
    let files = FILES.iter().filter(|file| file.path.ends_with(".rules.yml"));
    let found = files.filter_map(|file| rules::read(file.text).ok()).flatten();
    found.filter_map(|found| rule(&found)).collect()
}

fn rule(found: &rules::Found) -> Option<Rule> {
    let (name, labels) = (found.name.clone()?, found.labels.clone());
    // One that cannot be read is told of where it stands; its name is known all the same.
    let expr = understood(&found.query.text).unwrap_or_else(|_| Expr::from(f64::NAN));
    Some(Rule { name, is_record: found.is_record, labels, expr })
}

fn faults(query: &Query, catalogue: &Catalogue) -> Vec<Fault> {
    let expr = match understood(&query.text) {
        Ok(expr) => expr,
        Err(error) => {
            let what = format!("is no query: {error}");
            return vec![Fault::error(
                "no-promql",
                what,
                "correct it; promtool or Grafana show where",
            )];
        }
    };
    let mut found = judge::faults(&expr, catalogue);
    // A variable that lists a label needs the name alone, not the numbers.
    found.retain(|fault| query.label.is_none() || fault.kind != "bare-counter");
    if let Some(label) = &query.label {
        let left = kept(&expr, catalogue);
        if !left.has(label) && !label.contains('$') && found.is_empty() {
            let what = format!("there is no label {label} to list");
            let names: Vec<&str> = left.names.iter().map(String::as_str).collect();
            found.push(Fault::error(
                "unknown-label",
                what,
                format!("there are {}", names.join(", ")),
            ));
        }
    }
    found
}

/// The query by the parser, with something in the place of variables.
fn understood(text: &str) -> Result<Expr, String> {
    if text.len() > LONGEST_QUERY {
        return Err(format!("it is longer than {LONGEST_QUERY} bytes"));
    }
    let mut said = "it is empty".to_owned();
    for (number, text) in grafana::filled_in(text).iter().enumerate() {
        match parse(text) {
            Ok(expr) if is_deep(&expr) => {
                return Err(format!("more than {DEEPEST_QUERY} expressions lie in each other"));
            }
            Ok(expr) => return Ok(expr),
            Err(error) if number == 0 => said = error,
            Err(_) => {}
        }
    }
    Err(said)
}

fn is_deep(expr: &Expr) -> bool {
    let mut level = vec![expr];
    for _ in 0..DEEPEST_QUERY {
        level = level.into_iter().flat_map(inside).collect();
        if level.is_empty() {
            return false;
        }
    }
    true
}

fn finding(file: String, place: String, fault: Fault) -> Finding {
    let Fault { weight, kind, what, advice } = fault;
    Finding { weight, file, place, kind, what, advice }
}

fn unreadable(file: String, error: &str, place: &str, advice: &str) -> Finding {
    let line = error.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    finding(
        file,
        place.to_owned(),
        Fault::error("unreadable", format!("cannot be read: {line}"), advice),
    )
}

fn read(path: &Path) -> Result<String, CheckError> {
    let of = |source: io::Error| CheckError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = File::open(path).map_err(of)?;
    file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(of)?;
    if text.len() as u64 > LARGEST_FILE {
        return Err(CheckError::Large { path: path.to_owned(), limit: LARGEST_FILE });
    }
    Ok(text)
}
