//! An SQS FIFO queue with its dead-letter queue (aws-facts 5): group lock, visibility in whole seconds, receive
//! counts, deduplication, redrive policy.

use std::collections::{BTreeMap, BTreeSet};

use ingest::message::Record;
use media::time::EpochMs;

/// How long a deduplication id is remembered.
const DEDUPLICATION_MS: u64 = 5 * 60_000;

/// A queue's attributes.
#[derive(Clone, Copy, Debug)]
pub struct QueueConfig {
    /// `VisibilityTimeout`.
    pub visibility_ms: u64,
    /// `maxReceiveCount` of the redrive policy.
    pub max_receive_count: u32,
}

/// A message in the queue.
#[derive(Clone, Debug)]
struct Message {
    id: String,
    group: String,
    body: String,
    sent_at_ms: u64,
    receives: u32,
    /// In flight until then.
    hidden_until_ms: u64,
    receipt_handle: String,
    attributes: BTreeMap<String, String>,
}

/// A message in the dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// The id that the message had in the queue.
    pub original_id: String,
    /// Its group.
    pub group: String,
    /// Its body.
    pub body: String,
    /// Why: the attributes that parking adds; `reason` is `maxReceiveCount` where the redrive policy moved it.
    pub attributes: BTreeMap<String, String>,
    /// When it came.
    pub since_ms: u64,
}

impl Dead {
    /// Whether a service's failure brought it here, so that bringing it back may help.
    pub fn is_for_redrive(&self) -> bool {
        let is = |name: &str, values: &[&str]| {
            self.attributes.get(name).is_some_and(|value| values.contains(&value.as_str()))
        };
        is("class", &["passing", "lasting"]) || is("reason", &["maxReceiveCount"])
    }
}

/// The queue and its dead-letter queue.
#[derive(Debug)]
pub struct Queue {
    config: QueueConfig,
    /// By sequence number.
    messages: BTreeMap<u128, Message>,
    /// In the order of their coming.
    pub dead: Vec<Dead>,
    sent: u64,
    received: u64,
    deduplication: BTreeMap<(String, String), u64>,
    dead_deduplication: BTreeMap<String, u64>,
}

impl Queue {
    /// An empty queue.
    pub fn new(config: QueueConfig) -> Self {
        Self {
            config,
            messages: BTreeMap::new(),
            dead: Vec::new(),
            sent: 0,
            received: 0,
            deduplication: BTreeMap::new(),
            dead_deduplication: BTreeMap::new(),
        }
    }

    /// Whether no message is left, in flight or not.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// `SendMessage`; returns the message's id, or `None` for a duplicate.
    pub fn send(&mut self, group: &str, deduplication: &str, body: String, now_ms: u64) -> Option<String> {
        let key = (group.to_owned(), deduplication.to_owned());
        let known = self.deduplication.get(&key).is_some_and(|at| at + DEDUPLICATION_MS > now_ms);
        if known {
            return None;
        }
        self.deduplication.insert(key, now_ms);
        self.sent += 1;
        let id = format!("m{}", self.sent);
        let message = Message {
            id: id.clone(),
            group: group.to_owned(),
            body,
            sent_at_ms: now_ms,
            receives: 0,
            hidden_until_ms: 0,
            receipt_handle: String::new(),
            attributes: BTreeMap::new(),
        };
        self.messages.insert(u128::from(self.sent) << 64, message);
        Some(id)
    }

    /// `ReceiveMessage`: up to `max` messages, as many as possible of each group in turn, the group of the
    /// `first`-th oldest message first. A group with a message in flight gives none.
    pub fn receive(&mut self, max: usize, groups: usize, first: usize, now_ms: u64) -> Vec<Record> {
        self.expire(now_ms);
        let order = self.free_groups(now_ms);
        let mut records = Vec::new();
        for at in 0..order.len().min(groups) {
            let group = &order[(first + at) % order.len()];
            let of_group = self.messages.iter_mut().filter(|(_, m)| m.group == *group);
            for (sequence, message) in of_group.take(max - records.len()) {
                self.received += 1;
                message.receives += 1;
                message.hidden_until_ms = now_ms + self.config.visibility_ms;
                message.receipt_handle = format!("{}@{}", message.id, self.received);
                records.push(record(*sequence, message));
            }
            if records.len() == max {
                break;
            }
        }
        records
    }

    /// The redrive policy: what was received too often moves when it would be received again.
    fn expire(&mut self, now_ms: u64) {
        let free: BTreeSet<String> = self.free_groups(now_ms).into_iter().collect();
        let spent: Vec<u128> = self
            .messages
            .iter()
            .filter(|(_, m)| free.contains(&m.group) && m.receives >= self.config.max_receive_count)
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in spent {
            if let Some(m) = self.messages.remove(&sequence) {
                let attributes = BTreeMap::from([("reason".to_owned(), "maxReceiveCount".to_owned())]);
                self.dead.push(Dead {
                    original_id: m.id,
                    group: m.group,
                    body: m.body,
                    attributes,
                    since_ms: now_ms,
                });
            }
        }
    }

