//! Who gets in, as curl and Prometheus see it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::curl::{Answer, curl};
use crate::support::exporter::{Exporter, Launch, METRICS};
use crate::support::http;
use crate::support::prometheus::Prometheus;
use crate::support::tls::Authority;
use crate::support::wait::{eventually, quiet_port};

const PASSWORD: &str = "correct horse";
const TOKEN: &str = "s3cret";

/// A folder of certificates, users and tokens.
struct World {
    dir: TempDir,
    authority: Authority,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let authority = Authority::new(dir.path(), "ca.crt");
        authority.issue("server", &["127.0.0.1", "localhost"]);
        fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
        Self { dir, authority }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn launch(&self) -> Launch {
        Launch::new(&self.path("state"))
    }

    /// Users in a web configuration file.
    fn users(name: &str) -> String {
        format!("basic_auth_users: {{{name}: {}}}\n", bcrypt::hash(PASSWORD, 4).unwrap())
    }

    /// Asks by TLS, with more flags of curl.
    fn ask(&self, address: SocketAddr, path: &str, more: &[&str]) -> Result<Answer, String> {
        let url = format!("https://{address}{path}");
        let ca = self.path("ca.crt");
        let mut args = vec!["--cacert", ca.to_str().unwrap()];
        args.extend(more);
        args.push(&url);
        curl(&args)
    }
}

/// Certificate and key in a web configuration file; `more` follows.
fn tls(more: &str) -> String {
    format!("tls_server_config: {{cert_file: server.crt, key_file: server.key{more}}}\n")
}

fn status(answer: &Result<Answer, String>) -> u16 {
    answer.as_ref().map_or(0, |answer| answer.status)
}

#[test]
fn each_path_opens_to_those_who_may_and_probes_to_all() {
    let world = World::new();
    let web = world.write("web.yml", &(tls("") + &World::users("ada")));
    let mut launch = world.launch();
    for side in ["web", "control"] {
        launch = launch
            .flag(&format!("--{side}.config.file"), &web)
            .flag(&format!("--{side}.token-file"), world.path("token"));
    }
    let exporter = launch.start();
    let credentials: [(&[&str], bool); 10] = [
        (&[], false),
        (&["-u", "ada:correct horse"], true),
        (&["-u", "ada:wrong"], false),
        (&["-u", "ada:"], false),
        (&["-u", "eve:correct horse"], false),
        (&["-u", "any:s3cret"], true),
        (&["-H", "Authorization: Bearer s3cret"], true),
        (&["-H", "Authorization: Bearer s3cret2"], false),
        (&["-H", "Authorization: Bearer"], false),
        (&["-H", "Authorization: Digest s3cret"], false),
    ];
    let (metrics, control) = (exporter.address(), exporter.control());
    let event = ["-H", "Content-Type: application/json", "-d", "[]"];
    let paths: [(SocketAddr, &str, &[&str], u16); 15] = [
        (metrics, METRICS, &[], 200),
        (metrics, "/metrics", &[], 200),
        (metrics, "/metrics/perf/aggregate", &[], 200),
        (metrics, "/metrics/perf/chats", &[], 200),
        (metrics, "/metrics/perf/chats/nobody", &[], 404),
        (metrics, "/health/active-runs", &[], 200),
        (metrics, "/api/health", &[], 503),
        (metrics, "/openapi.json", &[], 200),
        (metrics, "/", &[], 200),
        (metrics, "/no/such/path", &[], 404),
        (control, "/api/v1/events", &event, 202),
        (control, "/usage/ingest", &event, 400),
        (control, "/-/reload", &["-X", "POST"], 200),
        (control, "/openapi.json", &[], 200),
        (control, "/no/such/path", &[], 404),
    ];
    for (address, path, how, expected) in paths {
        for (shown, opens) in credentials {
            let answer = world.ask(address, path, &[how, shown].concat());
            let expected = if opens { expected } else { 401 };
            assert_eq!(status(&answer), expected, "{path} with {shown:?}: {answer:?}");
        }
        let refused = world.ask(address, path, how).unwrap();
        let wanted = refused.all("www-authenticate");
        assert!(wanted[0].starts_with("Bearer ") && wanted[1].starts_with("Basic "), "{wanted:?}");
        let side = if address == metrics { "web" } else { "control" };
        let expected = format!(
            "show the token of --{side}.token-file: Authorization: Bearer TOKEN; or a name and \
             password of --{side}.config.file"
        );
        assert_eq!(refused.detail(), expected);
    }
    for address in [metrics, control] {
        for path in ["/-/healthy", "/-/ready"] {
            for (shown, _) in credentials {
                let answer = world.ask(address, path, shown);
                let fine = [200, 503].contains(&status(&answer));
                assert!(fine, "{path} with {shown:?}: {answer:?}");
            }
        }
        assert_eq!(status(&world.ask(address, "/-/healthy", &[])), 200);
    }
    let log = exporter.log().join("\n");
    assert!(!log.contains(TOKEN) && !log.contains(PASSWORD), "{log}");
}

