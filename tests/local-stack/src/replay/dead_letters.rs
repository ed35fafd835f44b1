//! A look into the dead-letter queue that leaves it as it was.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, MessageSystemAttributeName};
use serde_json::Value;

use crate::resources::ResourceError;

/// While they are looked at, messages stay hidden for this long at most.
const LOOK_S: i32 = 10;
/// Receives in one look: a queue with more messages is not read to its end.
const RECEIVES_MAX: usize = 200;

/// Parked chunks by session. A FIFO queue hands out the first ten messages of a group until those are deleted, so no more than ten a
/// session can be seen; the worker's own events name the rest.
///
/// # Errors
/// [`ResourceError::Service`].
pub async fn parked_chunks(
    sqs: &aws_sdk_sqs::Client,
    dlq_url: &str,
) -> Result<BTreeMap<String, BTreeSet<u64>>, ResourceError> {
    let mut parked: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut receipts = Vec::new();
    for _ in 0..RECEIVES_MAX {
        let receive = sqs.receive_message().queue_url(dlq_url).max_number_of_messages(10);
        let receive = receive.visibility_timeout(LOOK_S).wait_time_seconds(0);
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
        let received = receive.send().await.map_err(|e| failed("ReceiveMessage of", dlq_url, &e))?;
        let messages = received.messages.unwrap_or_default();
        if messages.is_empty() {
            break;
        }
        for message in messages {
            let attributes = message.attributes.unwrap_or_default();
            let group = attributes.get(&MessageSystemAttributeName::MessageGroupId).cloned();
            let chunks = parked.entry(group.unwrap_or_default()).or_default();
            chunks.extend(message.body.as_deref().and_then(chunk_index));
            receipts.extend(message.receipt_handle);
        }
    }
    show_again(sqs, dlq_url, &receipts).await?;
    Ok(parked)
}

fn chunk_index(body: &str) -> Option<u64> {
    let Value::Object(fields) = serde_json::from_str(body).ok()? else { return None };
    let is_chunk = fields.get("action").is_some_and(|action| action == "writeToStream");
    is_chunk.then(|| ingest::message::number(&fields, "chunkIndex").ok())?
}

/// Last received, first shown: no message of a group can be received before the ones ahead of it are back.
async fn show_again(sqs: &aws_sdk_sqs::Client, url: &str, receipts: &[String]) -> Result<(), ResourceError> {
    for ten in receipts.rchunks(10) {
        let entries = ten.iter().enumerate().map(|(i, receipt)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(i.to_string());
            entry.receipt_handle(receipt).visibility_timeout(0).build()
        });
        let entries: Result<Vec<_>, _> = entries.collect();
        let entries = entries.map_err(|e| failed("ChangeMessageVisibilityBatch of", url, &e))?;
        let change = sqs.change_message_visibility_batch().queue_url(url).set_entries(Some(entries));
        change.send().await.map_err(|e| failed("ChangeMessageVisibilityBatch of", url, &e))?;
    }
    Ok(())
}

fn failed(action: &'static str, name: &str, error: &impl std::error::Error) -> ResourceError {
    ResourceError::Service { action, name: name.to_owned(), reason: DisplayErrorContext(error).to_string() }
}
