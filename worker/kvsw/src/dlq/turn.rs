//! Turning a group over: what lies behind a FIFO group's first ten messages shows only once those are gone, so each is
//! sent to the end of its own group and then deleted. After one turn the group is as it was, in order. Killed in
//! between, a message may be there twice, which a redrive puts right.

use aws::failure::call;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;

use super::message::{DlqMessage, batches};
use super::walk::{Walk, entry_failure, garbled};
use crate::error::Result;
use crate::world::World;

/// Sends messages of one group to its end and deletes the originals. `run` names this turn.
///
/// # Errors
/// Those of SQS; the messages are then still in the DLQ, some perhaps twice.
pub(super) async fn turn(world: &World, walk: &Walk<'_>, run: &str, messages: &[DlqMessage]) -> Result<()> {
    const SEND: &str = "SendMessageBatch";
    for batch in batches(messages, 10) {
        let entries = batch.iter().enumerate().map(|(i, message)| {
            SendMessageBatchRequestEntry::builder()
                .id(i.to_string())
                .message_group_id(&message.group_id)
                .message_deduplication_id(message.turned_id(run))
                .message_body(&message.body)
                .set_message_attributes(Some(message.attributes.clone()))
                .build()
        });
        let entries = entries.collect::<std::result::Result<Vec<_>, _>>();
        let entries = entries.map_err(|e| garbled(SEND, &e.to_string()))?;
        let asked = world.sqs.send_message_batch().queue_url(&world.settings.dlq_url);
        let answer = call(SEND, asked.set_entries(Some(entries)).send()).await?;
        if let Some(entry) = answer.failed.first() {
            return Err(entry_failure(SEND, entry).into());
        }
        walk.delete(&batch.iter().collect::<Vec<_>>()).await?;
    }
    Ok(())
}
