//! The last warnings and errors of the exporter's own log, for those who look at its page.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::record::Record;
use crate::model::{Clock, SystemClock, Timestamp};

/// How many are remembered.
const MOST: usize = 20;
/// What is longer is cut.
const MAX_CHARS: usize = 400;

/// As the log, there is one for the process.
static RECENT: Mutex<VecDeque<Trouble>> = Mutex::new(VecDeque::new());

/// Something that the log warned of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// When it was last said.
    pub at: Timestamp,
    /// Whether it is an error, and no warning.
    pub is_error: bool,
    /// What was said, without secrets.
    pub text: String,
    /// How often it was said, as far as it is remembered.
    pub times: u64,
}

/// The last ones, the latest first.
pub fn recent() -> Vec<Trouble> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).iter().rev().cloned().collect()
}

/// Remembers them. What is said again takes no further place.
fn remember(recent: &mut VecDeque<Trouble>, mut trouble: Trouble) {
    let known = recent.iter().position(|known| known.text == trouble.text);
    if let Some(known) = known.and_then(|known| recent.remove(known)) {
        trouble.times += known.times;
    }
    while recent.len() >= MOST {
        recent.pop_front();
    }
    recent.push_back(trouble);
}

/// Listens to the log.
pub(super) struct Recent(SystemClock);

impl Recent {
    pub(super) fn start() -> Self {
        Self(SystemClock::start())
    }
}

impl<S: Subscriber> Layer<S> for Recent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut record = Record::default();
        event.record(&mut record);
        let mut text = record.message;
        for (name, value) in &record.extra {
            let written = match value {
                serde_json::Value::String(value) => write!(text, " {name}={value}"),
                value => write!(text, " {name}={value}"),
            };
            written.expect("writing to memory does not fail");
        }
        if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
            text.truncate(end);
            text.push('…');
        }
        let is_error = *event.metadata().level() == Level::ERROR;
        let trouble = Trouble { at: self.0.now().wall, is_error, text, times: 1 };
        remember(&mut RECENT.lock().unwrap_or_else(PoisonError::into_inner), trouble);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_remembered_and_repetitions_take_no_place() {
        let mut recent = VecDeque::new();
        let trouble = |at: i64, text: &str| Trouble {
            at: Timestamp(at),
            is_error: false,
            text: text.to_owned(),
            times: 1,
        };
        for at in 0..100 {
            remember(&mut recent, trouble(at, "it is away"));
            remember(&mut recent, trouble(at, &at.to_string()));
        }
        assert_eq!(recent.len(), MOST);
        assert_eq!(recent[MOST - 2], Trouble { times: 100, ..trouble(99, "it is away") });
        assert_eq!(recent[0], trouble(81, "81"));
    }
}
