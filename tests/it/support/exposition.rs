//! The text format, read back.

use std::collections::BTreeMap;

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// One line with a value.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Labels,
    /// As written.
    pub(crate) text: String,
    pub(crate) value: f64,
}

impl Sample {
    /// Whether it has all of these labels.
    pub(crate) fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.labels.get(*name).is_some_and(|v| v == value))
    }
}

/// One whole answer to a scrape.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    pub(crate) samples: Vec<Sample>,
    /// Type by family.
    pub(crate) types: BTreeMap<String, String>,
    /// Help by family.
    pub(crate) help: BTreeMap<String, String>,
}

impl Exposition {
    /// Reads text format 0.0.4 or OpenMetrics, less what comes after a value.
    pub(crate) fn parse(text: &str) -> Self {
        let mut exposition = Self::default();
        for line in text.split('\n').filter(|line| !line.is_empty()) {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let (kind, family) = (words.next(), words.next().unwrap_or_default().to_owned());
                let rest = words.next().unwrap_or_default().to_owned();
                match kind {
                    Some("TYPE") => {
                        let before = exposition.types.insert(family.clone(), rest);
                        assert!(before.is_none(), "{family} has two TYPE lines");
                    }
                    Some("HELP") => drop(exposition.help.insert(family, rest)),
                    _ => {}
                }
            } else {
                let sample = sample(line).unwrap_or_else(|| panic!("not a sample: {line:?}"));
                exposition.samples.push(sample);
            }
        }
        exposition
    }

    /// All samples of that name with these labels.
    pub(crate) fn all<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name && sample.has(labels))
    }

    /// The value of the one sample of that name with these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut found = self.all(name, labels);
        let value = found.next().map(|sample| sample.value);
        assert!(found.next().is_none(), "{name}{labels:?} is not one series");
        value
    }

    /// The sum of all samples of that name with these labels; 0 if there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.all(name, labels).map(|sample| sample.value).sum()
    }

    /// The label values that a family has, in order.
    pub(crate) fn label_values(&self, name: &str, label: &str) -> Vec<String> {
        let mut values: Vec<String> =
            self.all(name, &[]).filter_map(|sample| sample.labels.get(label).cloned()).collect();
        values.sort();
        values.dedup();
        values
    }
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (label, after) = rest.split_once("=\"")?;
            let (value, after) = unescape(after)?;
            assert!(labels.insert(label.to_owned(), value).is_none(), "{label} twice in {line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
    }
    let text = rest.split_ascii_whitespace().next()?.to_owned();
    let value = text.parse().ok()?;
    Some(Sample { name: name.to_owned(), labels, text, value })
}

/// Reads a label value up to its closing quote.
fn unescape(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(match chars.next()? {
                'n' => '\n',
                quoted @ ('\\' | '"') => quoted,
                _ => return None,
            }),
            plain => value.push(plain),
        }
    }
}

#[test]
fn the_text_format_is_read_back() {
    let text = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"q\\\"\\\\\\n\",y=\"}\"} 1e-07\nb 3\n";
    let read = Exposition::parse(text);
    assert_eq!(read.types["a_total"], "counter");
    assert_eq!(read.samples[0].labels["x"], "q\"\\\n");
    assert_eq!(read.value("a_total", &[("y", "}")]), Some(1e-7));
    assert_eq!(read.value("b", &[]), Some(3.0));
}
