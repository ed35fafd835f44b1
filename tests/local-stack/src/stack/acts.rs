//! What the studio's page does to a running stack: fault switches, and the operator's tool.

use std::process::Stdio;
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use ingest::message::SessionId;
use kvs_emulator::{Fault as MediaFault, FaultKind, Point};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::Instant;

use super::Stack;
use crate::process::{Process, command};
use crate::proxy::{Call, Fault};
use crate::studio::{Act, Acts};

/// How long a kill waits for a worker that is at work, and how often it looks.
const AT_WORK_WITHIN: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(5);
/// How long kvsw may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the functions call DynamoDB.
const DYNAMODB: &str = "DynamoDB_";

impl Stack {
    /// What can be done to this stack. Holds it no longer than an act begins.
    pub fn acts(self: &Arc<Self>) -> Acts {
        let stack = Arc::downgrade(self);
        Arc::new(move |session, act| {
            let stack = Weak::clone(&stack);
            Box::pin(async move {
                let stack = stack.upgrade().ok_or_else(|| anyhow!("the stack is ending"))?;
                match act {
                    Act::DropSocket { seconds } => {
                        stack.gateway.cut(session.as_str(), Duration::from_secs(seconds))
                    }
                    Act::TakeDynamoDb { seconds } => stack.take_dynamodb(Duration::from_secs(seconds))?,
                    Act::RefusePutMedia { error } => stack.refuse_put_media(&session, error)?,
                    Act::KillWorker => {
                        let writer = stack.writer.clone();
                        drop(stack);
                        return kill_worker(&writer).await;
                    }
                    Act::Redrive => {
                        let arguments =
                            ["dlq", "redrive", "--json", "--session", session.as_str(), "--wait", "30s"];
                        return kvsw(stack, &arguments).await;
                    }
                    Act::Ledger => {
                        return kvsw(stack, &["session", "show", "--json", session.as_str()]).await;
                    }
                }
                Ok(json!({}))
            })
        })
    }

    fn take_dynamodb(&self, length: Duration) -> anyhow::Result<()> {
        let proxy = self.proxy.as_ref().context("this stack's DynamoDB is not its own")?;
        let until = Instant::now() + length;
        proxy.sabotage(Some(Arc::new(move |call: &Call| {
            let away = call.service.starts_with(DYNAMODB) && Instant::now() < until;
            let refused = || Fault::Refuse { status: 500, code: "InternalServerError".into() };
            if away { refused() } else { Fault::None }
        })));
        Ok(())
    }

    fn refuse_put_media(&self, session: &SessionId, error: u16) -> anyhow::Result<()> {
        let emulator = self.emulator.as_ref().context("this stack's Kinesis Video is not its own")?;
        let kind =
            FaultKind::ErrorAck { id: error, code: None, at: Point::Persisted, bare: false, stored: false };
        emulator.faults().add(MediaFault::new(kind).stream(&session.stream_name()).count(1));
        Ok(())
    }
}

/// Kills a worker that is at work, or after a while without any, an idle one.
async fn kill_worker(writer: &crate::runtime_api::Function) -> anyhow::Result<Value> {
    let patience = Instant::now() + AT_WORK_WITHIN;
    while Instant::now() < patience {
        if let Some(pid) = writer.kill_busy(fastrand::u64(..)).await {
            return Ok(json!({"pid": pid, "atWork": true}));
        }
        tokio::time::sleep(LOOK).await;
    }
    let pid = writer.kill_one(fastrand::u64(..)).await;
    Ok(json!({"pid": pid.context("there is no worker to kill")?, "atWork": false}))
}

/// Runs kvsw with the functions' variables, and gives what it says. That it found something is no failure.
async fn kvsw(stack: Arc<Stack>, arguments: &[&str]) -> anyhow::Result<Value> {
    let writer = stack.writer.config();
    let path = writer.binary.with_file_name("kvsw");
    if !path.is_file() {
        bail!("{} is missing: build it with `cargo build -p kvsw`", path.display());
    }
    let mut kvsw = command(&path);
    kvsw.args(arguments).envs(writer.environment.iter().map(|(name, value)| (name, value)));
    drop(stack);
    kvsw.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process::spawn(kvsw).await.context("kvsw")?;
    let pipes = (process.child_mut().stdout.take(), process.child_mut().stderr.take());
    let read = async { tokio::try_join!(all(pipes.0), all(pipes.1), process.wait()) };
    let ended = tokio::time::timeout(PATIENCE, read).await;
    let (said, complaint, _) = ended.context("kvsw has not ended in time")?.context("kvsw")?;
    serde_json::from_slice(&said).map_err(|_| anyhow!("kvsw: {}", String::from_utf8_lossy(&complaint).trim()))
}

async fn all(pipe: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
