//! WebM as recorders stream it (RFC 9559): where we are in the file, and one step on from there.
//!
//! ```text
//! EBML header · Segment ( SeekHead · Void · Info · Tracks · Cluster ( Timestamp · SimpleBlock … ) … Cues )
//! ```
//!
//! A step looks at the element that begins at the first byte it is given. Segment and Cluster are entered by their
//! headers alone, so their sizes may be unknown; Info, Tracks and blocks are waited for and read whole; all else that
//! may stand there is passed over without being kept. Only IDs that RFC 9559 allows at a place are taken there:
//! browsers write no others, and a damaged size shows at once when what follows it is none of them.

mod block;
mod proof;
mod tracks;

pub(super) use proof::{Proof, prove_cluster};

use serde::{Deserialize, Serialize};

use self::block::Block;
use self::tracks::OpusTrack;
use super::header_hash::HeaderHash;
use super::{Container, Item, Packet, RecordingHead, SkipReason, Skipped, Step, limits};
use crate::ebml::{self, ElementHeader, id};
use crate::opus::packet_samples;
use crate::time::{MediaTime, Samples};

/// Where a recording's parser is, and what it must remember of what it has passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Webm {
    /// Bytes since the recording's start, or since the Cluster that it was taken up at.
    at: u64,
    /// Where the Segment ends, if its size is known.
    segment_end: Option<u64>,
    cluster: Option<Cluster>,
    /// Bytes of the current element that are still to be passed over.
    pass: u64,
    /// Nanoseconds per tick (TimestampScale).
    scale_ns: u64,
    track: Option<OpusTrack>,
    hash: HeaderHash,
    /// When the latest packet began.
    latest: Option<MediaTime>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cluster {
    /// Where it ends, if its size is known.
    end: Option<u64>,
    /// Its Timestamp in ticks; blocks before it have no time.
    time: Option<u64>,
}

const DEFAULT_SCALE_NS: u64 = 1_000_000;
const MAX_SCALE_NS: u64 = 1_000_000_000;

/// Reads an EBML header and the Segment header behind it; `None` if the bytes end too early. Returns the parser for
/// what follows, and the bytes that both headers take.
///
/// # Errors
/// [`SkipReason::NotMedia`] if the bytes begin no WebM file; an empty recorder's stub has no Segment.
pub(super) fn open(bytes: &[u8]) -> Result<Option<(Webm, usize)>, SkipReason> {
    let Some(header_len) = ebml_header(bytes)? else {
        return Ok(None);
    };
    let segment = ElementHeader::read(&bytes[header_len..]).map_err(|_| SkipReason::NotMedia)?;
    let Some(segment) = segment else { return Ok(None) };
    if segment.id != id::SEGMENT {
        return Err(SkipReason::NotMedia);
    }
    let used = header_len + segment.len;
    let hash = HeaderHash::of(&bytes[..used]);
    let webm = Webm {
        at: used as u64,
        segment_end: segment.size.map(|size| used as u64 + size),
        cluster: None,
        pass: 0,
        scale_ns: DEFAULT_SCALE_NS,
        track: None,
        hash,
        latest: None,
    };
    Ok(Some((webm, used)))
}

/// The length of the EBML header at the start of `bytes`, if it is one of a WebM or Matroska file; `None` if the
/// bytes end too early.
pub(super) fn ebml_header(bytes: &[u8]) -> Result<Option<usize>, SkipReason> {
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
            id::DOC_TYPE => doc_type = Some(value),
            id::EBML_READ_VERSION if ebml::uint(value) != Some(1) => return Err(SkipReason::NotMedia),
            id::EBML_MAX_ID_LENGTH if ebml::uint(value) > Some(4) => return Err(SkipReason::NotMedia),
            id::EBML_MAX_SIZE_LENGTH if ebml::uint(value) > Some(8) => return Err(SkipReason::NotMedia),
            _ => {}
        }
    }
    let padding = |byte: &u8| *byte == 0; // strings may be padded with zeros (RFC 8794 section 7.4)
    let doc_type = doc_type.map(|value| value.split(padding).next().unwrap_or_default());
    match doc_type {
        Some(b"webm" | b"matroska") => Ok(Some(end)),
        _ => Err(SkipReason::NotMedia),
    }
}

