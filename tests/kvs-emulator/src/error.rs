//! HTTP errors in the shape of AWS rest-json: `x-amzn-ErrorType` and `{"Message": ..}`.

use crate::operation::Operation;
use http::StatusCode;

/// An answer that is not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{status} {kind}: {message}")]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Exception's name.
    pub kind: String,
    /// For people.
    pub message: String,
}

impl ApiError {
    /// Any error.
    pub fn new(status: StatusCode, kind: &str, message: impl Into<String>) -> Self {
        Self { status, kind: kind.to_owned(), message: message.into() }
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidArgumentException", message)
    }

    /// No such stream; in the service's words, which do not name it.
    pub fn not_found() -> Self {
        let message = "The requested stream is not found or not active.";
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    /// The time asked for has outlived the stream's retention; in the service's words.
    pub fn outside_retention(end_ms: u64) -> Self {
        Self::invalid(format!("End timestamp {end_ms} is outside of the stream retention period."))
    }

    /// No fragment lies in the time asked for; in the service's words.
    pub fn no_fragments(operation: Operation) -> Self {
        let request = if operation == Operation::GetClip { "clip" } else { "streaming" };
        let message = format!("No fragments found in the stream for the {request} request.");
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    /// The stream is not in a state for this.
    pub fn in_use(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ResourceInUseException", message)
    }

    /// The account has all the streams it may have.
    pub fn stream_limit(streams_max: usize) -> Self {
        let message = format!("The account has {streams_max} streams, which is its limit. Delete some.");
        Self::new(StatusCode::BAD_REQUEST, "AccountStreamLimitExceededException", message)
    }

    /// A stream would have more tags than it may have.
    pub fn tag_limit(count: usize, max: usize) -> Self {
        let message = format!("{count} tags; a stream has at most {max}.");
        Self::new(StatusCode::BAD_REQUEST, "TagsPerResourceExceededLimitException", message)
    }

    /// Another update came first.
    pub fn version(current: &str) -> Self {
        let message = format!("The stream's version is {current}. Describe it again and repeat.");
        Self::new(StatusCode::BAD_REQUEST, "VersionMismatchException", message)
    }

    /// Too many calls.
    pub fn throttled(operation: Operation, stream: Option<&str>, per_second: u64) -> Self {
        let whose = stream.map_or("the account".to_owned(), |name| format!("stream {name}"));
        let message = format!("{}: more than {per_second} a second on {whose}.", operation.name());
        Self::new(StatusCode::BAD_REQUEST, "ClientLimitExceededException", message)
    }

    /// Too many connections.
    pub fn connection_limit(operation: Operation, stream: &str, max: usize) -> Self {
        let message = format!("{}: stream {stream} already has {max} connection(s).", operation.name());
        Self::new(StatusCode::BAD_REQUEST, "ConnectionLimitExceededException", message)
    }

    /// True if there were too many connections.
    pub fn is_connection_limit(&self) -> bool {
        self.kind == "ConnectionLimitExceededException"
    }

    /// The stream retains nothing, so it has no archive.
    pub fn no_retention(stream: &str) -> Self {
        let message = format!("Stream {stream} has a DataRetentionInHours of 0.");
        Self::new(StatusCode::BAD_REQUEST, "NoDataRetentionException", message)
    }

    /// The emulator itself failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", message)
    }

    /// True for what is refused before the operation is looked at, which answers `message` in lower case.
    pub fn is_of_the_front_door(&self) -> bool {
        self.status == StatusCode::FORBIDDEN
    }

    /// Not signed as it should be.
    pub fn signature(kind: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, kind, message)
    }
}
