//! What the integration tests share: a backend with queues, and the scripted function.
#![allow(dead_code, clippy::unwrap_used)] // each test binary uses its part; a test may unwrap

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use local_stack::backend::{Backend, BackendKind};
use local_stack::resources::{ResourceConfig, Resources};
use local_stack::runtime_api::{Function, FunctionConfig, LogLine, Logs};
use local_stack::{project, runtime_api};
use tokio::sync::broadcast;

/// A folder for logs that goes with the test; a failed test leaves it for a look.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        Self(project::run_folder().unwrap())
    }
}

impl std::ops::Deref for Folder {
    type Target = std::path::Path;

    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A backend with the stack's queues and tables.
pub struct Bench {
    pub backend: Backend,
    pub resources: Resources,
    pub sqs: aws_sdk_sqs::Client,
    pub folder: Folder,
}

impl Bench {
    /// Starts `kind` with queues and tables.
    pub async fn start(kind: BackendKind, visibility_timeout: Duration, max_receive_count: u32) -> Self {
        let folder = Folder::new();
        let backend = Backend::start(kind, &folder).await.unwrap();
        let config = backend.sdk_config().await;
        let sqs = aws_sdk_sqs::Client::new(&config);
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        let resources = ResourceConfig { visibility_timeout, max_receive_count, ..ResourceConfig::default() };
        let resources = Resources::create(&sqs, &dynamodb, &resources).await.unwrap();
        Self { backend, resources, sqs, folder }
    }

    /// Enqueues `body` as the next message of `group`.
    pub async fn send(&self, group: &str, body: serde_json::Value) {
        let id = format!("{group}#{body}").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let send =
            self.sqs.send_message().queue_url(&self.resources.queue_url).message_body(body.to_string());
        send.message_group_id(group).message_deduplication_id(id).send().await.unwrap();
    }

    /// Ends the backend.
    pub async fn stop(self) {
        self.backend.stop().await;
    }
}

/// The binary of the scripted function.
pub fn scripted_binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().unwrap().parent().unwrap().join("examples/scripted_function");
    assert!(binary.exists(), "{} is missing: cargo build -p local-stack --examples", binary.display());
    binary
}

/// A folder in which the scripted function plays all functions of the stack.
pub fn scripted_bin_dir(folder: &std::path::Path) -> PathBuf {
    let bin_dir = folder.join("bin");
    std::fs::create_dir_all(&bin_dir).unwrap();
    for name in ["kvs-stream-writer", "connection-handler", "session-authorizer"] {
        std::os::unix::fs::symlink(scripted_binary(), bin_dir.join(name)).unwrap();
    }
    bin_dir
}

/// The scripted function of `examples/`, and what it prints.
pub fn scripted_function(
    folder: &std::path::Path,
    timeout: Duration,
    concurrency_max: usize,
    environment: &[(&str, &str)],
) -> (Function, broadcast::Receiver<Arc<LogLine>>) {
    let lines = Logs::channel();
    let printed = lines.subscribe();
    let binary = scripted_binary();
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let config = FunctionConfig {
        name: "scripted".into(),
        binary,
        environment,
        timeout,
        memory_mb: 256,
        concurrency_max,
    };
    (runtime_api::Function::new(config, Logs::create(folder, "scripted", lines).unwrap()), printed)
}

/// The next line for which `wanted` gives a value; fails the test after 30 s.
pub async fn next_line<T>(
    lines: &mut broadcast::Receiver<Arc<LogLine>>,
    mut wanted: impl FnMut(&LogLine) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(&lines.recv().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), found)
        .await
        .expect("the function printed no such line within 30 s")
}

/// The processes below `parent`, at any depth.
pub fn descendants(parent: u32) -> Vec<u32> {
    let children = |pid: u32| -> Vec<u32> {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let listed =
            threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
        listed
            .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
            .collect()
    };
    let mut found = children(parent);
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        found.extend(children(pid));
        next += 1;
    }
    found
}

/// Waits until none of these processes runs; gives those that still do after 10 s.
pub async fn survivors(pids: &[u32]) -> Vec<u32> {
    let mut alive: Vec<u32> = pids.to_vec();
    let gone = async {
        while !alive.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            alive.retain(|pid| is_running(*pid));
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(10), gone).await;
    alive
}

/// Whether a process with this id exists.
pub fn is_running(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}
