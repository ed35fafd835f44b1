//! A Lambda service for one laptop: functions as child processes behind the Lambda Runtime API.
//!
//! The binaries are the ones that are deployed; only the address in `AWS_LAMBDA_RUNTIME_API` differs. Each execution environment is one
//! process with a Runtime API of its own ([`api`]), takes one invocation at a time ([`environment`]) and is killed at the function's
//! timeout. [`Function`] starts environments on demand up to a limit and replaces those that die.

mod api;
mod environment;
mod function;
mod logs;

pub use function::{Function, FunctionConfig, FunctionStats, InFlight};
pub use logs::{LogLine, Logs};

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

/// The longest request or response of a synchronous invocation.
pub const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;

/// Why an invocation gave no result. The text is what Lambda would log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvokeError {
    /// The handler returned an error or panicked.
    #[error("{error_type}: {message}")]
    Function {
        /// `errorType` of the Runtime API.
        error_type: String,
        /// `errorMessage` of the Runtime API.
        message: String,
    },
    /// The invocation did not end within the function's timeout; its environment was killed.
    #[error("Task timed out after {:.2} seconds", timeout.as_secs_f64())]
    TimedOut {
        /// The function's timeout.
        timeout: Duration,
    },
    /// The process ended during the invocation.
    #[error("Runtime exited with error: {status}")]
    Crashed {
        /// Exit status or signal.
        status: String,
    },
    /// The process did not ask for its first invocation.
    #[error("the function did not initialise: {reason}")]
    Init {
        /// What it said, or how it ended.
        reason: String,
    },
    /// The request is over Lambda's limit.
    #[error("request of {bytes} bytes is over the limit of {PAYLOAD_BYTES_MAX}")]
    PayloadTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The function is shut down.
    #[error("the function is shut down")]
    ShutDown,
}

/// The body of `/error` and `/init/error`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorReport {
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error_message: String,
}

impl InvokeError {
    /// The error that a Runtime API error report describes; a body that is not a report is quoted.
    fn from_report(body: &Bytes) -> Self {
        match serde_json::from_slice::<ErrorReport>(body) {
            Ok(report) => Self::Function { error_type: report.error_type, message: report.error_message },
            Err(_) => Self::Function {
                error_type: "Unknown".into(),
                message: String::from_utf8_lossy(body).into_owned(),
            },
        }
    }
}
