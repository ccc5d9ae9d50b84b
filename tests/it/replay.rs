//! A recorded life of a real runtime, its restart included, replayed answer by answer. What
//! Prometheus then holds is compared with what was counted outside the runtime.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::chat::{Chat, count};
use crate::support::exporter::{Exporter, Launch};
use crate::support::prometheus::{Prometheus, Series};
use crate::support::recorded::{
    FIRST_PROCESS, Figures, SECOND_PROCESS, Truth, View, is_exact, response, sums,
};
use crate::support::runtime::{AGGREGATE, Answer, CHATS, EVENTS, FakeRuntime};
use crate::support::wait::eventually;

/// Every counter about the runtime: its own and the histograms' parts, under all their names.
const COUNTERS: &str =
    r#"{__name__=~"mozaiks(ai)?_.+_(total|count|sum|bucket)",__name__!~"mozaiks_exporter_.+"}"#;

/// A runtime that shows recorded views, and who watches it.
struct Stage {
    runtime: FakeRuntime,
    first_created: DateTime<Utc>,
    second_created: DateTime<Utc>,
}

impl Stage {
    fn new() -> Self {
        let recorded = Answer::recorded(&response("events_metrics_200"));
        let created = recorded.to_json()["data"]["created"].as_str().unwrap().to_owned();
        // The second process was not asked; it was created between two views.
        let second = View::load(SECOND_PROCESS[0]).at - Duration::seconds(1);
        assert!(second > View::load(FIRST_PROCESS[4]).at);
        Self {
            runtime: FakeRuntime::start(),
            first_created: created.parse().unwrap(),
            second_created: second,
        }
    }

    /// Answers as recorded from now on, in the recording's time.
    fn show(&self, name: &str) {
        let view = View::load(name);
        let first = FIRST_PROCESS.contains(&name);
        let chats = serde_json::from_slice::<Value>(&view.aggregate).unwrap()["chats"].take();
        let mut world = self.runtime.world();
        world.clock = Some(view.at);
        world.created = if first { self.first_created } else { self.second_created };
        if let Some(aggregate) = world.routes.get_mut(AGGREGATE)
            && aggregate.status() == 404
        {
            world.routes.insert(CHATS.to_owned(), Answer::json(&chats));
            return;
        }
        world.routes.remove(CHATS);
        world.routes.insert(AGGREGATE.to_owned(), Answer::body(&view.aggregate));
        let Value::Array(chats) = chats else { panic!("no chats in {name}") };
        world.chats = chats;
    }

    /// Shows each of these until it was polled twice.
    fn play(&self, views: &[&str]) {
        for view in views {
            self.show(view);
            self.runtime.wait_for_polls(2);
        }
    }
}

/// Both lives of all chats as a scraper could see them: what was done after the last view of the
/// first process was never shown to anyone.
fn both_lives(book: &str) -> Truth {
    sums([&View::load(FIRST_PROCESS[4]), &View::load(SECOND_PROCESS[2])], book)
}

fn families(level: &str) -> [String; 6] {
    Figures::FAMILIES.map(|family| format!("mozaiks_{level}_{family}"))
}

/// Compares one quantity by key; says the first few that differ.
fn compare(
    what: &str,
    found: &BTreeMap<String, f64>,
    truth: &Truth,
    quantity: impl Fn(&Figures) -> f64,
) -> Result<(), String> {
    let found_keys: Vec<&String> = found.keys().collect();
    let true_keys: Vec<&String> = truth.keys().collect();
    if found_keys != true_keys {
        return Err(format!("{what} of {found_keys:?}, not of {true_keys:?}"));
    }
    let wrong: Vec<String> = truth
        .iter()
        .map(|(key, figures)| (key, found[key], quantity(figures)))
        .filter(|(_, found, truth)| !is_exact(*found, *truth))
        .map(|(key, found, truth)| format!("{key:?} has {found}, not {truth}"))
        .collect();
    if wrong.is_empty() { Ok(()) } else { Err(format!("{what}: {}", wrong.join("; "))) }
}

/// Compares six quantities by key with what `found` finds for a family and a label.
fn compare_all(
    level: &str,
    label: &str,
    truth: &Truth,
    found: impl Fn(&str, &str) -> BTreeMap<String, f64>,
) -> Result<(), String> {
    for (index, family) in families(level).iter().enumerate() {
        let what = format!("{family} by {label}");
        compare(&what, &found(family, label), truth, |figures| figures.values()[index])?;
    }
    Ok(())
}

