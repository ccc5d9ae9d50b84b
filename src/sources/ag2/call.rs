//! One model call or use of a tool, however it was written down.

use std::borrow::Cow;

use crate::model::{About, Event, NameRule, Timestamp, UNKNOWN, Usage, Usd, What};
use crate::sources::value::{LONGEST_TURN, Refusal};

/// What is wrong with a record, in the words of the `reason` label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Flaw {
    /// Not JSON, or broken off, or of another shape.
    #[error("it is not the JSON of a record")]
    Shape,
    /// No time.
    #[error("it does not say when it was")]
    Time,
    /// A value that cannot be used.
    #[error("{0}")]
    Value(Refusal),
}

impl Flaw {
    /// The value of the `reason` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Shape => "shape",
            Self::Time => "time",
            Self::Value(refusal) => refusal.label(),
        }
    }
}

/// Takes values, and remembers the first that could not be taken. Those count as not given.
#[derive(Debug)]
pub(super) struct Taker {
    pub(super) names: NameRule,
    pub(super) flaw: Option<Flaw>,
}

impl Taker {
    pub(super) fn new(names: NameRule) -> Self {
        Self { names, flaw: None }
    }

    pub(super) fn note(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    pub(super) fn or_none<T>(&mut self, read: Result<Option<T>, Refusal>) -> Option<T> {
        read.unwrap_or_else(|refusal| {
            self.note(Flaw::Value(refusal));
            None
        })
    }

    /// Bounded; `None` where it is empty.
    pub(super) fn name(&self, name: Option<Cow<'_, str>>) -> Option<String> {
        name.filter(|name| !name.is_empty()).map(|name| self.names.bound(name).into_owned())
    }

    /// When something was, or `now` where that cannot be read.
    pub(super) fn time(&mut self, at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        if at.is_none() {
            self.note(Flaw::Time);
        }
        at.unwrap_or(now)
    }
}

/// What the model answered, without the answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Response {
    /// Bounded and not empty.
    pub(super) model: Option<String>,
    /// Prompt and completion tokens; `None` where the answer has no usage.
    pub(super) tokens: Option<(u64, u64)>,
    /// It is an error, or there is none.
    pub(super) error: bool,
}

/// A model call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) session: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) response: Response,
    pub(super) cost: Option<Usd>,
    pub(super) cached: bool,
    pub(super) start: Option<Timestamp>,
    pub(super) end: Option<Timestamp>,
}

impl Call {
    pub(super) fn event(self, take: &mut Taker, now: Timestamp) -> Event {
        let unknown = || UNKNOWN.to_owned();
        let failed = !self.cached && self.response.error && self.response.tokens.is_none();
        let (prompt_tokens, completion_tokens) = self.response.tokens.unwrap_or_default();
        let stated =
            Usage { prompt_tokens, completion_tokens, cost: self.cost.unwrap_or_default() };
        let seconds = self.start.zip(self.end).map(|(start, end)| end.since(start).as_secs_f64());
        let what = What::Call {
            agent: self.agent.unwrap_or_else(unknown),
            model: self.response.model.unwrap_or_else(unknown),
            // A cached call is written down with what it cost when it was made.
            usage: if self.cached || failed { Usage::default() } else { stated },
            seconds: seconds.filter(|seconds| *seconds <= LONGEST_TURN),
            cached: self.cached,
            failed,
        };
        let at = take.time(self.end.or(self.start), now);
        Event {
            at,
            about: about(self.session),
            app_id: None,
            workflow_name: None,
            user_id: None,
            what,
        }
    }
}

/// The use of a tool. AG2 writes it down once the tool has returned.
pub(super) fn tool(session: Option<String>, tool: Option<String>, at: Timestamp) -> Event {
    let what = What::Tool {
        tool: tool.unwrap_or_else(|| UNKNOWN.to_owned()),
        ok: true,
        as_call: true,
        seconds: None,
    };
    Event { at, about: about(session), app_id: None, workflow_name: None, user_id: None, what }
}

fn about(session: Option<String>) -> About {
    session.map_or(About::Nobody, About::Session)
}
