//! What was found, and what is excused: `grafana/.lint`, in the form of Grafana's dashboard-linter.

use std::cell::Cell;

use serde_json::Value;

use super::board::{Query, list, root};

/// A rule that something breaks.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) rule: &'static str,
    pub(super) dashboard: String,
    /// The panel's title, or the name of the variable or annotation.
    pub(super) panel: String,
    pub(super) what: String,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}, {}: {}", self.rule, self.dashboard, self.panel, self.what)
    }
}

impl Finding {
    /// One about a query.
    pub(super) fn new(rule: &'static str, query: &Query<'_>, what: String) -> Self {
        let (dashboard, panel) = (query.dashboard.to_owned(), query.panel.to_owned());
        Self { rule, dashboard, panel, what }
    }
}

/// A place where a rule does not hold, with the reason.
#[derive(Debug)]
struct Exception {
    rule: String,
    dashboard: String,
    panel: String,
    used: Cell<bool>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Exceptions(Vec<Exception>);

impl Exceptions {
    /// Reads them.
    pub(super) fn load() -> Self {
        let text = std::fs::read_to_string(root("grafana/.lint")).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        let mut exceptions = Vec::new();
        for (rule, excused) in read["exclusions"].as_object().unwrap() {
            for entry in list(&excused["entries"]) {
                let reason = entry["reason"].as_str().or(excused["reason"].as_str());
                assert!(reason.is_some_and(|r| r.len() > 20), "{rule} needs a reason: {entry}");
                let field = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                exceptions.push(Exception {
                    rule: rule.clone(),
                    dashboard: field("dashboard"),
                    panel: field("panel"),
                    used: Cell::new(false),
                });
            }
        }
        Self(exceptions)
    }

    /// Whether the place is excused from the rule.
    pub(super) fn excuse(&self, rule: &str, dashboard: &str, panel: &str) -> bool {
        let found = self.0.iter().find(|exception| {
            exception.rule == rule
                && exception.dashboard == dashboard
                && (exception.panel == panel || exception.panel.is_empty())
        });
        found.inspect(|exception| exception.used.set(true)).is_some()
    }

    /// Exceptions from these rules that nothing needed.
    pub(super) fn idle(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let idle = self.0.iter().filter(|e| !e.used.get() && is_meant(&e.rule));
        idle.map(|e| format!("{} of {:?} in {:?}", e.rule, e.panel, e.dashboard)).collect()
    }
}
