//! Every query, asked of a Prometheus that watches a busy world.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::EMPTY;
use super::board::{Board, Home, Query};
use super::exceptions::Exceptions;
use super::world::{MOMENT, World};
use crate::support::prometheus::Prometheus;
use crate::support::wait::pause;

/// Within this, everything has happened: what takes longest is a restart in the demo.
const LIVELY: Duration = Duration::from_mins(2);

/// What Grafana puts in the place of its variables, for «All» and a range of three minutes.
pub(super) const VALUES: &[(&str, &str)] = &[
    ("$__rate_interval", "15s"),
    ("$__range_s", "180"),
    ("$__range", "180s"),
    ("$job", ".+"),
    ("$instance", ".+"),
    ("$app_id", ".*"),
    ("$workflow_name", ".*"),
    ("$agent_name", ".*"),
    ("$model", ".*"),
    ("$chat_id", ".*"),
];

#[test]
fn every_query_returns_data_from_a_busy_world() {
    let (boards, exceptions) = (Board::load_all(), Exceptions::load());
    let all: Vec<Query<'_>> = boards.iter().flat_map(Board::queries).collect();
    let (mut tally, total): (BTreeMap<&str, [usize; 3]>, usize) = (BTreeMap::new(), all.len());
    let (excused, mut open): (Vec<_>, Vec<_>) = all.into_iter().partition(|query| {
        tally.entry(query.dashboard).or_default()[0] += 1;
        exceptions.excuse(EMPTY, query.dashboard, query.panel)
    });
    assert!(total > 200, "the test looks at the wrong place: {total} queries");
    let mut world = World::begin();
    let deadline = Instant::now() + LIVELY;
    while !open.is_empty() && Instant::now() < deadline {
        world.live_on();
        pause(MOMENT);
        open.retain(|query| !answers(query, world.prometheus()));
    }
    for query in &excused {
        tally.entry(query.dashboard).or_default()[1] += 1;
    }
    for query in &open {
        tally.entry(query.dashboard).or_default()[2] += 1;
    }
    #[expect(clippy::print_stdout, reason = "the numbers are what one wants to know")]
    for (dashboard, [asked, excused, empty]) in &tally {
        let full = asked - excused - empty;
        println!("{dashboard}: {asked} queries, {full} with data, {excused} excused");
    }
    let open: Vec<String> =
        open.iter().map(|q| format!("{}, {}: {}", q.dashboard, q.panel, q.expr)).collect();
    assert!(open.is_empty(), "{} queries return nothing: {open:#?}", open.len());
}

/// Whether there is a number among the results, asked for as Grafana asks.
fn answers(query: &Query<'_>, prometheus: &Prometheus) -> bool {
    let text = query.filled_in(VALUES);
    assert!(!text.contains('$'), "unknown variable in {text}");
    let found = match query.home {
        Home::Variable(label) => prometheus.query(&format!("count by ({label}) ({text})")),
        _ if query.instant => prometheus.query(&text),
        _ => prometheus.query_range(&text, 60),
    };
    found.iter().flat_map(|series| &series.samples).any(|sample| sample.is_finite())
}
