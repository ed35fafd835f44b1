//! One execution environment: a process, its Runtime API, and its end.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

use super::InvokeError;
use super::api::{Api, Assignment, Phase};
use super::logs::{Logs, Origin};
use crate::process::{self, Process};

/// Lambda's limit for the INIT phase.
const INIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What Lambda leaves a runtime with an internal extension between TERM and KILL.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(500);

/// How an environment is ended from outside.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// KILL at once: a chaos run, or an invocation over its time.
    Kill,
    /// TERM, then KILL: the function is shut down.
    Shutdown,
}

/// A handle on one environment.
#[derive(Clone)]
pub(super) struct Environment {
    /// Its number within the function, from 1.
    pub(super) id: u64,
    /// Its process.
    pub(super) pid: u32,
    assign: mpsc::Sender<Assignment>,
    phases: watch::Receiver<Phase>,
    end: mpsc::Sender<End>,
}

/// What is needed to start an environment.
pub(super) struct Start<'a> {
    pub(super) id: u64,
    pub(super) function: &'a Arc<str>,
    pub(super) binary: &'a Path,
    pub(super) environment: &'a [(String, String)],
    pub(super) logs: &'a Logs,
}

impl Environment {
    /// Starts the process; it is not ready yet, see [`Self::ready`].
    pub(super) async fn start(start: Start<'_>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let mut command = process::command(start.binary);
        command.envs(start.environment.iter().map(|(name, value)| (name, value)));
        command.env("AWS_LAMBDA_RUNTIME_API", address.to_string());
        command.env("AWS_LAMBDA_LOG_STREAM_NAME", format!("{}/{}", start.function, start.id));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Process::spawn(command).await?;
        let pid = process.pid().unwrap_or_default();
        let origin = Origin { function: Arc::clone(start.function), environment: start.id, pid };
        start.logs.follow(&mut process, &origin);

        let (api, assign, phases) = Api::new(start.function);
        let (end, ends) = mpsc::channel(4);
        let server = tokio::spawn(Arc::clone(&api).serve(listener));
        tokio::spawn(async move {
            let status = watch_over(process, ends).await;
            api.exited(status);
            server.abort();
        });
        Ok(Self { id: start.id, pid, assign, phases, end })
    }

    /// Waits until the process has asked for an invocation.
    pub(super) async fn ready(&self) -> Result<(), InvokeError> {
        let mut phases = self.phases.clone();
        let settled = async {
            let settled = phases.wait_for(|phase| !matches!(phase, Phase::Starting | Phase::Busy)).await;
            settled.map_or_else(|_| Phase::Exited("gone".into()), |phase| phase.clone())
        };
        let phase = match tokio::time::timeout(INIT_TIMEOUT, settled).await {
            Ok(phase) => phase,
            Err(_) => {
                self.end(End::Kill).await;
                let reason = format!("Init timed out after {} s", INIT_TIMEOUT.as_secs());
                return Err(InvokeError::Init { reason });
            }
        };
        match phase {
            Phase::Starting | Phase::Idle | Phase::Busy => Ok(()),
            Phase::InitFailed(reason) | Phase::Exited(reason) => Err(InvokeError::Init { reason }),
        }
    }

    /// Hands it an invocation that must end within `timeout`.
    pub(super) async fn assign(
        &self,
        payload: Bytes,
        timeout: Duration,
    ) -> oneshot::Receiver<Result<Bytes, InvokeError>> {
        let deadline_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + timeout;
        let (answer, answered) = oneshot::channel();
        let assignment =
            Assignment { request_id: uuid(), deadline_ms: deadline_ms.as_millis(), payload, answer };
        // A refusal drops `answer`, which tells the receiver.
        let _ = self.assign.send(assignment).await;
        answered
    }

    /// Whether it has an invocation at this moment.
    pub(super) fn is_busy(&self) -> bool {
        *self.phases.borrow() == Phase::Busy
    }

    /// Waits until the process is gone; gives its exit status.
    pub(super) async fn exited(&self) -> String {
        let mut phases = self.phases.clone();
        match phases.wait_for(|phase| matches!(phase, Phase::Exited(_))).await.as_deref() {
            Ok(Phase::Exited(status)) => status.clone(),
            _ => "gone".to_owned(),
        }
    }

    /// Ends the process; returns at once.
    pub(super) async fn end(&self, end: End) {
        let _ = self.end.send(end).await;
    }
}

/// Owns the process until it has ended; gives its exit status.
async fn watch_over(mut process: Process, mut ends: mpsc::Receiver<End>) -> String {
    let end = tokio::select! {
        _ = process.wait() => None,
        end = ends.recv() => end,
    };
    match end {
        Some(End::Shutdown) => process.stop(SHUTDOWN_GRACE).await,
        Some(End::Kill) => process.kill(),
        None => {}
    }
    match process.wait().await {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    }
}

/// A random UUID, version 4.
pub(crate) fn uuid() -> String {
    let random = fastrand::u128(..);
    let value = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{value:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
