//! A MongoDB for tests: the one of `MOZAIKS_TEST_MONGODB_URI`, else `mongod`, else our wire server.
//!
//! Only the wire server misbehaves on request and tells what it was asked; who needs that takes
//! [`Mongo::wire`].

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ClientOptions;
use mongodb::{Client, Collection};
use tempfile::TempDir;

use super::tools::{missing, tools};
use super::wait::{eventually, quiet_port};

/// A server and a database in it that no other test uses.
pub(crate) struct Mongo {
    uri: String,
    database: String,
    runtime: tokio::runtime::Runtime,
    client: Client,
    server: Option<Server>,
}

/// A process that is ours.
struct Server {
    child: Child,
    /// The wire server ends with it.
    _stdin: Option<ChildStdin>,
    port: u16,
    _dir: Option<TempDir>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What the wire server was asked since its start.
#[derive(Debug)]
pub(crate) struct Asked(Document);

impl Asked {
    /// How often a command came.
    pub(crate) fn count(&self, command: &str) -> i64 {
        let count = self.0.get_document("commands").unwrap().get(command).cloned();
        count.map_or(0, |count| as_i64(&count))
    }

    /// Documents that it returned.
    pub(crate) fn documents(&self) -> i64 {
        as_i64(self.0.get("documents").unwrap())
    }

    /// In how many of them a field stood.
    pub(crate) fn with_field(&self, field: &str) -> i64 {
        let fields = self.0.get_array("fields").unwrap().iter().filter_map(Bson::as_document);
        let found = fields.filter(|entry| entry.get_str("name").unwrap() == field);
        found.map(|entry| as_i64(entry.get("count").unwrap())).sum()
    }

    /// The last commands of that name, as they came, oldest first.
    pub(crate) fn commands(&self, name: &str) -> Vec<Document> {
        let asked = self.0.get_array("asked").unwrap().iter().filter_map(Bson::as_array);
        asked
            .filter(|pair| pair[0].as_str() == Some(name))
            .map(|pair| pair[1].as_document().unwrap().clone())
            .collect()
    }
}

fn as_i64(number: &Bson) -> i64 {
    number.as_i64().or_else(|| number.as_i32().map(i64::from)).unwrap()
}

impl Mongo {
    /// Whichever server can be had.
    pub(crate) fn start() -> Self {
        if let Ok(uri) = std::env::var("MOZAIKS_TEST_MONGODB_URI") {
            return Self::over(uri, None);
        }
        if Command::new("mongod").arg("--version").stdout(Stdio::null()).status().is_ok() {
            let server = mongod();
            return Self::over(format!("mongodb://127.0.0.1:{}", server.port), Some(server));
        }
        Self::wire()
    }

    /// The wire server.
    pub(crate) fn wire() -> Self {
        Self::wire_on(0)
    }

    /// The wire server on that port; 0 is any.
    pub(crate) fn wire_on(port: u16) -> Self {
        let server = wire(port);
        Self::over(format!("mongodb://127.0.0.1:{}", server.port), Some(server))
    }

    fn over(uri: String, server: Option<Server>) -> Self {
        let database = unique();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(async {
            let options = ClientOptions::parse(&*uri).await.unwrap();
            Client::with_options(options).unwrap()
        });
        let mongo = Self { uri, database, runtime, client, server };
        eventually("MongoDB answers", || {
            mongo.try_command("admin", doc! {"ping": 1}).map(drop).map_err(|error| {
                format!("{}: {error}; MOZAIKS_TEST_MONGODB_URI names another", mongo.uri)
            })
        });
        mongo
    }

    /// Its URI.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// The database that only this test uses.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// Looks at another database of the server from now on.
    pub(crate) fn use_database(&mut self, name: &str) {
        name.clone_into(&mut self.database);
    }

    /// Ends the server: whoever asks now finds nobody. Only for servers of our own.
    pub(crate) fn stop(&mut self) -> u16 {
        self.server.take().map_or_else(|| panic!("{} is not ours to stop", self.uri), |s| s.port)
    }