#[test]
fn versions_and_clients_certificates_are_asked_for_as_it_is_said() {
    let world = World::new();
    world.authority.issue("known", &["scraper.example"]);
    Authority::new(world.dir.path(), "foreign.crt").issue("foreign", &["scraper.example"]);
    let certificate = |name: &str| {
        ["crt", "key"]
            .map(|ending| world.path(&format!("{name}.{ending}")).to_str().unwrap().to_owned())
    };
    let (known, foreign) = (certificate("known"), certificate("foreign"));
    let shown: [&[&str]; 3] = [
        &[],
        &["--cert", &known[0], "--key", &known[1]],
        &["--cert", &foreign[0], "--key", &foreign[1]],
    ];
    let ca = "client_ca_file: ca.crt";
    for (kind, opens) in [
        ("NoClientCert".to_owned(), [true, true, true]),
        ("RequestClientCert".to_owned(), [true, true, true]),
        ("RequireAnyClientCert".to_owned(), [false, true, true]),
        (format!("VerifyClientCertIfGiven, {ca}"), [true, true, false]),
        (format!("RequireAndVerifyClientCert, {ca}"), [false, true, false]),
        (
            format!("RequireAndVerifyClientCert, {ca}, client_allowed_sans: [b, scraper.example]"),
            [false, true, false],
        ),
        (
            format!("RequireAndVerifyClientCert, {ca}, client_allowed_sans: [example]"),
            [false, false, false],
        ),
        (
            "RequireAnyClientCert, client_allowed_sans: [scraper.example]".to_owned(),
            [false, true, true],
        ),
    ] {
        let web = world.write("web.yml", &tls(&format!(", client_auth_type: {kind}")));
        let exporter = world.launch().flag("--web.config.file", &web).start();
        for version in ["1.2", "1.3"] {
            let version = ["--tlsv1.2", "--tls-max", version];
            for (shown, opens) in shown.into_iter().zip(opens) {
                let how = [&version[..], shown].concat();
                let answer = world.ask(exporter.address(), METRICS, &how);
                let expected = if opens { 200 } else { 0 };
                assert_eq!(status(&answer), expected, "{kind} with {how:?}: {answer:?}");
            }
        }
    }
    let web = world.write("web.yml", &tls(", min_version: TLS13"));
    let exporter = world.launch().flag("--web.config.file", &web).start();
    let answers = ["1.2", "1.3"]
        .map(|version| status(&world.ask(exporter.address(), METRICS, &["--tls-max", version])));
    assert_eq!(answers, [0, 200]);
}

#[test]
fn whoever_speaks_plainly_where_it_is_encrypted_is_told_so() {
    let world = World::new();
    let web = world.write("web.yml", &tls(""));
    let exporter = world.launch().flag("--web.config.file", &web).start();
    let answer = curl(&[format!("http://{}/metrics", exporter.address())]).unwrap();
    assert_eq!(
        (answer.status, &*answer.detail()),
        (400, "connections are encrypted here; use https://")
    );
}

