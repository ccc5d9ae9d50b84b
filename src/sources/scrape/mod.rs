//! Polls one runtime over HTTP.
//!
//! `/metrics/perf/aggregate` tells all chats, `/metrics/perf/chats` is the way out where it does
//! not answer, and single chats where one poisoned chat breaks both. `/api/events/metrics` tells
//! one process from the next, `/api/health` what the runtime thinks of itself. Each question makes
//! the runtime write a log line and serialise every chat it ever had, so none is asked in vain.

mod client;
mod roll;
mod token;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::Instant;
use tracing::{debug, warn};

pub use client::{Client, Endpoint, UrlError, trust};
pub use roll::{Last, Roll, Shape};
pub use token::Token;
pub use wire::{Told, aggregate, chats, health, process_created, single};

use super::runner::{Poll, Polled};
pub use super::value::Refusal;
use super::{Failure, Intake, Reason};
use crate::model::{Answer, Counters, NameRule, RuntimeId, Source, Timestamp};
use crate::telemetry::{Health, OWN_BOUNDS};

/// Tells all chats, and their sums.
pub const AGGREGATE: &str = "/metrics/perf/aggregate";
/// Tells all chats.
pub const CHATS: &str = "/metrics/perf/chats";
/// Tells when the process was created.
pub const EVENTS: &str = "/api/events/metrics";
/// Tells what the runtime thinks of itself.
pub const HEALTH: &str = "/api/health";

/// What need not be escaped in a path (RFC 3986, "unreserved").
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The runtime's health is asked for no more often, since it asks the database in turn.
const HEALTH_INTERVAL: Duration = Duration::from_secs(15);
/// With its database away the runtime takes 30 s to say so; by then we know.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// Chats that are asked for singly in one poll.
const MAX_SINGLES: usize = 200;
/// A runtime's clock that is closer than this to ours is the same clock: its `Date` has whole
/// seconds and is up to one old.
const CLOCK_SLACK: Duration = Duration::from_secs(5);
/// Malformed chats that are named in the log, per poll.
const MAX_NAMED: usize = 3;

/// One runtime to be polled.
#[derive(Debug)]
pub struct Scrape {
    name: Arc<str>,
    runtime: RuntimeId,
    client: Client,
    token: Option<Token>,
    names: NameRule,
    intake: Intake,
    health_asked: Option<Instant>,
    last: Last,
    /// Refusals that were logged, so that a chat that stays malformed is named once.
    named: BTreeMap<&'static str, u64>,
}

impl Scrape {
    /// A source for a runtime that the ledger watches.
    pub fn new(
        name: Arc<str>,
        runtime: RuntimeId,
        client: Client,
        token: Option<Token>,
        names: NameRule,
        intake: Intake,
    ) -> Self {
        intake.telemetry.target(&name, |target| {
            for reason in Reason::ALL {
                target.failures.insert(reason.label(), 0);
            }
        });
        let (health_asked, last, named) = (None, Last::default(), BTreeMap::new());
        Self { name, runtime, client, token, names, intake, health_asked, last, named }
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, Failure> {
        match &self.token {
            Some(token) => token.header().await.map(Some),
            None => Ok(None),
        }
    }

    /// Asks; where the token is refused and has been replaced meanwhile, asks again with that.
    async fn get(
        &mut self,
        path: &str,
        token: &mut Option<HeaderValue>,
    ) -> Result<client::Answer, Failure> {
        let answer = self.client.get(path, token.as_ref()).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let fresh = self.authorization().await?;
            if fresh != *token {
                *token = fresh;
                return self.client.get(path, token.as_ref()).await?.ok(path);
            }
        }
        answer.ok(path)
    }

    async fn ask(&mut self) -> Result<Polled, Failure> {
        let mut token = self.authorization().await?;
        let start = Instant::now();
        let process = self.process(&mut token).await?;
        let aggregate = self.get(AGGREGATE, &mut token).await;
        let result = match aggregate {
            Ok(answer) => self.hear(&answer, process, Shape::Aggregate).map(|()| None),
            Err(failure) if failure.reason == Reason::Status => {
                self.count(&failure);
                self.ask_otherwise(failure, process, &mut token).await.map(Some)
            }
            Err(failure) => Err(failure),
        };
        let busy = start.elapsed();
        result.map(|degraded| Polled { busy, degraded, more: false })
    }

