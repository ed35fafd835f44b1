//! MiniStack: one Python process with SQS and DynamoDB in memory, started by scripts/run_ministack.py.

use std::path::Path;
use std::time::Duration;

use super::BackendError;
use super::readiness::{Emulator, python};
use crate::process::{self, Process};
use crate::project;

/// A free port can be taken between the look and the start; a second and third try settle that.
const START_TRIES: usize = 3;

/// Starts it on a free port. Returns its URL and its process.
pub(super) async fn start(folder: &Path) -> Result<(String, Process), BackendError> {
    let python = python("ministack").await?;
    let mut tries = 1;
    loop {
        match start_once(&python, folder).await {
            Err(BackendError::Ended { .. }) if tries < START_TRIES => tries += 1,
            settled => return settled,
        }
    }
}

async fn start_once(python: &Path, folder: &Path) -> Result<(String, Process), BackendError> {
    let port =
        process::free_port().map_err(|source| BackendError::Start { program: "ministack".into(), source })?;
    let emulator = Emulator {
        name: "ministack",
        port,
        health: "/_ministack/health",
        patience: Duration::from_secs(60),
        folder,
    };
    let mut command = process::command(python);
    command.arg(project::root().join("scripts/run_ministack.py")).envs([
        ("GATEWAY_PORT", port.to_string().as_str()),
        ("SERVICES", "sqs,dynamodb"),
        ("LOG_LEVEL", "WARNING"),
    ]);
    command.env("TMPDIR", folder).env("HOME", folder);
    let process = emulator.launch(command).await?;
    Ok((emulator.endpoint(), process))
}
