//! Why the stack does not start.

use std::path::PathBuf;

use crate::backend::BackendError;
use crate::resources::ResourceError;
use crate::runtime_api::InvokeError;

/// Why the stack does not start. Each message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// SQS and DynamoDB are not there.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// A queue or table is not there.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// A function's binary is not built.
    #[error("{} is missing: build it with `cargo build -p functions`, or set KVS_BIN_DIR", path.display())]
    Binary {
        /// Where it should be.
        path: PathBuf,
    },
    /// A function's first environment does not start.
    #[error("{function}: {source}; its log is {}", log.display())]
    Function {
        /// Its name.
        function: &'static str,
        /// The reason.
        source: InvokeError,
        /// Its log file.
        log: PathBuf,
    },
    /// BACKEND=aws, and the environment has no credentials.
    #[error("no AWS credentials: {0}; set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")]
    Credentials(String),
    /// A folder, file or port.
    #[error("{what}: {source}")]
    Io {
        /// What was to be made.
        what: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
}
