//! What may be set in the files, what kind of value it takes, and where it stands.
//!
//! A line `# parameter NAME: DEFAULT` stands above each line that holds the default. The table in
//! `alerts/README.md` says in which unit a value is, and so of what kind.

use std::path::Path;

use super::AssetsError;
use super::files::{FILES, text};
use super::value::Kind;

/// The table of parameters.
const TABLE: &str = "alerts/README.md";
const MARK: &str = "# parameter ";

/// Something that may be set.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value, if nothing is said.
    pub default: &'static str,
    /// In what it counts, as people read it.
    pub unit: &'static str,
    /// What it is for.
    pub what: &'static str,
    /// Files, and the lines of the value in them.
    pub places: Vec<(&'static str, Vec<usize>)>,
}

impl Parameter {
    fn kind(&self) -> Kind {
        Kind::of(self.name, self.default, self.unit)
    }
}

/// All parameters, in the order of the table.
pub fn parameters() -> Vec<Parameter> {
    let mut found: Vec<Parameter> = text(TABLE).lines().filter_map(row).collect();
    for file in FILES.iter().filter(|file| is_marked(file.path)) {
        for (number, line) in file.text.lines().enumerate() {
            if let Some((name, _)) = mark(line)
                && let Some(parameter) = found.iter_mut().find(|p| p.name == name)
            {
                // Lines are counted from one, and the value is in the next.
                match parameter.places.last_mut() {
                    Some((path, lines)) if *path == file.path => lines.push(number + 2),
                    _ => parameter.places.push((file.path, vec![number + 2])),
                }
            }
        }
    }
    found
}

/// Whether parameters are looked for in a file.
fn is_marked(path: &str) -> bool {
    let is_yaml = Path::new(path).extension().is_some_and(|extension| extension == "yml");
    is_yaml && path.starts_with("alerts/")
}

fn row(line: &'static str) -> Option<Parameter> {
    let cells: Vec<&str> = line.strip_prefix("| `")?.split('|').map(str::trim).collect();
    let [name, default, unit, what, _] = cells[..] else { return None };
    let name = name.trim_end_matches('`');
    let default = default.trim_matches('`');
    Some(Parameter { name, default, unit, what, places: Vec::new() })
}

fn mark(line: &str) -> Option<(&str, &str)> {
    line.trim_start().strip_prefix(MARK)?.split_once(": ")
}

/// Values that are set, each of the right kind.
#[derive(Debug, Default)]
pub(super) struct Settings(Vec<(Parameter, String)>);

impl Settings {
    /// Reads `NAME=VALUE`. Of two values of a name the last one counts.
    pub(super) fn read<'a>(
        given: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, AssetsError> {
        let known = parameters();
        let mut set: Vec<(Parameter, String)> = Vec::new();
        for (name, value) in given {
            let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else {
                let names: Vec<&str> = known.iter().map(|parameter| parameter.name).collect();
                return Err(AssetsError::Unknown { name: name.into(), known: names.join(", ") });
            };
            let kind = parameter.kind();
            let value = kind.read(value).map_err(|wanted| AssetsError::Value {
                name: name.into(),
                value: value.into(),
                wanted,
                default: parameter.default,
            })?;
            set.retain(|(before, _)| before.name != name);
            set.push((parameter.clone(), value));
        }
        Ok(Self(set))
    }

    /// What was set, where it is not the default.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&Parameter, &str)> {
        let all = self.0.iter().map(|(parameter, value)| (parameter, value.as_str()));
        all.filter(|(parameter, value)| parameter.default != *value)
    }

    /// The text of a file with the values in their places.
    pub(super) fn apply(&self, path: &str, text: &str) -> Result<String, AssetsError> {
        if !is_marked(path) || self.changes().next().is_none() {
            return Ok(text.to_owned());
        }
        let mut out = String::with_capacity(text.len());
        let mut open: Vec<(&Parameter, &str)> = Vec::new();
        for line in text.split_inclusive('\n') {
            if let Some((name, _)) = mark(line) {
                open.extend(self.changes().find(|(parameter, _)| parameter.name == name));
                out.push_str(line);
                continue;
            }
            let mut line = line.to_owned();
            for (parameter, value) in open.drain(..) {
                line = placed(&line, parameter, value)?;
            }
            out.push_str(&line);
        }
        Ok(out)
    }
}

/// A line with the value in the place of its default.
fn placed(line: &str, parameter: &Parameter, value: &str) -> Result<String, AssetsError> {
    let default = parameter.default;
    if let Some((metric, before)) = bucket(line) {
        is_bound(metric, parameter, value)?;
        // A dot of a regular expression is anything.
        let with = format!("{before}{default}");
        let set = format!("{before}{}", value.replace('.', "[.]"));
        return Ok(line.replacen(&with, &set, 1));
    }
    if parameter.kind().is_list() {
        return Ok(value.split(',').map(|one| line.replacen(default, one, 1)).collect());
    }
    // A path is put behind it, which begins with a slash.
    let value =
        if line.contains(&format!("{default}/")) { value.trim_end_matches('/') } else { value };
    Ok(line.replacen(default, value, 1))
}

/// The histogram that a line chooses a bucket of, and what stands before the bound.
fn bucket(line: &str) -> Option<(&str, &'static str)> {
    const BOUND: &str = "le=~\"";
    let (before, _) = line.split_once("_bucket{le=~\"")?;
    let from = before.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    Some((before.split_at(from.map_or(0, |at| at + 1)).1, BOUND))
}

/// Between two bounds a histogram knows nothing.
fn is_bound(metric: &str, parameter: &Parameter, value: &str) -> Result<(), AssetsError> {
    let bounds = crate::metrics::bounds(metric);
    if bounds.iter().any(|bound| bound.to_string() == value) {
        return Ok(());
    }
    let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
    Err(AssetsError::Value {
        name: parameter.name.into(),
        value: value.into(),
        wanted: format!("a bound of {metric}: {}", bounds.join(", ")),
        default: parameter.default,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_and_marks_agree() {
        let known = parameters();
        assert!(known.len() > 50, "{}", known.len());
        for parameter in &known {
            assert!(!parameter.places.is_empty(), "{} stands nowhere", parameter.name);
            let kind = parameter.kind();
            assert_eq!(kind.read(parameter.default), Ok(parameter.default.to_owned()));
        }
        for file in FILES.iter().filter(|file| is_marked(file.path)) {
            let mut open: Vec<(&str, &str)> = Vec::new();
            for line in file.text.lines() {
                if let Some(marked) = mark(line) {
                    let known = known.iter().find(|p| p.name == marked.0);
                    assert_eq!(known.map(|p| p.default), Some(marked.1), "{line}");
                    open.push(marked);
                    continue;
                }
                for (name, default) in open.drain(..) {
                    assert_eq!(line.matches(default).count(), 1, "{name} in {line}");
                }
            }
        }
    }

    #[test]
    fn a_value_stands_below_its_mark_alone() {
        let given = [("concurrency", "70"), ("latency-objective-seconds", "2.5")];
        let settings = Settings::read(given.into_iter()).unwrap();
        let text = "# parameter concurrency: 50\n# parameter error-rate: 0.05\n\
                    a: vector(50)\nb: vector(50)\n\
                    # parameter latency-objective-seconds: 5\nc: vector(5)\n";
        let set = text
            .replace("a: vector(50)", "a: vector(70)")
            .replace("c: vector(5)", "c: vector(2.5)");
        assert_eq!(settings.apply("alerts/x.yml", text).unwrap(), set);
    }
}
