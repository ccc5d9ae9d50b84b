//! The dashboards as files, and the queries in them.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A dashboard and its file.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) json: Value,
}

/// A query, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Query<'a> {
    pub(super) dashboard: &'a str,
    /// The panel's title, or the name of the variable or annotation.
    pub(super) panel: &'a str,
    pub(super) home: Home<'a>,
    pub(super) expr: String,
    /// Asked for one moment, not for the whole time range.
    pub(super) instant: bool,
}

/// What a query is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Home<'a> {
    Panel {
        panel: &'a Value,
        target: &'a Value,
    },
    /// Lists the values of a label.
    Variable(&'a str),
    Annotation(&'a Value),
}

impl Board {
    /// All that ship.
    pub(super) fn load_all() -> Vec<Self> {
        let folder = std::fs::read_dir(root("grafana/dashboards")).unwrap();
        let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let boards: Vec<Self> = paths.into_iter().map(Self::load).collect();
        assert_eq!(boards.len(), 6, "overview, SLOs, cost, agents, chats, exporter");
        boards
    }

    fn load(path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap();
        let json = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, text, json }
    }

    /// Its title.
    pub(super) fn title(&self) -> &str {
        self.json["title"].as_str().unwrap_or_default()
    }

    /// Its unique id.
    pub(super) fn uid(&self) -> &str {
        self.json["uid"].as_str().unwrap_or_default()
    }

    /// All panels, those inside rows and the rows themselves.
    pub(super) fn panels(&self) -> Vec<&Value> {
        let mut found = Vec::new();
        for panel in list(&self.json["panels"]) {
            found.push(panel);
            found.extend(list(&panel["panels"]));
        }
        found
    }

    /// Its variables.
    pub(super) fn variables(&self) -> &[Value] {
        list(&self.json["templating"]["list"])
    }

    /// The annotations that ask Prometheus.
    pub(super) fn annotations(&self) -> impl Iterator<Item = &Value> {
        list(&self.json["annotations"]["list"]).iter().filter(|a| a["builtIn"].is_null())
    }

    /// Everything that it asks Prometheus.
    pub(super) fn queries(&self) -> Vec<Query<'_>> {
        let dashboard = self.title();
        let mut found = Vec::new();
        for panel in self.panels() {
            for target in list(&panel["targets"]) {
                found.push(Query {
                    dashboard,
                    panel: panel["title"].as_str().unwrap_or_default(),
                    home: Home::Panel { panel, target },
                    expr: text(&target["expr"]),
                    instant: target["instant"] == true,
                });
            }
        }
        for variable in self.variables().iter().filter(|variable| variable["type"] == "query") {
            let query = variable["query"]["query"].as_str().unwrap_or_default();
            let inside = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')'));
            let (series, label) = inside.and_then(|q| q.rsplit_once(", ")).unwrap_or_default();
            found.push(Query {
                dashboard,
                panel: variable["name"].as_str().unwrap_or_default(),
                home: Home::Variable(label),
                expr: series.to_owned(),
                instant: true,
            });
        }
        for annotation in self.annotations() {
            found.push(Query {
                dashboard,
                panel: annotation["name"].as_str().unwrap_or_default(),
                home: Home::Annotation(annotation),
                expr: text(&annotation["target"]["expr"]),
                instant: false,
            });
        }
        found
    }
}

impl Query<'_> {
    /// The query with these in the place of variables. Longer names stand first.
    pub(super) fn filled_in(&self, values: &[(&str, &str)]) -> String {
        let mut query = self.expr.clone();
        for (variable, value) in values {
            query = query.replace(variable, value);
        }
        query
    }
}

/// The files of rules.
pub(super) fn rule_files() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root("alerts")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|p| p.to_string_lossy().ends_with(".rules.yml")).collect();
    assert!(!files.is_empty(), "there are no rules in alerts/");
    files
}

/// The elements of an array; none of anything else.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A path in the repository.
pub(super) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
