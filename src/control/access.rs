//! Who may push: everybody, or who knows the token.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use ring::{hmac, rand};
use tracing::warn;

/// No token is longer; a larger file is another file.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;
/// How long a token that was read stands before the file is read again.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// The token in its file, which may be replaced at any time.
#[derive(Debug)]
pub struct Access {
    path: PathBuf,
    known: Mutex<Option<Known>>,
}

/// What the token was when it was read: its tag under a key that nobody knows, so that comparing says
/// nothing of it by how long it takes.
struct Known {
    at: Instant,
    key: hmac::Key,
    tag: Option<hmac::Tag>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Known")
    }
}

impl Access {
    /// Asks for the token of that file.
    pub fn new(path: PathBuf) -> Self {
        Self { path, known: Mutex::new(None) }
    }

    /// Whether the request shows the token: `Authorization: Bearer TOKEN`, or as the password of
    /// `Basic`, which is what becomes of `http://any:TOKEN@host/`. As long as the file cannot be read,
    /// nobody does.
    pub(super) fn allows(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(shown) = shown.and_then(credentials) else { return false };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| known.at.elapsed() >= READ_AGAIN) {
            // Said when it changes, not as often as somebody asks.
            let was_said = known.as_ref().is_some_and(|known| known.tag.is_none());
            *known = self.read(was_said);
        }
        known.as_ref().is_some_and(|Known { key, tag, .. }| {
            tag.is_some_and(|tag| hmac::verify(key, &shown, tag.as_ref()).is_ok())
        })
    }

    /// Reads the file. `was_said`: that it cannot be read is no news.
    fn read(&self, was_said: bool) -> Option<Known> {
        let read = || -> io::Result<String> {
            let mut text = String::new();
            let size =
                File::open(&self.path)?.take(MAX_TOKEN_BYTES + 1).read_to_string(&mut text)?;
            match text.trim() {
                _ if size as u64 > MAX_TOKEN_BYTES => Err(io::Error::other("it is too large")),
                "" => Err(io::Error::other("it is empty")),
                token => Ok(token.to_owned()),
            }
        };
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok()?;
        let tag = match read() {
            Ok(token) => Some(hmac::sign(&key, token.as_bytes())),
            Err(_) if was_said => None,
            Err(error) => {
                let path = self.path.display();
                warn!(%path, %error, "cannot read --control.token-file; nobody may push");
                None
            }
        };
        Some(Known { at: Instant::now(), key, tag })
    }
}

/// The token in a value of `Authorization`.
fn credentials(value: &str) -> Option<Vec<u8>> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().as_bytes().to_vec());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(rest.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    decoded.get(colon + 1..).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn only_the_token_opens() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let allows = |access: &Access, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            access.allows(&headers)
        };
        let missing = Access::new(path.clone());
        assert!(!allows(&missing, "Bearer "), "no file, no entrance");
        std::fs::write(&path, "s3cret\n").unwrap();
        let access = Access::new(path);
        assert!(!access.allows(&HeaderMap::new()));
        assert!(allows(&access, "Bearer s3cret") && allows(&access, "bearer s3cret"));
        let basic = format!("Basic {}", STANDARD.encode("any:s3cret"));
        assert!(allows(&access, &basic));
        for wrong in ["Bearer", "Bearer s3cre", "Bearer s3cret2", "Basic s3cret", "Digest s3cret"] {
            assert!(!allows(&access, wrong), "{wrong}");
        }
    }
}
