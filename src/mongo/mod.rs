//! How a MongoDB is reached: by whom it is asked, how long is waited, and what failed.
//!
//! Whoever works with a database takes a [`Mongo`], asks it for the [`Database`] and runs each
//! question through [`Mongo::ask`], so that every wait has an end and every failure is said in the
//! words of [`MongoError`], which never hold the password. What is asked is no business of this
//! room.
//!
//! There is one client for all who ask: one connection that looks after the server, once a minute
//! and not continuously, and connections for questions as they are needed. None is kept where
//! nothing is asked for some minutes. A server that comes back is found at the next question.

mod error;

use std::future::{Future, IntoFuture};
use std::path::PathBuf;
use std::time::Duration;

use mongodb::options::{ClientOptions, ConnectionString, ServerMonitoringMode};
use mongodb::{Client, Database};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

pub use error::{MongoError, Reason, code};

/// The name by which the server's administrator finds our connections.
const APP_NAME: &str = "mozaiks-exporter";
/// How long a connection may take, and how long a server is looked for. Shorter than a poll.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long all of it may take before a question can be put: names, servers, connection.
const REACH_TIMEOUT: Duration = Duration::from_secs(8);
/// How often the driver looks after the server. Each time costs both sides a wake-up, and whether
/// the server is well shows at the next question anyway.
const HEARTBEAT: Duration = Duration::from_mins(1);
/// One who reads, one who writes, and one for each who tries again.
const MAX_CONNECTIONS: u32 = 4;
/// A connection that was not used for so long is closed.
pub const MAX_IDLE: Duration = Duration::from_mins(5);
/// The largest file that holds a URI; a larger one is another file.
const MAX_URI_BYTES: u64 = 64 * 1024;

/// Options that Python's driver takes in a URI and this one refuses. They say how that driver works:
/// what it compresses, how it writes UUIDs and dates, how long it waits (here each question has its
/// time).
const FOREIGN_OPTIONS: [&str; 10] = [
    "compressors",
    "connect",
    "datetime_conversion",
    "document_class",
    "socketTimeoutMS",
    "timeoutMS",
    "tz_aware",
    "unicode_decode_error_handler",
    "uuidRepresentation",
    "zlibCompressionLevel",
];

/// Where a URI comes from. Shows neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub enum UriSource {
    /// It was given.
    Value(String),
    /// It stands in a file, which may be replaced: it is read again when the credentials in it are
    /// refused.
    File(PathBuf),
}

impl std::fmt::Debug for UriSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Value(_) => f.write_str("UriSource(***)"),
            Self::File(path) => write!(f, "UriSource({})", path.display()),
        }
    }
}

impl UriSource {
    /// Reads the URI and looks through it; asks no network. Returns the servers as they are named
    /// in it, for the log.
    pub fn check(&self) -> Result<String, MongoError> {
        let text = self.read()?;
        parse(&text)?;
        Ok(servers(&text))
    }

    fn read(&self) -> Result<String, MongoError> {
        use std::io::Read as _;
        let path = match self {
            Self::Value(text) => return Ok(text.trim().to_owned()),
            Self::File(path) => path,
        };
        let mut text = String::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(MAX_URI_BYTES + 1).read_to_string(&mut text));
        match read {
            Ok(bytes) if bytes as u64 <= MAX_URI_BYTES => Ok(text.trim().to_owned()),
            Ok(_) => Err(unreadable(path, "it is larger than any URI")),
            Err(error) => Err(unreadable(path, &error.to_string())),
        }
    }
}

fn unreadable(path: &std::path::Path, why: &str) -> MongoError {
    MongoError::new(Reason::Parse, format!("cannot read the URI file {}: {why}", path.display()))
}

/// The servers of a URI, without who asks them and how.
fn servers(uri: &str) -> String {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    let hosts = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
    hosts.split_once('/').map_or(hosts, |(hosts, _)| hosts).to_owned()
}

/// Reads a URI.
fn parse(uri: &str) -> Result<ConnectionString, MongoError> {
    let parsed = ConnectionString::parse(without_foreign_options(uri));
    parsed.map_err(|error| MongoError::of_uri(&error, uri))
}