    /// Starts the wire server again where it was, with nothing in it.
    pub(crate) fn restart_empty(&mut self, port: u16) {
        self.server = Some(wire(port));
        // Our own connections are those to the one before.
        eventually("MongoDB answers again", || {
            self.try_command("admin", doc! {"ping": 1}).map(drop).map_err(|error| error.to_string())
        });
    }

    /// A collection of the test's database.
    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.client.database(&self.database).collection(name)
    }

    /// All documents of a collection, by their id.
    pub(crate) fn find_all(&self, name: &str) -> Vec<Document> {
        let mut found = self.runtime.block_on(async {
            let mut cursor = self.collection(name).find(doc! {}).await.unwrap();
            let mut found = Vec::new();
            while cursor.advance().await.unwrap() {
                found.push(cursor.deserialize_current().unwrap());
            }
            found
        });
        found.sort_by_key(|document| document.get("_id").map(ToString::to_string));
        found
    }

    /// The document of that id.
    pub(crate) fn find(&self, name: &str, id: &str) -> Option<Document> {
        let collection = self.collection(name);
        self.runtime.block_on(async { collection.find_one(doc! {"_id": id}).await.unwrap() })
    }

    /// Puts documents there.
    pub(crate) fn insert(&self, name: &str, documents: &[Document]) {
        let collection = self.collection(name);
        self.runtime.block_on(async { collection.insert_many(documents).await.unwrap() });
    }

    /// Names of the collections of the test's database.
    pub(crate) fn collections(&self) -> Vec<String> {
        let database = self.client.database(&self.database);
        let mut names =
            self.runtime.block_on(async { database.list_collection_names().await.unwrap() });
        names.sort();
        names
    }

    /// Runs a command on the test's database.
    pub(crate) fn command(&self, command: Document) -> Document {
        self.try_command(&self.database, command).unwrap()
    }

    fn try_command(&self, database: &str, command: Document) -> mongodb::error::Result<Document> {
        let database = self.client.database(database);
        self.runtime.block_on(async { database.run_command(command).await })
    }

    /// Makes the wire server go wrong from now on, as its own text says; `doc! {}` makes it well.
    pub(crate) fn misbehave(&self, how: Document) {
        self.try_command("admin", doc! {"wireMisbehave": how}).unwrap();
    }

    /// What the wire server was asked.
    pub(crate) fn asked(&self) -> Asked {
        Asked(self.try_command("admin", doc! {"wireStats": 1}).unwrap())
    }

    /// Replaces what a collection holds by a file of MongoDB's extended JSON, a document a line.
    pub(crate) fn load(&self, name: &str, file: &Path) {
        let text = std::fs::read_to_string(file).unwrap();
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let documents: Vec<Document> =
            lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        self.command(doc! {"delete": name, "deletes": [{"q": {}, "limit": 0}]});
        self.insert(name, &documents);
    }
}

impl Drop for Mongo {
    fn drop(&mut self) {
        if self.server.is_none() && std::env::var("MOZAIKS_TEST_MONGODB_URI").is_ok() {
            // A shared server keeps nothing of ours.
            let database = self.client.database(&self.database);
            drop(self.runtime.block_on(async { database.drop().await }));
        }
    }
}

fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("mozaiks_test_{}_{next}_{}", std::process::id(), time.as_micros() % 1_000_000)
}

fn wire(port: u16) -> Server {
    let python = tools().join("venv/bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/mongo_wire.py");
    let mut command = Command::new(python);
    command.arg(script).args(["--port", &port.to_string()]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}", missing("the Python environment", &error)));
    let stdin = child.stdin.take();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().parse().unwrap_or_else(|_| {
        panic!(
            "tests/tools/mongo_wire.py did not start; `tests/run` makes its Python environment, \
             or set MOZAIKS_TEST_MONGODB_URI, or put mongod on PATH"
        )
    });
    Server { child, _stdin: stdin, port, _dir: None }
}

fn mongod() -> Server {
    let dir = tempfile::tempdir().unwrap();
    let port = quiet_port();
    let child = Command::new("mongod")
        .args(["--port", &port.to_string(), "--bind_ip", "127.0.0.1", "--quiet", "--dbpath"])
        .arg(dir.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}", missing("mongod", &error)));
    Server { child, _stdin: None, port, _dir: Some(dir) }
}
