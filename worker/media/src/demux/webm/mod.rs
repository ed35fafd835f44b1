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
mod element;
mod proof;
mod state;
mod tracks;
mod walk;

pub(super) use again::again;
pub(super) use proof::{Proven, prove};
pub(super) use state::{Webm, ebml_header, open};

use self::content::{block_time, read_block, timestamp_scale};
use self::element::{is_cluster_child, is_segment_child, known_size, size_or_unknown};
use self::state::{Cluster, First, LARGE_BLOCK};
use super::effort::Effort;
use super::outcome::{Proof, Step};
use super::{Container, Item, RecordingHead, SkipReason, Skipped, TimeBasis, limits};
use crate::ebml::{self, ElementHeader, id, take_vint};

/// A track's.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Owner {
    Opus,
    /// One that the header declares beside it.
    Other,
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

    /// Bytes are missing: what comes next may not be the first block.
    pub(super) fn miss(&mut self) {
        self.first.miss();
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
            (id::TIMESTAMP, None) => self.whole(header, bytes, 8, |webm, element, content| {
                out.extend(webm.enter_cluster(element, ebml::be_uint(content)).map(Item::RecordingStart));
                Ok(())
            }),
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
    /// recording began whose header is missing, too: a head is made up for it. Nothing lies between, so nothing is to be proved.
    fn enter_cluster(&mut self, element: &[u8], time: u64) -> Option<RecordingHead> {
        let began = block_time(time, 0, self.scale_ns);
        let cluster = self.cluster.get_or_insert_default();
        let is_other = !cluster.basis.is_known() && self.latest.is_some_and(|latest| began <= latest);
        (cluster.time, cluster.basis) = (Some(time), TimeBasis::Known);
        is_other.then(|| {
            self.hash.add(element);
            (self.latest, self.first) = (None, First::Unknown);
            RecordingHead::made_up(Container::WebM, self.hash, false)
        })
    }

    /// Whose block it is; `None` if the bytes end too early. A block of no declared track is damage, not to be waited for.
    fn owner(&self, block: ElementHeader, bytes: &[u8]) -> Result<Option<Owner>, SkipReason> {
        let Some(track) = &self.track else { return Ok(Some(Owner::Opus)) };
        let mut content = &bytes[block.len..];
        if let Some(size) = block.size.and_then(|size| usize::try_from(size).ok()) {
            content = &content[..size.min(content.len())]; // what follows the block says nothing of it
        }
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
            id: self.hash.to_string(),
            channels: facts.channels,
            pre_skip: facts.pre_skip,
            headerless: false,
            gain: facts.gain,
            beside: facts.beside.into(),
        })
    }
}
