//! The functions: their binaries, and the environment in which they find everything else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_credential_types::Credentials;
use tokio::sync::broadcast;

use super::config::{FunctionSettings, StackConfig};
use super::error::StackError;
use crate::gateway::Issuer;
use crate::resources::Resources;
use crate::runtime_api::{Function, FunctionConfig, LogLine, Logs};

/// Name of the writer, of its binary and of its log.
const WRITER: &str = "kvs-stream-writer";

/// Name of the connection handler, of its binary and of its log.
const HANDLER: &str = "connection-handler";

/// Name of the authorizer, of its binary and of its log.
const AUTHORIZER: &str = "session-authorizer";

/// The functions' binaries.
struct Binaries {
    authorizer: PathBuf,
    writer: PathBuf,
    handler: PathBuf,
}

impl Binaries {
    /// Finds them in `chosen`, else in `KVS_BIN_DIR`, else beside this program, else (for tests and examples) one folder above it.
    fn find(chosen: Option<&Path>) -> Result<Self, StackError> {
        let io = |source| StackError::Io { what: "the path of this program", source };
        let program = std::env::current_exe().map_err(io)?;
        let chosen =
            chosen.map(Path::to_owned).or_else(|| std::env::var_os("KVS_BIN_DIR").map(PathBuf::from));
        let folders = match chosen {
            Some(folder) => vec![folder],
            None => program.ancestors().skip(1).take(2).map(Path::to_owned).collect(),
        };
        let find = |name| {
            let mut candidates = folders.iter().map(|folder| folder.join(name));
            let missing =
                || StackError::Binary { path: folders.last().cloned().unwrap_or_default().join(name) };
            candidates.find(|path| path.is_file()).ok_or_else(missing)
        };
        Ok(Self { writer: find(WRITER)?, handler: find(HANDLER)?, authorizer: find(AUTHORIZER)? })
    }
}

/// What the functions talk to.
pub(super) struct Services<'a> {
    pub(super) resources: &'a Resources,
    /// `None` for a real account.
    pub(super) backend_endpoint: Option<String>,
    /// `None` for a real account.
    pub(super) kinesis_video_endpoint: Option<String>,
    /// As Lambda gives a function its role's; those of a real account hold for as long as they hold for this process.
    pub(super) credentials: Credentials,
    pub(super) region: String,
}

impl Services<'_> {
    fn environment(&self, rust_log: &str) -> Vec<(String, String)> {
        let resources = self.resources;
        let mut environment: Vec<(&str, String)> = vec![
            ("AWS_REGION", self.region.clone()),
            ("AWS_DEFAULT_REGION", self.region.clone()),
            ("QUEUE_URL", resources.queue_url.clone()),
            ("DLQ_URL", resources.dlq_url.clone()),
            ("SESSIONS_TABLE", resources.sessions_table.clone()),
            ("CONNECTIONS_TABLE", resources.connections_table.clone()),
            ("STATE_TABLE", resources.state_table.clone()),
            ("KVS_RETENTION_HOURS", "1".to_owned()),
            ("RUST_LOG", rust_log.to_owned()),
        ];
        environment.push(("AWS_ACCESS_KEY_ID", self.credentials.access_key_id().to_owned()));
        environment.push(("AWS_SECRET_ACCESS_KEY", self.credentials.secret_access_key().to_owned()));
        if let Some(token) = self.credentials.session_token() {
            environment.push(("AWS_SESSION_TOKEN", token.to_owned()));
        }
        if let Some(endpoint) = &self.backend_endpoint {
            environment.push(("AWS_ENDPOINT_URL_SQS", endpoint.clone()));
            environment.push(("AWS_ENDPOINT_URL_DYNAMODB", endpoint.clone()));
        }
        if let Some(endpoint) = &self.kinesis_video_endpoint {
            environment.push(("AWS_ENDPOINT_URL_KINESIS_VIDEO", endpoint.clone()));
        }
        environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// The functions, each with its first environments.
pub(super) struct Functions {
    pub(super) writer: Function,
    pub(super) handler: Function,
    pub(super) authorizer: Function,
}

impl Functions {
    /// Starts them; where one does not start, the others are ended.
    pub(super) async fn start(
        config: &StackConfig,
        services: &Services<'_>,
        issuer: &Issuer,
        folder: &Path,
        lines: &broadcast::Sender<Arc<LogLine>>,
    ) -> Result<Self, StackError> {
        let binaries = Binaries::find(config.bin_dir.as_deref())?;
        let make = |name, binary: &Path, settings: &FunctionSettings, more: Vec<(String, String)>| {
            let logs = Logs::create(folder, name, lines.clone());
            let logs = logs.map_err(|source| StackError::Io { what: "a function's log", source })?;
            let mut environment = services.environment(&config.rust_log);
            environment.extend(more);
            environment.extend(settings.environment.iter().cloned());
            let config = FunctionConfig {
                name: name.to_owned(),
                binary: binary.to_owned(),
                environment,
                timeout: settings.timeout,
                memory_mb: settings.memory_mb,
                concurrency_max: settings.concurrency_max,
            };
            Ok::<_, StackError>(Function::new(config, logs))
        };
        let writer = make(WRITER, &binaries.writer, &config.writer, Vec::new())?;
        let handler = make(HANDLER, &binaries.handler, &config.handler, Vec::new())?;
        let authorizer = make(AUTHORIZER, &binaries.authorizer, &config.authorizer, issuer.environment())?;
        let warmed = tokio::try_join!(
            warm(&authorizer, AUTHORIZER, config.authorizer.warm),
            warm(&writer, WRITER, config.writer.warm),
            warm(&handler, HANDLER, config.handler.warm),
        );
        if let Err(error) = warmed {
            tokio::join!(writer.shutdown(), handler.shutdown(), authorizer.shutdown());
            return Err(error);
        }
        Ok(Self { writer, handler, authorizer })
    }
}

/// Starts a function's first environments.
async fn warm(function: &Function, name: &'static str, count: usize) -> Result<(), StackError> {
    let failed =
        |source| StackError::Function { function: name, source, log: function.log_path().to_owned() };
    function.warm(count).await.map_err(failed)
}