#[test]
fn a_container_can_ask_by_tls_whether_it_is_well() {
    let world = World::new();
    let web = world.write("web.yml", &(tls("") + &World::users("ada")));
    let exporter = world.launch().flag("--web.config.file", &web).start();
    let ask = |more: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_mozaiks-exporter"))
            .args(["healthcheck", "--web.listen-address", &exporter.address().to_string()])
            .args(more)
            .status()
            .unwrap()
    };
    assert!(ask(&["--tls"]).success());
    assert_eq!(ask(&[]).code(), Some(1));
}

#[test]
fn prometheus_scrapes_by_tls_with_a_password() {
    let world = World::new();
    let web = world.write("web.yml", &(tls("") + &World::users("prometheus")));
    let exporter = world.launch().flag("--web.config.file", &web).start();
    let config = |password: &str| {
        format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n\
             - job_name: mozaiks\n\
             \x20 scheme: https\n\
             \x20 tls_config: {{ca_file: {}}}\n\
             \x20 basic_auth: {{username: prometheus, password: {password}}}\n\
             \x20 metrics_path: {METRICS}\n\
             \x20 static_configs: [{{targets: ['{}']}}]\n",
            world.path("ca.crt").display(),
            exporter.address()
        )
    };
    Prometheus::configured(&config(PASSWORD)).wait_for_a_scrape();
    let wrong = Prometheus::configured(&config("other"));
    eventually("a wrong password is refused", || {
        let said = wrong.last_error();
        if said.contains("401 Unauthorized") { Ok(()) } else { Err(said) }
    });
}

/// Whether the last try to read who may read metrics succeeded.
fn is_good(world: &World, address: SocketAddr) -> bool {
    let answer = world.ask(address, METRICS, &[]).unwrap();
    let line = "mozaiks_exporter_web_config_last_reload_successful{listener=\"metrics\"} ";
    let value = answer.body.lines().find_map(|l| l.strip_prefix(line)).unwrap().to_owned();
    value == "1"
}

#[test]
fn new_certificates_are_taken_and_broken_ones_are_not() {
    let world = World::new();
    let web = world.write("web.yml", &tls(""));
    let exporter = world.launch().flag("--web.config.file", &web).start();
    let address = exporter.address();
    let served = || {
        let url = format!("https://{address}/-/healthy");
        let ca = world.path("ca.crt");
        status(&curl(&["--cacert", ca.to_str().unwrap(), &url]))
    };
    assert_eq!(served(), 200);
    // Of another authority, so that the one before cannot be mistaken for it.
    Authority::new(world.dir.path(), "ca.crt").issue("server", &["127.0.0.1"]);
    eventually("the new certificate is shown", || {
        if served() == 200 { Ok(()) } else { Err("not yet".to_owned()) }
    });
    assert!(is_good(&world, address));
    world.write("server.key", "broken\n");
    eventually("the broken key is seen", || {
        if is_good(&world, address) { Err("not yet".to_owned()) } else { Ok(()) }
    });
    assert_eq!(served(), 200);
    let said = eventually("it is said", || {
        let said = exporter.logged("who gets in stays as it was");
        if said.is_empty() { Err("not yet".to_owned()) } else { Ok(said) }
    });
    assert_eq!(said.len(), 1, "{said:?}");
    let error = said[0]["extra"]["error"].as_str().unwrap();
    assert!(error.contains("key_file") && error.contains("server.key"), "{error}");
    Authority::new(world.dir.path(), "ca.crt").issue("server", &["127.0.0.1"]);
    eventually("the repaired one is shown", || {
        if served() == 200 { Ok(()) } else { Err("not yet".to_owned()) }
    });
    assert!(is_good(&world, address));
}

