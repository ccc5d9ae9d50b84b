//! The file itself: layout, checksums, migration, damage.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::layout::{APPLICATION_ID, LAYOUT, key, migrate};
use crate::ledger::{Entry, Kind};
use crate::model::Timestamp;

/// What has a meaning of its own in the path of an SQLite URI.
const URI_PATH: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');
/// Names of the files in the state directory.
const DATABASE: &str = "state.db";
const LOCK: &str = "lock";

/// Why a state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// It does not exist and cannot be made, or cannot be written to.
    #[error("cannot write to state directory {}", path.display())]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process works with it.
    #[error("state directory {} is in use by another mozaiks-exporter", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The database can neither be opened nor moved aside.
    #[error("cannot open {}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The file was written by a later version.
    #[error("{} has layout {found}, this version knows up to {LAYOUT}; run the version that wrote it, or another --state-dir", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: i32,
    },
}

/// A state directory that is ours, and what was in it.
#[derive(Debug)]
pub struct Opened {
    /// The open file.
    pub file: StoreFile,
    /// All rows.
    pub entries: Vec<Entry>,
    /// Where a damaged file was moved to, and what was wrong with it.
    pub damage: Option<(PathBuf, String)>,
}

/// The open file. Dropping it ends the lock.
#[derive(Debug)]
pub struct StoreFile {
    connection: Connection,
    path: PathBuf,
    _lock: File,
}

enum Unreadable {
    Damaged(String),
    Fatal(DirError),
}

impl StoreFile {
    /// Opens the state in `dir`, which is made if it is not there. A damaged file is moved aside.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Opened, DirError> {
        let unwritable = |source| DirError::Unwritable { path: dir.to_owned(), source };
        create_private_dir(dir).map_err(unwritable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK))
            .map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DirError::InUse { path: dir.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(unwritable(source)),
        }
        let path = dir.join(DATABASE);
        let (connection, entries, damage) = match read(&path) {
            Ok((connection, entries)) => (connection, entries, None),
            Err(Unreadable::Fatal(error)) => return Err(error),
            Err(Unreadable::Damaged(reason)) => {
                let aside = move_aside(&path, now).map_err(unwritable)?;
                let (connection, entries) = read(&path).map_err(|error| match error {
                    Unreadable::Fatal(error) => error,
                    Unreadable::Damaged(why) => unwritable(io::Error::other(why)),
                })?;
                (connection, entries, Some((aside, reason)))
            }
        };
        let file = Self { connection, path, _lock: lock };
        Ok(Opened { file, entries, damage })
    }

    /// Reads the rows of a state that cannot be written to, so that counting goes on from there.
    /// None where there is no whole one.
    pub fn peek(dir: &Path) -> Vec<Entry> {
        let path = dir.join(DATABASE);
        // A database without a log is complete, and is read without files beside it; one with a
        // log is read together with that.
        let has_log = fs::metadata(with_suffix(&path, "-wal")).is_ok_and(|log| log.len() > 0);
        let how = if has_log { "mode=ro" } else { "mode=ro&immutable=1" };
        let name = path.to_string_lossy();
        let uri = format!("file:{}?{how}", utf8_percent_encode(&name, URI_PATH));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let read = Connection::open_with_flags(uri, flags).and_then(|c| {
            let layout: i32 = c.pragma_query_value(None, "user_version", |row| row.get(0))?;
            // `entry` looks the same in all of them.
            if (1..=LAYOUT).contains(&layout) { read_entries(&c) } else { Ok(Ok(Vec::new())) }
        });
        match read {
            Ok(Ok(entries)) => entries,
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    /// Moves the file aside because its rows make no ledger, and starts an empty one.
    pub fn start_over(self, reason: String, now: Timestamp) -> Result<Opened, DirError> {
        let dir = self.path.parent().unwrap_or(Path::new(".")).to_owned();
        let unwritable = |source| DirError::Unwritable { path: dir.clone(), source };
        let path = self.path.clone();
        drop(self);
        let aside = move_aside(&path, now).map_err(unwritable)?;
        let opened = Self::open(&dir, now)?;
        Ok(Opened { damage: Some((aside, reason)), ..opened })
    }

    /// Whether an error of [`StoreFile::commit`] says that the file is damaged.
    pub fn is_damage(error: &rusqlite::Error) -> bool {
        let code = error.sqlite_error_code();
        matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// Writes all rows at once, or none of them. What it returns `Ok` for survives power loss.
    pub fn commit(&mut self, entries: &[Entry]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT INTO row (key, body, crc) VALUES (?1, ?2, ?3)
                 ON CONFLICT (key) DO UPDATE SET body = ?2, crc = ?3",
            )?;
            let mut remove = transaction.prepare_cached("DELETE FROM row WHERE key = ?1")?;
            for entry in entries {
                let (kind, id) = (entry.kind as i64, entry.id.cast_signed());
                let key = key(kind, id);
                match &entry.body {
                    Some(body) => put.execute(params![key, body, checksum(kind, id, body)])?,
                    None => remove.execute(params![key])?,
                };
            }
        }
        transaction.commit()
    }

    /// Bytes of the file and its log.
    pub fn size_bytes(&self) -> u64 {
        let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        size(&self.path) + size(&with_suffix(&self.path, "-wal"))
    }
}

