//! Parameters in dashboards. JSON has no comments, so the places stand in a table beside them.

use serde_json::Value;

use super::AssetsError;
use super::parameter::Settings;

/// Which panel draws what.
const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/grafana/parameters.tsv"));
const FOLDER: &str = "grafana/dashboards/";
const SOURCES: &str = "grafana/provisioning/datasources/prometheus.yml";

/// The data source that dashboards begin with.
#[derive(Debug)]
pub(super) struct Datasource {
    uid: String,
    name: Option<String>,
}

impl Datasource {
    /// Reads `UID` or `UID/NAME`.
    pub(super) fn read(text: &str) -> Result<Self, AssetsError> {
        let (uid, name) = match text.split_once('/') {
            Some((uid, name)) => (uid, Some(name)),
            None => (text, None),
        };
        // Grafana's own rule for uids.
        let is_uid = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let fine = (1..=40).contains(&uid.len()) && uid.chars().all(is_uid);
        let is_name = |c: char| is_uid(c) || " .".contains(c);
        let named = name.is_none_or(|name| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.len() <= 200
                && name.trim() == name
                && name.chars().all(is_name)
        });
        if !fine || !named {
            return Err(AssetsError::Datasource { text: text.to_owned() });
        }
        Ok(Self { uid: uid.to_owned(), name: name.map(str::to_owned) })
    }

    /// The provisioned data source under this uid and name.
    fn provision(&self, text: &str) -> String {
        let text = text.replacen("uid: prometheus\n", &format!("uid: {}\n", self.uid), 1);
        match &self.name {
            Some(name) => text.replacen("name: Prometheus\n", &format!("name: {name}\n"), 1),
            None => text,
        }
    }

    fn choose(&self, board: &mut Value) {
        for variable in elements(board, "/templating/list") {
            if variable["type"] == "datasource" {
                let text = self.name.as_ref().unwrap_or(&self.uid);
                variable["current"] =
                    serde_json::json!({"selected": true, "text": text, "value": self.uid});
            }
        }
    }
}

/// The text of a file of `grafana/` with values and data source in their places. What nothing
/// changes keeps its bytes.
pub(super) fn apply(
    path: &str,
    text: &str,
    settings: &Settings,
    datasource: Option<&Datasource>,
) -> Result<String, AssetsError> {
    if let (SOURCES, Some(datasource)) = (path, datasource) {
        return Ok(datasource.provision(text));
    }
    let name = path.strip_prefix(FOLDER).and_then(|name| name.strip_suffix(".json"));
    let Some(name) = name else { return Ok(text.to_owned()) };
    let mut board: Value = serde_json::from_str(text).map_err(AssetsError::Board)?;
    let before = board.clone();
    for (parameter, value) in settings.changes() {
        let numbers = parameter.default.parse().ok().zip(value.parse().ok());
        let Some((default, value)) = numbers else { continue };
        for row in rows().filter(|row| row.board == name && row.parameter == parameter.name) {
            panels(&mut board, &mut |panel| {
                // Titles change, and a panel may stand in several rows.
                if titled(&before, panel) == Some(row.panel) {
                    row.place(panel, default, value);
                }
            });
        }
    }
    if let Some(datasource) = datasource {
        datasource.choose(&mut board);
    }
    if board == before {
        return Ok(text.to_owned());
    }
    // The form in which the files are kept.
    Ok(serde_json::to_string_pretty(&board).map_err(AssetsError::Board)? + "\n")
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
struct Row {
    board: &'static str,
    panel: &'static str,
    parameter: &'static str,
    place: &'static str,
    form: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| match line.split('\t').collect::<Vec<_>>()[..] {
        [board, panel, parameter, place, form] => {
            Some(Row { board, panel, parameter, place, form })
        }
        _ => None,
    })
}

impl Row {
    /// Puts the value into a panel, and says how often.
    fn place(&self, panel: &mut Value, default: f64, value: f64) -> usize {
        match self.place.split_once(':').unwrap_or((self.place, "")) {
            ("steps", "") => {
                let thresholds = panel.pointer_mut("/fieldConfig/defaults/thresholds");
                thresholds.map_or(0, |thresholds| self.step(thresholds, default, value))
            }
            ("steps", column) => elements(panel, "/fieldConfig/overrides")
                .filter(|over| over["matcher"]["options"] == column)
                .flat_map(|over| elements(over, "/properties"))
                .filter(|property| property["id"] == "thresholds")
                .filter_map(|property| property.get_mut("value"))
                .map(|thresholds| self.step(thresholds, default, value))
                .sum(),
            ("max", _) => {
                let max = panel.pointer_mut("/fieldConfig/defaults/max");
                let max = max.filter(|max| max.as_f64() == Some(default));
                max.map_or(0, |max| {
                    *max = number(value);
                    1
                })
            }
            _ => self.word(panel, default, value),
        }
    }

    fn step(&self, thresholds: &mut Value, default: f64, value: f64) -> usize {
        let mut placed = 0;
        for form in self.form.split(' ') {
            let (from, to) = (reckoned(form, default), reckoned(form, value));
            let steps = elements(thresholds, "/steps");
            for step in steps.filter(|step| step["value"].as_f64() == Some(from)) {
                step["value"] = number(to);
                placed += 1;
            }
        }
        // Grafana goes through them in their order; the first has no value.
        if let Some(steps) = thresholds.get_mut("steps").and_then(Value::as_array_mut) {
            let at = |step: &Value| step["value"].as_f64().unwrap_or(f64::NEG_INFINITY);
            steps.sort_by(|one, other| at(one).total_cmp(&at(other)));
        }
        placed
    }

