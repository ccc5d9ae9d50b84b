//! Web configuration files: what `promtool check web-config` takes, the exporter takes, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use mozaiks_exporter::access::{Gate, Means, Side};
use tempfile::TempDir;

use crate::support::exporter::Launch;
use crate::support::tls::Authority;
use crate::support::tools::missing;

/// A password's hash.
const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

/// What there is to say of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Both take it.
    Good,
    /// Both refuse it.
    Bad,
    /// The exporter takes it and the promtool of today does not know it yet.
    Newer,
    /// The exporter refuses what promtool takes, for a reason.
    Stricter,
}
use Verdict::{Bad, Good, Newer, Stricter};

const CBC: &str = "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA";
const GCM: &str = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";

/// What follows certificate and key in `tls_server_config`.
const OF_TLS: &[(Verdict, &str)] = &[
    (Good, ""),
    (Good, "client_auth_type: NoClientCert"),
    (Good, "client_auth_type: ''"),
    (Good, "client_auth_type: RequestClientCert"),
    (Good, "client_auth_type: RequireAnyClientCert"),
    (Good, "client_auth_type: RequireClientCert"),
    (Good, "{client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.crt}"),
    (Good, "{client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.crt}"),
    (Good, "{client_auth_type: RequestClientCert, client_ca_file: ca.crt}"),
    (Bad, "client_auth_type: Always"),
    (Bad, "client_auth_type: requireandverifyclientcert"),
    (Bad, "client_ca_file: ca.crt"),
    (Bad, "{client_auth_type: NoClientCert, client_ca_file: ca.crt}"),
    (Bad, "{client_auth_type: RequireAndVerifyClientCert, client_ca_file: gone.crt}"),
    // Nobody could ever get in.
    (Stricter, "{client_auth_type: RequireAndVerifyClientCert, client_ca_file: junk}"),
    (Good, "min_version: TLS12"),
    (Good, "min_version: TLS13"),
    (Good, "min_version: TLS10"),
    (Good, "max_version: TLS12"),
    // Nobody could ever get in.
    (Stricter, "{min_version: TLS13, max_version: TLS12}"),
    // Nothing that old is spoken.
    (Stricter, "{min_version: TLS10, max_version: TLS11}"),
    (Bad, "min_version: TLS14"),
    (Bad, "min_version: tls12"),
    (Bad, "min_version: 1.2"),
    (Good, "cipher_suites: []"),
    (Good, "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]"),
    (Good, "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_AES_128_GCM_SHA256]"),
    (Bad, "cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]"),
    (Bad, "cipher_suites: [TLS_MADE_UP]"),
    (Bad, "cipher_suites: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    // None of them is spoken.
    (Stricter, "{max_version: TLS12, cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]}"),
    (Good, "curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]"),
    (Bad, "curve_preferences: [P256]"),
    // It is not spoken.
    (Stricter, "curve_preferences: [CurveP521]"),
    (Good, "prefer_server_cipher_suites: false"),
    (Good, "prefer_server_cipher_suites: no"),
    (Bad, "prefer_server_cipher_suites: never"),
    (Bad, "unheard_of: 1"),
    (Newer, "{client_auth_type: RequireAnyClientCert, client_allowed_sans: [a]}"),
    (Bad, "client_allowed_sans: [a]"),
];

/// Whole files.
const FILES: &[(Verdict, &str)] = &[
    (Good, ""),
    (Good, "# nothing\n"),
    (Good, "{}"),
    (Good, "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n"),
    (Good, "tls_server_config: {}"),
    (Good, "tls_server_config: {min_version: TLS13}"),
    (Bad, "tls_server_config: {cert_file: server.crt}"),
    (Bad, "tls_server_config: {key_file: server.key}"),
    (Bad, "tls_server_config: {cert_file: server.crt, key_file: ''}"),
    (Bad, "tls_server_config: {cert_file: '', key_file: server.key}"),
    (Bad, "tls_server_config: {cert_file: gone.crt, key_file: server.key}"),
    (Bad, "tls_server_config: {cert_file: server.crt, key_file: gone.key}"),
    (Bad, "tls_server_config: {cert_file: server.crt, key_file: other.key}"),
    (Bad, "tls_server_config: {cert_file: server.key, key_file: server.crt}"),
    (Bad, "tls_server_config: {cert_file: junk, key_file: junk}"),
    (Bad, "tls_server_config: {client_auth_type: RequireAnyClientCert}"),
    (Bad, "tls_server_config: {client_ca_file: ca.crt}"),
    (Bad, "tls_server_config: [cert_file, key_file]"),
    (Good, "http_server_config: {http2: false}"),
    (Good, "http_server_config: {http2: true}"),
    (Good, "http_server_config: {headers: {}}"),
    (Good, "http_server_config: {headers: {X-Frame-Options: deny}}"),
    (Good, "http_server_config: {headers: {X-Frame-Options: sameorigin}}"),
    (Good, "http_server_config: {headers: {X-Content-Type-Options: nosniff}}"),
    (Good, "http_server_config: {headers: {X-XSS-Protection: '1'}}"),
    (Good, "http_server_config: {headers: {Strict-Transport-Security: max-age=60}}"),
    (Good, "http_server_config: {headers: {Content-Security-Policy: ''}}"),
    (Bad, "http_server_config: {headers: {X-Frame-Options: allow}}"),
    (Bad, "http_server_config: {headers: {X-Content-Type-Options: sniff}}"),
    (Bad, "http_server_config: {headers: {Server: mine}}"),
    (Bad, "http_server_config: {headers: {x-frame-options: deny}}"),
    (Bad, "http_server_config: {http3: true}"),
    (Bad, "http_server_config: {http2: maybe}"),
    (Good, "basic_auth_users: {}"),
    (Good, "basic_auth_users: {ada: HASH}"),
    (Good, "basic_auth_users: {ada: HASH, bob: HASH, 7: HASH}"),
    (Bad, "basic_auth_users: {ada: plain}"),
    (Bad, "basic_auth_users: {ada: ''}"),
    (Bad, "basic_auth_users: {ada: $2y$10$tooshort}"),
    (Bad, "basic_auth_users: [ada]"),
    (Bad, "basic_auth_users: {ada: HASH, ada: HASH}"),
    // It is no hash of any password.
    (Stricter, "basic_auth_users: {ada: HASHmore}"),
    (Bad, "users: {ada: HASH}"),
    (Bad, "basic_auth_users: {}\nbasic_auth_users: {}\n"),
    (Bad, "basic_auth_users: {\n"),
    (Bad, "just text"),
    (Bad, "- a list"),
    (Newer, "rate_limit: {interval: 1s, burst: 5}"),
    (Newer, "rate_limit: {interval: 0s}"),
    (Bad, "rate_limit: {interval: 1s}"),
    (Bad, "rate_limit: {interval: often, burst: 5}"),
];

struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Authority::new(dir.path(), "ca.crt");
        authority.issue("server", &["127.0.0.1", "localhost"]);
        authority.issue("other", &["other"]);
        fs::write(dir.path().join("junk"), "nothing\n").unwrap();
        Self { dir }
    }

    fn write(&self, text: &str) -> PathBuf {
        let path = self.dir.path().join("web.yml");
        fs::write(&path, text.replace("HASH", HASH)).unwrap();
        path
    }

    /// With a certificate of its own as text.
    fn inline(&self) -> String {
        let pem = |name: &str| {
            let text = fs::read_to_string(self.dir.path().join(name)).unwrap();
            text.lines().flat_map(|line| ["    ", line, "\n"]).collect::<String>()
        };
        let (cert, key, ca) = (pem("server.crt"), pem("server.key"), pem("ca.crt"));
        format!(
            "tls_server_config:\n  cert: |\n{cert}  key: |\n{key}  client_ca: |\n{ca}\
             \x20 client_auth_type: RequireAndVerifyClientCert\n"
        )
    }
}

