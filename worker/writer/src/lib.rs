//! The story of a batch, generic over its [`ports`]: group, decide, plan, lease, put, commit, answer.
//!
//! [`Writer::handle`] is one invocation. Every record is answered for: written, parked or known as duplicate means
//! acknowledged; everything else stays in the queue. Sessions do not wait for one another.

mod attempt;
mod config;
pub mod event;
mod parking;
pub mod ports;
mod session;
mod warm;

use std::sync::Mutex;

use futures::future::{Either, join_all, select};
use ingest::batch::{self, Settled};
use ingest::message::Record;
use media::time::EpochMs;

pub use config::Config;
use ports::{Clock as _, Ports};
use session::SessionWork;
use warm::WarmSessions;

/// Writes batches; lives as long as the process and remembers the sessions it wrote last.
pub struct Writer<P> {
    pub(crate) ports: P,
    pub(crate) config: Config,
    pub(crate) warm: WarmSessions,
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
        let settled_here = &settled;
        let sessions = delivery.sessions.into_iter().map(|(session, entries)| {
            let work = SessionWork { writer: self, session, stop_at, delivery_full, settled: settled_here };
            work.run(entries)
        });
        let work = async {
            self.park_refused(delivery.refused, &settled).await;
            join_all(sessions).await;
        };
        let time_is_up = self.ports.clock().sleep_ms(stop_at.0.saturating_sub(self.ports.clock().now().0));
        if let Either::Right(_) = select(Box::pin(work), Box::pin(time_is_up)).await {
            tracing::warn!(
                records = delivered.len(),
                "the invocation's time is up; unsettled records are given back"
            );
        }
        let settled = settled.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        Answer { failed: settled.failures(delivered.iter().map(String::as_str)) }
    }
}