    /// The other ways to the same numbers, after `aggregate` has failed as `failure` says.
    async fn ask_otherwise(
        &mut self,
        failure: Failure,
        process: Option<Timestamp>,
        token: &mut Option<HeaderValue>,
    ) -> Result<Failure, Failure> {
        match self.get(CHATS, token).await {
            Ok(answer) => {
                self.hear(&answer, process, Shape::Chats)?;
                Ok(failure)
            }
            Err(second) if second.reason == Reason::Status => {
                self.ask_singly(process, token).await.ok_or(second)
            }
            Err(second) => Err(second),
        }
    }

    /// One by one, the live chats known so far. Tells what is missing, or `None` if all is.
    async fn ask_singly(
        &mut self,
        process: Option<Timestamp>,
        token: &mut Option<HeaderValue>,
    ) -> Option<Failure> {
        let known: Vec<Arc<str>> = {
            let ledger = self.intake.ledger.lock();
            let mine = ledger.live_chats().filter(|chat| chat.runtime == self.runtime);
            // The runtime decodes `%2F` before it routes: such a chat cannot be asked for.
            let askable = mine.filter(|chat| !chat.chat_id().contains('/'));
            askable.map(|chat| chat.chat_id().into()).take(MAX_SINGLES).collect()
        };
        let mut answered = 0_usize;
        for chat_id in &known {
            let path = format!("{CHATS}/{}", utf8_percent_encode(chat_id, PATH));
            match self.client.get(&path, token.as_ref()).await {
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                    answered += 1;
                    let now = self.intake.ledger.clock().now();
                    self.intake.ledger.lock().chat_untracked(self.runtime, chat_id, now);
                }
                Ok(answer) if answer.status == StatusCode::OK => {
                    if self.hear_part(&answer, process).is_ok() {
                        answered += 1;
                    }
                }
                // The poisoned one itself.
                Ok(_) => {}
                Err(failure) => {
                    self.count(&failure);
                    break;
                }
            }
        }
        (answered > 0).then(|| {
            let detail = format!(
                "{AGGREGATE} and {CHATS} fail as a whole; {answered} of {} live chats could be \
                 asked for singly, and new chats are not seen until the runtime is restarted",
                known.len()
            );
            Failure::new(Reason::Status, detail)
        })
    }

    /// When the process that answers was created. Older runtimes do not say.
    async fn process(
        &mut self,
        token: &mut Option<HeaderValue>,
    ) -> Result<Option<Timestamp>, Failure> {
        match self.get(EVENTS, token).await {
            Ok(answer) => Ok(wire::process_created(&answer.body)),
            Err(failure) if failure.reason == Reason::Status => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Hands a whole answer to the ledger.
    fn hear(
        &mut self,
        answer: &client::Answer,
        process: Option<Timestamp>,
        shape: Shape,
    ) -> Result<(), Failure> {
        // A runtime that does not say which process answers is known by all that it tells.
        let whole = process.is_none();
        let roll = Roll::read(&answer.body, shape, &mut self.last, self.names, whole)
            .map_err(|error| not_understood(&error))?;
        let (bytes, chats) = (answer.body.len() as u64, roll.places as u64);
        let stated = roll.told.stated;
        let sum = self.tell(roll, answer.date, process);
        self.intake.telemetry.target(&self.name, |target| {
            target.bytes = bytes;
            target.chats = chats;
            target.stated = stated.map(|stated| (stated, sum));
        });
        Ok(())
    }

    /// Hands the answer about a single chat to the ledger.
    fn hear_part(
        &mut self,
        answer: &client::Answer,
        process: Option<Timestamp>,
    ) -> Result<(), Failure> {
        let mut told =
            wire::single(&answer.body, self.names).map_err(|error| not_understood(&error))?;
        // What the last whole answer said of the chat is no longer what was last said of it.
        self.last.forget();
        self.count_refused(&told);
        let now = self.intake.ledger.clock().now();
        let (chats, unreadable) = (std::mem::take(&mut told.chats), told.unreadable);
        let mut answer = self.answer(answer.date, process, now.wall);
        answer = Answer { complete: false, chats, unreadable, ..answer };
        self.intake.ledger.lock().hear(&answer, told.refused.len(), now);
        self.intake.telemetry.target(&self.name, |target| target.last_success = Some(now.wall));
        Ok(())
    }

    fn tell(
        &mut self,
        mut roll: Roll<'_>,
        date: Option<Timestamp>,
        process: Option<Timestamp>,
    ) -> Counters {
        let now = self.intake.ledger.clock().now();
        self.count_refused(&roll.told);
        let unreadable = std::mem::take(&mut roll.told.unreadable);
        let answer = Answer { unreadable, ..self.answer(date, process, now.wall) };
        let sum = {
            let mut ledger = self.intake.ledger.lock();
            let unread = roll.told.refused.len();
            let hearing = ledger.hearing(&answer, unread, roll.mentions(&self.last), now);
            hearing.map(|hearing| roll.tell(&mut self.last, hearing)).unwrap_or_default()
        };
        self.intake.telemetry.target(&self.name, |target| target.last_success = Some(now.wall));
        sum
    }

    /// A whole answer, but for its chats.
    fn answer<'a>(
        &self,
        date: Option<Timestamp>,
        process: Option<Timestamp>,
        wall: Timestamp,
    ) -> Answer<'a> {
        let skew = date.map(|date| date.since(wall).max(wall.since(date)));
        let runtime_clock = match date {
            Some(date) if skew.is_some_and(|skew| skew > CLOCK_SLACK) => date,
            _ => wall,
        };
        Answer {
            source: Source::Scrape,
            runtime: self.runtime,
            process,
            runtime_clock,
            complete: true,
            more: false,
            chats: Vec::new(),
            unreadable: Vec::new(),
            bookmarks: Vec::new(),
        }
    }

    fn count_refused(&mut self, told: &Told<'_>) {
        if told.refused.is_empty() && told.ignored.is_empty() {
            return;
        }
        self.intake.telemetry.target(&self.name, |target| {
            for (_, refusal) in &told.refused {
                *target.rejected.entry(refusal.label()).or_default() += 1;
            }
            for field in &told.ignored {
                *target.ignored_fields.entry(field).or_default() += 1;
            }
        });
        for (index, refusal) in told.refused.iter().take(MAX_NAMED) {
            let named = self.named.entry(refusal.label()).or_default();
            *named += 1;
            if *named == 1 {
                let runtime = &*self.name;
                warn!(runtime, index, error = %refusal, "chat in the answer is left out; further ones are only counted");
            }
        }
    }

    fn count(&self, failure: &Failure) {
        self.intake.telemetry.target(&self.name, |target| {
            *target.failures.entry(failure.reason.label()).or_default() += 1;
        });
    }

    async fn ask_health(&mut self) {
        if self.health_asked.is_some_and(|at| at.elapsed() < HEALTH_INTERVAL) {
            return;
        }
        self.health_asked = Some(Instant::now());
        let Ok(token) = self.authorization().await else {
            return;
        };
        let health = match self.client.get_within(HEALTH, token.as_ref(), HEALTH_TIMEOUT).await {
            Ok(answer) if answer.status == StatusCode::OK => wire::health(&answer.body),
            // It has no such route, or keeps it from us: that says nothing of its health.
            Ok(answer) if answer.status.is_client_error() => None,
            Ok(_) => Some(Health::default()),
            Err(failure) => {
                debug!(runtime = &*self.name, error = %failure, "health was not told");
                Some(Health::default())
            }
        };
        self.intake.telemetry.target(&self.name, |target| target.health = health);
    }
}

