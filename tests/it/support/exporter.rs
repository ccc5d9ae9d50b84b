//! The built binary as a process.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::exposition::Exposition;
use super::http::{self, Response};
use super::wait::{eventually, eventually_within};

/// Where Prometheus finds the metrics.
pub(crate) const METRICS: &str = "/metrics/prometheus";

/// How the binary is started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    file_limit_kib: Option<u32>,
    sockets: Vec<OsString>,
}

impl Launch {
    /// `serve` as the tests like it: state in that directory, any port, quick polls, JSON logs.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self::bare("serve")
            .flag("--state-dir", state_dir)
            .flag("--log.format", "json")
            .flag("--runtime.poll-interval", "200ms")
    }

    /// A command without any flag.
    pub(crate) fn bare(command: &str) -> Self {
        Self {
            args: vec![command.into()],
            env: Vec::new(),
            file_limit_kib: None,
            sockets: Vec::new(),
        }
    }

    /// Polls that runtime.
    pub(crate) fn runtime(self, url: &str) -> Self {
        self.flag("--runtime.url", url)
    }

    /// Gives a flag; the last one of a name stands, unless the flag may be given many times.
    pub(crate) fn flag(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let given = self.args.iter().position(|arg| arg == name);
        match given.filter(|_| !["--runtime.url", "--ag2.path"].contains(&name)) {
            Some(index) => value.as_ref().clone_into(&mut self.args[index + 1]),
            None => self.args.extend([name.into(), value.as_ref().to_owned()]),
        }
        self
    }

    /// Sets a variable of its otherwise empty environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Lets no file of it grow beyond that, as if the disk were full.
    pub(crate) fn file_limit_kib(mut self, limit: u32) -> Self {
        self.file_limit_kib = Some(limit);
        self
    }

    /// Hands a socket over, `NAME=PORT` or `NAME=PATH`, as the service manager does.
    pub(crate) fn hand_over(mut self, socket: impl Into<OsString>) -> Self {
        self.sockets.push(socket.into());
        self
    }

    /// The program to run: the binary, or a shell that becomes it once the limit is set. The signal
    /// that goes with the limit is ignored, so that writing fails as on a full disk.
    fn program(&self) -> Command {
        let binary = env!("CARGO_BIN_EXE_mozaiks-exporter");
        if !self.sockets.is_empty() {
            let script = "tests/tools/socket_activation.py";
            let mut manager = Command::new("python3");
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
            manager.arg(script).args(&self.sockets).args(["--", binary]);
            return manager;
        }
        let Some(limit) = self.file_limit_kib else { return Command::new(binary) };
        let mut shell = Command::new("bash");
        let script = format!("trap '' XFSZ; ulimit -S -f {limit}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, binary]);
        shell
    }

    /// Starts it and goes on at once.
    pub(crate) fn spawn(self) -> Exporter {
        let serves = self.args[0] == "serve";
        let mut this = self;
        for (flag, wanted) in [("--web.listen-address", true), ("--control.listen-address", serves)]
        {
            if wanted && !this.args.iter().any(|arg| arg == flag) {
                this = this.flag(flag, "127.0.0.1:0");
            }
        }
        let mut child = this
            .program()
            .args(&this.args)
            .env_clear()
            .envs(this.env)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let lines = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Exporter { child, log, reader: Some(reader), address: None }
    }

    /// Starts it and waits until it listens.
    pub(crate) fn start(self) -> Exporter {
        let mut exporter = self.spawn();
        exporter.wait_until_it_listens();
        exporter
    }

    /// Starts it and waits until it ends by itself. Returns how, and what it said.
    pub(crate) fn run_to_its_end(self) -> (ExitStatus, String) {
        let mut exporter = self.spawn();
        let status = exporter.wait_for_its_end();
        (status, exporter.log().join("\n"))
    }
}

/// A process of the exporter. It is killed when this is dropped, and must never have panicked.
pub(crate) struct Exporter {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<std::thread::JoinHandle<()>>,
    address: Option<SocketAddr>,
}

