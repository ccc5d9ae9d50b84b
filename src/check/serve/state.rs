//! The state directory: can it be written to, who else can read it, and what lies in it.

use std::fs::Metadata;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access, statvfs};
use rustix::process::geteuid;

use super::{Row, size};
use crate::store::{Content, content, is_held};

const THING: &str = "state directory";
const FILE: &str = "state file";
/// Less than this is soon full: a state of a hundred thousand chats has half of it.
const LITTLE: u64 = 100 << 20;
/// What people who have nothing to do with it may do.
const OTHERS: u32 = 0o007;

/// What there is to say of it.
pub(super) fn rows(dir: Option<&Path>) -> Vec<Row> {
    let Some(dir) = dir else {
        let what = "there is no place for state: a restart begins anew";
        return vec![Row::warn(THING, what, "name one with --state-dir")];
    };
    let metadata = match dir.metadata() {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            let what = format!("{} is no directory", dir.display());
            return vec![Row::fail(THING, what, "name another with --state-dir")];
        }
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return vec![creatable(dir)];
        }
        Err(error) => {
            let what = format!("{}: {error}", dir.display());
            return vec![Row::fail(THING, what, "name another with --state-dir")];
        }
    };
    let mut rows = vec![present(dir, &metadata)];
    rows.extend(room(dir));
    rows.push(file(dir));
    rows
}

/// Whether it could be made where it is not there yet.
fn creatable(dir: &Path) -> Row {
    let remedy = "make it for the user who serves, or name another with --state-dir";
    let Some(above) = dir.ancestors().skip(1).find(|above| above.symlink_metadata().is_ok()) else {
        return Row::fail(THING, format!("{} cannot be made", dir.display()), remedy);
    };
    let may = if above.is_dir() {
        access(above, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    };
    match may {
        Ok(()) => Row::ok(THING, format!("{} is not there and can be made", dir.display())),
        Err(error) => {
            let (dir, above) = (dir.display(), above.display());
            Row::fail(THING, format!("{dir} cannot be made in {above}: {error}"), remedy)
        }
    }
}

/// Who may write to it, and who may read it.
fn present(dir: &Path, metadata: &Metadata) -> Row {
    let shown = dir.display();
    // It has no name, so nothing of it is left whatever happens.
    if let Err(error) = tempfile::tempfile_in(dir).and_then(|mut probe| probe.write_all(b"probe")) {
        let remedy = "give it to the user who serves; counts would not outlive a restart";
        return Row::fail(THING, format!("{shown} cannot be written to: {error}"), remedy);
    }
    let (mode, owner, us) = (metadata.mode() & 0o7777, metadata.uid(), geteuid().as_raw());
    if owner != us {
        let what = format!("{shown} is writable, but belongs to uid {owner}, and this is uid {us}");
        return Row::warn(THING, what, "run the check as the user who serves");
    }
    if mode & OTHERS != 0 {
        let what = format!("{shown} is writable, and open to everybody on this machine ({mode:o})");
        return Row::warn(THING, what, format!("user ids lie in it: chmod o-rwx {shown}"));
    }
    Row::ok(THING, format!("{shown} is writable, and its owner's alone ({mode:o})"))
}

/// How much room there is; unknown where the file system does not say.
fn room(dir: &Path) -> Option<Row> {
    let found = statvfs(dir).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let what = format!("{} free", size(free));
    Some(if free < LITTLE {
        Row::warn("state space", what, "make room, or name another place with --state-dir")
    } else {
        Row::ok("state space", what)
    })
}

/// What lies in it.
fn file(dir: &Path) -> Row {
    let holder = match is_held(dir) {
        Ok(true) => ", held by a running exporter",
        Ok(false) => ", held by nobody",
        Err(error) => {
            let remedy = "run the check as the user who serves";
            return Row::fail(FILE, format!("its lock cannot be read: {error}"), remedy);
        }
    };
    match content(dir) {
        Content::Nothing => Row::ok(FILE, format!("none yet{holder}")),
        Content::State { layout, ours, bytes } if layout <= ours => {
            let next = if layout < ours {
                format!(", which serve turns into layout {ours}")
            } else {
                String::new()
            };
            Row::ok(FILE, format!("{}, layout {layout}{next}{holder}", size(bytes)))
        }
        Content::State { layout, ours, .. } => {
            let what = format!("has layout {layout}, and this version knows up to {ours}");
            Row::fail(FILE, what, "run the version that wrote it, or another --state-dir")
        }
        Content::Foreign(why) => {
            let what = format!("cannot be read: {why}");
            let remedy = "restore it from a copy; else serve moves it aside and counts anew";
            Row::fail(FILE, what, remedy)
        }
    }
}
