//! SQS behind [`writer::ports::Queue`], the sender that connection_handler uses, and what a queue says of itself.

use std::collections::BTreeMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
    MessageAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry,
};
use ingest::failure::ServiceFailure;
use ingest::message::TRACEPARENT;
use serde::Serialize;
use writer::ports::{Parked, Queue, Result};

use crate::failure::{call, of_entry};

/// Entries of one batch call.
const MAX_ENTRIES: usize = 10;

/// Size of all entries of a batch call together. It is 1 MiB in most Regions (aws-facts 5.1) and still 256 KiB in some, where a larger
/// call would fail for ever.
const MAX_BATCH_BYTES: usize = 256 * 1_024;

/// Characters of one attribute's value.
const MAX_ATTRIBUTE_CHARS: usize = 1_024;

/// The longest visibility timeout, 12 hours.
const MAX_HIDDEN_SECONDS: i32 = 43_200;

const HIDE: &str = "ChangeMessageVisibilityBatch";
const DELETE: &str = "DeleteMessageBatch";
const PARK: &str = "SendMessageBatch";

/// The chunk queue and its DLQ.
#[derive(Clone, Debug)]
pub struct ChunkQueue {
    client: Client,
    queue_url: String,
    dlq_url: String,
}

impl ChunkQueue {
    /// Both queues are FIFO.
    pub fn new(client: Client, queue_url: String, dlq_url: String) -> Self {
        Self { client, queue_url, dlq_url }
    }

    async fn hide_ten(&self, receipt_handles: &[String], seconds: u32) -> Result<()> {
        let entries = receipt_handles.iter().enumerate().map(|(i, handle)| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(i.to_string())
                .receipt_handle(handle)
                .visibility_timeout(
                    i32::try_from(seconds).map_or(MAX_HIDDEN_SECONDS, |s| s.min(MAX_HIDDEN_SECONDS)),
                )
                .build()
        });
        let entries = entries.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| garbled(HIDE, &e))?;
        let asked = self.client.change_message_visibility_batch().queue_url(&self.queue_url);
        let answer = call(HIDE, asked.set_entries(Some(entries)).send()).await?;
        first_failure(HIDE, answer.failed.iter().filter(|entry| !is_somebody_elses(entry)))
    }

    async fn delete_ten(&self, receipt_handles: &[String]) -> Result<()> {
        let entries = receipt_handles.iter().enumerate().map(|(i, handle)| {
            DeleteMessageBatchRequestEntry::builder().id(i.to_string()).receipt_handle(handle).build()
        });
        let entries = entries.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| garbled(DELETE, &e))?;
        let asked = self.client.delete_message_batch().queue_url(&self.queue_url);
        let answer = call(DELETE, asked.set_entries(Some(entries)).send()).await?;
        first_failure(DELETE, answer.failed.iter().filter(|entry| !is_somebody_elses(entry)))
    }

    async fn park_batch(&self, messages: &[Parked]) -> Result<()> {
        let entries = messages.iter().enumerate().map(|(i, message)| {
            let attributes = message
                .attributes
                .iter()
                .filter_map(|(name, value)| Some(((*name).to_owned(), attribute(value)?)));
            SendMessageBatchRequestEntry::builder()
                .id(i.to_string())
                .message_group_id(&message.group_id)
                .message_deduplication_id(&message.message_id)
                .message_body(&message.body)
                .set_message_attributes(Some(attributes.collect()))
                .build()
        });
        let entries = entries.collect::<std::result::Result<Vec<_>, _>>().map_err(|e| garbled(PARK, &e))?;
        let asked = self.client.send_message_batch().queue_url(&self.dlq_url);
        let answer = call(PARK, asked.set_entries(Some(entries)).send()).await?;
        first_failure(PARK, answer.failed.iter())?;
        if answer.successful.len() < messages.len() {
            let told = answer.successful.len();
            return Err(garbled(PARK, &format!("{told} of {} messages were accounted for", messages.len())));
        }
        Ok(())
    }
}

impl Queue for ChunkQueue {
    async fn hide(&self, receipt_handles: &[String], seconds: u32) -> Result<()> {
        let mut outcome = Ok(());
        for ten in receipt_handles.chunks(MAX_ENTRIES) {
            outcome = outcome.and(self.hide_ten(ten, seconds).await);
        }
        outcome
    }

    async fn delete(&self, receipt_handles: &[String]) -> Result<()> {
        let mut outcome = Ok(());
        for ten in receipt_handles.chunks(MAX_ENTRIES) {
            outcome = outcome.and(self.delete_ten(ten).await);
        }
        outcome
    }

    async fn park(&self, messages: &[Parked]) -> Result<()> {
        for batch in batches(messages) {
            self.park_batch(batch).await?;
        }
        Ok(())
    }
}

