//! What is in the file, and how files of earlier versions come to have it.

use rusqlite::Connection;

/// Marks the file as ours (`PRAGMA application_id`): "mzxp".
pub(super) const APPLICATION_ID: i32 = 0x6d7a_7870;
/// Version of the layout (`PRAGMA user_version`).
pub(super) const LAYOUT: i32 = 3;
/// Bits of a row's key that hold its number; its kind stands above them. Numbers are counted up from
/// zero, so none ever comes near.
const NUMBER_BITS: u32 = 56;
/// What brings a file of each version to the next.
pub(super) const MIGRATIONS: [&str; LAYOUT as usize] = [
    // `entry` is all that is read back; the other views are for people with a `sqlite3` shell.
    "CREATE TABLE entry (
         kind INTEGER NOT NULL,
         id   INTEGER NOT NULL,
         body TEXT    NOT NULL,
         crc  INTEGER NOT NULL,
         PRIMARY KEY (kind, id)
     ) WITHOUT ROWID, STRICT;
     CREATE VIEW chats AS SELECT
         id,
         body ->> '$.chat_id' AS chat_id,
         body ->> '$.app_id' AS app_id,
         body ->> '$.workflow_name' AS workflow_name,
         body ->> '$.user_id' AS user_id,
         body ->> '$.phase' AS phase,
         body ->> '$.book.published.counts[0]' AS agent_turns,
         body ->> '$.book.published.counts[1]' AS tool_calls,
         body ->> '$.book.published.counts[2]' AS errors,
         body ->> '$.book.published.counts[3]' AS prompt_tokens,
         body ->> '$.book.published.counts[4]' AS completion_tokens,
         body ->> '$.book.published.cost' AS cost_usd
     FROM entry WHERE kind = 4;
     CREATE VIEW workflows AS SELECT
         id,
         body ->> '$.app_id' AS app_id,
         body ->> '$.workflow_name' AS workflow_name,
         body ->> '$.starts' AS starts,
         body ->> '$.totals.counts[0]' AS agent_turns,
         body ->> '$.totals.counts[1]' AS tool_calls,
         body ->> '$.totals.counts[2]' AS errors,
         body ->> '$.totals.counts[3]' AS prompt_tokens,
         body ->> '$.totals.counts[4]' AS completion_tokens,
         body ->> '$.totals.cost' AS cost_usd
     FROM entry WHERE kind = 2;",
    // A table without a rowid puts what is longer than a kilobyte on a page for itself, and a chat
    // with two witnesses is: written again, it cost 9 KB and four times the CPU. As a view, `entry`
    // looks as it did.
    "CREATE TABLE row (key INTEGER PRIMARY KEY, body TEXT NOT NULL, crc INTEGER NOT NULL) STRICT;
     INSERT INTO row SELECT kind << 56 | id, body, crc FROM entry ORDER BY kind, id;
     DROP TABLE entry;
     CREATE VIEW entry AS SELECT
         key >> 56 AS kind,
         key & 0xffffffffffffff AS id,
         body,
         crc
     FROM row;",
    // Rows of chats leave out what is usual, and what the rows of their workflows and users say.
    "DROP VIEW chats;
     CREATE VIEW chats AS SELECT
         chat.key & 0xffffffffffffff AS id,
         chat.body ->> '$.i' AS chat_id,
         coalesce(chat.body ->> '$.a', workflow.body ->> '$.app_id') AS app_id,
         coalesce(chat.body ->> '$.f', workflow.body ->> '$.workflow_name') AS workflow_name,
         coalesce(chat.body ->> '$.n', user.body ->> '$.user_id') AS user_id,
         CASE chat.body ->> '$.p' WHEN 1 THEN 'ended' WHEN 2 THEN 'lost' ELSE 'live' END AS phase,
         coalesce(chat.body ->> '$.c[0]', 0) AS agent_turns,
         coalesce(chat.body ->> '$.c[1]', 0) AS tool_calls,
         coalesce(chat.body ->> '$.c[2]', 0) AS errors,
         coalesce(chat.body ->> '$.c[3]', 0) AS prompt_tokens,
         coalesce(chat.body ->> '$.c[4]', 0) AS completion_tokens,
         coalesce(chat.body ->> '$.m', '0') AS cost_usd
     FROM row AS chat
     LEFT JOIN row AS workflow
         ON workflow.key = (2 << 56 | coalesce(chat.body ->> '$.w', 0))
     LEFT JOIN row AS user
         ON user.key = (3 << 56 | coalesce(chat.body ->> '$.u', 0))
     WHERE chat.key >= (4 << 56) AND chat.key < (5 << 56);",
];

/// All rows in their order: key, body, checksum. `None` of a layout that is not known.
pub(super) fn rows(layout: i32) -> Option<&'static str> {
    match layout {
        1 => Some("SELECT kind << 56 | id, body, crc FROM entry ORDER BY kind, id"),
        2..=LAYOUT => Some("SELECT key, body, crc FROM row ORDER BY key"),
        _ => None,
    }
}

/// The key of a row.
pub(super) fn key(kind: i64, id: u64) -> i64 {
    kind << NUMBER_BITS | id.cast_signed()
}

/// Kind and number of a key.
pub(super) fn parts(key: i64) -> (i64, u64) {
    (key >> NUMBER_BITS, (key & ((1 << NUMBER_BITS) - 1)).cast_unsigned())
}

/// Brings a file of that layout to the present one.
pub(super) fn migrate(connection: &mut Connection, from: i32) -> rusqlite::Result<()> {
    let done = usize::try_from(from).unwrap_or(0);
    let transaction = connection.transaction()?;
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    if done < MIGRATIONS.len() {
        transaction.pragma_update(None, "user_version", LAYOUT)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    transaction.commit()
}
