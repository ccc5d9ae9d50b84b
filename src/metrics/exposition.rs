//! The two text formats of Prometheus.
//!
//! Written after the format specifications: text 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>) and OpenMetrics 1.0
//! (<https://github.com/OpenObservability/OpenMetrics/blob/main/specification/OpenMetrics.md>).
//! They differ in the name on the metadata lines of counters, in the escaping of `HELP`, and in
//! the last line.

use std::io::Write as _;

use memchr::memchr3;

use crate::ledger::{Exemplar, Histogram};
use crate::model::Usd;

/// Which format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    /// What stands at the end of a text.
    pub(super) fn end(self) -> &'static [u8] {
        match self {
            Self::Text => b"",
            Self::OpenMetrics => b"# EOF\n",
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
    /// Millionths of millionths, fewer than 10^15: a decimal of 15 digits is the shortest of the
    /// double next to it.
    Pico(u64),
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
        let pico =
            u64::try_from(value.picodollars()).ok().filter(|pico| *pico < 1_000_000_000_000_000);
        pico.map_or_else(|| Self::Float(value.as_f64()), Self::Pico)
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
        self.text.extend_from_slice(self.format.end());
        (self.text, self.samples)
    }

    /// How long the text is so far.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The text without its end, with the number of samples in it.
    pub(super) fn into_text(self) -> (Vec<u8>, u64) {
        (self.text, self.samples)
    }

    /// Takes lines that somebody else writes, and says how many they are.
    pub(super) fn lines(&mut self, write: impl FnOnce(&mut Vec<u8>) -> u64) {
        self.samples += write(&mut self.text);
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

    fn sample(&mut self, name: &str, suffix: &str, labels: &[u8], le: Option<f64>, value: Value) {
        self.sample_with(name, suffix, labels, le, value, None);
    }

    fn sample_with(
        &mut self,
        name: &str,
        suffix: &str,
        labels: &[u8],
        le: Option<f64>,
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
                write_bound(&mut self.text, le);
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

/// Writes the labels of one series, escaped. `runtime` goes first where it is given. Returns where
/// each of the values begins and ends.
pub(super) fn write_labels<const N: usize>(
    text: &mut Vec<u8>,
    names: [&'static str; N],
    values: [&str; N],
    runtime: Option<&str>,
) -> [(usize, usize); N] {
    let start = text.len();
    let mut write = |name: &str, value: &str| {
        if text.len() > start {
            text.push(b',');
        }
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"=\"");
        let begin = text.len();
        escape(text, value);
        let end = text.len();
        text.push(b'"');
        (begin, end)
    };
    if let Some(runtime) = runtime {
        write("runtime", runtime);
    }
    let mut places = [(0, 0); N];
    for ((place, name), value) in places.iter_mut().zip(names).zip(values) {
        *place = write(name, value);
    }
    places
}

/// Takes the samples of one family.
#[derive(Debug)]
pub struct Samples<'a, const N: usize> {
    out: &'a mut Exposition,
    name: &'static str,
    labels: [&'static str; N],
    written: Vec<u8>,
}

impl<'a, const N: usize> Samples<'a, N> {
    pub(super) fn new(
        out: &'a mut Exposition,
        name: &'static str,
        labels: [&'static str; N],
    ) -> Self {
        Self { out, name, labels, written: Vec::new() }
    }

    /// One sample.
    pub fn put(&mut self, labels: [&str; N], value: impl Into<Value>) {
        self.put_of(None, labels, value);
    }

    /// One sample of a runtime that is named.
    pub fn put_of(&mut self, runtime: Option<&str>, labels: [&str; N], value: impl Into<Value>) {
        self.label(runtime, labels);
        self.out.sample(self.name, "", &self.written, None, value.into());
    }

    fn label(&mut self, runtime: Option<&str>, labels: [&str; N]) {
        self.written.clear();
        write_labels(&mut self.written, self.labels, labels, runtime);
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
        self.label(runtime, labels);
        let (name, labels) = (self.name, &self.written);
        let empty = Histogram::default();
        let histogram = histogram.unwrap_or(&empty);
        let mut exemplars = exemplars.iter().map(Option::as_ref);
        for (bound, count) in bounds.iter().zip(histogram.cumulative(bounds)) {
            let exemplar = exemplars.next().flatten();
            self.out.sample_with(name, "_bucket", labels, Some(*bound), count.into(), exemplar);
        }
        let (count, exemplar) = (histogram.count(), exemplars.next().flatten());
        let all = Some(f64::INFINITY);
        self.out.sample_with(name, "_bucket", labels, all, count.into(), exemplar);
        self.out.sample(name, "_sum", labels, None, histogram.sum_seconds().into());
        self.out.sample(name, "_count", labels, None, histogram.count().into());
    }
}

/// OpenMetrics wants `1.0`; one spelling in both formats keeps the series the same.
fn write_bound(text: &mut Vec<u8>, bound: f64) {
    let start = text.len();
    write_value(text, Value::Float(bound));
    if text[start..].iter().all(u8::is_ascii_digit) {
        text.extend_from_slice(b".0");
    }
}

/// Escapes a label's value: backslash, quote and line feed, in both formats.
fn escape(text: &mut Vec<u8>, value: &str) {
    let mut rest = value.as_bytes();
    while let Some(at) = memchr3(b'\\', b'"', b'\n', rest) {
        let (plain, special) = rest.split_at(at);
        text.extend_from_slice(plain);
        text.push(b'\\');
        text.push(if special[0] == b'\n' { b'n' } else { special[0] });
        rest = &special[1..];
    }
    text.extend_from_slice(rest);
}

/// The shortest decimal that reads back as the same double.
pub(super) fn write_value(text: &mut Vec<u8>, value: Value) {
    match value {
        Value::Int(value) => text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        Value::Pico(value) => write_decimal(text, value, 1_000_000_000_000),
        Value::Float(value) => write_float(text, value),
    }
}

/// Up to here (until the year 2106, in seconds) doubles are closer together than millionths are, so
/// a decimal of six places is the shortest of the double next to it.
const MILLIONTHS_APART: f64 = 4_294_967_296e6;

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "the range is checked, and that nothing is lost"
)]
fn write_float(text: &mut Vec<u8>, value: f64) {
    // What clocks say has six places, and integers are written faster than doubles by far.
    let millionths = (value * 1e6).round();
    if (0.0..MILLIONTHS_APART).contains(&millionths) && millionths / 1e6 == value {
        return write_decimal(text, millionths as u64, 1_000_000);
    }
    let written = match value {
        value if value.is_nan() => write!(text, "NaN"),
        value if value.is_infinite() => {
            write!(text, "{}Inf", if value > 0.0 { '+' } else { '-' })
        }
        value => write!(text, "{value}"),
    };
    written.expect("writing to memory does not fail");
}

/// `value` divided by `unit`, a power of ten, without zeros at its end.
fn write_decimal(text: &mut Vec<u8>, value: u64, unit: u64) {
    text.extend_from_slice(itoa::Buffer::new().format(value / unit).as_bytes());
    let fraction = value % unit;
    if fraction > 0 {
        // The leading one keeps the zeros behind it, and gives its place to the point.
        let start = text.len();
        text.extend_from_slice(itoa::Buffer::new().format(fraction + unit).as_bytes());
        text[start] = b'.';
        let zeros = text.iter().rev().take_while(|digit| **digit == b'0').count();
        text.truncate(text.len() - zeros);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: impl Into<Value>) -> String {
        let mut text = Vec::new();
        write_value(&mut text, value.into());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn labels_are_escaped() {
        let mut text = Vec::new();
        let places = write_labels(&mut text, ["a"], ["q\"b\\s\nn\u{2028}🦄"], Some("r"));
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, "runtime=\"r\",a=\"q\\\"b\\\\s\\nn\u{2028}🦄\"");
        assert_eq!(places, [(15, text.len() - 1)]);
    }

    #[test]
    fn values_are_the_shortest_that_round_trip() {
        for (value, expected) in [
            (Value::Float(0.000_000_1), "0.0000001"),
            (Value::Float(5.0), "5"),
            (Value::Float(f64::INFINITY), "+Inf"),
            (Value::Float(f64::NAN), "NaN"),
            (Value::Int(u64::MAX), "18446744073709551615"),
            (Value::Float(0.0), "0"),
            (Value::Float(1_768_701_486.123_456), "1768701486.123456"),
            (Value::Float(f64::MAX), &f64::MAX.to_string()),
            (Value::Pico(70_000_000_000_005), "70.000000000005"),
        ] {
            assert_eq!(written(value), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn values_are_written_as_the_standard_library_writes_them(
            value in proptest::prelude::any::<f64>(),
            micros in 0_u64..5_000_000_000_000_000,
            places in 0..18,
        ) {
            #[expect(clippy::cast_precision_loss, reason = "any double will do")]
            let decimal = micros as f64 / 10_f64.powi(places);
            for value in [value, decimal] {
                if value.is_finite() {
                    // Minus zero is zero.
                    proptest::prop_assert_eq!(written(value), (value + 0.0).to_string());
                }
            }
        }

        #[test]
        fn money_is_written_as_the_double_next_to_it(pico in 0_u64.., shift in 0_u32..64) {
            let usd: Usd = format!("0.{:012}", pico >> shift).parse().unwrap();
            proptest::prop_assert_eq!(written(usd), usd.as_f64().to_string());
            let usd: Usd = format!("{}.{:012}", pico >> shift >> 20, pico % 1_000_000_000_000).parse().unwrap();
            proptest::prop_assert_eq!(written(usd), usd.as_f64().to_string());
        }
    }
}
