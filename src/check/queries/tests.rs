//! Bad queries, each found for its reason; good ones, for none.

use promql_parser::parser::parse;

use super::catalogue::Catalogue;
use super::judge;

fn kinds(query: &str) -> Vec<&'static str> {
    let catalogue = Catalogue::new(&["ours_".to_owned()], &["cluster".to_owned()]);
    let expr = super::understood(query).unwrap();
    judge::faults(&expr, &catalogue).iter().map(|fault| fault.kind).collect()
}

#[test]
fn bad_queries_are_found_for_their_reason() {
    for line in r#"
unknown-metric       rate(mozaiks_agent_turn_total[5m])
unknown-metric       sum(somebody_elses_metric)
unknown-metric       mozaiks_llm_call_duration_seconds_buckets
unknown-label        mozaiks_active_chats{workflow="x"}
unknown-label        sum by (aap_id) (rate(mozaiks_workflow_cost_usd_total[5m]))
unknown-label        sum by (model) (sum by (app_id) (rate(mozaiks_agent_cost_usd_total[5m])))
unknown-label        sum without (pod) (rate(mozaiks_workflow_cost_usd_total[5m]))
unknown-label        sum by (job) (mozaiks_up) / on (pod) sum by (job) (mozaiks_up)
unknown-label        mozaiks_chat_runtime_seconds * on (job) group_left (version) sum by (job) (mozaiks_up)
unknown-label        mozaiks_up / ignoring (pod) mozaiks_up
rate-of-gauge        rate(mozaiks_active_chats[5m])
rate-of-gauge        increase(mozaiks_active_chats[1h:1m])
rate-of-gauge        sum(irate(mozaiks_chat_runtime_seconds[5m]))
bare-counter         sum(mozaiks_workflow_cost_usd_total) by (app_id)
bare-counter         mozaiks_workflow_errors_total > 5
bare-counter         max(clamp_max(mozaiks_workflow_errors_total, 1))
bare-counter         rate(sum(mozaiks_workflow_errors_total)[5m:1m])
bare-counter         sum(mozaiks_llm_call_duration_seconds_sum) / sum(rate(mozaiks_llm_call_duration_seconds_count[5m]))
histogram            rate(mozaiks_agent_turn_duration_seconds[5m])
quantile-of-buckets  histogram_quantile(0.9, sum by (app_id) (rate(mozaiks_workflow_cost_usd_total[5m])))
quantile-of-buckets  histogram_quantile(0.9, rate(mozaiks_agent_turn_duration_seconds_sum[5m]))
quantile-of-buckets  histogram_quantile(0.9, mozaiks_agent_turn_duration_seconds_bucket)
buckets-without-le   histogram_quantile(0.9, sum by (model) (rate(mozaiks_agent_turn_duration_seconds_bucket[5m])))
buckets-without-le   sum(rate(mozaiks_agent_turn_duration_seconds_bucket[5m]))
buckets-without-le   sum without (le) (rate(mozaiks_agent_turn_duration_seconds_bucket[5m]))
"#
    .lines()
    .filter(|line| !line.is_empty())
    {
        let (kind, query) = line.split_once(' ').unwrap();
        let found = kinds(query);
        assert!(found.contains(&kind), "{query}: {found:?}, not {kind}");
        let others: Vec<_> = found.iter().filter(|other| **other != kind).collect();
        // Who loses le twice over is told of both.
        assert!(others.is_empty() || kind == "buckets-without-le", "{query}: also {others:?}");
    }
}

#[test]
fn good_queries_are_left_alone() {
    for query in r#"
sum by (app_id) (rate(mozaiks_workflow_cost_usd_total{job=~"$job",cluster="a"}[$__rate_interval]))
histogram_quantile(0.95, sum by (le, model) (rate(mozaiks_agent_turn_duration_seconds_bucket[5m])))
sum(rate(mozaiks_agent_turn_duration_seconds_bucket{le="5"}[5m])) / sum(rate(mozaiks_agent_turn_duration_seconds_count[5m]))
mozaiks_workflow_errors_total > 0
sum by (job) (mozaiks_workflow_errors_total) > 0
topk(10, max by (chat_id) (mozaiks_chat_cost_usd_total)) > 5
count(mozaiks_workflow_errors_total)
max_over_time(mozaiks_workflow_errors_total[1h]) > 3
mozaiks_up unless on (job) mozaiks_workflow_errors_total
rate(ours_anything{whatever="x"}[5m]) / on (whatever) group_left (more) up
node_load1 > 5 and on (instance) ALERTS{alertname="x", pod="y"}
{__name__=~"mozaiks.+", pod="x"}
sum by ($group) (mozaiks_active_chats) / topk($n, mozaiks_active_chats)
label_replace(mozaiks_up, "pod", "$1", "instance", "(.*)") * on (pod) group_left () up
resets(mozaiks_workflow_cost_usd_total[1h]) > 0
"#
    .lines()
    .filter(|line| !line.is_empty())
    {
        assert_eq!(kinds(query), [""; 0], "{query}");
    }
}

#[test]
fn what_cannot_be_read_is_no_query() {
    let deep = "(".repeat(5_000) + "1" + &")".repeat(5_000);
    let sum = "1+".repeat(5_000) + "1";
    for bad in ["sum(", "rate(mozaiks_up)", "", "up{", &deep, &sum, &" ".repeat(50_000)] {
        let start: String = bad.chars().take(20).collect();
        assert!(super::understood(bad).is_err(), "{start}");
    }
    assert!(parse("1").is_ok());
}

#[test]
fn a_name_that_is_nearly_right_is_told() {
    let catalogue = Catalogue::new(&[], &[]);
    let near = catalogue.nearest(stringify!(mozaiks_workflow_cost_total));
    assert_eq!(near.as_deref(), Some(stringify!(mozaiks_workflow_cost_usd_total)));
    assert_eq!(catalogue.nearest("http_requests_total_by_somebody"), None);
}

/// Our own files, whatever the test of their queries says.
#[test]
fn records_have_the_labels_that_are_left() {
    let mut catalogue = Catalogue::new(&[], &[]);
    catalogue.record(&super::bundled());
    let labels = catalogue.labels(Some("job_slo:mozaiks_slo_bad:ratio1h"));
    assert_eq!(labels.names.into_iter().collect::<Vec<_>>(), ["job", "slo"]);
}
