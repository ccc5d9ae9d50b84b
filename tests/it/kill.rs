//! The exporter is killed again and again, at any moment, while the runtime goes on. Whoever
//! scrapes it keeps every sample, and no counter ever goes down; at the end the totals are true.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use tempfile::TempDir;

use crate::support::chat::{Chat, count, dollars, now};
use crate::support::exporter::{Exporter, Launch, METRICS};
use crate::support::exposition::Exposition;
use crate::support::http;
use crate::support::recorded::is_exact;
use crate::support::runtime::FakeRuntime;
use crate::support::wait::{eventually, pause, quiet_port};

/// How often the process is killed, unless `MOZAIKS_TEST_KILLS` says otherwise.
const KILLS: u32 = 100;
/// The shortest and the longest life in milliseconds.
const LIFE: std::ops::RangeInclusive<u64> = 50..=600;
/// Once in so many lives the runtime restarts as well.
const LIVES_PER_RUNTIME: u32 = 8;
/// Chats that the runtime runs at once.
const CHATS: usize = 12;
/// The runtime's time begins this much before ours, so that its restarts can lie apart.
const HEAD_START: chrono::Duration = chrono::Duration::hours(48);
const BETWEEN_RESTARTS: chrono::Duration = chrono::Duration::minutes(1);

/// What the chats have really done.
type Figures = [u64; 6];

const FAMILIES: [&str; 6] = [
    "mozaiks_chat_agent_turns_total",
    "mozaiks_chat_tool_calls_total",
    "mozaiks_chat_errors_total",
    "mozaiks_chat_prompt_tokens_total",
    "mozaiks_chat_completion_tokens_total",
    "mozaiks_chat_cost_usd_total",
];

fn figures(chat: &Chat) -> Figures {
    [
        chat.turns,
        chat.tool_calls,
        chat.errors,
        chat.prompt_tokens,
        chat.completion_tokens,
        chat.cost_micros,
    ]
}

/// The runtime's inner life, and the books about it that no restart closes.
struct Life {
    rng: Rng,
    chats: Vec<Chat>,
    past: BTreeMap<String, Figures>,
    made: usize,
    restarts: u32,
    created: chrono::DateTime<chrono::Utc>,
}

impl Life {
    fn new(rng: Rng) -> Self {
        let created = now() - HEAD_START;
        Self { rng, chats: Vec::new(), past: BTreeMap::new(), made: 0, restarts: 0, created }
    }

    fn time(&self) -> chrono::DateTime<chrono::Utc> {
        now() - HEAD_START + BETWEEN_RESTARTS * i32::try_from(self.restarts).unwrap()
    }

    /// A few milliseconds of work.
    fn advance(&mut self) {
        let time = self.time();
        let running = self.chats.iter().filter(|chat| chat.ended_at.is_none()).count();
        if running < CHATS && self.rng.u8(..) < 40 {
            let n = self.made;
            self.made += 1;
            let mut chat = Chat::new(&format!("chat-{n}"));
            chat.app = format!("app-{}", n % 3);
            chat.workflow = format!("workflow-{}", n % 4);
            chat.user = format!("user-{}", n % 5);
            chat.started_at = time;
            self.chats.push(chat);
        }
        if self.chats.is_empty() {
            return;
        }
        for _ in 0..3 {
            let index = self.rng.usize(..self.chats.len());
            let chat = &mut self.chats[index];
            // Now and then one is used again after its end.
            if chat.ended_at.is_some() && self.rng.u8(..) > 5 {
                continue;
            }
            chat.turns += self.rng.u64(..3);
            let tools = self.rng.u64(..3);
            chat.tool_calls += tools;
            chat.errors += if tools == 2 { self.rng.u64(..2) } else { 0 };
            chat.prompt_tokens += self.rng.u64(..4000);
            chat.completion_tokens += self.rng.u64(..700);
            chat.cost_micros += self.rng.u64(..30_000);
            chat.last_turn = Some(self.rng.f64() * 4.0);
            if self.rng.u16(..1000) < 4 {
                chat.ended_at = Some(time);
            }
        }
    }

