//! The polling loops, and the batches under way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName};
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::disturb::{Disturbance, Disturber, Duplicate};
use super::event::{group_of, sqs_event};
use super::settle::{Verdict, settle};
use super::stats::MappingStats;
use crate::lock::lock;
use crate::runtime_api::{Function, InvokeError};

/// The settings of the mapping, with Lambda's names.
#[derive(Clone, Copy, Debug)]
pub struct MappingConfig {
    /// Most records per batch; a FIFO mapping allows 1 to 10.
    pub batch_size: u8,
    /// Batches at the same time. Lambda starts with 5 and adds up to 300 a minute; this stays as set.
    pub concurrency: usize,
    /// How long a receive waits for messages, at most 20 s. A stop takes as long.
    pub wait: Duration,
}

impl Default for MappingConfig {
    fn default() -> Self {
        Self { batch_size: 10, concurrency: 5, wait: Duration::from_secs(20) }
    }
}

/// Receives at the same time; batches under way may be more. Lambda starts a mapping with five, and idle long polls cost an emulator
/// more than they cost SQS.
const POLLERS_MAX: usize = 5;

/// After a receive that failed.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(200);

/// A running event source mapping.
pub struct Mapping {
    shared: Arc<Shared>,
    stop: watch::Sender<Option<Stop>>,
    pollers: Vec<JoinHandle<()>>,
}

struct Shared {
    sqs: aws_sdk_sqs::Client,
    queue_url: String,
    queue_arn: String,
    function: Function,
    config: MappingConfig,
    /// One permit for each batch that may be under way.
    batches: Arc<Semaphore>,
    stats: Mutex<MappingStats>,
    disturber: Mutex<Option<Disturber>>,
}

impl Mapping {
    /// Starts polling `queue_url` for `function`.
    pub fn start(
        sqs: aws_sdk_sqs::Client,
        queue_url: &str,
        queue_arn: &str,
        function: Function,
        config: MappingConfig,
    ) -> Self {
        let concurrency = config.concurrency.max(1);
        let shared = Arc::new(Shared {
            sqs,
            queue_url: queue_url.to_owned(),
            queue_arn: queue_arn.to_owned(),
            function,
            config: MappingConfig { batch_size: config.batch_size.clamp(1, 10), concurrency, ..config },
            batches: Arc::new(Semaphore::new(concurrency)),
            stats: Mutex::default(),
            disturber: Mutex::default(),
        });
        let (stop, stopped) = watch::channel(None);
        let poller = |_| tokio::spawn(Arc::clone(&shared).poll(stopped.clone()));
        let pollers = (0..concurrency.min(POLLERS_MAX)).map(poller).collect();
        Self { shared, stop, pollers }
    }

    /// What it has done so far.
    pub fn stats(&self) -> MappingStats {
        lock(&self.shared.stats).clone()
    }

    /// From now on `disturber` chooses what happens to each delivery; `None` ends that.
    pub fn disturb(&self, disturber: Option<Disturber>) {
        *lock(&self.shared.disturber) = disturber;
    }

    /// Stops polling, and returns when the receives under way have come back and their batches are settled. A receive that is
    /// given up instead would still take its messages, and hide them for the visibility timeout.
    pub async fn stop(self) {
        self.end(Stop::Settle).await;
    }

    /// Gives up the receives under way, and returns when the batches under way are settled. For the end of the queue itself.
    pub async fn abandon(self) {
        self.end(Stop::Abandon).await;
    }

    async fn end(mut self, how: Stop) {
        self.stop.send_replace(Some(how));
        for poller in std::mem::take(&mut self.pollers) {
            let _ = poller.await;
        }
        let all = u32::try_from(self.shared.config.concurrency).unwrap_or(u32::MAX);
        let _ = self.shared.batches.acquire_many(all).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Settle,
    Abandon,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.pollers.iter().for_each(JoinHandle::abort);
    }
}

impl Shared {
    async fn poll(self: Arc<Self>, mut stop: watch::Receiver<Option<Stop>>) {
        while stop.borrow().is_none() {
            let receive_when_free =
                async { (Arc::clone(&self.batches).acquire_owned().await, self.receive().await) };
            let (permit, messages) = tokio::select! {
                received = receive_when_free => received,
                _ = stop.wait_for(|stop| *stop == Some(Stop::Abandon)) => return,
            };
            if !messages.is_empty() {
                let shared = Arc::clone(&self);
                tokio::spawn(async move {
                    shared.deliver(&messages).await;
                    drop(permit);
                });
            }
        }
    }

