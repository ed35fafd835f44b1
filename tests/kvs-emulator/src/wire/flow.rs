//! Media on its way to a reader: no faster than the service sends it, and broken where a fault says so.

use super::body::Writer;
use super::line::Peer;
use super::media::{write_bare_header, write_tags};
use crate::faults::FaultKind;
use crate::rules::quota::Pace;
use crate::server::Server;
use crate::storage::StoredFragment;
use bytes::Bytes;
use std::sync::Arc;

/// Several live fragments of audio, and little beside one of video.
const PIECE_BYTES: usize = 256 * 1024;

/// The answer's body.
pub(super) struct Flow {
    server: Arc<Server>,
    writer: Writer,
    peer: Peer,
    pace: Pace,
    bytes_per_second: u64,
    /// Bytes until a fault cuts the connection.
    left: Option<u64>,
    /// The PutMedia connection whose document is open, 0 for one without media.
    document_of: Option<u64>,
}

/// Tags that the service adds.
pub(super) type ServiceTags<'a> = &'a [(&'a str, String)];

impl Flow {
    pub(super) fn new(server: Arc<Server>, writer: Writer, peer: Peer, faults: &[FaultKind]) -> Self {
        let limits = &server.config.limits;
        let mut bytes_per_second = if limits.rates { limits.get_bytes_per_second } else { u64::MAX };
        let mut left = None;
        for fault in faults {
            match fault {
                FaultKind::CutAfterBytes { bytes, .. } => left = Some(*bytes),
                FaultKind::Slow { bytes_per_second: slow } => bytes_per_second = *slow,
                _ => {}
            }
        }
        Self { server, writer, peer, pace: Pace::default(), bytes_per_second, left, document_of: None }
    }

    /// True if what comes next begins a document: always, unless the emulator was told to write one a connection.
    fn begins_document(&mut self, connection: u64) -> bool {
        let before = self.document_of.replace(connection);
        self.server.config.document_per_fragment || before != Some(connection)
    }

    /// Sends a fragment with the service's tags before and behind it, piece by piece: a reader that takes nothing keeps
    /// one piece in memory, and what the store keeps anyway. False as for [`send`](Self::send).
    pub(super) async fn send_fragment(
        &mut self,
        before: ServiceTags<'_>,
        fragment: &StoredFragment,
        behind: ServiceTags<'_>,
    ) -> bool {
        let mut out = Vec::new();
        if self.begins_document(fragment.connection) {
            out.extend_from_slice(&fragment.opening);
        }
        write_tags(before, &mut out);
        if out.len() + fragment.media.len() <= PIECE_BYTES {
            out.extend_from_slice(&fragment.media);
        } else {
            let mut media = fragment.media.clone();
            while !media.is_empty() {
                let piece = media.split_to(media.len().min(PIECE_BYTES));
                let head = std::mem::take(&mut out);
                if !(head.is_empty() || self.send(head).await) || !self.send(piece).await {
                    return false;
                }
            }
        }
        out.extend_from_slice(&fragment.behind);
        if !behind.is_empty() {
            write_tags(behind, &mut out);
        }
        out.is_empty() || self.send(out).await
    }

    /// Sends tags that tell an error, where a fragment would stand. False as for [`send`](Self::send).
    pub(super) async fn send_error(&mut self, tags: ServiceTags<'_>) -> bool {
        let mut out = Vec::new();
        if self.server.config.document_per_fragment || self.document_of.is_none() {
            self.document_of = Some(0);
            write_bare_header(&mut out);
        }
        write_tags(tags, &mut out);
        self.send(out).await
    }

    /// Sends bytes; false once the client is gone, or was cut off.
    pub(super) async fn send(&mut self, bytes: impl Into<Bytes>) -> bool {
        let mut bytes = bytes.into();
        let wait_ms = self.pace.take(bytes.len() as u64, self.bytes_per_second, self.server.now_ms());
        tokio::select! {
            () = self.server.now.sleep(wait_ms) => {}
            () = self.gone() => return false,
        }
        if let Some(left) = self.left {
            if left < bytes.len() as u64 {
                bytes.truncate(usize::try_from(left).unwrap_or(0));
                self.writer.send(bytes).await;
                self.writer.cut().await;
                return false;
            }
            self.left = Some(left - bytes.len() as u64);
        }
        self.writer.send(bytes).await
    }

    /// Waits until the client is gone.
    pub(super) async fn gone(&self) {
        tokio::select! {
            () = self.writer.gone() => {}
            () = self.peer.gone() => {}
        }
    }

    /// Waits until the client sends nothing more: whether it still reads shows only when something is sent.
    pub(super) async fn closed(&self) {
        self.peer.closed().await;
    }
}

/// An error that a fault tells inside the media.
pub(super) struct ReadFault {
    pub(super) id: u16,
    pub(super) code: String,
    /// Fragments that are given before.
    pub(super) after: u64,
}

impl ReadFault {
    pub(super) fn of(faults: &[FaultKind]) -> Option<Self> {
        faults.iter().find_map(|fault| match fault {
            FaultKind::ReadError { id, code, after } => {
                let code = code.clone().unwrap_or_else(|| documented(*id).to_owned());
                Some(Self { id: *id, code, after: *after })
            }
            _ => None,
        })
    }
}

/// What GetMedia's documentation says of an AWS_KINESISVIDEO_ERROR_ID.
fn documented(id: u16) -> &'static str {
    match id {
        3000 => "FRAGMENT_NOT_FOUND",
        3002 => "Error writing to the stream",
        4000 => "Requested fragment is not found",
        4500 => "Access denied for the stream's KMS key",
        4501 => "Stream's KMS key is disabled",
        4502 => "Validation error on the stream's KMS key",
        4503 => "KMS key specified in the stream is unavailable",
        4504 => "Invalid usage of the KMS key specified in the stream",
        4505 => "Invalid state of the KMS key specified in the stream",
        4506 => "Unable to find the KMS key specified in the stream",
        _ => "Internal error",
    }
}
