//! The dead-letter queue: going through it, and what becomes of its messages.
//!
//! SQS gives the heads of groups and no more of a group while some of it is in flight. So whoever looks for certain
//! messages holds the others until the end, and then makes them visible again.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use aws::failure::{call, of_entry};
use aws::queue::ChunkQueue;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageSystemAttributeName, SendMessageBatchRequestEntry,
};
use ingest::failure::ServiceFailure;
use serde_json::Value;
use tokio::time::Instant;
use writer::ports::Queue as _;

use super::message::{Attributes, DlqMessage};
use super::select::{Goal, Selection};
use crate::error::{Result, usage};
use crate::stop::Stop;
use crate::world::World;

/// How long a received message stays hidden. If this program is killed, so long does it take until it is seen again.
const HOLD_SECONDS: u32 = 60;
/// When held messages are hidden again.
const RENEW_AFTER: Duration = Duration::from_secs(25);
/// Seconds a receive waits: one that does not wait may overlook messages.
const WAIT_SECONDS: i32 = 1;
/// Empty receives in a row that are taken for the end.
const EMPTY_RECEIVES: u32 = 2;
/// The same where messages are known to be there: somebody else may have them in hand for a moment.
const DOUBTFUL_RECEIVES: u32 = 6;
/// Entries of one batch call.
const MAX_ENTRIES: usize = 10;

const DELETE: &str = "DeleteMessageBatch";
const SEND: &str = "SendMessageBatch";

/// The dead-letter queue, while somebody goes through it.
pub struct Dlq<'w> {
    world: &'w World,
    queue: ChunkQueue,
    held: Vec<String>,
    renewed_at: Instant,
    goal: Goal,
}

impl<'w> Dlq<'w> {
    /// Goes through the DLQ, receive by receive, until the selection's goal is reached, nothing more comes, `stop` is asked
    /// for, or `act` breaks. What the selection does not choose is held; the rest of each receive, in order within each
    /// group, is given to `act`. Whatever happened, all that is held is visible again at the end. Returns what is left of
    /// the goal.
    ///
    /// # Errors
    /// Those of SQS, and those of `act`.
    pub async fn each(
        world: &'w World,
        selection: Selection,
        stop: &Stop,
        mut act: impl AsyncFnMut(&mut Self, Vec<DlqMessage>) -> Result<ControlFlow<()>>,
    ) -> Result<Goal> {
        let dlq_url = world.settings.dlq_url.clone();
        let queue = ChunkQueue::new(world.sqs.clone(), dlq_url, String::new());
        let Selection { filter, before, goal } = selection;
        let mut dlq = Self { world, queue, held: Vec::new(), renewed_at: Instant::now(), goal };
        let chosen = |m: &DlqMessage| m.sent_at < before && filter.chooses(&m.group_id, m.reason());
        let mut go = async || -> Result<()> {
            while !stop.asked() {
                let received = dlq.receive().await?;
                if received.is_empty() {
                    break;
                }
                let (chosen, others): (Vec<DlqMessage>, Vec<_>) = received.into_iter().partition(chosen);
                others.iter().for_each(|message| dlq.hold(message));
                if act(&mut dlq, chosen).await?.is_break() {
                    break;
                }
            }
            Ok(())
        };
        let outcome = go().await;
        dlq.queue.hide(&dlq.held, 0).await?;
        outcome.map(|()| dlq.goal)
    }

    /// The next messages; none means that the goal is reached, or that nothing more can be.
    async fn receive(&mut self) -> Result<Vec<DlqMessage>> {
        if self.renewed_at.elapsed() >= RENEW_AFTER {
            self.renewed_at = Instant::now();
            self.queue.hide(&self.held, HOLD_SECONDS).await?;
        }
        if self.goal.is_reached() {
            return Ok(Vec::new());
        }
        let receives = if self.goal.misses_some() { DOUBTFUL_RECEIVES } else { EMPTY_RECEIVES };
        for _ in 0..receives {
            let asked = self.world.sqs.receive_message().queue_url(&self.world.settings.dlq_url);
            let asked = asked.max_number_of_messages(MAX_ENTRIES as i32).wait_time_seconds(WAIT_SECONDS);
            let asked = asked.visibility_timeout(HOLD_SECONDS as i32).message_attribute_names("All");
            let asked = asked.message_system_attribute_names(MessageSystemAttributeName::All);
            let received = call("ReceiveMessage", asked.send()).await?.messages.unwrap_or_default();
            let messages: Vec<DlqMessage> = received.into_iter().filter_map(DlqMessage::from_sqs).collect();
            if !messages.is_empty() {
                messages.iter().for_each(|message| self.goal.meet(message.original_id()));
                return Ok(messages);
            }
        }
        Ok(Vec::new())
    }

    /// Keeps a message hidden until the end.
    pub fn hold(&mut self, message: &DlqMessage) {
        self.held.push(message.receipt_handle.clone());
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
            let asked = self.world.sqs.delete_message_batch().queue_url(&self.world.settings.dlq_url);
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
    const HINT: &str = "the stack's outputs have both URLs; are they exchanged? `kvsw doctor` compares them";
    let arn = |queue: &BTreeMap<String, String>| queue.get("QueueArn").cloned().unwrap_or_default();
    let (queue_arn, dlq_arn) = (arn(queue), arn(dlq));
    let policy = queue.get("RedrivePolicy").and_then(|policy| serde_json::from_str::<Value>(policy).ok());
    let target = policy.as_ref().and_then(|policy| policy["deadLetterTargetArn"].as_str());
    let message = match target {
        Some(target) if target == dlq_arn && target != queue_arn => return Ok(()),
        Some(target) => {
            format!("DLQ_URL names {dlq_arn}, but the dead-letter queue of {queue_arn} is {target}")
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
