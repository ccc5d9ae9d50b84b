//! Counts of durations by size.

use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets of agent turns, in seconds.
pub const TURN_BOUNDS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0];
/// Upper bounds of the buckets of model calls, in seconds.
pub const CALL_BOUNDS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
/// Upper bounds of the buckets of tool calls, in seconds.
pub const TOOL_BOUNDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// Upper bounds of the buckets of sessions, in seconds.
pub const SESSION_BOUNDS: &[f64] =
    &[1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0];

/// Nanoseconds in a second: sums are kept whole, so that they do not depend on their order.
const NANOS: f64 = 1e9;

/// A cumulative histogram of durations. Its sum is exact to the nanosecond.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Histogram {
    /// Observations per bucket, not cumulative; the last is for those above every bound.
    /// Empty until the first observation.
    buckets: Vec<u64>,
    sum_nanos: u64,
}

impl Histogram {
    /// Adds one duration in seconds to a histogram with these bounds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float to integer cast saturates, and a negative duration is clamped"
    )]
    pub fn observe(&mut self, bounds: &[f64], seconds: f64) {
        self.buckets.resize(bounds.len() + 1, 0);
        self.buckets[Self::bucket(bounds, seconds)] += 1;
        let nanos = (seconds.max(0.0) * NANOS).round() as u64;
        self.sum_nanos = self.sum_nanos.saturating_add(nanos);
    }

    /// The bucket of a duration in seconds; the one after the last is for those above every bound.
    pub fn bucket(bounds: &[f64], seconds: f64) -> usize {
        bounds.partition_point(|bound| *bound < seconds)
    }

    /// Adds all observations of `other`, which has the same bounds.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.resize(self.buckets.len().max(other.buckets.len()), 0);
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
    }

    /// What was observed since it was `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before = earlier.buckets.iter().copied().chain(std::iter::repeat(0));
        let grown = self.buckets.iter().zip(before).map(|(now, before)| now.saturating_sub(before));
        let sum_nanos = self.sum_nanos.saturating_sub(earlier.sum_nanos);
        Self { buckets: grown.collect(), sum_nanos }
    }

    /// The duration in seconds that this share of all observations does not exceed, as `PromQL`'s
    /// `histogram_quantile` has it: spread evenly within a bucket, and the last bound where it lies above
    /// that. None where nothing was observed.
    #[expect(clippy::cast_precision_loss, reason = "an estimate within a bucket")]
    pub fn quantile(&self, bounds: &[f64], share: f64) -> Option<f64> {
        let rank = share * self.count() as f64;
        let mut below = 0;
        let mut lower = 0.0;
        for (upper, count) in bounds.iter().zip(&self.buckets) {
            if *count > 0 && (below + count) as f64 >= rank {
                let part = (rank - below as f64) / *count as f64;
                return Some(lower + (upper - lower) * part.max(0.0));
            }
            below += count;
            lower = *upper;
        }
        (self.count() > 0).then_some(lower)
    }

    /// Observations at or below each bound, in the order of the bounds.
    pub fn cumulative(&self, bounds: &[f64]) -> Vec<u64> {
        (0..bounds.len())
            .scan(0, |sum, index| {
                *sum += self.buckets.get(index).copied().unwrap_or(0);
                Some(*sum)
            })
            .collect()
    }

    /// All observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of all observations, in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a double is what the exposition holds")]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_nanos as f64 / NANOS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_it() {
        let mut histogram = Histogram::default();
        for seconds in [0.5, 1.0, 1.5, 5.0, 9000.0] {
            histogram.observe(&[1.0, 5.0], seconds);
        }
        assert_eq!(histogram.cumulative(&[1.0, 5.0]), [2, 4]);
        assert_eq!(histogram.count(), 5);
        assert!((histogram.sum_seconds() - 9008.0).abs() < 1e-9);
    }

    #[test]
    fn quantiles_are_those_of_promql() {
        const BOUNDS: &[f64] = &[1.0, 5.0, 10.0];
        let of = |seconds: &[f64]| {
            let mut histogram = Histogram::default();
            for seconds in seconds {
                histogram.observe(BOUNDS, *seconds);
            }
            histogram
        };
        assert_eq!(of(&[]).quantile(BOUNDS, 0.5), None);
        assert_eq!(of(&[2.0, 3.0]).quantile(BOUNDS, 0.5), Some(3.0));
        assert_eq!(of(&[0.5, 2.0, 3.0, 7.0]).quantile(BOUNDS, 0.5), Some(3.0));
        assert_eq!(of(&[0.5, 0.5]).quantile(BOUNDS, 0.95), Some(0.95));
        assert_eq!(of(&[0.5, 99.0, 99.0]).quantile(BOUNDS, 0.95), Some(10.0));
    }

    #[test]
    fn what_grew_is_the_difference() {
        let mut histogram = Histogram::default();
        histogram.observe(&[1.0], 0.5);
        let earlier = histogram.clone();
        histogram.observe(&[1.0], 3.0);
        let grown = histogram.since(&earlier);
        assert_eq!((grown.count(), grown.cumulative(&[1.0])), (1, vec![0]));
        assert!((grown.sum_seconds() - 3.0).abs() < 1e-9);
        assert_eq!(histogram.since(&Histogram::default()), histogram);
    }

    #[test]
    fn an_empty_one_has_all_its_buckets() {
        assert_eq!(Histogram::default().cumulative(&[1.0, 5.0]), [0, 0]);
    }
}
