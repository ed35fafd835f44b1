//! Going through the DLQ. SQS gives the heads of groups and no more of a group while some of it is in flight, so
//! whoever looks for certain messages holds the others until the end, and then makes them visible again.

use std::time::Duration;

use aws::failure::{call, of_entry};
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, MessageSystemAttributeName,
};
use ingest::failure::ServiceFailure;
use tokio::time::Instant;

use super::goal::Goal;
use super::message::DlqMessage;
use crate::error::Result;
use crate::world::World;

/// How long a received message stays hidden. If this program is killed, so long does it take until it is seen again.
const HOLD_SECONDS: i32 = 60;
/// When held messages are hidden anew.
const RENEW_AFTER: Duration = Duration::from_secs(25);
/// Seconds a receive waits: one that does not wait may overlook messages.
const WAIT_SECONDS: i32 = 1;
/// So many empty receives in a row are taken for the end,
const EMPTY_RECEIVES: u32 = 2;
/// or so many, where messages are known to be there: somebody else may have them in hand for a moment.
const DOUBTFUL_RECEIVES: u32 = 6;
/// Entries of one batch call.
const MAX_ENTRIES: usize = 10;

/// A walk through the DLQ. Call [`Walk::release`] at the end, whatever happened.
pub struct Walk<'w> {
    world: &'w World,
    held: Vec<String>,
    renewed_at: Instant,
    goal: Goal,
}

impl<'w> Walk<'w> {
    /// Stands before the first message.
    pub fn new(world: &'w World, goal: Goal) -> Self {
        Self { world, held: Vec::new(), renewed_at: Instant::now(), goal }
    }

    /// The next messages, in order within each group; none means that the goal is reached, or that nothing more can be.
    pub async fn next(&mut self) -> Result<Vec<DlqMessage>> {
        self.renew().await?;
        if self.goal.is_reached() {
            return Ok(Vec::new());
        }
        let receives = if self.goal.misses_some() { DOUBTFUL_RECEIVES } else { EMPTY_RECEIVES };
        for _ in 0..receives {
            let asked = self
                .world
                .sqs
                .receive_message()
                .queue_url(&self.world.settings.dlq_url)
                .max_number_of_messages(MAX_ENTRIES as i32)
                .visibility_timeout(HOLD_SECONDS)
                .wait_time_seconds(WAIT_SECONDS)
                .message_system_attribute_names(MessageSystemAttributeName::All)
                .message_attribute_names("All");
            let received = call("ReceiveMessage", asked.send()).await?.messages.unwrap_or_default();
            let messages: Vec<DlqMessage> = received.into_iter().filter_map(DlqMessage::from_sqs).collect();
            if !messages.is_empty() {
                messages.iter().for_each(|message| self.goal.meet(message.original_id()));
                return Ok(messages);
            }
        }
        Ok(Vec::new())
    }

    /// Keeps a message hidden until the walk is over.
    pub fn hold(&mut self, message: &DlqMessage) {
        self.held.push(message.receipt_handle.clone());
    }

    /// Deletes messages. Returns those that SQS did not delete; they are visible again some time.
    pub async fn delete<'m>(&self, messages: &[&'m DlqMessage]) -> Result<Vec<&'m DlqMessage>> {
        const DELETE: &str = "DeleteMessageBatch";
        let mut left = Vec::new();
        for ten in messages.chunks(MAX_ENTRIES) {
            let entries = ten.iter().enumerate().map(|(i, message)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(i.to_string());
                entry.receipt_handle(&message.receipt_handle).build()
            });
            let entries = entries.collect::<std::result::Result<Vec<_>, _>>();
            let entries = entries.map_err(|e| garbled(DELETE, &e.to_string()))?;
            let asked = self.world.sqs.delete_message_batch().queue_url(&self.world.settings.dlq_url);
            let answer = call(DELETE, asked.set_entries(Some(entries)).send()).await?;
            let failed = answer.failed.iter().filter_map(|entry| ten.get(entry.id().parse::<usize>().ok()?));
            left.extend(failed.copied());
        }
        Ok(left)
    }

    /// Makes the held messages visible again. Returns what is left of the goal.
    pub async fn release(mut self) -> Result<Goal> {
        let held = std::mem::take(&mut self.held);
        self.change(&held, 0).await?;
        Ok(self.goal)
    }

    async fn renew(&mut self) -> Result<()> {
        if self.held.is_empty() || self.renewed_at.elapsed() < RENEW_AFTER {
            return Ok(());
        }
        self.renewed_at = Instant::now();
        self.change(&self.held, HOLD_SECONDS).await
    }

    async fn change(&self, handles: &[String], seconds: i32) -> Result<()> {
        const CHANGE: &str = "ChangeMessageVisibilityBatch";
        for ten in handles.chunks(MAX_ENTRIES) {
            let entries = ten.iter().enumerate().map(|(i, handle)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(i.to_string());
                entry.receipt_handle(handle).visibility_timeout(seconds).build()
            });
            let entries = entries.collect::<std::result::Result<Vec<_>, _>>();
            let entries = entries.map_err(|e| garbled(CHANGE, &e.to_string()))?;
            let asked = self.world.sqs.change_message_visibility_batch();
            let asked = asked.queue_url(&self.world.settings.dlq_url).set_entries(Some(entries));
            // An entry that fails is no longer ours; the others are changed all the same.
            call(CHANGE, asked.send()).await?;
        }
        Ok(())
    }
}

pub(super) fn garbled(operation: &str, detail: &str) -> ServiceFailure {
    ServiceFailure::Garbled { operation: operation.into(), detail: detail.into() }
}

/// The failure of one entry of a batch call.
pub(super) fn entry_failure(
    operation: &str,
    entry: &aws_sdk_sqs::types::BatchResultErrorEntry,
) -> ServiceFailure {
    of_entry(operation, entry.sender_fault(), entry.code(), entry.message())
}