#[test]
fn who_asks_too_often_is_told_when_to_come_again() {
    let world = World::new();
    let web = world.write("web.yml", "rate_limit: {interval: 1h, burst: 3}\n");
    let exporter =
        world.launch().flag("--web.config.file", &web).flag("--control.config.file", &web).start();
    for address in [exporter.address(), exporter.control()] {
        let ask = || http::get(address, "/openapi.json", &[]).unwrap();
        assert_eq!([0, 0, 0].map(|_| ask().status), [200; 3]);
        let refused = ask();
        assert_eq!(refused.status, 429);
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((3000..=3600).contains(&wait), "{wait}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("more requests than rate_limit of --"), "{detail}");
        for _ in 0..5 {
            assert_eq!(http::get(address, "/-/healthy", &[]).unwrap().status, 200);
        }
    }
}

#[test]
fn pages_are_guarded_and_headers_are_as_they_are_wanted() {
    let world = World::new();
    let plain = world.launch().start();
    let page = plain.get("/");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "deny"),
        ("referrer-policy", "no-referrer"),
    ] {
        assert_eq!(page.header(name), Some(value), "{name}");
    }
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    drop(plain);
    let headers = "http_server_config:\n  headers:\n    X-Frame-Options: sameorigin\n    \
                   Strict-Transport-Security: max-age=60\n    Content-Security-Policy: default-src 'self'\n";
    let web = world.write("web.yml", headers);
    let dressed = world.launch().flag("--web.config.file", &web).start();
    for path in ["/", "/metrics", "/-/healthy", "/no/such/path"] {
        let answer = dressed.get(path);
        for (name, value) in [
            ("x-frame-options", "sameorigin"),
            ("strict-transport-security", "max-age=60"),
            ("content-security-policy", "default-src 'self'"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{name} of {path}");
        }
    }
}

#[test]
fn pages_of_other_sites_cannot_push() {
    let world = World::new();
    let exporter = world.launch().start();
    let control = exporter.control();
    let push = |headers: &[&str]| {
        let mut args = vec!["-H", "Content-Type: application/json", "-d", "[]"];
        args.extend(headers.iter().flat_map(|header| ["-H", header]));
        let url = format!("http://{control}/api/v1/events");
        args.push(&url);
        curl(&args).unwrap()
    };
    let own = format!("Origin: http://{control}");
    for fine in [&[][..], &[&*own], &["Sec-Fetch-Site: same-origin"], &["Host: localhost:9848"]] {
        assert_eq!(push(fine).status, 202, "{fine:?}");
    }
    for (foreign, said) in [
        ("Origin: http://evil.example", "a page of http://evil.example sent this"),
        ("Origin: null", "a page of null sent this"),
        ("Sec-Fetch-Site: cross-site", "a page of another site sent this"),
        ("Sec-Fetch-Site: same-site", "a page of another site sent this"),
        ("Host: evil.example", "evil.example is a name that others can own"),
    ] {
        let refused = push(&[foreign]);
        assert_eq!(refused.status, 403, "{foreign}");
        assert!(refused.detail().contains(said), "{foreign}: {}", refused.detail());
    }
    let reload = format!("http://{control}/-/reload");
    assert_eq!(curl(&["-X", "POST", "-H", "Origin: http://a", &reload]).unwrap().status, 403);
    // A name of its own is fine where others may ask, too, or where a secret is asked for.
    let closed = world
        .launch()
        .flag("--state-dir", world.path("closed"))
        .flag("--control.token-file", world.path("token"))
        .start();
    let url = format!("http://any:{TOKEN}@{}/openapi.json", closed.control());
    assert_eq!(curl(&["-H", "Host: exporter.example", &url]).unwrap().status, 200);
    assert_eq!(curl(&["-H", "Origin: http://a", &url]).unwrap().status, 403);
    let open = world
        .launch()
        .flag("--state-dir", world.path("other"))
        .flag("--control.listen-address", "0.0.0.0:0")
        .start();
    let url = format!("http://127.0.0.1:{}/openapi.json", open.control().port());
    assert_eq!(curl(&["-H", "Host: exporter.example", &url]).unwrap().status, 200);
}

