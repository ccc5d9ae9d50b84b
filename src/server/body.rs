//! Bodies of answers: bytes in pieces, and a word when the last one is handed on.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// A piece is handed on only when there is room for it, so a slow client holds one piece, and the
/// last one leaves late.
const PIECE: usize = 64 * 1024;

/// Bytes that are all there.
pub struct Payload {
    bytes: Bytes,
    on_last: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Payload {
    /// Answers with these.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { bytes: bytes.into(), on_last: None }
    }

    /// Calls back when the last piece is handed to the connection. Never, if it breaks before.
    pub(super) fn on_last(mut self, call: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.on_last = Some(Box::new(call));
        self
    }

    /// The same with other bytes.
    pub(super) fn map_bytes(self, map: impl FnOnce(Bytes) -> Vec<u8>) -> Self {
        Self { bytes: map(self.bytes).into(), on_last: self.on_last }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.len())
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        let size = self.bytes.len().min(PIECE);
        let piece = self.bytes.split_to(size);
        if self.bytes.is_empty()
            && let Some(call) = self.on_last.take()
        {
            call();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}
