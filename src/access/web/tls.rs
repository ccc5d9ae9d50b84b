//! From `tls_server_config` to what the TLS library takes.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{self, NamedGroup, RootCertStore, ServerConfig};

use super::client::Clients;
use super::file::{FileTls, Pem};
use super::value::{ClientAuth, Curve, Version};
use crate::access::files::{FileError, Reader};

/// Why connections cannot be encrypted as it is said.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Something is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// There is no PEM of that kind.
    #[error("{place} holds no {kind} in PEM format{hint}")]
    NoPem {
        /// Where it was looked for.
        place: String,
        /// What was looked for.
        kind: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Key and certificate are refused.
    #[error("{place}: the certificate and its key are refused: {source}")]
    Identity {
        /// Where they are.
        place: String,
        /// Why.
        source: Box<rustls::Error>,
    },
    /// An authority is refused.
    #[error("{place}: an authority is refused: {source}")]
    Authority {
        /// Where it is.
        place: String,
        /// Why.
        source: Box<rustls::Error>,
    },
    /// Authorities, and nobody who has to show a certificate.
    #[error("client_ca needs a client_auth_type such as RequireAndVerifyClientCert")]
    AuthoritiesForNobody,
    /// Names, and nobody who has to show a certificate.
    #[error(
        "client_allowed_sans needs client_auth_type RequireAnyClientCert or \
         RequireAndVerifyClientCert: others may come without a certificate, and so without a name"
    )]
    NamesForNobody,
    /// No version is left.
    #[error(
        "min_version and max_version leave neither TLS12 nor TLS13, and nothing else is spoken"
    )]
    NoVersion,
    /// No cipher suite is left.
    #[error("none of cipher_suites is spoken here; ECDHE with AES-GCM or ChaCha20-Poly1305 is")]
    NoCipher,
    /// No curve is left.
    #[error("none of curve_preferences is spoken here; X25519, CurveP256 and CurveP384 are")]
    NoCurve,
    /// The library refuses.
    #[error("{0}")]
    Library(Box<rustls::Error>),
    /// The clients' certificates cannot be verified.
    #[error("clients' certificates cannot be verified: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// Makes it. What is not done as it is said is noted. Returns as well whether nobody gets in without a
/// certificate that is verified.
pub(super) fn make(
    reader: &mut Reader,
    file: &FileTls,
    dir: &Path,
    notes: &mut Vec<String>,
) -> Result<(ServerConfig, bool), TlsError> {
    let certificate = file.certificate().ok_or(TlsError::Missing("cert_file (or cert)"))?;
    let key = file.private_key().ok_or(TlsError::Missing("key_file (or key)"))?;
    let (place, pem) = fetch(reader, ("cert_file", "cert"), &certificate, dir)?;
    let chain = certificates(&pem, &place)?;
    let (key_place, pem) = fetch(reader, ("key_file", "key"), &key, dir)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::NoPem {
        place: key_place,
        kind: "private key",
        hint: "; one with a passphrase has to be decrypted first",
    })?;
    let versions = versions(file, notes)?;
    let provider = Arc::new(provider(file, versions.contains(&&TLS12), notes)?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|error| TlsError::Library(Box::new(error)))?;
    let clients = clients(reader, file, dir, &provider, notes)?;
    let verifies = clients.as_ref().is_some_and(|c| c.is_mandatory && c.issuers.is_some());
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::new(clients)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::Identity { place, source: Box::new(error) })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = file.prefer_server_cipher_suites.unwrap_or(true);
    Ok((config, verifies))
}

/// PEM, and where it came from.
fn fetch<'a>(
    reader: &mut Reader,
    (file_key, text_key): (&'static str, &'static str),
    pem: &Pem<'a>,
    dir: &Path,
) -> Result<(String, Cow<'a, [u8]>), TlsError> {
    match pem {
        Pem::Text(text) => Ok((text_key.to_owned(), Cow::Borrowed(text.as_bytes()))),
        Pem::File(path) => {
            let path: PathBuf = dir.join(path);
            let bytes = reader.read(file_key, &path)?;
            Ok((format!("{file_key} {}", path.display()), Cow::Owned(bytes)))
        }
    }
}

fn certificates(pem: &[u8], place: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TlsError::NoPem { place: place.to_owned(), kind: "certificate", hint: "" }),
    }
}

