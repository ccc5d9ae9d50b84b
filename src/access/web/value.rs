//! Values of a web configuration file. What is none is refused where it stands.

use std::time::Duration;

use serde::Deserialize;

/// Defines a value that is read from text by a function.
macro_rules! read_from_text {
    ($($kind:ty),*) => {
        $(impl TryFrom<String> for $kind {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                Self::read(&text)
            }
        })*
    };
}

read_from_text!(Version, ClientAuth, Cipher, Curve, Span);

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Version {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

impl Version {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "TLS10" => Ok(Self::Tls10),
            "TLS11" => Ok(Self::Tls11),
            "TLS12" => Ok(Self::Tls12),
            "TLS13" => Ok(Self::Tls13),
            _ => Err(format!("`{text}` is no version of TLS; TLS12 and TLS13 are")),
        }
    }
}

/// Whether and how clients identify themselves by certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum ClientAuth {
    Unsaid,
    No,
    Request,
    RequireAny,
    VerifyIfGiven,
    RequireAndVerify,
}

impl ClientAuth {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(Self::Unsaid),
            "NoClientCert" => Ok(Self::No),
            "RequestClientCert" => Ok(Self::Request),
            // The second is how it was once called.
            "RequireAnyClientCert" | "RequireClientCert" => Ok(Self::RequireAny),
            "VerifyClientCertIfGiven" => Ok(Self::VerifyIfGiven),
            "RequireAndVerifyClientCert" => Ok(Self::RequireAndVerify),
            _ => Err(format!(
                "`{text}` is no client_auth_type; there are NoClientCert, RequestClientCert, \
                 RequireAnyClientCert, VerifyClientCertIfGiven and RequireAndVerifyClientCert"
            )),
        }
    }
}

/// Names that Go's TLS library knows. Those of TLS 1.3 come first.
const CIPHERS: [&str; 17] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

/// A cipher suite, by its place among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Cipher(usize);

impl Cipher {
    fn read(text: &str) -> Result<Self, String> {
        let known = CIPHERS.into_iter().position(|known| known == text);
        known.map(Self).ok_or_else(|| format!("`{text}` is no cipher suite that is known"))
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        CIPHERS.get(self.0).copied().unwrap_or_default()
    }

    /// Whether it is one of TLS 1.3, which are never left out.
    pub(super) fn is_of_tls13(self) -> bool {
        self.0 < 3
    }
}

/// A curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Curve {
    P256,
    P384,
    P521,
    X25519,
}

impl Curve {
    fn read(text: &str) -> Result<Self, String> {
        match text {
            "CurveP256" => Ok(Self::P256),
            "CurveP384" => Ok(Self::P384),
            "CurveP521" => Ok(Self::P521),
            "X25519" => Ok(Self::X25519),
            _ => Err(format!(
                "`{text}` is no curve that is known; X25519, CurveP256, CurveP384 and CurveP521 are"
            )),
        }
    }
}

/// The bcrypt hash of a password.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Hash(String);

impl Hash {
    pub(super) fn into_text(self) -> String {
        self.0
    }
}

impl TryFrom<String> for Hash {
    type Error = String;

    /// Never says what it is instead: it may be the password.
    fn try_from(text: String) -> Result<Self, String> {
        let parts: Result<bcrypt::HashParts, _> = text.parse();
        match parts {
            Ok(parts) if (4..=31).contains(&parts.get_cost()) => Ok(Self(text)),
            Ok(_) => Err("the cost of a bcrypt hash is 04 to 31".to_owned()),
            Err(_) => Err("a password of basic_auth_users stands there as its bcrypt hash, 60 \
                           characters that begin with $2y$, $2b$ or $2a$ (htpasswd -nB USER)"
                .to_owned()),
        }
    }
}

/// A duration as Go writes it: `1m30s`, `1.5h`, `250ms`, `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Span(Duration);

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.0
    }
}

impl Span {
    fn read(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no duration such as 250ms, 1s or 1m30s");
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let mut rest = text;
        let mut span = Duration::ZERO;
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
            let (number, behind) = rest.split_at(end);
            let end = behind.find(|c: char| c.is_ascii_digit() || c == '.');
            let (unit, behind) = behind.split_at(end.unwrap_or(behind.len()));
            let seconds = match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(wrong()),
            };
            let number: f64 = number.parse().map_err(|_| wrong())?;
            let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())?;
            span = span.checked_add(part).ok_or_else(wrong)?;
            rest = behind;
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(span)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("1s", 1000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("2500us", 3),
            (".5s", 500),
        ] {
            let span = Span::read(text).unwrap();
            let rounded = (span.0.as_secs_f64() * 1000.0).round();
            assert!((rounded - f64::from(millis)).abs() < f64::EPSILON, "{text}: {span:?}");
        }
        for wrong in ["", "5", "s", "1 s", "-1s", "1x", "1s5", "1..5s", "one", "1e400h"] {
            assert!(Span::read(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_duration_is_read_or_refused(text in "[0-9.a-zµ ]{0,12}") {
            if let Err(problem) = Span::read(&text) {
                proptest::prop_assert!(problem.contains("no duration"));
            }
        }
    }

    #[test]
    fn a_refused_password_is_not_repeated() {
        for wrong in [
            "hunter2",
            "",
            "$2y$10$short",
            "$3y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG",
        ] {
            let problem = Hash::try_from(wrong.to_owned()).err().unwrap();
            assert!(wrong.is_empty() || !problem.contains(wrong), "{problem}");
        }
        let hash = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";
        assert!(Hash::try_from(hash.to_owned()).is_ok());
        assert!(Hash::try_from(hash.replace("$10$", "$03$")).is_err());
    }
}
