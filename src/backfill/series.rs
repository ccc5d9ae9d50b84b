//! Samples with timestamps: what the families show, moment by moment, as OpenMetrics.
//!
//! The catalogue renders the ledger at each step, so what is written about the past has the names,
//! labels and values that a scrape would have had. The text is taken apart again into series,
//! because all samples of a series have to stand together.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::labels::with;

/// Samples of one series: seconds since the epoch, and the value as it was written.
#[derive(Debug, Default)]
struct Series {
    /// Where the value changed.
    changes: Vec<(i64, Box<str>)>,
}

#[derive(Debug, Default)]
struct Family {
    /// Its `HELP` and `TYPE` lines.
    head: String,
    series: BTreeMap<Box<str>, Series>,
}

/// All series, by family, in the order in which the families first came.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    order: Vec<String>,
    families: BTreeMap<String, Family>,
    last: i64,
    step: i64,
    labels: String,
}

impl Recorder {
    /// One that writes a sample each `step` seconds, all with these labels beside their own.
    pub(super) fn new(step: i64, labels: String) -> Self {
        Self { step: step.max(1), labels, ..Self::default() }
    }

    /// Time has come to that second. Without an exposition nothing has changed since the last.
    pub(super) fn pass(&mut self, at: i64) {
        self.last = at;
    }

    /// Takes in one exposition: what was to be seen at that second.
    pub(super) fn take(&mut self, at: i64, text: &str) {
        self.pass(at);
        let mut name = String::new();
        let mut head = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                rest.split(' ').next().unwrap_or_default().clone_into(&mut name);
                head = format!("{line}\n");
                continue;
            }
            if line.starts_with("# EOF") {
                continue;
            }
            if line.starts_with("# TYPE ") {
                head.push_str(line);
                head.push('\n');
                if !self.families.contains_key(&name) {
                    self.order.push(name.clone());
                    let family = Family { head: head.clone(), ..Family::default() };
                    self.families.insert(name.clone(), family);
                }
                continue;
            }
            // The value follows the last space: in a label there may be any.
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Some(family) = self.families.get_mut(&name) else { continue };
            let series = family.series.entry(series.into()).or_default();
            if series.changes.last().is_none_or(|(_, last)| **last != *value) {
                series.changes.push((at, value.into()));
            }
        }
    }

    /// Writes everything, ended as OpenMetrics ends. Returns how many samples it was.
    ///
    /// A series begins one step before its first sample, at 0: so the first increment is seen.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<u64> {
        let mut samples = 0;
        for name in &self.order {
            let Some(family) = self.families.get(name) else { continue };
            out.write_all(family.head.as_bytes())?;
            for (name, series) in &family.series {
                let Some((first, _)) = series.changes.first() else { continue };
                let name = with(name, &self.labels);
                writeln!(out, "{name} 0 {}", first - self.step)?;
                samples += 1;
                let mut changes = series.changes.iter().peekable();
                let mut at = *first;
                while let Some((since, value)) = changes.next() {
                    at = at.max(*since);
                    let until = changes.peek().map_or(self.last + 1, |(next, _)| *next);
                    while at < until {
                        writeln!(out, "{name} {value} {at}")?;
                        samples += 1;
                        at += self.step;
                    }
                }
            }
        }
        out.write_all(b"# EOF\n")?;
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(recorder: &Recorder) -> String {
        let mut out = Vec::new();
        recorder.write(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_series_begins_at_zero_and_goes_on_to_the_end() {
        let mut recorder = Recorder::new(60, String::new());
        let text =
            |n: u32| format!("# HELP a Some.\n# TYPE a counter\na_total{{l=\"x y\"}} {n}\n# EOF\n");
        for (at, n) in [(600, 3), (660, 3), (720, 5)] {
            recorder.take(at, &text(n));
        }
        recorder.pass(780);
        let lines = ["0 540", "3 600", "3 660", "5 720", "5 780"]
            .map(|rest| format!("a_total{{l=\"x y\"}} {rest}\n"))
            .concat();
        assert_eq!(written(&recorder), format!("# HELP a Some.\n# TYPE a counter\n{lines}# EOF\n"));
    }
}
