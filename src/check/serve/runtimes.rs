//! Runtimes: are they reached, do they let us in, and what do they tell?

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

use super::{Row, now, patience, size, span};
use crate::access::ends;
use crate::config::{Config, Polling, RuntimeConfig};
use crate::model::{Count, NameRule, Timestamp};
use crate::sources::scrape::{
    AGGREGATE, CHATS, Client, EVENTS, HEALTH, Told, aggregate, chats, health, not_understood,
    process_created, trust,
};
use crate::sources::{Failure, Reason};

/// What it tells of runs.
const RUNS: &str = "/health/active-runs";
/// A clock that is further off than this is worth a word.
const OFF: Duration = Duration::from_secs(2);
/// And this far off, ages and durations are wrong.
const FAR_OFF: Duration = Duration::from_mins(1);

/// Asks all at once.
pub(super) async fn rows(config: &Arc<Config>, end: Instant) -> Vec<Row> {
    let asking: Vec<_> = (0..config.runtimes.len())
        .map(|index| {
            let config = Arc::clone(config);
            tokio::spawn(async move {
                match config.runtimes.get(index) {
                    Some(runtime) => one(&config, runtime, end).await,
                    None => Vec::new(),
                }
            })
        })
        .collect();
    let mut rows = Vec::new();
    for asked in asking {
        rows.extend(
            asked
                .await
                .unwrap_or_else(|error| vec![Row::fail("runtime", error.to_string(), "ask again")]),
        );
    }
    rows
}

async fn one(config: &Config, runtime: &RuntimeConfig, end: Instant) -> Vec<Row> {
    let Some(polling) = &runtime.polling else {
        let what = "known by its logs alone, so its routes are not asked";
        return vec![Row::ok(format!("runtime {}", runtime.name), what)];
    };
    let other = others(config, runtime);
    let mut asking = Asking::new(runtime, polling, config.names, end);
    asking.certificates();
    if asking.resolve().await.is_some() && asking.authorize().await.is_some() {
        asking.all(&other).await;
    }
    asking.rows
}

/// What else tells turns and tokens of this runtime.
fn others(config: &Config, runtime: &RuntimeConfig) -> Vec<&'static str> {
    let database = config.mongodb.as_ref().is_some_and(|db| db.runtime == runtime.name);
    let found = [
        (!runtime.logs.is_empty(), "its log"),
        (!runtime.ag2.is_empty(), "AG2's log"),
        (database, "MongoDB"),
    ];
    found.into_iter().filter_map(|(is_there, name)| is_there.then_some(name)).collect()
}

/// One runtime that is asked.
struct Asking<'a> {
    polling: &'a Polling,
    name: String,
    names: NameRule,
    client: Client,
    token: Option<HeaderValue>,
    end: Instant,
    rows: Vec<Row>,
}

/// An answer, its clock compared with ours, and how long it took.
struct Heard {
    body: Vec<u8>,
    off: Option<Duration>,
    took: Duration,
}

impl<'a> Asking<'a> {
    fn new(runtime: &RuntimeConfig, polling: &'a Polling, names: NameRule, end: Instant) -> Self {
        let name = format!("runtime {}", runtime.name);
        let trust = polling.endpoint.is_tls().then(|| trust(&polling.certificates));
        let client =
            Client::new(polling.endpoint.clone(), trust, polling.timeout, polling.max_body_bytes);
        Self { polling, name, names, client, token: None, end, rows: Vec::new() }
    }

    fn thing(&self, part: &str) -> String {
        format!("{} {part}", self.name)
    }

    /// Certificates that are trusted beside the system's.
    fn certificates(&mut self) {
        let ends = self.polling.certificates.iter().filter_map(|one| ends(one));
        if let Some(first) = ends.min() {
            let thing = self.thing("authorities");
            let row = super::access::expiry(thing, "--runtime.ca-file", first);
            self.rows.push(row);
        }
    }

