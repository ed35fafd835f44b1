//! Connections of a stream, of which there are few: one that puts, three that get, five that get by number.
//!
//! Each is given back when its work has ended, or when its client has closed it, whatever the work still waits for.

use super::line::Peer;
use crate::error::ApiError;
use crate::operation::Operation;
use crate::server::Server;
use crate::storage::Stream;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A client that closes one connection and opens the next at once may be heard in the other order.
const GRACE: Duration = Duration::from_millis(20);

/// Tries to take a connection; if there is none, tries again whenever one is given back in the next moment.
pub(super) async fn take<T>(
    server: &Server,
    mut attempt: impl FnMut() -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let until = Instant::now() + GRACE;
    loop {
        // Listening begins before looking, so that none slips between.
        let mut freed = pin!(server.freed.notified());
        freed.as_mut().enable();
        match attempt() {
            Err(error) if error.is_connection_limit() => {
                if timeout_at(until, freed).await.is_err() {
                    return Err(error);
                }
            }
            outcome => return outcome,
        }
    }
}

/// A stream's PutMedia connection; given back when dropped.
pub(super) struct PutSlot {
    pub(super) server: Arc<Server>,
    pub(super) stream: String,
    pub(super) arn: String,
    pub(super) connection: u64,
    taken: bool,
}

impl PutSlot {
    /// The connection that was counted as `connection`.
    pub(super) fn new(server: Arc<Server>, stream: String, arn: String, connection: u64) -> Self {
        Self { server, stream, arn, connection, taken: true }
    }

    /// The call has ended: the stream is free at once.
    pub(super) fn release(&mut self) {
        self.release_after(0);
    }

    /// The client is gone, or the connection cut: the stream is free when the service has noticed.
    pub(super) fn release_cut(&mut self) {
        self.release_after(self.server.config.cut_release_ms);
    }

    fn release_after(&mut self, ms: u64) {
        if std::mem::take(&mut self.taken) {
            let free_from_ms = self.server.now_ms().saturating_add(ms);
            self.server.store().end_put(&self.stream, self.connection, free_from_ms);
            self.server.freed.notify_waiters();
        }
    }
}

impl Drop for PutSlot {
    fn drop(&mut self) {
        self.release_cut();
    }
}

/// One of a stream's connections that read; given back when dropped.
pub(super) struct ReadSlot {
    server: Arc<Server>,
    stream: String,
    arn: String,
    operation: Operation,
}

fn readers(stream: &mut Stream, operation: Operation) -> &mut usize {
    match operation {
        Operation::GetMedia => &mut stream.getting,
        _ => &mut stream.listing,
    }
}

impl ReadSlot {
    /// Whether one of `max` connections of `stream` is free.
    ///
    /// # Errors
    /// ConnectionLimitExceededException.
    pub(super) fn check(stream: &mut Stream, operation: Operation, max: usize) -> Result<(), ApiError> {
        let taken = *readers(stream, operation);
        if taken < max { Ok(()) } else { Err(ApiError::connection_limit(operation, &stream.is.name, max)) }
    }

    /// Takes one. It must not be dropped while the store is locked.
    pub(super) fn take(server: &Arc<Server>, stream: &mut Stream, operation: Operation) -> Self {
        *readers(stream, operation) += 1;
        let (name, arn) = (stream.is.name.clone(), stream.arn.clone());
        Self { server: server.clone(), stream: name, arn, operation }
    }

    /// Lets `reading` run to its end, and gives the connection back before that if the client closes it.
    pub(super) fn run(self, peer: Peer, reading: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(async move {
            let mut reading = pin!(reading);
            tokio::select! {
                () = &mut reading => return,
                () = peer.closed() => drop(self),
            }
            reading.await;
        });
    }
}

impl Drop for ReadSlot {
    fn drop(&mut self) {
        let now_ms = self.server.now_ms();
        if let Ok(stream) = self.server.store().stream(&self.stream, now_ms)
            && stream.arn == self.arn
        {
            *readers(stream, self.operation) -= 1;
        }
        self.server.freed.notify_waiters();
    }
}
