//! Certificates of clients: asked for, demanded, verified, and of whom.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// What is asked of a client's certificate.
#[derive(Debug)]
pub(super) struct Clients {
    /// Verifies who issued it; nobody does if that does not matter.
    pub(super) issuers: Option<Arc<dyn ClientCertVerifier>>,
    /// Whether there must be one.
    pub(super) is_mandatory: bool,
    /// Names, one of which it has to have; any will do if there are none.
    pub(super) names: Option<Vec<String>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.issuers.as_ref().map_or(&[], |issuers| issuers.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(issuers) = &self.issuers {
            issuers.verify_client_cert(certificate, intermediates, now)?;
        }
        match &self.names {
            Some(allowed) if !has_name(certificate, allowed) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether one of a certificate's alternative names (DNS, e-mail, URI, address) is exactly one of these.
fn has_name(certificate: &CertificateDer<'_>, allowed: &[String]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            allowed.iter().any(|allowed| allowed == name)
        }
        GeneralName::IPAddress(bytes) => address(bytes)
            .is_some_and(|address| allowed.iter().any(|allowed| allowed.parse() == Ok(address))),
        _ => false,
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_name_is_matched_exactly_whatever_its_kind() {
        let mut params = CertificateParams::new(vec!["scraper.example".to_owned()]).unwrap();
        params.subject_alt_names.extend([
            SanType::Rfc822Name("ops@example.com".try_into().unwrap()),
            SanType::URI("spiffe://example/prometheus".try_into().unwrap()),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::IpAddress("2001:db8::7".parse().unwrap()),
        ]);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let has = |name: &str| has_name(certificate.der(), &["other".to_owned(), name.to_owned()]);
        for own in [
            "scraper.example",
            "ops@example.com",
            "spiffe://example/prometheus",
            "192.0.2.7",
            "2001:db8::7",
            "2001:DB8:0::7",
        ] {
            assert!(has(own), "{own}");
        }
        for other in ["", "example", "Scraper.example", "*.example", "192.0.2.70", "example.com"] {
            assert!(!has(other), "{other}");
        }
        assert!(!has_name(&CertificateDer::from(b"no certificate".to_vec()), &["a".to_owned()]));
        assert!(!has_name(certificate.der(), &[]));
    }
}