#[test]
fn sockets_in_the_file_system_serve_both() {
    let world = World::new();
    let (metrics, control) = (world.path("metrics.sock"), world.path("control.sock"));
    let address = |path: &Path| format!("unix:{}", path.display());
    let mut exporter = world
        .launch()
        .flag("--web.listen-address", address(&metrics))
        .flag("--control.listen-address", address(&control))
        .spawn();
    let ask = |socket: &Path, path: &str, more: &[&str]| {
        let url = format!("http://localhost{path}");
        let mut args = vec!["--unix-socket", socket.to_str().unwrap()];
        args.extend(more);
        args.push(&url);
        curl(&args)
    };
    eventually("it listens", || ask(&metrics, "/-/healthy", &[]));
    assert_eq!(ask(&metrics, METRICS, &[]).unwrap().status, 200);
    let push = ["-H", "Content-Type: application/json", "-d", "[]"];
    assert_eq!(ask(&control, "/api/v1/events", &push).unwrap().status, 202);
    assert!(exporter.terminate().success());
    assert!(!metrics.exists() && !control.exists());
}

#[test]
fn sockets_that_the_service_manager_opens_are_taken_over() {
    let world = World::new();
    let (port, control) = (quiet_port(), world.path("control.sock"));
    let launch = || {
        world
            .launch()
            .hand_over(format!("web={port}"))
            .hand_over(format!("push={}", control.display()))
    };
    let mut exporter = launch()
        .flag("--web.listen-address", "systemd:web")
        .flag("--control.listen-address", "systemd:push")
        .start();
    assert_eq!(exporter.address().port(), port);
    assert_eq!(exporter.get(METRICS).status, 200);
    let socket = control.to_str().unwrap();
    let url = "http://localhost/-/healthy";
    assert_eq!(curl(&["--unix-socket", socket, url]).unwrap().status, 200);
    assert!(exporter.terminate().success());
    assert!(control.exists(), "it is the service manager's");
    fs::remove_file(&control).unwrap();
    let other = launch().flag("--web.listen-address", "systemd:metrics");
    let (status, said) = other.run_to_its_end();
    assert_eq!(status.code(), Some(1));
    let expected = "hands over no socket of that name (FileDescriptorName=); there is web, push";
    assert!(said.contains(expected), "{said}");
}

/// How a user's name is shown, on an address that others may reach.
fn shown_user(exporter: &Exporter, token: &[(&str, &str)]) -> String {
    let event = serde_json::json!({"event": "workflow_start", "chat_id": "c", "app_id": "a",
        "workflow_name": "w", "user_id": "alice"});
    assert_eq!(exporter.push("/api/v1/events", &event).status, 202);
    eventually("the chat is shown", || {
        let chat = exporter.get_with("/metrics/perf/chats/c", token);
        match chat.json()["user_id"].as_str() {
            Some(user) => Ok(user.to_owned()),
            None => Err(chat.text()),
        }
    })
}

#[test]
fn users_are_named_to_others_only_where_others_say_who_they_are() {
    let world = World::new();
    let launch = |state: &str| {
        Launch::new(&world.path(state))
            .runtime("logs-only=")
            .flag("--web.listen-address", "0.0.0.0:0")
    };
    let open = launch("open").start();
    assert!(shown_user(&open, &[]).starts_with("u-"));
    let hashed = "the listener is open to others, so user ids are hashed (--users)";
    eventually("it is said", || match open.logged(hashed).len() {
        1 => Ok(()),
        lines => Err(lines.to_string()),
    });
    drop(open);
    let token = [("authorization", "Bearer s3cret")];
    let web = world.write("web.yml", &World::users("ada"));
    let closed = launch("closed")
        .flag("--web.config.file", &web)
        .flag("--web.token-file", world.path("token"))
        .start();
    assert_eq!(shown_user(&closed, &token), "alice");
    let ready = &closed.logged("metrics listener ready")[0]["extra"]["access"];
    assert_eq!(ready, "by credentials");
}
