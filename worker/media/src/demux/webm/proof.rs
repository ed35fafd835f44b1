//! Whether the four bytes of a Cluster's ID, found while looking for a place to go on from, begin a Cluster.
//!
//! A Cluster proves itself by what it begins with: a size that is sane or unknown, a Timestamp before any block, and a
//! first block of a track that the recording has, with a well-formed Opus packet if it is the Opus track.

use super::super::header_hash::HeaderHash;
use super::super::{Container, RecordingHead, limits};
use super::block::Block;
use super::tracks::OpusTrack;
use super::{Cluster, DEFAULT_SCALE_NS, Webm, block_time, known_size, opened};
use crate::ebml::{self, ElementHeader, id};
use crate::opus::packet_samples;
use crate::time::{MediaTime, OpusTicks};

/// What became of a place that might be one to go on from.
pub(in super::super) enum Proof<T> {
    /// It is none.
    Fails,
    /// More bytes will tell.
    Wait,
    /// It is one: how to go on there.
    Holds(T),
}

/// A Cluster's header and what its start says.
struct Start {
    header: ElementHeader,
    track: u64,
    stereo: bool,
    is_opus: bool,
    relative: i16,
    time: u64,
    /// Bytes up to the end of the first block.
    len: usize,
}

/// Tries to go on at the Cluster that `bytes` begin with. `before` is the recording that was left, if there was one:
/// it goes on if the block's track is one of its own and its time is later than what was read; otherwise a recording
/// begins whose header was lost, and a head is made up for it. Returns the parser behind the Cluster's header, that
/// header's length, and the new head.
pub(in super::super) fn prove_cluster(
    before: Option<&Webm>,
    bytes: &[u8],
) -> Proof<(Webm, usize, Option<RecordingHead>)> {
    let start = match read_start(bytes) {
        Ok(Some(start)) => start,
        Ok(None) => return Proof::Wait,
        Err(Unproven) => return Proof::Fails,
    };
    let cluster =
        Some(Cluster { end: start.header.size.map(|size| start.header.len as u64 + size), time: None });
    let resumed = |webm: Webm, head| Proof::Holds((webm, start.header.len, head));
    let at = start.header.len as u64;
    if let Some((webm, track)) = before.and_then(|webm| Some((webm, webm.track.as_ref()?))) {
        let known = start.track == track.number && start.is_opus || track.others.contains(&start.track);
        if !known {
            return Proof::Fails;
        }
        if later(webm, &start) {
            return resumed(Webm { at, segment_end: None, cluster, pass: 0, ..webm.clone() }, None);
        }
    }
    if !start.is_opus {
        return Proof::Fails;
    }
    let hash = HeaderHash::of(&bytes[..start.len]);
    let head = RecordingHead {
        container: Container::WebM,
        id: hash.id(),
        channels: if start.stereo { 2 } else { 1 },
        pre_skip: OpusTicks(0),
        headerless: true,
    };
    let track = OpusTrack { number: start.track, others: Vec::new() };
    let webm = Webm {
        at,
        segment_end: None,
        cluster,
        pass: 0,
        scale_ns: DEFAULT_SCALE_NS,
        track: Some(track),
        hash,
        latest: None,
    };
    resumed(webm, Some(head))
}

/// A recording that was restarted while bytes went missing begins at 0 again.
fn later(webm: &Webm, start: &Start) -> bool {
    let time = block_time(start.time, start.relative, webm.scale_ns);
    webm.latest.is_none_or(|latest: MediaTime| time > latest)
}

struct Unproven;

fn read_start(bytes: &[u8]) -> Result<Option<Start>, Unproven> {
    let Some(header) = ElementHeader::read(bytes).map_err(|_| Unproven)? else {
        return Ok(None);
    };
    if header.id != id::CLUSTER || header.size.is_some_and(|size| size > limits::CLUSTER) {
        return Err(Unproven);
    }
    let (mut at, mut time) = (header.len, None);
    for _ in 0..limits::BEFORE_FIRST_BLOCK {
        let Some(child) = ElementHeader::read(&bytes[at..]).map_err(|_| Unproven)? else {
            return Ok(None);
        };
        let is_block = matches!(child.id, id::SIMPLE_BLOCK | id::BLOCK_GROUP);
        let limit = if is_block { limits::BLOCK } else { limits::BEFORE_FIRST_BLOCK_BYTES };
        let size = known_size(child, limit).map_err(|_| Unproven)?;
        let end = at + child.len + size;
        if header.size.is_some_and(|size| (end - header.len) as u64 > size) {
            return Err(Unproven);
        }
        match child.id {
            id::TIMESTAMP if time.is_none() && size <= 8 => {}
            id::SIMPLE_BLOCK | id::BLOCK_GROUP if time.is_some() => {}
            id::POSITION | id::PREV_SIZE | id::SILENT_TRACKS if time.is_some() => {}
            id::VOID | id::CRC_32 => {}
            _ => return Err(Unproven),
        }
        let Some(content) = bytes.get(at + child.len..end) else {
            return Ok(None);
        };
        match (child.id, time) {
            (id::TIMESTAMP, _) => time = ebml::uint(content),
            (id::SIMPLE_BLOCK | id::BLOCK_GROUP, Some(time)) => {
                return first_block(header, child.id, content, time, end).map(Some).ok_or(Unproven);
            }
            _ => {}
        }
        at = end;
    }
    Err(Unproven)
}

fn first_block(header: ElementHeader, block_id: u32, content: &[u8], time: u64, len: usize) -> Option<Start> {
    let block = Block::read(opened(block_id, content)?.0)?;
    let first = block.frames.first()?;
    let stereo = first.first().is_some_and(|toc| toc & 0x04 != 0);
    let is_opus = packet_samples(first).is_ok();
    Some(Start { header, track: block.track, stereo, is_opus, relative: block.relative, time, len })
}
