//! A month of history, so that the numbers of weeks and months can be held against arithmetic: the
//! logs of five weeks by way of `backfill`, and what the rules would have recorded meanwhile.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use mozaiks_exporter::check::queries::bundled;
use serde_json::json;
use tempfile::TempDir;

use super::asked::VALUES;
use super::board::{Board, Query};
use super::world::hasty;
use crate::support::chat::now;
use crate::support::prometheus::{Prometheus, Series};
use crate::support::tools::make_blocks;
use crate::support::wait::eventually;

/// A turn of each workflow, and a sample of each series.
const STEP: i64 = 1_800;
const DAY: i64 = 86_400;
/// Longer than any window.
const HISTORY: i64 = 35 * DAY;
/// How far apart the rules' records stand.
const RECORDED: i64 = 120;

/// What a turn costs, so long before the end: it gets dearer, and an app joins.
fn costs(before: i64) -> [(&'static str, &'static str, f64); 2] {
    let digest = match before {
        _ if before < DAY => 3.0,
        _ if before < 7 * DAY => 1.0,
        _ => 0.5,
    };
    let triage = if before < 10 * DAY { 0.25 } else { 0.0 };
    [("acme", "Digest", digest), ("globex", "Triage", triage)]
}

/// The runtime's log up to that time, a line each turn.
fn write_log(file: &Path, end: i64) {
    let mut lines = String::new();
    for at in (end - HISTORY..end).step_by(usize::try_from(STEP).unwrap()) {
        for (app, workflow, cost) in
            costs(end - at - 1).into_iter().filter(|(.., cost)| *cost > 0.0)
        {
            let time = chrono::DateTime::from_timestamp(at + 60, 0).unwrap();
            let line = json!({
                "level": "INFO", "logger": "mozaiks.workflow", "msg": "agent_turn",
                "extra": {"workflow_name": "performance", "chat_id": format!("{workflow}-{at}"),
                    "workflow": workflow, "app_id": app, "agent": "Writer", "model": "gpt-4o",
                    "prompt_tokens": 1_000, "completion_tokens": 500, "total_tokens": 1_500,
                    "cost_usd": cost, "duration_sec": 2.0},
            });
            let rest = line.to_string();
            let rest = rest.strip_prefix('{').unwrap();
            writeln!(lines, "{{\"ts\": \"{}\", {rest}", time.to_rfc3339()).unwrap();
        }
    }
    fs::write(file, lines).unwrap();
}

/// Of a hundred, so many were bad, so long before the end.
fn bad(slo: &str, before: i64) -> f64 {
    let outage = |day: i64| (day * DAY - STEP..day * DAY).contains(&before);
    match slo {
        // Half an hour twice, once in this month and once in the last.
        "availability" if outage(20) || outage(31) => 100.0,
        "latency" if before < 10 * DAY => 4.0,
        "errors" => 2.0,
        _ => 0.0,
    }
}

/// What the rules would have recorded of the objectives.
fn records(end: i64) -> String {
    let mut out = String::new();
    for (part, is_bad) in [("all", false), ("bad", true)] {
        let name = format!("job_slo:mozaiks_sli_{part}:increase2m");
        writeln!(out, "# TYPE {name} gauge").unwrap();
        for slo in ["availability", "latency", "errors"] {
            for before in (0..HISTORY / RECORDED).rev().map(|number| number * RECORDED) {
                let value = if is_bad { bad(slo, before) } else { 100.0 };
                let at = end - before;
                writeln!(out, "{name}{{job=\"mozaiksai\",slo=\"{slo}\"}} {value} {at}").unwrap();
            }
        }
    }
    out
}

/// A Prometheus with that history, and our rules in a hurry. It ends at the second number.
fn remembered() -> (Prometheus, i64) {
    let dir = TempDir::new().unwrap();
    let end = now().timestamp() / STEP * STEP;
    let (log, samples) = (dir.path().join("mozaiks.log"), dir.path().join("samples.om"));
    write_log(&log, end);
    let said = Command::new(env!("CARGO_BIN_EXE_mozaiks-exporter"))
        .args(["backfill", "--step=30m", "--label=job=mozaiksai", "--label=instance=old-logs"])
        .arg("--logs.path")
        .arg(&log)
        .arg("--output")
        .arg(&samples)
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let text = fs::read_to_string(&samples).unwrap();
    let text = text.strip_suffix("# EOF\n").unwrap();
    fs::write(&samples, format!("{text}{}# EOF\n", records(now().timestamp()))).unwrap();
    make_blocks(&samples, &dir.path().join("data")).unwrap();
    let mut rules = hasty(dir.path());
    // Nothing is scraped here, which would be an outage.
    rules
        .retain(|file| ["slo.rules.yml", "cost.rules.yml"].iter().any(|name| file.ends_with(name)));
    (Prometheus::over_with(dir, &rules), end)
}

/// The queries of a panel.
fn asked<'a>(boards: &'a [Board], uid: &str, panel: &str) -> Vec<Query<'a>> {
    let board = boards.iter().find(|board| board.uid() == uid).unwrap();
    let found: Vec<_> = board.queries().into_iter().filter(|query| query.panel == panel).collect();
    assert!(!found.is_empty(), "{uid} has no panel {panel}");
    found
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-4 * other.abs().max(1.0)
}

