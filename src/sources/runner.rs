//! Asks polled sources again and again: pace, back-off and who is told, once for all of them.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::Failure;

/// No more than this share of the time is spent on asking (one twentieth).
const SHARE: u32 = 20;
/// How much slower a failing target is asked, at most.
const LONGEST_BACKOFF: u32 = 4;
/// The part of the pause that is kept however long a poll took (one quarter).
const SHORTEST_PAUSE: u32 = 4;
/// Targets that were started together do not stay together: up to a tenth later.
const JITTER: f64 = 0.1;

/// What one question brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polled {
    /// How long the target worked for it.
    pub busy: Duration,
    /// Part of the answer that is missing, and why.
    pub degraded: Option<Failure>,
    /// More can be had at once: the target is asked again without the pause.
    pub more: bool,
}

/// A source that is asked.
pub trait Poll: Send {
    /// Which runtime it is about, for the log.
    fn target(&self) -> &str;
    /// Who is asked, for the log.
    fn kind(&self) -> &'static str {
        "runtime"
    }
    /// Asks once. Never called while a call is under way.
    fn poll(&mut self) -> impl Future<Output = Result<Polled, Failure>> + Send;
    /// Is told how long it will be until the next question.
    fn paced(&self, next: Duration);
}

/// The pause before what can be had at once: others want to work, too.
const BREATH: Duration = Duration::from_millis(50);

/// Asks at `interval` until `stop` is true: slower where answers take long or do not come.
pub async fn run(mut source: impl Poll, interval: Duration, mut stop: watch::Receiver<bool>) {
    let mut pace = Pace::new(interval);
    let mut state: Option<State> = None;
    while !*stop.borrow_and_update() {
        let asked = Instant::now();
        let result = tokio::select! {
            result = source.poll() => result,
            _ = stop.changed() => return,
        };
        let next = pace.next(&result);
        source.paced(next);
        state = Some(announce((source.kind(), source.target()), state.as_ref(), &result));
        let pause = next.mul_f64(1.0 + JITTER * fastrand::f64()).saturating_sub(asked.elapsed());
        // A poll that took longer than the pause is not followed by the next at once.
        let pause = match result {
            Ok(Polled { more: true, .. }) => BREATH,
            _ => pause.max(next / SHORTEST_PAUSE),
        };
        tokio::select! {
            () = sleep(pause) => {}
            _ = stop.changed() => return,
        }
    }
}

/// When to ask next.
#[derive(Debug)]
struct Pace {
    interval: Duration,
    failures: u32,
    /// How long the last answers took. The shortest counts: one slow answer is no large answer.
    busy: [Duration; 3],
}

impl Pace {
    fn new(interval: Duration) -> Self {
        Self { interval, failures: 0, busy: [Duration::ZERO; 3] }
    }

    fn next(&mut self, result: &Result<Polled, Failure>) -> Duration {
        match result {
            Ok(polled) => {
                self.failures = 0;
                self.busy.rotate_left(1);
                self.busy[2] = polled.busy;
                let busy = self.busy.into_iter().min().unwrap_or_default();
                self.interval.max(busy.saturating_mul(SHARE))
            }
            Err(_) => {
                self.failures = self.failures.saturating_add(1);
                let factor = 1_u32.checked_shl(self.failures - 1).unwrap_or(LONGEST_BACKOFF);
                self.interval.saturating_mul(factor.min(LONGEST_BACKOFF))
            }
        }
    }
}

/// What was last said of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Well,
    Degraded(Failure),
    Failing(Failure),
}

/// Says it if it is news, and returns the new state.
fn announce(
    (who, target): (&'static str, &str),
    before: Option<&State>,
    result: &Result<Polled, Failure>,
) -> State {
    let state = match result {
        Ok(Polled { degraded: None, .. }) => State::Well,
        Ok(Polled { degraded: Some(failure), .. }) => State::Degraded(failure.clone()),
        Err(failure) => State::Failing(failure.clone()),
    };
    let kind = |state: &State| match state {
        State::Well => (0, None),
        State::Degraded(failure) => (1, Some(failure.reason)),
        State::Failing(failure) => (2, Some(failure.reason)),
    };
    if before.map(kind) != Some(kind(&state)) {
        match &state {
            State::Well => info!(runtime = target, "{who} answers"),
            State::Degraded(failure) => {
                warn!(runtime = target, reason = failure.reason.label(), error = %failure,
                    "{who} answers in part");
            }
            State::Failing(failure) => {
                warn!(runtime = target, reason = failure.reason.label(), error = %failure,
                    "{who} does not answer");
            }
        }
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::Reason;

    fn failed() -> Failure {
        Failure::new(Reason::Connect, "refused")
    }

    fn answered(busy: Duration) -> Polled {
        Polled { busy, degraded: None, more: false }
    }

    #[test]
    fn failures_slow_it_down_to_a_bound() {
        let mut pace = Pace::new(Duration::from_secs(15));
        let pauses: Vec<u64> = (0..40).map(|_| pace.next(&Err(failed())).as_secs()).collect();
        assert_eq!(&pauses[..4], [15, 30, 60, 60]);
        assert_eq!(pauses[39], 60);
        assert_eq!(pace.next(&Ok(answered(Duration::ZERO))).as_secs(), 15);
    }

    #[test]
    fn large_answers_slow_it_down() {
        let mut pace = Pace::new(Duration::from_secs(15));
        let three = Ok(answered(Duration::from_secs(3)));
        let pauses =
            [&three, &three, &three, &Ok(answered(Duration::ZERO))].map(|r| pace.next(r).as_secs());
        assert_eq!(pauses, [15, 15, 60, 15]);
    }
}
