//! Looks at a state directory without changing anything in it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::file::{DATABASE, LOCK, with_suffix};
use super::layout::{APPLICATION_ID, LAYOUT};

/// What has a meaning of its own in the path of an SQLite URI.
const URI_PATH: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// What lies in a state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing yet.
    Nothing,
    /// A state of that layout.
    State {
        /// Its layout.
        layout: i32,
        /// The layout that this version writes.
        ours: i32,
        /// Bytes of the file and its log.
        bytes: u64,
    },
    /// Something that is no state.
    Foreign(String),
}

/// What lies there, without migrating it.
pub fn content(dir: &Path) -> Content {
    let path = dir.join(DATABASE);
    let size = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    match fs::metadata(&path) {
        Ok(metadata) if metadata.len() == 0 => {
            return Content::Foreign("the file is empty".to_owned());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Content::Nothing,
        Err(error) => return Content::Foreign(error.to_string()),
    }
    let read = open_to_read(&path).and_then(|connection| {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
        Ok((pragma("application_id")?, pragma("user_version")?))
    });
    match read {
        Ok((APPLICATION_ID, layout)) => {
            let bytes = size(&path) + size(&with_suffix(&path, "-wal"));
            Content::State { layout, ours: LAYOUT, bytes }
        }
        Ok(_) => Content::Foreign("the file was not written by mozaiks-exporter".to_owned()),
        Err(error) => Content::Foreign(error.to_string()),
    }
}

/// Whether an exporter works with the directory. To know it, the lock is shared for a moment.
pub fn is_held(dir: &Path) -> io::Result<bool> {
    let lock = match File::open(dir.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Opens a database that is not to be written to.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    // A database without a log is complete, and is read without files beside it; one with a
    // log is read together with that.
    let has_log = fs::metadata(with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let how = if has_log { "mode=ro" } else { "mode=ro&immutable=1" };
    let name = path.to_string_lossy();
    let uri = format!("file:{}?{how}", utf8_percent_encode(&name, URI_PATH));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(uri, flags)
}
