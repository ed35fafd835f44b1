//! The story of a batch, generic over its [`ports`]: group, decide, plan, lease, put, commit, answer.
//!
//! [`Writer::handle`] is one invocation. Every record is answered for: what is written, set aside, parked or known as a
//! duplicate is acknowledged; everything else stays in the queue. Sessions do not wait for one another.

mod aside;
mod attempt;
mod config;
mod ended;
pub mod event;
mod hand_back;
mod lease;
mod park;
pub mod ports;
mod session;
mod state;
mod stop;
mod warm;
mod work;
mod writer;

use std::sync::{Mutex, PoisonError};

use futures::future::{Either, join, select};
use futures::stream::{FuturesUnordered, StreamExt as _};
use ingest::batch::{self, Settled};
use ingest::message::Record;
use media::time::EpochMs;

pub use config::Config;
pub use ended::is_after_end;
use ports::{Clock as _, Ports, Queue as _};
use warm::WarmSessions;
use work::SessionWork;
pub use writer::Writer;
use writer::{Delivered, lock};

/// Every short reason for which the writer parks messages, but for those of service failures
/// ([`ingest::failure::ServiceFailure::reason`]).
pub fn reason_codes() -> impl Iterator<Item = &'static str> {
    let refused = ingest::message::Rejection::CODES.into_iter().chain(ingest::fold::Refusal::CODES);
    refused.chain(park::Reason::CODES)
}

/// The answer to a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Message ids that stay in the queue: `batchItemFailures`.
    pub failed: Vec<String>,
}

impl<P: Ports> Writer<P> {
    /// A writer on these ports.
    pub fn new(ports: P, config: Config) -> Self {
        Self { ports, config, warm: WarmSessions::default() }
    }

    /// The ports, for telemetry and tests.
    pub fn ports(&self) -> &P {
        &self.ports
    }

    /// Handles one delivery and answers for each of its records before `deadline`.
    pub async fn handle(&self, records: Vec<Record>, deadline: EpochMs) -> Answer {
        let delivered: Vec<String> = records.iter().map(|r| r.message_id.clone()).collect();
        let delivery = batch::group(records);
        let settled = Mutex::new(Settled::default());
        let stop_at = EpochMs(deadline.0.saturating_sub(self.config.answer_margin_ms));
        let delivery_full = delivered.len() >= self.config.policy.full;
        let (settled_here, records) = (&settled, delivered.len());
        let sessions = delivery.sessions.into_iter().map(|(session, entries)| {
            let alone = entries.len() == records;
            let work =
                SessionWork { writer: self, session, stop_at, delivery_full, alone, settled: settled_here };
            work.run(entries)
        });
        let refused = delivery.refused.iter().map(|rejected| Delivered::of(&rejected.record)).collect();
        let work = async {
            let parking = self.park_refused(delivery.refused, &settled);
            join(parking, self.all(sessions.collect(), refused, &settled)).await;
        };
        // Sessions stop by themselves; this is for one whose records cannot even be given back.
        let end = deadline.0.saturating_sub(self.config.answer_margin_ms / 2);
        let time_is_up = self.ports.clock().sleep_ms(end.saturating_sub(self.ports.clock().now().0));
        if let Either::Right(_) = select(Box::pin(work), Box::pin(time_is_up)).await {
            tracing::warn!(
                records = delivered.len(),
                "the invocation's time is up before all are given back"
            );
        }
        let settled = settled.into_inner().unwrap_or_else(PoisonError::into_inner);
        Answer { failed: settled.failures(delivered.iter().map(String::as_str)) }
    }

    /// Awaits all sessions. Those that are done do not wait for one that is not: their settled messages are deleted, so
    /// that their groups go on.
    async fn all<F: Future<Output = Vec<Delivered>>>(
        &self,
        mut running: FuturesUnordered<F>,
        mut done: Vec<Delivered>,
        settled: &Mutex<Settled>,
    ) {
        loop {
            let patience = self.ports.clock().sleep_ms(self.config.release_after_ms);
            match select(running.next(), Box::pin(patience)).await {
                Either::Left((None, _)) => return,
                Either::Left((Some(delivered), _)) => done.extend(delivered),
                Either::Right(_) => self.release(&mut done, settled).await,
            }
        }
    }

    async fn release(&self, done: &mut Vec<Delivered>, settled: &Mutex<Settled>) {
        let is_settled = |message: &Delivered| lock(settled).holds(&message.id);
        let handles: Vec<String> =
            done.iter().filter(|m| is_settled(m)).map(|message| message.receipt_handle.clone()).collect();
        done.retain(|message| !is_settled(message));
        if handles.is_empty() {
            return;
        }
        if let Err(failure) = self.ports.queue().delete(&handles).await {
            tracing::warn!(%failure, "settled messages wait for the invocation's answer");
        }
    }
}
