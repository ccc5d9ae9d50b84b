//! The page: a verdict, and sections that a script replaces one by one.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::chart::{brief, sparkline};
use super::ring::Step;
use super::sections;
use super::text::{Html, Money, Whole};
use super::view::{Problem, View};

/// Problems that the verdict names.
const MAX_PROBLEMS: usize = 4;

/// Where to go on, without the first slash: the page may lie behind a path of a proxy.
const LINKS: &[(&str, &str)] = &[
    ("metrics/prometheus", "metrics for Prometheus"),
    ("metrics/perf/aggregate", "all chats and their sums as JSON"),
    ("metrics/perf/chats", "all chats as JSON"),
    ("health/active-runs", "live chats as JSON"),
    ("api/health", "whether all runtimes answer"),
    ("-/healthy", "whether the exporter runs"),
    ("-/ready", "whether each runtime has been asked"),
    ("openapi.json", "what both listeners answer, as OpenAPI"),
];

pub(super) const STYLE: &str = include_str!("status.css");
pub(super) const SCRIPT: &str = include_str!("status.js");
/// A pulse.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
    %3Cpath d='M1 9h3l2-6 4 11 2-5h3' fill='none' stroke='%232f7de1' stroke-width='2'/%3E%3C/svg%3E";

/// All of it.
pub(super) fn page(view: &View<'_>) -> String {
    let mut html = Html::new();
    html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">")
        .raw("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">")
        .raw("<meta name=\"color-scheme\" content=\"light dark\"><title>mozaiks-exporter</title>")
        .raw("<link rel=\"icon\" href=\"")
        .raw(ICON)
        .raw("\"><style>")
        .raw(STYLE)
        .raw("</style></head><body><header><h1>mozaiks-exporter</h1><p class=\"about\">Version ")
        .raw(env!("CARGO_PKG_VERSION"))
        .raw(". Times are UTC.</p>");
    verdict(&mut html, view);
    html.raw("<p class=\"fresh\" id=\"fresh\">As of ").time(view.now, "%H:%M:%S").raw("</p>");
    html.raw("</header><main id=\"status\">");
    sections(&mut html, view);
    html.raw("</main><footer><nav aria-label=\"Other pages\"><h2>More</h2><ul>");
    for (path, what) in LINKS {
        html.raw("<li><a href=\"").raw(path).raw("\">/").raw(path).raw("</a> ").raw(what);
        html.raw("</li>");
    }
    html.raw("</ul></nav></footer><script>").raw(SCRIPT).raw("</script></body></html>\n");
    html.into_string()
}

/// What of it changes.
pub(super) fn fragment(view: &View<'_>) -> String {
    let mut html = Html::new();
    verdict(&mut html, view);
    html.raw("<p class=\"fresh\" id=\"fresh\">As of ").time(view.now, "%H:%M:%S").raw("</p>");
    sections(&mut html, view);
    html.into_string()
}

fn verdict(html: &mut Html, view: &View<'_>) {
    let problems = view.problems();
    let class = if problems.is_empty() { "well" } else { "bad" };
    html.raw("<p id=\"verdict\" role=\"status\" aria-live=\"polite\" class=\"")
        .raw(class)
        .raw("\">");
    if problems.is_empty() {
        let asked = view.runtimes.iter().filter(|runtime| runtime.up.is_none()).count();
        html.raw(if asked == 0 { "All is well." } else { "Nothing is wrong so far." });
    }
    for (place, problem) in problems.iter().take(MAX_PROBLEMS).enumerate() {
        html.raw(if place == 0 { "" } else { " " });
        match problem {
            Problem::Away(runtime) => html.raw("Runtime ").name(runtime).raw(" does not answer."),
            Problem::Unwell(runtime) => {
                html.raw("Runtime ").name(runtime).raw(" says that it is not well.")
            }
            Problem::Silent(runtime) => {
                html.raw("MongoDB does not answer for ").name(runtime).raw(".")
            }
            Problem::Unread { runtime, source, unread } => html
                .text(unread)
                .raw(" of the files or databases of ")
                .name(runtime)
                .raw(" (")
                .raw(source)
                .raw(") cannot be read."),
            Problem::NotDurable => {
                html.raw("What is counted is in memory only: a restart begins anew.")
            }
        };
    }
    if problems.len() > MAX_PROBLEMS {
        html.raw(" And ").text(problems.len() - MAX_PROBLEMS).raw(" more.");
    }
    html.raw("</p>");
}

