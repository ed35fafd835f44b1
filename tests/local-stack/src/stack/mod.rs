//! The whole path on one laptop: WebSocket gateway → connection-handler → SQS FIFO → mapping → kvs-stream-writer → Kinesis Video.
//!
//! ```no_run
//! # use local_stack::stack::{Stack, StackConfig};
//! # use local_stack::resources::SessionStatus;
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let stack = Stack::start(StackConfig::default()).await?;
//! stack.put_session("quiet-meadow-104", SessionStatus::Active).await?;
//! println!("send audio to {}?sessionId=quiet-meadow-104&role=speaker", stack.ws_url());
//! stack.shutdown().await;
//! # Ok(()) }
//! ```

mod acts;
mod config;
mod error;
mod functions;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::QueueAttributeName;
use kvs_emulator::Emulator;
use tokio::sync::broadcast;

pub use config::{FunctionSettings, StackConfig};
pub use error::StackError;
use functions::{Functions, Services};

use crate::backend::{Backend, BackendKind, local_sdk_config};
use crate::gateway::{Door, Gateway, Issuer, Witness};
use crate::mapping::{Mapping, MappingStats};
use crate::project;
use crate::proxy::Proxy;
use crate::resources::{self, ResourceConfig, ResourceError, Resources, SessionStatus, VISIBILITY_MARGIN};
use crate::runtime_api::{Function, LogLine, Logs};
use crate::studio::{Grant, Grants};

/// A running stack. End it with [`Stack::shutdown`]; a stack that is dropped leaves its folder, but no process beyond its runtime's end.
pub struct Stack {
    backend: Backend,
    sdk_config: SdkConfig,
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    resources: Resources,
    emulator: Option<Emulator>,
    proxy: Option<Proxy>,
    writer: Function,
    handler: Function,
    mapping: Mapping,
    gateway: Gateway,
    door: Arc<Door>,
    lines: broadcast::Sender<Arc<LogLine>>,
    folder: PathBuf,
    remove_folder: bool,
}

/// How many messages a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Ready to be received.
    pub visible: u64,
    /// Received and not deleted yet, deferred ones included.
    pub in_flight: u64,
}

impl QueueDepth {
    /// Messages in any state.
    pub fn total(self) -> u64 {
        self.visible + self.in_flight
    }
}

impl Stack {
    /// Starts everything, in the order of dependence; returns when the first message may be sent.
    ///
    /// # Errors
    /// [`StackError`] of the first part that does not start; the parts before it are ended.
    pub async fn start(config: StackConfig) -> Result<Self, StackError> {
        let folder = made_folder(&config)?;
        let (backend, emulator) =
            tokio::join!(Backend::start(config.backend, &folder), start_emulator(&config));
        let (backend, emulator) = (backend?, emulator.map_err(io("the Kinesis Video emulator"))?);
        let sdk_config = backend.sdk_config().await;
        let sqs = aws_sdk_sqs::Client::new(&sdk_config);
        let dynamodb = aws_sdk_dynamodb::Client::new(&sdk_config);
        let resources = make_resources(&backend, &sqs, &dynamodb, &config).await?;
        let proxy = start_proxy(&backend, &config).await?;
        let lines = Logs::channel();
        let services = Services {
            resources: &resources,
            backend_endpoint: proxy.as_ref().map(Proxy::endpoint).or(backend.endpoint().map(str::to_owned)),
            kinesis_video_endpoint: emulator.as_ref().map(Emulator::endpoint),
            credentials: credentials(&sdk_config).await?,
            region: sdk_config.region().map_or_else(|| "us-east-1".to_owned(), ToString::to_string),
        };
        let issuer = Issuer::start().await.map_err(io("the issuer of tokens"))?;
        let Functions { writer, handler, authorizer } =
            Functions::start(&config, &services, &issuer, &folder, &lines).await?;
        let door = Arc::new(Door::new(authorizer, issuer));
        let witness = if config.chunk_lines { Witness::new(lines.clone()) } else { Witness::default() };
        let gateway = Gateway::start(handler.clone(), Some(Arc::clone(&door)), witness, config.gateway);
        let gateway = gateway.await.map_err(io("the WebSocket gateway"))?;
        let Resources { queue_url, queue_arn, .. } = &resources;
        let mapping = Mapping::start(sqs.clone(), queue_url, queue_arn, writer.clone(), config.mapping);
        let remove_folder = config.folder.is_none();
        Ok(Self {
            backend,
            sdk_config,
            sqs,
            dynamodb,
            resources,
            emulator,
            proxy,
            writer,
            handler,
            mapping,
            gateway,
            door,
            lines,
            folder,
            remove_folder,
        })
    }

