//! A token that opens, from its file.

use std::path::Path;

use ring::{hmac, rand};

use super::files::{FileError, Reader};

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its file holds no token.
    #[error("{what} {path} {problem}")]
    Content {
        /// The flag.
        what: &'static str,
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// A token as its tag under a key that nobody knows, so that comparing says nothing of it by how long it
/// takes, and nothing of it lies in memory.
pub(super) struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads it.
    pub(super) fn read(
        reader: &mut Reader,
        what: &'static str,
        path: &Path,
    ) -> Result<Self, TokenError> {
        let bytes = reader.read(what, path)?;
        let refused = |problem| {
            let path = path.display().to_string();
            TokenError::Content { what, path, problem }
        };
        let token = bytes.trim_ascii();
        if token.is_empty() {
            return Err(refused("is empty"));
        }
        if token.iter().any(|byte| !byte.is_ascii_graphic()) {
            return Err(refused("holds more than one word; a token is one, of visible ASCII"));
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .map_err(|_| refused("cannot be kept: the system gives no random numbers"))?;
        let tag = hmac::sign(&key, token);
        Ok(Self { key, tag })
    }

    /// Whether this is the token.
    pub(super) fn is(&self, shown: &[u8]) -> bool {
        hmac::verify(&self.key, shown, self.tag.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_is_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let read = || Token::read(&mut Reader::default(), "--flag", &path);
        assert!(matches!(read(), Err(TokenError::File(_))));
        for (content, problem) in [("", "empty"), ("  \n", "empty"), ("a b", "one word")] {
            std::fs::write(&path, content).unwrap();
            let error = read().unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("--flag"), "{error}");
        }
        std::fs::write(&path, "s3cret\n").unwrap();
        let token = read().unwrap();
        assert!(token.is(b"s3cret"));
        for wrong in [&b""[..], b"s3cre", b"s3cret2", b"s3cret\n", b"S3CRET"] {
            assert!(!token.is(wrong), "{wrong:?}");
        }
    }
}