    fn word(&self, panel: &mut Value, default: f64, value: f64) -> usize {
        let (from, to) = (filled(self.form, default), filled(self.form, value));
        let mut placed = 0;
        let mut change = |within: &mut Value, key: &str| {
            let Some(text) = within.get_mut(key) else { return };
            if let Some(found) = text.as_str().filter(|text| text.contains(&from)) {
                *text = Value::String(replaced(found, &from, &to));
                placed += 1;
            }
        };
        change(panel, "title");
        change(panel, "description");
        elements(panel, "/targets").for_each(|target| change(target, "expr"));
        placed
    }
}

/// Replaces where the number does not go on: `$1` is not the beginning of `$10`.
fn replaced(text: &str, from: &str, to: &str) -> String {
    let goes_on = |rest: &str| {
        let mut rest = rest.chars();
        let first = rest.next();
        let ends = from.ends_with(|c: char| c.is_ascii_digit());
        let more = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        ends && (more(first) || (first == Some('.') && more(rest.next())))
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(from) {
        out.push_str(before);
        out.push_str(if goes_on(after) { from } else { to });
        rest = after;
    }
    out + rest
}

/// A form in words with the number in its braces.
fn filled(form: &str, value: f64) -> String {
    let mut out = String::new();
    let mut rest = form;
    while let Some((before, from)) = rest.split_once('{') {
        let (inside, after) = from.split_once('}').unwrap_or((from, ""));
        out.push_str(before);
        out.push_str(&reckoned(&format!("{{{inside}}}"), value).to_string());
        if inside.ends_with('%') {
            out.push('%');
        }
        rest = after;
    }
    out + rest
}

fn reckoned(form: &str, value: f64) -> f64 {
    let exact = match form {
        "{/2}" => value / 2.0,
        "{/5}" => value / 5.0,
        "{%}" => value * 100.0,
        "{-}" => 1.0 - value,
        "{-%}" => (1.0 - value) * 100.0,
        "{min}" => value / 60.0,
        "{-30d}" => return ((1.0 - value) * 43_200.0).round(),
        _ => return value,
    };
    // What binary fractions leave behind the ninth digit is nobody's threshold.
    (exact * 1e9).round() / 1e9
}

/// A whole number without a point.
#[expect(clippy::cast_possible_truncation, reason = "whole and small enough, as is checked")]
fn number(value: f64) -> Value {
    let is_whole = value.fract() == 0.0 && value.abs() < 1e15;
    if is_whole { Value::from(value as i64) } else { Value::from(value) }
}

/// The elements of the array there; none where there is none. Indexing would make what is missing.
fn elements<'a>(value: &'a mut Value, path: &str) -> impl Iterator<Item = &'a mut Value> {
    value.pointer_mut(path).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Goes through panels, those inside rows as well.
fn panels(within: &mut Value, each: &mut dyn FnMut(&mut Value)) {
    for panel in elements(within, "/panels") {
        each(panel);
        panels(panel, each);
    }
}

/// The title that the panel of this id ships with.
fn titled<'a>(board: &'a Value, panel: &Value) -> Option<&'a str> {
    fn find<'a>(list: &'a Value, id: &Value) -> Option<&'a Value> {
        let panels = list.as_array()?;
        let inside = || panels.iter().find_map(|panel| find(&panel["panels"], id));
        panels.iter().find(|panel| panel["id"] == *id).or_else(inside)
    }
    find(&board["panels"], &panel["id"])?["title"].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::files::text;
    use crate::assets::parameter::parameters;

    #[test]
    fn each_row_has_its_place() {
        let known = parameters();
        assert!(rows().count() > 90);
        for row in rows() {
            let parameter = known.iter().find(|parameter| parameter.name == row.parameter);
            let default: f64 = parameter.unwrap().default.parse().unwrap();
            let path = format!("{FOLDER}{}.json", row.board);
            let mut board: Value = serde_json::from_str(text(&path)).unwrap();
            let (mut placed, before) = (0, board.clone());
            panels(&mut board, &mut |panel| {
                if panel["title"] == row.panel {
                    placed += row.place(panel, default, default);
                }
            });
            let wanted =
                if row.place.starts_with("steps") { row.form.split(' ').count() } else { 1 };
            assert!(placed >= wanted, "{row:?} is placed {placed} times");
            assert!(board == before, "{row:?} changes what it should keep");
        }
    }

    #[test]
    fn numbers_that_go_on_are_others() {
        assert_eq!(replaced("$1, $10, $1.5 and $1.", "$1", "$2"), "$2, $10, $1.5 and $2.");
        assert_eq!(
            filled("the {-%} of 30 days ({-30d} minutes)", 0.999),
            "the 0.1% of 30 days (43 minutes)"
        );
    }

    #[test]
    fn a_data_source_is_a_uid_and_perhaps_a_name() {
        for bad in ["", "a b", "x/", "x/ y", "x/a: b", "x/#y", "a.b"] {
            assert!(Datasource::read(bad).is_err(), "{bad}");
        }
        let source = Datasource::read("mimir-1/Our Mimir").unwrap();
        let set = source.provision(text(SOURCES));
        assert!(set.contains("name: Our Mimir\n") && set.contains("uid: mimir-1\n"), "{set}");
    }
}