fn sections(html: &mut Html, view: &View<'_>) {
    tiles(html, view);
    sections::runtimes(html, view);
    sections::chats(html, view);
    sections::spending(html, view);
    sections::latency(html, view);
    sections::sources(html, view);
    sections::exporter(html, view);
    sections::troubles(html);
}

/// The numbers that one looks at first, with the last hour of each.
fn tiles(html: &mut Html, view: &View<'_>) {
    html.raw("<section id=\"now\" aria-label=\"Now\"><dl class=\"tiles\">");
    tile(html, view, "Live chats", Step::live, |html| {
        html.data("live", view.live, Whole(view.live));
        html.raw("<small>").data("stalled", view.stalled, Whole(view.stalled)).raw(" stalled, ");
        html.data("tracked", view.tracked, Whole(view.tracked)).raw(" tracked</small>");
    });
    tile(html, view, "Turns a minute", Step::turns, |html| {
        let turns = view.hour.turns;
        html.text(last(view, Step::turns)).raw("<small>");
        html.data("turns-hour", turns, Whole(turns)).raw(" in the last hour</small>");
    });
    tile(html, view, "Cost a minute", Step::cost, |html| {
        match view.ring.steps().last().and_then(Step::cost) {
            Some(cost) if cost >= 10.0 => html.text(format_args!("${cost:.2}")),
            Some(cost) => html.raw("$").text(brief(cost)),
            None => html.raw("–"),
        };
        html.raw("<small>");
        let today = view.spending.all.today;
        html.data("cost-today", today, Money(today)).raw(" today</small>");
    });
    tile(html, view, "Tool errors a minute", Step::errors, |html| {
        let errors = view.hour.errors;
        html.text(last(view, Step::errors)).raw("<small>");
        html.data("errors-hour", errors, Whole(errors)).raw(" in the last hour</small>");
    });
    tile(html, view, "Answer to a scrape", Step::scrape, |html| {
        match view.ring.steps().filter_map(Step::scrape).last() {
            Some(took) => html.text(brief(took)).raw(" ms"),
            None => html.raw("–"),
        };
        html.raw("<small>");
        let series = view.numbers.answers.series;
        html.data("series", series, Whole(series)).raw(" samples</small>");
    });
    html.raw("</dl></section>");
}

fn tile(
    html: &mut Html,
    view: &View<'_>,
    name: &'static str,
    value: fn(&Step) -> Option<f64>,
    write: impl FnOnce(&mut Html),
) {
    html.raw("<div><dt>").raw(name).raw("</dt><dd>");
    write(html);
    let values: Vec<Option<f64>> = view.ring.steps().map(value).collect();
    sparkline(html, name, &values);
    html.raw("</dd></div>");
}

/// The value of the last step that is over.
fn last(view: &View<'_>, value: fn(&Step) -> Option<f64>) -> String {
    view.ring.steps().last().and_then(value).map_or_else(|| "–".to_owned(), brief)
}

/// A chat's own JSON. Two ids would be steps in the path to a browser, however they are written.
pub(super) fn chat_link(html: &mut Html, chat_id: &str) {
    if matches!(chat_id, "." | "..") {
        html.name(chat_id);
        return;
    }
    let id = utf8_percent_encode(chat_id, NON_ALPHANUMERIC);
    html.raw("<a href=\"metrics/perf/chats/").text(id).raw("\">").name(chat_id).raw("</a>");
}