    /// Looks its name up.
    async fn resolve(&mut self) -> Option<()> {
        let (host, port) = self.polling.endpoint.address();
        let why = match timeout(patience(self.end), lookup_host((host, port))).await {
            Ok(Ok(mut found)) => match found.next() {
                Some(_) => return Some(()),
                None => "it has no address".to_owned(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the name servers do not answer".to_owned(),
        };
        let what = format!("{host} cannot be looked up: {why}");
        let remedy = "correct --runtime.url, or the name";
        self.rows.push(Row::fail(self.thing("connection"), what, remedy));
        None
    }

    /// Reads the token.
    async fn authorize(&mut self) -> Option<()> {
        let Some(token) = &self.polling.token else { return Some(()) };
        let thing = self.thing("token");
        match token.header().await {
            Ok(header) => {
                let is_empty = header.as_bytes().trim_ascii_end() == b"Bearer";
                self.token = Some(header);
                let row = if is_empty {
                    Row::fail(thing, "is empty", "write it to the file of --runtime.token-file")
                } else {
                    Row::ok(thing, "is readable")
                };
                self.rows.push(row);
                Some(())
            }
            Err(failure) => {
                let remedy = "correct --runtime.token-file, or who may read the file";
                self.rows.push(Row::fail(thing, failure.detail, remedy));
                None
            }
        }
    }

    /// Asks the routes, as long as it makes sense.
    async fn all(&mut self, other: &[&str]) {
        let events = self.ask(EVENTS).await;
        if let Err(failure) = &events
            && failure.reason != Reason::Status
            && failure.reason != Reason::TooLarge
        {
            let (thing, remedy) = self.remedy(failure);
            self.rows.push(Row::fail(thing, &failure.detail, remedy));
            return;
        }
        let (host, port) = self.polling.endpoint.address();
        let how = if self.polling.endpoint.is_tls() { "by TLS" } else { "without TLS" };
        let what = format!("{host}:{port} answers {how}");
        self.rows.push(Row::ok(self.thing("connection"), what));
        self.clock(events.as_ref().ok().and_then(|heard| heard.off));
        let thing = self.thing(EVENTS);
        self.rows.push(match &events {
            Ok(heard) if process_created(&heard.body).is_some() => {
                Row::ok(thing, "says which process answers")
            }
            Ok(_) => Row::warn(
                thing,
                "does not say when the process began",
                "restarts are recognised by the chats instead; see whether this is a MozaiksAI runtime",
            ),
            Err(failure) => Row::warn(
                thing,
                &failure.detail,
                "restarts are recognised by the chats instead; an older runtime has no such route",
            ),
        });
        self.chats(other).await;
        self.health().await;
        self.runs().await;
    }

    async fn ask(&mut self, path: &str) -> Result<Heard, Failure> {
        let start = Instant::now();
        // As long as serve would wait, if there is that much time.
        let left = self.end.saturating_duration_since(start);
        let answer = self.client.get_within(path, self.token.as_ref(), left).await?;
        let took = start.elapsed();
        let off = answer.date.map(|date| apart(date, now()));
        answer.ok(path).map(|answer| Heard { body: answer.body, off, took })
    }

    fn remedy(&self, failure: &Failure) -> (String, &'static str) {
        let (part, remedy) = match failure.reason {
            Reason::Unauthorized if self.token.is_some() => {
                ("authentication", "write the runtime's token to the file of --runtime.token-file")
            }
            Reason::Unauthorized => {
                ("authentication", "name a file with the runtime's token: --runtime.token-file")
            }
            Reason::Tls => (
                "connection",
                "name its authority with --runtime.ca-file, and its certificate's name in --runtime.url",
            ),
            Reason::Timeout => (
                "connection",
                "see whether a firewall swallows what is sent, or raise --runtime.timeout",
            ),
            _ => ("connection", "see whether the runtime runs, and correct --runtime.url"),
        };
        (self.thing(part), remedy)
    }

    fn clock(&mut self, off: Option<Duration>) {
        let Some(off) = off else { return };
        let (thing, remedy) = (self.thing("clock"), "let both machines follow NTP");
        let what = format!("{} from ours", span(off));
        self.rows.push(if off > FAR_OFF {
            Row::fail(thing, what, remedy)
        } else if off > OFF {
            Row::warn(thing, what, remedy)
        } else {
            Row::ok(thing, "agrees with ours")
        });
    }

    async fn chats(&mut self, other: &[&str]) {
        let (thing, first) = (self.thing(AGGREGATE), self.ask(AGGREGATE).await);
        match first {
            Ok(heard) => self.told(thing, aggregate(&heard.body, self.names), &heard, other),
            Err(failure) if failure.reason == Reason::Status => {
                let remedy =
                    "correct --runtime.url if this is no MozaiksAI runtime; else see its log";
                match self.ask(CHATS).await {
                    Ok(heard) => {
                        let remedy = "its other route is asked instead; see the runtime's log";
                        self.rows.push(Row::warn(thing, failure.detail, remedy));
                        let thing = self.thing(CHATS);
                        self.told(thing, chats(&heard.body, self.names), &heard, other);
                    }
                    Err(second) => {
                        self.rows.push(Row::fail(thing, failure.detail, remedy));
                        self.rows.push(Row::fail(self.thing(CHATS), second.detail, remedy));
                    }
                }
            }
            Err(failure) => {
                let remedy = match failure.reason {
                    Reason::Timeout => "raise --runtime.timeout; restarting the runtime empties it",
                    Reason::TooLarge => "raise --runtime.max-body",
                    _ => self.remedy(&failure).1,
                };
                self.rows.push(Row::fail(thing, failure.detail, remedy));
            }
        }
    }

    /// What it tells of its chats.
    fn told(
        &mut self,
        thing: String,
        told: Result<Told<'_>, serde_json::Error>,
        heard: &Heard,
        other: &[&str],
    ) {
        let told = match told {
            Ok(told) => told,
            Err(error) => {
                let remedy = "correct --runtime.url";
                self.rows.push(Row::fail(thing, not_understood(&error).detail, remedy));
                return;
            }
        };
        let (chats, refused) = (told.chats.len(), told.refused.len());
        let counts = [Count::Turns, Count::PromptTokens, Count::CompletionTokens];
        let is_used = |count: &Option<u64>| count.is_some_and(|count| count > 0);
        let used = told.chats.iter().filter(|chat| {
            counts.iter().any(|count| is_used(&chat.totals.counts[*count as usize]))
        });
        let used = used.count();
        let bytes = size(heard.body.len() as u64);
        let what = format!("{chats} chats in {bytes}");
        self.rows.push(if refused > 0 {
            let what = format!("{what}; {refused} more cannot be read");
            Row::warn(thing, what, "they are left out; see the runtime's log for what it stores")
        } else {
            Row::ok(thing, what)
        });
        self.usage(chats, used, other);
        self.speed(heard.took);
    }

    /// Whether it tells turns and tokens: some of its orchestrators count none.
    fn usage(&mut self, chats: usize, used: usize, other: &[&str]) {
        let thing = self.thing("usage");
        self.rows.push(if chats == 0 {
            Row::ok(thing, "no chats yet, so nothing is known of turns and tokens")
        } else if used > 0 {
            Row::ok(thing, format!("{used} of {chats} chats have turns or tokens"))
        } else if other.is_empty() {
            let what = format!("none of {chats} chats has turns or tokens");
            let remedy = "they stand in its log (--logs.path), in MongoDB (--mongodb.uri) and in \
                          AG2's log (--ag2.path): name one of them";
            Row::warn(thing, what, remedy)
        } else {
            let from = other.join(", ");
            let what =
                format!("the routes tell neither turns nor tokens of {chats} chats; {from} may");
            Row::ok(thing, what)
        });
    }

    fn speed(&mut self, took: Duration) {
        let (limit, interval) = (self.polling.timeout, self.polling.interval);
        let what = format!(
            "{} of {} (--runtime.timeout), every {}",
            span(took),
            humantime::format_duration(limit),
            humantime::format_duration(interval)
        );
        let thing = self.thing("time");
        self.rows.push(if took > limit / 2 || took > interval / 2 {
            Row::warn(thing, what, "raise --runtime.timeout and --runtime.poll-interval")
        } else {
            Row::ok(thing, what)
        });
    }

    async fn health(&mut self) {
        let (thing, heard) = (self.thing(HEALTH), self.ask(HEALTH).await);
        let remedy = "its health is not shown; see the runtime's log";
        self.rows.push(match heard.map(|heard| health(&heard.body)) {
            Ok(Some(health)) if health.healthy => Row::ok(thing, "says that it is well"),
            Ok(Some(_)) => Row::warn(thing, "says that it is not well", "see the runtime's log"),
            Ok(None) => Row::warn(thing, "answers something else than its health", remedy),
            Err(failure) => Row::warn(thing, failure.detail, remedy),
        });
    }

    async fn runs(&mut self) {
        let (thing, heard) = (self.thing(RUNS), self.ask(RUNS).await);
        let remedy = "serve does not need it";
        self.rows.push(match heard {
            Ok(_) => Row::ok(thing, StatusCode::OK.to_string()),
            Err(failure) => Row::warn(thing, failure.detail, remedy),
        });
    }
}

/// How far two clocks are apart, where the first tells whole seconds and may be one old.
fn apart(told: Timestamp, ours: Timestamp) -> Duration {
    let late = ours.since(told).saturating_sub(Duration::from_secs(1));
    told.since(ours).max(late)
}
