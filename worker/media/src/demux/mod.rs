//! MediaRecorder chunks to Opus packets: WebM or Ogg, cut anywhere, with the whole state in a small value.

mod item;
mod sniff;

pub use item::{Container, Item, Packet, RecordingHead, SkipReason, Skipped};
pub use sniff::{Sniffed, sniff, starts_recording};

use serde::{Deserialize, Serialize};

/// An incremental demuxer. It holds no more than an incomplete element or page, is serialisable at any point, and
/// gives the same packets however the bytes are cut.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Demuxer {
    #[serde(with = "serde_bytes")]
    tail: Vec<u8>,
    head: Option<RecordingHead>,
    resyncing: bool,
}

impl Demuxer {
    /// A demuxer that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one chunk (bytes cut anywhere) and returns what became complete. Never fails and never panics: what
    /// cannot be used is an [`Item::Skipped`].
    pub fn push(&mut self, chunk: &[u8]) -> Vec<Item> {
        self.tail.extend_from_slice(chunk);
        Vec::new()
    }

    /// Says that bytes are missing between what was pushed and what comes next: drops the incomplete tail
    /// (reported as [`SkipReason::BytesMissing`]) and resynchronises at the next Cluster, header or Ogg page that
    /// proves itself.
    pub fn bytes_missing(&mut self) -> Vec<Item> {
        self.resyncing = true;
        let bytes = std::mem::take(&mut self.tail);
        vec![Item::Skipped(Skipped {
            total: bytes.len() as u64,
            bytes,
            reason: SkipReason::BytesMissing,
        })]
    }

    /// Whether the demuxer looks for a place to go on from.
    pub fn is_resyncing(&self) -> bool {
        self.resyncing
    }

    /// The head of the recording that the latest packets belong to.
    pub fn head(&self) -> Option<&RecordingHead> {
        self.head.as_ref()
    }

    /// Bytes held back because what they begin is not complete.
    pub fn buffered(&self) -> usize {
        self.tail.len()
    }
}