/// Leaves out what Python's driver understands and this one refuses: the runtime's URI is good
/// enough for us.
fn without_foreign_options(uri: &str) -> String {
    let Some((address, options)) = uri.split_once('?') else { return uri.to_owned() };
    let is_ours = |option: &&str| {
        let name = option.split_once('=').map_or(*option, |(name, _)| name);
        !FOREIGN_OPTIONS.iter().any(|foreign| name.eq_ignore_ascii_case(foreign))
    };
    let options: Vec<&str> = options.split('&').filter(is_ours).collect();
    format!("{address}?{}", options.join("&"))
}

/// A database, reached when it is first asked. Shared by all who ask it.
#[derive(Debug)]
pub struct Mongo {
    uri: UriSource,
    servers: String,
    database: String,
    /// The client, and when it was last wanted.
    client: Mutex<Option<(Client, Instant)>>,
}

impl Mongo {
    /// That database of the servers of that URI. Nothing is asked yet.
    pub fn new(uri: UriSource, database: &str) -> Result<Self, MongoError> {
        let servers = uri.check()?;
        Ok(Self { uri, servers, database: database.to_owned(), client: Mutex::new(None) })
    }

    /// Where it is, for the log: servers without credentials.
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// The name of the database.
    pub fn database_name(&self) -> &str {
        &self.database
    }

    /// The database. Whether the servers answer shows with the first question.
    pub async fn database(&self) -> Result<Database, MongoError> {
        let mut client = self.client.lock().await;
        if let Some((client, wanted)) = &mut *client {
            *wanted = Instant::now();
            return Ok(client.database(&self.database));
        }
        let connecting = timeout(REACH_TIMEOUT, self.connect()).await;
        let fresh = connecting.map_err(|_| {
            let what = format!("the servers of {} could not be looked up", self.servers);
            MongoError::timed_out(&what, REACH_TIMEOUT)
        })??;
        let database = fresh.database(&self.database);
        *client = Some((fresh, Instant::now()));
        Ok(database)
    }

    /// Lets go of the servers where nobody has asked them for that long: the driver wakes up twice a
    /// second to look after its connections, whether there are any or not.
    pub async fn rest(&self, idle: Duration) {
        let mut client = self.client.lock().await;
        if client.as_ref().is_some_and(|(_, wanted)| wanted.elapsed() >= idle) {
            *client = None;
        }
    }

