//! Fragments as the service keeps them.

use crate::rules::blocks::Block;
use crate::rules::fragment::{Behind, Fragment};
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
    /// Bytes of the producer's header, Cluster and what stands behind it (FragmentSizeInBytes).
    pub size_bytes: u64,
    /// The producer's tags in their order.
    pub tags: Vec<(String, String)>,
    /// Tracks and timebase.
    pub header: Arc<Header>,
    /// The Cluster's Timestamp as it was sent, in ticks.
    pub cluster_ticks: u64,
    /// The frames.
    pub blocks: Vec<Block>,
    /// What stood before the Cluster, as it was sent: EBML header, Segment, Info, Tracks and the like.
    pub opening: Bytes,
    /// The Cluster as it was sent.
    pub media: Bytes,
    /// What stood behind the Cluster, as it was sent.
    pub behind: Bytes,
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
        let mut stored = Self {
            number,
            // A time before 1970 has no form on the wire.
            producer_timestamp_ms: u64::try_from(fragment.producer_ms).unwrap_or(0),
            server_timestamp_ms: now_ms,
            length_ms: fragment.length_ms,
            media_ms: fragment.media_ms,
            size_bytes: 0,
            tags: fragment.tags,
            header: fragment.header,
            cluster_ticks: fragment.cluster_ticks,
            blocks: fragment.blocks,
            opening: fragment.opening,
            media: fragment.media,
            behind: fragment.behind,
            connection,
            listed_from_ms: now_ms,
        };
        stored.measure();
        stored
    }

    /// Adds what came behind it after it had ended.
    pub(crate) fn add(&mut self, behind: Behind) {
        self.behind = [&self.behind[..], &behind.raw].concat().into();
        self.tags.extend(behind.tags);
        self.measure();
    }

    pub(super) fn measure(&mut self) {
        self.size_bytes = (self.opening.len() + self.media.len() + self.behind.len()) as u64;
    }

    /// True if the two lie over each other in the producer's time.
    pub(crate) fn overlaps(&self, other: &StoredFragment) -> bool {
        self.producer_timestamp_ms < other.producer_timestamp_ms + other.media_ms.max(1)
            && other.producer_timestamp_ms < self.producer_timestamp_ms + self.media_ms.max(1)
    }
}
