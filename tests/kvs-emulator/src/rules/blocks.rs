//! Frames inside a Cluster (RFC 9559, section 10.1).

use super::document::DocumentError;
use super::ebml::Node;
use super::schema;
use bytes::Bytes;
use std::ops::Range;

/// What a SimpleBlock or BlockGroup says about its frame, and where in the Cluster the frame lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Track number.
    pub track: u64,
    /// Ticks after the Cluster's Timestamp; may be negative.
    pub relative_ticks: i16,
    /// True if the block is a key frame.
    pub key: bool,
    /// BlockDuration in ticks, where a BlockGroup states one.
    pub duration_ticks: Option<u64>,
    /// The frame's bytes, counted from the Cluster's first.
    pub place: Range<usize>,
}

/// A frame of a track as it came.
#[derive(Clone, PartialEq)]
pub struct Block {
    /// Track number.
    pub track: u64,
    /// Ticks after the Cluster's Timestamp; may be negative.
    pub relative_ticks: i16,
    /// True if the block is a key frame.
    pub key: bool,
    /// BlockDuration in ticks, where a BlockGroup states one.
    pub duration_ticks: Option<u64>,
    /// The frame.
    pub data: Bytes,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Block { track, relative_ticks, key, duration_ticks, data } = self;
        write!(f, "Block {{ track {track}, {relative_ticks} ticks, key {key}, ")?;
        write!(f, "duration {duration_ticks:?}, {} bytes }}", data.len())
    }
}

impl Frame {
    /// The frame with its bytes, which stay those of `cluster`.
    pub fn in_cluster(self, cluster: &Bytes) -> Block {
        let Frame { track, relative_ticks, key, duration_ticks, place } = self;
        Block { track, relative_ticks, key, duration_ticks, data: cluster.slice(place) }
    }
}

/// Reads a block whose payload begins `at` bytes into the Cluster: track number as EBML number, 16-bit relative
/// time, flags, frame. `offset` is for the error.
pub(super) fn read(payload: &Bytes, at: usize, offset: u64) -> Result<Frame, DocumentError> {
    let short = DocumentError::ShortBlock { offset, bytes: payload.len() };
    let first = *payload.first().ok_or(short.clone())?;
    let length = first.leading_zeros() as usize + 1;
    if length > 8 || payload.len() < length + 3 {
        return Err(short);
    }
    let raw = payload[..length].iter().fold(0u64, |value, &byte| value << 8 | u64::from(byte));
    let flags = payload[length + 2];
    if flags & 0x06 != 0 {
        return Err(DocumentError::Laced { offset });
    }
    Ok(Frame {
        track: raw & ((1u64 << (7 * length)) - 1),
        relative_ticks: i16::from_be_bytes([payload[length], payload[length + 1]]),
        key: flags & 0x80 != 0,
        duration_ticks: None,
        place: at + length + 3..at + payload.len(),
    })
}

/// Reads a BlockGroup whose Block's payload begins `at` bytes into the Cluster.
pub(super) fn read_group(group: &Node, at: usize, offset: u64) -> Result<Frame, DocumentError> {
    let block = group.child(schema::BLOCK).ok_or(DocumentError::EmptyBlockGroup)?;
    let frame = read(&block.payload, at, offset)?;
    let duration_ticks = group.child(schema::BLOCK_DURATION).map(Node::uint);
    // In a BlockGroup the key flag is the absence of a reference.
    let key = group.child(schema::REFERENCE_BLOCK).is_none();
    Ok(Frame { key, duration_ticks, ..frame })
}
