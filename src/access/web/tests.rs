use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};

use super::*;

/// A folder with a certificate and its key, another key, and an authority.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let certificate = CertificateParams::new(names.clone()).unwrap().self_signed(&key).unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let other = KeyPair::generate().unwrap();
    for (name, pem) in [
        ("cert", certificate.pem()),
        ("key", key.serialize_pem()),
        ("other", other.serialize_pem()),
        ("ca", authority.pem()),
        ("junk", "nothing\n".to_owned()),
    ] {
        std::fs::write(dir.path().join(name), pem).unwrap();
    }
    dir
}

fn read_in(dir: &tempfile::TempDir, text: &str) -> Result<Web, WebError> {
    let path = dir.path().join("web.yml");
    std::fs::write(&path, text).unwrap();
    Web::read(&mut Reader::default(), "--web.config.file", &path)
}

fn tls(more: &str) -> String {
    format!("tls_server_config: {{cert_file: cert, key_file: key{more}}}")
}

#[test]
fn what_is_refused_is_refused_with_its_place() {
    let dir = folder();
    for (text, line, problem) in [
        ("tls_server_config:\n  cert_file: cert\n  key_fil: key\n", 3, "key_fil"),
        ("basic_auth_users: {}\ntokens: []\n", 2, "tokens"),
        ("http_server_config:\n  http2: maybe\n", 2, "bool"),
        ("basic_auth_users:\n  ada: $2y$10$short\n", 2, "bcrypt"),
        ("tls_server_config:\n  min_version: SSL3\n", 2, "SSL3"),
        ("tls_server_config:\n  cipher_suites:\n  - TLS_NONE\n", 3, "TLS_NONE"),
        ("tls_server_config:\n  curve_preferences: [X448]\n", 2, "X448"),
        ("tls_server_config:\n  client_auth_type: Maybe\n", 2, "Maybe"),
        ("rate_limit:\n  interval: soon\n  burst: 1\n", 2, "soon"),
        ("basic_auth_users: {}\nbasic_auth_users: {}\n", 2, "basic_auth_users"),
    ] {
        let error = read_in(&dir, text).unwrap_err().to_string();
        assert!(error.contains(&format!("web.yml:{line} is refused")), "{text}: {error}");
        assert!(error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let dir = folder();
    for (text, problem) in [
        ("tls_server_config: {cert_file: cert}".to_owned(), "key_file (or key) is missing"),
        ("tls_server_config: {key_file: key}".to_owned(), "cert_file (or cert) is missing"),
        ("tls_server_config: {client_auth_type: NoClientCert}".to_owned(), "is missing"),
        ("tls_server_config: {cert_file: cert, key_file: other}".to_owned(), "are refused"),
        ("tls_server_config: {cert_file: junk, key_file: key}".to_owned(), "no certificate"),
        ("tls_server_config: {cert_file: cert, key_file: cert}".to_owned(), "no private key"),
        ("tls_server_config: {cert_file: gone, key_file: key}".to_owned(), "cannot read cert_file"),
        (tls(", client_ca_file: ca"), "client_ca needs a client_auth_type"),
        (tls(", client_ca_file: junk, client_auth_type: RequestClientCert"), "no certificate"),
        (tls(", client_allowed_sans: [a]"), "client_allowed_sans needs"),
        (tls(", max_version: TLS11, min_version: TLS10"), "neither TLS12 nor TLS13"),
        (tls(", min_version: TLS13, max_version: TLS12"), "neither TLS12 nor TLS13"),
        (tls(", curve_preferences: [CurveP521]"), "curve_preferences"),
        (
            tls(", max_version: TLS12, cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]"),
            "none of cipher_suites",
        ),
        ("http_server_config: {headers: {X-Other: a}}".to_owned(), "`X-Other` cannot be set"),
        ("http_server_config: {headers: {X-Frame-Options: allow}}".to_owned(), "not `allow`"),
        ("rate_limit: {interval: 1s}".to_owned(), "burst must be at least 1"),
    ] {
        let error = read_in(&dir, &text).unwrap_err().to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
}

#[test]
fn secrets_are_not_repeated() {
    let dir = folder();
    let text = "tls_server_config:\n  key: hunter2-is-secret\n  cert: hunter2-is-secret\n  x: 1\n\
                basic_auth_users:\n  ada: hunter2-is-secret\n";
    let error = read_in(&dir, text).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    let text = "basic_auth_users:\n  ada: hunter2-is-secret\n";
    let error = read_in(&dir, text).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn what_is_said_is_what_is_done() {
    let dir = folder();
    for nothing in ["", "# nothing\n", "{}", "tls_server_config:\n", "basic_auth_users: {}\n"] {
        let web = read_in(&dir, nothing).unwrap();
        assert!(web.tls.is_none() && web.users.is_empty() && web.rate.is_none(), "{nothing}");
    }
    let web = read_in(&dir, &tls("")).unwrap();
    assert!(web.tls.is_some() && !web.verifies_clients && web.notes.is_empty(), "{web:?}");
    let pem = |name: &str| {
        let text = std::fs::read_to_string(dir.path().join(name)).unwrap();
        text.lines().flat_map(|line| ["    ", line, "\n"]).collect::<String>()
    };
    let inline = format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", pem("cert"), pem("key"));
    assert!(read_in(&dir, &inline).unwrap().tls.is_some());
    let verified = tls(", client_ca_file: ca, client_auth_type: RequireAndVerifyClientCert");
    assert!(read_in(&dir, &verified).unwrap().verifies_clients);
    let given = tls(", client_ca_file: ca, client_auth_type: VerifyClientCertIfGiven");
    assert!(!read_in(&dir, &given).unwrap().verifies_clients);

    let web = read_in(&dir, "rate_limit: {interval: 100ms, burst: 20}").unwrap();
    assert_eq!(web.rate, Some(Rate { interval: Duration::from_millis(100), burst: 20 }));
    assert_eq!(read_in(&dir, "rate_limit: {interval: 0, burst: 20}").unwrap().rate, None);
    let headers = "http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n    \
                   Strict-Transport-Security: max-age=3600\n    Content-Security-Policy: ''\n";
    let web = read_in(&dir, headers).unwrap();
    let headers: Vec<_> = web.headers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect();
    let expected: [(&str, &[u8]); 2] =
        [("strict-transport-security", b"max-age=3600"), ("x-frame-options", b"sameorigin")];
    assert_eq!(headers, expected);
}

#[test]
fn what_is_not_done_as_it_is_said_is_noted() {
    let dir = folder();
    for (more, note) in [
        (", min_version: TLS10", "min_version is below TLS12"),
        (", cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]", "only TLS 1.3 is spoken"),
        (", curve_preferences: [CurveP521, CurveP256]", "CurveP521"),
        (", client_auth_type: RequireAndVerifyClientCert", "client_ca is missing"),
    ] {
        let web = read_in(&dir, &tls(more)).unwrap();
        assert!(web.notes.iter().any(|said| said.contains(note)), "{more}: {:?}", web.notes);
    }
    let fine =
        tls(", min_version: TLS12, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256], \
                    curve_preferences: [CurveP256], prefer_server_cipher_suites: false");
    let web = read_in(&dir, &fine).unwrap();
    assert!(web.notes.is_empty(), "{:?}", web.notes);
    let provider = web.tls.unwrap().crypto_provider().clone();
    assert_eq!((provider.cipher_suites.len(), provider.kx_groups.len()), (4, 1));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\n]{0,200}") {
        if let Err((_, problem)) = parse(&text) {
            proptest::prop_assert!(!problem.is_empty());
        }
    }

    #[test]
    fn keys_with_any_value_are_read_or_refused(
        key in "(tls_server_config|http_server_config|basic_auth_users|rate_limit)",
        inner in "(cert_file|http2|headers|interval|burst|cipher_suites|ada)",
        value in "[ -~]{0,40}",
    ) {
        let text = format!("{key}:\n  {inner}: {value}\n");
        if let Err((_, problem)) = parse(&text) {
            proptest::prop_assert!(!problem.is_empty());
        }
    }
}
