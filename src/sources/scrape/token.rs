//! Bearer tokens, read anew for each poll and never shown.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hyper::header::HeaderValue;

use crate::sources::{Failure, Reason};

/// Where the token of a runtime comes from. Has no `Debug` that could show it.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// From a file, which may be replaced at any time.
    File(PathBuf),
    /// Given when the exporter was started.
    Value(String),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "Token({})", path.display()),
            Self::Value(_) => f.write_str("Token(***)"),
        }
    }
}

/// No token is longer; a larger file is another file.
const MAX_TOKEN_BYTES: u64 = 64 * 1024;

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_TOKEN_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_TOKEN_BYTES {
        return Err(io::Error::other("it is larger than any token"));
    }
    Ok(text)
}

impl Token {
    /// The value of the `Authorization` header as of now.
    pub async fn header(&self) -> Result<HeaderValue, Failure> {
        let text = match self {
            Self::Value(text) => text.clone(),
            Self::File(path) => {
                // Reading is quick, but the file may lie on a network.
                let reading = tokio::task::spawn_blocking({
                    let path = path.clone();
                    move || read(&path)
                });
                reading.await.map_err(std::io::Error::other).flatten().map_err(|error| {
                    // After a colon the reason would be taken for a secret: `token: …`.
                    let detail = format!("cannot read token file {} ({error})", path.display());
                    Failure::new(Reason::Unauthorized, detail)
                })?
            }
        };
        let mut header =
            HeaderValue::from_str(&format!("Bearer {}", text.trim())).map_err(|_| {
                Failure::new(
                    Reason::Unauthorized,
                    "the token holds characters that no header may have",
                )
            })?;
        header.set_sensitive(true);
        Ok(header)
    }
}
