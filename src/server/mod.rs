//! Listeners: accept, answer, drain; and what the metrics listener answers. Knows HTTP and no source.

mod body;
mod json;
mod negotiate;
mod patience;
pub mod reply;
mod routes;
mod status;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

pub use body::Payload;
use patience::Patience;
pub use routes::Site;

/// Largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long answers in progress may take after the end was announced.
const DRAIN: Duration = Duration::from_secs(5);
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What both listeners answer, as `OpenAPI` 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// From where.
    pub address: Option<IpAddr>,
    /// On which connection of its listener.
    pub connection: u64,
}

/// What is behind a listener.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Payload>> + Send;

    /// A connection is gone.
    fn hang_up(&self, _connection: u64) {}
}

/// Whom a listener lets in.
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    /// Connections at once. Further ones wait in the kernel's queue.
    pub connections: usize,
    /// A client that says nothing for so long, or takes nothing of its answer, is let go.
    pub silence: Duration,
}

impl Admission {
    /// For those who scrape: silent for longer than common scrape intervals, so that a scraper keeps
    /// its connection.
    pub const SCRAPERS: Self = Self { connections: 512, silence: Duration::from_secs(90) };
    /// For those who push: many, and some of them only open connections.
    pub const PUSHERS: Self = Self { connections: 2048, silence: Duration::from_mins(1) };
}

/// Serves `handler` on `listener` until `stop` is true, then drains.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    admission: Admission,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(admission.connections));
    let graceful = GracefulShutdown::new();
    let numbers = AtomicU64::new(0);
    while !*stop.borrow_and_update() {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            _ = stop.changed() => continue,
        };
        let (stream, address, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = numbers.fetch_add(1, Ordering::Relaxed);
        let peer = Peer { address: Some(address.ip()), connection };
        let service = {
            let handler = Arc::clone(&handler);
            service_fn(move |request| {
                let handler = Arc::clone(&handler);
                async move { Ok::<_, Infallible>(handler.answer(request, peer).await) }
            })
        };
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(admission.silence)
            .max_buf_size(MAX_HEAD_BYTES)
            .half_close(true)
            .serve_connection(TokioIo::new(Patience::new(stream, admission.silence)), service);
        let served = graceful.watch(served);
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            if let Err(error) = served.await {
                debug!(%error, %address, "connection ended early");
            }
            handler.hang_up(connection);
            drop(permit);
        });
    }
    drop(listener);
    if timeout(DRAIN, graceful.shutdown()).await.is_err() {
        warn!("answers in progress were cut off");
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(tokio::net::TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    // Answers are written whole; waiting for more would only delay them. Not vital if refused.
    stream.set_nodelay(true).ok();
    Ok((stream, address, permit))
}
