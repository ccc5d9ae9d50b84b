//! The simulated runtime over HTTP/1.1: its routes, its refusals, its `server` header.
//!
//! | request | answer |
//! |---|---|
//! | `GET` of a known path | 200, compact JSON, `content-length` |
//! | a chat that is not tracked | 404 `{"detail":"Chat not tracked"}` |
//! | any other path | 404 `{"detail":"Not Found"}` |
//! | another method, `HEAD` too | 405 with `allow: GET` |
//! | a known path and a slash | 307 to the path without it |

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue, LOCATION, SERVER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tracing::debug;

use super::answers;
use super::world::Simulation;
use crate::model::{Clock, Timestamp};

/// How often the world moves on while nobody asks.
const TICK: Duration = Duration::from_millis(200);
/// A connection without a whole request head is closed after this, also between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Before we accept again after it failed, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const MOST_CONNECTIONS: usize = 256;

/// Serves a simulation over HTTP/1.1 on `listener` until `stop` resolves, advancing it several
/// times a second.
pub async fn serve(
    listener: TcpListener,
    simulation: Simulation,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let address = listener.local_addr()?;
    let simulation = Arc::new(Mutex::new(simulation));
    let mut connections = JoinSet::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            _ = ticks.tick() => up_to_date(&simulation, clock.now().wall, |_| ()),
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => {
                let stream = match accepted {
                    Ok((stream, _)) => TokioIo::new(stream),
                    Err(error) => {
                        debug!(%error, "simulated runtime could not accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                let (simulation, clock) = (Arc::clone(&simulation), Arc::clone(&clock));
                let service = service_fn(move |request| {
                    let now = clock.now().wall;
                    let answer = up_to_date(&simulation, now, |simulation| {
                        answer(simulation, now, address, &request)
                    });
                    std::future::ready(Ok::<_, Infallible>(answer))
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(stream, service);
                // An error here is a client that went away: nothing to do about it.
                connections.spawn(connection);
            }
        }
    }
    // Every answer is ready as soon as it is asked for: there is nothing to wait for.
    connections.shutdown().await;
    Ok(())
}

/// Lets `look` see the world as it is at `now`.
fn up_to_date<T>(
    simulation: &Mutex<Simulation>,
    now: Timestamp,
    look: impl FnOnce(&Simulation) -> T,
) -> T {
    let mut simulation = simulation.lock().unwrap_or_else(PoisonError::into_inner);
    simulation.advance(now);
    look(&simulation)
}

/// What can be asked for.
#[derive(Debug)]
enum Route {
    Aggregate,
    Chats,
    Chat(String),
    ActiveRuns,
    Health,
    EventsMetrics,
}

impl Route {
    /// The whole path is decoded before it is taken apart: an escaped slash is a slash.
    fn of(path: &str) -> Option<Self> {
        let path = percent_decode_str(path).decode_utf8_lossy();
        Some(match path.as_ref() {
            "/metrics/perf/aggregate" => Self::Aggregate,
            "/metrics/perf/chats" => Self::Chats,
            "/health/active-runs" => Self::ActiveRuns,
            "/api/health" => Self::Health,
            "/api/events/metrics" => Self::EventsMetrics,
            path => match path.strip_prefix("/metrics/perf/chats/") {
                Some(id) if !id.is_empty() && !id.contains('/') => Self::Chat(id.to_owned()),
                _ => return None,
            },
        })
    }
}

fn answer<B>(
    simulation: &Simulation,
    now: Timestamp,
    address: SocketAddr,
    request: &Request<B>,
) -> Response<Full<Bytes>> {
    let mut response = match Route::of(request.uri().path()) {
        Some(_) if request.method() != Method::GET => {
            let body = answers::error("Method Not Allowed");
            let mut refusal = json(StatusCode::METHOD_NOT_ALLOWED, body);
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            refusal
        }
        Some(route) => match body(simulation, now, &route) {
            Some(body) => json(StatusCode::OK, body),
            None => json(StatusCode::NOT_FOUND, answers::error("Chat not tracked")),
        },
        None => match without_slash(address, request) {
            Some(location) => redirect(location),
            None => json(StatusCode::NOT_FOUND, answers::error("Not Found")),
        },
    };
    response.headers_mut().insert(SERVER, HeaderValue::from_static("uvicorn"));
    response
}

fn body(simulation: &Simulation, now: Timestamp, route: &Route) -> Option<Bytes> {
    Some(match route {
        Route::Aggregate => simulation.aggregate(now),
        Route::Chats => simulation.chats(now),
        Route::Chat(id) => return simulation.chat(id, now),
        Route::ActiveRuns => simulation.active_runs(),
        Route::Health => simulation.health(now),
        Route::EventsMetrics => simulation.events_metrics(now),
    })
}

/// Where to go instead, if the path is a known one but for slashes at its end.
fn without_slash<B>(address: SocketAddr, request: &Request<B>) -> Option<HeaderValue> {
    let path = request.uri().path();
    let shorter = path.trim_end_matches('/');
    if shorter == path {
        return None;
    }
    Route::of(shorter)?;
    let host = match request.headers().get(HOST) {
        Some(host) => host.to_str().ok()?.to_owned(),
        None => address.to_string(),
    };
    let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
    HeaderValue::from_str(&format!("http://{host}{shorter}{query}")).ok()
}

fn json(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn redirect(location: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty};
    use hyper::client::conn::http1 as client;
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;
    use crate::model::{Instant, Mono};

    const NOW: Timestamp = Timestamp(1_768_701_486_123_456);

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            Instant { wall: NOW, mono: Mono(0) }
        }
    }

    fn request(method: &Method, target: &str) -> Request<Empty<Bytes>> {
        Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "127.0.0.1:8000")
            .body(Empty::new())
            .unwrap()
    }

    /// Asks over a socket of its own; gives status, headers and body.
    async fn exchange(
        address: SocketAddr,
        method: &Method,
        target: &str,
    ) -> (u16, Vec<(String, String)>, String) {
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) = client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let (head, body) = sender.send_request(request(method, target)).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        drop(sender);
        connection.await.unwrap().unwrap();
        let mut headers: Vec<_> = head
            .headers
            .iter()
            .filter(|(name, _)| *name != "date")
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        headers.sort();
        (head.status.as_u16(), headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_path_answers_over_a_socket_as_the_runtime_does() {
        let expected = Simulation::new(1, NOW);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server =
            tokio::spawn(serve(listener, Simulation::new(1, NOW), Arc::new(Stopped), async move {
                stopped.await.unwrap();
            }));

        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let first = expected.chats[0].identity.chat_id.clone();
        let chat = text(expected.chat(&first, NOW).unwrap());
        let untracked = r#"{"detail":"Chat not tracked"}"#.to_owned();
        let not_found = r#"{"detail":"Not Found"}"#.to_owned();
        let chat_path = format!("/metrics/perf/chats/{first}");
        let escaped = chat_path.replace('-', "%2D");
        for (target, status, body) in [
            ("/metrics/perf/aggregate", 200, text(expected.aggregate(NOW))),
            ("/metrics/perf/aggregate?access_token=x", 200, text(expected.aggregate(NOW))),
            ("/metrics/perf/chats", 200, text(expected.chats(NOW))),
            (&chat_path, 200, chat.clone()),
            (&escaped, 200, chat),
            ("/health/active-runs", 200, text(expected.active_runs())),
            ("/api/health", 200, text(expected.health(NOW))),
            ("/api/events/metrics", 200, text(expected.events_metrics(NOW))),
            ("/metrics/perf/chats/nobody", 404, untracked),
            ("/metrics/perf/chats/a%2Fb", 404, not_found.clone()),
            ("/metrics", 404, not_found.clone()),
            ("/metrics/prometheus", 404, not_found.clone()),
            ("/health", 404, not_found.clone()),
            ("/", 404, not_found),
        ] {
            let headers = [
                ("content-length".to_owned(), body.len().to_string()),
                ("content-type".to_owned(), "application/json".to_owned()),
                ("server".to_owned(), "uvicorn".to_owned()),
            ];
            let answer = exchange(address, &Method::GET, target).await;
            assert_eq!(answer, (status, headers.into(), body), "{target}");
        }

        let refused = |body: &str| {
            let headers = [
                ("allow".to_owned(), "GET".to_owned()),
                ("content-length".to_owned(), "31".to_owned()),
                ("content-type".to_owned(), "application/json".to_owned()),
                ("server".to_owned(), "uvicorn".to_owned()),
            ];
            (405, headers.into(), body.to_owned())
        };
        let head = exchange(address, &Method::HEAD, "/metrics/perf/aggregate").await;
        assert_eq!(head, refused(""));
        let post = exchange(address, &Method::POST, "/metrics/perf/aggregate").await;
        assert_eq!(post, refused(r#"{"detail":"Method Not Allowed"}"#));

        for (target, location) in [
            ("/metrics/perf/aggregate/", "/metrics/perf/aggregate"),
            ("/metrics/perf/chats/", "/metrics/perf/chats"),
            ("/metrics/perf/chats/a/?x=1", "/metrics/perf/chats/a?x=1"),
        ] {
            let headers = [
                ("content-length".to_owned(), "0".to_owned()),
                ("location".to_owned(), format!("http://127.0.0.1:8000{location}")),
                ("server".to_owned(), "uvicorn".to_owned()),
            ];
            let answer = exchange(address, &Method::GET, target).await;
            assert_eq!(answer, (307, headers.into(), String::new()), "{target}");
        }

        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn open_connections_do_not_keep_it_from_stopping() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server =
            tokio::spawn(serve(listener, Simulation::new(1, NOW), Arc::new(Stopped), async move {
                stopped.await.unwrap();
            }));
        let half_sent = TcpStream::connect(address).await.unwrap();
        half_sent.writable().await.unwrap();
        half_sent.try_write(b"GET /api/health HTTP/1.1\r\n").unwrap();
        let idle = TcpStream::connect(address).await.unwrap();
        exchange(address, &Method::GET, "/api/health").await;
        stop.send(()).unwrap();
        tokio::time::timeout(Duration::from_secs(3), server).await.unwrap().unwrap().unwrap();
        drop((half_sent, idle));
    }
}
