//! A real browser that looks at a page of ours, by a script that does what it is told.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::tools::{missing, python};

/// A browser with the page open.
pub(crate) struct Browser {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Browser {
    /// Opens the page; pictures go to that folder.
    pub(crate) fn open(url: &str, pictures: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/status_page.py");
        let mut child = Command::new(python())
            .arg("-B")
            .arg(script)
            .args([url.as_ref(), pictures.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}", missing("the Python environment", &error)));
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, orders, answers }
    }

    /// Lets the script do something, and returns what it saw.
    pub(crate) fn ask(&mut self, order: &str) -> Value {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "the browser's script ended at «{order}»; see above");
        serde_json::from_str(&answer).unwrap()
    }

    /// Ends it.
    pub(crate) fn close(mut self) {
        self.orders = None;
        let status = self.child.wait().unwrap();
        assert!(status.success(), "the browser's script ended with {status}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends the browser when nothing more can be asked.
        self.orders = None;
        drop(self.child.wait());
    }
}
