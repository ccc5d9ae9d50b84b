//! What stands in a web configuration file. No `Debug`: keys are among it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hyper::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use serde::Deserialize;

use super::value::{Cipher, ClientAuth, Curve, Hash, Span, Version};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileWeb {
    pub(super) tls_server_config: Option<FileTls>,
    pub(super) http_server_config: Option<FileHttp>,
    pub(super) basic_auth_users: Option<BTreeMap<String, Hash>>,
    pub(super) rate_limit: Option<FileRate>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileTls {
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) cert_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) client_ca_file: Option<PathBuf>,
    pub(super) client_auth_type: Option<ClientAuth>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
    pub(super) min_version: Option<Version>,
    pub(super) max_version: Option<Version>,
    pub(super) cipher_suites: Option<Vec<Cipher>>,
    pub(super) curve_preferences: Option<Vec<Curve>>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
}

/// PEM as text or in a file. Where both are given, the file counts, as it does elsewhere.
pub(super) enum Pem<'a> {
    Text(&'a str),
    File(&'a PathBuf),
}

impl<'a> Pem<'a> {
    fn of(text: Option<&'a String>, file: Option<&'a PathBuf>) -> Option<Self> {
        let file = file.filter(|file| !file.as_os_str().is_empty()).map(Self::File);
        file.or_else(|| text.filter(|text| !text.is_empty()).map(|text| Self::Text(text)))
    }
}

impl FileTls {
    pub(super) fn certificate(&self) -> Option<Pem<'_>> {
        Pem::of(self.cert.as_ref(), self.cert_file.as_ref())
    }

    pub(super) fn private_key(&self) -> Option<Pem<'_>> {
        Pem::of(self.key.as_ref(), self.key_file.as_ref())
    }

    pub(super) fn authorities(&self) -> Option<Pem<'_>> {
        Pem::of(self.client_ca.as_ref(), self.client_ca_file.as_ref())
    }

    /// How clients identify themselves, if that is said.
    pub(super) fn client_auth(&self) -> Option<ClientAuth> {
        self.client_auth_type.filter(|kind| *kind != ClientAuth::Unsaid)
    }

    /// Whether connections are to be encrypted: anything is said of who is who.
    pub(super) fn is_wanted(&self) -> bool {
        self.certificate().is_some()
            || self.private_key().is_some()
            || self.authorities().is_some()
            || self.client_auth().is_some()
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileHttp {
    /// Taken and without effect: HTTP/1.1 is spoken, which everybody understands who knows HTTP/2.
    #[serde(rename = "http2")]
    _http2: Option<bool>,
    pub(super) headers: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileRate {
    pub(super) interval: Option<Span>,
    pub(super) burst: Option<i64>,
}

/// Headers that may be set, and their values where there are only some.
const HEADERS: [(&str, HeaderName, &[&str]); 5] = [
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY, &[]),
    ("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY, &[]),
    ("X-Content-Type-Options", X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
    ("X-Frame-Options", X_FRAME_OPTIONS, &["deny", "sameorigin"]),
    ("X-XSS-Protection", X_XSS_PROTECTION, &[]),
];

/// Headers as they are sent. One without a value is not.
pub(super) fn headers(
    wanted: BTreeMap<String, Option<String>>,
) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    for (name, value) in wanted {
        let value = value.unwrap_or_default();
        let Some((_, known, values)) = HEADERS.into_iter().find(|(known, ..)| *known == name)
        else {
            let known = HEADERS.map(|(known, ..)| known).join(", ");
            return Err(format!("header `{name}` cannot be set; these can: {known}"));
        };
        if !values.is_empty() && !values.contains(&&*value) {
            let values = values.join(" or ");
            return Err(format!("header {name} can be {values}, not `{value}`"));
        }
        if value.is_empty() {
            continue;
        }
        let value = HeaderValue::from_str(&value)
            .map_err(|_| format!("the value of header {name} holds what no header may hold"))?;
        headers.push((known, value));
    }
    Ok(headers)
}
