//! Bodies of requests: read, unpacked, and bounded in bytes and in time.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Largest body as it is sent, in bytes.
pub(super) const MAX_SENT: usize = 8 << 20;
/// Largest body once it is unpacked, in bytes.
pub(super) const MAX_UNPACKED: usize = 32 << 20;
/// All bodies that are held at once, in KiB. Two of the largest, and many of the usual ones.
const MAX_HELD_KIB: usize = 64 << 10;
/// How long a client may take to send a body.
const LONGEST: Duration = Duration::from_secs(30);
/// How long it may be silent meanwhile.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);
/// What is read of a refused body, in bytes.
const MAX_DISCARDED: usize = 64 << 20;
/// For how long it is read.
const LONGEST_DISCARD: Duration = Duration::from_secs(2);
/// Unpacked at a time, in bytes.
const STEP: u64 = 64 << 10;

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// It is larger than is taken.
    #[error("the body is larger than {}; send less at once", Mib(*.0))]
    TooLarge(usize),
    /// It did not come in time.
    #[error("the body did not come within {} s", LONGEST.as_secs())]
    Slow,
    /// Too many bodies are held.
    #[error("too much is being received at once; try again")]
    Busy,
    /// The client went away, or broke its own framing.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// It is no gzip.
    #[error("the body is not gzip, or was cut short: {0}")]
    NotGzip(String),
}

struct Mib(usize);

impl std::fmt::Display for Mib {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} MiB", self.0 >> 20)
    }
}

/// Room for bodies, shared by all requests.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_HELD_KIB)))
    }
}

/// A body, and the room that it takes up.
#[derive(Debug, Default)]
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    room: Vec<OwnedSemaphorePermit>,
    kib: usize,
}

impl Held {
    /// Takes room for so many bytes.
    fn reserve(&mut self, room: &Room, bytes: usize) -> Result<(), ReadError> {
        let kib = bytes.div_ceil(1024).saturating_sub(self.kib);
        if kib == 0 {
            return Ok(());
        }
        // Some room at a time: permits are few, however small the pieces.
        let kib = kib.max(self.kib.clamp(4, 1024));
        let permits = u32::try_from(kib).map_err(|_| ReadError::Busy)?;
        let permit = Arc::clone(&room.0).try_acquire_many_owned(permits);
        self.room.push(permit.map_err(|_| ReadError::Busy)?);
        self.kib += kib;
        Ok(())
    }
}

impl Room {
    /// Reads a body to its end.
    pub(super) async fn read(&self, body: &mut Incoming) -> Result<Held, ReadError> {
        let stated = body.size_hint().lower();
        if stated > MAX_SENT as u64 {
            return Err(ReadError::TooLarge(MAX_SENT));
        }
        let mut held = Held::default();
        let end = Instant::now() + LONGEST;
        loop {
            let deadline = end.min(Instant::now() + LONGEST_SILENCE);
            let frame = match timeout_at(deadline, body.frame()).await {
                Err(_) => return Err(ReadError::Slow),
                Ok(None) => return Ok(held),
                Ok(Some(Err(error))) => return Err(ReadError::Broken(error.to_string())),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(data) = frame.into_data() else { continue };
            let size = held.bytes.len() + data.len();
            if size > MAX_SENT {
                return Err(ReadError::TooLarge(MAX_SENT));
            }
            held.reserve(self, size)?;
            held.bytes.extend_from_slice(&data);
        }
    }

    /// Unpacks a body that is gzip.
    pub(super) fn unpack(&self, packed: &Held) -> Result<Held, ReadError> {
        let mut decoder = MultiGzDecoder::new(&*packed.bytes);
        let mut held = Held::default();
        loop {
            held.reserve(self, held.bytes.len() + 1)?;
            let read = decoder.by_ref().take(STEP).read_to_end(&mut held.bytes);
            let read = read.map_err(|error| ReadError::NotGzip(error.to_string()))?;
            if held.bytes.len() > MAX_UNPACKED {
                return Err(ReadError::TooLarge(MAX_UNPACKED));
            }
            held.reserve(self, held.bytes.len())?;
            if read == 0 {
                return Ok(held);
            }
        }
    }
}

/// Reads the rest of a body that was refused, for a while: who is still sending when the connection
/// closes does not get to see the answer.
pub(super) async fn discard(body: &mut Incoming) {
    let deadline = Instant::now() + LONGEST_DISCARD;
    let mut size = 0;
    while size <= MAX_DISCARDED {
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => size += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Held {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        Held { bytes: encoder.finish().unwrap(), ..Held::default() }
    }

    #[test]
    fn a_bomb_is_refused_before_it_goes_off() {
        let room = Room::default();
        let bomb = gzip(&vec![b' '; MAX_UNPACKED + 1]);
        assert!(bomb.bytes.len() < 64 << 10);
        assert_eq!(room.unpack(&bomb).unwrap_err(), ReadError::TooLarge(MAX_UNPACKED));
        assert_eq!(room.0.available_permits(), MAX_HELD_KIB, "its room is free again");
    }

    #[test]
    fn what_is_cut_short_or_no_gzip_is_refused() {
        let mut cut = gzip(b"hello hello hello");
        cut.bytes.truncate(cut.bytes.len() - 3);
        assert!(matches!(Room::default().unpack(&cut), Err(ReadError::NotGzip(_))));
        let plain = Held { bytes: b"{}".to_vec(), ..Held::default() };
        assert!(matches!(Room::default().unpack(&plain), Err(ReadError::NotGzip(_))));
        assert_eq!(Room::default().unpack(&gzip(b"{}")).unwrap().bytes, b"{}");
    }

    #[test]
    fn who_comes_when_the_room_is_taken_is_told_to_come_again() {
        let room = Room::default();
        let mut first = Held::default();
        first.reserve(&room, (MAX_HELD_KIB << 10) - 1024).unwrap();
        assert_eq!(Held::default().reserve(&room, 5000), Err(ReadError::Busy));
        drop(first);
        assert_eq!(Held::default().reserve(&room, 5000), Ok(()));
    }
}
