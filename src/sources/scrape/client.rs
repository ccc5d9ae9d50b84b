//! One HTTP client for one runtime: a connection at a time, every step bounded and named.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{ACCEPT, AUTHORIZATION, DATE, HOST, HeaderValue, LOCATION, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::model::Timestamp;
use crate::sources::{Failure, Reason};

/// How the exporter names itself.
const AGENT: &str = concat!("mozaiks-exporter/", env!("CARGO_PKG_VERSION"));

/// Where a runtime is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    path: String,
    authority: HeaderValue,
    tls: Option<ServerName<'static>>,
}

/// Why a URL names no runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL.
    #[error("`{0}` is not a URL like http://127.0.0.1:8000")]
    Syntax(String),
    /// Another scheme.
    #[error("`{0}` has scheme `{1}`; only http and https are polled")]
    Scheme(String, String),
    /// Something that a base URL has not.
    #[error("a user name and password in a URL end up in logs; use a token file")]
    UserInfo,
}

impl Endpoint {
    /// Takes a base URL: `http://127.0.0.1:8000`, `https://host/prefix`.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let syntax = || UrlError::Syntax(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| syntax())?;
        let (Some(authority), Some(scheme)) = (uri.authority(), uri.scheme_str()) else {
            return Err(syntax());
        };
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            other => return Err(UrlError::Scheme(url.to_owned(), other.to_owned())),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let server = ServerName::try_from(host.clone()).map_err(|_| syntax())?;
        Ok(Self {
            port: authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 }),
            path: uri.path().trim_end_matches('/').to_owned(),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| syntax())?,
            tls: is_tls.then_some(server),
            host,
        })
    }

    /// Host and port as given: the name of a runtime that was given none.
    pub fn authority(&self) -> &str {
        self.authority.to_str().unwrap_or(&self.host)
    }

    /// Host and port to connect to.
    pub fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Whether the connection is to be encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
}

