//! What a parser remembers of its recording, and how it begins one.

use serde::{Deserialize, Serialize};

use super::super::item::{SkipReason, TimeBasis};
use super::super::limits;
use super::element::size_or_unknown;
use super::tracks::OpusTrack;
use crate::ebml::{self, ElementHeader, id};
use crate::hash::Fnv;
use crate::time::MediaTime;

pub(super) const DEFAULT_SCALE_NS: u64 = 1_000_000;
/// More than a block of a packet or two has at any bit rate.
pub(super) const LARGE_BLOCK: usize = 4 * 1024;

/// Where a recording's parser is, and what it must remember of what it has passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct Webm {
    /// Bytes since the recording's start, or since the place that it was taken up at.
    pub(super) at: u64,
    /// Where the Segment ends, if its size is known.
    pub(super) segment_end: Option<u64>,
    pub(super) cluster: Option<Cluster>,
    /// Bytes of the current element that are still to be passed over.
    pub(super) pass: u64,
    /// Nanoseconds per tick (TimestampScale).
    pub(super) scale_ns: u64,
    pub(super) track: Option<OpusTrack>,
    pub(super) hash: Fnv,
    /// When the latest block began.
    pub(super) latest: Option<MediaTime>,
    #[serde(default, skip_serializing_if = "First::is_unknown")]
    pub(super) first: First,
}

/// A recording's first block. By it, another run of a recorder that always writes the same header is told from a first blob that is
/// sent again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) enum First {
    /// It is missing, or was read by an earlier version.
    #[default]
    Unknown,
    /// It is still to come.
    Awaited,
    /// It has come, with this content.
    Is(Fnv),
}

impl First {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }

    /// A block is read.
    pub(super) fn meet(&mut self, content: &[u8]) {
        if *self == Self::Awaited {
            *self = Self::Is(Fnv::of(content));
        }
    }

    /// Bytes are missing.
    pub(super) fn miss(&mut self) {
        if *self == Self::Awaited {
            *self = Self::Unknown;
        }
    }

    /// Whether both are known and are not the same.
    pub(super) fn differs(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Is(own), Self::Is(other)) if own != other)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cluster {
    /// Where it ends, if its size is known.
    pub(super) end: Option<u64>,
    /// Its Timestamp in ticks; blocks before it have no time.
    pub(super) time: Option<u64>,
    /// What `time` is worth where the Timestamp is among missing bytes. In a Cluster whose own Timestamp is not read yet, that
    /// of the one before.
    #[serde(default, skip_serializing_if = "TimeBasis::is_known")]
    pub(super) basis: TimeBasis,
}

/// Reads an EBML header and the Segment header behind it; `None` if the bytes end too early. Returns the parser for
/// what follows, and the bytes that both headers take.
///
/// # Errors
/// [`SkipReason::NotMedia`] if the bytes begin no WebM file; an empty recorder's stub has no Segment.
pub(in super::super) fn open(bytes: &[u8]) -> Result<Option<(Webm, usize)>, SkipReason> {
    let Some(mut used) = ebml_header(bytes)? else {
        return Ok(None);
    };
    let segment = loop {
        let header =
            bytes.get(used..).map(ElementHeader::read).transpose().map_err(|_| SkipReason::NotMedia)?;
        let Some(header) = header.flatten() else { return Ok(None) };
        match (header.id, header.size) {
            (id::SEGMENT, _) => break header,
            (id::VOID, Some(size)) if size <= limits::EBML_HEADER => used += header.len + size as usize,
            _ => return Err(SkipReason::NotMedia),
        }
    };
    used += segment.len;
    let hash = Fnv::of(&bytes[..used]);
    let webm = Webm {
        at: used as u64,
        segment_end: size_or_unknown(segment).map(|size| used as u64 + size),
        cluster: None,
        pass: 0,
        scale_ns: DEFAULT_SCALE_NS,
        track: None,
        hash,
        latest: None,
        first: First::Awaited,
    };
    Ok(Some((webm, used)))
}

/// The length of the EBML header at the start of `bytes`, if it is one of a WebM or Matroska file; `None` if the
/// bytes end too early.
pub(in super::super) fn ebml_header(bytes: &[u8]) -> Result<Option<usize>, SkipReason> {
    let Some(header) = ElementHeader::read(bytes).map_err(|_| SkipReason::NotMedia)? else {
        return Ok(None);
    };
    let size = header.size.filter(|&size| header.id == id::EBML && size <= limits::EBML_HEADER);
    let end = header.len + size.ok_or(SkipReason::NotMedia)? as usize;
    let Some(content) = bytes.get(header.len..end) else {
        return Ok(None);
    };
    let mut doc_type = None;
    for child in ebml::children(content) {
        let (child_id, value) = child.map_err(|_| SkipReason::NotMedia)?;
        match child_id {
            id::DOC_TYPE => doc_type = Some(ebml::string(value)),
            id::EBML_READ_VERSION if ebml::uint(value) != Some(1) => return Err(SkipReason::NotMedia),
            id::EBML_MAX_ID_LENGTH if ebml::uint(value) > Some(4) => return Err(SkipReason::NotMedia),
            id::EBML_MAX_SIZE_LENGTH if ebml::uint(value) > Some(8) => return Err(SkipReason::NotMedia),
            _ => {}
        }
    }
    match doc_type {
        Some(b"webm" | b"matroska") => Ok(Some(end)),
        _ => Err(SkipReason::NotMedia),
    }
}
