//! The metrics listener: accepts, answers, drains. Knows HTTP and no source.

mod body;
mod json;
mod negotiate;
mod page;
mod routes;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use routes::Peer;
pub use routes::Site;

/// Connections at once. Further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 512;
/// A client that says nothing for so long is let go. Longer than common scrape intervals, so that
/// a scraper keeps its connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
/// Largest head of a request, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// How long answers in progress may take after the end was announced.
const DRAIN: Duration = Duration::from_secs(5);
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `site` on `listener` until `stop` is true, then drains.
pub async fn serve(listener: TcpListener, site: Arc<Site>, mut stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
            let site = Arc::clone(&site);
            service_fn(move |request| {
                let site = Arc::clone(&site);
                async move { Ok::<_, Infallible>(site.answer(request, peer).await) }
            })
        };
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let served = graceful.watch(served);
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            if let Err(error) = served.await {
                debug!(%error, %address, "connection ended early");
            }
            site.ledger.lock().hang_up(connection);
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
