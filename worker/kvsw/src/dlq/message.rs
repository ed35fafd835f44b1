//! A message as it lies in the DLQ.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use media::time::EpochMs;
use serde_json::Value;

use super::plan::Known;

/// The reason shown for a message that carries none: the queue's own redrive policy moved it.
pub const MOVED_BY_QUEUE: &str = "MOVED_BY_QUEUE";

/// Message attributes that parking adds; they speak of one parking and do not travel further.
const OF_PARKING: [&str; 7] =
    ["reason", "class", "message", "attempts", "firstFailureAt", "workerVersion", "chunkRange"];

/// Between the original message's id and the run that turned the message over (`dlq export --all`).
const TURNED: char = '~';

/// Message attributes by name.
pub type Attributes = HashMap<String, MessageAttributeValue>;

/// A received message of the DLQ.
#[derive(Clone, Debug, PartialEq)]
pub struct DlqMessage {
    /// Its own id.
    pub message_id: String,
    /// Of this delivery.
    pub receipt_handle: String,
    /// The body, as the speaker's message was enqueued.
    pub body: String,
    /// `MessageGroupId`.
    pub group_id: String,
    /// `MessageDeduplicationId`.
    pub deduplication_id: String,
    /// When it was put into the DLQ.
    pub sent_at: EpochMs,
    /// All message attributes, as SQS holds them.
    pub attributes: Attributes,
}

impl DlqMessage {
    /// From a received message; `None` where SQS left out what every FIFO message has.
    pub fn from_sqs(message: Message) -> Option<Self> {
        let mut system = message.attributes.unwrap_or_default();
        Some(Self {
            message_id: message.message_id?,
            receipt_handle: message.receipt_handle?,
            body: message.body.unwrap_or_default(),
            group_id: system.remove(&System::MessageGroupId)?,
            deduplication_id: system.remove(&System::MessageDeduplicationId).unwrap_or_default(),
            sent_at: EpochMs(system.remove(&System::SentTimestamp).and_then(|t| t.parse().ok()).unwrap_or(0)),
            attributes: message.message_attributes.unwrap_or_default(),
        })
    }

    /// The id under which the message was parked and noted: parking makes it the copy's deduplication id.
    pub fn original_id(&self) -> &str {
        let id = self.deduplication_id.split(TURNED).next().unwrap_or_default();
        if id.is_empty() { &self.message_id } else { id }
    }

    /// The deduplication id of a copy at the end of its own group, made by `run`.
    pub fn turned_id(&self, run: &str) -> String {
        format!("{}{TURNED}{run}", self.original_id())
    }

    /// Whether `run` made it.
    pub fn was_turned_by(&self, run: &str) -> bool {
        self.deduplication_id.rsplit_once(TURNED).is_some_and(|(_, by)| by == run)
    }

    /// A string attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name)?.string_value()
    }

    /// Why it was parked.
    pub fn reason(&self) -> &str {
        self.attribute("reason").unwrap_or(MOVED_BY_QUEUE)
    }

    /// The body's chunkIndex, where it has one.
    pub fn chunk_index(&self) -> Option<u64> {
        self.json()?.get("chunkIndex")?.as_u64()
    }

    /// The chunk, where the body tells which one it is.
    pub fn chunk(&self) -> Option<Known> {
        let body = self.json()?;
        Some(Known {
            index: body.get("chunkIndex")?.as_u64()?,
            captured_at: EpochMs(body.get("timestamp")?.as_u64()?),
            connection_id: body.get("connectionId").and_then(Value::as_str).map(str::to_owned),
        })
    }

    /// Whether it only ends the stream: then it leaves no trace.
    pub fn is_end_marker(&self) -> bool {
        self.json().is_some_and(|body| body.get("action").and_then(Value::as_str) == Some("endStream"))
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_str(&self.body).ok()
    }

    /// The attributes that travel on with the message.
    pub fn lasting_attributes(&self) -> Attributes {
        let lasting = self.attributes.iter().filter(|(name, _)| !OF_PARKING.contains(&name.as_str()));
        lasting.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// What is known of the message besides its body, for files.
    pub fn facts(&self) -> Value {
        let attributes: BTreeMap<&str, &str> = self
            .attributes
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.string_value()?)))
            .collect();
        serde_json::json!({
            "messageId": self.message_id,
            "originalMessageId": self.original_id(),
            "messageGroupId": self.group_id,
            "sentAtMs": self.sent_at.0,
            "attributes": attributes,
        })
    }

    /// What SQS counts: the body, and of each attribute its name, type and value.
    pub fn bytes(&self) -> usize {
        let attribute = |(name, value): (&String, &MessageAttributeValue)| {
            name.len() + value.data_type().len() + value.string_value().map_or(0, str::len)
        };
        self.body.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }
}

