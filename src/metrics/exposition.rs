//! The two text formats of Prometheus.
//!
//! Written after the format specifications: text 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>) and OpenMetrics 1.0
//! (<https://github.com/OpenObservability/OpenMetrics/blob/main/specification/OpenMetrics.md>).
//! They differ in the name on the metadata lines of counters, in the escaping of `HELP`, and in
//! the last line.

use std::io::Write as _;

use crate::ledger::{Exemplar, Histogram};
use crate::model::Usd;

/// Which format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The exact content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Prometheus' type of a family.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size, with these upper bounds.
    Histogram(&'static [f64]),
}

impl Type {
    /// As the `TYPE` line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A sample's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// A whole number.
    Int(u64),
    /// Anything else.
    Float(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Int(value as u64)
    }
}

impl From<Usd> for Value {
    fn from(value: Usd) -> Self {
        Self::Float(value.as_f64())
    }
}

/// The text as it is written.
#[derive(Debug)]
pub struct Exposition {
    text: Vec<u8>,
    format: Format,
    exemplars: bool,
    samples: u64,
}

/// Where a family began, so that an empty one leaves nothing behind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    start: usize,
    samples: u64,
}

impl Exposition {
    /// An empty text with room for about `capacity` bytes.
    pub fn new(format: Format, capacity: usize) -> Self {
        let exemplars = format == Format::OpenMetrics;
        Self { text: Vec::with_capacity(capacity), format, exemplars, samples: 0 }
    }

    /// Leaves exemplars out.
    #[must_use]
    pub fn without_exemplars(self) -> Self {
        Self { exemplars: false, ..self }
    }

    /// Ends the text. Returns it with the number of samples in it.
    pub fn finish(mut self) -> (Vec<u8>, u64) {
        if self.format == Format::OpenMetrics {
            self.text.extend_from_slice(b"# EOF\n");
        }
        (self.text, self.samples)
    }

    /// Writes the metadata of a family.
    pub(super) fn open(&mut self, name: &str, help: &str, kind: Type) -> Opening {
        let opening = Opening { start: self.text.len(), samples: self.samples };
        let name = match (self.format, kind) {
            (Format::OpenMetrics, Type::Counter) => name.strip_suffix("_total").unwrap_or(name),
            _ => name,
        };
        // A quote is escaped in OpenMetrics alone; HELP texts hold none (checked by a test).
        let lines = [["# HELP ", name, " ", help, "\n"], ["# TYPE ", name, " ", kind.name(), "\n"]];
        for part in lines.iter().flatten() {
            self.text.extend_from_slice(part.as_bytes());
        }
        opening
    }

    /// Ends a family.
    pub(super) fn close(&mut self, opening: Opening) {
        if self.samples == opening.samples {
            self.text.truncate(opening.start);
        }
    }

    fn sample(&mut self, name: &str, suffix: &str, labels: &[u8], le: Option<&str>, value: Value) {
        self.sample_with(name, suffix, labels, le, value, None);
    }

    fn sample_with(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &[u8],
        le: Option<&str>,
        value: Value,
        exemplar: Option<&Exemplar>,
    ) {
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(suffix.as_bytes());
        if !labels.is_empty() || le.is_some() {
            self.text.push(b'{');
            self.text.extend_from_slice(labels);
            if let Some(le) = le {
                if !labels.is_empty() {
                    self.text.push(b',');
                }
                self.text.extend_from_slice(b"le=\"");
                self.text.extend_from_slice(le.as_bytes());
                self.text.push(b'"');
            }
            self.text.push(b'}');
        }
        self.text.push(b' ');
        write_value(&mut self.text, value);
        if let Some(exemplar) = exemplar.filter(|_| self.exemplars) {
            self.exemplar(exemplar);
        }
        self.text.push(b'\n');
        self.samples += 1;
    }

    /// OpenMetrics takes at most 128 characters of names and values of an exemplar's labels.
    fn exemplar(&mut self, exemplar: &Exemplar) {
        const LABEL: &str = "chat_id";
        if LABEL.len() + exemplar.chat_id.chars().count() > 128 {
            return;
        }
        self.text.extend_from_slice(b" # {");
        self.text.extend_from_slice(LABEL.as_bytes());
        self.text.extend_from_slice(b"=\"");
        escape(&mut self.text, &exemplar.chat_id);
        self.text.extend_from_slice(b"\"} ");
        write_value(&mut self.text, Value::Float(exemplar.seconds));
        self.text.push(b' ');
        write_value(&mut self.text, Value::Float(exemplar.at.seconds()));
    }
}

/// The labels of one series, escaped once for all families that have the same.
#[derive(Debug, Clone, Default)]
pub struct Block<const N: usize> {
    text: Vec<u8>,
}

