//! Fragments as the service keeps them.

use crate::rules::document::Block;
use crate::rules::fragment::Fragment;
use crate::rules::tracks::Header;
use bytes::Bytes;
use std::sync::Arc;

/// A fragment as the service keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredFragment {
    /// 47 digits, growing in the order of arrival.
    pub number: String,
    /// The producer's time of its Cluster, milliseconds since 1970.
    pub producer_timestamp_ms: u64,
    /// When the service had all of it, milliseconds since 1970.
    pub server_timestamp_ms: u64,
    /// From the first to the last block's time (FragmentLengthInMilliseconds).
    pub length_ms: u64,
    /// From the first block's time to the end of the last one's PCM; `length_ms` for other codecs.
    pub media_ms: u64,
    /// Bytes of all frames.
    pub size_bytes: u64,
    /// The producer's tags in their order.
    pub tags: Vec<(String, String)>,
    /// Tracks and timebase.
    pub header: Arc<Header>,
    /// The Cluster's Timestamp as it was sent, in ticks.
    pub cluster_ticks: u64,
    /// The frames.
    pub blocks: Vec<Block>,
    /// Which PutMedia connection brought it, counted from 1 for the whole emulator.
    pub connection: u64,
    /// When ListFragments begins to show it.
    pub listed_from_ms: u64,
}

impl StoredFragment {
    /// The frames of one track, one after the other: for PCM, its samples.
    pub fn payload(&self, track: u64) -> Vec<u8> {
        let frames = self.blocks.iter().filter(|block| block.track == track);
        frames.flat_map(|block| block.data.iter().copied()).collect()
    }

    /// The value of a producer's tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl StoredFragment {
    /// A fragment that arrived whole at `now_ms`.
    pub fn new(fragment: Fragment, number: String, connection: u64, now_ms: u64) -> Self {
        Self {
            number,
            // The rules refuse times before 2000 unless told otherwise; earlier than 1970 has no form on the wire.
            producer_timestamp_ms: u64::try_from(fragment.producer_ms).unwrap_or(0),
            server_timestamp_ms: now_ms,
            length_ms: fragment.length_ms,
            media_ms: fragment.media_ms,
            size_bytes: fragment.bytes,
            tags: fragment.tags,
            header: fragment.header,
            cluster_ticks: fragment.cluster_ticks,
            blocks: compact(fragment.blocks),
            connection,
            listed_from_ms: now_ms,
        }
    }

    /// True if the two lie over each other in the producer's time.
    pub(crate) fn overlaps(&self, other: &StoredFragment) -> bool {
        self.producer_timestamp_ms < other.producer_timestamp_ms + other.media_ms.max(1)
            && other.producer_timestamp_ms < self.producer_timestamp_ms + self.media_ms.max(1)
    }
}

/// Copies the frames out of the network buffers they came in, which would live as long as they.
fn compact(blocks: Vec<Block>) -> Vec<Block> {
    let data = |block: &Block| Bytes::copy_from_slice(&block.data);
    blocks.into_iter().map(|block| Block { data: data(&block), ..block }).collect()
}
