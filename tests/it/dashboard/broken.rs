//! Panels that break one rule each: who checks the dashboards is checked himself.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::board::Board;
use super::{catalogue, lint};

/// The matchers that every query has.
const CHOSEN: &str = r#"job=~"$job",instance=~"$instance""#;

/// A dashboard with one panel: a query with `@` for what every query chooses by.
fn board(query: &str, unit: &str, legend: &str) -> Board {
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let variables = ["datasource", "job", "instance", "app_id"].map(|name| json!({"name": name}));
    let json: Value = json!({
        "title": "Broken", "templating": {"list": variables},
        "panels": [{
            "title": "Panel", "type": "timeseries", "description": "It is broken.",
            "datasource": source, "fieldConfig": {"defaults": {"unit": unit, "noValue": "none"}},
            "targets": [{"datasource": source, "expr": query.replace('@', CHOSEN),
                "legendFormat": legend, "refId": "A"}],
        }],
    });
    Board { path: PathBuf::new(), text: json.to_string(), json }
}

fn broken(query: &str, unit: &str, legend: &str) -> Vec<&'static str> {
    let board = board(query, unit, legend);
    let found = [lint::panels(&board), lint::queries(&board, &catalogue())].concat();
    found.iter().map(|finding| finding.rule).collect()
}

#[test]
fn each_rule_finds_what_breaks_it() {
    for (rule, query) in [
        ("target-promql-rule", "sum(mozaiks_up{@}"),
        ("metric-is-known", "mozaiks_active_chat{@}"),
        // What `check` lets pass, since users scrape what we do not know.
        ("metric-is-known", "probe_success{@}"),
        ("metric-is-known", "upward{@}"),
        ("metric-is-known", "prometheus_notifications_sent{@}"),
        ("metric-is-known", "{__name__=~\"mozaiks_.*\",@}"),
        ("metric-is-known", "avg_over_time(mozaiks_agent_turn_duration_seconds{@}[5m])"),
        ("label-is-known", "mozaiks_active_chats{@,pod=\"x\"}"),
        ("label-is-known", "up{@,cluster=\"x\"}"),
        ("label-is-known", "count(ALERTS{@,workflow=\"x\"})"),
        ("label-is-known", "sum by (pod) (mozaiks_active_chats{@})"),
        ("label-is-known", "sum by (instance) (sum by (job) (mozaiks_active_chats{@}))"),
        ("label-is-known", "job_slo:mozaiks_slo_bad:ratio30d{@,severity=\"x\"}"),
        ("label-is-known", "mozaiks_up{@} * on (pod) mozaiks_up{@}"),
        ("target-job-rule", "mozaiks_active_chats{instance=~\"$instance\"}"),
        ("target-job-rule", "mozaiks_active_chats{job=\"$job\",instance=~\"$instance\"}"),
        ("target-instance-rule", "mozaiks_active_chats{job=~\"$job\"}"),
        ("target-counter-agg-rule", "sum(mozaiks_workflow_errors_total{@,app_id=~\"$app_id\"})"),
        ("target-counter-agg-rule", "sum(alertmanager_notifications_failed_total{@})"),
        (
            "target-counter-agg-rule",
            "sum(mozaiks_llm_call_duration_seconds_count{@,app_id=~\"$app_id\"})",
        ),
        ("rate-of-counter", "rate(mozaiks_active_chats{@}[$__rate_interval])"),
        ("rate-of-counter", "rate(scrape_duration_seconds{@}[$__rate_interval])"),
        ("rate-of-counter", "increase(job:mozaiks_active_chats:sum{@}[5m])"),
        ("rate-of-counter", "deriv(mozaiks_workflow_errors_total{@,app_id=~\"$app_id\"}[5m])"),
        (
            "target-rate-interval-rule",
            "rate(mozaiks_workflow_errors_total{@,app_id=~\"$app_id\"}[5m])",
        ),
        ("variable-is-obeyed", "mozaiks_workflow_active_chats{@}"),
        (
            "quantile-of-buckets",
            "histogram_quantile(0.9, rate(mozaiks_workflow_errors_total{@,app_id=~\"$app_id\"}[$__rate_interval]))",
        ),
        (
            "quantile-of-buckets",
            "histogram_quantile(0.9, sum(rate(mozaiks_session_duration_seconds_bucket{@,app_id=~\"$app_id\"}[$__rate_interval])))",
        ),
    ] {
        let found = broken(query, "short", "all");
        assert!(found.contains(&rule), "{query}: {found:?}, not {rule}");
    }
    let query =
        "sum by (app_id) (increase(mozaiks_workflow_cost_usd_total{@,app_id=~\"$app_id\"}[1h]))";
    assert_eq!(broken(query, "currencyUSD", "{{app_id}}"), [""; 0], "what is right is left alone");
    assert_eq!(broken(query, "short", "{{app_id}}"), ["unit-fits"]);
    assert_eq!(broken(query, "", "{{app_id}}"), ["panel-units-rule", "unit-fits"]);
    assert_eq!(broken(query, "currencyUSD", "{{user_id}}"), ["legend-is-kept"]);
    assert_eq!(broken(query, "currencyUSD", ""), ["legend-is-kept"]);
}
