//! The recorded logs say what the workload that left them was counted to have done.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::{fixture, line, lines, names};
use crate::model::{About, Event, Usage, Usd, What};

fn events(path: &str) -> Vec<Event> {
    lines(&fixture(path)).filter_map(|bytes| line(bytes).event).collect()
}

#[derive(Debug, Default, PartialEq)]
struct Sum {
    turns: u64,
    usage: Usage,
}

impl Sum {
    fn add(&mut self, turns: u64, usage: Usage) {
        self.turns += turns;
        self.usage.prompt_tokens += usage.prompt_tokens;
        self.usage.completion_tokens += usage.completion_tokens;
        self.usage.cost += usage.cost;
    }
}

fn usage_of(row: &Value, keys: [&str; 3]) -> Usage {
    Usage {
        prompt_tokens: row[keys[0]].as_u64().unwrap_or_default(),
        completion_tokens: row[keys[1]].as_u64().unwrap_or_default(),
        cost: Usd::from_f64(row[keys[2]].as_f64().unwrap_or_default()).unwrap(),
    }
}

const PLAIN: [&str; 3] = ["prompt_tokens", "completion_tokens", "cost"];

fn key(row: &Value) -> [String; 4] {
    ["app_id", "workflow_name", "agent", "model"].map(|key| row[key].as_str().unwrap().to_owned())
}

#[test]
fn the_turns_of_a_log_are_those_that_were_asked_for() {
    let truth: Value = serde_json::from_slice(&fixture("truth_final.json")).unwrap();
    let mut expected = BTreeMap::<_, (Sum, f64)>::new();
    for row in truth["turns_lifetime"].as_array().unwrap() {
        let entry = expected.entry(key(row)).or_default();
        entry.0.add(row["turns"].as_u64().unwrap(), usage_of(row, PLAIN));
        entry.1 += row["duration_sec"].as_f64().unwrap();
    }
    let (mut told, mut starts, mut by_chat) =
        (BTreeMap::<_, (Sum, f64)>::new(), 0, BTreeMap::new());
    for event in events("logs/production_json/mozaiks.log") {
        starts += u64::from(event.what == What::Started);
        if let What::Turn { agent, model, usage, seconds } = event.what {
            let (app, workflow) = (event.app_id.unwrap(), event.workflow_name.unwrap());
            let entry = told.entry([app, workflow, agent, model]).or_default();
            entry.0.add(1, usage);
            entry.1 += seconds.unwrap_or_default();
            *by_chat.entry(event.about).or_insert(0) += 1;
        }
    }
    assert_eq!(Some(starts), truth["workflow_start_calls"].as_u64());
    assert_eq!(told.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (key, (sum, seconds)) in told {
        assert_eq!(sum, expected[&key].0, "{key:?}");
        assert!((seconds - expected[&key].1).abs() < 1e-9, "{key:?}");
    }
    for (chat, row) in truth["perf_lifetime"]["chats"].as_object().unwrap() {
        let chat = names().bound(Cow::Borrowed(chat)).into_owned();
        let turns = by_chat.get(&About::Chat(chat)).copied().unwrap_or_default();
        assert_eq!(Some(turns), row["agent_turns"].as_u64());
    }
}

#[test]
fn the_model_calls_of_a_log_are_those_that_were_made() {
    let truth: Value = serde_json::from_slice(&fixture("truth_final.json")).unwrap();
    let mut chats = BTreeMap::<About, (String, String)>::new();
    let (mut told, mut by_chat) = (BTreeMap::<_, Usage>::new(), BTreeMap::<_, Usage>::new());
    let add = |into: &mut Usage, usage: Usage| {
        let mut sum = Sum { turns: 0, usage: *into };
        sum.add(0, usage);
        *into = sum.usage;
    };
    for event in events("logs/production_json/mozaiks.log") {
        match event.what {
            What::SessionOpened { .. } => {
                let of = (event.app_id.unwrap(), event.workflow_name.unwrap());
                chats.insert(event.about, of);
            }
            What::Call { agent, model, usage, cached, failed, .. } => {
                assert!(!(cached || failed) || usage == Usage::default());
                let (app, workflow) = chats[&event.about].clone();
                add(told.entry([app, workflow, agent, model]).or_default(), usage);
                add(by_chat.entry(event.about).or_default(), usage);
            }
            _ => {}
        }
    }
    for row in truth["llm_lifetime"]["rows"].as_array().unwrap() {
        let sum = told.remove(&key(row)).unwrap_or_default();
        assert_eq!(sum, usage_of(row, PLAIN), "{row}");
    }
    assert_eq!(told, BTreeMap::new());
    let mut spent = 0;
    for (chat, row) in truth["llm_lifetime"]["chats"].as_object().unwrap() {
        let chat = names().bound(Cow::Borrowed(chat)).into_owned();
        let sum = by_chat.get(&About::Chat(chat)).copied().unwrap_or_default();
        assert_eq!(sum, usage_of(row, PLAIN), "{row}");
        spent += i32::from(sum != Usage::default());
    }
    assert!(spent > 10);
}

#[test]
fn what_orchestrated_chats_used_is_what_was_stored() {
    for (mode, single) in [("file", "single.filtered"), ("sqlite", "single")] {
        let truth: Value =
            serde_json::from_slice(&fixture(&format!("orchestrated/{mode}/truth.json"))).unwrap();
        for (scenario, truth) in truth["scenarios"].as_object().unwrap() {
            let name = match &**scenario {
                "single" => single.to_owned(),
                other => format!("{other}.filtered"),
            };
            let mut used = BTreeMap::<About, Sum>::new();
            let (mut failed, mut ended) = (0, 0);
            for event in events(&format!("orchestrated/{mode}/mozaiks.{name}.log")) {
                match event.what {
                    What::Call { usage, seconds, .. } => {
                        assert_eq!(seconds.is_some(), mode == "sqlite");
                        used.entry(event.about).or_default().add(0, usage);
                    }
                    What::Failed => failed += 1,
                    What::Ended => {
                        assert!(event.app_id.is_some() && event.workflow_name.is_some());
                        ended += 1;
                    }
                    _ => {}
                }
            }
            for (chat, stored) in truth["stored_usage"].as_object().unwrap() {
                let keys = [
                    "usage_prompt_tokens_final",
                    "usage_completion_tokens_final",
                    "usage_total_cost_final",
                ];
                let sum = used.remove(&About::Chat(chat.clone())).unwrap_or_default();
                assert_eq!(sum.usage, usage_of(stored, keys), "{mode} {scenario} {chat}");
            }
            assert_eq!(failed, i32::from(scenario == "failing"), "{mode} {scenario}");
            assert_eq!(ended, truth["chats"].as_object().unwrap().len(), "{mode} {scenario}");
        }
    }
}