fn versions(
    file: &FileTls,
    notes: &mut Vec<String>,
) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, TlsError> {
    let (least, most) =
        (file.min_version.unwrap_or(Version::Tls12), file.max_version.unwrap_or(Version::Tls13));
    if least < Version::Tls12 {
        notes.push("min_version is below TLS12, which is the oldest that is spoken".to_owned());
    }
    let spoken = [(Version::Tls13, &TLS13), (Version::Tls12, &TLS12)];
    let versions: Vec<_> = spoken
        .into_iter()
        .filter_map(|(version, known)| (least <= version && version <= most).then_some(known))
        .collect();
    if versions.is_empty() { Err(TlsError::NoVersion) } else { Ok(versions) }
}

/// Cipher suites and curves. Suites of TLS 1.3 are all there always, as elsewhere.
fn provider(
    file: &FileTls,
    speaks_tls12: bool,
    notes: &mut Vec<String>,
) -> Result<CryptoProvider, TlsError> {
    let mut provider = ring::default_provider();
    let wanted = file.cipher_suites.as_deref().unwrap_or_default();
    if !wanted.is_empty() && speaks_tls12 {
        let all = std::mem::take(&mut provider.cipher_suites);
        let (of_tls13, of_tls12): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|suite| suite.tls13().is_some());
        provider.cipher_suites = of_tls13;
        let mut unspoken = Vec::new();
        let before = provider.cipher_suites.len();
        for name in wanted.iter().filter(|cipher| !cipher.is_of_tls13()).map(|c| c.name()) {
            match of_tls12.iter().find(|suite| suite.suite().as_str() == Some(name)) {
                Some(suite) => provider.cipher_suites.push(*suite),
                None => unspoken.push(name),
            }
        }
        let has_tls12 = provider.cipher_suites.len() > before;
        if !has_tls12 && file.max_version == Some(Version::Tls12) {
            return Err(TlsError::NoCipher);
        }
        if !unspoken.is_empty() {
            let unspoken = unspoken.join(", ");
            notes.push(format!("not spoken here, of cipher_suites: {unspoken}"));
        }
        if !has_tls12 {
            notes.push("cipher_suites leaves none of TLS 1.2; only TLS 1.3 is spoken".to_owned());
        }
    }
    let wanted = file.curve_preferences.as_deref().unwrap_or_default();
    if !wanted.is_empty() {
        let all = std::mem::take(&mut provider.kx_groups);
        for curve in wanted {
            let name = match curve {
                Curve::P256 => NamedGroup::secp256r1,
                Curve::P384 => NamedGroup::secp384r1,
                Curve::P521 => NamedGroup::secp521r1,
                Curve::X25519 => NamedGroup::X25519,
            };
            provider.kx_groups.extend(all.iter().filter(|group| group.name() == name));
        }
        if provider.kx_groups.is_empty() {
            return Err(TlsError::NoCurve);
        }
        if wanted.contains(&Curve::P521) {
            notes.push("not spoken here, of curve_preferences: CurveP521".to_owned());
        }
    }
    Ok(provider)
}

/// What is asked of clients' certificates, if anything is.
fn clients(
    reader: &mut Reader,
    file: &FileTls,
    dir: &Path,
    provider: &Arc<CryptoProvider>,
    notes: &mut Vec<String>,
) -> Result<Option<Clients>, TlsError> {
    let kind = file.client_auth().unwrap_or(ClientAuth::No);
    let authorities = file.authorities();
    if authorities.is_some() && kind == ClientAuth::No {
        return Err(TlsError::AuthoritiesForNobody);
    }
    let is_mandatory = matches!(kind, ClientAuth::RequireAny | ClientAuth::RequireAndVerify);
    if file.client_allowed_sans.is_some() && !is_mandatory {
        return Err(TlsError::NamesForNobody);
    }
    if kind == ClientAuth::No {
        return Ok(None);
    }
    // Read even where nobody is verified: a file that is not there is a mistake.
    let mut roots = RootCertStore::empty();
    if let Some(authorities) = &authorities {
        let (place, pem) = fetch(reader, ("client_ca_file", "client_ca"), authorities, dir)?;
        for authority in certificates(&pem, &place)? {
            let added = roots.add(authority);
            added.map_err(|error| TlsError::Authority {
                place: place.clone(),
                source: Box::new(error),
            })?;
        }
    }
    let verifies = matches!(kind, ClientAuth::VerifyIfGiven | ClientAuth::RequireAndVerify);
    let issuers = if verifies {
        if authorities.is_none() {
            notes.push(
                "client_ca is missing: everybody gets in who has a certificate for clients of any \
                 authority that this system trusts"
                    .to_owned(),
            );
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        Some(verifier.build()?)
    } else {
        None
    };
    let algorithms = provider.signature_verification_algorithms;
    let names = file.client_allowed_sans.clone();
    Ok(Some(Clients { issuers, is_mandatory, names, algorithms }))
}
