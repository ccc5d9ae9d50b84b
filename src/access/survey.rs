//! What the files say of who gets in, for somebody who looks through them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::files::{Reader, read};
use super::gate::{AccessError, Means, Side};
use super::token::Token;
use super::web::Web;
use crate::model::Timestamp;

/// What the files say.
#[derive(Debug, Default)]
pub struct Survey {
    /// Whether connections are encrypted.
    pub tls: bool,
    /// Whether anything is asked of those who come.
    pub asks: bool,
    /// Whether nobody gets in without a certificate that is verified.
    pub verifies_clients: bool,
    /// How many names and passwords are known.
    pub users: usize,
    /// What is not done as it is written.
    pub notes: Vec<String>,
    /// Files with certificates, and when the first of theirs ends.
    pub certificates: Vec<(PathBuf, Timestamp)>,
    /// Files with keys, and their modes.
    pub keys: Vec<(PathBuf, u32)>,
}

/// Looks through the files of a listener. A token that is not there is an error here.
pub fn survey(side: Side, means: &Means) -> Result<Survey, AccessError> {
    let mut reader = Reader::default();
    let web = match &means.web_config {
        Some(path) => Web::read(&mut reader, side.web_flag(), path)?,
        None => Web::default(),
    };
    let mut survey = Survey {
        tls: web.tls.is_some(),
        asks: means.token_file.is_some() || web.verifies_clients || !web.users.is_empty(),
        verifies_clients: web.verifies_clients,
        users: web.users.len(),
        notes: web.notes,
        ..Survey::default()
    };
    let pem: Vec<PathBuf> = reader.paths().map(PathBuf::from).collect();
    for path in pem {
        let Ok(bytes) = read(&path) else { continue };
        let certificates = CertificateDer::pem_slice_iter(&bytes).flatten();
        if let Some(first) = certificates.filter_map(|one| ends(&one)).min() {
            survey.certificates.push((path.clone(), first));
        }
        if PrivateKeyDer::from_pem_slice(&bytes).is_ok() {
            survey.keys.extend(mode(path));
        }
    }
    if let Some(path) = &means.token_file {
        Token::read(&mut reader, side.token_flag(), path)?;
        survey.keys.extend(mode(path.clone()));
    }
    Ok(survey)
}

fn mode(path: PathBuf) -> Option<(PathBuf, u32)> {
    let mode = fs::metadata(&path).ok()?.mode() & 0o7777;
    Some((path, mode))
}

/// When a certificate ends; unknown where it cannot be read.
pub fn ends(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let seconds = certificate.validity().not_after.timestamp();
    Some(Timestamp(seconds.saturating_mul(1_000_000)))
}
