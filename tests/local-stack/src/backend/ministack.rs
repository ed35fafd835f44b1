//! MiniStack: one Python process with SQS and DynamoDB in memory, started by scripts/run_ministack.py.

use std::path::Path;
use std::time::Duration;

use super::BackendError;
use super::readiness::{Emulator, python};
use crate::process::{self, Process};
use crate::project;

/// A free port can be taken between the look and the start; a second and third try settle that.
const START_TRIES: usize = 3;

/// Starts it on a free port, with all its services where there is a `kinesis_video` for its functions. Returns its URL and
/// its process.
pub(super) async fn start(
    folder: &Path,
    kinesis_video: Option<&str>,
) -> Result<(String, Process), BackendError> {
    let python = python("ministack").await?;
    let mut tries = 1;
    loop {
        match start_once(&python, folder, kinesis_video).await {
            Err(BackendError::Ended { .. }) if tries < START_TRIES => tries += 1,
            settled => return settled,
        }
    }
}

async fn start_once(
    python: &Path,
    folder: &Path,
    kinesis_video: Option<&str>,
) -> Result<(String, Process), BackendError> {
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
        // The functions' output is in its log, at the level INFO.
        ("LOG_LEVEL", if kinesis_video.is_some() { "INFO" } else { "WARNING" }),
    ]);
    match kinesis_video {
        None => command.env("SERVICES", "sqs,dynamodb"),
        // Its functions inherit its environment.
        Some(endpoint) => command
            .env("AWS_ENDPOINT_URL", emulator.endpoint())
            .env("AWS_ENDPOINT_URL_KINESIS_VIDEO", endpoint),
    };
    command.env("TMPDIR", folder).env("HOME", folder);
    let process = emulator.launch(command).await?;
    Ok((emulator.endpoint(), process))
}
