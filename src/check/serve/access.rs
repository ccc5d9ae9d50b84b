//! Who gets in: the files that say it, and how long they hold.

use std::time::Duration;

use super::{Row, now};
use crate::access::{Means, Side, Survey, survey};
use crate::config::Config;
use crate::logging::chain;
use crate::model::Timestamp;

/// A certificate that ends sooner is to be renewed now.
const SOON: Duration = Duration::from_hours(14 * 24);
/// Everybody on this machine may read it.
const READ_BY_ALL: u32 = 0o004;

/// What was seen of both listeners.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) rows: Vec<Row>,
    pub(super) metrics: Option<Survey>,
    pub(super) control: Option<Survey>,
}

impl From<Vec<Row>> for Seen {
    fn from(rows: Vec<Row>) -> Self {
        Self { rows, ..Self::default() }
    }
}

/// What there is to say of them.
pub(super) fn rows(config: &Config) -> Seen {
    let mut seen = Seen::default();
    seen.metrics = one(Side::Metrics, &config.means, &mut seen.rows);
    if let Some(control) = &config.control {
        seen.control = one(Side::Control, &control.means, &mut seen.rows);
    }
    seen
}

fn one(side: Side, means: &Means, rows: &mut Vec<Row>) -> Option<Survey> {
    let thing = format!("{} access", side.label());
    let survey = match survey(side, means) {
        Ok(survey) => survey,
        Err(error) => {
            let remedy = "set the file right; serve lets nobody in without it";
            rows.push(Row::fail(thing, chain(&error), remedy));
            return None;
        }
    };
    if means.web_config.is_some() || means.token_file.is_some() {
        let tls = if survey.tls { "TLS" } else { "no TLS" };
        let token = if means.token_file.is_some() { "a token" } else { "no token" };
        let what = format!("{tls}, {} users, {token}", survey.users);
        rows.push(Row::ok(thing.clone(), what));
    }
    for note in &survey.notes {
        rows.push(Row::warn(thing.clone(), note, format!("correct {}", side.web_flag())));
    }
    for (path, first) in &survey.certificates {
        let thing = format!("{} certificate", side.label());
        rows.push(expiry(thing, &path.display().to_string(), *first));
    }
    for (path, mode) in &survey.keys {
        if mode & READ_BY_ALL != 0 {
            let path = path.display();
            let what = format!("{path} can be read by everybody on this machine ({mode:o})");
            let thing = format!("{} secret", side.label());
            rows.push(Row::warn(thing, what, format!("chmod o-rwx {path}")));
        }
    }
    Some(survey)
}

/// How long the first certificate of a file holds.
pub(super) fn expiry(thing: String, file: &str, ends: Timestamp) -> Row {
    let left = ends.since(now());
    let day = chrono::DateTime::from_timestamp_micros(ends.0)
        .map(|ends| ends.format("%Y-%m-%d").to_string())
        .unwrap_or_default();
    if left.is_zero() {
        Row::fail(thing, format!("{file}: a certificate ended on {day}"), "renew it")
    } else if left < SOON {
        Row::warn(thing, format!("{file}: a certificate ends on {day}"), "renew it")
    } else {
        Row::ok(thing, format!("{file} holds until {day}"))
    }
}
