//! The recorded logs say what the workload that left them was counted to have done.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::model::{About, Usd};

#[derive(Debug, Default, PartialEq)]
struct Calls {
    answered: u64,
    cached: u64,
    failed: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    cost: Usd,
}

impl Calls {
    fn add(&mut self, what: &What) {
        let What::Call { usage, cached, failed, .. } = what else { return };
        self.answered += u64::from(!cached && !failed);
        self.cached += u64::from(*cached);
        self.failed += u64::from(*failed);
        self.prompt_tokens += usage.prompt_tokens;
        self.completion_tokens += usage.completion_tokens;
        self.cost += usage.cost;
    }

    fn of(row: &Value) -> Self {
        let count = |key: &str| row[key].as_u64().unwrap();
        Self {
            answered: count("calls"),
            cached: count("cached_calls"),
            failed: count("failed_calls"),
            prompt_tokens: count("prompt_tokens"),
            completion_tokens: count("completion_tokens"),
            cost: Usd::from_f64(row["cost"].as_f64().unwrap()).unwrap(),
        }
    }
}

fn log(name: &str) -> Vec<Event> {
    let bytes = std::fs::read(path(name)).unwrap();
    let lines = bytes.split(|byte| *byte == b'\n');
    let read = lines.map(|line| crate::sources::logs::read(line, names(), NOW));
    read.filter_map(|read| match read {
        crate::sources::logs::Read::Line(line) => line.event,
        _ => None,
    })
    .collect()
}

/// Whose each session is, as the runtime's log says.
fn sessions(name: &str) -> BTreeMap<About, Event> {
    let opened = log(name).into_iter().filter_map(|event| match &event.what {
        What::SessionOpened { session_id } => Some((About::Session(session_id.clone()), event)),
        _ => None,
    });
    opened.collect()
}

#[test]
fn the_model_calls_of_both_processes_are_those_that_were_made() {
    let sessions = sessions("logs/production_json/mozaiks.log");
    let mut events = lines("ag2/ag2_runtime.log");
    let tools = events.iter().filter(|event| matches!(event.what, What::Tool { .. })).count();
    assert_eq!(tools, 9);
    events.extend(steps(&path("ag2/ag2_runtime.db"), None, 7).1);
    let (mut told, mut by_chat) = (BTreeMap::<_, Calls>::new(), BTreeMap::<_, Calls>::new());
    let (mut lookups, mut lost) = (0, 0);
    for event in events {
        // Two of the tools' agents were not written down.
        let Some(opened) = sessions.get(&event.about) else {
            assert!(event.about == About::Nobody && matches!(event.what, What::Tool { .. }));
            lost += 1;
            continue;
        };
        match &event.what {
            What::Call { agent, model, .. } => {
                let (app, workflow) =
                    (opened.app_id.clone().unwrap(), opened.workflow_name.clone().unwrap());
                let key = [app, workflow, agent.clone(), model.clone()];
                told.entry(key).or_default().add(&event.what);
                by_chat.entry(opened.about.clone()).or_default().add(&event.what);
            }
            What::Tool { tool, ok, .. } => lookups += u32::from(tool == "lookup" && *ok),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((lookups, lost), (9, 2), "the second process writes names of tools");
    let truth: Value =
        serde_json::from_slice(&std::fs::read(path("truth_final.json")).unwrap()).unwrap();
    let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let expected: BTreeMap<_, _> = truth["llm_lifetime"]["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let key = ["app_id", "workflow_name", "agent", "model"].map(|key| word(row, key));
            (key, Calls::of(row))
        })
        .collect();
    assert_eq!(told, expected);
    let expected: BTreeMap<_, _> = truth["llm_lifetime"]["chats"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(chat, row)| (About::Chat(names().bound(chat.into()).into_owned()), Calls::of(row)))
        .collect();
    assert_eq!(by_chat, expected);
}

/// AG2's log and the runtime's usage lines are two accounts of the same calls.
#[test]
fn orchestrated_chats_used_what_the_runtime_logged() {
    for (mode, single) in [("file", "single.filtered"), ("sqlite", "single")] {
        let events = match mode {
            "file" => lines("orchestrated/file/ag2_runtime.log"),
            _ => steps(&path("orchestrated/sqlite/ag2_runtime.db"), None, 3).1,
        };
        let mut seen = 0;
        for scenario in [single, "failing.filtered", "general.filtered", "concurrent.filtered"] {
            let name = format!("orchestrated/{mode}/mozaiks.{scenario}.log");
            let sessions = sessions(&name);
            let (mut told, mut logged) = (Calls::default(), Calls::default());
            for event in events.iter().filter(|event| sessions.contains_key(&event.about)) {
                told.add(&event.what);
                seen += 1;
            }
            for event in log(&name) {
                logged.add(&event.what);
            }
            let usage = |calls: &Calls| (calls.prompt_tokens, calls.completion_tokens, calls.cost);
            assert_eq!(usage(&told), usage(&logged), "{mode} {scenario}");
            if mode == "sqlite" {
                assert_eq!(told.failed, logged.failed, "{scenario}");
                assert_eq!(told.answered, logged.answered, "{scenario}");
            }
        }
        assert_eq!(seen, events.len(), "{mode}");
    }
}
