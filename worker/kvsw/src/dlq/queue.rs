//! The dead-letter queue: receiving, sending and deleting its messages. [`walk`](super::walk) goes through it.

use std::collections::BTreeMap;

use aws::failure::{call, of_entry};
use aws::queue::ChunkQueue;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageSystemAttributeName, SendMessageBatchRequestEntry,
};
use ingest::failure::ServiceFailure;
use serde_json::Value;
use writer::ports::Queue as _;

use super::message::{Attributes, DlqMessage};
use crate::error::{Result, usage};
use crate::world::World;

/// Seconds a receive waits: one that does not wait may overlook messages.
const WAIT_SECONDS: i32 = 1;
/// Entries of one batch call.
const MAX_ENTRIES: usize = 10;

const DELETE: &str = "DeleteMessageBatch";
const SEND: &str = "SendMessageBatch";

/// The dead-letter queue.
pub struct Dlq<'w> {
    /// Clients and names.
    pub world: &'w World,
    url: String,
    queue: ChunkQueue,
}

impl<'w> Dlq<'w> {
    /// The DLQ of the world's settings.
    pub fn new(world: &'w World) -> Self {
        Self::at(world, &world.settings.dlq_url)
    }

    /// Another queue, to be gone through likewise.
    pub fn at(world: &'w World, url: &str) -> Self {
        let queue = ChunkQueue::new(world.sqs.clone(), url.to_owned(), String::new());
        Self { world, url: url.to_owned(), queue }
    }

    /// Up to ten messages, hidden from others for `seconds`; none after a second without any.
    ///
    /// # Errors
    /// Those of ReceiveMessage.
    pub async fn receive(&self, seconds: u32) -> Result<Vec<DlqMessage>> {
        let asked = self.world.sqs.receive_message().queue_url(&self.url);
        let asked = asked.max_number_of_messages(MAX_ENTRIES as i32).wait_time_seconds(WAIT_SECONDS);
        let asked = asked.visibility_timeout(i32::try_from(seconds).unwrap_or(i32::MAX));
        let asked = asked.message_attribute_names("All");
        let asked = asked.message_system_attribute_names(MessageSystemAttributeName::All);
        let received = call("ReceiveMessage", asked.send()).await?.messages.unwrap_or_default();
        Ok(received.into_iter().filter_map(DlqMessage::from_sqs).collect())
    }

    /// Hides received messages for `seconds` from now; 0 shows them.
    ///
    /// # Errors
    /// Those of ChangeMessageVisibilityBatch.
    pub async fn hide(&self, receipt_handles: &[String], seconds: u32) -> Result<()> {
        Ok(self.queue.hide(receipt_handles, seconds).await?)
    }

    /// Deletes messages, and the notes of those that are gone. Returns how many SQS did not delete; they are visible again
    /// some time.
    ///
    /// # Errors
    /// Those of SQS and of the state table.
    pub async fn remove(&self, messages: &[&DlqMessage]) -> Result<usize> {
        let left = self.delete(messages).await?;
        let gone = messages.iter().filter(|m| !left.contains(&m.message_id.as_str()));
        self.world.forget(gone.map(|m| (&m.group_id[..], m.original_id()))).await?;
        Ok(left.len())
    }

    /// Deletes messages, whose notes stay. Returns the ids of those that SQS did not delete.
    ///
    /// # Errors
    /// Those of SQS.
    pub async fn delete<'m>(&self, messages: &[&'m DlqMessage]) -> Result<Vec<&'m str>> {
        let mut left = Vec::new();
        for ten in messages.chunks(MAX_ENTRIES) {
            let entries = ten.iter().enumerate().map(|(i, message)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(i.to_string());
                entry.receipt_handle(&message.receipt_handle).build()
            });
            let entries = entries.collect::<std::result::Result<Vec<_>, _>>();
            let entries = entries.map_err(|e| garbled(DELETE, &e.to_string()))?;
            let asked = self.world.sqs.delete_message_batch().queue_url(&self.url);
            let answer = call(DELETE, asked.set_entries(Some(entries)).send()).await?;
            let failed = answer.failed.iter().filter_map(|entry| ten.get(entry.id().parse::<usize>().ok()?));
            left.extend(failed.map(|message| message.message_id.as_str()));
        }
        Ok(left)
    }

    /// Sends at most ten messages into a FIFO queue, group and body as they are; `name` gives each its deduplication id and
    /// attributes. Returns, for each, the id that it has there.
    ///
    /// # Errors
    /// Those of the whole call; that one message is not taken stands in its place.
    pub async fn send(
        &self,
        queue_url: &str,
        messages: &[DlqMessage],
        name: impl Fn(&DlqMessage) -> (String, Attributes),
    ) -> Result<Vec<std::result::Result<String, ServiceFailure>>> {
        let entries = messages.iter().enumerate().map(|(i, message)| {
            let (deduplication_id, attributes) = name(message);
            let entry = SendMessageBatchRequestEntry::builder().id(i.to_string());
            let entry = entry.message_group_id(&message.group_id).message_body(&message.body);
            let entry = entry.message_deduplication_id(deduplication_id);
            entry.set_message_attributes(Some(attributes)).build()
        });
        let entries = entries.collect::<std::result::Result<Vec<_>, _>>();
        let entries = entries.map_err(|e| garbled(SEND, &e.to_string()))?;
        let asked = self.world.sqs.send_message_batch().queue_url(queue_url);
        let answer = call(SEND, asked.set_entries(Some(entries)).send()).await?;
        let mut sent = vec![Err(garbled(SEND, "it is not accounted for")); messages.len()];
        let taken = answer.successful.iter().map(|entry| (entry.id(), Ok(entry.message_id().to_owned())));
        let failed = answer.failed.iter().map(|entry| {
            let failure = of_entry(SEND, entry.sender_fault(), entry.code(), entry.message());
            (entry.id(), Err(failure))
        });
        for (id, outcome) in taken.chain(failed) {
            if let Some(slot) = id.parse().ok().and_then(|i: usize| sent.get_mut(i)) {
                *slot = outcome;
            }
        }
        Ok(sent)
    }
}

