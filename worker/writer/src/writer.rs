//! What outlives an invocation, and what its parts share.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ingest::batch::Settled;
use ingest::fold::Vain;
use ingest::message::Record;

use crate::config::Config;
use crate::looks::Looks;
use crate::warm::WarmSessions;

/// Writes batches; lives as long as the process and remembers the sessions it wrote last.
pub struct Writer<P> {
    pub(crate) ports: P,
    pub(crate) config: Config,
    pub(crate) warm: WarmSessions,
    /// What chunks without sound came to, of whichever session.
    pub(crate) vain: Vain,
    pub(crate) looks: Looks,
    /// How many deliveries this process has had.
    pub(crate) deliveries: AtomicU64,
}

/// What the queue knows a delivered message by.
pub(crate) struct Delivered {
    pub(crate) id: String,
    pub(crate) receipt_handle: String,
}

impl Delivered {
    pub(crate) fn of(record: &Record) -> Self {
        Self { id: record.message_id.clone(), receipt_handle: record.receipt_handle.clone() }
    }
}

pub(crate) fn lock(settled: &Mutex<Settled>) -> MutexGuard<'_, Settled> {
    settled.lock().unwrap_or_else(PoisonError::into_inner)
}
