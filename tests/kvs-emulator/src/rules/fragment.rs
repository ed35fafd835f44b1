//! Fragments: what they may be, and what they are.

use super::ack::ErrorId;
use super::blocks::Block;
use super::schema::Elements;
use super::tags::Tags;
use super::tracks::Header;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What the service takes in one fragment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct FragmentRules {
    /// Which Matroska elements may occur.
    pub elements: Elements,
    /// Most tracks (4012).
    pub tracks_max: usize,
    /// Longest fragment (4002).
    pub duration_ms_max: u64,
    /// Shortest fragment, refused only with `enforce_min_duration`, counted always.
    pub duration_ms_min: u64,
    /// Whether a shorter fragment is refused; that the service does so is unconfirmed.
    pub enforce_min_duration: bool,
    /// Most bytes of a Cluster (4001).
    pub bytes_max: u64,
    /// Most tags of a fragment (4009).
    pub tags_max: usize,
    /// Longest tag name in bytes (4009).
    pub tag_name_bytes_max: usize,
    /// Longest tag value in bytes (4009).
    pub tag_value_bytes_max: usize,
    /// Producer timestamps before this are refused (4007). The service has taken 1970 at times, and refused it at others.
    pub earliest_timestamp_ms: i64,
    /// How far ahead of the service's clock a producer timestamp may lie (4007).
    pub future_tolerance_ms: i64,
}

/// In recorded answers the service has taken timestamps 12.8 s ahead of its clock, and AWS's Java example expects it to take
/// 29 s; where it ends is a guess.
const FUTURE_TOLERANCE_MS: i64 = 30_000;

impl Default for FragmentRules {
    fn default() -> Self {
        Self {
            elements: Elements::default(),
            tracks_max: 3,
            duration_ms_max: 20_000,
            duration_ms_min: 1_000,
            enforce_min_duration: false,
            bytes_max: 50_000_000,
            tags_max: 10,
            tag_name_bytes_max: 128,
            tag_value_bytes_max: 256,
            earliest_timestamp_ms: 0,
            future_tolerance_ms: FUTURE_TOLERANCE_MS,
        }
    }
}

impl FragmentRules {
    /// What is wrong with the tags of one element, of a fragment that has `before` tags already. What a muxer says of
    /// its file is not limited.
    pub(super) fn wrong_tag(&self, tags: &Tags, before: usize) -> Option<String> {
        let Self { tags_max, tag_name_bytes_max, tag_value_bytes_max, .. } = *self;
        tags.pairs.iter().enumerate().find_map(|(index, (name, value))| {
            if name.starts_with("AWS") {
                Some(format!("tag {name}: names that begin with AWS are the service's own"))
            } else if tags.of_muxer {
                None
            } else if name.is_empty() || name.len() > tag_name_bytes_max {
                Some(format!("tag name of {} bytes, 1 to {tag_name_bytes_max} are taken", name.len()))
            } else if value.len() > tag_value_bytes_max {
                let bytes = value.len();
                Some(format!("tag {name}: value of {bytes} bytes, at most {tag_value_bytes_max} are taken"))
            } else {
                (before + index >= tags_max).then(|| format!("more than {tags_max} tags"))
            }
        })
    }
}

/// How Cluster timestamps are meant (header `x-amzn-fragment-timecode-type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timecodes {
    /// Since 1970.
    Absolute,
    /// Since the start header.
    Relative {
        /// `x-amzn-producer-start-timestamp` in milliseconds since 1970.
        start_ms: i64,
    },
}

/// A whole fragment.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// As it stands in acknowledgements: milliseconds, absolute or relative.
    pub timecode_ms: i64,
    /// Producer timestamp in milliseconds since 1970.
    pub producer_ms: i64,
    /// The Cluster's Timestamp as sent.
    pub cluster_ticks: u64,
    /// From the first to the last block's time, plus the last block's BlockDuration where one is stated.
    pub length_ms: u64,
    /// From the first block's time to the end of the last one's PCM; equals `length_ms` for other codecs.
    pub media_ms: u64,
    /// The frames; their bytes lie in `media`.
    pub blocks: Vec<Block>,
    /// The producer's tags.
    pub tags: Vec<(String, String)>,
    /// The tracks of the call.
    pub header: Arc<Header>,
    /// All that stands before the Cluster in what readers get, but for the service's tags.
    pub opening: Bytes,
    /// The Cluster as it was sent.
    pub media: Bytes,
    /// What stood behind the Cluster when the fragment ended.
    pub behind: Bytes,
}

/// What comes behind a fragment that has ended already.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Behind {
    /// Elements as they were sent.
    pub raw: Bytes,
    /// The producer's tags in them.
    pub tags: Vec<(String, String)>,
}

/// What the bytes brought about.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// A fragment began and its time is known: BUFFERING.
    Began {
        /// For the acknowledgement.
        timecode_ms: i64,
    },
    /// A fragment is complete: RECEIVED.
    Complete(Box<Fragment>),
    /// This belongs to the fragment that was completed last.
    Behind(Behind),
}

/// Why the call ends with ERROR.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{} ({}): {why}", .id.code(), .id.id())]
pub struct Refusal {
    /// For the acknowledgement.
    pub id: ErrorId,
    /// Timecode of the fragment, if it was known.
    pub timecode_ms: Option<i64>,
    /// For people.
    pub why: String,
}

pub(super) fn ticks_to_ms(ticks: i64, tick_ns: u64) -> i64 {
    let ms = i128::from(ticks) * i128::from(tick_ns) / 1_000_000;
    i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX })
}
