//! What can be set when the stack starts.

use std::path::PathBuf;
use std::time::Duration;

use crate::backend::BackendKind;
use crate::gateway::GatewayConfig;
use crate::mapping::MappingConfig;
use crate::resources::MAX_RECEIVE_COUNT;

/// Settings of one function.
#[derive(Clone, Debug)]
pub struct FunctionSettings {
    /// The longest an invocation may take.
    pub timeout: Duration,
    /// Memory that the function is told it has, MB.
    pub memory_mb: u32,
    /// Most execution environments at a time.
    pub concurrency_max: usize,
    /// Environments started before the first invocation.
    pub warm: usize,
    /// Further variables, which win over the stack's own.
    pub environment: Vec<(String, String)>,
}

/// Settings of the whole stack; the default is a small stack on MiniStack.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// SQS and DynamoDB.
    pub backend: BackendKind,
    /// The Kinesis Video emulator; not used with [`BackendKind::Aws`].
    pub kinesis_video: kvs_emulator::Config,
    /// `kvs-stream-writer`.
    pub writer: FunctionSettings,
    /// `connection-handler`.
    pub handler: FunctionSettings,
    /// `session-authorizer`.
    pub authorizer: FunctionSettings,
    /// From the queue to the writer.
    pub mapping: MappingConfig,
    /// The WebSocket API.
    pub gateway: GatewayConfig,
    /// How long a received message stays hidden; `None` is as deployed: the writer's timeout and 5 s.
    pub visibility_timeout: Option<Duration>,
    /// Receives after which SQS itself parks a message.
    pub max_receive_count: u32,
    /// Puts a [`crate::proxy::Proxy`] between the functions and SQS and DynamoDB.
    pub fault_proxy: bool,
    /// The gateway tells [`Stack::log_lines`](super::Stack::log_lines) of every chunk, too.
    pub chunk_lines: bool,
    /// `RUST_LOG` of the functions.
    pub rust_log: String,
    /// Folder of the functions' binaries; `KVS_BIN_DIR`, else beside this program if `None`.
    pub bin_dir: Option<PathBuf>,
    /// Where logs go; a folder of the stack's own under the temporary folder if `None`, removed at a clean end.
    pub folder: Option<PathBuf>,
}

impl Default for StackConfig {
    fn default() -> Self {
        let function = |memory_mb, concurrency_max| FunctionSettings {
            timeout: Duration::from_secs(10),
            memory_mb,
            concurrency_max,
            warm: 1,
            environment: Vec::new(),
        };
        Self {
            backend: BackendKind::default(),
            kinesis_video: kvs_emulator::Config::strict(),
            writer: function(256, 5),
            handler: function(128, 4),
            authorizer: function(128, 4),
            mapping: MappingConfig::default(),
            gateway: GatewayConfig::default(),
            visibility_timeout: None,
            max_receive_count: MAX_RECEIVE_COUNT,
            fault_proxy: false,
            chunk_lines: false,
            rust_log: "info".to_owned(),
            bin_dir: None,
            folder: None,
        }
    }
}

impl StackConfig {
    /// A stack for this many sessions at the same time: the mapping as Lambda would have scaled it, one batch per session, and
    /// environments started before the first chunk. In AWS cold starts happen side by side; two cores would make a queue of them.
    pub fn for_sessions(sessions: usize) -> Self {
        let mut config = Self::default();
        config.mapping.concurrency = sessions.clamp(5, 40);
        config.writer.concurrency_max = config.mapping.concurrency;
        config.writer.warm = sessions.div_ceil(2).clamp(1, 10);
        // A chunk takes the handler about 10 ms, and a session sends four a second.
        config.handler.concurrency_max = sessions.div_ceil(2).clamp(4, 16);
        config.handler.warm = config.handler.concurrency_max.min(sessions.max(1));
        config
    }
}