fn garbled(operation: &str, detail: &str) -> ServiceFailure {
    ServiceFailure::Garbled { operation: operation.into(), detail: detail.into() }
}

/// Before anything in the DLQ is received, moved or deleted: is DLQ_URL the dead-letter queue of QUEUE_URL? To another
/// queue, and be it the chunk queue itself, the commands would do harm that nothing undoes.
///
/// # Errors
/// Wrong use, where they do not belong together; those of GetQueueAttributes.
pub async fn right_queue(world: &World) -> Result<()> {
    let (queue, dlq) = futures::try_join!(
        world.queue_attributes(&world.settings.queue_url),
        world.queue_attributes(&world.settings.dlq_url)
    )?;
    belong_together(&queue, &dlq)
}

fn belong_together(queue: &BTreeMap<String, String>, dlq: &BTreeMap<String, String>) -> Result<()> {
    const HINT: &str = "the stack's outputs have both URLs; are they swapped? `kvsw doctor` compares them";
    let arn = |queue: &BTreeMap<String, String>| queue.get("QueueArn").cloned().unwrap_or_default();
    let (queue_arn, dlq_arn) = (arn(queue), arn(dlq));
    let policy = queue.get("RedrivePolicy").and_then(|policy| serde_json::from_str::<Value>(policy).ok());
    let target = policy.as_ref().and_then(|policy| policy["deadLetterTargetArn"].as_str());
    let message = match target {
        Some(target) if target == dlq_arn && target != queue_arn => return Ok(()),
        Some(target) => {
            format!("DLQ_URL names {dlq_arn}, but the dead-letter queue of {queue_arn} is {target}")
        }
        None if queue_arn == dlq_arn => {
            format!(
                "QUEUE_URL and DLQ_URL both name {queue_arn}, which has no redrive policy: is it the dead-letter queue?"
            )
        }
        None => format!(
            "QUEUE_URL names {queue_arn}, which has no redrive policy: nothing says that DLQ_URL, {dlq_arn}, is its dead-letter queue"
        ),
    };
    Err(usage(message, HINT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(arn: &str, target: Option<&str>) -> BTreeMap<String, String> {
        let policy = target.map(|target| {
            (
                "RedrivePolicy".into(),
                format!(r#"{{"deadLetterTargetArn":"{target}","maxReceiveCount":"20"}}"#),
            )
        });
        policy.into_iter().chain([("QueueArn".to_owned(), arn.to_owned())]).collect()
    }

    #[test]
    fn only_a_queue_and_its_own_dead_letter_queue_belong_together() {
        let (live, dlq) = (queue("arn:live", Some("arn:dlq")), queue("arn:dlq", None));
        assert!(belong_together(&live, &dlq).is_ok());
        let wrong = [
            (&dlq, &live, "no redrive policy"),
            (&dlq, &dlq, "both name arn:dlq"),
            (&live, &live, "DLQ_URL names arn:live"),
            (&live, &queue("arn:other", None), "is arn:dlq"),
            (&queue("arn:live", None), &dlq, "no redrive policy"),
            (&queue("arn:x", Some("arn:x")), &queue("arn:x", None), "DLQ_URL names arn:x"),
        ];
        for (queue, dlq, part) in wrong {
            let error = belong_together(queue, dlq).unwrap_err();
            assert!(error.to_string().contains(part), "{part} is not in {error}");
            assert_eq!(error.exit(), crate::error::Exit::Usage);
        }
    }
}
