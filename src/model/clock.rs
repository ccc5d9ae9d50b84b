//! Time as a value that is handed in, so that no test ever sleeps.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A point of the wall clock: microseconds since the Unix epoch, UTC. May be negative.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Seconds since the Unix epoch, with the fraction.
    #[expect(clippy::cast_precision_loss, reason = "exact until the year 2255")]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// How much later `self` is than `earlier`; zero where it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// A point of a clock that only goes forward: microseconds since an arbitrary start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mono(pub i64);

impl Mono {
    /// How much later `self` is than `earlier`; zero where it is not later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The point `age` before `self`.
    #[must_use]
    pub fn minus(self, age: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// One reading of both clocks.
///
/// Ages and deadlines are taken from `mono`, which no operator and no NTP daemon moves;
/// `wall` is for what is shown to people and for what has to outlive the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Instant {
    /// Wall clock.
    pub wall: Timestamp,
    /// Clock that only goes forward.
    pub mono: Mono,
}

impl Instant {
    /// Where the forward-only clock stood at `wall`, if the wall clock was not set since.
    /// A point in the future becomes now.
    pub fn mono_at(self, wall: Timestamp) -> Mono {
        self.mono.minus(self.wall.since(wall))
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Instant;
}

/// The clocks of this machine.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// Starts the forward-only clock.
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_micros()).map_or(i64::MIN, i64::wrapping_neg)
            }
        };
        let mono = i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX);
        Instant { wall: Timestamp(wall), mono: Mono(mono) }
    }
}
