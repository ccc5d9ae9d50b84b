//! The configuration file. Every key is known, or the file is refused with the place of the wrong one.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::ConfigError;
use crate::cli::{Backlog, Chats, FailedToolCalls, LogFormat, Secret, Users};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileConfig {
    pub(super) web: FileWeb,
    pub(super) control: FileControl,
    pub(super) receive: FileReceive,
    pub(super) state_dir: Option<PathBuf>,
    pub(super) runtime: FilePolling,
    pub(super) runtimes: Vec<FileRuntime>,
    pub(super) logs: FileLogs,
    pub(super) ag2: FileAg2,
    pub(super) mongodb: FileMongodb,
    pub(super) chat: FileChat,
    pub(super) label: FileLabel,
    pub(super) users: Option<Users>,
    pub(super) compat: Option<bool>,
    pub(super) log: FileLog,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileWeb {
    pub(super) listen_address: Option<OneOrMany>,
    pub(super) config_file: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileControl {
    pub(super) listen_address: Option<String>,
    pub(super) config_file: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileReceive {
    pub(super) failed_tool_calls: Option<FailedToolCalls>,
    #[serde(deserialize_with = "from_text")]
    pub(super) dedup_window: Option<humantime::Duration>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// What can be said of one runtime, and of all.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FilePolling {
    #[serde(deserialize_with = "from_text")]
    pub(super) poll_interval: Option<humantime::Duration>,
    #[serde(deserialize_with = "from_text")]
    pub(super) timeout: Option<humantime::Duration>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "from_text")]
    pub(super) max_body: Option<bytesize::ByteSize>,
}

/// One runtime. Without a URL its routes are not polled; it needs a name then.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "FileRuntimeKeys")]
pub(super) struct FileRuntime {
    pub(super) name: Option<String>,
    pub(super) url: Option<String>,
    pub(super) logs: Vec<String>,
    pub(super) ag2: Vec<PathBuf>,
    pub(super) polling: FilePolling,
}

/// The keys of a runtime side by side: `flatten` and `deny_unknown_fields` exclude each other.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FileRuntimeKeys {
    name: Option<String>,
    url: Option<String>,
    logs: Vec<String>,
    ag2: Vec<PathBuf>,
    #[serde(deserialize_with = "from_text")]
    poll_interval: Option<humantime::Duration>,
    #[serde(deserialize_with = "from_text")]
    timeout: Option<humantime::Duration>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "from_text")]
    max_body: Option<bytesize::ByteSize>,
}

impl From<FileRuntimeKeys> for FileRuntime {
    fn from(keys: FileRuntimeKeys) -> Self {
        let FileRuntimeKeys { name, url, logs, ag2, .. } = keys;
        let polling = FilePolling {
            poll_interval: keys.poll_interval,
            timeout: keys.timeout,
            token_file: keys.token_file,
            ca_file: keys.ca_file,
            max_body: keys.max_body,
        };
        Self { name, url, logs, ag2, polling }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileLogs {
    pub(super) paths: Vec<String>,
    pub(super) backlog: Option<Backlog>,
    #[serde(deserialize_with = "from_text")]
    pub(super) max_line: Option<bytesize::ByteSize>,
    #[serde(deserialize_with = "from_text")]
    pub(super) max_rate: Option<bytesize::ByteSize>,
    #[serde(deserialize_with = "from_text")]
    pub(super) introduction_wait: Option<humantime::Duration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileAg2 {
    pub(super) paths: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileMongodb {
    pub(super) uri: Option<Secret>,
    pub(super) uri_file: Option<PathBuf>,
    pub(super) database: Option<String>,
    #[serde(deserialize_with = "from_text")]
    pub(super) poll_interval: Option<humantime::Duration>,
    pub(super) collections: Vec<String>,
    pub(super) chats: Option<Chats>,
    pub(super) create_index: Option<bool>,
    #[serde(deserialize_with = "from_text")]
    pub(super) flush_interval: Option<humantime::Duration>,
    pub(super) sessions_collection: Option<String>,
    pub(super) stats_collection: Option<String>,
    pub(super) own: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileChat {
    #[serde(deserialize_with = "from_text")]
    pub(super) retention: Option<humantime::Duration>,
    #[serde(deserialize_with = "from_text")]
    pub(super) lost_after: Option<humantime::Duration>,
    #[serde(deserialize_with = "from_text")]
    pub(super) abandoned_after: Option<humantime::Duration>,
    pub(super) max_series: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileLabel {
    pub(super) max_bytes: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileLog {
    #[serde(deserialize_with = "from_text")]
    pub(super) level: Option<tracing::Level>,
    pub(super) format: Option<LogFormat>,
    pub(super) dir: Option<PathBuf>,
}

fn from_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: std::fmt::Display>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
}

/// Reads a configuration file; an empty one says nothing.
pub(super) fn read(path: &Path) -> Result<FileConfig, ConfigError> {
    let text = fs::read_to_string(path).map_err(|source| ConfigError::File {
        what: "configuration file",
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|problem| ConfigError::Syntax { path: path.to_owned(), problem })
}

/// Reads the text of one, or says what is wrong with it and where.
pub(super) fn parse(text: &str) -> Result<FileConfig, String> {
    if text.trim().is_empty() {
        return Ok(FileConfig::default());
    }
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_file_is_a_configuration_or_is_refused(text in "[ -~\n]{0,200}") {
            let refused = serde_saphyr::from_str::<FileConfig>(&text).err();
            proptest::prop_assert!(refused.is_none_or(|error| !error.to_string().is_empty()));
        }
    }
}
