//! Waits until something is written: by inotify on folders, else by the clock.
//!
//! What inotify says is only ever "look again". So lost, merged and foreign events do no harm, and
//! events are left in the kernel, where equal ones become one, until it is time to look.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::statfs;
use tokio::net::unix::pipe;
use tracing::{debug, info};

/// File systems that do not say what other machines, or the other side of a mount, write. Numbers
/// from Linux' `magic.h` and the file systems' own sources.
const REMOTE: [u32; 16] = [
    0x0000_6969, // NFS
    0x0000_517B, // SMB
    0xFE53_4D42, // SMB 2
    0xFF53_4D42, // CIFS
    0x6573_5546, // FUSE, virtiofs
    0x0102_1997, // 9P
    0x00C3_6400, // Ceph
    0x5346_414F, // AFS
    0x6B41_4653, // kAFS
    0x7375_7245, // Coda
    0x0BD0_0BD0, // Lustre
    0x4750_4653, // GPFS
    0x0116_1970, // GFS2
    0x7461_636F, // OCFS2
    0x786F_4256, // VirtualBox shared folders
    0x7C7C_6673, // Parallels shared folders
];

/// Watches folders. All calls can block, and belong where blocking is allowed.
#[derive(Debug)]
pub(super) struct Watches {
    inotify: Option<OwnedFd>,
    watched: BTreeMap<PathBuf, i32>,
    /// Folders that must be looked at by the clock.
    unwatched: BTreeSet<PathBuf>,
}

impl Watches {
    pub(super) fn new() -> Self {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let inotify = inotify
            .inspect_err(|error| info!(%error, "no inotify: log files are looked at by the clock"))
            .ok();
        Self { inotify, watched: BTreeMap::new(), unwatched: BTreeSet::new() }
    }

    /// Where changes are told.
    pub(super) fn events(&self) -> Option<Events> {
        let inotify = self.inotify.as_ref()?.try_clone().ok()?;
        pipe::Receiver::from_owned_fd_unchecked(inotify).ok().map(Events)
    }

    /// Some folder is not watched.
    pub(super) fn needs_clock(&self) -> bool {
        !self.unwatched.is_empty()
    }

    /// Watches these folders and no others. True where one is watched that was not before: what
    /// happened in it until now was not told.
    pub(super) fn watch(&mut self, folders: &BTreeSet<PathBuf>) -> bool {
        let Some(inotify) = self.inotify.as_ref() else {
            self.unwatched.clone_from(folders);
            return false;
        };
        let mut is_new = false;
        let mut watched = BTreeMap::new();
        let mut unwatched = BTreeSet::new();
        for folder in folders {
            // Also those that are watched: the folder may have been replaced, or mounted upon.
            match add(inotify, folder) {
                Ok(watch) => {
                    is_new |= self.watched.get(folder) != Some(&watch);
                    watched.insert(folder.clone(), watch);
                }
                Err(error) => {
                    if !self.unwatched.contains(folder) {
                        let folder = folder.display();
                        info!(%folder, %error, "a folder is looked at by the clock");
                    }
                    unwatched.insert(folder.clone());
                }
            }
        }
        for watch in self.watched.values().filter(|old| !watched.values().any(|new| new == *old)) {
            // A folder that is gone took its watch with it.
            if let Err(error) = inotify::remove_watch(inotify, *watch) {
                debug!(%error, "a watch was gone already");
            }
        }
        self.watched = watched;
        self.unwatched = unwatched;
        is_new
    }
}

fn add(inotify: &OwnedFd, folder: &Path) -> io::Result<i32> {
    if is_remote(folder)? {
        return Err(io::Error::other("it is on a network or shared file system"));
    }
    let changes = WatchFlags::MODIFY
        | WatchFlags::ATTRIB
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::DELETE_SELF
        | WatchFlags::MOVE_SELF
        | WatchFlags::ONLYDIR;
    Ok(inotify::add_watch(inotify, folder, changes)?)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers have 32 bits, and some architectures take them for signed"
)]
fn is_remote(folder: &Path) -> io::Result<bool> {
    Ok(REMOTE.contains(&(statfs(folder)?.f_type as u32)))
}

/// Says that something happened. To who waits and reads, inotify is a pipe.
#[derive(Debug)]
pub(super) struct Events(pipe::Receiver);

impl Events {
    /// Waits until something happened that was not drained. Wakes nobody any more where events
    /// cannot be had.
    pub(super) async fn happened(&self) {
        if let Err(error) = self.0.readable().await {
            debug!(%error, "no more events");
            std::future::pending::<()>().await;
        }
    }

    /// Forgets what happened until now.
    pub(super) fn drain(&self) {
        let mut buffer = [0; 8 * 1024];
        while matches!(self.0.try_read(&mut buffer), Ok(1..)) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;
    use tokio::time::timeout;

    async fn happens(events: &Events) -> bool {
        timeout(Duration::from_millis(100), events.happened()).await.is_ok()
    }

    #[tokio::test]
    async fn what_is_written_in_a_folder_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        let folders = BTreeSet::from([dir.path().to_owned()]);
        let mut watches = Watches::new();
        let events = watches.events().unwrap();
        assert!(watches.watch(&folders));
        assert!(!watches.watch(&folders) && !watches.needs_clock());
        assert!(!happens(&events).await);
        fs::write(&file, "one").unwrap();
        assert!(happens(&events).await);
        events.drain();
        assert!(!happens(&events).await);
        // Who only reads is of no interest.
        fs::read(&file).unwrap();
        assert!(!happens(&events).await);
        fs::rename(&file, dir.path().join("y")).unwrap();
        assert!(happens(&events).await);
    }

    #[tokio::test]
    async fn a_folder_that_was_made_anew_is_watched_anew() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("logs");
        let folders = BTreeSet::from([folder.clone()]);
        let mut watches = Watches::new();
        let events = watches.events().unwrap();
        watches.watch(&folders);
        assert!(watches.needs_clock());
        fs::create_dir(&folder).unwrap();
        assert!(watches.watch(&folders) && !watches.needs_clock());
        fs::remove_dir(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        assert!(watches.watch(&folders));
        fs::write(folder.join("x"), "one").unwrap();
        assert!(happens(&events).await);
        assert!(!watches.watch(&BTreeSet::new()));
        assert!(!watches.needs_clock());
    }

    #[test]
    fn a_disk_is_not_remote() {
        assert!(!is_remote(Path::new("/")).unwrap());
        assert!(is_remote(Path::new("/nowhere")).is_err());
    }
}
