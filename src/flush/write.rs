//! One bulk write: a command with many changes, and what became of each.

use std::time::Duration;

use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};

use super::document::size;
use crate::mongo::{Mongo, MongoError, Reason, code};

/// Who wrote a document, so that nobody else's is touched.
pub(super) const WRITTEN_BY: &str = "written_by";
/// We did.
pub(super) const US: &str = "mozaiks-exporter";
/// How long one command may take.
const LIMIT: Duration = Duration::from_secs(10);
/// A command is sent once its changes are this large, far below the server's 48 MB: others
/// wait behind it.
const MAX_BYTES: usize = 1 << 20;
/// The largest document that is sent: a server takes 16 MB.
const MAX_STATEMENT_BYTES: usize = 15 << 20;
/// Errors that have nothing to do with the change: the server steps down or shuts
/// down, a lock, a time that ran out.
const PASSING: [i32; 12] = [24, 50, 64, 91, 112, 189, 262, 10107, 11600, 11602, 13435, 13436];

/// Errors of whole commands that come again as long as the command is the same: a name or a document
/// that the server does not take, a view in the place of the collection.
const LASTING: [i32; 11] = [2, 9, 14, 20, 52, 56, 57, 72, 73, 166, 10334];

/// One document to be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    /// Its `_id`.
    pub(super) id: Bson,
    /// A field that tells it from documents of another kind.
    pub(super) kind: Option<(&'static str, &'static str)>,
    /// Fields as they are to be.
    pub(super) set: Document,
    /// Fields for a document that is new.
    pub(super) set_on_insert: Document,
    /// Fields that are not to be.
    pub(super) unset: Vec<&'static str>,
}

impl Change {
    pub(super) fn new(
        id: Bson,
        kind: Option<(&'static str, &'static str)>,
        set: Document,
        unset: Vec<&'static str>,
    ) -> Self {
        Self { id, kind, set, set_on_insert: Document::new(), unset }
    }

    /// An item of the `update` command. Unless we own the collection, it finds only what is ours;
    /// where somebody else's has that id, the server refuses the second document.
    fn statement(self, own: bool) -> Document {
        let Self { id, kind, set, mut set_on_insert, unset } = self;
        let mut query = doc! {"_id": id};
        if own {
            set_on_insert.insert(WRITTEN_BY, US);
            set_on_insert.extend(kind.map(|(field, value)| (field.to_owned(), value.into())));
        } else {
            query.insert(WRITTEN_BY, US);
            query.extend(kind.map(|(field, value)| (field.to_owned(), value.into())));
        }
        let mut update = doc! {"$set": set};
        if !set_on_insert.is_empty() {
            update.insert("$setOnInsert", set_on_insert);
        }
        if !unset.is_empty() {
            let unset: Document =
                unset.into_iter().map(|field| (field.to_owned(), Bson::from(""))).collect();
            update.insert("$unset", unset);
        }
        doc! {"q": query, "u": update, "upsert": true, "multi": false}
    }
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// The document is as it should be.
    Written,
    /// Somebody else's document has its id.
    Conflict,
    /// The server takes no such document.
    Refused,
}

impl Outcome {
    pub(super) const ALL: [Self; 3] = [Self::Written, Self::Conflict, Self::Refused];

    /// The value of the `result` label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
        }
    }
}

/// What a bulk write came to.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Changes by what became of them, in the order of [`Outcome::ALL`].
    pub(super) outcomes: [u64; Outcome::ALL.len()],
    /// What the server said of the first change that it refused.
    pub(super) refusal: Option<String>,
}

impl Written {
    fn count(&mut self, outcome: Outcome, number: usize) {
        self.outcomes[outcome as usize] += number as u64;
    }
}

/// Writes the changes of one collection. An error means that some of them may be written, and all of
/// them have to be tried again.
pub(super) async fn write(
    mongo: &Mongo,
    database: &Database,
    collection: &str,
    changes: Vec<Change>,
    own: bool,
) -> Result<Written, MongoError> {
    let mut written = Written::default();
    let (commands, too_large) = split(changes, own);
    if too_large > 0 {
        written.count(Outcome::Refused, too_large);
        written.refusal = Some(format!("a document for {collection} is larger than 15 MiB"));
    }
    for statements in commands {
        send(mongo, database, collection, statements, &mut written).await?;
    }
    Ok(written)
}

