//! SQS and DynamoDB: which ones, and their life from start to end.
//!
//! `BACKEND=ministack` (default) and `BACKEND=localstack` are emulators that this module starts on a free loopback port and ends again;
//! `BACKEND=aws` is the real account that the environment names. Everything above sees only an endpoint and credentials.

mod localstack;
mod ministack;
mod readiness;

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;

use crate::process::Process;

/// Which SQS and DynamoDB the stack uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum BackendKind {
    /// MiniStack, in the project's own Python environment. Needs nothing but Python.
    #[default]
    #[value(name = "ministack")]
    MiniStack,
    /// LocalStack: `LOCALSTACK_ENDPOINT` if set, else a container if Docker works, else host mode.
    #[value(name = "localstack")]
    LocalStack,
    /// A real account: credentials and resource names come from the environment, nothing is started or created.
    #[value(name = "aws")]
    Aws,
}

impl BackendKind {
    /// The backend that the variable `BACKEND` names; MiniStack when it is unset or empty.
    ///
    /// # Errors
    /// [`BackendError::Unknown`] for any other word.
    pub fn from_env() -> Result<Self, BackendError> {
        match std::env::var("BACKEND").unwrap_or_default().as_str() {
            "" => Ok(Self::default()),
            word => word.parse(),
        }
    }
}

impl std::str::FromStr for BackendKind {
    type Err = BackendError;

    fn from_str(word: &str) -> Result<Self, BackendError> {
        match word {
            "ministack" => Ok(Self::MiniStack),
            "localstack" => Ok(Self::LocalStack),
            "aws" => Ok(Self::Aws),
            _ => Err(BackendError::Unknown(word.to_owned())),
        }
    }
}

impl std::fmt::Display for BackendKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MiniStack => "ministack",
            Self::LocalStack => "localstack",
            Self::Aws => "aws",
        })
    }
}

/// Why SQS and DynamoDB are not there.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The name is none of the known ones.
    #[error("BACKEND={0} is unknown; use ministack, localstack or aws")]
    Unknown(String),
    /// The Python environment of the emulator could not be built.
    #[error(
        "scripts/venv.sh {name} failed: {reason}. Run it by hand to see why; it needs Python 3.11+ and PyPI"
    )]
    Environment {
        /// Which environment.
        name: &'static str,
        /// What the script said last.
        reason: String,
    },
    /// The emulator's process could not be started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The emulator ended before it was ready.
    #[error("{name} ended with {status} before it was ready; its log is {}", log.display())]
    Ended {
        /// Which emulator.
        name: &'static str,
        /// Its exit status.
        status: String,
        /// Its log file.
        log: PathBuf,
    },
    /// The emulator did not get ready in time.
    #[error("{name} at {endpoint} was not ready after {} s; its log is {}", waited.as_secs(), log.display())]
    NotReady {
        /// Which emulator.
        name: &'static str,
        /// Where it should answer.
        endpoint: String,
        /// How long it was waited for.
        waited: Duration,
        /// Its log file.
        log: PathBuf,
    },
}

/// A running (or reachable) SQS and DynamoDB.
#[derive(Debug)]
pub struct Backend {
    kind: BackendKind,
    endpoint: Option<String>,
    shared: bool,
    life: Life,
}

/// What has to be ended at the end.
#[derive(Debug)]
enum Life {
    /// Somebody else's, or a real account.
    NotOurs,
    /// A process of ours, ended by TERM and KILL.
    Process(Process),
    /// A container of ours, removed when its keeper's standard input closes.
    Container(localstack::Keeper),
}

/// An emulator's state is lost with it, so there is little to wait for after TERM.
const STOP_GRACE: Duration = Duration::from_millis(300);

/// The region of the emulators.
const LOCAL_REGION: &str = "us-east-1";

impl Backend {
    /// Starts the backend, or finds it, and returns when it answers. Logs go to `folder`.
    ///
    /// # Errors
    /// [`BackendError`]: no Python environment, no start, not ready in time.
    pub async fn start(kind: BackendKind, folder: &Path) -> Result<Self, BackendError> {
        let backend = |endpoint, shared, life| Self { kind, endpoint, shared, life };
        match kind {
            BackendKind::Aws => Ok(backend(None, true, Life::NotOurs)),
            BackendKind::MiniStack => {
                let (endpoint, process) = ministack::start(folder, None).await?;
                Ok(backend(Some(endpoint), false, Life::Process(process)))
            }
            BackendKind::LocalStack => {
                let (endpoint, life) = localstack::start(folder).await?;
                let shared = matches!(life, Life::NotOurs);
                Ok(backend(Some(endpoint), shared, life))
            }
        }
    }

    /// Starts an emulator with all that the deployment template needs: CloudFormation, Lambda, event source mappings and
    /// the rest. Its functions find Kinesis Video at `kinesis_video`, a URL, and leave their logs in `folder`.
    ///
    /// # Errors
    /// [`BackendError`]; a real account is none to start.
    pub async fn start_account(
        kind: BackendKind,
        folder: &Path,
        kinesis_video: &str,
    ) -> Result<Self, BackendError> {
        let (endpoint, process) = match kind {
            BackendKind::Aws => {
                return Err(BackendError::Unknown("aws, where a whole account is to be emulated".into()));
            }
            BackendKind::MiniStack => ministack::start(folder, Some(kinesis_video)).await?,
            BackendKind::LocalStack => localstack::start_account(folder, kinesis_video).await?,
        };
        Ok(Self { kind, endpoint: Some(endpoint), shared: false, life: Life::Process(process) })
    }

    /// Which backend this is.
    pub fn kind(&self) -> BackendKind {
        self.kind
    }

    /// The emulator's URL, or `None` for a real account.
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// Whether others may use the same queues and tables, so that names of our own are needed.
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// The configuration for SDK clients: the emulator's endpoint with test credentials, or the real account's.
    pub async fn sdk_config(&self) -> SdkConfig {
        match &self.endpoint {
            Some(endpoint) => local_sdk_config(endpoint),
            None => aws_config::load_defaults(BehaviorVersion::latest()).await,
        }
    }

    /// Ends what was started.
    pub async fn stop(self) {
        match self.life {
            Life::NotOurs => {}
            Life::Process(mut process) => process.stop(STOP_GRACE).await,
            Life::Container(keeper) => keeper.remove().await,
        }
    }
}

/// The SDK configuration for an emulator at `endpoint`, with the credentials `test`/`test`.
pub fn local_sdk_config(endpoint: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(LOCAL_REGION))
        .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
            Credentials::new("test", "test", None, None, "emulator"),
        ))
        .endpoint_url(endpoint)
        .build()
}
