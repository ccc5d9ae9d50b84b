//! `check` before and after a deployment, as operators see it: all that `serve` would work with.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::{Datelike as _, NaiveDate};
use mongodb::bson::doc;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use super::support::chat::{Chat, now};
use super::support::exporter::Launch;
use super::support::mongo::Mongo;
use super::support::recorded::{FIRST_PROCESS, View, root};
use super::support::runtime::{Answer, FakeRuntime};
use super::support::tls::Identity;

/// Never to be seen in what `check` says.
const SECRET: &str = "sesame-3141";

/// What it said of everything, by the thing; several rows of one thing follow each other.
struct Said {
    code: i32,
    text: String,
    rows: BTreeMap<String, Vec<(String, String)>>,
}

impl Said {
    /// How it stands with a thing, and what was seen and advised.
    fn row(&self, thing: &str) -> (&str, &str) {
        let rows = self.rows.get(thing);
        let rows = rows.unwrap_or_else(|| panic!("nothing of {thing}: {}", self.text));
        let (state, what) = rows.last().unwrap();
        (state, what)
    }

    fn is(&self, thing: &str, state: &str, part: &str) {
        let (is, what) = self.row(thing);
        assert!(
            is == state && what.contains(part),
            "{thing} is not {state} with {part:?}: {}",
            self.text
        );
    }
}

