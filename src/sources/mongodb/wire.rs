//! One document of a collection of chats, as the runtime keeps them:
//!
//! ```text
//! { _id: "c1", chat_id: "c1", app_id: "acme", workflow_name: "TicketDesk", user_id: "alice",
//!   status: 0 or 1, created_at: date, last_updated_at: date, completed_at: date, ended_at: date,
//!   usage_prompt_tokens_final: int, usage_completion_tokens_final: int,
//!   usage_total_cost_final: double, messages: [{role: "assistant", ...}, ...] }
//! ```
//!
//! Usage is absent until the first of it is written; then it only grows. Messages are never fetched:
//! the server counts those of agents, as [`AGENT_MESSAGES`]. Numbers may be of any of BSON's types,
//! dates may be text. Whatever cannot be counted with costs its document and no other.

use std::borrow::Cow;

use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{Bson, Document, RawDocument, doc};

use crate::model::{ChatSnapshot, Count, NameRule, Stated, Timestamp, Usd};
use crate::sources::value::{Refusal, dollars, float, instant, whole};

/// Under this name the server answers with the number of messages that agents wrote.
const AGENT_MESSAGES: &str = "agent_messages";
/// What we write ourselves carries this field. It is no witness.
const WRITTEN_BY: &str = "written_by";
/// Who we are in it.
const US: &str = "mozaiks-exporter";
/// The workflow of chats without one: the runtime's own word for it.
const GENERAL: &str = "GeneralCapability";
/// What is asked for.
const FIELDS: [&str; 15] = [
    "_id",
    "chat_id",
    "app_id",
    "workflow_name",
    "user_id",
    "session_type",
    "status",
    "created_at",
    "last_updated_at",
    "completed_at",
    "ended_at",
    "usage_prompt_tokens_final",
    "usage_completion_tokens_final",
    "usage_total_cost_final",
    WRITTEN_BY,
];
/// What a name in an id, in bytes, may have at most before it is not even looked at: the server
/// takes documents of 16 MiB.
const LONGEST_NAME: usize = 1 << 20;

/// The fields that are fetched, and nothing else.
pub(super) fn fields() -> Document {
    FIELDS.iter().map(|field| ((*field).to_owned(), Bson::Int32(1))).collect()
}

/// As [`fields`], and the number of messages of agents. Those of users, of the system and of tools
/// are no turns; the runtime writes one message for each time that an agent speaks.
pub(super) fn fields_and_turns() -> Document {
    let of_agents = doc! { "$filter": {
        "input": "$messages",
        "as": "message",
        "cond": { "$eq": ["$$message.role", "assistant"] },
    } };
    let counted =
        doc! { "$cond": [{ "$isArray": "$messages" }, { "$size": of_agents }, Bson::Null] };
    let mut fields = fields();
    fields.insert(AGENT_MESSAGES, counted);
    fields
}

/// What a document says.
#[derive(Debug, Clone, PartialEq)]
pub struct Told<'a> {
    /// Of its chat.
    pub chat: ChatSnapshot<'a>,
    /// We wrote it ourselves.
    pub own: bool,
}

/// When a document says that it was last changed, where it says so.
pub fn updated_at(document: &RawDocument) -> Option<Timestamp> {
    document.get("last_updated_at").ok().flatten().and_then(time)
}

