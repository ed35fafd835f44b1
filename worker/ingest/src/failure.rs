//! Failures sorted by culprit. The kind alone decides what happens next (SPECIFICATION.md, "Failures").

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a failing service call (or PutMedia acknowledgement) reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ServiceFailure {
    /// PutMedia answered the fragment with an ERROR acknowledgement (aws-facts 1.4).
    #[error("Kinesis Video refused the fragment: {id} {code}")]
    Ack {
        /// `ErrorId`, 0 when the acknowledgement had none.
        id: u32,
        /// `ErrorCode`, empty when the acknowledgement had none.
        code: String,
    },
    /// A service answered with an error.
    #[error("{operation} failed with {status} {code}: {message}")]
    Service {
        /// The API operation, as AWS spells it (`PutMedia`, `GetItem`).
        operation: String,
        /// HTTP status, 0 when there was no HTTP answer.
        status: u16,
        /// Error type without namespace (`ClientLimitExceededException`), empty when unknown.
        code: String,
        /// The service's own text.
        message: String,
    },
    /// No answer within the time allowed; the call may have had its effect.
    #[error("{operation} did not answer within {waited_ms} ms")]
    TimedOut {
        /// The API operation.
        operation: String,
        /// How long was waited.
        waited_ms: u64,
    },
    /// The connection could not be made or broke; the call may have had its effect.
    #[error("{operation}: the connection broke: {detail}")]
    Disconnected {
        /// The API operation.
        operation: String,
        /// What the transport said.
        detail: String,
    },
    /// The answer could not be understood: a defect of ours or of the service.
    #[error("{operation}: unusable answer: {detail}")]
    Garbled {
        /// The API operation.
        operation: String,
        /// What was wrong with it.
        detail: String,
    },
}

/// Whether a failure may pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// May pass: retry with back-off inside the invocation, then give back, then park.
    Passing,
    /// Will not pass with the same data and configuration: park, never retry in place.
    Lasting,
}

impl Class {
    /// As logs, metrics and the DLQ's `class` attribute say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Passing => "passing",
            Class::Lasting => "lasting",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Ack errors that the official producer does not retry (aws-facts 1.4). An unknown id is retried there, and so here.
const LASTING_ACKS: [std::ops::RangeInclusive<u32>; 3] = [4001..=4002, 4004..=4012, 4500..=4507];

/// Error codes that will not pass: the request, the configuration or the permissions are wrong.
const LASTING_CODES: [&str; 12] = [
    "AccessDeniedException",
    "AccessDenied",
    "InvalidArgumentException",
    "InvalidDeviceException",
    "NotAuthorizedException",
    "ValidationException",
    "UnrecognizedClientException",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "InvalidMessageContents",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",
];

/// Characters of a service's text that are stored.
const MAX_STORED_CHARS: usize = 256;

impl ServiceFailure {
    /// Sorts the failure: the code decides before the status does, because Kinesis Video's throttles are 400s.
    pub fn class(&self) -> Class {
        let lasting = match self {
            Self::Ack { id: 4008, .. } => false, // STREAM_NOT_ACTIVE: passes right after CreateStream
            Self::Ack { id, code } => {
                LASTING_ACKS.iter().any(|ids| ids.contains(id)) || code == "MIN_FRAGMENT_DURATION_REACHED"
            }
            Self::Service { code, .. } if LASTING_CODES.contains(&code.as_str()) => true,
            Self::Service { status, code, .. } => code.is_empty() && matches!(status, 401 | 403 | 413),
            Self::TimedOut { .. } | Self::Disconnected { .. } => false,
            Self::Garbled { .. } => false,
        };
        if lasting { Class::Lasting } else { Class::Passing }
    }

    /// Whether the call may have had its effect although it failed: a fragment may be stored.
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Ack { .. } => false,
            Self::Service { status, .. } => *status >= 500 || *status == 0,
            Self::TimedOut { .. } | Self::Disconnected { .. } | Self::Garbled { .. } => true,
        }
    }

    /// Whether a write of a fragment that failed like this may have stored it. Of its steps only PutMedia stores anything.
    pub fn may_have_stored(&self) -> bool {
        let of_put_media = match self {
            Self::Ack { .. } => false,
            Self::Service { operation, .. }
            | Self::TimedOut { operation, .. }
            | Self::Disconnected { operation, .. }
            | Self::Garbled { operation, .. } => operation == "PutMedia",
        };
        of_put_media && self.outcome_unknown()
    }

    /// Whether the stream's one connection is taken: nothing is wrong with what was to be written.
    pub fn is_connection_limit(&self) -> bool {
        matches!(self, Self::Service { code, .. } if code == "ConnectionLimitExceededException")
    }

    /// Whether the store will never take the item, whoever writes it: it is too large or malformed.
    pub fn refuses_item(&self) -> bool {
        let codes = ["ValidationException", "ItemCollectionSizeLimitExceededException"];
        matches!(self, Self::Service { operation, code, .. } if operation == "PutItem" && codes.contains(&code.as_str()))
    }

    /// The failure with a text that is short enough to be stored.
    pub fn brief(&self) -> Self {
        let mut brief = self.clone();
        match &mut brief {
            Self::Ack { code: text, .. }
            | Self::Service { message: text, .. }
            | Self::Disconnected { detail: text, .. }
            | Self::Garbled { detail: text, .. } => *text = text.chars().take(MAX_STORED_CHARS).collect(),
            Self::TimedOut { .. } => {}
        }
        brief
    }

    /// A short name for metrics and the DLQ's `reason` attribute, such as `ack-4006` or `PutMedia-timeout`.
    pub fn reason(&self) -> String {
        match self {
            Self::Ack { id, .. } => format!("ack-{id}"),
            Self::Service { operation, status, code, .. } if code.is_empty() => {
                format!("{operation}-{status}")
            }
            Self::Service { operation, code, .. } => format!("{operation}-{code}"),
            Self::TimedOut { operation, .. } => format!("{operation}-timeout"),
            Self::Disconnected { operation, .. } => format!("{operation}-disconnected"),
            Self::Garbled { operation, .. } => format!("{operation}-garbled"),
        }
    }
}