    async fn receive(&self) -> Vec<Message> {
        let receive = self.sqs.receive_message().queue_url(&self.queue_url);
        let receive = receive.max_number_of_messages(self.config.batch_size.into());
        let receive =
            receive.wait_time_seconds(i32::try_from(self.config.wait.as_secs().min(20)).unwrap_or(20));
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        match receive.message_attribute_names("All").send().await {
            Ok(received) => received.messages.unwrap_or_default(),
            Err(error) => {
                lock(&self.stats).receive_failures += 1;
                tracing::warn!(error = %DisplayErrorContext(error), "ReceiveMessage failed");
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                Vec::new()
            }
        }
    }

    /// Takes one batch through the function, and again where a disturbance says so.
    async fn deliver(&self, messages: &[Message]) {
        let disturbance = self.next_disturbance();
        lock(&self.stats).batches += 1;
        tokio::time::sleep(disturbance.delay).await;
        let event = Bytes::from(sqs_event(messages, &self.queue_arn).to_string());
        let keep = disturbance.drop_deletes;
        match disturbance.duplicate {
            Duplicate::No => self.attempt(messages, event, keep).await,
            Duplicate::AtOnce => {
                tokio::join!(
                    self.attempt(messages, event.clone(), keep),
                    self.attempt(messages, event, keep)
                );
            }
            Duplicate::AfterAnswer => {
                self.attempt(messages, event.clone(), keep).await;
                self.attempt(messages, event, keep).await;
            }
        }
    }

    fn next_disturbance(&self) -> Disturbance {
        let disturber = lock(&self.disturber).clone();
        let disturbance = disturber.map(|next| next()).unwrap_or_default();
        if disturbance != Disturbance::default() {
            lock(&self.stats).disturbed += 1;
        }
        disturbance
    }

    /// One invocation, and the deletes that its answer allows.
    async fn attempt(&self, messages: &[Message], event: Bytes, drop_deletes: bool) {
        let answer = self.function.invoke(event).await;
        if answer == Err(InvokeError::ShutDown) {
            return;
        }
        let ids: Vec<&str> =
            messages.iter().map(|message| message.message_id.as_deref().unwrap_or_default()).collect();
        let settlement = settle(&ids, &answer);
        let whole_batch_failed = matches!(settlement.verdict, Verdict::BadAnswer(_) | Verdict::NoAnswer(_));
        if whole_batch_failed {
            tracing::warn!(records = ids.len(), verdict = %settlement.verdict, "batch failed");
        }
        self.count(messages, &settlement.to_delete, whole_batch_failed);
        let to_delete = settlement.to_delete.iter().map(|position| &messages[*position]);
        if !drop_deletes && !settlement.to_delete.is_empty() {
            self.delete(to_delete).await;
        }
    }

    fn count(&self, messages: &[Message], deleted: &[usize], whole_batch_failed: bool) {
        let mut invoked: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (position, message) in messages.iter().enumerate() {
            let (records, kept) = invoked.entry(group_of(message)).or_default();
            *records += 1;
            *kept += u64::from(deleted.binary_search(&position).is_err());
        }
        let mut stats = lock(&self.stats);
        stats.invocations += 1;
        stats.whole_batch_failures += u64::from(whole_batch_failed);
        for (group, (records, kept)) in invoked {
            let group = stats.groups.entry(group.to_owned()).or_default();
            group.invocations += 1;
            group.records += records;
            group.failed += kept;
            group.deleted += records - kept;
        }
    }

    async fn delete(&self, messages: impl Iterator<Item = &Message>) {
        let entries = messages.enumerate().filter_map(|(position, message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(position.to_string());
            entry.receipt_handle(message.receipt_handle.clone()?).build().ok()
        });
        let entries: Vec<_> = entries.collect();
        let count = entries.len() as u64;
        let delete = self.sqs.delete_message_batch().queue_url(&self.queue_url).set_entries(Some(entries));
        let refused = match delete.send().await {
            Ok(answer) => {
                for failure in &answer.failed {
                    tracing::warn!(code = %failure.code, message = failure.message(), "DeleteMessageBatch refused one");
                }
                answer.failed.len() as u64
            }
            Err(error) => {
                tracing::warn!(error = %DisplayErrorContext(error), "DeleteMessageBatch failed");
                count
            }
        };
        lock(&self.stats).delete_failures += refused;
    }
}
