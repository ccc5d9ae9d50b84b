//! Series that begin under our eyes, as one scraper after the other sees them.

use std::time::Duration;

use tempfile::TempDir;

use crate::support::chat::Chat;
use crate::support::exporter::{Exporter, Launch, METRICS};
use crate::support::exposition::Exposition;
use crate::support::http;
use crate::support::runtime::FakeRuntime;
use crate::support::wait::{eventually_within, pause};

const TURNS: &str = "mozaiks_chat_agent_turns_total";

fn watched() -> (Exporter, FakeRuntime, TempDir) {
    let runtime = FakeRuntime::start();
    runtime.hold(&[Chat::new("old").turns(1)]);
    let dir = TempDir::new().unwrap();
    let exporter = Launch::new(dir.path()).runtime(&runtime.url()).start();
    exporter.wait_for(TURNS, &[("chat_id", "old")], 1.0);
    (exporter, runtime, dir)
}

/// What a scraper sees of the new chat. It says how long it would wait, as Prometheus does.
fn scrape(exporter: &Exporter, name: &str, timeout: &str) -> Option<f64> {
    let headers = [("user-agent", name), ("x-prometheus-scrape-timeout-seconds", timeout)];
    let response = http::get(exporter.address(), METRICS, &headers).unwrap();
    Exposition::parse(&response.text()).value(TURNS, &[("chat_id", "new")])
}

fn begin(runtime: &FakeRuntime) {
    runtime.hold(&[Chat::new("old").turns(1), Chat::new("new").turns(3)]);
    runtime.wait_for_polls(2);
}

#[test]
fn each_scraper_sees_zero_first_and_then_the_value() {
    let (exporter, runtime, _dir) = watched();
    for _ in 0..2 {
        for name in ["north", "south"] {
            assert_eq!(scrape(&exporter, name, "10"), None);
        }
        pause(Duration::from_millis(100));
    }
    begin(&runtime);
    assert_eq!(scrape(&exporter, "north", "10"), Some(0.0));
    assert_eq!(scrape(&exporter, "north", "10"), Some(0.0), "south has not seen it yet");
    assert_eq!(scrape(&exporter, "south", "10"), Some(0.0));
    assert_eq!(scrape(&exporter, "south", "10"), Some(3.0));
    assert_eq!(scrape(&exporter, "north", "10"), Some(3.0));
}

#[test]
fn a_scrape_that_came_early_does_not_cut_the_wait_short() {
    let (exporter, runtime, _dir) = watched();
    // Nobody scrapes more often than he is ready to wait; after a late scrape or a reload of
    // Prometheus two of them may still come close together.
    for gap in [1000, 1000, 20] {
        scrape(&exporter, "prometheus", "1");
        pause(Duration::from_millis(gap));
    }
    scrape(&exporter, "prometheus", "1");
    begin(&runtime);
    assert_eq!(scrape(&exporter, "prometheus", "1"), Some(0.0));
    assert_eq!(scrape(&exporter, "prometheus", "1"), Some(3.0));
}

#[test]
fn a_scraper_that_connects_anew_each_time_is_one_scraper() {
    let (exporter, runtime, _dir) = watched();
    for _ in 0..200 {
        scrape(&exporter, "prometheus", "1");
    }
    begin(&runtime);
    // Its former connections are not scrapers of their own that have yet to see the zero.
    eventually_within(Duration::from_secs(5), "the value is shown", || {
        match scrape(&exporter, "prometheus", "1") {
            Some(3.0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn somebody_who_looks_once_does_not_start_a_wait() {
    let (exporter, runtime, _dir) = watched();
    begin(&runtime);
    exporter.scrape();
    let value = exporter.scrape().value(TURNS, &[("chat_id", "new")]);
    assert_eq!(value, Some(3.0));
}
