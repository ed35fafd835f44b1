//! The operator: `kvsw dlq redrive`, as its own process, with the variables that the functions have.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::process::{Process, command};
use crate::stack::Stack;

/// How long kvsw may take to move all messages and see the gaps closed.
const PATIENCE: Duration = Duration::from_secs(45);

/// Why it did not run.
#[derive(Debug, thiserror::Error)]
pub enum RedriveError {
    /// It is not built.
    #[error("{} is missing: build it with `cargo build -p kvsw`, or set KVS_BIN_DIR", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The operating system's reason.
    #[error("kvsw: {0}")]
    Io(#[from] std::io::Error),
    /// It has not ended in time.
    #[error("kvsw dlq redrive has not ended within {} s", PATIENCE.as_secs())]
    TooLong,
}

/// What kvsw said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redriven {
    /// Its exit code: 0 if all was moved and every gap is closed.
    pub exit_code: Option<i32>,
    /// Messages that it moved.
    pub moved: u64,
    /// Gaps that it saw closed.
    pub gaps_closed: usize,
    /// Gaps that it meant to close.
    pub gaps: usize,
}

/// Runs `kvsw dlq redrive` to its end. Its output is kept in the stack's folder.
///
/// # Errors
/// [`RedriveError`]; that it found something is none.
pub async fn kvsw(stack: &Stack) -> Result<Redriven, RedriveError> {
    let writer = stack.writer().config();
    let path = writer.binary.with_file_name("kvsw");
    if !path.is_file() {
        return Err(RedriveError::Missing { path });
    }
    let log = |name: &str| std::fs::File::create(stack.folder().join(name));
    let mut kvsw = command(&path);
    kvsw.args(["dlq", "redrive", "--json", "--rate", "200", "--wait", "30s"]);
    kvsw.envs(writer.environment.iter().map(|(name, value)| (name, value)));
    kvsw.stdout(Stdio::from(log("kvsw.json")?)).stderr(Stdio::from(log("kvsw.log")?));
    let mut process = Process::spawn(kvsw).await?;
    let ended = tokio::time::timeout(PATIENCE, process.wait()).await;
    let status = ended.map_err(|_| RedriveError::TooLong)??;
    let said = std::fs::read(stack.folder().join("kvsw.json"))?;
    let said: Value = serde_json::from_slice(&said).unwrap_or_default();
    let gaps = said["readBack"]["gaps"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(Redriven {
        exit_code: status.code(),
        moved: said["moved"]["moved"].as_u64().unwrap_or_default(),
        gaps_closed: gaps.iter().filter(|gap| gap["closed"] == true).count(),
        gaps: gaps.len(),
    })
}
