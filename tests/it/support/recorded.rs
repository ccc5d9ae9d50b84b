//! What a real runtime once said, and what was then true of it. See `tests/fixtures/runtime`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::Value;

/// The views of the first process, the first of which is empty.
pub(crate) const FIRST_PROCESS: [&str; 5] =
    ["00_empty", "01_early", "02_busy", "03_busier", "04_before_restart"];
/// The views of the process after it, the first of which is empty.
pub(crate) const SECOND_PROCESS: [&str; 3] = ["05_after_restart", "06_rebuilding", "07_final"];

/// One recorded moment.
#[derive(Debug)]
pub(crate) struct View {
    /// The answer, byte for byte.
    pub(crate) aggregate: Vec<u8>,
    /// The runtime's clock.
    pub(crate) at: DateTime<Utc>,
    truth: Value,
}

impl View {
    /// Reads one.
    pub(crate) fn load(name: &str) -> Self {
        let dir = root().join("series").join(name);
        let read = |file| std::fs::read(dir.join(file)).unwrap();
        let truth: Value = serde_json::from_slice(&read("truth.json")).unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "a time of our days")]
        let micros = (truth["captured_at"].as_f64().unwrap() * 1e6) as i64;
        let at = DateTime::from_timestamp_micros(micros).unwrap();
        Self { aggregate: read("aggregate.json"), at, truth }
    }

    /// What the process had then done, counted outside it: `chats`, `by_app`, `by_workflow` or
    /// `by_user`, by key.
    pub(crate) fn truth(&self, book: &str) -> BTreeMap<String, Figures> {
        let entries = self.truth["perf_now"][book].as_object().unwrap();
        entries.iter().map(|(key, entry)| (key.clone(), Figures::read(entry))).collect()
    }
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    /// Turns, tool calls, errors, prompt tokens, completion tokens.
    pub(crate) counts: [u64; 5],
    /// US dollars.
    pub(crate) cost: f64,
}

impl Figures {
    /// The ends of the names of their families.
    pub(crate) const FAMILIES: [&str; 6] = [
        "agent_turns_total",
        "tool_calls_total",
        "errors_total",
        "prompt_tokens_total",
        "completion_tokens_total",
        "cost_usd_total",
    ];

    fn read(entry: &Value) -> Self {
        let get = |key: &str| {
            entry.get(key).or_else(|| entry.get(format!("total_{key}"))).unwrap_or(&Value::Null)
        };
        let keys = ["agent_turns", "tool_calls", "errors", "prompt_tokens", "completion_tokens"];
        Self {
            counts: keys.map(|key| get(key).as_u64().unwrap()),
            cost: get("cost").as_f64().unwrap(),
        }
    }

    /// Adds others.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.cost += other.cost;
    }

    /// In the order of [`Figures::FAMILIES`].
    pub(crate) fn values(&self) -> [f64; 6] {
        let [turns, tools, errors, prompt, completion] = self.counts.map(super::chat::count);
        [turns, tools, errors, prompt, completion, self.cost]
    }
}

/// The sums of several moments, key by key: what lives of one chat add up to.
pub(crate) fn sums<'a>(views: impl IntoIterator<Item = &'a View>, book: &str) -> Truth {
    let mut sums = Truth::new();
    for view in views {
        for (key, figures) in view.truth(book) {
            sums.entry(key).or_default().add(&figures);
        }
    }
    sums
}

/// Figures by chat, app, workflow or user.
pub(crate) type Truth = BTreeMap<String, Figures>;

/// Whether a published value is the true one: exact for counts, and for money to far less than a
/// micro-dollar, since the truth itself was summed in floating point.
pub(crate) fn is_exact(published: f64, truth: f64) -> bool {
    (published - truth).abs() < 5e-10
}

/// A recorded response, byte for byte.
pub(crate) fn response(name: &str) -> Vec<u8> {
    std::fs::read(root().join("http").join(format!("{name}.http"))).unwrap()
}

/// Where the recordings are.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runtime")
}