    /// A new process: it knows of nothing, and some chats come back to it.
    fn restart(&mut self) {
        self.past = self.truth();
        self.restarts += 1;
        self.created = self.time();
        let time = self.created;
        self.chats.retain(|chat| chat.ended_at.is_none());
        self.chats.truncate(CHATS / 2);
        for chat in &mut self.chats {
            let keep = chat.clone();
            *chat = Chat::new(&keep.id);
            chat.app = keep.app;
            chat.workflow = keep.workflow;
            chat.user = keep.user;
            chat.started_at = time;
        }
    }

    /// What each chat has done in all its lives.
    fn truth(&self) -> BTreeMap<String, Figures> {
        let mut truth = self.past.clone();
        for chat in &self.chats {
            let sum = truth.entry(chat.id.clone()).or_default();
            for (sum, figure) in sum.iter_mut().zip(figures(chat)) {
                *sum += figure;
            }
        }
        truth
    }

    fn show(&self, runtime: &FakeRuntime) {
        let mut world = runtime.world();
        world.created = self.created;
        world.clock = Some(self.time());
        world.hold(&self.chats);
    }
}

fn compare(found: &Exposition, truth: &BTreeMap<String, Figures>) -> Result<(), String> {
    let mut total = [0.0; 6];
    for (index, family) in FAMILIES.iter().enumerate() {
        for (chat, figures) in truth {
            let true_value = value(figures, index);
            total[index] += true_value;
            match found.value(family, &[("chat_id", chat)]) {
                Some(value) if is_exact(value, true_value) => {}
                other => return Err(format!("{family} of {chat}: {other:?}, not {true_value}")),
            }
        }
        let chats = found.all(family, &[]).count();
        if chats != truth.len() {
            return Err(format!("{family} has {chats} chats, not {}", truth.len()));
        }
        let workflows = family.replace("_chat_", "_workflow_");
        let sum = found.sum(&workflows, &[]);
        if !is_exact(sum, total[index]) {
            return Err(format!("{workflows} adds up to {sum}, not {}", total[index]));
        }
    }
    let tokens = found.sum("mozaiks_user_tokens_total", &[]);
    if !is_exact(tokens, total[3] + total[4]) {
        return Err(format!("users spent {tokens} tokens, not {}", total[3] + total[4]));
    }
    let cost = found.sum("mozaiks_user_cost_usd_total", &[]);
    if is_exact(cost, total[5]) { Ok(()) } else { Err(format!("users spent ${cost}")) }
}

fn value(figures: &Figures, index: usize) -> f64 {
    if index == 5 { dollars(figures[5]) } else { count(figures[index]) }
}

/// Keeps every sample of every counter that it ever sees.
#[derive(Debug, Default)]
struct Witness {
    last: HashMap<String, f64>,
    scrapes: u64,
    samples: u64,
    falls: Vec<String>,
}

impl Witness {
    fn see(&mut self, exposition: &Exposition) {
        self.scrapes += 1;
        for sample in &exposition.samples {
            let ends = ["_total", "_count", "_sum", "_bucket"];
            let counts = ends.iter().any(|end| sample.name.ends_with(end))
                && sample.name.starts_with("mozaiks")
                && !sample.name.starts_with("mozaiks_exporter_");
            if !counts {
                continue;
            }
            self.samples += 1;
            let key = format!("{}{:?}", sample.name, sample.labels);
            let before = self.last.insert(key.clone(), sample.value);
            if let Some(before) = before.filter(|before| *before > sample.value) {
                self.falls.push(format!("{key} fell from {before} to {}", sample.value));
            }
        }
    }
}

