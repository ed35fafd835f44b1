//! Media on its way to a reader: no faster than the service sends it, and broken where a fault says so.

use super::body::Writer;
use super::media::{write_block_head, write_cluster_head};
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
    pace: Pace,
    bytes_per_second: u64,
    /// Bytes until a fault cuts the connection.
    left: Option<u64>,
}

impl Flow {
    pub(super) fn new(server: Arc<Server>, writer: Writer, faults: &[FaultKind]) -> Self {
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
        Self { server, writer, pace: Pace::default(), bytes_per_second, left }
    }

    /// Sends what stands before a fragment, the fragment, and what stands behind it, piece by piece: a reader that
    /// takes nothing keeps one piece in memory, and what the store keeps anyway. False as for [`send`](Self::send).
    pub(super) async fn send_fragment(
        &mut self,
        before: Vec<u8>,
        fragment: &StoredFragment,
        behind: &[u8],
    ) -> bool {
        let mut out = before;
        write_cluster_head(fragment, &mut out);
        for block in &fragment.blocks {
            write_block_head(block, &mut out);
            if out.len() + block.data.len() <= PIECE_BYTES {
                out.extend_from_slice(&block.data);
            } else if !self.send(std::mem::take(&mut out)).await || !self.send(block.data.clone()).await {
                return false;
            }
        }
        out.extend_from_slice(behind);
        self.send(out).await
    }

    /// Sends bytes; false once the client is gone, or was cut off.
    pub(super) async fn send(&mut self, bytes: impl Into<Bytes>) -> bool {
        let mut bytes = bytes.into();
        let wait_ms = self.pace.take(bytes.len() as u64, self.bytes_per_second, self.server.now_ms());
        tokio::select! {
            () = self.server.now.sleep(wait_ms) => {}
            () = self.writer.gone() => return false,
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
        self.writer.gone().await;
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
