//! From RECEIVED to PERSISTED: goes on even if the connection does not.

use super::late::Late;
use super::steps::Current;
use crate::faults::{FaultKind, Point};
use crate::rules::ack::{Ack, ErrorId, error_code};
use crate::server::Server;
use crate::storage::{KeepError, StoredFragment};
use std::sync::Arc;

/// What becomes of the connection once a fragment was, or was not, persisted.
pub(super) enum Outcome {
    /// This ack is sent.
    Ack(Ack),
    /// This ERROR is sent, and the call ends.
    Error(Ack),
    /// The connection is cut.
    Cut,
    /// Nothing is sent: without retention RECEIVED was the last ack.
    Nothing,
}

/// What a fault wants in place of an ack.
pub(super) enum Instead {
    Error { ack: Ack, stored: bool },
    Cut { stored: bool },
}

/// The first fault of a fragment that takes the place of the ack at `point`.
pub(super) fn instead(point: Point, current: &Current) -> Option<Instead> {
    current.faults.iter().find_map(|fault| match fault {
        FaultKind::ErrorAck { id, code, at, bare, stored } if *at == point => {
            let code = code.as_deref().or(error_code(*id)).unwrap_or("UNKNOWN");
            let (timecode, number) =
                if *bare { (None, None) } else { (Some(current.timecode_ms), Some(current.number.clone())) };
            Some(Instead::Error { ack: Ack::error(*id, code, timecode, number), stored: *stored })
        }
        FaultKind::Cut { at, stored } if *at == point => Some(Instead::Cut { stored: *stored }),
        _ => None,
    })
}

/// Stores a fragment that was received whole: once RECEIVED is due, and the time that persisting takes is over.
pub(super) async fn persist(
    server: Arc<Server>,
    arn: String,
    current: Current,
    fragment: StoredFragment,
    late: Arc<Late>,
    retention: bool,
) -> Outcome {
    if !retention {
        return keep(&server, &arn, &current, fragment, &late, Outcome::Nothing).await;
    }
    let slow_ms: u64 =
        current.faults.iter().map(|f| if let FaultKind::SlowPersist { ms } = f { *ms } else { 0 }).sum();
    let takes_ms = server.config.persist_ms.saturating_add(slow_ms);
    server.now.sleep_until(current.due_ms.saturating_add(takes_ms)).await;
    let (stored, outcome) = match instead(Point::Persisted, &current) {
        None => (true, Outcome::Ack(Ack::progress("PERSISTED", current.timecode_ms, &current.number))),
        Some(Instead::Error { ack, stored }) => (stored, Outcome::Error(ack)),
        Some(Instead::Cut { stored }) => (stored, Outcome::Cut),
    };
    if stored { keep(&server, &arn, &current, fragment, &late, outcome).await } else { outcome }
}

/// Stores now; gives `outcome`, or the ERROR that says why it could not be stored.
pub(super) async fn keep(
    server: &Server,
    arn: &str,
    current: &Current,
    mut fragment: StoredFragment,
    late: &Late,
    outcome: Outcome,
) -> Outcome {
    let now_ms = server.now_ms();
    let lag_ms: u64 =
        current.faults.iter().map(|f| if let FaultKind::ListLag { ms } = f { *ms } else { 0 }).sum();
    fragment.listed_from_ms = now_ms.saturating_add(server.config.list_lag_ms).saturating_add(lag_ms);
    let id = match store(server, arn, fragment, late).await {
        Ok(()) => {
            server.stored.notify_waiters();
            return outcome;
        }
        Err(KeepError::Gone) => ErrorId::StreamNotActive,
        Err(KeepError::Full) => {
            tracing::warn!("the emulator's memory for fragments is full; raise storedBytesMax");
            ErrorId::ArchivalError
        }
        Err(KeepError::Disk) => ErrorId::ArchivalError,
    };
    Outcome::Error(Ack::error(id.id(), id.code(), Some(current.timecode_ms), Some(current.number.clone())))
}

/// On disk first, then where readers see it.
async fn store(
    server: &Server,
    arn: &str,
    mut fragment: StoredFragment,
    late: &Late,
) -> Result<(), KeepError> {
    loop {
        late.take().into_iter().for_each(|behind| fragment.add(behind));
        let shared = Arc::new(fragment);
        let written = {
            server.store().admit(arn, shared.size_bytes, server.now_ms())?;
            server.disk.put(arn, &shared)
        };
        if !written.wait().await {
            return Err(KeepError::Disk);
        }
        let mut store = server.store();
        if late.end() {
            let kept = store.keep(arn, shared.clone(), server.now_ms());
            if kept.is_err() {
                server.disk.expire(arn, &shared.number);
            }
            return kept;
        }
        // More came behind it meanwhile.
        drop(store);
        fragment = Arc::unwrap_or_clone(shared);
    }
}
