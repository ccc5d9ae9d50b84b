//! The status page: its numbers, its bounds, and what a browser makes of it.

use std::path::{Path, PathBuf};

use chrono::Duration;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::browser::Browser;
use crate::support::chat::{Chat, count, now};
use crate::support::exporter::{Exporter, Launch};
use crate::support::http::{self, Response};
use crate::support::runtime::FakeRuntime;
use crate::support::wait::eventually;

/// Names that somebody might give who means no good.
const HOSTILE: [&str; 5] = [
    "<script>window.broken=1</script>",
    "\"><img src=x onerror=\"window.broken=1\">",
    "' onfocus='window.broken=1",
    "\u{202e}txet desrever \u{5e9}\u{5dc}\u{5d5}\u{5dd}",
    "a/b?c=d#e%20&amp;..",
];

fn start(runtime: &FakeRuntime, state: &TempDir) -> Exporter {
    let exporter = Launch::new(state.path()).runtime(&runtime.url()).start();
    exporter.wait_for("mozaiks_up", &[], 1.0);
    exporter
}

/// The machine's value of a number of the page.
fn value(page: &str, id: &str) -> f64 {
    let (_, rest) = page.split_once(&format!("<data id=\"{id}\" value=\"")).unwrap();
    rest.split('"').next().unwrap().parse().unwrap()
}

/// The table of a section as cells of plain text: markup is taken out.
fn table(page: &str, section: &str) -> Vec<Vec<String>> {
    let (_, rest) = page.split_once(&format!("<section id=\"{section}\"")).unwrap();
    let section = rest.split("</section>").next().unwrap();
    let rows = section.split("<tr role=\"row\">").skip(2);
    rows.map(|row| {
        let cells = row.split("</th>").flat_map(|part| part.split("</td>"));
        let mut cells: Vec<String> = cells.map(plain).collect();
        cells.pop();
        cells
    })
    .collect()
}

fn plain(html: &str) -> String {
    let mut text = String::new();
    for part in html.split('<') {
        text.push_str(part.split_once('>').map_or(part, |(_, text)| text));
    }
    text
}

/// Values of `<data>` of the row whose cells begin so.
fn amounts(page: &str, first: &[&str]) -> Vec<f64> {
    let (_, rest) = page.split_once("<section id=\"spending\"").unwrap();
    let rows = rest.split("</section>").next().unwrap().split("<tr role=\"row\">").skip(2);
    let is_it = |row: &&str| {
        let cells: Vec<String> =
            row.split("</th>").flat_map(|part| part.split("</td>")).map(plain).collect();
        cells.iter().zip(first).all(|(cell, name)| cell == name)
    };
    let row = rows.into_iter().find(is_it).unwrap();
    let values = row.split("<data value=\"").skip(1);
    values.map(|value| value.split('"').next().unwrap().parse().unwrap()).collect()
}

