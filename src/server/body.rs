//! Bodies of answers: bytes in pieces, and a word when the last one is handed on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// A piece is handed on only when there is room for it, so a slow client holds one piece, and the
/// last one leaves late.
const PIECE: usize = 64 * 1024;

/// Told how many bytes there were.
type OnLast = Box<dyn FnOnce(u64) + Send>;

/// The bytes of an answer.
#[derive(Default)]
pub struct Payload {
    ready: VecDeque<Bytes>,
    /// What comes behind those that are ready is made when they have left.
    made: Option<Box<dyn Iterator<Item = Bytes> + Send>>,
    sent: u64,
    on_last: Vec<OnLast>,
}

impl Payload {
    /// Answers with these.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self::of_parts([bytes.into()])
    }

    /// Answers with these, one after another.
    pub(super) fn of_parts(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let ready = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Self { ready, ..Self::default() }
    }

    /// Answers with what is made as it leaves. What is short is made at once, so that its length is
    /// known.
    pub(super) fn made(parts: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        let mut payload = Self { made: Some(Box::new(parts)), ..Self::default() };
        if let Some(first) = payload.next_piece() {
            payload.ready.push_front(first);
        }
        payload
    }

    /// Calls back when the last piece is handed to the connection. Never, if it breaks before.
    pub(super) fn on_last(mut self, call: impl FnOnce(u64) + Send + 'static) -> Self {
        self.on_last.push(Box::new(call));
        self
    }

    /// The same with other bytes, where all of them are ready.
    pub(super) fn map_bytes(mut self, map: impl FnOnce(&[u8]) -> Vec<u8>) -> Self {
        if self.made.is_none() {
            let bytes = self.ready.make_contiguous().concat();
            self.ready = VecDeque::from([map(&bytes).into()]);
        }
        self
    }

    /// How many there are; `None` where some are not made yet.
    pub fn len(&self) -> Option<u64> {
        let ready = self.ready.iter().map(|part| part.len() as u64).sum();
        self.made.is_none().then_some(ready)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }

    /// What comes next, made if it has to be.
    fn pull(&mut self) -> Option<Bytes> {
        if let Some(part) = self.ready.pop_front() {
            return Some(part);
        }
        let part = self.made.as_mut()?.find(|part| !part.is_empty());
        if part.is_none() {
            self.made = None;
        }
        part
    }

    /// The next piece; small parts go together.
    fn next_piece(&mut self) -> Option<Bytes> {
        let mut first = self.pull()?;
        if first.len() > PIECE {
            let piece = first.split_to(PIECE);
            self.ready.push_front(first);
            return Some(piece);
        }
        let mut piece = None;
        while let Some(part) = self.pull() {
            let piece = piece.get_or_insert_with(|| {
                let mut piece = Vec::with_capacity(PIECE);
                piece.extend_from_slice(&first);
                piece
            });
            if piece.len() + part.len() > PIECE {
                self.ready.push_front(part);
                break;
            }
            piece.extend_from_slice(&part);
        }
        Some(piece.map_or(first, Bytes::from))
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({:?} bytes)", self.len())
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.next_piece() else {
            return Poll::Ready(None);
        };
        self.sent += piece.len() as u64;
        if self.is_empty() {
            let sent = self.sent;
            self.on_last.drain(..).for_each(|call| call(sent));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