impl Exporter {
    /// Waits for the line that says where the metrics are.
    pub(crate) fn wait_until_it_listens(&mut self) {
        let address = eventually("the exporter listens", || {
            let ready = self.logged("metrics listener ready");
            let address = ready.first().and_then(|line| line["extra"]["address"].as_str());
            match address.and_then(|address| address.parse().ok()) {
                Some(address) => Ok(address),
                None => match self.child.try_wait().unwrap() {
                    // No use in waiting on, but a probe cannot say so.
                    Some(status) => panic!("it ended with {status}: {}", self.log().join("\n")),
                    None => Err(self.log().join("\n")),
                },
            }
        });
        self.address = Some(address);
    }

    /// The metrics listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.unwrap()
    }

    /// The control listener.
    pub(crate) fn control(&self) -> SocketAddr {
        let ready = self.logged("control listener ready");
        ready[0]["extra"]["address"].as_str().unwrap().parse().unwrap()
    }

    /// Pushes JSON to the control listener.
    pub(crate) fn push(&self, path: &str, body: &Value) -> Response {
        self.push_with(path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// Pushes bytes to the control listener.
    pub(crate) fn push_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        http::post(self.control(), path, headers, body).unwrap()
    }

    /// All it has written to standard error.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The lines of its log with that message.
    pub(crate) fn logged(&self, msg: &str) -> Vec<Value> {
        self.log()
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| line["msg"] == msg)
            .collect()
    }

    /// Asks the metrics listener.
    pub(crate) fn get(&self, target: &str) -> Response {
        self.get_with(target, &[])
    }

    /// Asks the metrics listener with headers.
    pub(crate) fn get_with(&self, target: &str, headers: &[(&str, &str)]) -> Response {
        http::get(self.address(), target, headers).unwrap()
    }

    /// Scrapes it as somebody at a shell would.
    pub(crate) fn scrape(&self) -> Exposition {
        self.try_scrape().unwrap()
    }

    /// As [`Exporter::scrape`], where it may not be there.
    pub(crate) fn try_scrape(&self) -> io::Result<Exposition> {
        let response = http::get(self.address(), METRICS, &[])?;
        assert_eq!(response.status, 200, "{}", response.text());
        Ok(Exposition::parse(&response.text()))
    }

    /// Waits until one series has that value.
    pub(crate) fn wait_for(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.wait_for_value(name, labels, |found| found == Some(value));
    }

    /// Waits until the value of one series, or its absence, is as wanted.
    pub(crate) fn wait_for_value(
        &self,
        name: &str,
        labels: &[(&str, &str)],
        wanted: impl Fn(Option<f64>) -> bool,
    ) {
        eventually(&format!("{name}{labels:?}"), || {
            let value = self.scrape().value(name, labels);
            if wanted(value) { Ok(()) } else { Err(format!("is {value:?}\n{}", self.tail())) }
        });
    }

    fn tail(&self) -> String {
        let log = self.log();
        log[log.len().saturating_sub(8)..].join("\n")
    }

    /// Ends it with no chance to say goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_for_its_end()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// What it has used of the CPU, in ticks of the kernel: hundredths of a second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name of the program may hold anything; what follows it are numbers.
        let numbers: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        [11, 12].map(|field: usize| numbers[field].parse::<u64>().unwrap()).iter().sum()
    }

    /// Takes back [`Launch::file_limit_kib`].
    pub(crate) fn lift_file_limit(&self) {
        let pid = self.child.id().to_string();
        let lifted = Command::new("prlimit").args(["--pid", &pid, "--fsize=unlimited"]).status();
        assert!(lifted.unwrap().success());
    }

    /// Waits until it has ended by itself and everything that it said was read.
    pub(crate) fn wait_for_its_end(&mut self) -> ExitStatus {
        let status = eventually_within(Duration::from_secs(15), "the exporter ends", || {
            self.child.try_wait().unwrap().ok_or_else(|| self.tail())
        });
        self.reader.take().unwrap().join().unwrap();
        status
    }
}

impl Drop for Exporter {
    #[expect(clippy::print_stderr, reason = "what it said is the first thing one wants to know")]
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        let panicked = self.log().iter().any(|line| line.contains("panicked"));
        if std::thread::panicking() {
            eprintln!("the exporter's log ends with:\n{}", self.tail());
        } else {
            assert!(!panicked, "the exporter panicked: {}", self.log().join("\n"));
        }
    }
}
