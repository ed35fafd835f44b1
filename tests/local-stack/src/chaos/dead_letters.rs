//! All of the dead-letter queue. A FIFO queue shows no more of a group than its first ten messages until those are deleted, so
//! whoever wants to see all must take them out, and put back what shall stay.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName as System,
    SendMessageBatchRequestEntry,
};
use serde_json::Value;

use crate::resources::ResourceError;

/// Empty receives in a row that are taken for the end.
const EMPTY_RECEIVES: u32 = 2;
/// Entries of one batch call.
const ENTRIES_MAX: usize = 10;

/// A message taken out of the DLQ.
#[derive(Clone, Debug, PartialEq)]
pub struct Parked {
    /// `MessageGroupId`: the session.
    pub group_id: String,
    /// The deduplication id it had there.
    pub deduplication_id: String,
    /// Its id there, which no other message ever has.
    pub message_id: String,
    /// The body.
    pub body: String,
    /// All message attributes.
    pub attributes: HashMap<String, MessageAttributeValue>,
}

impl Parked {
    fn of(message: Message) -> Option<(Self, String)> {
        let mut system = message.attributes.unwrap_or_default();
        let parked = Self {
            group_id: system.remove(&System::MessageGroupId)?,
            deduplication_id: system.remove(&System::MessageDeduplicationId).unwrap_or_default(),
            message_id: message.message_id?,
            body: message.body.unwrap_or_default(),
            attributes: message.message_attributes.unwrap_or_default(),
        };
        Some((parked, message.receipt_handle?))
    }

    /// Why it was parked; a message without a reason was moved by the queue's own redrive policy.
    pub fn reason(&self) -> &str {
        let reason = self.attributes.get("reason").and_then(|value| value.string_value());
        reason.unwrap_or("MOVED_BY_QUEUE")
    }

    /// chunkIndex and timestamp of its body.
    pub fn chunk(&self) -> Option<(u64, u64)> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        Some((body.get("chunkIndex")?.as_u64()?, body.get("timestamp")?.as_u64()?))
    }
}

/// How many messages were parked for each reason.
pub fn reasons(parked: &[Parked]) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    parked.iter().for_each(|message| *reasons.entry(message.reason().to_owned()).or_default() += 1);
    reasons
}

/// Takes all messages out of a FIFO queue, in the order of each group.
///
/// # Errors
/// [`ResourceError::Service`].
pub async fn take_all(sqs: &aws_sdk_sqs::Client, url: &str) -> Result<Vec<Parked>, ResourceError> {
    let mut taken = Vec::new();
    let mut empty = 0;
    while empty < EMPTY_RECEIVES {
        let receive = sqs.receive_message().queue_url(url).max_number_of_messages(ENTRIES_MAX as i32);
        let receive = receive.wait_time_seconds(0).visibility_timeout(60);
        let receive = receive.message_system_attribute_names(System::All).message_attribute_names("All");
        let received = receive.send().await.map_err(|error| failed("ReceiveMessage of", url, &error))?;
        let messages = received.messages.unwrap_or_default();
        empty = if messages.is_empty() { empty + 1 } else { 0 };
        let (parked, receipts): (Vec<_>, Vec<_>) = messages.into_iter().filter_map(Parked::of).unzip();
        delete(sqs, url, &receipts).await?;
        taken.extend(parked);
    }
    Ok(taken)
}

async fn delete(sqs: &aws_sdk_sqs::Client, url: &str, receipts: &[String]) -> Result<(), ResourceError> {
    const DELETE: &str = "DeleteMessageBatch of";
    if receipts.is_empty() {
        return Ok(());
    }
    let entries = receipts.iter().enumerate().map(|(i, receipt)| {
        DeleteMessageBatchRequestEntry::builder().id(i.to_string()).receipt_handle(receipt).build()
    });
    let entries: Result<Vec<_>, _> = entries.collect();
    let entries = entries.map_err(|error| failed(DELETE, url, &error))?;
    let answer = sqs.delete_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
    match answer.map_err(|error| failed(DELETE, url, &error))?.failed.first() {
        Some(entry) => Err(refused(DELETE, url, entry.message().unwrap_or(entry.code()))),
        None => Ok(()),
    }
}

/// Sends messages into a FIFO queue, in order. `name` gives each its deduplication id.
///
/// # Errors
/// [`ResourceError::Service`]; those before the failed ones are sent.
pub async fn send_all(
    sqs: &aws_sdk_sqs::Client,
    url: &str,
    messages: &[Parked],
    name: impl Fn(&Parked) -> String,
) -> Result<(), ResourceError> {
    const SEND: &str = "SendMessageBatch to";
    for ten in messages.chunks(ENTRIES_MAX) {
        let entries = ten.iter().enumerate().map(|(i, message)| {
            let entry = SendMessageBatchRequestEntry::builder().id(i.to_string()).message_body(&message.body);
            let entry = entry.message_group_id(&message.group_id).message_deduplication_id(name(message));
            entry.set_message_attributes(Some(message.attributes.clone())).build()
        });
        let entries: Result<Vec<_>, _> = entries.collect();
        let entries = entries.map_err(|error| failed(SEND, url, &error))?;
        let answer = sqs.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
        if let Some(entry) = answer.map_err(|error| failed(SEND, url, &error))?.failed.first() {
            return Err(refused(SEND, url, entry.message().unwrap_or(entry.code())));
        }
    }
    Ok(())
}

fn failed(action: &'static str, name: &str, error: &impl std::error::Error) -> ResourceError {
    refused(action, name, &DisplayErrorContext(error).to_string())
}

fn refused(action: &'static str, name: &str, reason: &str) -> ResourceError {
    ResourceError::Service { action, name: name.to_owned(), reason: reason.to_owned() }
}
