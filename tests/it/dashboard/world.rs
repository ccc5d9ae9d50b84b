//! A busy world: everything that an exporter can hear of happens while a Prometheus with our rules
//! watches.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::board::rule_files;
use crate::support::chat::{Chat, now};
use crate::support::exporter::{Exporter, Launch, METRICS};
use crate::support::http;
use crate::support::mongo::Mongo;
use crate::support::prometheus::{Prometheus, Setup};
use crate::support::recorded::root;
use crate::support::runtime::FakeRuntime;
use crate::support::stored::{CHATS, by_change, new_chat, reading};
use crate::support::wait::{eventually, quiet_port};

/// The logs that somebody once wrote, line by line. With their last lines they begin anew.
const LOGS: [(&str, &str); 2] = [
    ("logs/production_json/mozaiks.log", "mozaiks.log"),
    ("ag2/ag2_runtime.log", "ag2_runtime.log"),
];

/// Lines of each log in each moment.
const LINES: usize = 10;

/// A runtime that tells by all ways at once, the demo beside it, and who watches both.
pub(super) struct World {
    runtime: FakeRuntime,
    mongo: Mongo,
    launch: Launch,
    exporter: Exporter,
    prometheus: Prometheus,
    logs: Vec<(Vec<String>, PathBuf)>,
    moments: usize,
    _demo: Exporter,
    _dir: TempDir,
}

impl World {
    pub(super) fn begin() -> Self {
        let dir = TempDir::new().unwrap();
        let runtime = FakeRuntime::start();
        let mongo = Mongo::start();
        by_change(&mongo, CHATS);
        let logs = LOGS.map(|(recorded, written)| {
            let lines = fs::read_to_string(root().join(recorded)).unwrap();
            let log = dir.path().join(written);
            fs::write(&log, "").unwrap();
            (lines.lines().map(str::to_owned).collect(), log)
        });
        let database = dir.path().join("ag2_runtime.db");
        fs::copy(root().join("ag2/ag2_runtime.db"), &database).unwrap();
        let launch = Launch::new(&dir.path().join("state"))
            .runtime(&runtime.url())
            // The same after a restart.
            .flag("--web.listen-address", format!("127.0.0.1:{}", quiet_port()))
            .flag("--logs.path", dir.path().join("mozaiks.log"))
            .flag("--ag2.path", dir.path().join("ag2_runtime.log"))
            .flag("--ag2.path", &database)
            .flag("--logs.introduction-wait", "1s")
            .flag("--mongodb.flush-interval", "1s");
        let launch = reading(launch, &mongo);
        let exporter = launch.clone().start();
        let demo_address = SocketAddr::from((Ipv4Addr::LOCALHOST, quiet_port()));
        let demo = Launch::bare("demo")
            .flag("--web.listen-address", demo_address.to_string())
            .flag("--speed", "4")
            .spawn();
        eventually("the demo serves metrics", || {
            let answer =
                http::get(demo_address, METRICS, &[]).map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
        });
        let prometheus = Prometheus::start_with(&Setup {
            targets: vec![exporter.address(), demo_address],
            itself: true,
            interval: "1s",
            job: "mozaiksai",
            rules: hasty(dir.path()),
        });
        prometheus.wait_for_a_scrape();
        Self {
            runtime,
            mongo,
            launch,
            exporter,
            prometheus,
            logs: logs.into(),
            moments: 0,
            _demo: demo,
            _dir: dir,
        }
    }

    /// Who watches.
    pub(super) fn prometheus(&self) -> &Prometheus {
        &self.prometheus
    }

    /// Lets a moment's worth of everything happen.
    pub(super) fn live_on(&mut self) {
        self.moments += 1;
        self.poll();
        self.log();
        self.push();
        self.store();
        if self.moments == 20 {
            self.exporter.kill();
            self.exporter = self.launch.clone().start();
        }
    }

    /// The routes: chats that go on, one that has ended, and now and then a new process.
    fn poll(&self) {
        let turns = self.moments as u64;
        let mut ended = Chat::new(&format!("ended-{}", self.moments / 4)).turns(2);
        ended.ended_at = Some(now());
        let chats = [Chat::new("polled").turns(turns), Chat::new("other").turns(2 * turns), ended];
        let mut world = self.runtime.world();
        world.hold(&chats);
        // Things that no runtime should say: the first costs a field, the second a chat.
        for (id, field, value) in
            [("odd", "last_turn_duration_sec", json!("soon")), ("bad", "agent_turns", json!(-4))]
        {
            let mut chat = Chat::new(id).turns(1).json();
            chat[field] = value;
            world.chats.push(chat);
        }
        if self.moments % 8 == 4 {
            world.created = now();
        }
    }

    fn log(&self) {
        for (lines, log) in &self.logs {
            let mut file = OpenOptions::new().append(true).open(log).unwrap();
            let from = (self.moments * LINES) % lines.len();
            for line in lines.iter().cycle().skip(from).take(LINES) {
                writeln!(file, "{line}").unwrap();
            }
        }
    }

    /// A chat in the database, and one that nobody can count with.
    fn store(&self) {
        let document = |id: &str| new_chat(&format!("{id}-{}", self.moments), "Archive", 100);
        let mut broken = document("broken");
        broken.insert("usage_prompt_tokens_final", "many");
        self.mongo.insert(CHATS, &[document("stored"), broken]);
    }

    /// Events of a chat that costs much, of one that ends, and one that nobody understands.
    fn push(&self) {
        let (dear, brief) = ("dear", format!("brief-{}", self.moments));
        let begin = |chat: &str| {
            json!({"event": "workflow_start", "chat_id": chat, "app_id": "acme",
                "workflow_name": "Generator", "user_id": "bob"})
        };
        let turn = |chat: &str, cost: f64| {
            json!({"event": "agent_turn", "chat_id": chat, "agent_name": "planner",
                "model": "gpt-4", "duration_sec": 2.5, "prompt_tokens": 1500,
                "completion_tokens": 800, "cost": cost})
        };
        let call = |success: bool| {
            json!({"event": "tool_call", "chat_id": dear, "tool_name": "search",
                "success": success, "duration_sec": 0.2})
        };
        let model = json!({"event": "usage_delta", "chat_id": dear, "agent_name": "planner",
            "model": "gpt-4", "prompt_tokens": 10, "completion_tokens": 5, "cost": 0.01,
            "duration_sec": 1.5});
        let events = json!([
            begin(dear), turn(dear, 60.0), call(true), call(false), model,
            begin(&brief), turn(&brief, 0.05),
            {"event": "workflow_end", "chat_id": brief, "success": true},
            {"event": "unheard-of"},
        ]);
        let answer = self.exporter.push("/api/v1/events", &events);
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

/// Our rules, but they are evaluated at once and alerts do not wait: a test has no hour.
pub(super) fn hasty(dir: &Path) -> Vec<PathBuf> {
    let hurry = |line: &str| match line.trim_start().split_once(": ") {
        Some(("for", _)) => line.replace(line.trim_start(), "for: 0s"),
        Some(("interval", _)) => line.replace(line.trim_start(), "interval: 1s"),
        _ => line.to_owned(),
    };
    let files = rule_files();
    let hurried = files.iter().map(|file| {
        let text = fs::read_to_string(file).unwrap();
        let copy = dir.join(file.file_name().unwrap());
        fs::write(&copy, text.lines().map(hurry).collect::<Vec<_>>().join("\n")).unwrap();
        copy
    });
    hurried.collect()
}

/// How long a moment lasts.
pub(super) const MOMENT: Duration = Duration::from_millis(500);
