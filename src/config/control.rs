//! Where and how pushed events are taken.

use super::file::{FileControl, FileReceive};
use super::{ConfigError, is_address, means};
use crate::access::Means;
use crate::cli::{FailedToolCalls, ServeArgs};

/// Where pushed events are taken if nothing is said.
pub const CONTROL_ADDRESS: &str = "127.0.0.1:9848";

/// How pushed events are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlConfig {
    /// Where.
    pub address: String,
    /// Who may push.
    pub means: Means,
    /// Whether a failed tool call counts as a call, too.
    pub failed_calls_count: bool,
}

/// Where and how pushed events are taken; an empty address is nowhere.
pub(super) fn load(
    args: &ServeArgs,
    file: FileControl,
    receive: &FileReceive,
) -> Result<Option<ControlConfig>, ConfigError> {
    let address = args.control_address.clone().or(file.listen_address);
    let address = address.unwrap_or_else(|| CONTROL_ADDRESS.to_owned());
    if address.is_empty() {
        return Ok(None);
    }
    if !is_address(&address) {
        return Err(ConfigError::Address { flag: "--control.listen-address", address });
    }
    let failed_tool_calls = args.failed_tool_calls.or(receive.failed_tool_calls);
    let in_file = [&file.config_file, &file.token_file];
    Ok(Some(ControlConfig {
        address,
        means: means([&args.control_config_file, &args.control_token_file], in_file),
        failed_calls_count: failed_tool_calls == Some(FailedToolCalls::Calls),
    }))
}
