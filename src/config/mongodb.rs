//! Which MongoDB holds the runtime's chats, and what the exporter does with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::file::FileMongodb;
use super::runtimes::{LONGEST_SPAN, RuntimeConfig};
use super::{ConfigError, either, variable};
use crate::cli::{Chats, ServeArgs};
use crate::flush::{NameError, Places, Template, check_collection};
use crate::mongo::{MongoError, UriSource};

/// The runtime's own variable.
pub const URI_VARIABLE: &str = "MONGO_URI";
/// The runtime uses this one, whatever the URI says.
const DATABASE: &str = "MozaiksAI";
/// The runtime's collections of chats, and that of its documents.
const COLLECTIONS: [&str; 3] = ["ChatSessions", "GeneralChatSessions", "chat_sessions"];
/// Collections that are polled; each costs a question per poll.
const MAX_COLLECTIONS: usize = 16;
/// Time from one poll to the next, if nothing is said.
const POLL_INTERVAL: Duration = Duration::from_secs(15);
/// The longest name of a database, in bytes (the server's bound).
const MAX_DATABASE_BYTES: usize = 63;
/// Where sessions of chats are written.
const SESSIONS: &str = "chat_sessions";
/// Where their stats are written.
const STATS: &str = "workflow_stats_{app}_{workflow}";
/// How often chats are written.
const FLUSH_INTERVAL: Duration = Duration::from_mins(1);
/// The shortest time between two flushes: each writes every chat that moved.
const SHORTEST_FLUSH: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_FLUSH: Duration = Duration::from_hours(24);
/// What no name of a database may hold (the server's rule).
const NOT_IN_DATABASE: [char; 11] = ['/', '\\', '.', ' ', '"', '$', '*', '<', '>', '?', '\0'];

/// The database and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MongodbConfig {
    /// Where it is.
    pub uri: UriSource,
    /// Its name.
    pub database: String,
    /// The runtime whose chats it holds.
    pub runtime: Arc<str>,
    /// Time from one poll to the next.
    pub poll_interval: Duration,
    /// The collections that hold chats.
    pub collections: Vec<String>,
    /// Whether chats are left out that no other source has introduced.
    pub introduced_only: bool,
    /// Whether an index that is missing may be made.
    pub create_index: bool,
    /// How pushed chats are written to it, if they are.
    pub flush: Option<FlushConfig>,
}

/// How pushed chats are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushConfig {
    /// How often, beside when they end.
    pub interval: Duration,
    /// Where to.
    pub places: Places,
}

/// Why the database cannot be used. Each says what, where, and what to do, and no password.
#[derive(Debug, thiserror::Error)]
pub enum MongodbError {
    /// The URI is none, or cannot be read.
    #[error("{option} is refused")]
    Uri {
        /// Where it was said.
        option: String,
        /// Why.
        #[source]
        source: MongoError,
    },
    /// A URI and a file with one.
    #[error("--mongodb.uri and --mongodb.uri-file are both given; give one of them")]
    Both,
    /// A runtime that is not watched.
    #[error("{option} names a runtime `{name}`, but the runtimes are {}", names(.known))]
    Unknown {
        /// Where it was said.
        option: String,
        /// The name.
        name: String,
        /// The watched ones.
        known: Vec<String>,
    },
    /// Several runtimes and no word of whose chats they are.
    #[error(
        "{option} does not say which runtime's chats the database holds ({}); say \
         --mongodb.uri NAME=URI or --mongodb.uri-file NAME=FILE, or --mongodb.uri '' for none",
        names(.known)
    )]
    Whose {
        /// Where it was said.
        option: String,
        /// The watched ones.
        known: Vec<String>,
    },
    /// A name that no collection has.
    #[error("{option} is refused")]
    Collection {
        /// Where it was said.
        option: &'static str,
        /// Why.
        #[source]
        source: NameError,
    },
    /// Two kinds of documents with one id each would want one place.
    #[error("--mongodb.sessions-collection and --mongodb.stats-collection are both `{0}`")]
    OnePlace(String),
    /// A name that no database has.
    #[error(
        "--mongodb.database `{0}` is no name of a database: 1 to {MAX_DATABASE_BYTES} bytes, \
         without blanks and any of / \\ . \" $ * < > ?"
    )]
    Database(String),
    /// More collections than are polled.
    #[error("--mongodb.collections names more than {MAX_COLLECTIONS} collections")]
    Collections,
}