    /// Groups with messages and none of them in flight, the one with the oldest message first.
    fn free_groups(&self, now_ms: u64) -> Vec<String> {
        let locked: BTreeSet<&str> =
            self.messages.values().filter(|m| m.hidden_until_ms > now_ms).map(|m| m.group.as_str()).collect();
        let mut groups: Vec<String> = Vec::new();
        for message in self.messages.values() {
            if !locked.contains(message.group.as_str()) && !groups.contains(&message.group) {
                groups.push(message.group.clone());
            }
        }
        groups
    }

    /// Whether a receive would give something.
    pub fn has_visible(&self, now_ms: u64) -> bool {
        !self.free_groups(now_ms).is_empty()
    }

    /// The next moment at which a message in flight becomes visible.
    pub fn next_visible_ms(&self, now_ms: u64) -> Option<u64> {
        self.messages.values().map(|m| m.hidden_until_ms).filter(|at| *at > now_ms).min()
    }

    /// `DeleteMessage`. An outdated receipt handle deletes nothing.
    pub fn delete(&mut self, receipt_handle: &str, now_ms: u64) -> bool {
        let found = self.in_flight(receipt_handle, now_ms);
        found.and_then(|sequence| self.messages.remove(&sequence)).is_some()
    }

    /// `ChangeMessageVisibility`. An outdated receipt handle changes nothing.
    pub fn hide(&mut self, receipt_handle: &str, seconds: u32, now_ms: u64) {
        if let Some(sequence) = self.in_flight(receipt_handle, now_ms)
            && let Some(message) = self.messages.get_mut(&sequence)
        {
            message.hidden_until_ms = now_ms + u64::from(seconds) * 1000;
        }
    }

    fn in_flight(&self, receipt_handle: &str, now_ms: u64) -> Option<u128> {
        let held = |m: &&Message| m.receipt_handle == receipt_handle && m.hidden_until_ms > now_ms;
        self.messages.iter().find(|(_, m)| held(m)).map(|(sequence, _)| *sequence)
    }

    /// Puts a copy into the dead-letter queue, once within five minutes.
    pub fn park(&mut self, dead: Dead) {
        let known = self.dead_deduplication.get(&dead.original_id);
        if known.is_none_or(|at| at + DEDUPLICATION_MS <= dead.since_ms) {
            self.dead_deduplication.insert(dead.original_id.clone(), dead.since_ms);
            self.dead.push(dead);
        }
    }

    /// Moves one message of the dead-letter queue back, as a new message.
    pub fn redrive(&mut self, dead: Dead, now_ms: u64) {
        let deduplication = format!("redrive-{}-{}", dead.original_id, self.sent);
        self.send(&dead.group, &deduplication, dead.body, now_ms);
    }
}

fn record(sequence: u128, message: &Message) -> Record {
    Record {
        message_id: message.id.clone(),
        receipt_handle: message.receipt_handle.clone(),
        body: message.body.clone(),
        group_id: message.group.clone(),
        sequence_number: sequence,
        sent_at: EpochMs(message.sent_at_ms),
        receive_count: message.receives,
        attributes: message.attributes.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(QueueConfig { visibility_ms: 60_000, max_receive_count: 2 })
    }

    fn ids(records: &[Record]) -> Vec<&str> {
        records.iter().map(|r| r.message_id.as_str()).collect()
    }

    #[test]
    fn a_group_in_flight_gives_nothing_and_others_go_on() {
        let mut queue = queue();
        queue.send("a", "1", "".into(), 0);
        let first = queue.receive(10, 9, 0, 0);
        queue.send("a", "2", "".into(), 1);
        queue.send("b", "1", "".into(), 1);
        assert_eq!(ids(&queue.receive(10, 9, 0, 1)), ["m3"]);
        assert!(queue.delete(&first[0].receipt_handle, 2));
        assert_eq!(ids(&queue.receive(10, 9, 0, 2)), ["m2"]);
    }

    #[test]
    fn hidden_messages_come_back_in_order_with_those_sent_meanwhile() {
        let mut queue = queue();
        queue.send("a", "1", "".into(), 0);
        let first = queue.receive(10, 9, 0, 0);
        queue.send("a", "2", "".into(), 10);
        queue.hide(&first[0].receipt_handle, 2, 100);
        assert!(queue.receive(10, 9, 0, 2_099).is_empty());
        assert_eq!(ids(&queue.receive(10, 9, 0, 2_100)), ["m1", "m2"]);
    }

    #[test]
    fn a_message_received_too_often_moves_and_an_old_handle_deletes_nothing() {
        let mut queue = queue();
        queue.send("a", "1", "".into(), 0);
        assert_eq!(queue.send("a", "1", "".into(), 299_999), None);
        let first = queue.receive(10, 9, 0, 0);
        assert_eq!(queue.receive(10, 9, 0, 60_000).len(), 1);
        assert!(!queue.delete(&first[0].receipt_handle, 60_001));
        assert!(queue.receive(10, 9, 0, 120_000).is_empty());
        assert_eq!(queue.dead[0].attributes["reason"], "maxReceiveCount");
        assert!(queue.is_empty());
    }
}
