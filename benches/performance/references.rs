//! The same series as other crates keep and write them, and as a loop writes them that knows
//! nothing but what it has to write: the floor.

use std::io::Write as _;
use std::sync::atomic::AtomicU64;

use metrics::{Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use prometheus::{CounterVec, Encoder as _, GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry;

use crate::support::workload::{Told, World};

/// The families of whole numbers, in the order of [`Told::counts`]: name and `HELP`.
const COUNTS: [(&str, &str); 5] = [
    ("mozaiks_chat_agent_turns_total", "Agent turns finished in the chat."),
    ("mozaiks_chat_tool_calls_total", "Tool calls of the chat, failed ones included."),
    ("mozaiks_chat_errors_total", "Failed tool calls of the chat."),
    ("mozaiks_chat_prompt_tokens_total", "Tokens that the chat sent to models."),
    ("mozaiks_chat_completion_tokens_total", "Tokens that models answered the chat with."),
];
/// Those of money: the second is the first one's other name.
const COSTS: [(&str, &str); 2] = [
    ("mozaiks_chat_cost_usd_total", "Cost of the chat in US dollars."),
    ("mozaiks_chat_cost_total", "Cost of the chat in US dollars; second name."),
];
/// Gauges.
const GAUGES: [(&str, &str); 4] = [
    ("mozaiks_chat_last_turn_duration_seconds", "Duration of the last turn of a live chat."),
    ("mozaiks_chat_last_turn_duration_sec", "Duration of the last turn; second name."),
    ("mozaiks_chat_last_update_time", "Unix time at which a live chat last did something."),
    ("mozaiks_chat_runtime_seconds", "Time since the start of a live chat."),
];
const LABELS: [&str; 4] = ["chat_id", "app_id", "workflow_name", "user_id"];

/// Series of a live chat, as the exporter shows them.
pub(crate) const SERIES: usize = COUNTS.len() + COSTS.len() + GAUGES.len();

fn gauges(chat: &Told) -> [f64; 4] {
    [chat.last_turn_seconds, chat.last_turn_seconds, chat.last_update(), chat.runtime_seconds]
}

fn names(chat: &Told) -> [&str; 4] {
    [&chat.chat_id, &chat.app_id, chat.workflow_name, &chat.user_id]
}

/// Structs, a loop, itoa, ryu and a buffer that is used again.
#[derive(Debug)]
pub(crate) struct Floor {
    chats: Vec<Row>,
    text: Vec<u8>,
}

/// What has to be written, and nothing else: labels are escaped before.
#[derive(Debug)]
struct Row {
    labels: Box<[u8]>,
    counts: [u64; 5],
    cost: f64,
    gauges: [f64; 4],
}

impl Floor {
    pub(crate) fn new(world: &World) -> Self {
        let rows = world.chats().map(|chat| {
            let mut labels = Vec::new();
            for (label, value) in LABELS.iter().zip(names(&chat)) {
                let comma = if labels.is_empty() { "" } else { "," };
                write!(labels, "{comma}{label}=\"{value}\"").unwrap();
            }
            let (labels, counts) = (labels.into_boxed_slice(), chat.counts());
            Row { labels, counts, cost: chat.cost, gauges: gauges(&chat) }
        });
        Self { chats: rows.collect(), text: Vec::new() }
    }

    pub(crate) fn text(&mut self) -> &[u8] {
        self.text.clear();
        let mut itoa = itoa::Buffer::new();
        let mut ryu = ryu::Buffer::new();
        for (index, family) in COUNTS.iter().enumerate() {
            self.family(family, "counter", |row, text| {
                text.extend_from_slice(itoa.format(row.counts[index]).as_bytes());
            });
        }
        for family in &COSTS {
            self.family(family, "counter", |row, text| {
                text.extend_from_slice(ryu.format_finite(row.cost).as_bytes());
            });
        }
        for (index, family) in GAUGES.iter().enumerate() {
            self.family(family, "gauge", |row, text| {
                text.extend_from_slice(ryu.format_finite(row.gauges[index]).as_bytes());
            });
        }
        &self.text
    }

    fn family(
        &mut self,
        (name, help): &(&str, &str),
        kind: &str,
        mut value: impl FnMut(&Row, &mut Vec<u8>),
    ) {
        let text = &mut self.text;
        write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n").unwrap();
        for row in &self.chats {
            text.extend_from_slice(name.as_bytes());
            text.push(b'{');
            text.extend_from_slice(&row.labels);
            text.extend_from_slice(b"} ");
            value(row, text);
            text.push(b'\n');
        }
    }
}

/// The crate `prometheus`.
#[derive(Debug)]
pub(crate) struct Classic(Registry);

impl Classic {
    pub(crate) fn new(world: &World) -> Self {
        let registry = Registry::new();
        let counts =
            COUNTS.map(|(name, help)| IntCounterVec::new(Opts::new(name, help), &LABELS).unwrap());
        let costs =
            COSTS.map(|(name, help)| CounterVec::new(Opts::new(name, help), &LABELS).unwrap());
        let all_gauges =
            GAUGES.map(|(name, help)| GaugeVec::new(Opts::new(name, help), &LABELS).unwrap());
        for chat in world.chats() {
            let names = names(&chat);
            for (family, count) in counts.iter().zip(chat.counts()) {
                family.with_label_values(&names).inc_by(count);
            }
            for family in &costs {
                family.with_label_values(&names).inc_by(chat.cost);
            }
            for (family, value) in all_gauges.iter().zip(gauges(&chat)) {
                family.with_label_values(&names).set(value);
            }
        }
        for family in counts {
            registry.register(Box::new(family)).unwrap();
        }
        for family in costs {
            registry.register(Box::new(family)).unwrap();
        }
        for family in all_gauges {
            registry.register(Box::new(family)).unwrap();
        }
        Self(registry)
    }

    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut text).unwrap();
        text
    }
}