    /// Waits for an answer, no longer than `limit` beyond the time that a connection may take.
    /// `what` says what is asked for: "reading `ChatSessions`". Where the credentials are refused,
    /// the next question reads the URI anew.
    pub async fn ask<T>(
        &self,
        what: &str,
        limit: Duration,
        question: impl IntoFuture<
            Output = mongodb::error::Result<T>,
            IntoFuture: Future<Output = mongodb::error::Result<T>> + Send,
        >,
    ) -> Result<T, MongoError> {
        let answer = timeout(limit.saturating_add(CONNECT_TIMEOUT), question.into_future()).await;
        let error = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => MongoError::of(&error, what, &self.servers),
            Err(_) => MongoError::timed_out(&format!("{what} at {}", self.servers), limit),
        };
        if error.reason == Reason::Unauthorized {
            *self.client.lock().await = None;
        }
        Err(error)
    }

    async fn connect(&self) -> Result<Client, MongoError> {
        // The file may lie on a network.
        let uri = self.uri.clone();
        let text = tokio::task::spawn_blocking(move || uri.read()).await.map_err(|error| {
            MongoError::new(Reason::Parse, format!("the URI could not be read: {error}"))
        })??;
        let options = ClientOptions::parse(parse(&text)?).await;
        let mut options = options.map_err(|error| MongoError::of_uri(&error, &text))?;
        options.app_name = Some(APP_NAME.to_owned());
        let at_most = |given: Option<Duration>, bound: Duration| {
            Some(given.filter(|given| !given.is_zero()).map_or(bound, |given| given.min(bound)))
        };
        options.connect_timeout = at_most(options.connect_timeout, CONNECT_TIMEOUT);
        options.server_selection_timeout =
            at_most(options.server_selection_timeout, CONNECT_TIMEOUT);
        options.max_idle_time = at_most(options.max_idle_time, MAX_IDLE);
        options.heartbeat_freq.get_or_insert(HEARTBEAT);
        options.server_monitoring_mode = Some(ServerMonitoringMode::Poll);
        options.min_pool_size = Some(0);
        options.max_pool_size = Some(MAX_CONNECTIONS);
        options.max_connecting = Some(1);
        // Whoever asks asks again in its own time; what is written may be written again.
        options.retry_reads = Some(false);
        options.retry_writes = Some(false);
        options.max_adaptive_retries = Some(0);
        Client::with_options(options).map_err(|error| MongoError::of_uri(&error, &text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(uri: &str) -> MongoError {
        UriSource::Value(uri.to_owned()).check().unwrap_err()
    }

    #[test]
    fn servers_are_named_without_credentials() {
        let check = |uri: &str| UriSource::Value(uri.to_owned()).check().unwrap();
        assert_eq!(check("mongodb://a:1,b:2/db?replicaSet=x"), "a:1,b:2");
        assert_eq!(check(" mongodb://user:pass%40word@host/?authSource=admin\n"), "host");
        assert_eq!(check("mongodb+srv://u:p@cluster.example.net"), "cluster.example.net");
    }

    #[test]
    fn what_pymongo_takes_is_taken() {
        let uri = "mongodb://h/?socketTimeoutMS=1000&retryWrites=true&w=majority&appName=x\
                   &maxPoolSize=50&uuidRepresentation=standard&compressors=zstd&tz_aware=true";
        assert_eq!(UriSource::Value(uri.to_owned()).check(), Ok("h".to_owned()));
    }

    #[test]
    fn a_wrong_uri_is_refused_without_its_password() {
        for uri in [
            "mongodb://user:sesame@host:port",
            "mongodb://user:ses:ame@host",
            "mongodb://user:ses/ame@host",
            "mongodb://user:sesame@host/?retryWrites=perhaps",
            "mongodb://user:sesame@host/?authMechanism=sesame",
            "http://user:sesame@host",
            "user:sesame@host",
            "mongodb+srv://user:sesame@host:1",
            "mongodb://user:sesame",
            "mongodb://user:%zzsesame@host",
        ] {
            let error = refused(uri);
            assert_eq!(error.reason, Reason::Parse);
            for secret in ["sesame", "ses", "user:"] {
                assert!(!error.detail.contains(secret), "{uri}: {error}");
            }
        }
    }

    #[test]
    fn a_file_that_holds_no_uri_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("uri");
        let check = || UriSource::File(path.clone()).check();
        assert!(check().unwrap_err().detail.contains(&*path.to_string_lossy()));
        std::fs::write(&path, "mongodb://u:p@h:1/\n").unwrap();
        assert_eq!(check(), Ok("h:1".to_owned()));
        std::fs::write(&path, "x".repeat(70_000)).unwrap();
        assert!(check().unwrap_err().detail.contains("larger than any URI"));
    }

    #[tokio::test]
    async fn a_client_that_nobody_wants_goes() {
        let mongo = Mongo::new(UriSource::Value("mongodb://127.0.0.1:1".into()), "db").unwrap();
        mongo.database().await.unwrap();
        mongo.rest(MAX_IDLE).await;
        assert!(mongo.client.lock().await.is_some());
        mongo.rest(Duration::ZERO).await;
        assert!(mongo.client.lock().await.is_none());
        mongo.database().await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_said_to_be_unreachable() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let uri = format!("mongodb://user:sesame@127.0.0.1:{port}/?serverSelectionTimeoutMS=200");
        let mongo = Mongo::new(UriSource::Value(uri), "db").unwrap();
        let database = mongo.database().await.unwrap();
        let ping = database.run_command(mongodb::bson::doc! {"ping": 1});
        let error = mongo.ask("asking", Duration::from_secs(1), ping).await.unwrap_err();
        assert_eq!(error.reason, Reason::Connect, "{error}");
        assert!(error.detail.contains("refused") && !error.detail.contains("sesame"), "{error}");
    }
}