/// Opens the file and reads all rows of it.
fn read(path: &Path) -> Result<(Connection, Vec<Entry>), Unreadable> {
    let fatal = |source| Unreadable::Fatal(DirError::Database { path: path.to_owned(), source });
    // What lies with the surroundings is not the file's fault; everything else is damage.
    let sort = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DiskFull
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure,
        ) => fatal(error),
        _ => Unreadable::Damaged(error.to_string()),
    };
    // An empty file is a valid empty database to SQLite; here it is one that was cut to nothing.
    let is_empty = fs::metadata(path).is_ok_and(|metadata| metadata.len() == 0);
    if is_empty {
        return Err(Unreadable::Damaged("the file is empty".into()));
    }
    let existed = path.exists();
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sort)?;
    // FULL: a commit is on the disk before it returns, so that it outlives the power, too.
    connection
        .execute_batch(
            // What was removed is not to be found in the file: it names users. The log goes back to
            // its usual size after a large commit.
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = FAST;
             PRAGMA journal_size_limit = 8388608;",
        )
        .map_err(sort)?;
    let pragma = |connection: &Connection, name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(sort)
    };
    let (owner, layout) =
        (pragma(&connection, "application_id")?, pragma(&connection, "user_version")?);
    if existed && owner != APPLICATION_ID {
        return Err(Unreadable::Damaged("the file was not written by mozaiks-exporter".into()));
    }
    if layout > LAYOUT {
        let error = DirError::TooNew { path: path.to_owned(), found: layout };
        return Err(Unreadable::Fatal(error));
    }
    migrate(&mut connection, layout).map_err(sort)?;
    let entries = read_entries(&connection).map_err(sort)??;
    if existed && entries.is_empty() {
        // A file that was cut short may look like a new one; so small a file is checked at once.
        let check: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sort)?;
        if check != "ok" {
            return Err(Unreadable::Damaged(check));
        }
    }
    Ok((connection, entries))
}

fn read_entries(connection: &Connection) -> rusqlite::Result<Result<Vec<Entry>, Unreadable>> {
    let mut entries = Vec::new();
    let mut statement = connection.prepare("SELECT kind, id, body, crc FROM entry")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, id): (i64, i64) = (row.get(0)?, row.get(1)?);
        // Bytes, not a string: damage may have made the text invalid.
        let body = row.get_ref(2)?.as_bytes().unwrap_or_default();
        let Ok(body) = std::str::from_utf8(body) else {
            return Ok(Err(Unreadable::Damaged(format!("row {kind}/{id} is not text"))));
        };
        let crc: i64 = row.get(3)?;
        let kind_known = Kind::from_number(kind);
        let (Some(known), true) = (kind_known, checksum(kind, id, body) == crc) else {
            return Ok(Err(Unreadable::Damaged(format!("row {kind}/{id} has a wrong checksum"))));
        };
        entries.push(Entry { kind: known, id: id.cast_unsigned(), body: Some(body.to_owned()) });
    }
    Ok(Ok(entries))
}

fn checksum(kind: i64, id: i64, body: &str) -> i64 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&kind.to_le_bytes());
    crc.update(&id.to_le_bytes());
    crc.update(body.as_bytes());
    crc.finalize().into()
}

