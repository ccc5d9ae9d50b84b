//! Processes that are measured from outside, and that are ended with what started them.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cpu;
use super::http::{Client, Reply};
use super::results::build_folder;

/// Nothing that is waited for takes longer than this.
const LONGEST: Duration = Duration::from_mins(10);
/// A process that uses less CPU than this for as long as [`STILL`] has nothing to do.
const NOTHING: f64 = 0.001;
const STILL: Duration = Duration::from_millis(250);

/// A process with a port.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    /// Starts it and waits until it takes connections.
    pub(crate) fn start(command: &mut Command, address: SocketAddr) -> Option<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { child: child.spawn().ok()?, address };
        wait(|| Client::connect(address).ok());
        Some(server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds so far.
    pub(crate) fn cpu(&self) -> f64 {
        cpu::of(self.pid())
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// Waits until it has nothing to do.
    pub(crate) fn settle(&self) {
        let end = Instant::now() + LONGEST;
        let mut last = self.cpu();
        while Instant::now() < end {
            std::thread::sleep(STILL);
            let now = self.cpu();
            if now - last < NOTHING {
                return;
            }
            last = now;
        }
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn stop(mut self) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), Signal::SIGTERM).unwrap();
        self.child.wait().unwrap();
    }
}

/// The exporter's release binary.
#[derive(Debug)]
pub(crate) struct Exporter {
    pub(crate) server: Server,
    /// Where it takes what is pushed.
    pub(crate) control: SocketAddr,
}

impl Exporter {
    /// Starts it with these flags.
    pub(crate) fn start(state: &Path, flags: &[String]) -> Self {
        let (web, control) = (free_address(), free_address());
        let mut command = Command::new(binary());
        // What stands in the environment of whoever measures is not measured.
        command.env_clear().args(flags).arg("--state-dir").arg(state);
        command.args(["--web.listen-address", &web.to_string()]);
        command.args(["--control.listen-address", &control.to_string()]);
        command.args(["--log.level", "error"]);
        Self { server: Server::start(&mut command, web).unwrap(), control }
    }

    /// The exposition.
    pub(crate) fn scrape(&self, gzip: bool) -> Reply {
        let headers = if gzip { "accept-encoding: gzip\r\n" } else { "" };
        self.server.client().get("/metrics", headers).unwrap()
    }

    /// Sums of the exporter's samples by name, labels left out.
    pub(crate) fn samples(&self) -> BTreeMap<String, f64> {
        let text = String::from_utf8(self.scrape(false).body).unwrap();
        let mut sums = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            *sums.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap();
        }
        sums
    }
}

/// The binary that is measured: what `cargo build --release` makes.
pub(crate) fn binary() -> std::path::PathBuf {
    let path = build_folder().join("mozaiks-exporter");
    assert!(path.exists(), "{} is not there: cargo build --release", path.display());
    path
}

/// A port of loopback that nobody has.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Waits until there is something.
pub(crate) fn wait<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LONGEST;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < end, "waited for too long");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Flags from words.
pub(crate) fn flags(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