fn is_closed_in(response: &Response) {
    let policy = response.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[test]
fn the_numbers_are_those_of_the_metrics() {
    let (runtime, state) = (FakeRuntime::start(), TempDir::new().unwrap());
    let mut chats = [Chat::new("one").turns(4), Chat::new("two").turns(8), Chat::new("three")];
    chats[1].app = "globex".to_owned();
    chats[1].workflow = "Billing".to_owned();
    runtime.hold(&chats);
    let exporter = start(&runtime, &state);
    exporter.wait_for("mozaiks_tracked_chats", &[], 3.0);
    // What was there at the first contact was not spent today.
    let page = exporter.get("/").text();
    assert_eq!(value(&page, "cost-today"), 0.0);

    chats[0] = chats[0].clone().turns(10);
    chats[2] = chats[2].clone().turns(1);
    chats[2].ended_at = Some(now());
    runtime.hold(&chats);
    exporter.wait_for("mozaiks_active_chats", &[], 2.0);
    let metrics = exporter.scrape();
    let page = exporter.get("/").text();
    assert_eq!(Some(value(&page, "live")), metrics.value("mozaiks_active_chats", &[]));
    assert_eq!(Some(value(&page, "tracked")), metrics.value("mozaiks_tracked_chats", &[]));
    assert_eq!(Some(value(&page, "budget")), metrics.value("mozaiks_exporter_series_limit", &[]));
    assert!(value(&page, "series") > 50.0, "{page}");
    // Six turns of the first chat and one of the third, at 0.0015 dollars.
    assert_eq!(value(&page, "turns-hour"), 7.0);
    assert_eq!(value(&page, "errors-hour"), 1.0);
    assert_eq!(value(&page, "cost-today"), 0.0105);
    for (app, workflow, spent) in [("acme", "TicketDesk", 0.0105), ("globex", "Billing", 0.0)] {
        let labels = [("app_id", app), ("workflow_name", workflow)];
        let ever = metrics.value("mozaiks_workflow_cost_usd_total", &labels).unwrap();
        assert_eq!(amounts(&page, &[app, workflow]), [spent, spent, ever]);
    }
    let ever = metrics.sum("mozaiks_workflow_cost_usd_total", &[]);
    assert_eq!(amounts(&page, &["All"]), [0.0105, 0.0105, ever]);
    let seen = metrics.sum("mozaiks_agent_turn_duration_seconds_count", &[]);
    let latency = table(&page, "latency");
    assert_eq!(latency[1][..2], ["In all".to_owned(), seen.to_string()]);
    let listed = table(&page, "chats");
    let listed: Vec<[&str; 4]> =
        listed.iter().map(|row| [0, 3, 5, 7].map(|cell| row[cell].as_str())).collect();
    let both = [["one", "TicketDesk", "10", "$0.0150"], ["two", "Billing", "8", "$0.0120"]];
    assert!(both.iter().all(|row| listed.contains(row)) && listed.len() == 2, "{listed:?}");
    let runtimes = table(&page, "runtimes");
    assert_eq!((runtimes.len(), runtimes[0][1].as_str()), (1, "● answers"));
    assert!(page.contains("All is well."), "{page}");
    assert!(page.contains("kept on disk"), "{page}");
}

#[test]
fn money_of_the_day_is_kept_apart_where_the_state_was_kept() {
    let (runtime, state) = (FakeRuntime::start(), TempDir::new().unwrap());
    runtime.hold(&[Chat::new("one").turns(4)]);
    let mut exporter = start(&runtime, &state);
    exporter.wait_for("mozaiks_tracked_chats", &[], 1.0);
    exporter.terminate();
    // What a chat spent while nobody looked is new, and what it had spent before is not.
    runtime.hold(&[Chat::new("one").turns(6)]);
    let exporter = start(&runtime, &state);
    eventually("today's money", || {
        let page = exporter.get("/").text();
        let today = value(&page, "cost-today");
        if today == 0.003 { Ok(()) } else { Err(today.to_string()) }
    });
    let page = exporter.get("/").text();
    assert!(page.contains("Of the last hour, what came since "), "{page}");
}

#[test]
fn what_is_wrong_is_said_first() {
    let state = TempDir::new().unwrap();
    let exporter = Launch::new(state.path()).runtime("east=http://127.0.0.1:1").start();
    exporter.wait_for("mozaiks_up", &[("runtime", "east")], 0.0);
    let page = exporter.get("/").text();
    assert!(page.contains("Runtime <bdi>east</bdi> does not answer."), "{page}");
    assert_eq!(table(&page, "runtimes")[0][..3], ["east", "▲ does not answer", "never"]);
    eventually("the log's warning", || {
        let page = exporter.get("/").text();
        let rows = page.contains("id=\"troubles\"").then(|| table(&page, "troubles"));
        let rows = rows.unwrap_or_default();
        let is_it = |row: &Vec<String>| row[2].contains("does not answer");
        if rows.iter().any(is_it) { Ok(()) } else { Err(format!("{rows:?}")) }
    });
}

#[test]
fn foreign_names_are_text() {
    let (runtime, state) = (FakeRuntime::start(), TempDir::new().unwrap());
    let long = "\"&".repeat(250);
    let mut chats = Vec::new();
    for name in HOSTILE.into_iter().chain([long.as_str(), ".."]) {
        let mut chat = Chat::new(name).turns(2);
        (chat.app, chat.workflow, chat.user) = (name.to_owned(), name.to_owned(), name.to_owned());
        chats.push(chat);
    }
    runtime.hold(&chats);
    let exporter = start(&runtime, &state);
    exporter.wait_for("mozaiks_active_chats", &[], count(chats.len() as u64));
    for path in ["/", "/-/status"] {
        let response = exporter.get(path);
        is_closed_in(&response);
        let page = response.text();
        for markup in ["<script>window", "<img", "' onfocus", "\u{202e}"] {
            assert!(!page.contains(markup), "{markup} in {path}");
        }
        assert!(page.contains("&lt;script&gt;window.broken=1&lt;/script&gt;"), "{page}");
        assert!(page.contains("\\u{202e}txet desrever"), "{page}");
        assert_eq!(page.matches("</bdi></a></th>").count(), chats.len() - 1, "{page}");
    }
    // Each link leads to its chat.
    let page = exporter.get("/").text();
    let links = page.split("<a href=\"metrics/perf/chats/").skip(1);
    let mut found: Vec<String> = links
        .map(|link| {
            let path = format!("/metrics/perf/chats/{}", link.split('"').next().unwrap());
            exporter.get(&path).json()["chat_id"].as_str().unwrap().to_owned()
        })
        .collect();
    found.sort();
    let mut ids: Vec<&str> = chats.iter().map(|chat| chat.id.as_str()).collect();
    ids.retain(|id| *id != "..");
    ids.sort_unstable();
    assert_eq!(found, ids);
}

#[test]
fn users_are_shown_as_everywhere() {
    let (runtime, state) = (FakeRuntime::start(), TempDir::new().unwrap());
    runtime.hold(&[Chat::new("one").turns(2)]);
    for (policy, head) in [("plain", true), ("hash", true), ("none", false)] {
        let exporter =
            Launch::new(state.path()).runtime(&runtime.url()).flag("--users", policy).start();
        exporter.wait_for("mozaiks_active_chats", &[], 1.0);
        let page = exporter.get("/").text();
        assert_eq!(page.contains("data-head=\"User\""), head, "{policy}");
        assert_eq!(page.contains("alice"), policy == "plain", "{policy}");
        if policy == "hash" {
            let user = exporter.get("/metrics/perf/chats/one").json()["user_id"].clone();
            assert_eq!(table(&page, "chats")[0][8], user.as_str().unwrap());
        }
    }
}

#[test]
fn the_page_is_bounded_and_the_stalled_come_first() {
    let (runtime, state) = (FakeRuntime::start(), TempDir::new().unwrap());
    let name = "<&\"'>".repeat(100);
    let mut chats = Vec::new();
    for number in 0..10_000 {
        let mut chat = Chat::new(&format!("{number:05}{name}"));
        chat.app = format!("{}{name}", number % 100);
        chat.workflow.clone_from(&chat.app);
        chat.user.clone_from(&chat.app);
        // One that has done nothing did so at its start.
        chat.started_at = now() - Duration::minutes(i64::from(number % 20));
        chats.push(chat);
    }
    chats[7777].started_at = now() - Duration::hours(3);
    runtime.hold(&chats);
    let exporter = Launch::new(state.path())
        .runtime(&runtime.url())
        .flag("--runtime.poll-interval", "1h")
        .flag("--chat.max-series", "1000000")
        .start();
    exporter.wait_for("mozaiks_tracked_chats", &[], 10_000.0);
    let page = exporter.get("/").text();
    assert!(page.len() < 200_000, "{} bytes", page.len());
    let listed = table(&page, "chats");
    assert_eq!(listed.len(), 30);
    assert!(listed[0][0].starts_with("07777"), "{:?}", listed[0]);
    assert_eq!(listed[0][1], "3 h 0 min ▲ stalled");
    assert!(listed.iter().all(|row| row[1].contains("stalled")), "{listed:?}");
    assert_eq!(value(&page, "live"), 10_000.0);
    assert!(value(&page, "stalled") >= 4500.0, "{}", value(&page, "stalled"));
    assert!(page.contains("And 9,970 more."));
    assert_eq!(table(&page, "spending").len(), 22);
    assert!(table(&page, "spending")[20][0].contains("80 others"));
    // Names that are all as long as they may be, and a debug build.
    let before = exporter.cpu_ticks();
    for _ in 0..20 {
        assert_eq!(exporter.get("/-/status").status, 200);
    }
    let pages = exporter.cpu_ticks() - before;
    assert!(pages < 150, "twenty pages took {pages} hundredths of a second of CPU");
}

#[test]
fn head_and_other_methods() {
    let (runtime, state) = (FakeRuntime::start(), TempDir::new().unwrap());
    let exporter = start(&runtime, &state);
    for path in ["/", "/-/status"] {
        let head = http::request(exporter.address(), "HEAD", path, &[]).unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        is_closed_in(&head);
        assert_eq!(http::post(exporter.address(), path, &[], b"").unwrap().status, 405);
    }
}

/// A real browser: no complaint, numbers that move by themselves, links that lead somewhere.
#[test]
#[expect(clippy::print_stderr, reason = "where the pictures are is worth knowing")]
fn a_browser_shows_it() {
    let (runtime, state) = (FakeRuntime::start(), TempDir::new().unwrap());
    let mut chats: Vec<Chat> = HOSTILE.iter().map(|name| Chat::new(name).turns(3)).collect();
    for (chat, name) in chats.iter_mut().zip(HOSTILE) {
        (chat.app, chat.user) = (name.to_owned(), name.to_owned());
    }
    chats.push(Chat::new(&"long-".repeat(100)));
    chats.push(Chat::new("chat_abc123").turns(5));
    chats[6].started_at = now() - Duration::hours(2);
    runtime.hold(&chats);
    let mut exporter = start(&runtime, &state);
    exporter.wait_for("mozaiks_active_chats", &[], count(chats.len() as u64));
    let pictures = pictures();
    let url = format!("http://{}/", exporter.address());
    let mut browser = Browser::open(&url, &pictures);
    let seen = browser.ask("look");
    assert_eq!(seen["live"], "7", "{seen}");
    for width in ["1280", "1000", "768", "390"] {
        let [wide, inner] = ["scroll", "inner"].map(|key| seen[width][key].as_u64().unwrap());
        assert!(wide <= inner, "at {width} pixels the page is {wide} wide: {seen}");
    }
    assert!(seen["contrast"].as_array().unwrap().is_empty(), "{seen}");
    assert_eq!(seen["broken"], Value::Null, "{seen}");

    chats.push(Chat::new("a new one").turns(1));
    runtime.hold(&chats);
    exporter.wait_for("mozaiks_active_chats", &[], 8.0);
    let seen = browser.ask("live 8");
    assert_eq!(seen["live"], "8", "{seen}");
    assert_eq!(seen["focus"], "metrics/perf/chats/chat%5Fabc123", "the focus stays: {seen}");

    let seen = browser.ask("without");
    assert_eq!(seen["live"], "8", "{seen}");

    let seen = browser.ask("complaints");
    assert_eq!(seen["complaints"], Value::Array(Vec::new()), "{seen}");
    // The browser wants an icon of the JSON, which has none: no complaint of the page.
    let seen = browser.ask("follow chat_abc123");
    assert_eq!(seen["chat_id"], "chat_abc123", "{seen}");
    exporter.kill();
    browser.ask("gone");
    browser.close();
    for picture in ["light-1280", "dark-1280", "light-390", "dark-390"] {
        let bytes = std::fs::read(pictures.join(format!("{picture}.png"))).unwrap();
        assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000, "{picture}");
    }
    eprintln!("pictures are in {}", pictures.display());
}

/// Whoever came in by a password in the address is still in when the page asks for more.
#[test]
fn a_browser_with_a_password_keeps_up() {
    let (runtime, state) = (FakeRuntime::start(), TempDir::new().unwrap());
    runtime.hold(&[Chat::new("chat_abc123")]);
    let web = state.path().join("web.yml");
    let hash = bcrypt::hash("horse", 4).unwrap();
    std::fs::write(&web, format!("basic_auth_users: {{ada: {hash}}}\n")).unwrap();
    let exporter = Launch::new(&state.path().join("state"))
        .runtime(&runtime.url())
        .flag("--web.config.file", &web)
        .start();
    runtime.wait_for_polls(2);
    let url = format!("http://ada:horse@{}/", exporter.address());
    let mut browser = Browser::open(&url, &pictures());
    assert_eq!(browser.ask("live 1")["live"], "1");
    runtime.hold(&[Chat::new("chat_abc123"), Chat::new("another")]);
    assert_eq!(browser.ask("live 2")["live"], "2");
    assert_eq!(browser.ask("complaints")["complaints"], Value::Array(Vec::new()));
    browser.close();
}

/// Where pictures are put, to be looked at.
fn pictures() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("status");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
