//! What is wrong with a request, its status, and what to do about it.

use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

use super::body::ReadError;
use super::reload::ReloadError;
use crate::access::{Denied, Foreign};
use crate::server::Payload;
use crate::server::reply::{denied, error};
use crate::sources::receive::{BodyError, ItemError};

/// When to come again, in seconds.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("1");

/// Why nothing, or not all, of a request was taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Foreign(#[from] Foreign),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("no runtime of that name is watched; there is {known}")]
    UnknownRuntime { known: String },
    #[error("send Content-Type: application/json, or application/x-ndjson for an event a line")]
    MediaType,
    #[error("send Content-Encoding: gzip, or none")]
    Coding,
    #[error(transparent)]
    Body(#[from] ReadError),
    #[error(transparent)]
    Items(#[from] BodyError),
    #[error(transparent)]
    Summary(#[from] ItemError),
    #[error("a summary of this event_id was counted before")]
    Known,
    #[error(
        "the state cannot be written to the disk for now; send the same again, with its event_id"
    )]
    NotKept,
    #[error(transparent)]
    Reload(#[from] ReloadError),
    #[error("the exporter stops; send the same again, with its event_id")]
    Stopping,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Foreign(_) => StatusCode::FORBIDDEN,
            Self::Denied(_) => StatusCode::UNAUTHORIZED,
            Self::MediaType | Self::Coding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(ReadError::TooLarge(_)) | Self::Items(BodyError::TooMany(_)) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Body(ReadError::Slow) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(ReadError::Busy) => StatusCode::TOO_MANY_REQUESTS,
            Self::Body(ReadError::Broken(_) | ReadError::NotGzip(_)) | Self::Items(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Summary(problem) if problem.field.is_none() => StatusCode::BAD_REQUEST,
            Self::Summary(_) | Self::UnknownRuntime { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Known => StatusCode::CONFLICT,
            Self::Reload(ReloadError::Refused(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Reload(ReloadError::Ending) | Self::NotKept | Self::Stopping => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// As an answer.
    pub(super) fn response(&self) -> Response<Payload> {
        if let Self::Denied(why) = self {
            return denied(why);
        }
        let status = self.status();
        let mut response = error(status, &self.to_string());
        let headers = response.headers_mut();
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(RETRY_AFTER, COME_AGAIN);
        }
        response
    }
}