impl<const N: usize> Block<N> {
    /// Escapes the values. `runtime` goes first where it is given.
    pub fn new(names: [&'static str; N], values: [&str; N], runtime: Option<&str>) -> Self {
        let mut block = Self { text: Vec::with_capacity(64) };
        block.fill(names, values, runtime);
        block
    }

    fn fill(&mut self, names: [&'static str; N], values: [&str; N], runtime: Option<&str>) {
        self.text.clear();
        let runtime = runtime.map(|runtime| ("runtime", runtime));
        for (name, value) in runtime.into_iter().chain(names.into_iter().zip(values)) {
            if !self.text.is_empty() {
                self.text.push(b',');
            }
            self.text.extend_from_slice(name.as_bytes());
            self.text.extend_from_slice(b"=\"");
            escape(&mut self.text, value);
            self.text.push(b'"');
        }
    }
}

/// Takes the samples of one family.
#[derive(Debug)]
pub struct Samples<'a, const N: usize> {
    out: &'a mut Exposition,
    name: &'static str,
    labels: [&'static str; N],
    block: Block<N>,
}

impl<'a, const N: usize> Samples<'a, N> {
    pub(super) fn new(
        out: &'a mut Exposition,
        name: &'static str,
        labels: [&'static str; N],
    ) -> Self {
        Self { out, name, labels, block: Block::default() }
    }

    /// One sample.
    pub fn put(&mut self, labels: [&str; N], value: impl Into<Value>) {
        self.put_of(None, labels, value);
    }

    /// One sample of a runtime that is named.
    pub fn put_of(&mut self, runtime: Option<&str>, labels: [&str; N], value: impl Into<Value>) {
        self.block.fill(self.labels, labels, runtime);
        self.out.sample(self.name, "", &self.block.text, None, value.into());
    }

    /// One sample whose labels are written already.
    pub fn put_block(&mut self, block: &Block<N>, value: impl Into<Value>) {
        self.out.sample(self.name, "", &block.text, None, value.into());
    }

    /// All samples of one histogram with these bounds; zeros where it is hidden. Exemplars stand in
    /// the order of the buckets, as many as there are.
    pub fn put_histogram(
        &mut self,
        runtime: Option<&str>,
        labels: [&str; N],
        bounds: &[f64],
        histogram: Option<&Histogram>,
        exemplars: &[Option<Exemplar>],
    ) {
        self.block.fill(self.labels, labels, runtime);
        let (name, labels) = (self.name, &self.block.text);
        let empty = Histogram::default();
        let histogram = histogram.unwrap_or(&empty);
        let mut exemplars = exemplars.iter().map(Option::as_ref);
        for (bound, count) in bounds.iter().zip(histogram.cumulative(bounds)) {
            // OpenMetrics wants `1.0`; one spelling in both formats keeps the series the same.
            let le = format!("{bound:?}");
            let exemplar = exemplars.next().flatten();
            self.out.sample_with(name, "_bucket", labels, Some(&le), count.into(), exemplar);
        }
        let (count, exemplar) = (histogram.count(), exemplars.next().flatten());
        self.out.sample_with(name, "_bucket", labels, Some("+Inf"), count.into(), exemplar);
        self.out.sample(name, "_sum", labels, None, histogram.sum_seconds().into());
        self.out.sample(name, "_count", labels, None, histogram.count().into());
    }
}

/// Escapes a label's value: backslash, quote and line feed, in both formats.
fn escape(text: &mut Vec<u8>, value: &str) {
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        let (plain, special) = rest.split_at(at);
        text.extend_from_slice(plain);
        text.push(b'\\');
        text.push(if special[0] == b'\n' { b'n' } else { special[0] });
        rest = &special[1..];
    }
    text.extend_from_slice(rest);
}

/// The shortest decimal that reads back as the same double.
fn write_value(text: &mut Vec<u8>, value: Value) {
    let written = match value {
        Value::Int(value) => write!(text, "{value}"),
        Value::Float(value) if value.is_nan() => write!(text, "NaN"),
        Value::Float(value) if value.is_infinite() => {
            write!(text, "{}Inf", if value > 0.0 { '+' } else { '-' })
        }
        Value::Float(value) => write!(text, "{value}"),
    };
    written.expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let block = Block::new(["a"], ["q\"b\\s\nn\u{2028}🦄"], Some("r"));
        let text = String::from_utf8(block.text).unwrap();
        assert_eq!(text, "runtime=\"r\",a=\"q\\\"b\\\\s\\nn\u{2028}🦄\"");
    }

    #[test]
    fn values_are_the_shortest_that_round_trip() {
        for (value, expected) in [
            (Value::Float(0.000_000_1), "0.0000001"),
            (Value::Float(5.0), "5"),
            (Value::Float(f64::INFINITY), "+Inf"),
            (Value::Float(f64::NAN), "NaN"),
            (Value::Int(u64::MAX), "18446744073709551615"),
        ] {
            let mut text = Vec::new();
            write_value(&mut text, value);
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }
}
