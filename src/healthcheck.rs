//! `healthcheck`: asks an exporter on this machine whether it is well, for containers that have no
//! other program to ask with.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{self, ClientConfig, DigitallySignedStruct, SignatureScheme};

use crate::cli::HealthcheckArgs;

/// How an exporter begins to say that it is well.
const NAME: &[u8] = b"mozaiks-exporter ";
/// What an exporter says has fewer bytes.
const LONGEST_WORD: usize = 4096;

/// Why an exporter is not well.
#[derive(Debug, thiserror::Error)]
pub enum HealthcheckError {
    /// Nobody listens there, or nobody that speaks TLS.
    #[error("nobody answers at {0}")]
    Connect(String, #[source] io::Error),
    /// Somebody listens and speaks something else.
    #[error("{0} does not speak HTTP; is it behind TLS (--tls)?")]
    Http(String, #[source] hyper::Error),
    /// It took too long.
    #[error("{address} did not answer within {}", humantime::format_duration(*.limit))]
    Timeout {
        /// Who.
        address: String,
        /// How long it had.
        limit: Duration,
    },
    /// It says so itself.
    #[error("{0} answers {1} at {2}")]
    Unwell(String, StatusCode, &'static str),
}

/// Asks once. Fine is a 200 within the time.
pub async fn run(args: &HealthcheckArgs) -> Result<(), HealthcheckError> {
    who(args).await.map(drop)
}

/// As [`run`]; returns whether it is an exporter that is fine, and not somebody else.
pub async fn who(args: &HealthcheckArgs) -> Result<bool, HealthcheckError> {
    let address = dialable(&args.listen_address);
    let limit = Duration::from(args.timeout);
    let path = if args.ready { "/-/ready" } else { "/-/healthy" };
    let answer = timeout(limit, ask(&address, path, args.tls)).await;
    match answer.map_err(|_| HealthcheckError::Timeout { address: address.clone(), limit })?? {
        (StatusCode::OK, is_exporter) => Ok(is_exporter),
        (status, _) => Err(HealthcheckError::Unwell(address, status, path)),
    }
}

/// The address to ask of those that are listened on: «any address» is reached by loopback.
fn dialable(listened: &str) -> String {
    let first = listened.split(',').next().unwrap_or_default().trim();
    match first.rsplit_once(':') {
        Some(("" | "0.0.0.0", port)) => format!("127.0.0.1:{port}"),
        Some(("[::]", port)) => format!("[::1]:{port}"),
        _ => first.to_owned(),
    }
}

async fn ask(address: &str, path: &str, tls: bool) -> Result<(StatusCode, bool), HealthcheckError> {
    let connect = |error| HealthcheckError::Connect(address.to_owned(), error);
    let stream = TcpStream::connect(address).await.map_err(connect)?;
    if !tls {
        return speak(stream, address, path).await;
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let server = ServerName::try_from(host)
        .map_err(|error| connect(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let config = any_certificate().map_err(|error| connect(io::Error::other(error)))?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(server, stream).await.map_err(connect)?;
    speak(stream, address, path).await
}

/// The status, and whether the body is an exporter's.
async fn speak<S>(
    stream: S,
    address: &str,
    path: &str,
) -> Result<(StatusCode, bool), HealthcheckError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = |error| HealthcheckError::Http(address.to_owned(), error);
    let request = Request::get(path).header(HOST, address).body(Empty::<Bytes>::new());
    let request = request
        .map_err(|error| HealthcheckError::Connect(address.to_owned(), io::Error::other(error)))?;
    let (mut session, connection) = handshake(TokioIo::new(stream)).await.map_err(http)?;
    // It ends with the session.
    tokio::spawn(connection);
    let (head, body) = session.send_request(request).await.map_err(http)?.into_parts();
    // A longer one is somebody else's.
    let body = Limited::new(body, LONGEST_WORD).collect().await.map(Collected::to_bytes);
    Ok((head.status, body.is_ok_and(|body| body.starts_with(NAME))))
}

/// What is asked is whether somebody answers, not who: nothing is sent that others must not know, and
/// the certificate is seldom one for a loopback address.
fn any_certificate() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    Ok(builder
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth())
}

/// Takes every certificate whose key the other side holds.
struct AnyCertificate(Arc<CryptoProvider>);

impl fmt::Debug for AnyCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyCertificate")
    }
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_is_asked_by_loopback() {
        assert_eq!(dialable(":9847"), "127.0.0.1:9847");
        assert_eq!(dialable("0.0.0.0:9847,[::]:9847"), "127.0.0.1:9847");
        assert_eq!(dialable("[::]:9847"), "[::1]:9847");
        assert_eq!(dialable("10.0.0.7:1"), "10.0.0.7:1");
    }
}
