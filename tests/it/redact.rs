//! The `redact` command: a filter in a pipe.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

fn spawn() -> Child {
    Command::new(env!("CARGO_BIN_EXE_mozaiks-exporter"))
        .arg("redact")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn lines_come_out_while_the_input_waits() {
    let mut child = spawn();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    for _ in 0..3 {
        input.write_all(b"OPENAI_API_KEY=sk-proj1234...abcd\nnot yet: passw").unwrap();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "OPENAI_API_KEY=sk-p***abcd\n");
        input.write_all(b"ord=x\n").unwrap();
        line.clear();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "not yet: password=***\n");
        line.clear();
    }
    input.write_all(b"token=last without an end").unwrap();
    drop(input);
    output.read_to_string(&mut line).unwrap();
    assert_eq!(line, "token=*** without an end");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_goes_ends_it_quietly() {
    let mut child = spawn();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    // More than pipes hold, so that it must write while nobody reads.
    let told = input.write_all(&b"password=x\n".repeat(1 << 20));
    assert!(told.is_err(), "it has ended before everything was read");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn passwords_on_the_command_line_are_not_echoed() {
    for args in [
        &["--runtime.url", "ftp://user:hunter2@host"][..],
        &["--runtime.url", "http://u:hunter2@[host"],
        &["--log.level", "http://u:hunter2@host"],
        &["serve", "--web.listen-address", "redis://:hunter2@host"],
    ] {
        let output =
            Command::new(env!("CARGO_BIN_EXE_mozaiks-exporter")).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains("***") || said.contains("user name and password"), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn help_is_as_it_was_written() {
    let help = Command::new(env!("CARGO_BIN_EXE_mozaiks-exporter")).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    assert!(help.contains("--runtime.token-file <FILE>") && !help.contains("***"), "{help}");
}
