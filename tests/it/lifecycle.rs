//! From the start to a drained end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::exporter::Launch;
use crate::support::runtime::{Answer, FakeRuntime};

#[test]
fn sigterm_ends_it_soon_whoever_is_connected() {
    let runtime = FakeRuntime::start();
    let state = TempDir::new().unwrap();
    let mut exporter = Launch::new(state.path()).runtime(&runtime.url()).start();
    exporter.wait_for("mozaiks_up", &[], 1.0);
    let _idle = TcpStream::connect(exporter.address()).unwrap();
    let mut half = TcpStream::connect(exporter.address()).unwrap();
    half.write_all(b"GET /metrics HTTP/1.1\r\nhost: half").unwrap();
    let begun = Instant::now();
    assert!(exporter.terminate().success());
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    assert_eq!(exporter.logged("stopped").len(), 1);
}

#[test]
fn a_second_instance_on_the_same_state_is_refused() {
    let state = TempDir::new().unwrap();
    let _first = Launch::new(state.path()).start();
    let (status, said) = Launch::new(state.path()).run_to_its_end();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("is in use by another mozaiks-exporter"), "{said}");
}

#[test]
fn without_configuration_it_says_where_it_looks() {
    let state = TempDir::new().unwrap();
    let exporter = Launch::new(state.path()).start();
    exporter.wait_for("mozaiks_up", &[("runtime", "127.0.0.1:8000")], 0.0);
    let looks = exporter.logged("polling the runtime (nothing else was configured)");
    assert_eq!(looks.len(), 1, "{:?}", exporter.log());
    let found = exporter.logged("runtime does not answer");
    assert_eq!(found[0]["extra"]["reason"], "connect");
}

#[test]
fn probes_tell_alive_from_ready_and_ready_from_well() {
    let state = TempDir::new().unwrap();
    let runtime = FakeRuntime::start();
    let exporter = Launch::new(state.path()).runtime(&runtime.url()).start();
    assert_eq!(exporter.get("/-/healthy").status, 200);
    exporter.wait_for("mozaiks_up", &[], 1.0);
    assert_eq!(exporter.get("/-/ready").status, 200);
    assert_eq!(exporter.get("/api/health").status, 200);
    runtime.script_everything(&Answer::detail(503, "gone"));
    exporter.wait_for("mozaiks_up", &[], 0.0);
    assert_eq!(exporter.get("/-/ready").status, 200, "it has been asked");
    let health = exporter.get("/api/health");
    assert_eq!((health.status, health.json()["status"].as_str()), (503, Some("not_ok")));
}

#[test]
fn several_requests_go_over_one_connection() {
    let state = TempDir::new().unwrap();
    let exporter = Launch::new(state.path()).start();
    let mut stream = TcpStream::connect(exporter.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /-/healthy HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut seen = Vec::new();
        let mut byte = [0; 1];
        while !seen.ends_with(b"is healthy\n") {
            stream.read_exact(&mut byte).unwrap();
            seen.extend(byte);
        }
        assert!(seen.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
}

#[test]
fn a_container_can_ask_the_binary_whether_it_is_well() {
    let state = TempDir::new().unwrap();
    let exporter = Launch::new(state.path()).start();
    let ask = |address: &str| {
        let probe = Launch::bare("healthcheck").flag("--web.listen-address", address);
        probe.run_to_its_end()
    };
    let address = exporter.address().to_string();
    assert!(ask(&address).0.success());
    drop(exporter);
    let (status, said) = ask(&address);
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(&format!("nobody answers at {address}")), "{said}");
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let probe = Launch::bare("healthcheck").flag("--web.listen-address", &address);
    let (status, said) = probe.flag("--timeout", "100ms").run_to_its_end();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(&format!("{address} did not answer within 100ms")), "{said}");
}
