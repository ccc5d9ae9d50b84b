//! The sections of the page.

use super::chart::brief;
use super::html::chat_link;
use super::table::{Table, cell};
use super::text::{Bytes, Html, Money, Span, Whole};
use super::view::{MAX_ROWS, Spent, State, View, state};
use crate::ledger::{Histogram, TURN_BOUNDS};
use crate::logging::recent;
use crate::metrics::UserPolicy;
use crate::model::{Count, Timestamp};
use crate::telemetry::Reader;

fn open(html: &mut Html, id: &'static str, title: &'static str) {
    html.raw("<section id=\"")
        .raw(id)
        .raw("\" aria-labelledby=\"")
        .raw(id)
        .raw("-title\"><h2 id=\"");
    html.raw(id).raw("-title\">").raw(title).raw("</h2>");
}

/// Says how many are not listed.
fn rest(html: &mut Html, listed: usize, all: usize) {
    if all > listed {
        html.raw("<p class=\"note\">And ").text(Whole((all - listed) as u64)).raw(" more.</p>");
    }
}

fn badge(html: &mut Html, state: State, text: &'static str) {
    let (class, sign) = match state {
        State::Well => ("well", "● "),
        State::Unknown => ("unknown", "○ "),
        State::Bad => ("bad", "▲ "),
    };
    html.raw("<span class=\"badge ").raw(class).raw("\"><span aria-hidden=\"true\">").raw(sign);
    html.raw("</span>").raw(text).raw("</span>");
}

fn ago(html: &mut Html, at: Option<Timestamp>, now: Timestamp) {
    match at {
        Some(at) => html.text(Span(now.since(at))).raw(" ago"),
        None => html.raw("never"),
    };
}

pub(super) fn runtimes(html: &mut Html, view: &View<'_>) {
    open(html, "runtimes", "Runtimes");
    let heads =
        &["Runtime", "State", "Last answer", "Says of itself", "Live", "Tracked", "Restarts"];
    let mut table = Table::open(html, "Runtimes that are watched", heads);
    for runtime in view.runtimes.iter().take(MAX_ROWS) {
        let target = view.numbers.targets.get(&*runtime.name);
        let (text, state) = state(runtime);
        table.row(&[
            cell(|html| _ = html.name(&runtime.name)),
            cell(|html| badge(html, state, text)),
            cell(|html| match target {
                Some(target) => ago(html, target.last_success, view.now),
                None => _ = html.raw("–"),
            }),
            cell(|html| match target.and_then(|target| target.health) {
                Some(health) => {
                    let well = if health.healthy { State::Well } else { State::Bad };
                    badge(html, well, if health.healthy { "well" } else { "not well" });
                    if let Some(seconds) = health.mongodb_ping_seconds {
                        html.text(format_args!(", MongoDB {:.1} ms", seconds * 1e3));
                    }
                    if let Some(connections) = health.websocket_connections {
                        html.text(format_args!(", {connections} connections"));
                    }
                }
                None => _ = html.raw("–"),
            }),
            cell(|html| _ = html.text(Whole(runtime.sums.live as u64))),
            cell(|html| _ = html.text(Whole(runtime.sums.chats as u64))),
            cell(|html| _ = html.text(Whole(runtime.restarts))),
        ]);
    }
    table.close();
    rest(html, MAX_ROWS, view.runtimes.len());
    html.raw("</section>");
}

pub(super) fn chats(html: &mut Html, view: &View<'_>) {
    open(html, "chats", "Live chats");
    if view.chats.is_empty() {
        html.raw("<p class=\"note\">None of the runtimes that answer has one.</p></section>");
        return;
    }
    let with_users = !matches!(view.show.users, UserPolicy::None);
    let heads: &[&str] = if with_users {
        &["Chat", "Silent for", "App", "Workflow", "Running", "Turns", "Errors", "Cost", "User"]
    } else {
        &["Chat", "Silent for", "App", "Workflow", "Running", "Turns", "Errors", "Cost"]
    };
    let caption = "Those first that did nothing for the longest. A chat that waits for its user looks \
                   stalled, too";
    let mut table = Table::open(html, caption, heads);
    for chat in &view.chats {
        let counters = chat.book.published();
        let mut cells = vec![
            cell(|html| chat_link(html, chat.chat_id())),
            cell(|html| {
                html.text(Span(view.now.since(chat.last_update)));
                if view.is_stalled(chat) {
                    html.raw(" ");
                    badge(html, State::Bad, "stalled");
                }
            }),
            cell(|html| _ = html.name(chat.app_id())),
            cell(|html| _ = html.name(chat.workflow_name())),
            cell(|html| {
                let running =
                    std::time::Duration::try_from_secs_f64(chat.runtime_seconds(view.now));
                html.text(Span(running.unwrap_or_default()));
            }),
            cell(|html| _ = html.text(Whole(counters.get(Count::Turns)))),
            cell(|html| _ = html.text(Whole(counters.get(Count::Errors)))),
            cell(|html| _ = html.text(Money(counters.cost))),
        ];
        if with_users {
            cells.push(cell(|html| _ = html.name(&view.show.users.show(chat.user_id()))));
        }
        table.row(&cells);
    }
    table.close();
    rest(html, view.chats.len(), usize::try_from(view.live).unwrap_or(usize::MAX));
    html.raw("</section>");
}