/// Reads one document.
pub fn read(document: &RawDocument, names: NameRule) -> Result<Told<'_>, Refusal> {
    let mut id = None;
    let mut chat_id = None;
    let (mut app_id, mut workflow_name, mut user_id) = (None, None, None);
    let (mut is_general, mut own) = (false, false);
    let (mut is_completed, mut has_status) = (false, false);
    let (mut started_at, mut updated_at) = (None, None);
    let (mut completed_at, mut ended_at) = (None, None);
    let mut totals = Stated::default();
    for field in document {
        // What comes after a broken field cannot be found.
        let (name, value) = field.map_err(|_| Refusal::Shape)?;
        if matches!(value, RawBsonRef::Null | RawBsonRef::Undefined) {
            continue;
        }
        match name.as_str() {
            "_id" => id = Some(id_text(value)?),
            "chat_id" => chat_id = Some(text(value)?),
            "app_id" => app_id = Some(text(value)?),
            "workflow_name" => workflow_name = Some(text(value)?),
            "user_id" => user_id = Some(text(value)?),
            "session_type" => is_general = value.as_str() == Some("general"),
            WRITTEN_BY => own = value.as_str() == Some(US),
            "status" => (has_status, is_completed) = (true, completed(value)),
            "created_at" => started_at = time(value),
            "last_updated_at" => updated_at = time(value),
            "completed_at" => completed_at = time(value),
            "ended_at" => ended_at = time(value),
            AGENT_MESSAGES => totals.counts[Count::Turns as usize] = Some(count(value)?),
            "usage_prompt_tokens_final" => {
                totals.counts[Count::PromptTokens as usize] = Some(count(value)?);
            }
            "usage_completion_tokens_final" => {
                totals.counts[Count::CompletionTokens as usize] = Some(count(value)?);
            }
            "usage_total_cost_final" => totals.cost = Some(money(value)?),
            _ => {}
        }
    }
    let chat_id = chat_id.filter(|id| !id.is_empty()).or(id).filter(|id| !id.is_empty());
    let workflow_name = workflow_name.or(is_general.then_some(Cow::Borrowed(GENERAL)));
    // Each run's end is written twice, a moment apart; a later run moves both.
    let end = completed_at.max(ended_at);
    let chat = ChatSnapshot {
        chat_id: names.bound(chat_id.ok_or(Refusal::NoId)?),
        app_id: names.bound_or_unknown(app_id),
        workflow_name: names.bound_or_unknown(workflow_name),
        user_id: names.bound_or_unknown(user_id),
        started_at: Some(started_at.ok_or(Refusal::NoStart)?),
        ended_at: end.or(updated_at.filter(|_| is_completed)),
        // Every status of an end but that of success is kept as that of a chat in progress.
        failed: end.is_some() && has_status && !is_completed,
        updated_at,
        totals,
        last_turn_seconds: None,
    };
    Ok(Told { chat, own })
}

fn text(value: RawBsonRef<'_>) -> Result<Cow<'_, str>, Refusal> {
    match value {
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) if text.len() > LONGEST_NAME => {
            Err(Refusal::TooLarge)
        }
        RawBsonRef::String(text) | RawBsonRef::Symbol(text) => Ok(Cow::Borrowed(text)),
        RawBsonRef::Int32(number) => Ok(Cow::Owned(number.to_string())),
        RawBsonRef::Int64(number) => Ok(Cow::Owned(number.to_string())),
        _ => Err(Refusal::NotText),
    }
}

