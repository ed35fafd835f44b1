//! WebM as recorders stream it (RFC 9559): where we are in the file, and one step on from there.
//!
//! ```text
//! EBML header · Segment ( SeekHead · Void · Info · Tracks · Cluster ( Timestamp · SimpleBlock … ) … Cues )
//! ```
//!
//! A step looks at the element that begins at the first byte it is given. Segment and Cluster are entered by their
//! headers alone, so their sizes may be unknown; Info, Tracks and the Opus track's blocks are waited for and read whole; all
//! else that may stand there is passed over without being kept. An element of an ID that RFC 9559 does not have is passed
//! over, too, if what follows it shows that its size is right: behind a damaged size there is no block.

mod again;
mod block;
mod content;
mod proof;
mod tracks;
mod walk;

pub(super) use again::again;
pub(super) use proof::{Proof, prove};

use serde::{Deserialize, Serialize};

use self::content::{block_time, read_block, timestamp_scale};
use self::tracks::OpusTrack;
use super::effort::Effort;
use super::header_hash::HeaderHash;
use super::{Container, Item, RecordingHead, SkipReason, Skipped, Step, TimeBasis, limits};
use crate::ebml::{self, ElementHeader, id, take_vint};
use crate::time::MediaTime;

/// Where a recording's parser is, and what it must remember of what it has passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Webm {
    /// Bytes since the recording's start, or since the place that it was taken up at.
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
    /// When the latest block began.
    latest: Option<MediaTime>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Cluster {
    /// Where it ends, if its size is known.
    end: Option<u64>,
    /// Its Timestamp in ticks; blocks before it have no time.
    time: Option<u64>,
    /// What `time` is worth where the Timestamp is among missing bytes. In a Cluster whose own Timestamp is not read yet, that
    /// of the one before.
    #[serde(default, skip_serializing_if = "TimeBasis::is_known")]
    basis: TimeBasis,
}

/// A track's.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Owner {
    Opus,
    /// One that the header declares beside it.
    Other,
}

const DEFAULT_SCALE_NS: u64 = 1_000_000;
/// More than a block of a packet or two has at any bit rate.
const LARGE_BLOCK: usize = 4 * 1024;

