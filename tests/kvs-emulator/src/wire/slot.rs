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
    /// Takes one of `max` connections of `stream`.
    ///
    /// # Errors
    /// ConnectionLimitExceededException.
    pub(super) fn take(
        server: &Arc<Server>,
        stream: &mut Stream,
        operation: Operation,
        max: usize,
    ) -> Result<Self, ApiError> {
        let (name, arn) = (stream.is.name.clone(), stream.arn.clone());
        let readers = readers(stream, operation);
        if *readers >= max {
            return Err(ApiError::connection_limit(operation, &name, max));
        }
        *readers += 1;
        Ok(Self { server: server.clone(), stream: name, arn, operation })
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
    }
}
