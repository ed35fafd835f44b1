//! The fragment that is open, and what it measures.

use super::blocks::Frame;
use super::fragment::{Fragment, ticks_to_ms};
use super::tracks::Header;
use bytes::Bytes;
use std::sync::Arc;

/// A fragment from its Cluster's first byte on.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) timecode_ms: Option<i64>,
    pub(super) cluster_ticks: u64,
    pub(super) frames: Vec<Frame>,
    /// The Cluster, once it is whole.
    pub(super) media: Bytes,
    /// What stands behind it.
    pub(super) behind: Vec<u8>,
    pub(super) tags: Vec<(String, String)>,
    pub(super) earliest_ticks: i64,
    pub(super) latest_ticks: i64,
    end_ticks: i64,
    media_end_ms: i64,
}

impl Open {
    pub(super) fn new(tags: Vec<(String, String)>) -> Self {
        Self {
            timecode_ms: None,
            cluster_ticks: 0,
            frames: Vec::new(),
            media: Bytes::new(),
            behind: Vec::new(),
            tags,
            earliest_ticks: i64::MAX,
            latest_ticks: i64::MIN,
            end_ticks: i64::MIN,
            media_end_ms: i64::MIN,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(super) fn is_silent(&self, track: u64) -> bool {
        self.frames.iter().all(|frame| frame.track != track)
    }

    pub(super) fn add(&mut self, frame: Frame, tick_ns: u64, pcm_ms: u64) {
        let cluster = i64::try_from(self.cluster_ticks).unwrap_or(i64::MAX);
        let ticks = cluster.saturating_add(i64::from(frame.relative_ticks));
        let duration = i64::try_from(frame.duration_ticks.unwrap_or(0)).unwrap_or(i64::MAX);
        let pcm_ms = i64::try_from(pcm_ms).unwrap_or(i64::MAX);
        self.earliest_ticks = self.earliest_ticks.min(ticks);
        self.latest_ticks = self.latest_ticks.max(ticks);
        self.end_ticks = self.end_ticks.max(ticks.saturating_add(duration));
        self.media_end_ms = self.media_end_ms.max(ticks_to_ms(ticks, tick_ns).saturating_add(pcm_ms));
        self.frames.push(frame);
    }

    pub(super) fn length_ms(&self, tick_ns: u64) -> u64 {
        let ticks = self.end_ticks.saturating_sub(self.earliest_ticks);
        u64::try_from(ticks_to_ms(ticks, tick_ns)).unwrap_or(0)
    }

    pub(super) fn media_ms(&self, tick_ns: u64) -> u64 {
        let start_ms = ticks_to_ms(self.earliest_ticks, tick_ns);
        u64::try_from(self.media_end_ms.saturating_sub(start_ms)).unwrap_or(0)
    }

    pub(super) fn into_fragment(
        self,
        timecode_ms: i64,
        producer_ms: i64,
        header: Arc<Header>,
        opening: Bytes,
    ) -> Fragment {
        let length_ms = self.length_ms(header.tick_ns);
        let media_ms = self.media_ms(header.tick_ns).max(length_ms);
        let media = self.media;
        Fragment {
            timecode_ms,
            producer_ms,
            cluster_ticks: self.cluster_ticks,
            length_ms,
            media_ms,
            blocks: self.frames.into_iter().map(|frame| frame.in_cluster(&media)).collect(),
            tags: self.tags,
            header,
            opening,
            media,
            behind: self.behind.into(),
        }
    }
}