/// The crate `prometheus-client`.
#[derive(Debug)]
pub(crate) struct Client(registry::Registry);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    chat_id: String,
    app_id: String,
    workflow_name: String,
    user_id: String,
}

impl Client {
    pub(crate) fn new(world: &World) -> Self {
        let counts = COUNTS.map(|_| Family::<Labels, Counter>::default());
        let costs = COSTS.map(|_| Family::<Labels, Counter<f64, AtomicU64>>::default());
        let all_gauges = GAUGES.map(|_| Family::<Labels, Gauge<f64, AtomicU64>>::default());
        for chat in world.chats() {
            let [chat_id, app_id, workflow_name, user_id] = names(&chat).map(ToOwned::to_owned);
            let labels = Labels { chat_id, app_id, workflow_name, user_id };
            for (family, count) in counts.iter().zip(chat.counts()) {
                family.get_or_create(&labels).inc_by(count);
            }
            for family in &costs {
                family.get_or_create(&labels).inc_by(chat.cost);
            }
            for (family, value) in all_gauges.iter().zip(gauges(&chat)) {
                family.get_or_create(&labels).set(value);
            }
        }
        let mut registry = registry::Registry::default();
        // It adds `_total` by itself.
        let stem = |name: &'static str| name.trim_end_matches("_total");
        for ((name, help), family) in COUNTS.into_iter().zip(counts) {
            registry.register(stem(name), help, family);
        }
        for ((name, help), family) in COSTS.into_iter().zip(costs) {
            registry.register(stem(name), help, family);
        }
        for ((name, help), family) in GAUGES.into_iter().zip(all_gauges) {
            registry.register(name, help, family);
        }
        Self(registry)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0).unwrap();
        text
    }
}

/// The crates `metrics` and `metrics-exporter-prometheus`.
pub(crate) struct Facade {
    handle: PrometheusHandle,
    _recorder: PrometheusRecorder,
}

impl Facade {
    pub(crate) fn new(world: &World) -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let metadata = Metadata::new("bench", Level::INFO, None);
        for chat in world.chats() {
            let labels: Vec<Label> = LABELS
                .into_iter()
                .zip(names(&chat))
                .map(|(label, value)| Label::new(label, value.to_owned()))
                .collect();
            let key = |name: &'static str| Key::from_parts(name, labels.clone());
            for ((name, _), count) in COUNTS.iter().zip(chat.counts()) {
                recorder.register_counter(&key(name), &metadata).absolute(count);
            }
            // Its counters are whole, so money is a gauge to it.
            for (name, _) in &COSTS {
                recorder.register_gauge(&key(name), &metadata).set(chat.cost);
            }
            for ((name, _), value) in GAUGES.iter().zip(gauges(&chat)) {
                recorder.register_gauge(&key(name), &metadata).set(value);
            }
        }
        Self { handle: recorder.handle(), _recorder: recorder }
    }

    pub(crate) fn text(&self) -> String {
        self.handle.render()
    }
}
