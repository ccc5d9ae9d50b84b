//! Flags of MongoDB, to read from and to write to.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

/// How MongoDB is reached, read and written.
#[derive(Debug, Default, Clone, Args)]
pub struct MongodbArgs {
    /// MongoDB that holds the chats of a runtime, as URI or NAME=URI, where NAME is the runtime;
    /// empty for none [default: `MONGO_URI`]
    #[arg(
        id = "mongodb_uri",
        long = "mongodb.uri",
        value_name = "[NAME=]URI",
        env = "MOZAIKS_EXPORTER_MONGODB_URI",
        hide_env_values = true
    )]
    pub uri: Option<Secret>,
    /// File with the URI; read again when its credentials are refused
    #[arg(
        id = "mongodb_uri_file",
        long = "mongodb.uri-file",
        value_name = "[NAME=]FILE",
        env = "MOZAIKS_EXPORTER_MONGODB_URI_FILE"
    )]
    pub uri_file: Option<PathBuf>,
    /// Database of the runtime, whatever the URI says [default: `MozaiksAI`]
    #[arg(
        id = "mongodb_database",
        long = "mongodb.database",
        value_name = "NAME",
        env = "MOZAIKS_EXPORTER_MONGODB_DATABASE"
    )]
    pub database: Option<String>,
    /// Time from one poll of MongoDB to the next [default: 15s]
    #[arg(
        id = "mongodb_poll_interval",
        long = "mongodb.poll-interval",
        value_name = "DURATION",
        env = "MOZAIKS_EXPORTER_MONGODB_POLL_INTERVAL"
    )]
    pub poll_interval: Option<humantime::Duration>,
    /// Collections that hold chats [default: `ChatSessions`, `GeneralChatSessions`,
    /// `chat_sessions`]
    #[arg(
        id = "mongodb_collections",
        long = "mongodb.collections",
        value_name = "NAME",
        env = "MOZAIKS_EXPORTER_MONGODB_COLLECTIONS",
        value_delimiter = ','
    )]
    pub collections: Vec<String>,
    /// Which chats are read: all, or those that another source has introduced, as beside one
    /// runtime of a cluster with one database [default: all]
    #[arg(
        id = "mongodb_chats",
        long = "mongodb.chats",
        value_enum,
        env = "MOZAIKS_EXPORTER_MONGODB_CHATS"
    )]
    pub chats: Option<Chats>,
    /// Whether an index on `last_updated_at` is made where there is none [default: false]
    #[arg(
        id = "mongodb_create_index",
        long = "mongodb.create-index",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        env = "MOZAIKS_EXPORTER_MONGODB_CREATE_INDEX",
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub create_index: Option<bool>,
    /// How often the state of pushed chats is written to MongoDB, beside when they end; 0s for never
    /// [default: 60s]
    #[arg(
        id = "mongodb_flush_interval",
        long = "mongodb.flush-interval",
        value_name = "DURATION",
        env = "MOZAIKS_EXPORTER_MONGODB_FLUSH_INTERVAL"
    )]
    pub flush_interval: Option<humantime::Duration>,
    /// Collection that pushed chats are written to, one document a chat [default: `chat_sessions`]
    #[arg(
        id = "mongodb_sessions_collection",
        long = "mongodb.sessions-collection",
        value_name = "NAME",
        env = "MOZAIKS_EXPORTER_MONGODB_SESSIONS_COLLECTION"
    )]
    pub sessions_collection: Option<String>,
    /// Collections that their stats are written to [default: `workflow_stats_{app}_{workflow}`]
    #[arg(
        id = "mongodb_stats_collection",
        long = "mongodb.stats-collection",
        value_name = "NAME",
        env = "MOZAIKS_EXPORTER_MONGODB_STATS_COLLECTION"
    )]
    pub stats_collection: Option<String>,
    /// Whether documents of these collections that somebody else wrote are written over [default:
    /// false]
    #[arg(
        id = "mongodb_own",
        long = "mongodb.own",
        value_name = "BOOL",
        value_parser = BoolishValueParser::new(),
        env = "MOZAIKS_EXPORTER_MONGODB_OWN"
    )]
    pub own: Option<bool>,
}

/// A text that is not shown by whoever shows the flags.
#[derive(Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps it to itself.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Which chats are read from MongoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chats {
    /// All.
    All,
    /// Those that another source has introduced.
    Known,
}