fn names(known: &[String]) -> String {
    known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What was said: by flags and environment, by the file, by the runtime's own environment.
pub(super) fn load(
    args: &ServeArgs,
    file: FileMongodb,
    runtimes: &[RuntimeConfig],
) -> Result<Option<MongodbConfig>, ConfigError> {
    let Some((option, name, uri)) = source(args, &file, runtimes)? else { return Ok(None) };
    let known = || runtimes.iter().map(|runtime| runtime.name.to_string()).collect::<Vec<_>>();
    let runtime = match (name, runtimes) {
        (Some(name), _) => {
            runtimes.iter().find(|runtime| *runtime.name == *name).ok_or_else(|| {
                MongodbError::Unknown { option: option.clone(), name, known: known() }
            })?
        }
        (None, [only]) => only,
        (None, _) => return Err(MongodbError::Whose { option, known: known() }.into()),
    };
    uri.check().map_err(|source| MongodbError::Uri { option, source })?;
    let database = args.mongodb.database.clone().or(file.database);
    let database = database.unwrap_or_else(|| DATABASE.to_owned());
    if database.is_empty()
        || database.len() > MAX_DATABASE_BYTES
        || database.contains(NOT_IN_DATABASE)
    {
        return Err(MongodbError::Database(database).into());
    }
    let poll_interval = either(args.mongodb.poll_interval, file.poll_interval, POLL_INTERVAL);
    if poll_interval.is_zero() || poll_interval > LONGEST_SPAN {
        let value = humantime::format_duration(poll_interval).to_string();
        let (name, must) = ("--mongodb.poll-interval", "more than 0s and at most 1day");
        return Err(ConfigError::Range { name, must, value });
    }
    let interval = args.mongodb.flush_interval.or(file.flush_interval);
    let places = places(args, file.sessions_collection, file.stats_collection, file.own)?;
    let flush = flush_interval(interval)?.map(|interval| FlushConfig { interval, places });
    let chats = args.mongodb.chats.or(file.chats).unwrap_or(Chats::All);
    Ok(Some(MongodbConfig {
        uri,
        database,
        runtime: Arc::clone(&runtime.name),
        poll_interval,
        collections: collections(&args.mongodb.collections, file.collections)?,
        introduced_only: chats == Chats::Known,
        create_index: args.mongodb.create_index.or(file.create_index).unwrap_or(false),
        flush,
    }))
}

/// The collections that are polled, each once.
fn collections(args: &[String], file: Vec<String>) -> Result<Vec<String>, MongodbError> {
    let given = if args.is_empty() { file } else { args.to_vec() };
    let mut collections = Vec::new();
    let defaults = || COLLECTIONS.map(str::to_owned).to_vec();
    for name in if given.is_empty() { defaults() } else { given } {
        check_collection(&name).map_err(|source| {
            let option = "--mongodb.collections";
            MongodbError::Collection { option, source }
        })?;
        if !collections.contains(&name) {
            collections.push(name);
        }
    }
    if collections.len() > MAX_COLLECTIONS {
        Err(MongodbError::Collections)
    } else {
        Ok(collections)
    }
}

/// How often is written, if at all.
fn flush_interval(said: Option<humantime::Duration>) -> Result<Option<Duration>, ConfigError> {
    let interval = either(said, None, FLUSH_INTERVAL);
    if interval.is_zero() {
        return Ok(None);
    }
    if interval < SHORTEST_FLUSH || interval > LONGEST_FLUSH {
        let value = humantime::format_duration(interval).to_string();
        let (name, must) = ("--mongodb.flush-interval", "0s, or at least 1s and at most 1day");
        return Err(ConfigError::Range { name, must, value });
    }
    Ok(Some(interval))
}

fn places(
    args: &ServeArgs,
    sessions: Option<String>,
    stats: Option<String>,
    own: Option<bool>,
) -> Result<Places, ConfigError> {
    let refused =
        |option| move |source| ConfigError::from(MongodbError::Collection { option, source });
    let sessions = args.mongodb.sessions_collection.clone().or(sessions);
    let sessions = sessions.unwrap_or_else(|| SESSIONS.to_owned());
    check_collection(&sessions).map_err(refused("--mongodb.sessions-collection"))?;
    let stats = args.mongodb.stats_collection.clone().or(stats);
    let stats = Template::parse(stats.as_deref().unwrap_or(STATS))
        .map_err(refused("--mongodb.stats-collection"))?;
    if stats.is(&sessions) {
        return Err(MongodbError::OnePlace(sessions).into());
    }
    Ok(Places { sessions, stats, own: args.mongodb.own.or(own).unwrap_or(false) })
}

type Said = (String, Option<String>, UriSource);

/// The option that names the database, the runtime it is said to belong to, and the URI.
fn source(
    args: &ServeArgs,
    file: &FileMongodb,
    runtimes: &[RuntimeConfig],
) -> Result<Option<Said>, ConfigError> {
    // Whoever gives one of them on the command line does not mean the file's other one.
    let is_in_args = args.mongodb.uri.is_some() || args.mongodb.uri_file.is_some();
    let (uri, uri_file) = if is_in_args {
        (args.mongodb.uri.as_ref(), args.mongodb.uri_file.as_ref())
    } else {
        (file.uri.as_ref(), file.uri_file.as_ref())
    };
    let said = |option: &str, text: &str, source: fn(&str) -> UriSource| {
        let (name, text) = named(text, runtimes);
        Ok(Some((option.to_owned(), name, source(text))))
    };
    let value = |text: &str| UriSource::Value(text.to_owned());
    match (uri, uri_file) {
        (Some(uri), Some(_)) if !uri.reveal().is_empty() => Err(MongodbError::Both.into()),
        (_, Some(path)) => said("--mongodb.uri-file", &path.to_string_lossy(), |path| {
            UriSource::File(PathBuf::from(path))
        }),
        (Some(uri), None) if uri.reveal().trim().is_empty() => Ok(None),
        (Some(uri), None) => said("--mongodb.uri", uri.reveal(), value),
        (None, None) => match variable(URI_VARIABLE) {
            Some(uri) => said(&format!("the environment's {URI_VARIABLE}"), &uri, value),
            None => Ok(None),
        },
    }
}

/// `NAME=URI`, where the name cannot be a part of the URI, or of a path that begins it.
fn named<'a>(text: &'a str, runtimes: &[RuntimeConfig]) -> (Option<String>, &'a str) {
    match text.split_once('=') {
        Some((name, rest))
            if !name.contains(['/', ':', '@'])
                || runtimes.iter().any(|runtime| *runtime.name == *name) =>
        {
            (Some(name.to_owned()), rest)
        }
        _ => (None, text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{MongodbArgs, Secret};
    use crate::config::Config;

    fn load(runtimes: &[&str], uri: &str) -> Result<Option<MongodbConfig>, ConfigError> {
        let args = ServeArgs {
            runtime_url: runtimes.iter().map(|url| (*url).to_owned()).collect(),
            mongodb: MongodbArgs { uri: Some(Secret::new(uri)), ..MongodbArgs::default() },
            ..ServeArgs::default()
        };
        Config::load(&args).map(|config| config.mongodb)
    }

    /// A database that is somewhere.
    fn there() -> MongodbArgs {
        MongodbArgs { uri: Some(Secret::new("mongodb://h")), ..MongodbArgs::default() }
    }

    fn problem(runtimes: &[&str], uri: &str) -> String {
        let error = load(runtimes, uri).unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", cause.unwrap_or_default())
    }

    #[test]
    fn one_runtime_needs_no_name() {
        let config = load(&["http://a:1"], "mongodb://u:p@h/other?w=1").unwrap().unwrap();
        assert_eq!((&*config.runtime, &*config.database), ("a:1", "MozaiksAI"));
        assert_eq!(config.uri, UriSource::Value("mongodb://u:p@h/other?w=1".to_owned()));
        assert!(load(&["http://a:1"], "").unwrap().is_none());
    }

    #[test]
    fn several_runtimes_need_one() {
        let two = ["a=http://a:1", "http://b:2"];
        let whose = problem(&two, "mongodb://h");
        assert!(whose.contains("`a`, `b:2`") && whose.contains("NAME=URI"), "{whose}");
        assert_eq!(&*load(&two, "a=mongodb://h").unwrap().unwrap().runtime, "a");
        assert_eq!(&*load(&two, "b:2=mongodb://h").unwrap().unwrap().runtime, "b:2");
        let unknown = problem(&two, "c=mongodb://h");
        assert!(unknown.contains("`c`") && unknown.contains("`a`, `b:2`"), "{unknown}");
    }

    #[test]
    fn a_wrong_uri_is_refused_without_its_password() {
        let text = problem(&["http://a:1"], "mongodb://user:sesame@h:x");
        assert!(text.starts_with("--mongodb.uri is refused: "), "{text}");
        assert!(!text.contains("sesame"), "{text}");
    }

    #[test]
    fn collections_are_the_runtimes_unless_others_are_named() {
        let load = |names: &[&str]| {
            let args = ServeArgs {
                mongodb: MongodbArgs {
                    collections: names.iter().map(|name| (*name).to_owned()).collect(),
                    ..there()
                },
                ..ServeArgs::default()
            };
            Config::load(&args).map(|config| config.mongodb.unwrap().collections)
        };
        assert_eq!(load(&[]).unwrap(), COLLECTIONS);
        assert_eq!(load(&["a", "b", "a"]).unwrap(), ["a", "b"]);
        for wrong in ["", "$a", "system.users", "a.", &"n".repeat(300)] {
            let error = load(&[wrong]).unwrap_err().to_string();
            assert_eq!(error, "--mongodb.collections is refused");
        }
        let many: Vec<String> = (0..17).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(load(&many).unwrap_err().to_string().contains("more than 16"));
    }

    #[test]
    fn the_flush_is_looked_through() {
        let load = |change: fn(&mut ServeArgs)| {
            let mut args = ServeArgs { mongodb: there(), ..ServeArgs::default() };
            change(&mut args);
            Config::load(&args)
        };
        let flush = load(|_| ()).unwrap().mongodb.unwrap().flush.unwrap();
        assert_eq!((flush.interval, flush.places.own), (Duration::from_mins(1), false));
        assert!(load(|_| ()).unwrap().ledger.shared_store);
        let off = load(|args| args.mongodb.flush_interval = "0s".parse().ok()).unwrap();
        assert!(off.mongodb.unwrap().flush.is_none() && !off.ledger.shared_store);
        let problem = |change| load(change).unwrap_err().to_string();
        let short = problem(|args| args.mongodb.flush_interval = "1ms".parse().ok());
        assert!(short.contains("at least 1s"), "{short}");
        let one = problem(|args| {
            args.mongodb.sessions_collection = Some("one".into());
            args.mongodb.stats_collection = Some("one".into());
        });
        assert!(one.contains("both `one`"), "{one}");
        let stats = problem(|args| args.mongodb.stats_collection = Some("{app}".into()));
        assert_eq!(stats, "--mongodb.stats-collection is refused");
    }

    #[test]
    fn a_database_has_a_name_that_the_server_takes() {
        for name in ["", "a.b", "a b", "$x", &"n".repeat(64)] {
            let args = ServeArgs {
                mongodb: MongodbArgs { database: Some(name.to_owned()), ..there() },
                ..ServeArgs::default()
            };
            let error = Config::load(&args).unwrap_err().to_string();
            assert!(error.contains("no name of a database"), "{error}");
        }
    }
}