pub(super) fn spending(html: &mut Html, view: &View<'_>) {
    open(html, "spending", "Spending");
    let heads = &["App", "Workflow", "Last hour", "Today", "In all"];
    let mut table =
        Table::open(html, "By app and workflow, those first that spent the most today", heads);
    let amounts = |spent: &Spent| {
        [spent.hour, spent.today, spent.ever].map(|cost| {
            cell(|html| {
                html.raw("<data value=\"").text(cost).raw("\">").text(Money(cost)).raw("</data>");
            })
        })
    };
    for ((app, workflow), spent) in &view.spending.rows {
        let [hour, today, ever] = amounts(spent);
        let names = [app, workflow].map(|name| cell(|html| _ = html.name(name)));
        let [app, workflow] = names;
        table.row(&[app, workflow, hour, today, ever]);
    }
    let (others, spent) = &view.spending.rest;
    if *others > 0 {
        let [hour, today, ever] = amounts(spent);
        let name = cell(|html| _ = html.text(Whole(*others as u64)).raw(" others"));
        table.row(&[name, Html::new(), hour, today, ever]);
    }
    let [hour, today, ever] = amounts(&view.spending.all);
    table.row(&[cell(|html| _ = html.raw("All")), Html::new(), hour, today, ever]);
    table.close();
    html.raw("<p class=\"note\">Days begin at midnight UTC.");
    if let Some(since) = view.ring.today_since() {
        html.raw(" Of today, the exporter saw what came since ").time(since, "%H:%M").raw(".");
    }
    if let Some(since) = view.ring.hour_since() {
        html.raw(" Of the last hour, what came since ").time(since, "%H:%M").raw(".");
    }
    html.raw(" What a runtime held at the first contact counts in all only.</p></section>");
}

pub(super) fn latency(html: &mut Html, view: &View<'_>) {
    open(html, "latency", "Turn latency");
    let heads = &["Turns", "Seen", "p50", "p95"];
    let mut table =
        Table::open(html, "How long agent turns took, estimated from the histogram", heads);
    for (name, durations) in [("Last hour", &view.hour.durations), ("In all", &view.durations)] {
        table.row(&[
            cell(|html| _ = html.raw(name)),
            cell(|html| _ = html.text(Whole(durations.count()))),
            quantile(durations, 0.5),
            quantile(durations, 0.95),
        ]);
    }
    table.close();
    html.raw("</section>");
}

fn quantile(durations: &Histogram, share: f64) -> Html {
    let longest = TURN_BOUNDS.last().copied().unwrap_or_default();
    cell(|html| match durations.quantile(TURN_BOUNDS, share) {
        None => _ = html.raw("–"),
        Some(seconds) => {
            html.raw("<data value=\"").text(seconds).raw("\">");
            html.raw(if seconds >= longest { "at least " } else { "" });
            html.text(format_args!("{seconds:.2} s")).raw("</data>");
        }
    })
}

