//! What can go wrong for a caller, by culprit: each kind has one exit code, and each says what to do next.

use std::path::PathBuf;
use std::process::ExitCode;

use aws::failure::has_code;
use ingest::checkpoint::Unreadable;
use ingest::failure::{Class, ServiceFailure};
use media::fragment::read::ReadError;

/// How a command ended; part of the tool's contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All is well, all is done.
    Fine = 0,
    /// Something was found, or not all could be done.
    Finding = 1,
    /// Wrong use; nothing was changed.
    Usage = 2,
    /// A service could not be reached or refused.
    Unreachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller asked for something that makes no sense. Nothing was changed.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
    /// A service did not answer, or refused.
    #[error(transparent)]
    Service(ServiceFailure),
    /// The SDK found no credentials, or none that it could use.
    #[error("there are no AWS credentials to call {operation} with")]
    NoCredentials {
        /// What was to be asked first.
        operation: String,
    },
    /// A variable names a queue that is not there.
    #[error("{variable} is {url}, and there is no such queue")]
    NoQueue {
        /// Which variable.
        variable: &'static str,
        /// What it names.
        url: String,
    },
    /// A variable names a table that is not there.
    #[error("{variable} is {name:?}, and there is no such table")]
    NoTable {
        /// Which variable.
        variable: &'static str,
        /// What it names.
        name: String,
    },
    /// A session's stored state is of another version or damaged.
    #[error("session {session_id}: {source}")]
    State {
        /// Whose.
        session_id: String,
        /// Why.
        source: Unreadable,
    },
    /// What the stream gave back is no media.
    #[error("stream {stream}: {source}")]
    Media {
        /// Which stream.
        stream: String,
        /// Why.
        source: ReadError,
    },
    /// The program could not even begin.
    #[error("the asynchronous runtime did not start: {0}")]
    Runtime(std::io::Error),
    /// Standard output could not be written.
    #[error("standard output: {0}")]
    Stdout(std::io::Error),
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

/// Operations of DynamoDB that kvsw calls: their names do not tell whose they are.
const DYNAMODB: [&str; 9] = [
    "Query",
    "Scan",
    "GetItem",
    "BatchGetItem",
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
    "DescribeTable",
];

/// What the SDK says where it finds no credentials, among much else.
const NO_CREDENTIALS: [&str; 2] = ["loading credentials", "no credentials"];

impl From<ServiceFailure> for Error {
    fn from(failure: ServiceFailure) -> Self {
        match failure {
            ServiceFailure::Disconnected { operation, detail }
                if NO_CREDENTIALS.iter().any(|words| detail.contains(words)) =>
            {
                Self::NoCredentials { operation }
            }
            failure => Self::Service(failure),
        }
    }
}

impl From<reader::stream::Error> for Error {
    fn from(error: reader::stream::Error) -> Self {
        match error {
            reader::stream::Error::Service(failure) => failure.into(),
            reader::stream::Error::Media { stream, source } => Self::Media { stream, source },
        }
    }
}

/// Whether a service says that there is no such queue.
pub(crate) fn is_no_queue(failure: &ServiceFailure) -> bool {
    matches!(failure, ServiceFailure::Service { code, .. }
        if code.ends_with("NonExistentQueue") || code == "QueueDoesNotExist")
}

/// A failed call to a table; where there is no such table, the error names the variable.
pub(crate) fn no_table(variable: &'static str, name: &str, failure: ServiceFailure) -> Error {
    match has_code(&failure, "ResourceNotFoundException") {
        true => Error::NoTable { variable, name: name.to_owned() },
        false => failure.into(),
    }
}

/// A command's result.
pub type Result<T> = std::result::Result<T, Error>;

/// Wrong use.
pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Usage { message: message.into(), hint: hint.into() }
}

impl Error {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage { .. } => Exit::Usage,
            Self::Service(_) | Self::NoCredentials { .. } | Self::NoQueue { .. } | Self::NoTable { .. } => {
                Exit::Unreachable
            }
            Self::State { .. }
            | Self::Media { .. }
            | Self::Runtime(_)
            | Self::Stdout(_)
            | Self::File { .. } => Exit::Finding,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Service(_) => format!("{}; `kvsw doctor` looks further", self.advice()),
            _ => self.advice(),
        }
    }

    /// The same, as the doctor itself says it.
    pub fn advice(&self) -> String {
        match self {
            Self::Usage { hint, .. } => hint.clone(),
            Self::Service(failure) => of_service(failure),
            Self::NoCredentials { .. } => {
                "export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE of a profile that has keys or a process, or sign in (`aws sso login`, `aws login`); `aws sts get-caller-identity` tells whether there are any".into()
            }
            Self::NoQueue { variable, .. } => {
                format!("the stack's outputs have the URL for {variable}; does AWS_REGION fit, and the account?")
            }
            Self::NoTable { variable, .. } => {
                format!("the stack's outputs have the name for {variable}; does AWS_REGION fit, and the account?")
            }
            Self::State { .. } => {
                "the session's messages stay where they are; docs/runbook.md, Unreadable state, has both ways out".into()
            }
            Self::Media { .. } => {
                "try again; if it stays so, `kvsw session show` tells which fragment it is".into()
            }
            Self::Runtime(_) => "is the machine out of file descriptors or memory? `ulimit -n` shows the first".into(),
            Self::Stdout(_) => "what was to be shown is incomplete; is there room where it goes?".into(),
            Self::File { .. } => "is there room, and may you write there?".into(),
        }
    }
}

fn of_service(failure: &ServiceFailure) -> String {
    match failure {
        ServiceFailure::Disconnected { .. } | ServiceFailure::TimedOut { .. } => {
            "is the network up, are there AWS credentials, and do AWS_REGION and the AWS_ENDPOINT_URL variables (if any) fit?".into()
        }
        failure if is_no_queue(failure) => {
            "QUEUE_URL and DLQ_URL name the queues; the stack's outputs have them".into()
        }
        ServiceFailure::Service { code, .. } if code == "ResourceNotFoundException" => {
            "STATE_TABLE and SESSIONS_TABLE name the tables; the stack's outputs have them".into()
        }
        ServiceFailure::Service { operation, .. } if failure.class() == Class::Lasting => {
            format!("may you call {operation}? docs/runbook.md lists the permissions that kvsw needs")
        }
        ServiceFailure::Service { operation, .. } if DYNAMODB.contains(&operation.as_str()) => {
            "DynamoDB fails; try again in a moment".into()
        }
        _ => "try again in a moment".into(),
    }
}