impl Webm {
    /// One element on. `bytes` begin where the last step ended and are not empty.
    pub(super) fn step(&mut self, bytes: &[u8], out: &mut Vec<Item>) -> Step {
        if self.pass > 0 {
            let passed = self.pass.min(bytes.len() as u64);
            self.pass -= passed;
            return self.took(passed as usize);
        }
        if self.cluster.as_ref().is_some_and(|cluster| cluster.end.is_some_and(|end| self.at >= end)) {
            self.cluster = None;
        }
        let ended = self.segment_end.is_some_and(|end| self.at >= end);
        let header = match ElementHeader::read(bytes) {
            Ok(Some(header)) => header,
            Ok(None) => return Step::Wait,
            Err(_) => return Step::Broken(SkipReason::BadElement { id: 0 }),
        };
        if header.id == id::EBML {
            return Step::Header;
        }
        if ended {
            return Step::Broken(SkipReason::NotMedia);
        }
        let step = match &self.cluster {
            Some(cluster) if cluster.end.is_some() || is_in_cluster(header.id) => {
                self.in_cluster(header, bytes, out)
            }
            _ => self.in_segment(header, bytes, out),
        };
        step.unwrap_or_else(Step::Broken)
    }

    fn took(&mut self, bytes: usize) -> Step {
        self.at = self.at.saturating_add(bytes as u64);
        Step::Took(bytes)
    }

    /// Where an element ends, if it lies within its parents.
    fn end_of(&self, header: ElementHeader) -> Result<Option<u64>, SkipReason> {
        let Some(size) = header.size else { return Ok(None) };
        let end = self.at.saturating_add(header.len as u64).saturating_add(size);
        let cluster_end = self.cluster.as_ref().and_then(|cluster| cluster.end);
        let fits = |parent: Option<u64>| parent.is_none_or(|parent| end <= parent);
        if fits(self.segment_end) && fits(cluster_end) {
            Ok(Some(end))
        } else {
            Err(SkipReason::BadElement { id: header.id })
        }
    }

    fn in_segment(
        &mut self,
        header: ElementHeader,
        bytes: &[u8],
        out: &mut Vec<Item>,
    ) -> Result<Step, SkipReason> {
        self.cluster = None;
        let end = self.end_of(header)?;
        match header.id {
            id::CLUSTER if self.track.is_some() => {
                self.cluster = Some(Cluster { end, time: None });
                Ok(self.took(header.len))
            }
            id::INFO => self.whole(header, bytes, limits::HEADER_ELEMENT, |webm, element, content| {
                webm.hash.add(element);
                webm.read_info(content)
            }),
            id::TRACKS if self.track.is_none() => {
                self.whole(header, bytes, limits::HEADER_ELEMENT, |webm, element, content| {
                    webm.hash.add(element);
                    out.push(Item::RecordingStart(webm.read_tracks(content)?));
                    Ok(())
                })
            }
            id::TRACKS
            | id::SEEK_HEAD
            | id::CUES
            | id::TAGS
            | id::CHAPTERS
            | id::ATTACHMENTS
            | id::VOID
            | id::CRC_32 => self.pass_over(header),
            _ => Err(SkipReason::BadElement { id: header.id }),
        }
    }

    fn in_cluster(
        &mut self,
        header: ElementHeader,
        bytes: &[u8],
        out: &mut Vec<Item>,
    ) -> Result<Step, SkipReason> {
        self.end_of(header)?;
        let time = self.cluster.as_ref().and_then(|cluster| cluster.time);
        match (header.id, time) {
            (id::TIMESTAMP, None) => self.whole(header, bytes, 8, |webm, _, content| {
                webm.cluster.iter_mut().for_each(|cluster| cluster.time = ebml::uint(content));
                Ok(())
            }),
            (id::SIMPLE_BLOCK | id::BLOCK_GROUP, Some(time)) => {
                self.whole(header, bytes, limits::BLOCK, |webm, element, content| {
                    let unusable = webm.read_block(header.id, content, time, out).err();
                    out.extend(unusable.map(|reason| Item::Skipped(Skipped::new(element, reason))));
                    Ok(())
                })
            }
            (id::VOID | id::CRC_32 | id::POSITION | id::PREV_SIZE | id::SILENT_TRACKS, _) => {
                self.pass_over(header)
            }
            _ => Err(SkipReason::BadElement { id: header.id }),
        }
    }