fn id_text(value: RawBsonRef<'_>) -> Result<Cow<'_, str>, Refusal> {
    match value {
        RawBsonRef::ObjectId(id) => Ok(Cow::Owned(id.to_hex())),
        other => text(other),
    }
}

fn completed(value: RawBsonRef<'_>) -> bool {
    match value {
        RawBsonRef::Int32(status) => status == 1,
        RawBsonRef::Int64(status) => status == 1,
        #[expect(clippy::float_cmp, reason = "one is one")]
        RawBsonRef::Double(status) => status == 1.0,
        RawBsonRef::String(status) => status == "completed",
        _ => false,
    }
}

/// A number in digits, out of any type that holds one.
fn digits(value: RawBsonRef<'_>) -> Result<String, Refusal> {
    match value {
        RawBsonRef::Int32(number) => Ok(number.to_string()),
        RawBsonRef::Int64(number) => Ok(number.to_string()),
        RawBsonRef::Double(number) if number.is_infinite() => Err(Refusal::TooLarge),
        // In full, so that a whole one has no fraction.
        RawBsonRef::Double(number) => Ok(number.to_string()),
        RawBsonRef::Decimal128(number) => Ok(number.to_string()),
        _ => Err(Refusal::NotANumber),
    }
}

fn count(value: RawBsonRef<'_>) -> Result<u64, Refusal> {
    whole(&digits(value)?)
}

fn money(value: RawBsonRef<'_>) -> Result<Usd, Refusal> {
    match value {
        RawBsonRef::Double(amount) => dollars(amount),
        other => dollars(float(&digits(other)?)?),
    }
}

/// A time, where it is one that others can show, too.
fn time(value: RawBsonRef<'_>) -> Option<Timestamp> {
    // Year 1 to 9999.
    const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000_000..=253_402_300_799_999_999;
    let time = match value {
        RawBsonRef::DateTime(date) => Timestamp(date.timestamp_millis().checked_mul(1_000)?),
        RawBsonRef::Timestamp(stamp) => Timestamp(i64::from(stamp.time) * 1_000_000),
        RawBsonRef::String(text) => instant(text)?,
        _ => return None,
    };
    TIMES.contains(&time.0).then_some(time)
}

#[cfg(test)]
mod tests {
    use mongodb::bson::{DateTime, Decimal128, RawDocumentBuf, oid::ObjectId};
    use proptest::prelude::*;

    use super::*;

    fn chat() -> Document {
        doc! {
            "_id": "c1", "chat_id": "c1", "app_id": "acme", "workflow_name": "Desk",
            "user_id": "alice", "status": 0, "created_at": DateTime::from_millis(1_000),
            "last_updated_at": DateTime::from_millis(9_000),
        }
    }

    fn with(fields: Document) -> Document {
        let mut document = chat();
        document.extend(fields);
        document
    }

    /// Reads it and hands what was read on, with no life of the document's.
    fn reading<T>(document: &Document, look: impl FnOnce(Result<Told<'_>, Refusal>) -> T) -> T {
        let raw = RawDocumentBuf::try_from(document).unwrap();
        look(read(&raw, NameRule::new(64)))
    }

    fn refusal(fields: Document) -> Option<Refusal> {
        reading(&with(fields), |read| read.map(|told| told.own).err())
    }

    #[test]
    fn a_chat_without_usage_states_none() {
        reading(&chat(), |read| {
            let Told { chat, own } = read.unwrap();
            assert!(!own);
            assert_eq!(
                [&chat.chat_id, &chat.app_id, &chat.workflow_name, &chat.user_id],
                ["c1", "acme", "Desk", "alice"]
            );
            assert_eq!((chat.started_at, chat.ended_at), (Some(Timestamp(1_000_000)), None));
            assert_eq!(chat.updated_at, Some(Timestamp(9_000_000)));
            assert_eq!((chat.totals, chat.failed), (Stated::default(), false));
        });
    }

    #[test]
    fn numbers_may_be_of_any_type() {
        let decimal: Decimal128 = "0.25".parse().unwrap();
        for (tokens, cost) in [
            (Bson::Int32(17), Bson::Double(0.25)),
            (Bson::Int64(17), Bson::Decimal128(decimal)),
            (Bson::Double(17.0), Bson::Double(0.25)),
        ] {
            let usage = doc! {
                "usage_prompt_tokens_final": tokens.clone(), "usage_completion_tokens_final": tokens,
                "usage_total_cost_final": cost, "agent_messages": 3,
            };
            reading(&with(usage), |read| {
                let totals = read.unwrap().chat.totals;
                assert_eq!(totals.counts, [Some(3), None, None, Some(17), Some(17)]);
                assert_eq!(totals.cost, Some(Usd::from_f64(0.25).unwrap()));
            });
        }
    }

    #[test]
    fn what_cannot_be_counted_is_refused_with_the_reason() {
        let tokens = |value: Bson| refusal(doc! {"usage_prompt_tokens_final": value});
        assert_eq!(tokens(Bson::Int32(-1)), Some(Refusal::Negative));
        assert_eq!(tokens(Bson::Double(1.5)), Some(Refusal::Fraction));
        assert_eq!(tokens(Bson::Double(1e300)), Some(Refusal::TooLarge));
        assert_eq!(tokens(Bson::Int64(i64::MAX)), Some(Refusal::TooLarge));
        assert_eq!(tokens(Bson::Double(f64::NAN)), Some(Refusal::NotANumber));
        assert_eq!(tokens(Bson::Double(f64::INFINITY)), Some(Refusal::TooLarge));
        assert_eq!(tokens(Bson::String("17".into())), Some(Refusal::NotANumber));
        assert_eq!(tokens(Bson::Null), None);
        let cost = |value: f64| refusal(doc! {"usage_total_cost_final": value});
        assert_eq!(cost(f64::NAN), Some(Refusal::NotANumber));
        assert_eq!(cost(-0.1), Some(Refusal::Negative));
        assert_eq!(cost(1e300), Some(Refusal::TooLarge));
        assert_eq!(refusal(doc! {"app_id": {"a": 1}}), Some(Refusal::NotText));
        assert_eq!(refusal(doc! {"created_at": "soon"}), Some(Refusal::NoStart));
        assert_eq!(refusal(doc! {"created_at": DateTime::MAX}), Some(Refusal::NoStart));
        assert_eq!(refusal(doc! {"chat_id": "", "_id": ""}), Some(Refusal::NoId));
        let huge = "x".repeat(LONGEST_NAME + 1);
        assert_eq!(refusal(doc! {"user_id": huge}), Some(Refusal::TooLarge));
    }

    #[test]
    fn ends_are_told_as_well_as_the_document_knows_them() {
        let date = DateTime::from_millis;
        let end = |fields: Document| {
            reading(&with(fields), |read| {
                let chat = read.unwrap().chat;
                (chat.ended_at.map(|at| at.0 / 1_000), chat.failed)
            })
        };
        let both = doc! {"status": 1, "completed_at": date(7_000), "ended_at": date(7_005)};
        assert_eq!(end(both), (Some(7_005), false));
        assert_eq!(end(doc! {"status": 1_i64, "completed_at": date(7_000)}), (Some(7_000), false));
        assert_eq!(end(doc! {"status": "completed"}), (Some(9_000), false));
        assert_eq!(end(doc! {"status": 0, "ended_at": date(8_000)}), (Some(8_000), true));
        assert_eq!(end(doc! {"ended_at": "1970-01-01T00:00:08Z"}), (Some(8_000), true));
        assert_eq!(end(doc! {"status": 0}), (None, false));
    }

    #[test]
    fn a_general_chat_has_the_workflow_that_the_runtime_gives_it() {
        let mut general = with(doc! {"session_type": "general"});
        general.remove("workflow_name");
        reading(&general, |read| assert_eq!(read.unwrap().chat.workflow_name, GENERAL));
        general.remove("session_type");
        reading(&general, |read| assert_eq!(read.unwrap().chat.workflow_name, "unknown"));
    }

    #[test]
    fn what_we_wrote_ourselves_is_known_by_its_mark() {
        assert!(reading(&with(doc! {"written_by": "mozaiks-exporter"}), |read| read.unwrap().own));
        assert!(!reading(&with(doc! {"written_by": "someone"}), |read| read.unwrap().own));
    }

    fn any_value() -> impl Strategy<Value = Bson> {
        let simple = prop_oneof![
            Just(Bson::Null),
            any::<bool>().prop_map(Bson::Boolean),
            any::<i32>().prop_map(Bson::Int32),
            any::<i64>().prop_map(Bson::Int64),
            any::<f64>().prop_map(Bson::Double),
            any::<[u8; 16]>().prop_map(|b| Bson::Decimal128(Decimal128::from_bytes(b))),
            any::<i64>().prop_map(|ms| Bson::DateTime(DateTime::from_millis(ms))),
            any::<[u8; 12]>().prop_map(|b| Bson::ObjectId(ObjectId::from_bytes(b))),
            ".{0,20}".prop_map(Bson::String),
        ];
        simple.prop_recursive(2, 8, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Bson::Array),
                proptest::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|fields| Bson::Document(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_document_is_a_chat_or_is_refused(
            values in proptest::collection::vec(any_value(), FIELDS.len() + 1),
            present in any::<u32>(),
        ) {
            let names = FIELDS.iter().copied().chain([AGENT_MESSAGES]);
            let mut document = chat();
            for (n, (name, value)) in names.zip(values).enumerate() {
                if present & (1 << n) != 0 {
                    // A document has no name with a NUL in it, at any depth.
                    document.insert(name, value);
                }
            }
            let Ok(raw) = RawDocumentBuf::try_from(&document) else { return Ok(()) };
            if let Ok(Told { chat, .. }) = read(&raw, NameRule::new(64)) {
                prop_assert!(!chat.chat_id.is_empty() && chat.chat_id.len() <= 64);
                prop_assert!(chat.started_at.is_some());
                prop_assert!(chat.totals.counts.iter().flatten().all(|n| *n <= 1 << 53));
            }
        }

        #[test]
        fn any_bytes_are_a_chat_or_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 5..200)) {
            let size = i32::try_from(bytes.len()).unwrap();
            bytes[..4].copy_from_slice(&size.to_le_bytes());
            if let Some(last) = bytes.last_mut() {
                *last = 0;
            }
            if let Ok(document) = RawDocument::from_bytes(&bytes) {
                let refused = read(document, NameRule::new(64)).err();
                prop_assert!(refused.is_none_or(|refusal| !refusal.label().is_empty()));
            }
        }
    }
}
