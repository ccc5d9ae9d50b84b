//! A connection whose other side has to take what it asked for.
//!
//! Whoever asks and never reads fills the kernel's buffers, and the rest of the answer would wait
//! for it for ever, with its place among the connections.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A stream that fails where nothing can be written to it for too long.
#[derive(Debug)]
pub(super) struct Patience<S> {
    stream: S,
    longest: Duration,
    stalled: Pin<Box<Sleep>>,
    is_stalled: bool,
}

impl<S> Patience<S> {
    /// Waits so long for the other side to take something.
    pub(super) fn new(stream: S, longest: Duration) -> Self {
        let stalled = Box::pin(sleep_until(Instant::now() + longest));
        Self { stream, longest, stalled, is_stalled: false }
    }

    /// What came of a try to write; an error where there were none that succeeded for too long.
    fn judge<T>(
        &mut self,
        tried: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if tried.is_ready() {
            self.is_stalled = false;
            return tried;
        }
        if !self.is_stalled {
            self.is_stalled = true;
            self.stalled.as_mut().reset(Instant::now() + self.longest);
        }
        ready!(self.stalled.as_mut().poll(context));
        let detail = "the other side takes nothing of its answer";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, detail)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patience<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patience<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(tried, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tried = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.judge(tried, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_flush(context);
        self.judge(tried, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tried = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judge(tried, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::sleep;

    use super::*;

    const LONGEST: Duration = Duration::from_millis(400);

    #[tokio::test]
    async fn who_takes_nothing_is_let_go() {
        let (ours, theirs) = duplex(16);
        let begun = Instant::now();
        let error = Patience::new(ours, LONGEST).write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= LONGEST);
        drop(theirs);
    }

    #[tokio::test]
    async fn who_takes_it_slowly_gets_it_all() {
        let (ours, mut theirs) = duplex(16);
        let reading = tokio::spawn(async move {
            let mut piece = [0; 16];
            for _ in 0..8 {
                sleep(LONGEST / 4).await;
                theirs.read_exact(&mut piece).await.unwrap();
            }
        });
        Patience::new(ours, LONGEST).write_all(&[0; 128]).await.unwrap();
        reading.await.unwrap();
    }
}
