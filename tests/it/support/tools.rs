//! Programs of others that judge our output. `tests/run` installs them.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// Says what `promtool check metrics` has to say: whether it agrees, and its complaints.
pub(crate) fn promtool_check_metrics(text: &str) -> (bool, Vec<String>) {
    let output = feed(Command::new("promtool").args(["check", "metrics"]), "promtool", text);
    let complaints = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), complaints.lines().map(str::to_owned).collect())
}

/// Lets `promtool` make blocks of samples with timestamps. Returns what it said if it refused.
///
/// It reads all samples anew for each block, so there are few: each has two months.
pub(crate) fn make_blocks(samples: &Path, blocks: &Path) -> Result<(), String> {
    let output = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "--max-block-duration=1458h", "openmetrics"])
        .args([samples, blocks])
        .output()
        .unwrap_or_else(|error| panic!("{}", missing("promtool", &error)));
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Reads OpenMetrics by the strict parser of Python's prometheus-client. Returns its families:
/// `[{"name", "type", "samples": [{"name", "labels", "value"}]}]`, or what it refused.
pub(crate) fn strict_openmetrics(text: &str) -> Result<Value, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/openmetrics.py");
    let output = feed(Command::new(python()).arg(script), "the Python environment", text);
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Runs a script of `tests/python` with arguments. Returns what it printed, or what it complained of.
pub(crate) fn python_script(script: &str, args: &[&str]) -> Result<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let mut command = Command::new(python());
    command.arg("-B").arg(folder.join(script)).args(args);
    said(&mut command)
}

/// Tries the operations with that tag by schemathesis: made-up requests, good and bad. Returns its
/// summary, or all that it said if it found something.
pub(crate) fn schemathesis(address: SocketAddr, tag: &str) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = root.join("tests/python");
    let mut command = Command::new(tools().join("venv/bin/schemathesis"));
    command
        .env("PYTHONPATH", &folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SCHEMATHESIS_HOOKS", "api_hooks")
        .arg("--config-file")
        .arg(folder.join("schemathesis.toml"))
        .arg("run")
        .arg(root.join("src/server/openapi.json"))
        .args(["--url", &format!("http://{address}"), "--include-tag", tag])
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing"])
        // Always the same requests, so that a failure can be had again.
        .args(["--seed", "1", "--max-examples", "60", "--generation-deterministic"])
        .args(["--continue-on-failure", "--no-color", "--request-timeout", "20"])
        // It keeps what it found in its own folder; nothing is to be left in ours.
        .current_dir(env!("CARGO_TARGET_TMPDIR"));
    said(&mut command)
}

fn said(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}", missing("the Python environment", &error)));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    Err(printed + &String::from_utf8_lossy(&output.stderr))
}

/// The Python that `tests/run` sets up.
pub(crate) fn python() -> PathBuf {
    tools().join("venv/bin/python")
}

/// Where `tests/run` puts what no package manager keeps: beside what cargo builds.
pub(crate) fn tools() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("tools")
}

/// The sentence for a tool that is not there.
pub(crate) fn missing(tool: &str, error: &std::io::Error) -> String {
    format!("cannot run {tool} ({error}); `tests/run` installs what the tests need")
}

fn feed(command: &mut Command, tool: &str, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}", missing(tool, &error)));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}