/// By group, in order within each.
pub fn by_group(messages: Vec<DlqMessage>) -> impl Iterator<Item = Vec<DlqMessage>> {
    let mut groups: BTreeMap<String, Vec<DlqMessage>> = BTreeMap::new();
    messages.into_iter().for_each(|m| groups.entry(m.group_id.clone()).or_default().push(m));
    groups.into_values()
}

/// Cuts messages, in order, into batches that one SendMessageBatch takes: ten entries, 1 MiB together, and no more
/// than `most`.
pub fn batches(messages: &[DlqMessage], most: usize) -> impl Iterator<Item = &[DlqMessage]> {
    const MAX_BYTES: usize = 1_024 * 1_024;
    let most = most.clamp(1, 10);
    let mut rest = messages;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(most).take_while(|message| {
            bytes += message.bytes();
            bytes <= MAX_BYTES
        });
        let count = fitting.count().max(1).min(rest.len());
        let (batch, behind) = rest.split_at(count);
        rest = behind;
        (!batch.is_empty()).then_some(batch)
    })
}

#[cfg(test)]
pub(crate) fn message(id: &str, group_id: &str, body: &str) -> DlqMessage {
    DlqMessage {
        message_id: format!("copy-{id}"),
        receipt_handle: format!("handle-{id}"),
        body: body.into(),
        group_id: group_id.into(),
        deduplication_id: id.into(),
        sent_at: EpochMs(0),
        attributes: HashMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turned_message_keeps_its_name_in_the_index() {
        let mut parked = message("m-1", "owl", "{\"chunkIndex\":7}");
        parked.deduplication_id = parked.turned_id("aa");
        assert!(parked.was_turned_by("aa") && !parked.was_turned_by("bb"));
        assert_eq!(parked.original_id(), "m-1");
        assert_eq!(parked.turned_id("bb"), "m-1~bb", "turned twice, it is still the same message");
        assert_eq!((parked.chunk_index(), parked.reason()), (Some(7), MOVED_BY_QUEUE));
        parked.deduplication_id.clear();
        assert_eq!(parked.original_id(), "copy-m-1");
    }

    #[test]
    fn batches_keep_order_and_fit_into_one_call() {
        let large = "x".repeat(300 * 1_024);
        let messages: Vec<DlqMessage> =
            (0..23).map(|i| message(&i.to_string(), "owl", if i < 5 { &large } else { "{}" })).collect();
        let cut: Vec<usize> = batches(&messages, 10).map(<[_]>::len).collect();
        assert_eq!(cut, [3, 10, 10]);
        let again: Vec<&DlqMessage> = batches(&messages, 10).flatten().collect();
        assert!(again.iter().map(|m| &m.message_id).eq(messages.iter().map(|m| &m.message_id)));
        assert_eq!(batches(&messages[10..], 3).map(<[_]>::len).collect::<Vec<_>>(), [3, 3, 3, 3, 1]);
        assert_eq!(batches(&[message("1", "owl", &"x".repeat(2 << 20))], 10).count(), 1);
    }
}
