//! `kvsw dlq redrive --native`: SQS moves everything (StartMessageMoveTask).
//!
//! The destination is given explicitly: messages that the writer parked were sent to the DLQ, so SQS knows no origin of
//! theirs, and a task without a destination would fail.

use std::time::Duration;

use aws::failure::{call, has_code};
use ingest::failure::ServiceFailure;
use media::time::EpochMs;

use super::goal::stays_empty;
use super::redrive::Moved;
use super::right_queue::Arns;
use crate::error::{Result, usage};
use crate::output::Output;
use crate::stop::Stop;
use crate::world::World;

/// Pause between two looks at the task.
const PAUSE: Duration = Duration::from_secs(1);

/// Moves all messages and waits until SQS is done.
pub(super) async fn move_all(
    world: &World,
    output: &Output,
    Arns { queue: destination, dlq: source }: Arns,
    (rate, since): (Option<u32>, EpochMs),
    stop: &Stop,
) -> Result<Moved> {
    start(world, &source, &destination, rate).await?;
    let bar = output.progress(0, "SQS is moving");
    loop {
        let asked = world.sqs.list_message_move_tasks().source_arn(&source).max_results(1);
        let task = call("ListMessageMoveTasks", asked.send()).await?.results.unwrap_or_default().pop();
        let Some(task) = task else { return Ok(Moved::default()) };
        let moved = usize::try_from(task.approximate_number_of_messages_moved).unwrap_or_default();
        bar.set_length(task.approximate_number_of_messages_to_move.unwrap_or_default().unsigned_abs());
        bar.set_position(moved as u64);
        match task.status() {
            Some("RUNNING" | "CANCELLING") if stop.asked() => {
                bar.finish_and_clear();
                output.say("SQS goes on moving; CancelMessageMoveTask would stop it");
                return Ok(Moved { moved, interrupted: true, ..Moved::default() });
            }
            Some("RUNNING" | "CANCELLING") => tokio::time::sleep(PAUSE).await,
            Some("COMPLETED") => {
                bar.finish_and_clear();
                forget_notes(world, since).await?;
                return Ok(Moved { moved, ..Moved::default() });
            }
            other => {
                bar.finish_and_clear();
                let why =
                    format!("{} {}", other.unwrap_or("ended"), task.failure_reason().unwrap_or_default());
                let left = world.dlq_depth().await?.total();
                return Ok(Moved { moved, not_taken: [(why, left)].into(), ..Moved::default() });
            }
        }
    }
}

async fn start(world: &World, source: &str, destination: &str, rate: Option<u32>) -> Result<()> {
    let start = world
        .sqs
        .start_message_move_task()
        .source_arn(source)
        .destination_arn(destination)
        .set_max_number_of_messages_per_second(rate.and_then(|rate| i32::try_from(rate).ok()));
    match call("StartMessageMoveTask", start.send()).await {
        Ok(_) => Ok(()),
        Err(failure) if not_there(&failure) => {
            let hint = "leave --native out: kvsw's own move needs nothing but receive, send and delete";
            Err(usage(format!("this SQS has no StartMessageMoveTask: {failure}"), hint))
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The task tells no message's name: once the queue stays empty, all notes from before are stale.
async fn forget_notes(world: &World, since: EpochMs) -> Result<()> {
    if !stays_empty(world).await? {
        return Ok(());
    }
    let mut notes = world.notes(None).await?;
    notes.retain(|entry| entry.note.parked_at < since);
    world.forget(&notes).await
}

fn not_there(failure: &ServiceFailure) -> bool {
    ["InvalidAction", "UnsupportedOperation", "UnknownOperationException", "NotImplemented"]
        .iter()
        .any(|code| has_code(failure, code))
}