impl Poll for Scrape {
    fn target(&self) -> &str {
        &self.name
    }

    async fn poll(&mut self) -> Result<Polled, Failure> {
        let start = Instant::now();
        let result = self.ask().await;
        let took = start.elapsed().as_secs_f64();
        self.intake.telemetry.target(&self.name, |target| {
            target.polls += 1;
            target.durations.observe(OWN_BOUNDS, took);
        });
        match &result {
            Ok(_) => self.ask_health().await,
            Err(failure) => {
                self.count(failure);
                self.intake.ledger.lock().runtime_failed(self.runtime);
            }
        }
        self.client.hang_up();
        result
    }

    fn paced(&self, next: Duration) {
        self.intake.telemetry.target(&self.name, |target| {
            target.interval_seconds = next.as_secs_f64();
        });
    }
}

/// What is wrong with an answer, without what stands in it.
pub fn not_understood(error: &serde_json::Error) -> Failure {
    // The position says enough; what stands there may be anything, and is not repeated.
    let (line, column) = (error.line(), error.column());
    let what = match error.classify() {
        serde_json::error::Category::Eof => "the answer breaks off",
        serde_json::error::Category::Data => "the answer is JSON of another shape",
        _ => "the answer is not JSON",
    };
    let detail = format!(
        "{what} (line {line}, column {column}); is --runtime.url that of a MozaiksAI runtime?"
    );
    Failure::new(Reason::Parse, detail)
}
