//! Listeners: accept, answer, drain; and what the metrics listener answers. Knows HTTP and no source.

mod body;
mod inherit;
mod json;
mod listen;
pub mod negotiate;
mod patience;
pub mod reply;
mod routes;
mod status;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tracing::{debug, warn};

use crate::access::Gate;
pub use body::Payload;
pub use inherit::Inherited;
pub use listen::Listener;
use listen::{Stream, Wire};
use patience::Patience;
pub use routes::Site;

/// Largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long answers in progress may take after the end was announced.
const DRAIN: Duration = Duration::from_secs(5);
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long two sides may take to agree on how to encrypt.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The answer to whoever speaks plain HTTP where TLS is spoken.
const NOT_ENCRYPTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\
    Content-Length: 57\r\nConnection: close\r\n\r\n\
    {\"detail\":\"connections are encrypted here; use https://\"}";

/// What both listeners answer, as `OpenAPI` 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// From where.
    pub address: Option<IpAddr>,
    /// On which connection of its listener.
    pub connection: u64,
    /// Whether nobody but this machine can ask its listener.
    pub is_local: bool,
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

/// Serves `handler` on `listener` behind `gate` until `stop` is true, then drains.
pub async fn serve<H: Handler>(
    listener: Listener,
    gate: Arc<Gate>,
    handler: Arc<H>,
    admission: Admission,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(admission.connections));
    let graceful = GracefulShutdown::new();
    let numbers = AtomicU64::new(0);
    let is_local = listener.is_local();
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
        let peer = Peer { address, connection, is_local };
        let (handler, watcher) = (Arc::clone(&handler), graceful.watcher());
        let (tls, stop) = (gate.tls(), stop.clone());
        tokio::spawn(async move {
            let served = async {
                let wire = match tls {
                    Some(tls) => shake_hands(stream, tls, stop).await?,
                    None => stream.boxed(),
                };
                let wire = TokioIo::new(Patience::new(wire, admission.silence));
                let service = service_fn(|request| {
                    let handler = Arc::clone(&handler);
                    async move { Ok::<_, Infallible>(handler.answer(request, peer).await) }
                });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(admission.silence)
                    .max_buf_size(MAX_HEAD_BYTES)
                    .half_close(true)
                    .serve_connection(wire, service);
                watcher.watch(served).await.map_err(io::Error::other)
            };
            if let Err(error) = served.await {
                debug!(%error, ?address, "connection ended early");
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

/// Agrees with the other side on how to encrypt, soon, or not at all.
async fn shake_hands(
    stream: Stream,
    tls: Arc<ServerConfig>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<Box<dyn Wire>> {
    let shaken = async {
        // TLS begins with another byte than any word does.
        if stream.first_byte().await.is_some_and(|byte| byte.is_ascii_uppercase()) {
            let mut wire = stream.boxed();
            // What is not read when the connection closes takes the answer with it.
            if wire.read(&mut [0; 4096]).await? > 0 {
                wire.write_all(NOT_ENCRYPTED).await?;
                wire.shutdown().await?;
            }
            return Err(io::Error::other("a request without TLS"));
        }
        let wire: Box<dyn Wire> = Box::new(TlsAcceptor::from(tls).accept(stream.boxed()).await?);
        Ok(wire)
    };
    tokio::select! {
        shaken = timeout(HANDSHAKE, shaken) => shaken?,
        _ = stop.wait_for(|stop| *stop) => Err(io::Error::other("the exporter stops")),
    }
}

async fn accept(
    listener: &Listener,
    room: &Arc<Semaphore>,
) -> io::Result<(Stream, Option<IpAddr>, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, permit))
}