/// A folder, and how `check` is started with it.
struct World {
    dir: TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl World {
    /// With state that is not there yet, and addresses that are free.
    fn new(runtime: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let state = dir.path().join("state");
        let world = Self { args: Vec::new(), env: Vec::new(), dir };
        world
            .flag("--state-dir", &state)
            .flag("--web.listen-address", "127.0.0.1:0")
            .flag("--control.listen-address", "127.0.0.1:0")
            .flag("--runtime.url", format!("main={runtime}"))
    }

    /// The last one of a name stands.
    fn flag(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        let value = value.as_ref().to_str().unwrap().to_owned();
        match self.args.iter().position(|arg| arg == name) {
            Some(index) => self.args[index + 1] = value,
            None => self.args.extend([name.to_owned(), value]),
        }
        self
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file that its owner alone can read.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.mode(name, 0o600);
        self.path(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs it, once for people and once for machines, which are told the same.
    fn check(&self) -> Said {
        let (code, text) = self.run(&[]);
        let (same, json) = self.run(&["--json"]);
        assert_eq!(code, same, "{text}{json}");
        let json: Value = serde_json::from_str(&json).unwrap();
        let mut rows: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        let told = json["rows"].as_array().unwrap();
        for row in told {
            let field = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let what = format!("{}; {}", field("what"), field("remedy"));
            assert_eq!(row["state"] != "ok", row["remedy"].is_string(), "{row}");
            rows.entry(field("thing")).or_default().push((field("state"), what));
        }
        assert_eq!(text.lines().count(), told.len() + 1, "a line each, and their sum: {text}");
        let fails = told.iter().filter(|row| row["state"] == "fail").count();
        assert_eq!(code, i32::from(fails > 0), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("FAIL  ")).count(), fails);
        Said { code, text, rows }
    }

    fn run(&self, more: &[&str]) -> (i32, String) {
        let ended = Command::new(env!("CARGO_BIN_EXE_mozaiks-exporter"))
            .arg("check")
            .args(&self.args)
            .args(more)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap();
        let (out, err) = [&ended.stdout, &ended.stderr].map(|b| String::from_utf8_lossy(b)).into();
        let all = format!("{out}{err}");
        assert!(!all.contains(SECRET) && !all.contains("panicked"), "{all}");
        (ended.status.code().unwrap(), out.into_owned())
    }
}

#[test]
fn where_all_is_well_it_says_so_and_changes_nothing() {
    let runtime = FakeRuntime::start();
    runtime.world().token = Some(SECRET.to_owned());
    runtime.hold(&[Chat::new("a").turns(3), Chat::new("b")]);
    let world = World::new(&runtime.url());
    let token = world.write("token", SECRET);
    let said = world.flag("--runtime.token-file", token).check();
    assert_eq!(said.code, 0, "{}", said.text);
    said.is("configuration", "ok", "flags and environment alone");
    said.is("state directory", "ok", "is not there and can be made");
    said.is("runtime main token", "ok", "readable");
    said.is("runtime main connection", "ok", "without TLS");
    said.is("runtime main /api/events/metrics", "ok", "");
    said.is("runtime main /metrics/perf/aggregate", "ok", "2 chats in");
    said.is("runtime main usage", "ok", "1 of 2 chats have turns or tokens");
    said.is("runtime main time", "ok", "of 10s (--runtime.timeout), every 15s");
    said.is("runtime main clock", "ok", "agrees");
    said.is("runtime main /api/health", "ok", "");
    said.is("runtime main /health/active-runs", "ok", "");
    said.is("metrics listener", "ok", "is free");
    said.is("control listener", "ok", "is free");
    said.is("user ids", "ok", "as they are");
    assert!(said.text.ends_with(" 0 warnings, 0 failures\n"), "{}", said.text);
}

#[test]
fn nothing_is_made_by_looking() {
    let runtime = FakeRuntime::start();
    let world = World::new(&runtime.url());
    world.check();
    assert_eq!(fs::read_dir(world.dir.path()).unwrap().count(), 0);
    fs::create_dir(world.path("state")).unwrap();
    world.mode("state", 0o700);
    world.check().is("state directory", "ok", "is writable");
    assert_eq!(fs::read_dir(world.path("state")).unwrap().count(), 0);
}

#[test]
fn a_real_runtime_that_counts_nothing_is_seen_and_its_other_sources_are_named() {
    let runtime = FakeRuntime::start();
    let recorded = View::load(FIRST_PROCESS[3]);
    runtime.script("/metrics/perf/aggregate", Answer::body(&recorded.aggregate));
    let chats: Value = serde_json::from_slice(&recorded.aggregate).unwrap();
    let count = chats["chats"].as_array().unwrap().len();
    let said = World::new(&runtime.url()).check();
    said.is("runtime main /metrics/perf/aggregate", "ok", &format!("{count} chats"));
    said.is("runtime main usage", "ok", &format!("of {count} chats have turns"));

    runtime.heal();
    runtime.hold(&[Chat::new("a"), Chat::new("b")]);
    let said = World::new(&runtime.url()).check();
    said.is("runtime main usage", "warn", "--logs.path");
    assert_eq!(said.code, 0);
    let log = root().join("logs/production_json");
    let said = World::new(&runtime.url()).flag("--logs.path", log).check();
    said.is("runtime main usage", "ok", "its log may");
}

#[test]
fn whoever_is_not_let_in_is_told_about_the_token() {
    let runtime = FakeRuntime::start();
    runtime.world().token = Some("another".to_owned());
    World::new(&runtime.url()).check().is(
        "runtime main authentication",
        "fail",
        "--runtime.token-file",
    );
    let world = World::new(&runtime.url());
    let token = world.write("token", SECRET);
    let said = world.flag("--runtime.token-file", token).check();
    said.is("runtime main authentication", "fail", "401");
    assert!(!said.rows.contains_key("runtime main usage"), "nothing more is asked");
    let said = World::new(&runtime.url()).env("MOZAIKS_EXPORTER_RUNTIME_TOKEN", SECRET).check();
    said.is("environment", "ok", "MOZAIKS_EXPORTER_RUNTIME_TOKEN");
    said.is("runtime main authentication", "fail", "401");
    let world = World::new(&runtime.url()).flag("--runtime.token-file", "/nowhere/token");
    world.check().is("runtime main token", "fail", "/nowhere/token (No such file");
}

#[test]
fn a_runtime_by_tls_needs_its_own_authority() {
    let runtime = FakeRuntime::start_tls();
    let world = World::new(&runtime.url());
    let (wrong, right) = (
        world.write("wrong.pem", &Identity::new().ca_pem),
        world.write("ca.pem", runtime.ca_pem()),
    );
    let world = world.flag("--runtime.ca-file", wrong);
    world.check().is("runtime main connection", "fail", "--runtime.ca-file");
    let world = world.flag("--runtime.ca-file", right);
    let said = world.check();
    said.is("runtime main connection", "ok", "by TLS");
    said.is("runtime main authorities", "ok", "holds until");
    let text = world.write("text.pem", "no certificate");
    world.flag("--runtime.ca-file", text).check().is("configuration", "fail", "no certificate");
}

#[test]
fn runtimes_that_do_not_answer_or_are_none_are_told_apart() {
    // It takes connections, and nothing comes back.
    let hole = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", hole.local_addr().unwrap());
    let world = World::new(&url).flag("--runtime.timeout", "300ms");
    world.check().is("runtime main connection", "fail", "not answered within 300ms");
    let url = "http://no-such-host.invalid:8000";
    World::new(url).check().is("runtime main connection", "fail", "cannot be looked up");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    World::new(&format!("http://{closed}")).check().is(
        "runtime main connection",
        "fail",
        "refused",
    );

    let runtime = FakeRuntime::start();
    runtime.script_everything(&Answer::body(r#"{"hello": "world"}"#));
    let said = World::new(&runtime.url()).check();
    said.is("runtime main /metrics/perf/aggregate", "fail", "JSON of another shape");
    said.is("runtime main /api/events/metrics", "warn", "");
    runtime.script_everything(&Answer::html("<h1>nginx</h1>"));
    let said = World::new(&runtime.url()).check();
    said.is("runtime main /metrics/perf/aggregate", "fail", "not JSON");
    runtime.script_everything(&Answer::detail(404, "Not Found"));
    let said = World::new(&runtime.url()).check();
    said.is("runtime main /metrics/perf/chats", "fail", "correct --runtime.url");

    runtime.heal();
    runtime.script("/metrics/perf/aggregate", Answer::detail(500, "poisoned"));
    let said = World::new(&runtime.url()).check();
    said.is("runtime main /metrics/perf/aggregate", "warn", "its other route");
    said.is("runtime main /metrics/perf/chats", "ok", "0 chats");
}

#[test]
fn clocks_that_disagree_are_told() {
    let runtime = FakeRuntime::start();
    for (seconds, state) in [(0, "ok"), (-20, "warn"), (20, "warn"), (-200, "fail"), (200, "fail")]
    {
        runtime.world().clock = Some(now() + chrono::Duration::seconds(seconds));
        let said = World::new(&runtime.url()).check();
        said.is("runtime main clock", state, "");
    }
}

#[test]
fn a_state_that_cannot_be_used_or_that_others_read_is_told() {
    let runtime = FakeRuntime::start();
    let world = World::new(&runtime.url());
    let file = world.write("file", "");
    let world = world.flag("--state-dir", file.join("state"));
    world.check().is("state directory", "fail", "cannot be made");
    let world = world.flag("--state-dir", &file);
    world.check().is("state directory", "fail", "is no directory");

    let dir = world.path("dir");
    fs::create_dir(&dir).unwrap();
    world.mode("dir", 0o755);
    let world = world.flag("--state-dir", &dir);
    let said = world.check();
    said.is("state directory", "warn", "chmod o-rwx");
    said.is("state file", "ok", "none yet");
    world.mode("dir", 0o700);
    world.write("dir/state.db", "something else");
    world.check().is("state file", "fail", "not a database");
    world.write("dir/state.db", "");
    world.check().is("state file", "fail", "empty");
    let database = Connection::open(dir.join("state.db")).unwrap();
    database.execute_batch("CREATE TABLE t (x); PRAGMA user_version = 99").unwrap();
    world.check().is("state file", "fail", "not written by mozaiks-exporter");
    database.execute_batch("PRAGMA application_id = 0x6d7a7870").unwrap();
    world.check().is("state file", "fail", "layout 99");
    database.execute_batch("PRAGMA user_version = 1").unwrap();
    world.check().is("state file", "ok", "layout 1, which serve turns into");
    let layout: i32 = database.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(layout, 1, "it is not migrated");
}

#[test]
fn an_exporter_that_runs_is_no_failure_and_somebody_else_is() {
    let runtime = FakeRuntime::start();
    let world = World::new(&runtime.url());
    let exporter = Launch::new(&world.path("state")).runtime(&runtime.url()).start();
    let world = world
        .flag("--web.listen-address", exporter.address().to_string())
        .flag("--control.listen-address", exporter.control().to_string());
    let said = world.check();
    assert_eq!(said.code, 0, "{}", said.text);
    said.is("state file", "ok", "held by a running exporter");
    said.is("metrics listener", "ok", "held by a running exporter");
    said.is("control listener", "ok", "held by a running exporter");
    assert_eq!(exporter.get("/-/ready").status, 200);
    let scrapes = exporter.scrape();
    let asked = scrapes
        .value("mozaiks_exporter_http_requests_total", &[("handler", "metrics"), ("code", "200")]);
    assert!(asked.is_none_or(|asked| asked == 0.0), "looking is no scrape: {asked:?}");

    let other = FakeRuntime::start();
    let world = world.flag("--web.listen-address", other.address().to_string());
    world.check().is("metrics listener", "fail", "404");
    other.script_everything(&Answer::html("Somebody Else is Healthy."));
    world.check().is("metrics listener", "fail", "somebody else");
    let world = world.flag("--web.listen-address", "192.0.2.1:9847");
    world.check().is("metrics listener", "fail", "cannot listen");
}

#[test]
fn whoever_listens_to_all_and_asks_for_nothing_is_warned() {
    let runtime = FakeRuntime::start();
    let world = World::new(&runtime.url())
        .flag("--web.listen-address", ":0")
        .flag("--control.listen-address", "0.0.0.0:0");
    let said = world.check();
    said.is("metrics listener", "warn", "--web.token-file");
    said.is("control listener", "warn", "--control.token-file");
    said.is("user ids", "ok", "hashes");
    let world = world.flag("--users", "plain");
    world.check().is("user ids", "warn", "everybody");
    let token = world.write("token", SECRET);
    let world = world.flag("--web.token-file", &token);
    let said = world.check();
    said.is("metrics listener", "ok", "free");
    said.is("metrics access", "ok", "no TLS, 0 users, a token");
    said.is("user ids", "ok", "as they are");
    world.mode("token", 0o644);
    world.check().is("metrics secret", "warn", "chmod");
    let world = world.flag("--web.token-file", "/nowhere/token");
    world.check().is("metrics access", "fail", "/nowhere/token (No such file");
}

fn day(year: i32) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, 1, 1).unwrap()
}

/// Writes a certificate for a server that ends on that day.
fn certificate(world: &World, until: NaiveDate) -> PathBuf {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    let (month, day) = (until.month().try_into().unwrap(), until.day().try_into().unwrap());
    params.not_after = date_time_ymd(until.year(), month, day);
    let certificate = params.self_signed(&key).unwrap();
    world.write("server.crt", &certificate.pem());
    world.write("server.key", &key.serialize_pem());
    let hash = bcrypt::hash(SECRET, 4).unwrap();
    let web = format!(
        "tls_server_config: {{cert_file: server.crt, key_file: server.key}}\n\
         basic_auth_users: {{ada: {hash}, bob: {hash}}}\n"
    );
    world.write("web.yml", &web)
}

#[test]
fn certificates_that_end_and_keys_that_all_can_read_are_told() {
    let runtime = FakeRuntime::start();
    let world = World::new(&runtime.url());
    let web = certificate(&world, day(2999));
    let world = world.flag("--web.config.file", web);
    let said = world.check();
    said.is("metrics access", "ok", "TLS, 2 users, no token");
    said.is("metrics certificate", "ok", "holds until 2999-01-01");
    assert!(!said.rows.contains_key("metrics secret"), "{}", said.text);
    world.mode("server.key", 0o644);
    world.check().is("metrics secret", "warn", "server.key");
    certificate(&world, day(2021));
    world.check().is("metrics certificate", "fail", "ended on 2021-01-01");
    certificate(&world, now().date_naive() + chrono::Duration::days(5));
    world.check().is("metrics certificate", "warn", "renew");
    world.write("web.yml", "tls_server_config: {cert_file: server.crt}\nx: 1\n");
    world.check().is("metrics access", "fail", "web.yml");
}

#[test]
fn logs_are_found_and_known_by_what_is_in_them() {
    let runtime = FakeRuntime::start();
    let with = |path: &Path| World::new(&runtime.url()).flag("--logs.path", path);
    for (folder, form) in [("production_json", "JSON"), ("production_pretty", "the pretty form")] {
        with(&root().join("logs").join(folder)).check().is("runtime main log", "ok", form);
    }
    with(Path::new("/nowhere/*.log")).check().is("runtime main log", "warn", "matches no file");
    let dir = TempDir::new().unwrap();
    let log = dir.path().join("a.log");
    fs::write(&log, "127.0.0.1 - - \"GET / HTTP/1.1\" 200\n").unwrap();
    with(&log).check().is("runtime main log", "warn", "no line is one");
    fs::write(&log, "").unwrap();
    with(&log).check().is("runtime main log", "ok", "no line yet");

    let with = |path: &Path| World::new(&runtime.url()).flag("--ag2.path", path);
    with(Path::new("/nowhere/ag2.log")).check().is("runtime main AG2 log", "warn", "there is no");
    with(&log).check().is("runtime main AG2 log", "ok", "0 calls");
    fs::write(&log, "just text\n").unwrap();
    with(&log).check().is("runtime main AG2 log", "warn", "no call of a model");
    with(&root().join("ag2/ag2_runtime.log")).check().is("runtime main AG2 log", "ok", "calls");
    let database = dir.path().join("ag2.db");
    fs::write(&database, "SQLite format 3\0, and nothing of what should follow").unwrap();
    with(&database).check().is("runtime main AG2 log", "fail", "ag2.db");
}

#[test]
fn the_database_is_asked_and_its_password_is_nowhere() {
    let runtime = FakeRuntime::start();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let uri = format!("mongodb://ada:{SECRET}@{closed}/?serverSelectionTimeoutMS=300");
    let world = World::new(&runtime.url()).env("MONGO_URI", &uri);
    let said = world.check();
    said.is("MongoDB", "fail", &closed.to_string());
    said.is("environment", "ok", "MONGO_URI");

    let mongo = Mongo::wire();
    let world = World::new(&runtime.url())
        .flag("--mongodb.uri", mongo.uri())
        .flag("--mongodb.database", mongo.database());
    let said = world.check();
    said.is("MongoDB", "ok", mongo.database());
    said.is("MongoDB collections", "warn", "not there: ChatSessions");
    said.is("MongoDB writing", "ok", "chat_sessions");
    assert_eq!(mongo.collections(), Vec::<String>::new(), "nothing is written");
    mongo.insert("ChatSessions", &[doc! {"_id": "a", "app_id": "acme"}]);
    let said = world.check();
    said.is("MongoDB ChatSessions", "warn", "--mongodb.create-index");
    said.is("MongoDB collections", "ok", "not there: ");
    let index = doc! {"key": {"last_updated_at": 1}, "name": "by_change"};
    mongo.command(doc! {"createIndexes": "ChatSessions", "indexes": [index]});
    world.check().is("MongoDB ChatSessions", "ok", "in the order of changes");

    mongo.misbehave(doc! {"credentials": true});
    let uri = mongo.uri().replace("mongodb://", &format!("mongodb://ada:{SECRET}@"));
    let said = world.flag("--mongodb.uri", uri).check();
    said.is("MongoDB", "fail", "--mongodb.uri");
    assert!(!said.rows.contains_key("MongoDB writing"), "nothing more is asked");
}

#[test]
fn a_configuration_that_is_refused_is_told_with_its_line() {
    let runtime = FakeRuntime::start();
    let world = World::new(&runtime.url());
    let file = world.write("config.yml", "users: none\nruntimez: []\n");
    let world = world.flag("--config.file", &file).env("MOZAIKS_EXPORTER_USERZ", SECRET);
    let said = world.check();
    said.is("configuration", "fail", "line 2");
    assert_eq!(said.row("environment").0, "warn");
    said.is("environment", "warn", "MOZAIKS_EXPORTER_USERZ");
    world.write("config.yml", "users: none\n");
    let world = world.env("MOZAIKS_EXPORTER_PORT_9847_TCP", "of Kubernetes");
    let said = world.check();
    said.is("configuration", "ok", "config.yml");
    said.is("user ids", "ok", "not shown");
    assert!(!said.text.contains("PORT_9847_TCP"), "{}", said.text);
    assert_eq!(world.flag("--nonsense", SECRET).run(&[]).0, 64);
}