pub(super) fn sources(html: &mut Html, view: &View<'_>) {
    open(html, "sources", "Sources");
    let heads = &["Runtime", "Source", "Last answer", "Behind", "Failures", "Unreadable"];
    let mut table =
        Table::open(html, "Where the numbers come from, and how far it was read", heads);
    let dash = || cell(|html| _ = html.raw("–"));
    let failed = |failures: &std::collections::BTreeMap<&str, u64>| {
        let failures: u64 = failures.values().sum();
        cell(|html| _ = html.text(Whole(failures)))
    };
    let mut rows: Vec<[Html; 6]> = Vec::new();
    for (name, target) in &view.numbers.targets {
        rows.push([
            cell(|html| _ = html.name(name)),
            cell(|html| _ = html.raw("routes")),
            cell(|html| {
                ago(html, target.last_success, view.now);
                html.raw(", every ").text(brief(target.interval_seconds)).raw(" s");
            }),
            dash(),
            failed(&target.failures),
            cell(|html| _ = html.text(Whole(target.rejected.values().sum()))),
        ]);
    }
    for ((name, source), follower) in &view.numbers.followers {
        let sum = |number: fn(&Reader) -> u64| follower.sum(number);
        rows.push([
            cell(|html| _ = html.name(name)),
            cell(|html| _ = html.raw(source)),
            cell(|html| _ = html.text(Whole(sum(|reader| reader.files))).raw(" files followed")),
            cell(|html| {
                html.text(Bytes(sum(|reader| reader.bytes_behind)));
                let rows = sum(|reader| reader.rows_behind);
                if rows > 0 {
                    html.raw(", ").text(Whole(rows)).raw(" rows");
                }
            }),
            dash(),
            cell(|html| _ = html.text(Whole(sum(|reader| reader.problems)))),
        ]);
    }
    for (name, database) in &view.numbers.databases {
        rows.push([
            cell(|html| _ = html.name(name)),
            cell(|html| _ = html.raw("MongoDB")),
            cell(|html| {
                ago(html, database.last_success, view.now);
                html.raw(", every ").text(brief(database.interval_seconds)).raw(" s");
            }),
            cell(|html| _ = html.text(format_args!("{:.0} s", database.behind_seconds))),
            failed(&database.failures),
            cell(|html| _ = html.text(Whole(database.rejected.values().sum()))),
        ]);
    }
    for row in rows.iter().take(MAX_ROWS) {
        table.row(row);
    }
    table.close();
    rest(html, MAX_ROWS, rows.len());
    html.raw("</section>");
}

pub(super) fn exporter(html: &mut Html, view: &View<'_>) {
    let numbers = view.numbers;
    open(html, "exporter", "Exporter");
    html.raw("<dl class=\"facts\"><div><dt>State</dt><dd>");
    if numbers.store.durable {
        badge(html, State::Well, "kept on disk");
        html.raw(", ").text(Bytes(numbers.store.bytes));
    } else {
        badge(html, State::Bad, "in memory only");
    }
    html.raw("</dd></div><div><dt>Failed commits</dt><dd>").text(Whole(numbers.store.errors));
    html.raw("</dd></div><div><dt>Samples in the last scrape</dt><dd>");
    html.text(Whole(numbers.answers.series)).raw("</dd></div><div><dt>Budget</dt><dd>");
    html.data("budget", view.show.max_series, Whole(view.show.max_series)).raw(" series");
    let tally = view.ledger.tally();
    let folded =
        [tally.folded_chats, tally.folded_workflows, tally.folded_users, tally.folded_breakdowns];
    let folded = folded.into_iter().fold(0, u64::saturating_add);
    html.raw("</dd></div><div><dt>Label sets beyond it</dt><dd>").text(Whole(folded));
    html.raw("</dd></div><div><dt>Pushed events</dt><dd>");
    let pushed = numbers.events.received.values().sum();
    html.text(Whole(pushed)).raw("</dd></div>");
    if let Some(flush) = &numbers.flush {
        html.raw("<div><dt>Written to MongoDB</dt><dd>");
        ago(html, flush.last_success, view.now);
        html.raw("</dd></div>");
    }
    html.raw("</dl></section>");
}

pub(super) fn troubles(html: &mut Html) {
    open(html, "troubles", "Last warnings and errors");
    let troubles = recent();
    if troubles.is_empty() {
        html.raw("<p class=\"note\">None since the start.</p></section>");
        return;
    }
    let heads = &["At", "Level", "What", "Times"];
    let mut table = Table::open(html, "From the exporter's own log, the latest first", heads);
    for trouble in &troubles {
        table.row(&[
            cell(|html| _ = html.time(trouble.at, "%F %T")),
            cell(|html| {
                let (state, text) = if trouble.is_error {
                    (State::Bad, "error")
                } else {
                    (State::Unknown, "warning")
                };
                badge(html, state, text);
            }),
            cell(|html| _ = html.words(&trouble.text)),
            cell(|html| _ = html.text(Whole(trouble.times))),
        ]);
    }
    table.close();
    html.raw("</section>");
}