    /// Where browsers connect; add `?sessionId=…&role=speaker`.
    pub fn ws_url(&self) -> String {
        self.gateway.url()
    }

    /// Which SQS and DynamoDB.
    pub fn backend(&self) -> BackendKind {
        self.backend.kind()
    }

    /// URL of SQS and DynamoDB, or `None` for a real account.
    pub fn backend_endpoint(&self) -> Option<&str> {
        self.backend.endpoint()
    }

    /// URL of the Kinesis Video control plane, or `None` for a real account.
    pub fn kinesis_video_endpoint(&self) -> Option<String> {
        self.emulator.as_ref().map(Emulator::endpoint)
    }

    /// Queues and tables.
    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    /// For clients of SQS and DynamoDB.
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.sdk_config
    }

    /// For clients of Kinesis Video's control plane. Clients of its data plane take the endpoint that GetDataEndpoint gives.
    pub fn kinesis_video_sdk_config(&self) -> SdkConfig {
        match &self.emulator {
            Some(emulator) => local_sdk_config(&emulator.endpoint()),
            None => self.sdk_config.clone(),
        }
    }

    /// A client of SQS.
    pub fn sqs(&self) -> &aws_sdk_sqs::Client {
        &self.sqs
    }

    /// A client of DynamoDB.
    pub fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        &self.dynamodb
    }

    /// The Kinesis Video emulator, to look into and to break; `None` for a real account.
    pub fn emulator(&self) -> Option<&Emulator> {
        self.emulator.as_ref()
    }

    /// The fault proxy, if the configuration asked for it.
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// `kvs-stream-writer`.
    pub fn writer(&self) -> &Function {
        &self.writer
    }

    /// Issues the tokens that open connections.
    pub fn issuer(&self) -> &Issuer {
        self.door.issuer()
    }

    /// Tokens for speakers, and sessions where there are none yet: what the studio's page asks for. On a real account sessions are the
    /// application's.
    pub fn grants(&self) -> Grants {
        let (door, dynamodb) = (Arc::clone(&self.door), self.dynamodb.clone());
        let table = (self.backend() != BackendKind::Aws).then(|| self.resources.sessions_table.clone());
        let (url, is_away) = (self.ws_url(), self.gateway.is_away());
        Arc::new(move |session| {
            let (door, dynamodb) = (Arc::clone(&door), dynamodb.clone());
            let (table, url) = (table.clone(), url.clone());
            let away = is_away(session.as_str());
            Box::pin(async move {
                anyhow::ensure!(!away, "the network was cut on purpose");
                if let Some(table) = table {
                    resources::begin_session(&dynamodb, &table, session.as_str()).await?;
                }
                let token = door.issuer().token(session.as_str(), "speaker")?;
                Ok(Grant { url, token })
            })
        })
    }

    /// The WebSocket API, to cut.
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// `connection-handler`.
    pub fn handler(&self) -> &Function {
        &self.handler
    }

    /// The event source mapping, to disturb.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// What the mapping has done, in all and per session.
    pub fn mapping_stats(&self) -> MappingStats {
        self.mapping.stats()
    }

    /// Every JSON line that the functions print from now on. A receiver that falls 16,384 lines behind loses the oldest.
    pub fn log_lines(&self) -> broadcast::Receiver<Arc<LogLine>> {
        self.lines.subscribe()
    }

    /// Where those lines go, for whoever subscribes later.
    pub fn lines(&self) -> broadcast::Sender<Arc<LogLine>> {
        self.lines.clone()
    }

    /// Logs of the functions and emulators, `NAME.log` each.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a session into the sessions table.
    ///
    /// # Errors
    /// [`ResourceError::Service`].
    pub async fn put_session(&self, session_id: &str, status: SessionStatus) -> Result<(), ResourceError> {
        resources::put_session(&self.dynamodb, &self.resources.sessions_table, session_id, status).await
    }

    /// How many chunks wait in the queue.
    ///
    /// # Errors
    /// [`ResourceError::Service`].
    pub async fn queue_depth(&self) -> Result<QueueDepth, ResourceError> {
        self.depth(&self.resources.queue_url).await
    }

    /// How many chunks are parked.
    ///
    /// # Errors
    /// [`ResourceError::Service`].
    pub async fn dlq_depth(&self) -> Result<QueueDepth, ResourceError> {
        self.depth(&self.resources.dlq_url).await
    }

    async fn depth(&self, queue_url: &str) -> Result<QueueDepth, ResourceError> {
        use QueueAttributeName as A;
        let names = [A::ApproximateNumberOfMessages, A::ApproximateNumberOfMessagesNotVisible];
        let attributes = resources::queue_attributes(&self.sqs, queue_url, &names).await?;
        let number = |name| attributes.get(&name).and_then(|value| value.parse().ok()).unwrap_or_default();
        let [visible, in_flight] = names.map(number);
        Ok(QueueDepth { visible, in_flight })
    }

    /// Ends everything, the users of a part before the part. Returns when no process is left. Removes the folder if it is the
    /// stack's own.
    pub async fn shutdown(self) {
        self.gateway.shutdown().await;
        tokio::join!(self.mapping.abandon(), self.handler.shutdown(), self.door.authorizer().shutdown());
        self.writer.shutdown().await;
        drop(self.proxy);
        if let Some(emulator) = self.emulator {
            emulator.shutdown().await;
        }
        self.backend.stop().await;
        if self.remove_folder {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> StackError {
    move |source| StackError::Io { what, source }
}

fn made_folder(config: &StackConfig) -> Result<PathBuf, StackError> {
    let folder = match &config.folder {
        Some(folder) => std::fs::create_dir_all(folder).map(|()| folder.clone()),
        None => project::run_folder(),
    };
    folder.map_err(io("the stack's folder"))
}

async fn start_proxy(backend: &Backend, config: &StackConfig) -> Result<Option<Proxy>, StackError> {
    match backend.endpoint() {
        Some(endpoint) if config.fault_proxy => {
            Proxy::start(endpoint).await.map(Some).map_err(io("the fault proxy"))
        }
        _ => Ok(None),
    }
}

async fn credentials(config: &SdkConfig) -> Result<Credentials, StackError> {
    let provider =
        config.credentials_provider().ok_or_else(|| StackError::Credentials("none configured".into()))?;
    let missing = |error| StackError::Credentials(DisplayErrorContext(error).to_string());
    provider.provide_credentials().await.map_err(missing)
}

async fn start_emulator(config: &StackConfig) -> std::io::Result<Option<Emulator>> {
    match config.backend {
        BackendKind::Aws => Ok(None),
        BackendKind::MiniStack | BackendKind::LocalStack => {
            kvs_emulator::start(config.kinesis_video.clone()).await.map(Some)
        }
    }
}

async fn make_resources(
    backend: &Backend,
    sqs: &aws_sdk_sqs::Client,
    dynamodb: &aws_sdk_dynamodb::Client,
    config: &StackConfig,
) -> Result<Resources, ResourceError> {
    if backend.kind() == BackendKind::Aws {
        return Resources::from_env(sqs).await;
    }
    // In an emulator that others use too, every run has names of its own.
    let prefix = if backend.is_shared() { format!("run-{:08x}-", fastrand::u32(..)) } else { String::new() };
    let resources = ResourceConfig {
        prefix,
        visibility_timeout: config.visibility_timeout.unwrap_or(config.writer.timeout + VISIBILITY_MARGIN),
        max_receive_count: config.max_receive_count,
    };
    Resources::create(sqs, dynamodb, &resources).await
}