/// The file with `more` in its part on TLS.
fn with_tls(more: &str) -> String {
    let more = more.trim_start_matches('{').trim_end_matches('}');
    format!("tls_server_config: {{cert_file: server.crt, key_file: server.key, {more}}}")
}

fn promtool_takes(path: &Path) -> Result<(), String> {
    let output = Command::new("promtool")
        .args(["check", "web-config"])
        .arg(path)
        .output()
        .unwrap_or_else(|error| panic!("{}", missing("promtool", &error)));
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.into_owned()) }
}

fn we_take(path: &Path) -> Result<(), String> {
    let means = Means { web_config: Some(path.to_owned()), token_file: None };
    let opened = Gate::open(Side::Metrics, means, Arc::default());
    opened.map(drop).map_err(|error| error.to_string())
}

#[test]
fn promtool_and_the_exporter_agree() {
    let world = World::new();
    let mut files: Vec<(Verdict, String)> =
        FILES.iter().map(|(verdict, text)| (*verdict, (*text).to_owned())).collect();
    files.extend(OF_TLS.iter().map(|(verdict, more)| (*verdict, with_tls(more))));
    files.push((Newer, world.inline()));
    assert!(files.iter().any(|(_, text)| text.contains(CBC) && text.contains("server.crt")));
    assert!(files.iter().any(|(_, text)| text.contains(GCM)));
    let mut wrong = Vec::new();
    for (verdict, text) in files {
        let path = world.write(&text);
        let (theirs, ours) = (promtool_takes(&path), we_take(&path));
        let expected = match verdict {
            Good => (true, true),
            Bad => (false, false),
            Newer => (false, true),
            Stricter => (true, false),
        };
        if (theirs.is_ok(), ours.is_ok()) != expected {
            wrong.push(format!("{verdict:?}: {text}\n  promtool: {theirs:?}\n  we: {ours:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_bad_file_keeps_the_exporter_from_starting_and_says_where_it_is_bad() {
    let world = World::new();
    let path = world.write("basic_auth_users:\n  ada: HASH\nbasic_auth_user: {}\n");
    for flag in ["--web.config.file", "--control.config.file"] {
        let state = TempDir::new().unwrap();
        let (status, said) = Launch::new(state.path()).flag(flag, &path).run_to_its_end();
        assert_eq!(status.code(), Some(64), "{said}");
        let place = format!("{flag} {}:3 is refused", path.display());
        assert!(said.contains(&place) && said.contains("basic_auth_user"), "{said}");
        assert!(!said.contains(HASH), "{said}");
    }
}