/// Parts the changes into commands of bounded size. Returns how many are too large to be sent.
fn split(changes: Vec<Change>, own: bool) -> (Vec<Vec<Document>>, usize) {
    let (mut commands, mut bytes, mut too_large) = (vec![Vec::new()], 0, 0);
    for change in changes {
        let statement = change.statement(own);
        let size = size(&statement);
        if size > MAX_STATEMENT_BYTES {
            too_large += 1;
            continue;
        }
        if bytes + size > MAX_BYTES {
            commands.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        if let Some(command) = commands.last_mut() {
            command.push(statement);
        }
    }
    commands.retain(|command| !command.is_empty());
    (commands, too_large)
}

/// Whether an error is about one collection, so that others can be written to all the same.
pub(super) fn is_about_collection(error: &MongoError) -> bool {
    error.reason == Reason::Server && error.code.is_some_and(|code| !PASSING.contains(&code))
}

async fn send(
    mongo: &Mongo,
    database: &Database,
    collection: &str,
    statements: Vec<Document>,
    written: &mut Written,
) -> Result<(), MongoError> {
    let number = statements.len();
    let mut command = doc! {"update": collection, "updates": statements, "ordered": false};
    // As the URI has it; else as the server does it.
    if let Some(concern) = database.write_concern()
        && let Ok(concern) = mongodb::bson::serialize_to_bson(concern)
    {
        command.insert("writeConcern", concern);
    }
    let what = format!("writing to {collection}");
    let answer = match mongo.ask(&what, LIMIT, database.run_command(command)).await {
        Err(error) if error.code.is_some_and(|code| LASTING.contains(&code)) => {
            written.count(Outcome::Refused, number);
            written.refusal.get_or_insert(error.detail);
            return Ok(());
        }
        answer => answer?,
    };
    take_apart(&answer, number, &what, written)
}

/// Reads the server's answer.
fn take_apart(
    answer: &Document,
    number: usize,
    what: &str,
    written: &mut Written,
) -> Result<(), MongoError> {
    let failed = |said: &str, code: Option<i32>| {
        let reason =
            if code == Some(code::UNAUTHORIZED) { Reason::Unauthorized } else { Reason::Server };
        MongoError { code, ..MongoError::new(reason, format!("{what} failed: {said}")) }
    };
    let errors = answer.get_array("writeErrors").map(Vec::as_slice).unwrap_or_default();
    let errors = errors.iter().filter_map(Bson::as_document);
    let mut spoilt = 0;
    for error in errors {
        let code = error.get("code").and_then(as_i32);
        let said = error.get_str("errmsg").unwrap_or("no reason is given");
        match code {
            Some(code::DUPLICATE_KEY) => written.count(Outcome::Conflict, 1),
            Some(code) if PASSING.contains(&code) => return Err(failed(said, Some(code))),
            _ => {
                written.count(Outcome::Refused, 1);
                written.refusal.get_or_insert_with(|| failed(said, code).detail);
            }
        }
        spoilt += 1;
    }
    written.count(Outcome::Written, number.saturating_sub(spoilt));
    match answer.get_document("writeConcernError") {
        Ok(error) => {
            let said = error.get_str("errmsg").unwrap_or("the write concern was not met");
            Err(failed(said, error.get("code").and_then(as_i32)))
        }
        Err(_) => Ok(()),
    }
}

/// Servers answer with any of the numbers.
#[expect(clippy::cast_possible_truncation, reason = "a float to integer cast saturates")]
fn as_i32(number: &Bson) -> Option<i32> {
    match number {
        Bson::Int32(number) => Some(*number),
        Bson::Int64(number) => i32::try_from(*number).ok(),
        Bson::Double(number) => Some(*number as i32),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change() -> Change {
        Change::new("c".into(), Some(("kind", "chat")), doc! {"n": 1}, vec!["gone"])
    }

    #[test]
    fn only_what_is_ours_is_found_unless_all_is() {
        let update = doc! {"$set": {"n": 1}, "$unset": {"gone": ""}};
        let query = doc! {"_id": "c", "written_by": "mozaiks-exporter", "kind": "chat"};
        let expected = doc! {"q": query, "u": update, "upsert": true, "multi": false};
        assert_eq!(change().statement(false), expected);
        let owned = change().statement(true);
        assert_eq!(owned.get_document("q").unwrap(), &doc! {"_id": "c"});
        let inserted = owned.get_document("u").unwrap().get_document("$setOnInsert");
        assert_eq!(inserted.unwrap(), &doc! {"written_by": "mozaiks-exporter", "kind": "chat"});
    }

    #[test]
    fn commands_are_bounded_and_a_giant_costs_itself() {
        let of = |bytes: usize| {
            Change::new("c".into(), None, doc! {"text": "x".repeat(bytes)}, Vec::new())
        };
        let (commands, too_large) =
            split(vec![of(10), of(16 << 20), of(600_000), of(600_000), of(2 << 20), of(10)], false);
        assert_eq!(too_large, 1);
        let sizes: Vec<usize> = commands.iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1, 1]);
        assert_eq!(split(Vec::new(), false), (Vec::new(), 0));
    }

    #[test]
    fn each_change_has_an_outcome() {
        let error = |code: i32| doc! {"index": 0, "code": code, "errmsg": "why"};
        let read = |answer: Document| {
            let mut written = Written::default();
            take_apart(&answer, 5, "writing to c", &mut written).map(|()| written)
        };
        let fine = read(doc! {"ok": 1, "n": 5}).unwrap();
        assert_eq!(fine.outcomes, [5, 0, 0]);
        let mixed = read(doc! {"n": 2, "writeErrors": [error(11000), error(121), error(121)]});
        let mixed = mixed.unwrap();
        assert_eq!(mixed.outcomes, [2, 1, 2]);
        assert_eq!(mixed.refusal.as_deref(), Some("writing to c failed: why"));
        assert!(read(doc! {"n": 4, "writeErrors": [error(10107)]}).is_err());
        assert!(read(doc! {"n": 5, "writeConcernError": error(64)}).is_err());
        assert_eq!(read(doc! {"writeErrors": "nonsense"}).unwrap().outcomes, [5, 0, 0]);
    }
}
