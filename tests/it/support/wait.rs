//! Waiting for other processes: by looking again until a deadline, never for a fixed time.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// Within this, what is bound to happen has happened, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Sleeps.
#[expect(clippy::disallowed_methods, reason = "tests wait for other processes, not for tasks")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Probes until it succeeds, and fails with the probe's last word after [`SOON`].
pub(crate) fn eventually<T>(what: &str, probe: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(SOON, what, probe)
}

/// As [`eventually`], with a deadline of its own.
pub(crate) fn eventually_within<T>(
    within: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match probe() {
            Ok(value) => return value,
            Err(last) => assert!(Instant::now() < deadline, "{what}: {last}"),
        }
        pause(Duration::from_millis(20));
    }
}

/// A port that is free now, below the range from which the system takes ports for connections,
/// so that it is still free when a process that was killed wants it again.
pub(crate) fn quiet_port() -> u16 {
    loop {
        let port = fastrand::u16(15_000..30_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