/// All that Prometheus holds now, against the truth of both lives.
fn matches_the_truth(prometheus: &Prometheus) -> Result<(), String> {
    let sum =
        |family: &str, label: &str| prometheus.by(label, &format!("sum by ({label}) ({family})"));
    compare_all("chat", "chat_id", &both_lives("chats"), sum)?;
    for level in ["chat", "workflow"] {
        compare_all(level, "app_id", &both_lives("by_app"), sum)?;
        compare_all(level, "workflow_name", &both_lives("by_workflow"), sum)?;
    }
    let users = both_lives("by_user");
    compare_all("chat", "user_id", &users, sum)?;
    let [tokens, cost] = ["mozaiks_user_tokens_total", "mozaiks_user_cost_usd_total"];
    let spent = |f: &Figures| count(f.counts[3] + f.counts[4]);
    compare(tokens, &sum(tokens, "user_id"), &users, spent)?;
    compare(cost, &sum(cost, "user_id"), &users, |figures| figures.cost)?;
    let second_name = sum("mozaiks_chat_cost_total", "chat_id");
    compare("cost_total", &second_name, &both_lives("chats"), |figures| figures.cost)
}

/// What one scrape says, by a label.
fn scraped(exporter: &Exporter, family: &str, label: &str) -> BTreeMap<String, f64> {
    let exposition = exporter.scrape();
    let mut sums = BTreeMap::new();
    for sample in exposition.all(family, &[]) {
        let key = sample.labels.get(label).cloned().unwrap_or_default();
        *sums.entry(key).or_default() += sample.value;
    }
    sums
}

/// By how much each chat rose while Prometheus watched.
fn rises(history: &[Series]) -> BTreeMap<String, f64> {
    history.iter().map(|series| (series.labels["chat_id"].clone(), series.rise())).collect()
}

#[test]
fn prometheus_holds_the_truth_over_a_restart_of_the_runtime() {
    let stage = Stage::new();
    stage.show(FIRST_PROCESS[0]);
    let dir = TempDir::new().unwrap();
    let exporter = Launch::new(dir.path()).runtime(&stage.runtime.url()).start();
    let prometheus = Prometheus::start(exporter.address(), "1s");
    prometheus.wait_for_a_scrape();

    stage.play(&FIRST_PROCESS);
    stage.play(&SECOND_PROCESS);

    eventually("Prometheus holds the truth", || {
        matches_the_truth(&prometheus)
            .map_err(|wrong| format!("{wrong}; last error: {}", prometheus.last_error()))
    });
    for series in prometheus.query("mozaiks_runtime_restarts_total") {
        assert_eq!(series.samples, [1.0]);
    }
    assert_eq!(prometheus.query("mozaiks_runtime_restarts_total").len(), 1);
    let truth = both_lives("chats");
    let tracked = prometheus.by("job", "mozaiks_tracked_chats")["mozaiks"];
    assert_eq!(tracked, count(truth.len() as u64));

    // Everything began under our eyes, so nothing was lost to rate() and increase().
    let history = prometheus.history(COUNTERS);
    assert!(history.len() > truth.len() * 7, "{} series", history.len());
    for series in &history {
        assert_eq!(series.first(), 0.0, "{series:?}");
        series.rise();
    }
    for (index, family) in families("chat").iter().enumerate() {
        let rises = rises(&prometheus.history(family));
        compare(&format!("rise of {family}"), &rises, &truth, |f| f.values()[index]).unwrap();
    }
    let polled = &stage.runtime;
    assert_eq!(polled.most_at_once(), 1, "polls of one runtime overlapped");
    let polls = polled.asked(AGGREGATE);
    let watched = polls[polls.len() - 1].at - polls[0].at;
    let most = watched.as_millis() / 200 + 1;
    assert!(polls.len() as u128 <= most, "{} polls in {watched:?}", polls.len());
}

#[test]
fn what_a_runtime_already_held_is_a_baseline_and_no_increase() {
    let stage = Stage::new();
    stage.runtime.script_both(&Answer::detail(503, "starting"));
    let dir = TempDir::new().unwrap();
    let exporter = Launch::new(dir.path()).runtime(&stage.runtime.url()).start();
    let prometheus = Prometheus::start(exporter.address(), "1s");
    prometheus.wait_for_a_scrape();

    // Prometheus is there before the first answer, and still sees no zero.
    stage.play(&[FIRST_PROCESS[4]]);
    let baseline = View::load(FIRST_PROCESS[4]);
    let chats = baseline.truth("chats");
    let held = |family: &str, label: &str| prometheus.by(label, family);
    eventually("the baseline is there", || {
        compare_all("chat", "chat_id", &chats, held)
            .map_err(|wrong| format!("{wrong}; last error: {}", prometheus.last_error()))
    });
    stage.runtime.wait_for_polls(3);
    for series in prometheus.history(COUNTERS) {
        assert_eq!(series.rise(), 0.0, "{series:?}");
    }
    let increase = eventually("Prometheus has two samples", || {
        let increase = r#"sum(increase({__name__=~"mozaiks_.+_usd_total"}[1m]))"#;
        prometheus.query(increase).pop().ok_or_else(String::new)
    });
    assert_eq!(increase.last(), 0.0);

    // What comes after it is an increase, to the last token.
    stage.play(&SECOND_PROCESS);
    let after = View::load(SECOND_PROCESS[2]).truth("chats");
    eventually("the growth is there", || {
        for (index, family) in families("chat").iter().enumerate() {
            let mut rises = rises(&prometheus.history(family));
            rises.retain(|chat, rise| after.contains_key(chat) || *rise != 0.0);
            compare(&format!("rise of {family}"), &rises, &after, |f| f.values()[index])?;
        }
        Ok(())
    });
}