/// Sends chunks into the queue.
#[derive(Clone, Debug)]
pub struct ChunkSender {
    client: Client,
    queue_url: String,
}

impl ChunkSender {
    /// The queue is FIFO.
    pub fn new(client: Client, queue_url: String) -> Self {
        Self { client, queue_url }
    }

    /// Enqueues a body. Sending the same `deduplication_id` again within five minutes adds no second message.
    ///
    /// # Errors
    /// The message may have been enqueued where the failure's outcome is unknown; sending it again is safe.
    pub async fn send(
        &self,
        group_id: &str,
        deduplication_id: &str,
        body: String,
        traceparent: Option<String>,
    ) -> Result<()> {
        let trace = traceparent.as_deref().and_then(attribute);
        let asked = self
            .client
            .send_message()
            .queue_url(&self.queue_url)
            .message_group_id(group_id)
            .message_deduplication_id(deduplication_id)
            .set_message_attributes(trace.map(|value| [(TRACEPARENT.to_owned(), value)].into()))
            .message_body(body);
        call("SendMessage", asked.send()).await.map(drop)
    }
}

/// All attributes of a queue, by their names.
///
/// # Errors
/// Those of GetQueueAttributes.
pub async fn attributes(client: &Client, queue_url: &str) -> Result<BTreeMap<String, String>> {
    let asked = client.get_queue_attributes().queue_url(queue_url).attribute_names(QueueAttributeName::All);
    let told = call("GetQueueAttributes", asked.send()).await?.attributes.unwrap_or_default();
    Ok(told.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect())
}

/// How many messages a queue holds, by SQS's own approximation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Depth {
    /// Ready to be received.
    pub visible: usize,
    /// Received and not deleted yet.
    pub in_flight: usize,
    /// Not ready yet.
    #[serde(skip)]
    pub delayed: usize,
}

impl Depth {
    /// From a queue's [`attributes`].
    pub fn of(attributes: &BTreeMap<String, String>) -> Self {
        let number = |state: &str| {
            let name = format!("ApproximateNumberOfMessages{state}");
            attributes.get(&name).and_then(|n| n.parse().ok()).unwrap_or_default()
        };
        Self { visible: number(""), in_flight: number("NotVisible"), delayed: number("Delayed") }
    }

    /// In any state.
    pub fn total(self) -> usize {
        self.visible + self.in_flight + self.delayed
    }
}

/// Cuts the messages, in order, into batches that one call takes. A message that is too large by itself gets a
/// call of its own, for SQS to refuse.
fn batches(messages: &[Parked]) -> impl Iterator<Item = &[Parked]> {
    let mut rest = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(MAX_ENTRIES).take_while(|message| {
            bytes += size(message);
            bytes <= MAX_BATCH_BYTES
        });
        let count = fitting.count().max(1).min(rest.len());
        let (batch, behind) = rest.split_at(count);
        rest = behind;
        (!batch.is_empty()).then_some(batch)
    })
}

/// What SQS counts: the body, and of each attribute its name, type and value.
fn size(message: &Parked) -> usize {
    let attribute = |(name, value): &(&str, String)| name.len() + "String".len() + value.len();
    message.body.len() + message.attributes.iter().map(attribute).sum::<usize>()
}

/// A String attribute, within what SQS accepts: not empty, and no character that XML 1.0 forbids.
fn attribute(value: &str) -> Option<MessageAttributeValue> {
    let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..);
    let text: String = value
        .chars()
        .take(MAX_ATTRIBUTE_CHARS)
        .map(|c| if legal(c) { c } else { char::REPLACEMENT_CHARACTER })
        .collect();
    if text.is_empty() {
        return None;
    }
    MessageAttributeValue::builder().data_type("String").string_value(text).build().ok()
}

/// The delivery is over (it expired, or the message was deleted): whoever has the message now decides. Older
/// endpoints answer with InvalidParameterValue for the handle.
fn is_somebody_elses(entry: &BatchResultErrorEntry) -> bool {
    match entry.code().rsplit('.').next() {
        Some("MessageNotInflight" | "ReceiptHandleIsInvalid") => true,
        Some("InvalidParameterValue") => entry.message().is_some_and(|m| m.contains("ReceiptHandle")),
        _ => false,
    }
}

fn first_failure<'a>(
    operation: &str,
    mut failed: impl Iterator<Item = &'a BatchResultErrorEntry>,
) -> Result<()> {
    match failed.next() {
        Some(entry) => Err(of_entry(operation, entry.sender_fault(), entry.code(), entry.message())),
        None => Ok(()),
    }
}

fn garbled(operation: &str, error: &impl ToString) -> ServiceFailure {
    ServiceFailure::Garbled { operation: operation.into(), detail: error.to_string() }
}

#[cfg(test)]
mod tests;
