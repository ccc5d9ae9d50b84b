//! Those who push too much, too slowly, or nothing at all: bounded, and nobody else waits for them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::receive::{DESK, EVENTS, end, launch, start, turn};
use crate::support::wait::eventually;

#[test]
fn idle_slow_and_vanishing_clients_keep_nobody_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = launch(dir.path()).start();
    let address = exporter.control();
    let idle: Vec<_> = (0..1000).map(|_| TcpStream::connect(address).unwrap()).collect();
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: 500\r\n\r\n{{\"event\":"
    );
    let mut slow: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in &mut slow {
        stream.write_all(head.as_bytes()).unwrap();
    }
    // These go away in mid-body.
    drop(slow.split_off(10));
    assert_eq!(exporter.push(EVENTS, &start("c")).status, 202);
    let mut answer = String::new();
    slow[0].set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    slow[0].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    drop(idle);
    exporter.wait_for("mozaiks_workflow_starts_total", &DESK, 1.0);
}

#[test]
fn who_comes_while_too_much_is_held_is_told_to_come_again() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = launch(dir.path()).start();
    // None of them is complete. Together they fill what may be held, to the last corner.
    let sizes = [(8 << 20, 9), (1 << 20, 10), (64 << 10, 20), (4 << 10, 30)];
    let mut held = Vec::new();
    for (size, number) in sizes {
        for _ in 0..number {
            let mut stream = TcpStream::connect(exporter.control()).unwrap();
            let head = format!(
                "POST {EVENTS} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 content-length: {size}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            // The one that is too much is refused before it is all sent; nobody else is answered. Who
            // comes next must not get the room that this one is about to take.
            drop(stream.write_all(&vec![b' '; size - 1]));
            stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            drop(stream.read(&mut [0; 512]));
            held.push(stream);
        }
    }
    let refused = eventually("there is no room", || match exporter.push(EVENTS, &start("c")) {
        refused if refused.status == 429 => Ok(refused),
        other => Err(other.text()),
    });
    assert_eq!(refused.header("retry-after"), Some("1"));
    drop(held);
    eventually("there is room again", || match exporter.push(EVENTS, &start("c")).status {
        202 => Ok(()),
        status => Err(status.to_string()),
    });
}

#[test]
fn names_without_end_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let exporter = launch(dir.path()).flag("--chat.max-series", "4000").start();
    let long = "x".repeat(1 << 20);
    assert_eq!(exporter.push(EVENTS, &start(&long)).status, 202);
    for hundred in 0..20 {
        let turns: Vec<Value> = (0..5_000)
            .map(|n| {
                let mut turn = turn("c");
                turn["agent_name"] = json!(format!("agent-{hundred}-{n}"));
                turn["app_id"] = json!("acme");
                turn["workflow_name"] = json!("Desk");
                turn
            })
            .collect();
        assert_eq!(exporter.push(EVENTS, &json!(turns)).json()["accepted"], 5_000);
    }
    let shown = exporter.scrape();
    exporter.wait_for("mozaiks_workflow_agent_turns_total", &DESK, 100_000.0);
    assert!(shown.sum("mozaiks_agent_turns_total", &DESK) <= 100_000.0);
    let other = [("agent_name", "_other")];
    exporter.wait_for_value("mozaiks_exporter_series", &[], |n| n.is_some_and(|n| n < 4_500.0));
    assert!(exporter.scrape().sum("mozaiks_agent_turns_total", &other) > 90_000.0);
}

#[test]
fn chats_without_end_are_bounded_and_what_they_came_to_stays() {
    let dir = tempfile::tempdir().unwrap();
    // A hundred chats have series, and a thousand are remembered.
    let mut exporter = launch(dir.path()).flag("--chat.max-series", "1000").start();
    for hundred in 0..50 {
        let chats = (0..100).map(|n| format!("chat-{hundred}-{n}"));
        let events: Vec<Value> =
            chats.flat_map(|chat| [start(&chat), turn(&chat), end(&chat, true)]).collect();
        assert_eq!(exporter.push(EVENTS, &json!(events)).json()["accepted"], 300);
    }
    let forgotten = "mozaiks_exporter_pushed_chats_forgotten_total";
    exporter.wait_for_value(forgotten, &[], |number| number >= Some(3_899.0));
    let is_whole = |exporter: &crate::support::exporter::Exporter| {
        for family in ["starts", "agent_turns", "ends"] {
            eventually(family, || {
                let name = format!("mozaiks_workflow_{family}_total");
                let sum = exporter.scrape().sum(&name, &DESK);
                if sum == 5_000.0 { Ok(()) } else { Err(sum.to_string()) }
            });
        }
    };
    is_whole(&exporter);
    exporter.kill();
    let exporter = launch(dir.path()).flag("--chat.max-series", "1000").start();
    is_whole(&exporter);
    exporter.wait_for_value(forgotten, &[], |number| number >= Some(3_899.0));
}
