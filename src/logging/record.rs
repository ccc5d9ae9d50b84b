//! What an event of the log says, with its secrets taken out.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};

use crate::redact::{redact, redact_value};

/// Message and fields.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) message: String,
    pub(super) extra: Map<String, Value>,
}

impl Record {
    fn put(&mut self, field: &Field, value: Value) {
        self.extra.insert(field.name().to_owned(), value);
    }

    fn text(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            self.message = redact(text).into_owned();
        } else {
            self.put(field, redact_value(field.name(), text).into());
        }
    }
}

impl Visit for Record {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