#[test]
fn a_runtime_that_does_not_say_when_it_began_is_counted_as_exactly() {
    let stage = Stage::new();
    stage.runtime.script(EVENTS, Answer::detail(404, "Not Found"));
    let dir = TempDir::new().unwrap();
    stage.show(FIRST_PROCESS[0]);
    let exporter = Launch::new(dir.path()).runtime(&stage.runtime.url()).start();
    stage.play(&FIRST_PROCESS);
    stage.play(&SECOND_PROCESS);
    let truth = both_lives("chats");
    eventually("the truth", || {
        compare_all("chat", "chat_id", &truth, |f, label| scraped(&exporter, f, label))
    });
}

#[test]
fn a_runtime_without_the_aggregate_route_is_counted_by_the_other() {
    let stage = Stage::new();
    stage.runtime.script(AGGREGATE, Answer::recorded(&response("metrics_404")));
    let dir = TempDir::new().unwrap();
    stage.show(FIRST_PROCESS[0]);
    let exporter = Launch::new(dir.path()).runtime(&stage.runtime.url()).start();
    stage.play(&FIRST_PROCESS);
    stage.play(&SECOND_PROCESS);
    let truth = both_lives("chats");
    eventually("the truth", || {
        compare_all("chat", "chat_id", &truth, |f, label| scraped(&exporter, f, label))
    });
    assert_eq!(exporter.scrape().value("mozaiks_up", &[]), Some(1.0));
}

#[test]
fn a_restart_of_both_at_once_loses_nothing_and_doubles_nothing() {
    let stage = Stage::new();
    let dir = TempDir::new().unwrap();
    let launch = Launch::new(dir.path()).runtime(&stage.runtime.url());
    stage.show(FIRST_PROCESS[0]);
    let mut exporter = launch.clone().start();
    stage.play(&FIRST_PROCESS);
    let first = View::load(FIRST_PROCESS[4]).truth("chats");
    eventually("the first life", || {
        compare_all("chat", "chat_id", &first, |f, label| scraped(&exporter, f, label))
    });
    let status = exporter.terminate();
    assert_eq!(status.code(), Some(0), "{:?}", exporter.log());

    stage.show(SECOND_PROCESS[2]);
    let mut exporter = launch.clone().start();
    let truth = both_lives("chats");
    eventually("both lives", || {
        compare_all("chat", "chat_id", &truth, |f, label| scraped(&exporter, f, label))
    });
    exporter.kill();
    let exporter = launch.start();
    // At once, before any poll: what was shown before is shown again.
    compare_all("chat", "chat_id", &truth, |f, label| scraped(&exporter, f, label)).unwrap();
    stage.runtime.wait_for_polls(2);
    compare_all("chat", "chat_id", &truth, |f, label| scraped(&exporter, f, label)).unwrap();
}

#[test]
fn two_runtimes_keep_apart_what_each_said_of_the_same_chat() {
    let runtimes = [FakeRuntime::start(), FakeRuntime::start()];
    runtimes[0].hold(&[Chat::new("shared").turns(3)]);
    runtimes[1].hold(&[Chat::new("shared").turns(8)]);
    let dir = TempDir::new().unwrap();
    let exporter = Launch::new(dir.path())
        .runtime(&format!("north={}", runtimes[0].url()))
        .runtime(&format!("south={}", runtimes[1].url()))
        .start();
    let turns = "mozaiks_chat_agent_turns_total";
    let of = |runtime| [("runtime", runtime), ("chat_id", "shared")];
    exporter.wait_for(turns, &of("north"), 3.0);
    exporter.wait_for(turns, &of("south"), 8.0);
    for runtime in ["north", "south"] {
        exporter.wait_for("mozaiks_up", &[("runtime", runtime)], 1.0);
    }
    assert_eq!(exporter.scrape().sum("mozaiks_workflow_agent_turns_total", &[]), 11.0);

    let dir = TempDir::new().unwrap();
    let alone = Launch::new(dir.path()).runtime(&runtimes[0].url()).start();
    alone.wait_for(turns, &[("chat_id", "shared")], 3.0);
    let labels = alone.scrape().all(turns, &[]).next().unwrap().labels.clone();
    assert!(!labels.contains_key("runtime"), "a runtime label with one runtime: {labels:?}");
}
