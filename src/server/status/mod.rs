//! The status page: what the exporter sees, for people.
//!
//! | file | knows |
//! |---|---|
//! | `ring` | the last hour and the day so far |
//! | `view` | which numbers are shown, and how many |
//! | `html`, `sections`, `table`, `chart` | how they look |
//! | `text` | that nothing foreign is markup |

mod chart;
mod html;
mod ring;
mod sections;
mod table;
mod text;
mod view;

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use ::ring::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Response;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};
use tokio::sync::watch;
use tokio::time::sleep;

use self::ring::{Ring, STEP};
use self::view::View;
use super::body::Payload;
use super::reply::{HTML, ok};
use crate::ledger::Ledger;
use crate::metrics::Show;
use crate::model::Timestamp;
use crate::store::Shared;
use crate::telemetry::{Numbers, Telemetry};

/// What the page may do: its own style and script, and ask us. The icon is part of it.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes()));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(html::SCRIPT),
        hash(html::STYLE),
    );
    let nothing = HeaderValue::from_static("default-src 'none'");
    HeaderValue::try_from(policy).unwrap_or(nothing)
});

/// The page, and what it remembers.
#[derive(Debug)]
pub(super) struct Status {
    ring: Mutex<Ring>,
}

impl Status {
    /// Whatever was counted up to now is no news.
    pub(super) fn new(ledger: &Shared, telemetry: &Telemetry) -> Self {
        let numbers = telemetry.lock().clone();
        let now = ledger.clock().now();
        Self { ring: Mutex::new(Ring::new(&ledger.lock(), &numbers, now)) }
    }

    /// The whole page.
    pub(super) fn page(
        &self,
        ledger: &Ledger,
        numbers: &Numbers,
        show: &Show,
        now: Timestamp,
    ) -> Response<Payload> {
        dressed(self.view(ledger, numbers, show, now, html::page))
    }

    /// What of it changes.
    pub(super) fn fragment(
        &self,
        ledger: &Ledger,
        numbers: &Numbers,
        show: &Show,
        now: Timestamp,
    ) -> Response<Payload> {
        dressed(self.view(ledger, numbers, show, now, html::fragment))
    }

    fn view(
        &self,
        ledger: &Ledger,
        numbers: &Numbers,
        show: &Show,
        now: Timestamp,
        write: fn(&View<'_>) -> String,
    ) -> String {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.look(ledger, numbers, now);
        write(&View::new(ledger, numbers, show, &ring, now))
    }

    /// Closes a step whenever one is over, until `stop` is true. Steps begin at whole halves of minutes, so
    /// that days begin with one.
    pub(super) async fn remember(
        &self,
        ledger: &Shared,
        telemetry: &Telemetry,
        mut stop: watch::Receiver<bool>,
    ) {
        while !*stop.borrow_and_update() {
            tokio::select! {
                () = sleep(until_next(ledger.clock().now().wall)) => {}
                _ = stop.changed() => continue,
            }
            let numbers = telemetry.lock().clone();
            let ledger_now = ledger.clock().now();
            let ledger = ledger.lock();
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            ring.close(&ledger, &numbers, ledger_now);
        }
    }
}

fn dressed(body: String) -> Response<Payload> {
    let mut response = ok(HTML, body);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    response
}

/// How long it is until the next step begins. A timer that fires early makes no short step.
fn until_next(now: Timestamp) -> Duration {
    let step = i64::try_from(STEP.as_micros()).unwrap_or(i64::MAX);
    let left = step - now.0.rem_euclid(step);
    let wait = Duration::from_micros(u64::try_from(left).unwrap_or(0));
    if wait < STEP / 10 { wait + STEP } else { wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_begin_with_halves_of_minutes() {
        let wait = |micros| until_next(Timestamp(micros)).as_secs_f64();
        assert!((wait(0) - 30.0).abs() < 1e-9);
        assert!((wait(12_000_000) - 18.0).abs() < 1e-9);
        assert!((wait(29_999_000) - 30.001).abs() < 1e-9);
        assert!((wait(-1_000_000) - 31.0).abs() < 1e-9);
    }

    #[test]
    fn the_policy_names_the_style_and_the_script() {
        let policy = POLICY.to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(!html::SCRIPT.contains("</") && !html::STYLE.contains("</"));
    }
}
