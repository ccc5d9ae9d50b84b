//! How long a piece of work took, said when it ends.

use std::time::{Duration, Instant};

use tracing::{debug, warn};

/// A piece of work that is being timed.
#[derive(Debug)]
#[must_use = "the time is taken when this is dropped"]
pub struct Timed {
    what: &'static str,
    start: Instant,
    slow: Duration,
}

/// Times what follows, until the end of the block. It is said at DEBUG, or at WARNING if it took
/// `slow` or longer.
pub fn timed(what: &'static str, slow: Duration) -> Timed {
    Timed { what, start: Instant::now(), slow }
}

impl Drop for Timed {
    fn drop(&mut self) {
        let (what, took) = (self.what, self.start.elapsed());
        let duration_ms = took.as_secs_f64() * 1e3;
        if took >= self.slow {
            warn!(what, duration_ms, "it took long");
        } else {
            debug!(what, duration_ms, "done");
        }
    }
}
