//! The page for people who open the address in a browser.

use std::fmt::Write as _;

use super::json::configured;
use crate::ledger::Ledger;
use crate::model::{Source, Timestamp};
use crate::telemetry::Numbers;

const LINKS: &[(&str, &str)] = &[
    ("/metrics/prometheus", "metrics for Prometheus"),
    ("/metrics/perf/aggregate", "all chats and their sums as JSON"),
    ("/metrics/perf/chats", "all chats as JSON"),
    ("/health/active-runs", "live chats as JSON"),
    ("/api/health", "whether all runtimes answer"),
    ("/-/healthy", "whether the exporter runs"),
    ("/-/ready", "whether each runtime has been asked"),
    ("/openapi.json", "what both listeners answer, as OpenAPI"),
];

/// What there is and where, in HTML without scripts.
pub(super) fn landing(ledger: &Ledger, numbers: &Numbers, now: Timestamp) -> String {
    let mut html = String::from(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>mozaiks-exporter</title>\
         <style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;\
         max-width:44rem;margin:2rem auto;padding:0 1rem}td,th{text-align:left;\
         padding:.2rem 1rem .2rem 0}</style></head><body><h1>mozaiks-exporter</h1>",
    );
    let sums = || ledger.runtimes().iter().map(|runtime| runtime.sums);
    let live: usize = sums().map(|sums| sums.live).sum();
    let tracked: usize = sums().map(|sums| sums.chats).sum();
    let durable = if numbers.store.durable { "kept on disk" } else { "in memory only" };
    let version = env!("CARGO_PKG_VERSION");
    let written = write!(
        html,
        "<p>Version {version}. {live} live of {tracked} tracked chats; state {durable}.</p>\
         <table><tr><th>runtime</th><th>state</th><th>last answer</th></tr>"
    )
    .and_then(|()| {
        configured(ledger).try_for_each(|runtime| {
            let state = match runtime.up {
                Some(true) => "answers",
                Some(false) => "does not answer",
                None if !runtime.expects(Source::Scrape) => "is known by its logs or its database",
                None => "not asked yet",
            };
            let name = escape(&runtime.name);
            let last = numbers.targets.get(&*runtime.name).and_then(|target| target.last_success);
            let last = last.map_or_else(
                || "never".to_owned(),
                |at| format!("{} s ago", now.since(at).as_secs()),
            );
            write!(html, "<tr><td>{name}</td><td>{state}</td><td>{last}</td></tr>")
        })
    })
    .and_then(|()| html.write_str("</table><ul>"))
    .and_then(|()| {
        LINKS.iter().try_for_each(|(path, what)| {
            write!(html, "<li><a href=\"{path}\">{path}</a>: {what}</li>")
        })
    })
    .and_then(|()| html.write_str("</ul></body></html>\n"));
    written.expect("writing to memory does not fail");
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
