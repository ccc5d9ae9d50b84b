//! Files of rules: as Prometheus reads them, and as the Prometheus Operator wraps them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::Query;

#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    groups: Vec<Group>,
    /// Of a `PrometheusRule`.
    spec: Option<Spec>,
}

#[derive(Debug, Deserialize)]
struct Spec {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    name: String,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    record: Option<String>,
    alert: Option<String>,
    /// A number is a query as well.
    expr: Option<Value>,
    #[serde(default)]
    labels: Option<BTreeMap<String, Value>>,
}

/// A rule with its query.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) query: Query,
    /// What is recorded, or the alert that is raised.
    pub(super) name: Option<String>,
    pub(super) is_record: bool,
    pub(super) labels: Vec<String>,
}

/// The rules of a file, or what is wrong with it.
pub(super) fn read(text: &str) -> Result<Vec<Found>, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let groups = file.groups.into_iter().chain(file.spec.into_iter().flat_map(|spec| spec.groups));
    let mut found = Vec::new();
    for group in groups {
        for (number, rule) in group.rules.into_iter().enumerate() {
            let is_record = rule.alert.is_none() && rule.record.is_some();
            let name = rule.alert.or(rule.record);
            let place = match &name {
                Some(name) => format!("{}/{name}", group.name),
                None => format!("{}/rule {}", group.name, number + 1),
            };
            let text = match rule.expr {
                Some(Value::String(text)) => text,
                Some(Value::Null) | None => String::new(),
                Some(other) => other.to_string(),
            };
            let labels = rule.labels.unwrap_or_default().into_keys().collect();
            let query = Query { place, text, label: None };
            found.push(Found { query, name, is_record, labels });
        }
    }
    Ok(found)
}