    /// Waits until an element is complete, then gives its bytes and its content to `read`.
    fn whole(
        &mut self,
        header: ElementHeader,
        bytes: &[u8],
        limit: u64,
        read: impl FnOnce(&mut Self, &[u8], &[u8]) -> Result<(), SkipReason>,
    ) -> Result<Step, SkipReason> {
        let end = header.len + known_size(header, limit)?;
        let Some(element) = bytes.get(..end) else {
            return Ok(Step::Wait);
        };
        read(self, element, &element[header.len..])?;
        Ok(self.took(end))
    }

    fn pass_over(&mut self, header: ElementHeader) -> Result<Step, SkipReason> {
        self.pass = known_size(header, limits::PASSED_OVER)? as u64;
        Ok(self.took(header.len))
    }

    fn read_info(&mut self, content: &[u8]) -> Result<(), SkipReason> {
        const BROKEN: SkipReason = SkipReason::BadElement { id: id::INFO };
        for child in ebml::children(content) {
            let (child_id, value) = child.map_err(|_| BROKEN)?;
            if child_id == id::TIMESTAMP_SCALE {
                let scale = ebml::uint(value).filter(|scale| (1..=MAX_SCALE_NS).contains(scale));
                self.scale_ns = scale.ok_or(SkipReason::BadElement { id: child_id })?;
            }
        }
        Ok(())
    }

    fn read_tracks(&mut self, content: &[u8]) -> Result<RecordingHead, SkipReason> {
        let facts = tracks::read(content)?;
        self.track = Some(facts.track);
        Ok(RecordingHead {
            container: Container::WebM,
            id: self.hash.id(),
            channels: facts.channels,
            pre_skip: facts.pre_skip,
            headerless: false,
        })
    }

    /// Turns a block of the Opus track into packets; a declared track beside it is passed over.
    fn read_block(
        &mut self,
        block_id: u32,
        content: &[u8],
        cluster_time: u64,
        out: &mut Vec<Item>,
    ) -> Result<(), SkipReason> {
        let (content, discard_end) = opened(block_id, content).ok_or(SkipReason::BadPacket)?;
        let block = Block::read(content).ok_or(SkipReason::BadPacket)?;
        let Some(track) = &self.track else { return Ok(()) };
        if block.track != track.number {
            let declared = track.others.contains(&block.track);
            return if declared { Ok(()) } else { Err(SkipReason::UnknownTrack(block.track)) };
        }
        let mut time = block_time(cluster_time, block.relative, self.scale_ns);
        self.latest = Some(time);
        let last = block.frames.len() - 1;
        for (n, frame) in block.frames.into_iter().enumerate() {
            let duration = packet_samples(frame).unwrap_or_default();
            let discard_end = if n == last { discard_end.min(duration) } else { Samples::ZERO };
            out.push(Item::Packet(Packet { time, duration, data: frame.to_vec(), discard_end }));
            time = time.plus(duration);
        }
        Ok(())
    }
}

/// Elements that stand in a Cluster; any other ends a Cluster of unknown size.
fn is_in_cluster(element: u32) -> bool {
    use id::{BLOCK_GROUP, CRC_32, POSITION, PREV_SIZE, SILENT_TRACKS, SIMPLE_BLOCK, TIMESTAMP, VOID};
    matches!(
        element,
        TIMESTAMP | SIMPLE_BLOCK | BLOCK_GROUP | VOID | CRC_32 | POSITION | PREV_SIZE | SILENT_TRACKS
    )
}

fn known_size(header: ElementHeader, limit: u64) -> Result<usize, SkipReason> {
    match header.size {
        Some(size) if size <= limit => Ok(size as usize),
        Some(bytes) => Err(SkipReason::TooLarge { id: header.id, bytes }),
        None => Err(SkipReason::BadElement { id: header.id }),
    }
}

/// The content of a SimpleBlock, or of a BlockGroup's Block with its DiscardPadding (positive: at the end).
fn opened(block_id: u32, content: &[u8]) -> Option<(&[u8], Samples)> {
    if block_id == id::SIMPLE_BLOCK {
        return Some((content, Samples::ZERO));
    }
    let (mut block, mut discard_ns) = (None, 0);
    for child in ebml::children(content) {
        match child.ok()? {
            (id::BLOCK, value) => block = Some(value),
            (id::DISCARD_PADDING, value) => discard_ns = ebml::int(value)?,
            _ => {}
        }
    }
    Some((block?, MediaTime(discard_ns).since(MediaTime(0))))
}

fn block_time(cluster_time: u64, relative: i16, scale_ns: u64) -> MediaTime {
    let ns = (i128::from(cluster_time) + i128::from(relative)) * i128::from(scale_ns);
    MediaTime(ns.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
}
