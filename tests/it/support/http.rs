//! A client that shows what came over the wire, undecoded and unimproved.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use flate2::read::GzDecoder;

const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header that stands there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} stands twice in {:?}", self.headers);
        value
    }

    /// The body, decompressed if it says so.
    pub(crate) fn text(&self) -> String {
        let bytes = match self.header("content-encoding") {
            None => self.body.clone(),
            Some("gzip") => {
                let mut plain = Vec::new();
                GzDecoder::new(&*self.body).read_to_end(&mut plain).unwrap();
                plain
            }
            Some(other) => panic!("unexpected content-encoding {other}"),
        };
        String::from_utf8(bytes).unwrap()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }
}

/// Sends one `GET` on a connection of its own.
pub(crate) fn get(
    address: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    request(address, "GET", target, headers)
}

/// Sends one `POST` on a connection of its own.
pub(crate) fn post(
    address: SocketAddr,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Response> {
    send(address, "POST", target, headers, Some(body))
}

/// Sends one request without a body on a connection of its own. An answer that is cut off is an
/// error, not a short answer.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    send(address, method, target, headers, None)
}

fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Option<&[u8]>,
) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut head = Vec::new();
    write!(head, "{method} {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n")?;
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n")?;
    }
    if let Some(body) = body {
        write!(head, "content-length: {}\r\n", body.len())?;
    }
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(body.unwrap_or_default());
    // Whoever refuses a body answers before it is all sent, so what counts is the answer.
    let sent = stream.write_all(&head);
    let mut bytes = Vec::new();
    match (stream.read_to_end(&mut bytes), sent) {
        (Err(error), _) | (Ok(0), Err(error)) => return Err(error),
        _ => {}
    }
    parse(&bytes, method == "HEAD")
}

fn parse(bytes: &[u8], head_only: bool) -> io::Result<Response> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::UnexpectedEof, what.to_owned());
    let end = find(bytes, b"\r\n\r\n").ok_or_else(|| broken("no head"))?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let rest = &bytes[end + 4..];
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| broken("no status"))?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
    let body = if head_only {
        if rest.is_empty() {
            Vec::new()
        } else {
            return Err(broken("a body after HEAD"));
        }
    } else if header("transfer-encoding") == Some("chunked") {
        dechunk(rest).ok_or_else(|| broken("cut off in a chunk"))?
    } else if let Some(length) = header("content-length") {
        let length: usize = length.parse().map_err(|_| broken("bad content-length"))?;
        rest.get(..length).ok_or_else(|| broken("cut off"))?.to_vec()
    } else {
        rest.to_vec()
    };
    Ok(Response { status, headers, body })
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = find(rest, b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// Where `needle` first begins.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