/// Reads an EBML header and the Segment header behind it; `None` if the bytes end too early. Returns the parser for
/// what follows, and the bytes that both headers take.
///
/// # Errors
/// [`SkipReason::NotMedia`] if the bytes begin no WebM file; an empty recorder's stub has no Segment.
pub(super) fn open(bytes: &[u8]) -> Result<Option<(Webm, usize)>, SkipReason> {
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
    let hash = HeaderHash::of(&bytes[..used]);
    let webm = Webm {
        at: used as u64,
        segment_end: size_or_unknown(segment).map(|size| used as u64 + size),
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

impl Webm {
    /// One element on. `bytes` begin where the last step ended and are not empty.
    pub(super) fn step(&mut self, bytes: &[u8], effort: &mut Effort, out: &mut Vec<Item>) -> Step {
        if self.pass > 0 {
            let passed = self.pass.min(bytes.len() as u64);
            self.pass -= passed;
            return self.took(passed as usize);
        }
        if self.cluster.as_ref().is_some_and(|cluster| cluster.end.is_some_and(|end| self.at >= end)) {
            self.cluster = None;
        }
        let header = match ElementHeader::read(bytes) {
            Ok(Some(header)) => header,
            Ok(None) => return Step::Wait,
            Err(_) => return Step::Broken(SkipReason::BadElement { id: 0 }),
        };
        if header.id == id::EBML {
            return Step::Header;
        }
        if self.has_ended() {
            return Step::Broken(SkipReason::NotMedia);
        }
        let in_cluster = self.cluster.as_ref().is_some_and(|cluster| {
            header.id == id::SIMPLE_BLOCK || cluster.end.is_some() || !is_segment_child(header.id)
        });
        let step = match in_cluster {
            true => self.in_cluster(header, bytes, effort, out),
            false => self.in_segment(header, bytes, effort, out),
        };
        step.unwrap_or_else(Step::Broken)
    }

    /// Whether a Segment of known size has come to its end.
    pub(super) fn has_ended(&self) -> bool {
        self.segment_end.is_some_and(|end| self.at >= end)
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
        effort: &mut Effort,
        out: &mut Vec<Item>,
    ) -> Result<Step, SkipReason> {
        let basis = self.cluster.take().map(|cluster| cluster.basis).unwrap_or_default();
        let end = self.end_of(header)?;
        match header.id {
            id::CLUSTER if self.track.is_some() => {
                let end = size_or_unknown(header).and(end);
                self.cluster = Some(Cluster { end, time: None, basis });
                Ok(self.took(header.len))
            }
            id::INFO => self.whole(header, bytes, limits::HEADER_ELEMENT, |webm, element, content| {
                webm.hash.add(element);
                webm.scale_ns = timestamp_scale(content)?.unwrap_or(webm.scale_ns);
                Ok(())
            }),
            id::TRACKS if self.track.is_none() => {
                self.whole(header, bytes, limits::HEADER_ELEMENT, |webm, element, content| {
                    webm.hash.add(element);
                    out.push(Item::RecordingStart(webm.read_tracks(content)?));
                    Ok(())
                })
            }
            id::TRACKS | id::SEEK_HEAD | id::CUES | id::TAGS | id::CHAPTERS | id::ATTACHMENTS => {
                self.pass_over(header, limits::SEGMENT_CHILD)
            }
            id::VOID | id::CRC_32 => self.pass_over(header, limits::PASSED_OVER),
            id::CLUSTER => Err(SkipReason::BadElement { id: header.id }),
            other if is_cluster_child(other) => Err(SkipReason::BadElement { id: header.id }),
            _ if self.track.is_none() => self.pass_over(header, limits::PASSED_OVER),
            _ => self.unknown(header, end, bytes, effort),
        }
    }

    fn in_cluster(
        &mut self,
        header: ElementHeader,
        bytes: &[u8],
        effort: &mut Effort,
        out: &mut Vec<Item>,
    ) -> Result<Step, SkipReason> {
        let end = self.end_of(header)?;
        let time = self.cluster.as_ref().and_then(|cluster| cluster.time);
        match (header.id, time) {
            (id::TIMESTAMP, None) => {
                self.whole(header, bytes, 8, |webm, _, content| webm.enter_cluster(ebml::be_uint(content)))
            }
            (id::SIMPLE_BLOCK | id::BLOCK_GROUP, Some(time)) => match self.owner(header, bytes)? {
                None => Ok(Step::Wait),
                Some(Owner::Other) => self.pass_over(header, limits::BLOCK_BESIDE),
                Some(Owner::Opus) => self.whole(header, bytes, limits::BLOCK, |webm, element, content| {
                    match read_block(webm, header.id, content, time, out) {
                        // So large, it is rather a damaged size: there may be blocks in it.
                        Err(reason) if element.len() > LARGE_BLOCK => return Err(reason),
                        Err(reason) => out.push(Item::Skipped(Skipped::new(element, reason))),
                        Ok(()) => {}
                    }
                    Ok(())
                }),
            },
            (id::ENCRYPTED_BLOCK, _) => self.whole(header, bytes, limits::BLOCK, |_, element, _| {
                out.push(Item::Skipped(Skipped::new(element, SkipReason::Encrypted)));
                Ok(())
            }),
            (id::VOID | id::CRC_32 | id::POSITION | id::PREV_SIZE | id::SILENT_TRACKS, _) => {
                self.pass_over(header, limits::PASSED_OVER)
            }
            (known, _) if is_segment_child(known) || is_cluster_child(known) => {
                Err(SkipReason::BadElement { id: header.id })
            }
            _ => self.unknown(header, end, bytes, effort),
        }
    }

    /// A Cluster's Timestamp is read. Where that of the Cluster before is missing and this one is no later, another
    /// recording began whose header is missing, too: it is taken up as one.
    fn enter_cluster(&mut self, time: u64) -> Result<(), SkipReason> {
        let began = block_time(time, 0, self.scale_ns);
        let cluster = self.cluster.get_or_insert_default();
        if !cluster.basis.is_known() && self.latest.is_some_and(|latest| began <= latest) {
            return Err(SkipReason::Resync);
        }
        (cluster.time, cluster.basis) = (Some(time), TimeBasis::Known);
        Ok(())
    }

    /// Whose block it is; `None` if the bytes end too early. A block of no declared track is damage, not to be waited for.
    fn owner(&self, block: ElementHeader, bytes: &[u8]) -> Result<Option<Owner>, SkipReason> {
        let Some(track) = &self.track else { return Ok(Some(Owner::Opus)) };
        let mut content = &bytes[block.len..];
        let short = track.number < 0x7f && content.first() == Some(&(0x80 | track.number as u8));
        if short && block.id == id::SIMPLE_BLOCK {
            return Ok(Some(Owner::Opus)); // nearly always
        }
        let is_whole = block.size.is_some_and(|size| size <= content.len() as u64);
        if block.id == id::BLOCK_GROUP {
            match ElementHeader::read(content) {
                Ok(Some(first)) if first.id == id::BLOCK => content = &content[first.len..],
                Ok(None) if !is_whole => return Ok(None),
                _ => return Ok(Some(Owner::Opus)), // its Block comes later
            }
        }
        match take_vint(&mut content) {
            Some((number, _)) if number == track.number => Ok(Some(Owner::Opus)),
            Some((number, _)) if track.others.contains(&number) => Ok(Some(Owner::Other)),
            Some((number, _)) => Err(SkipReason::UnknownTrack(number)),
            None if !is_whole && content.len() < 8 => Ok(None),
            None => Ok(Some(Owner::Opus)),
        }
    }

    /// An element that RFC 9559 does not have.
    fn unknown(
        &mut self,
        header: ElementHeader,
        end: Option<u64>,
        bytes: &[u8],
        effort: &mut Effort,
    ) -> Result<Step, SkipReason> {
        let length = header.len + known_size(header, limits::UNKNOWN_ELEMENT)?;
        if end.is_some() && end == self.segment_end {
            return Ok(self.took_known(length, bytes));
        }
        let Some(next) = bytes.get(length..) else {
            return Ok(Step::Wait);
        };
        match proof::follows(self, next, effort) {
            Proof::Holds(()) => Ok(self.took(length)),
            Proof::Wait => Ok(Step::Wait),
            Proof::Fails => Err(SkipReason::BadElement { id: header.id }),
        }
    }

    /// Takes an element that may not be complete yet.
    fn took_known(&mut self, length: usize, bytes: &[u8]) -> Step {
        let now = length.min(bytes.len());
        self.pass = (length - now) as u64;
        self.took(now)
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

    fn pass_over(&mut self, header: ElementHeader, limit: u64) -> Result<Step, SkipReason> {
        self.pass = known_size(header, limit)? as u64;
        Ok(self.took(header.len))
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
            gain: facts.gain,
            beside: facts.beside.into(),
        })
    }
}

/// Elements that stand in a Segment beside its Clusters, and other Clusters: each ends a Cluster of unknown size.
fn is_segment_child(element: u32) -> bool {
    use id::{ATTACHMENTS, CHAPTERS, CLUSTER, CUES, INFO, SEEK_HEAD, SEGMENT, TAGS, TRACKS};
    matches!(element, SEEK_HEAD | INFO | TRACKS | CHAPTERS | CLUSTER | CUES | ATTACHMENTS | TAGS | SEGMENT)
}

/// Elements that stand in a Cluster only.
fn is_cluster_child(element: u32) -> bool {
    use id::{BLOCK_GROUP, ENCRYPTED_BLOCK, POSITION, PREV_SIZE, SILENT_TRACKS, SIMPLE_BLOCK, TIMESTAMP};
    matches!(
        element,
        TIMESTAMP | SIMPLE_BLOCK | BLOCK_GROUP | ENCRYPTED_BLOCK | POSITION | PREV_SIZE | SILENT_TRACKS
    )
}

/// The size of a Segment or Cluster. Some recorders leave a size of 0 where they would have written it at the end.
fn size_or_unknown(header: ElementHeader) -> Option<u64> {
    header.size.filter(|&size| size > 0)
}

fn known_size(header: ElementHeader, limit: u64) -> Result<usize, SkipReason> {
    match header.size {
        Some(size) if size <= limit => Ok(size as usize),
        Some(bytes) => Err(SkipReason::TooLarge { id: header.id, bytes }),
        None => Err(SkipReason::BadElement { id: header.id }),
    }
}