#[test]
fn weeks_and_months_are_what_arithmetic_says() {
    let boards = Board::load_all();
    let (prometheus, end) = remembered();
    let at_end = |query: &Query<'_>| prometheus.query_at(&query.filled_in(VALUES), end);

    // Dollars: 48 turns a day of each workflow.
    let (day, week) = (48.0 * 3.25, 48.0 * (3.25 + 6.0 * 1.25));
    let month = week + 48.0 * (3.0 * 0.75 + 20.0 * 0.5);
    for (uid, panel, wanted) in [
        ("mozaiks-cost", "Last 24 h of $100", day),
        ("mozaiks-cost", "Last 7 days", week),
        ("mozaiks-cost", "Last 30 days", month),
        ("mozaiks-cost", "Projected for 30 days", week / 7.0 * 30.0),
        ("mozaiks-cost", "Cost per turn, 24 h", day / 96.0),
        ("mozaiks-cost", "Cost per 1k tokens, 24 h", day / (96.0 * 1.5)),
        ("mozaiks-slo", "Cost of 24 hours", day),
        ("mozaiks-slo", "Cost budget left", 1.0 - day / 500.0),
    ] {
        for query in asked(&boards, uid, panel) {
            let found = at_end(&query);
            assert_eq!(found.len(), 1, "{panel}: {found:?}");
            assert!(close(found[0].last(), wanted), "{panel}: {}, not {wanted}", found[0].last());
        }
    }
    // The same by workflow, and the younger one from its first turn on.
    let table = asked(&boards, "mozaiks-cost", "Apps and workflows");
    for (window, digest, triage) in [
        ("[24h]", 48.0 * 3.0, 48.0 * 0.25),
        ("[7d]", 48.0 * 9.0, 7.0 * 12.0),
        ("[30d]", 48.0 * (9.0 + 23.0 * 0.5), 10.0 * 12.0),
    ] {
        let is_cost = |query: &&Query<'_>| {
            query.expr.contains("_cost_usd_total") && query.expr.contains(window)
        };
        let found = at_end(table.iter().find(is_cost).unwrap());
        let of = |app: &str| found.iter().find(|series| series.labels["app_id"] == app).unwrap();
        assert!(close(of("acme").last(), digest), "{window}: {found:?}");
        assert!(close(of("globex").last(), triage), "{window}: {found:?}");
    }

    // Shares of a month, as the rules reckon them now: fifteen of the 21,600 records are an outage.
    let outage = 15.0 / 21_600.0;
    let wait = |query: &str| -> Vec<Series> {
        eventually(query, || {
            let found = prometheus.query(query);
            if found.is_empty() { Err("nothing".to_owned()) } else { Ok(found) }
        })
    };
    for (panel, wanted) in [
        ("Availability", 1.0 - outage),
        ("Turns under 5 s", 1.0 - 0.04 / 3.0),
        ("Errors per turn", 0.02),
        ("Availability budget left", 1.0 - outage / 0.001),
        ("Latency budget left", 1.0 - 0.04 / 3.0 / 0.05),
        ("Error budget left", -1.0),
    ] {
        for query in asked(&boards, "mozaiks-slo", panel) {
            let found = wait(&query.filled_in(VALUES));
            // Time goes on, and each record that has left the month is a 21,600th of it.
            let is = close(found[0].last(), wanted);
            assert!(is && found.len() == 1, "{panel}: {found:?}, not {wanted}");
        }
    }
    for (burn, latency, errors) in [("1d", 0.8, 2.0), ("3d", 0.8, 2.0)] {
        wait(&format!("job_slo:mozaiks_slo_burn:rate{burn}"));
        let found = prometheus.by("slo", &format!("job_slo:mozaiks_slo_burn:rate{burn}"));
        assert!(close(found["latency"], latency) && close(found["errors"], errors), "{found:?}");
        assert_eq!(found["availability"], 0.0);
    }
    // Four days ago there were two outages in the month, and the budget was overspent.
    let ratio = bundled().into_iter().find(|rule| rule.name == "job_slo:mozaiks_slo_bad:ratio30d");
    let ratio = ratio.unwrap().expr.to_string();
    let then = prometheus.query_at(&ratio, end - 4 * DAY);
    let then = then.iter().find(|series| series.labels["slo"] == "availability").unwrap();
    assert!(close(then.last() / outage, 2.0), "{}", then.last());

    // And the alerts: errors have spent their budget and still burn, the day is too dear.
    for (alert, labels) in [
        ("SLOErrorBudgetExhausted", "slo=\"errors\""),
        ("SLOErrorRateViolation", "severity=\"warning\""),
        ("DailyCostExceeded", "severity=\"critical\""),
    ] {
        wait(&format!("ALERTS{{alertname=\"{alert}\",{labels},alertstate=\"firing\"}}"));
    }
    let others = "ALERTS{alertname=~\"SLO(Availability|Latency)Violation|CostSLOViolation\"} or \
                  ALERTS{alertname=\"SLOErrorBudgetExhausted\",slo!=\"errors\"} or \
                  ALERTS{alertname=\"SLOErrorRateViolation\",severity=\"critical\"}";
    assert!(prometheus.query(others).is_empty(), "{:?}", prometheus.query(others));
}
