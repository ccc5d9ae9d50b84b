//! The fields of a JSON line, as an event.

use super::line::Flaw;
use super::meaning::Kind;
use crate::model::{About, Event, NameRule, Timestamp, UNKNOWN, Usage, What};
use crate::sources::flat::{Raw, fields};
use crate::sources::value::{LONGEST_TURN, Refusal, count, money, number, text};

fields! {
    /// `extra`, as far as anything in it is used.
    pub(super) struct Extra {
        chat_id,
        workflow,
        workflow_name,
        app_id,
        agent,
        model,
        prompt_tokens,
        completion_tokens,
        cost,
        cost_usd,
        duration_sec,
        cached,
        tool,
        success,
        session_id,
    }
}

/// Takes values, and remembers the first that could not be taken.
struct Taker {
    names: NameRule,
    flaw: Option<Flaw>,
}

impl Taker {
    fn or_none<T>(&mut self, read: Result<Option<T>, Refusal>) -> Option<T> {
        read.unwrap_or_else(|refusal| {
            self.flaw.get_or_insert(Flaw::Value(refusal));
            None
        })
    }

    /// `None` where nothing, or nothing legible, stands there.
    fn name(&mut self, raw: Option<Raw<'_>>) -> Option<String> {
        let name = self.or_none(text(raw)).filter(|name| !name.is_empty())?;
        Some(self.names.bound(name).into_owned())
    }

    fn name_or_unknown(&mut self, raw: Option<Raw<'_>>) -> String {
        self.name(raw).unwrap_or_else(|| UNKNOWN.to_owned())
    }

    fn usage(&mut self, extra: &Extra<'_>) -> Usage {
        Usage {
            prompt_tokens: self.or_none(count(extra.prompt_tokens)).unwrap_or_default(),
            completion_tokens: self.or_none(count(extra.completion_tokens)).unwrap_or_default(),
            cost: self.or_none(money(extra.cost.or(extra.cost_usd))).unwrap_or_default(),
        }
    }

    /// Zero is what the runtime writes where it did not measure.
    fn seconds(&mut self, raw: Option<Raw<'_>>) -> Option<f64> {
        let seconds = self.or_none(number(raw)).filter(|seconds| *seconds != 0.0)?;
        let plausible = match seconds {
            below if below < 0.0 => Err(Refusal::Negative),
            above if above > LONGEST_TURN => Err(Refusal::TooLarge),
            fine => Ok(Some(fine)),
        };
        self.or_none(plausible)
    }
}

/// The event that a line of this kind tells, and what in it could not be read.
///
/// What cannot be read counts as not given: a turn whose cost is `NaN` is a turn that cost nothing,
/// and says so by its flaw. Without the chat's id there is no event.
pub(super) fn event(
    kind: Kind,
    at: Timestamp,
    extra: &Extra<'_>,
    names: NameRule,
) -> (Option<Event>, Option<Flaw>) {
    let mut take = Taker { names, flaw: None };
    let Some(chat_id) = take.name(extra.chat_id) else {
        return (None, take.flaw.or(Some(Flaw::NoChat)));
    };
    let what = match kind {
        Kind::Started => What::Started,
        Kind::Ended => What::Ended,
        Kind::Failed => What::Failed,
        Kind::Recorded => What::Recorded { usage: take.usage(extra) },
        Kind::Turn => What::Turn {
            agent: take.name_or_unknown(extra.agent),
            model: take.name_or_unknown(extra.model),
            usage: take.usage(extra),
            seconds: take.seconds(extra.duration_sec),
        },
        Kind::Call => call(&mut take, extra),
        Kind::Tool => {
            let Some(ok) = flag(extra.success) else {
                return (None, take.flaw.or(Some(Flaw::NotABool)));
            };
            let tool = take.name_or_unknown(extra.tool);
            What::Tool { tool, ok, as_call: true, seconds: None }
        }
        Kind::SessionOpened => {
            let Some(session_id) = take.name(extra.session_id) else {
                return (None, take.flaw.or(Some(Flaw::NoSession)));
            };
            What::SessionOpened { session_id }
        }
    };
    let workflow_name = match kind {
        Kind::Started | Kind::Turn => take.name(extra.workflow),
        Kind::SessionOpened | Kind::Ended | Kind::Failed => take.name(extra.workflow_name),
        // There `workflow_name` is the name of a part of the runtime.
        Kind::Recorded | Kind::Call | Kind::Tool => None,
    };
    let app_id = take.name(extra.app_id);
    let event =
        Event { at, about: About::Chat(chat_id), app_id, workflow_name, user_id: None, what };
    (Some(event), take.flaw)
}

fn call(take: &mut Taker, extra: &Extra<'_>) -> What {
    let cached = flag(extra.cached).unwrap_or_else(|| {
        if extra.cached.is_some() {
            take.flaw.get_or_insert(Flaw::NotABool);
        }
        false
    });
    let stated = take.usage(extra);
    // A refused call leaves a line with nothing in it but its duration.
    let failed = !cached && stated == Usage::default() && take.flaw.is_none();
    What::Call {
        agent: take.name_or_unknown(extra.agent),
        model: take.name_or_unknown(extra.model),
        usage: if cached { Usage::default() } else { stated },
        seconds: take.seconds(extra.duration_sec),
        cached,
        failed,
    }
}

fn flag(raw: Option<Raw<'_>>) -> Option<bool> {
    match raw?.get() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}
