//! The file itself: layout, checksums, migration, damage.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use super::layout::{self, APPLICATION_ID, LAYOUT};
use super::look::open_to_read;
use crate::ledger::{Entry, Kind};
use crate::model::Timestamp;

/// Names of the files in the state directory.
pub(super) const DATABASE: &str = "state.db";
pub(super) const LOCK: &str = "lock";

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

/// Takes a row, or says why it cannot be.
pub type Take<'t> = dyn FnMut(Kind, u64, &str) -> Result<(), String> + 't;

/// A state directory that is ours, and what was in it.
#[derive(Debug)]
pub struct Opened {
    /// The open file.
    pub file: StoreFile,
    /// How many rows were in it.
    pub rows: usize,
    /// Where a damaged file was moved to, and what was wrong with it.
    pub damage: Option<(PathBuf, String)>,
}

/// The open file. Dropping it ends the lock.
#[derive(Debug)]
pub struct StoreFile {
    pub(super) connection: Connection,
    path: PathBuf,
    _lock: File,
}

enum Unreadable {
    Damaged(String),
    Fatal(DirError),
}

impl StoreFile {
    /// Opens the state in `dir`, which is made if it is not there, and hands its rows on one by one,
    /// in the order of kinds and numbers. A damaged file, or one with a row that is refused, is moved
    /// aside; then what was taken is worth nothing.
    pub fn open(dir: &Path, now: Timestamp, take: &mut Take<'_>) -> Result<Opened, DirError> {
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
        let (connection, rows, damage) = match read(&path, take) {
            Ok((connection, rows)) => (connection, rows, None),
            Err(Unreadable::Fatal(error)) => return Err(error),
            Err(Unreadable::Damaged(reason)) => {
                let aside = move_aside(&path, now).map_err(unwritable)?;
                let (connection, _) = read(&path, take).map_err(|error| match error {
                    Unreadable::Fatal(error) => error,
                    Unreadable::Damaged(why) => unwritable(io::Error::other(why)),
                })?;
                (connection, 0, Some((aside, reason)))
            }
        };
        let file = Self { connection, path, _lock: lock };
        Ok(Opened { file, rows, damage })
    }

    /// Reads the rows of a state that cannot be written to, so that counting goes on from there.
    /// `false` where there is no whole one: then what was taken is worth nothing.
    pub fn peek(dir: &Path, take: &mut Take<'_>) -> bool {
        let path = dir.join(DATABASE);
        let read = open_to_read(&path).and_then(|c| {
            let layout: i32 = c.pragma_query_value(None, "user_version", |row| row.get(0))?;
            read_rows(&c, layout, take)
        });
        matches!(read, Ok(Ok(_)))
    }

    /// Moves the file aside because its rows make no ledger, and starts an empty one.
    pub fn start_over(self, reason: String, now: Timestamp) -> Result<Opened, DirError> {
        let dir = self.path.parent().unwrap_or(Path::new(".")).to_owned();
        let unwritable = |source| DirError::Unwritable { path: dir.clone(), source };
        let path = self.path.clone();
        drop(self);
        let aside = move_aside(&path, now).map_err(unwritable)?;
        let opened = Self::open(&dir, now, &mut |_, _, _| Ok(()))?;
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
            for Entry { kind, id, body } in entries {
                let (kind, key) = (*kind as i64, layout::key(*kind as i64, *id));
                match body {
                    Some(body) => put.execute(params![key, body, checksum(kind, *id, body)])?,
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
fn read(path: &Path, take: &mut Take<'_>) -> Result<(Connection, usize), Unreadable> {
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
            // What was removed is not to be found in the file: it names users. A log that a large
            // commit made long is cut once it is merged.
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
    layout::migrate(&mut connection, layout).map_err(sort)?;
    let rows = read_rows(&connection, LAYOUT, take).map_err(sort)?;
    let rows = rows.map_err(Unreadable::Damaged)?;
    if existed && rows == 0 {
        // A file that was cut short may look like a new one; so small a file is checked at once.
        let check: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sort)?;
        if check != "ok" {
            return Err(Unreadable::Damaged(check));
        }
    }
    Ok((connection, rows))
}

/// Hands all rows on in their order. `Err` says what is wrong with them.
fn read_rows(
    connection: &Connection,
    layout: i32,
    take: &mut Take<'_>,
) -> rusqlite::Result<Result<usize, String>> {
    let Some(query) = layout::rows(layout) else { return Ok(Ok(0)) };
    let mut statement = connection.prepare(query)?;
    let mut rows = statement.query([])?;
    let mut number = 0;
    while let Some(row) = rows.next()? {
        let (kind, id) = layout::parts(row.get(0)?);
        // Bytes, not a string: damage may have made the text invalid.
        let body = row.get_ref(1)?.as_bytes().unwrap_or_default();
        let Ok(body) = std::str::from_utf8(body) else {
            return Ok(Err(format!("row {kind}/{id} is not text")));
        };
        let crc: i64 = row.get(2)?;
        let kind_known = Kind::from_number(kind);
        let (Some(known), true) = (kind_known, checksum(kind, id, body) == crc) else {
            return Ok(Err(format!("row {kind}/{id} has a wrong checksum")));
        };
        if let Err(reason) = take(known, id, body) {
            return Ok(Err(reason));
        }
        number += 1;
    }
    Ok(Ok(number))
}

pub(super) fn checksum(kind: i64, id: u64, body: &str) -> i64 {
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

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The state holds user ids in clear, so the directory is its owner's alone if we make it.
pub(super) fn create_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}