/// Scrapes as fast as it can, as Prometheus would, until it is told to stop.
fn watch(address: SocketAddr, witness: &Mutex<Witness>, stop: &AtomicBool) {
    let headers = [("user-agent", "witness"), ("x-prometheus-scrape-timeout-seconds", "1")];
    while !stop.load(Ordering::Relaxed) {
        // The exporter is often not there, or dies in the middle of its answer.
        if let Ok(response) = http::get(address, METRICS, &headers)
            && response.status == 200
        {
            let exposition = Exposition::parse(&response.text());
            witness.lock().unwrap_or_else(PoisonError::into_inner).see(&exposition);
        }
        pause(Duration::from_millis(20));
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the figures are part of what is to be shown")]
fn no_counter_goes_down_however_often_the_exporter_is_killed() {
    let setting = |name: &str| std::env::var(name).ok();
    let kills = setting("MOZAIKS_TEST_KILLS").map_or(KILLS, |n| n.parse().unwrap());
    let seed = setting("MOZAIKS_TEST_SEED").map_or(20_261_122, |n| n.parse().unwrap());
    let began = Instant::now();
    let mut rng = Rng::with_seed(seed);

    let mut life = Life::new(rng.fork());
    for _ in 0..200 {
        life.advance();
    }
    let runtime = Arc::new(FakeRuntime::start());
    life.show(&runtime);
    let life = Arc::new(Mutex::new(life));
    let witness = Arc::new(Mutex::new(Witness::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, quiet_port()));

    let driver = std::thread::spawn({
        let (life, runtime, stop) = (Arc::clone(&life), Arc::clone(&runtime), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                let mut life = life.lock().unwrap_or_else(PoisonError::into_inner);
                life.advance();
                life.show(&runtime);
                drop(life);
                pause(Duration::from_millis(5));
            }
        }
    });
    let watcher = std::thread::spawn({
        let (witness, stop) = (Arc::clone(&witness), Arc::clone(&stop));
        move || watch(address, &witness, &stop)
    });

    let dir = TempDir::new().unwrap();
    let launch = Launch::new(dir.path())
        .runtime(&runtime.url())
        .flag("--runtime.poll-interval", "50ms")
        .flag("--web.listen-address", address.to_string());
    let settle = |exporter: &mut Exporter, life: &Life| {
        exporter.wait_until_it_listens();
        let truth = life.truth();
        eventually("the totals are true", || match exporter.try_scrape() {
            Ok(exposition) => compare(&exposition, &truth),
            Err(error) => Err(error.to_string()),
        });
    };
    for _ in 0..kills {
        let mut exporter = launch.clone().spawn();
        pause(Duration::from_millis(rng.u64(LIFE)));
        if rng.u32(..LIVES_PER_RUNTIME) == 0 {
            // What nobody polled before the runtime's end is lost to all, so nothing is left
            // unpolled; the restart itself then falls into this life or between two.
            let mut life = life.lock().unwrap_or_else(PoisonError::into_inner);
            settle(&mut exporter, &life);
            if rng.bool() {
                exporter.kill();
            }
            life.restart();
            life.show(&runtime);
            drop(life);
            pause(Duration::from_millis(rng.u64(..200)));
        }
        exporter.kill();
    }
    let mut exporter = launch.spawn();
    let last = life.lock().unwrap_or_else(PoisonError::into_inner);
    settle(&mut exporter, &last);
    let restarts = exporter.scrape().value("mozaiks_runtime_restarts_total", &[]);
    assert_eq!(restarts, Some(f64::from(last.restarts)));
    let chats = last.truth().len();
    let runtime_restarts = last.restarts;
    drop(last);
    stop.store(true, Ordering::Relaxed);
    driver.join().unwrap();
    watcher.join().unwrap();

    let witness = witness.lock().unwrap_or_else(PoisonError::into_inner);
    println!(
        "kill test: {kills} kills, {runtime_restarts} restarts of the runtime, {chats} chats; \
         {} scrapes, {} samples of {} series, {} falls; {:.1} s",
        witness.scrapes,
        witness.samples,
        witness.last.len(),
        witness.falls.len(),
        began.elapsed().as_secs_f64(),
    );
    assert!(witness.falls.is_empty(), "{:#?}", witness.falls);
    assert!(witness.scrapes >= u64::from(kills), "the witness saw little: {witness:?}");
}
