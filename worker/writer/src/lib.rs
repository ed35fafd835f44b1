//! The story of a batch, generic over its [`ports`]: group, decide, plan, lease, put, commit, answer.
//!
//! [`Writer::handle`] is one invocation. Every record is answered for: what is written, set aside, parked or known as a
//! duplicate is acknowledged; everything else stays in the queue. Sessions do not wait for one another.

mod aside;
mod attempt;
mod backfill;
mod config;
mod crash;
mod doubt;
mod ended;
pub mod event;
mod hand_back;
mod lease;
mod looks;
mod park;
mod pass;
mod planned;
pub mod ports;
mod session;
mod state;
mod stop;
mod warm;
mod withheld;
mod work;
mod writer;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use futures::future::{Either, join, select};
use futures::stream::{FuturesUnordered, StreamExt as _};
use ingest::batch::{self, Settled};
use ingest::fold::Vain;
use ingest::message::Record;
use media::time::EpochMs;

pub use config::{Config, END_GRACE_MS};
pub use ended::is_after_end;
use looks::Looks;
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
        Self {
            ports,
            config,
            warm: WarmSessions::default(),
            vain: Vain::default(),
            looks: Looks::default(),
            deliveries: AtomicU64::default(),
        }
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
        let delivery_number = self.deliveries.fetch_add(1, Ordering::Relaxed);
        let (settled_here, records) = (&settled, delivered.len());
        let sessions = delivery.sessions.into_iter().map(|(session, entries)| {
            let alone = entries.len() == records;
            let work = SessionWork {
                writer: self,
                session,
                stop_at,
                delivery_number,
                delivery_full,
                alone,
                settled: settled_here,
            };
            Box::pin(work.run(entries)) as Running<'_>
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
    /// that their groups go on. That is one more thing under way among the sessions, which wait for nothing.
    async fn all<'a>(
        &'a self,
        mut running: FuturesUnordered<Running<'a>>,
        mut done: Vec<Delivered>,
        settled: &'a Mutex<Settled>,
    ) {
        loop {
            let patience = self.ports.clock().sleep_ms(self.config.release_after_ms);
            match select(running.next(), Box::pin(patience)).await {
                Either::Left((None, _)) => return,
                Either::Left((Some(delivered), _)) => done.extend(delivered),
                Either::Right(_) => {
                    let (now, later) =
                        std::mem::take(&mut done).into_iter().partition(|m| lock(settled).holds(&m.id));
                    done = later;
                    running.push(Box::pin(self.release(now)));
                }
            }
        }
    }

    async fn release(&self, settled: Vec<Delivered>) -> Vec<Delivered> {
        let handles: Vec<String> = settled.into_iter().map(|message| message.receipt_handle).collect();
        if !handles.is_empty()
            && let Err(failure) = self.ports.queue().delete(&handles).await
        {
            tracing::warn!(%failure, "settled messages wait for the invocation's answer");
        }
        Vec::new()
    }
}

/// A session's work, or the release of others' messages; gives the messages of the session.
type Running<'a> = Pin<Box<dyn Future<Output = Vec<Delivered>> + Send + 'a>>;
