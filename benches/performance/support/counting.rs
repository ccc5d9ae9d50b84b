//! The least that a server of events can do: take a request, count it, answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::process::{Server, free_address};

/// Starts it as a process of its own.
pub(crate) fn start() -> Server {
    let address = free_address();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("counting-server").arg(address.to_string());
    Server::start(&mut command, address).unwrap()
}

/// Serves until it is ended.
pub(crate) fn serve(address: SocketAddr) {
    // As many threads as the exporter has.
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        let counted = Arc::new(AtomicU64::new(0));
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            stream.set_nodelay(true).ok();
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let service = service_fn(|request| count(request, &counted));
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                connection.await.ok();
            });
        }
    });
}

async fn count(
    request: Request<Incoming>,
    counted: &AtomicU64,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let bytes = body.map_or(0, |body| body.len() as u64);
    let sum = counted.fetch_add(bytes, Ordering::Relaxed) + bytes;
    let mut response = Response::new(Full::from(format!("{{\"counted\":{sum}}}")));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}
