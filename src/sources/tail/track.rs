//! One followed file while we run.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;
use tracing::{info, warn};

use super::discover::Found;
use super::place::{Place, Print};
use super::rotation::Age;

/// A file that was changed so recently can be changed again without a new time.
const MTIME_GRAIN: Duration = Duration::from_secs(2);

/// What we know of a file's whereabouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was left by the last run, and is still to be looked for.
    Kept,
    /// It was there when last looked for.
    Live,
    /// It is gone since then.
    Lost(Instant),
}

/// One followed file.
#[expect(clippy::struct_excessive_bools, reason = "none of them follows from another")]
#[derive(Debug)]
pub(super) struct Track {
    pub(super) place: Place,
    pub(super) standing: Standing,
    pub(super) age: Age,
    pub(super) path: PathBuf,
    /// How large it was when last seen.
    pub(super) size: u64,
    /// Which look saw it last, and where it stood then among the files of its family.
    pub(super) rank: (u64, usize),
    /// When it was last seen to have grown.
    pub(super) grew: Instant,
    /// Held open where more may come, so that it can be read to its end when it is deleted.
    pub(super) file: Option<File>,
    /// How a current file begins of which nothing was handed out yet.
    pub(super) glimpse: Print,
    /// So many bytes after the offset hold no newline.
    pub(super) searched: u64,
    /// Size and time of the last change when the content was last compared with the place.
    pub(super) verified: Option<(u64, SystemTime)>,
    /// Why it cannot be read.
    pub(super) failed: Option<String>,
    /// It could be opened again since then.
    pub(super) may_retry: bool,
    /// It may be a copy of another file; that must be clear before it is read.
    pub(super) undecided: bool,
    /// There is a copy of it that leaves the telling to it.
    pub(super) has_twin: bool,
    /// How large it was when we first looked.
    pub(super) goal: u64,
    /// The place was handed out to be kept.
    pub(super) is_kept: bool,
}

impl Track {
    /// A file that was left by the last run.
    pub(super) fn kept(place: Place, now: Instant) -> Self {
        Self {
            path: PathBuf::from(&place.base),
            place,
            standing: Standing::Kept,
            age: Age::Current,
            size: 0,
            rank: (0, 0),
            grew: now,
            file: None,
            glimpse: Print::default(),
            searched: 0,
            verified: None,
            failed: None,
            may_retry: false,
            undecided: false,
            has_twin: false,
            goal: 0,
            is_kept: true,
        }
    }

    /// A file that was not known before, to be read from its start.
    pub(super) fn new(found: &Found, now: Instant) -> Self {
        let place = Place::new(found.base.clone(), found.id, found.born);
        let mut track = Self::kept(place, now);
        track.is_kept = false;
        track.see(found, now);
        track
    }

    /// It was seen as that.
    pub(super) fn see(&mut self, found: &Found, now: Instant) {
        self.standing = Standing::Live;
        self.place.base.clone_from(&found.base);
        self.place.id = found.id;
        self.place.born = found.born;
        self.age = found.age.clone();
        self.path.clone_from(&found.path);
        self.see_size(found.size, now);
    }

    /// It was seen with that size.
    pub(super) fn see_size(&mut self, size: u64, now: Instant) {
        if size < self.size {
            self.searched = 0;
        }
        if size != self.size {
            self.size = size;
            self.grew = now;
        }
    }

    /// Its content was compared with the place; no need to do so again until it changes.
    pub(super) fn note_verified(&mut self, found: &Found, wall: SystemTime) {
        let old = |modified: &SystemTime| {
            wall.duration_since(*modified).is_ok_and(|since| since > MTIME_GRAIN)
        };
        self.verified = found.modified.filter(old).map(|modified| (found.size, modified));
    }

    /// The place would be another one for a file of which nothing is known.
    pub(super) fn is_worth_keeping(&self) -> bool {
        !self.place.is_void() || self.has_twin
    }

    /// It cannot be read, and nothing says that this has changed.
    pub(super) fn is_barred(&self) -> bool {
        self.failed.is_some() && !self.may_retry
    }

    pub(super) fn is_live(&self) -> bool {
        self.standing == Standing::Live
    }

    /// The file that its writer has open.
    pub(super) fn is_current(&self) -> bool {
        self.is_live() && self.age == Age::Current
    }

    /// It is new, and may hold what was written after another content was copied away.
    pub(super) fn is_unglimpsed(&self) -> bool {
        self.is_current()
            && self.size > 0
            && self.place.strength() == 0
            && self.glimpse.bytes == 0
            && !self.is_barred()
    }

    /// Bytes that are still to be handed out.
    pub(super) fn behind(&self) -> u64 {
        let can_be_read = self.is_live() || self.file.is_some();
        if can_be_read && self.place.twin.is_none() {
            self.size.saturating_sub(self.place.offset)
        } else {
            0
        }
    }

    /// Everything that lay there when we first looked was handed out, or cannot be now.
    pub(super) fn has_reached_goal(&self) -> bool {
        let searched = if self.is_current() { self.searched } else { 0 };
        self.place.offset + searched >= self.goal || self.behind() == 0 || self.failed.is_some()
    }

    /// Starts over: it is another file than was thought.
    pub(super) fn restart(&mut self) {
        self.place.offset = 0;
        self.place.twin = None;
        self.place.head = Print::default();
        self.place.trail = Print::default();
        self.searched = 0;
    }

    /// Goes to the end of what is there, which holds nothing new.
    pub(super) fn go_to_end(&mut self, file: &File) -> io::Result<()> {
        self.place.offset = self.size;
        self.place.border = self.place.border.min(self.size);
        self.searched = 0;
        self.place.head = Print::default();
        self.place.take_prints(file)
    }

    /// Notes that it cannot be read, and says it once.
    pub(super) fn fail(&mut self, error: &io::Error) {
        if self.failed.is_none() {
            warn!(path = %self.path.display(), %error, "a followed file cannot be read");
        }
        self.failed = Some(error.to_string());
        self.may_retry = false;
    }

    /// Notes that it can be read, and says it once.
    pub(super) fn recover(&mut self) {
        if self.failed.take().is_some() {
            info!(path = %self.path.display(), "a followed file can be read again");
        }
    }
}

/// Opens a file to read it, and waits for nobody even if it has become a pipe.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or_default();
    File::options().read(true).custom_flags(flags).open(path)
}