/// Renames the file, its log and its index, so that they stay together for whoever looks at them.
fn move_aside(path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let aside = with_suffix(path, &format!(".damaged-{}", now.0 / 1_000_000));
    for suffix in ["-wal", "-shm", ""] {
        match fs::rename(with_suffix(path, suffix), with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The state holds user ids in clear, so the directory is its owner's alone if we make it.
fn create_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(test)]
mod tests {
    use super::super::layout::MIGRATIONS;
    use super::*;

    fn entry(id: u64, body: &str) -> Entry {
        Entry { kind: Kind::Chat, id, body: Some(body.into()) }
    }

    fn filled(dir: &Path) -> Vec<Entry> {
        let mut opened = StoreFile::open(dir, Timestamp(0)).unwrap();
        let entries: Vec<Entry> =
            (0..200).map(|id| entry(id, &format!("{{\"n\":{id}}}").repeat(20))).collect();
        opened.file.commit(&entries).unwrap();
        entries
    }

    #[test]
    fn what_was_committed_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let entries = filled(dir.path());
        let mut opened = StoreFile::open(dir.path(), Timestamp(0)).unwrap();
        assert_eq!(opened.entries, entries);
        assert!(opened.damage.is_none());
        opened.file.commit(&[Entry { body: None, ..entry(7, "") }]).unwrap();
        drop(opened);
        let opened = StoreFile::open(dir.path(), Timestamp(0)).unwrap();
        assert_eq!(opened.entries.len(), entries.len() - 1);
    }

    #[test]
    fn what_cannot_be_written_to_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("50%? of #1");
        assert!(StoreFile::peek(&dir).is_empty());
        let entries = filled(&dir);
        assert_eq!(StoreFile::peek(&dir), entries, "closed in good order");
        let mut opened = StoreFile::open(&dir, Timestamp(0)).unwrap();
        opened.file.commit(&[entry(1000, "{}")]).unwrap();
        assert_eq!(StoreFile::peek(&dir).len(), entries.len() + 1, "with a log that is not merged");
    }

    #[test]
    fn rows_of_the_first_layout_are_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let entries = filled(dir.path());
        fs::remove_file(dir.path().join(DATABASE)).unwrap();
        let old = Connection::open(dir.path().join(DATABASE)).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        for Entry { kind, id, body } in &entries {
            let (kind, id, body) = (*kind as i64, id.cast_signed(), body.as_deref().unwrap());
            let row = params![kind, id, body, checksum(kind, id, body)];
            old.execute("INSERT INTO entry VALUES (?1, ?2, ?3, ?4)", row).unwrap();
        }
        old.pragma_update(None, "user_version", 1).unwrap();
        old.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        drop(old);
        assert_eq!(StoreFile::peek(dir.path()), entries);
        let mut opened = StoreFile::open(dir.path(), Timestamp(0)).unwrap();
        assert!(opened.damage.is_none());
        assert_eq!(opened.entries, entries);
        opened.file.commit(&[entry(7, "{}"), Entry { body: None, ..entry(8, "") }]).unwrap();
        let shown = "SELECT count(*), min(kind), max(id) FROM entry";
        let shown = opened.file.connection.query_row(shown, [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        assert_eq!(shown, Ok((199, Kind::Chat as i64, 199)));
        let chats = "SELECT count(*) FROM chats";
        let chats = opened.file.connection.query_row(chats, [], |row| row.get::<_, i64>(0));
        assert_eq!(chats, Ok(199));
    }

    #[test]
    fn a_second_instance_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let _first = StoreFile::open(dir.path(), Timestamp(0)).unwrap();
        let second = StoreFile::open(dir.path(), Timestamp(0)).unwrap_err();
        assert!(matches!(second, DirError::InUse { .. }));
    }

    #[test]
    fn a_file_cut_anywhere_is_read_whole_or_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let entries = filled(dir.path());
        let path = dir.path().join(DATABASE);
        let whole = fs::read(&path).unwrap();
        for keep in (0..whole.len()).step_by(611) {
            fs::write(&path, &whole[..keep]).unwrap();
            let opened = StoreFile::open(dir.path(), Timestamp(9_000_000)).unwrap();
            let (aside, _) = opened.damage.unwrap();
            assert!(opened.entries.is_empty());
            assert_eq!(fs::read(&aside).unwrap().len(), keep);
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, &whole).unwrap();
        assert_eq!(StoreFile::open(dir.path(), Timestamp(0)).unwrap().entries, entries);
    }

    #[test]
    fn a_flipped_byte_never_changes_a_row_unseen() {
        let dir = tempfile::tempdir().unwrap();
        let entries = filled(dir.path());
        let path = dir.path().join(DATABASE);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(997) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x15;
            fs::write(&path, &flipped).unwrap();
            match StoreFile::open(dir.path(), Timestamp(9_000_000)) {
                Ok(opened) if opened.damage.is_none() => assert_eq!(opened.entries, entries),
                Ok(opened) => assert!(opened.entries.is_empty()),
                // A version number from the future is refused, not thrown away.
                Err(error) => assert!(matches!(error, DirError::TooNew { .. }), "{error}"),
            }
        }
    }
}
