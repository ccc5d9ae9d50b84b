//! CPU time, memory and wake-ups, of this process and of others.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU seconds of this process so far. Threads that an engine may use are part of its price.
pub(crate) fn own() -> f64 {
    Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap()).as_secs_f64()
}

/// CPU seconds of another process so far, all threads that it ever had included; to the nanosecond,
/// where `/proc` has steps of ten milliseconds.
pub(crate) fn of(pid: u32) -> f64 {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap());
    Duration::from(clock_getcpuclockid(pid).and_then(clock_gettime).unwrap()).as_secs_f64()
}

/// CPU seconds of what is done, and what comes of it.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = own();
    let result = work();
    (own() - before, result)
}

/// A number of `/proc/PID/status` in bytes.
fn status(pid: &str, key: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_matches([':', '\t', ' ', 'k', 'B']).trim().parse::<f64>().unwrap() * 1024.0
}

/// Resident memory of a process in bytes.
pub(crate) fn rss(pid: u32) -> f64 {
    status(&pid.to_string(), "VmRSS")
}

/// The most that it ever was, or since [`forget_peak`].
pub(crate) fn peak(pid: u32) -> f64 {
    status(&pid.to_string(), "VmHWM")
}

/// Resident memory of this process in bytes.
pub(crate) fn own_rss() -> f64 {
    status("self", "VmRSS")
}

/// The most that it ever was.
pub(crate) fn own_peak() -> f64 {
    status("self", "VmHWM")
}

/// Lets a process' peak begin anew.
pub(crate) fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

/// How often the threads of a process went to sleep by themselves: each time, something woke them.
#[derive(Debug, Default)]
pub(crate) struct Switches(BTreeMap<String, u64>);

impl Switches {
    /// Looks at the threads that are there. Those that come and go between two looks are missed.
    pub(crate) fn look(&mut self, pid: u32) {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
        for thread in threads.flatten() {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            let count = status.lines().find_map(|line| {
                line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok()
            });
            if let Some(count) = count {
                self.0.insert(thread.file_name().to_string_lossy().into_owned(), count);
            }
        }
    }

    /// All of them so far.
    pub(crate) fn sum(&self) -> u64 {
        self.0.values().sum()
    }
}