#[expect(clippy::missing_panics_doc, reason = "the provider supports the default versions")]
/// Trust in the runtime's certificate: the system's roots, and those of the operator.
pub fn trust(extra: &[rustls::pki_types::CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(extra.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, within the limit.
    pub body: Vec<u8>,
    /// The runtime's clock, to the second.
    pub date: Option<Timestamp>,
    location: Option<String>,
}

impl Answer {
    /// The body of a 200; anything else is a failure that says what was refused and why.
    pub fn ok(self, path: &str) -> Result<Self, Failure> {
        match self.status {
            StatusCode::OK => Ok(self),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let said = self.said();
                let hint = "check the token (--runtime.token-file)";
                let detail = format!("{path} answered {}{said}; {hint}", self.status);
                Err(Failure::new(Reason::Unauthorized, detail))
            }
            status if status.is_redirection() => {
                let to = self.location.as_deref().unwrap_or("elsewhere");
                let detail = format!(
                    "{path} redirects ({status}) to {to}; redirects are not followed, \
                     set --runtime.url to the final address"
                );
                Err(Failure::new(Reason::Status, detail))
            }
            status => {
                let detail = format!("{path} answered {status}{}", self.said());
                Err(Failure::new(Reason::Status, detail))
            }
        }
    }

    /// The runtime's own short explanation, where its body is one.
    fn said(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Detail {
            detail: String,
        }
        serde_json::from_slice::<Detail>(&self.body)
            .map(|said| format!(" ({})", said.detail.chars().take(120).collect::<String>()))
            .unwrap_or_default()
    }
}

/// Asks one runtime. Connections are made when needed and kept for the questions of one poll:
/// the runtime closes idle ones before the next.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    trust: Option<Arc<ClientConfig>>,
    timeout: Duration,
    max_body_bytes: usize,
    session: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    /// A client for an endpoint. `timeout` bounds each question as a whole.
    pub fn new(
        endpoint: Endpoint,
        trust: Option<Arc<ClientConfig>>,
        timeout: Duration,
        max_body_bytes: usize,
    ) -> Self {
        Self { endpoint, trust, timeout, max_body_bytes, session: None }
    }

    /// Asks for a path, with a bearer token where there is one.
    pub async fn get(
        &mut self,
        path: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        self.get_within(path, token, self.timeout).await
    }

    /// As [`Client::get`], with a timeout of its own.
    pub async fn get_within(
        &mut self,
        path: &str,
        token: Option<&HeaderValue>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let limit = limit.min(self.timeout);
        let Ok(answer) = timeout(limit, self.try_get(path, token)).await else {
            self.session = None;
            let limit = humantime::format_duration(limit);
            let detail = format!("{path} was not answered within {limit} (--runtime.timeout)");
            return Err(Failure::new(Reason::Timeout, detail));
        };
        if answer.is_err() {
            self.session = None;
        }
        answer
    }

    /// Ends the connection.
    pub fn hang_up(&mut self) {
        self.session = None;
    }

    async fn try_get(
        &mut self,
        path: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Answer, Failure> {
        // The runtime may have closed a kept connection just now; that alone is no failure.
        if let Some(mut session) = self.session.take()
            && session.ready().await.is_ok()
            && let Ok(response) = session.send_request(self.request(path, token)?).await
        {
            let answer = self.read(response, path).await?;
            self.session = Some(session);
            return Ok(answer);
        }
        let mut session = self.connect().await?;
        let broke = |error: hyper::Error| {
            let detail = format!("the connection broke while {path} was asked for: {error}");
            Failure::new(Reason::Connect, detail)
        };
        let response = session.send_request(self.request(path, token)?).await.map_err(broke)?;
        let answer = self.read(response, path).await?;
        self.session = Some(session);
        Ok(answer)
    }

    fn request(
        &self,
        path: &str,
        token: Option<&HeaderValue>,
    ) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut request = Request::get(format!("{}{path}", self.endpoint.path))
            .header(HOST, &self.endpoint.authority)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT);
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        request.body(Empty::new()).map_err(|error| {
            Failure::new(Reason::Connect, format!("cannot ask for {path}: {error}"))
        })
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, Failure> {
        let Endpoint { host, port, .. } = &self.endpoint;
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| {
            Failure::new(Reason::Connect, format!("cannot connect to {host}:{port}: {error}"))
        })?;
        // Questions are one packet; waiting for more would only delay them. Not vital if refused.
        stream.set_nodelay(true).ok();
        match (&self.trust, &self.endpoint.tls) {
            (Some(trust), Some(server)) => {
                let tls = TlsConnector::from(Arc::clone(trust));
                let stream = tls.connect(server.clone(), stream).await.map_err(|error| {
                    let detail = format!("no TLS with {host}:{port}: {error} (--runtime.ca-file)");
                    Failure::new(Reason::Tls, detail)
                })?;
                open(TokioIo::new(stream)).await
            }
            _ => open(TokioIo::new(stream)).await,
        }
    }

    async fn read(
        &self,
        response: hyper::Response<Incoming>,
        path: &str,
    ) -> Result<Answer, Failure> {
        let limit = self.max_body_bytes;
        let too_large = || {
            let size = bytesize::ByteSize(limit as u64).display().iec();
            let detail = format!("{path} answered with more than {size} (--runtime.max-body)");
            Failure::new(Reason::TooLarge, detail)
        };
        let (head, mut incoming) = response.into_parts();
        let announced = hyper::body::Body::size_hint(&incoming).lower();
        if announced > limit as u64 {
            return Err(too_large());
        }
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| {
                let detail = format!("the answer to {path} broke off: {error}");
                Failure::new(Reason::Connect, detail)
            })?;
            if let Ok(data) = frame.into_data() {
                if body.len() + data.len() > limit {
                    return Err(too_large());
                }
                body.extend_from_slice(&data);
            }
        }
        let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        let date = header(DATE)
            .and_then(|date| DateTime::parse_from_rfc2822(date).ok())
            .map(|date| Timestamp(date.timestamp_micros()));
        let location = header(LOCATION).map(str::to_owned);
        Ok(Answer { status: head.status, body, date, location })
    }
}

/// Speaks HTTP on a connection. Its task ends with the session.
async fn open<T>(io: TokioIo<T>) -> Result<SendRequest<Empty<Bytes>>, Failure>
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (session, connection) = handshake(io)
        .await
        .map_err(|error| Failure::new(Reason::Connect, format!("cannot speak HTTP: {error}")))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the runtime ended");
        }
    });
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_or_refused_with_the_reason() {
        let endpoint = Endpoint::parse("http://127.0.0.1:8000/").unwrap();
        assert_eq!(
            (endpoint.authority(), endpoint.port, &*endpoint.path),
            ("127.0.0.1:8000", 8000, "")
        );
        let endpoint = Endpoint::parse("https://[::1]/prefix/").unwrap();
        assert_eq!((&*endpoint.host, endpoint.port, &*endpoint.path), ("::1", 443, "/prefix"));
        assert!(matches!(Endpoint::parse("localhost:8000/x"), Err(UrlError::Syntax(_))));
        assert!(matches!(Endpoint::parse("ftp://host"), Err(UrlError::Scheme(..))));
        assert_eq!(Endpoint::parse("http://u:p@host").unwrap_err(), UrlError::UserInfo);
    }
}
