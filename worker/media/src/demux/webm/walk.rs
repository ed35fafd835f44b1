//! A run of elements that shows what it is.
//!
//! Between Opus bytes anything may stand that looks like an element's start. So after a loss a run of elements must prove itself:
//! each begins where the one before ends, and has bits that noise would have to hit by chance:
//!
//! | what | bits |
//! |---|---|
//! | a Cluster's ID, or another of four bytes | 32 |
//! | a Timestamp's ID and its size | 13 |
//! | a SimpleBlock's or BlockGroup's ID, the recording's track, flags that are reserved | 18 |
//! | a block that begins where the one before ends, by a third of its length and 2 ms | 10 for 60 ms, 11 for 20 ms |
//! | a block that begins later than that, by a second at most | 6 |
//!
//! All packets must be well-formed. 45 bits are asked for: two blocks in a row have them, or a block and a Cluster. So noise passes at
//! one place in 2^45, which is once in 360 million chunks of 96 KiB.
//!
//! Where the recording's header is missing, the run must show its codec as well: Opus is what has four blocks in a row on one track, each
//! of the same configuration and just as long as it takes to the next. Other codecs' frames would have to hit one of 64
//! configurations three times over, and its length.

use super::super::effort::Effort;
use super::super::limits;
use super::super::outcome::Proof;
use super::block::{Block, BlockHead};
use super::content::{block_time, jitter_ns, opened};
use super::element::{is_segment_child, known_size, size_or_unknown};
use super::tracks::OpusTrack;
use crate::ebml::{self, ElementHeader, id};
use crate::opus::packet_samples;
use crate::time::{MediaTime, Samples};

/// What a run must show after a loss.
const AFTER_LOSS: Enough = Enough { bits: 45, blocks: 1 };
/// The same, where the recording's header is missing.
const HEADERLESS: Enough = Enough { bits: 45, blocks: 4 };
/// In the middle of a sound recording, behind an element of an unknown ID.
const IN_ORDER: Enough = Enough { bits: 18, blocks: 0 };
const BLOCK_BITS: u32 = 18;
/// Elements in a row that show nothing.
const MAX_IDLE: u32 = 16;
/// A recorder that sends nothing while there is silence still sends something now and then.
const LONGEST_SILENCE_NS: i64 = 1_000_000_000;

/// What a run of elements begins with.
pub(super) struct Start {
    /// The Cluster's header, if it begins with one.
    cluster: Option<ElementHeader>,
    /// The Timestamp before the first block, if there is one.
    pub(super) time: Option<u64>,
    pub(super) block: First,
    /// Other tracks whose blocks came between, of a recording whose header is missing.
    pub(super) others: Vec<u64>,
    /// How many bytes the run takes to prove itself.
    pub(super) proof: usize,
}

impl Start {
    /// Bytes that need not be read again: the Cluster's header.
    pub(super) fn used(&self) -> usize {
        self.cluster.map_or(0, |header| header.len)
    }

    /// Where the Cluster ends, from the run's start, if its size is known.
    pub(super) fn cluster_end(&self) -> Option<u64> {
        let header = self.cluster?;
        Some(header.len as u64 + size_or_unknown(header)?)
    }
}

/// The first block in a run.
#[derive(Copy, Clone)]
pub(super) struct First {
    pub(super) track: u64,
    pub(super) relative: i16,
    pub(super) duration: Samples,
    pub(super) stereo: bool,
    /// Where it ends, from the run's start.
    pub(super) end: usize,
}

struct Unproven;

/// What a run must show: blocks of the Opus track, or beside it where the header is known.
#[derive(Copy, Clone)]
struct Enough {
    bits: u32,
    blocks: u32,
}

/// A run of elements, and what it has shown so far.
pub(super) struct Walk<'a> {
    tracks: Option<&'a OpusTrack>,
    scale_ns: u64,
    enough: Enough,
    bits: u32,
    /// Blocks of the Opus track, or one of another.
    blocks: u32,
    /// Elements in a row that show nothing.
    idle: u32,
    /// Whether a block may come: not before a Cluster's Timestamp.
    in_cluster: bool,
    /// Where the current Cluster ends, from the run's start, if its size is known.
    cluster_end: Option<usize>,
    cluster: Option<ElementHeader>,
    /// The current Cluster's Timestamp, if it is known.
    time: Option<u64>,
    first: Option<(First, Option<u64>)>,
    /// The latest block of the Opus track: the Timestamp of its Cluster, its own place after that, its length.
    latest: Option<(Option<u64>, i16, Samples)>,
    /// Tracks beside a headerless recording's.
    others: Vec<u64>,
    /// The bytes of the run that its latest element had to be looked at for.
    seen: usize,
    /// By how much the blocks since the first are longer than the time that they take.
    drift_ns: i64,
    /// A headerless recording's configuration and channels, from its first TOC.
    configuration: Option<u8>,
}

impl<'a> Walk<'a> {
    /// A run of the recording that has these tracks.
    pub(super) fn of(tracks: &'a OpusTrack, scale_ns: u64) -> Self {
        Self::new(Some(tracks), scale_ns, AFTER_LOSS)
    }

    /// A run of a recording whose header is missing.
    pub(super) fn headerless(scale_ns: u64) -> Self {
        Self::new(None, scale_ns, HEADERLESS)
    }

    /// A run in the middle of a recording.
    pub(super) fn in_order(tracks: Option<&'a OpusTrack>, scale_ns: u64) -> Self {
        Self::new(tracks, scale_ns, IN_ORDER)
    }

    fn new(tracks: Option<&'a OpusTrack>, scale_ns: u64, enough: Enough) -> Self {
        Self {
            tracks,
            scale_ns,
            enough,
            bits: 0,
            blocks: 0,
            idle: 0,
            in_cluster: true,
            cluster_end: None,
            cluster: None,
            time: None,
            first: None,
            latest: None,
            others: Vec::new(),
            seen: 0,
            drift_ns: 0,
            configuration: None,
        }
    }

    /// Whether `bytes` begin with such a run, and what that begins with.
    pub(super) fn prove(mut self, bytes: &[u8], effort: &mut Effort) -> Proof<Start> {
        match (self.run(bytes, effort), self.first) {
            (Ok(true), Some((block, time))) => {
                let proof = self.seen;
                Proof::Holds(Start { cluster: self.cluster, time, block, others: self.others, proof })
            }
            (Ok(false), _) => Proof::Wait,
            _ => Proof::Fails,
        }
    }

    /// The same, where it does not matter what it begins with.
    pub(super) fn prove_order(mut self, bytes: &[u8], effort: &mut Effort) -> Proof<()> {
        match self.run(bytes, effort) {
            Ok(true) => Proof::Holds(()),
            Ok(false) => Proof::Wait,
            Err(Unproven) => Proof::Fails,
        }
    }

    /// Goes along the elements until they have shown enough; `false` if there are too few bytes for that.
    fn run(&mut self, bytes: &[u8], effort: &mut Effort) -> Result<bool, Unproven> {
        let mut at = 0;
        while self.bits < self.enough.bits || self.blocks < self.enough.blocks {
            if at > limits::PROOF || self.idle > MAX_IDLE {
                return Err(Unproven);
            }
            let Some(rest) = bytes.get(at..) else { return Ok(false) };
            let Some(header) = ElementHeader::read(rest).map_err(|_| Unproven)? else { return Ok(false) };
            if self.cluster_end.is_some_and(|end| at >= end) {
                self.leave_cluster();
            }
            let Some(length) = self.element(header, rest, at, effort)? else { return Ok(false) };
            at += length;
        }
        Ok(true)
    }

    /// Takes a Cluster's header; returns its length.
    fn enter_cluster(&mut self, header: ElementHeader, at: usize) -> usize {
        self.bits += 32;
        if at == 0 {
            self.cluster = Some(header);
        }
        self.leave_cluster();
        self.cluster_end = size_or_unknown(header).map(|size| at + header.len + size as usize);
        header.len
    }

    fn leave_cluster(&mut self) {
        (self.in_cluster, self.cluster_end, self.time) = (false, None, None);
    }

    /// Takes a Cluster's Timestamp; returns the `length` of the element.
    fn timestamp(&mut self, value: &[u8], length: usize) -> usize {
        self.bits += 13;
        self.in_cluster = true;
        self.time = Some(ebml::be_uint(value));
        length
    }

    /// Looks at one element; returns its length (of a Cluster, its header's), or `None` if it must be complete for that.
    fn element(
        &mut self,
        header: ElementHeader,
        bytes: &[u8],
        at: usize,
        effort: &mut Effort,
    ) -> Result<Option<usize>, Unproven> {
        let cluster_end = self.cluster_end.filter(|_| !is_segment_child(header.id));
        let sized = |limit| {
            let length = header.len + known_size(header, limit).map_err(|_| Unproven)?;
            let fits = cluster_end.is_none_or(|end| at + length <= end);
            if fits { Ok(length) } else { Err(Unproven) }
        };
        self.seen = at + header.len;
        let is_empty = at > 0 && self.first.is_none() && self.enough.blocks > 0;
        match header.id {
            other if is_empty && is_segment_child(other) => Err(Unproven), // there is a better place
            id::CLUSTER if header.size.is_none_or(|size| size <= limits::CLUSTER) => {
                Ok(Some(self.enter_cluster(header, at)))
            }
            id::TIMESTAMP if self.time.is_none() && (at == 0 || !self.in_cluster) => {
                let length = sized(8)?;
                self.seen = at + length;
                Ok(bytes.get(..length).map(|element| self.timestamp(&element[header.len..], length)))
            }
            id::SIMPLE_BLOCK | id::BLOCK_GROUP if self.in_cluster => {
                self.block(header, sized(limits::BLOCK_BESIDE)?, bytes, at, effort)
            }
            id::EBML => {
                self.bits += 32;
                Ok(Some(sized(limits::EBML_HEADER)?))
            }
            id::CLUSTER | id::TIMESTAMP | id::SIMPLE_BLOCK | id::BLOCK_GROUP => Err(Unproven),
            child if is_segment_child(child) => {
                self.bits += 32;
                self.leave_cluster();
                Ok(Some(sized(limits::SEGMENT_CHILD)?))
            }
            other => {
                self.idle += 1;
                let limit = if other == id::ENCRYPTED_BLOCK { limits::BLOCK } else { limits::PROOF_ELEMENT };
                Ok(Some(sized(limit)?))
            }
        }
    }

    fn block(
        &mut self,
        header: ElementHeader,
        length: usize,
        bytes: &[u8],
        at: usize,
        effort: &mut Effort,
    ) -> Result<Option<usize>, Unproven> {
        let element = &bytes[..length.min(bytes.len())];
        let is_whole = element.len() == length;
        let Some((head, seen)) = block_head(header, element, length)? else {
            return if is_whole { Err(Unproven) } else { Ok(None) };
        };
        self.seen = at + seen;
        if !head.is_regular() {
            return Err(Unproven);
        }
        let ours = self.tracks.map(|tracks| tracks.number).or(self.first.map(|(first, _)| first.track));
        if ours.is_some_and(|ours| ours != head.track) {
            self.block_beside(head, at, at + length)?;
            return Ok(Some(length));
        }
        if at + length > limits::PROOF {
            return Err(Unproven);
        }
        if is_whole {
            effort.spend(length);
            self.seen = at + length;
            self.opus_block(header, element, at + length)?;
        }
        Ok(is_whole.then_some(length))
    }

    /// Looks at a block of another track, which need not be complete.
    fn block_beside(&mut self, head: BlockHead, at: usize, end: usize) -> Result<(), Unproven> {
        let Some(tracks) = self.tracks else {
            self.idle += 1;
            if !self.others.contains(&head.track) {
                self.others.push(head.track);
            }
            return Ok(());
        };
        // As the start of a run, its place in time would say nothing about the sound's.
        let is_start = at == 0 && self.enough.blocks > 0;
        if is_start || !tracks.others.contains(&head.track) {
            return Err(Unproven);
        }
        self.bits += BLOCK_BITS;
        self.blocks += 1;
        let BlockHead { track, relative, .. } = head;
        let first = First { track, relative, duration: Samples::ZERO, stereo: false, end };
        self.first.get_or_insert((first, self.time));
        Ok(())
    }

    /// Looks at a complete block of the Opus track, which ends `end` bytes after the run's start.
    fn opus_block(&mut self, header: ElementHeader, element: &[u8], end: usize) -> Result<(), Unproven> {
        let (content, _) = opened(header.id, &element[header.len..]).ok_or(Unproven)?;
        let block = Block::read(content).ok_or(Unproven)?;
        let mut duration = Samples::ZERO;
        for frame in block.frames() {
            duration += packet_samples(frame).map_err(|_| Unproven)?;
        }
        let toc = block.frames().first().and_then(|frame| frame.first()).copied().ok_or(Unproven)?;
        if self.tracks.is_none() {
            let other = *self.configuration.get_or_insert(toc >> 2) != toc >> 2;
            if other || !block.frames().iter().all(|frame| is_varied(frame)) {
                return Err(Unproven);
            }
        }
        self.bits += BLOCK_BITS;
        if let Some(before) = self.latest {
            self.bits += self.step_bits(before, (self.time, block.relative))?;
        }
        (self.blocks, self.idle) = (self.blocks + 1, 0);
        self.latest = Some((self.time, block.relative, duration));
        let (track, relative, stereo) = (block.track, block.relative, toc & 0x04 != 0);
        self.first.get_or_insert((First { track, relative, duration, stereo, end }, self.time));
        Ok(())
    }

    /// How many bits a block's place in time is worth, by that of the block before.
    fn step_bits(
        &mut self,
        (time, relative, duration): (Option<u64>, i16, Samples),
        now: (Option<u64>, i16),
    ) -> Result<u32, Unproven> {
        let step = match (time, now.0) {
            (Some(before), Some(time)) => block_time(time, now.1, self.scale_ns)
                .0
                .saturating_sub(block_time(before, relative, self.scale_ns).0),
            (None, None) => block_time(0, now.1, self.scale_ns).0 - block_time(0, relative, self.scale_ns).0,
            _ => return Ok(0), // in a later Cluster than one whose Timestamp is missing
        };
        let tolerance = jitter_ns(duration, self.scale_ns);
        let tick = self.scale_ns as i64;
        let worth = |range_ns: i64| 16_u32.saturating_sub((range_ns / tick + 1).ilog2() + 1);
        let off = step.saturating_sub(MediaTime(0).plus(duration).0);
        self.drift_ns = self.drift_ns.saturating_add(off);
        let drifts = self.tracks.is_none() && self.drift_ns.saturating_abs() > tolerance;
        if off.saturating_abs() <= tolerance && !drifts {
            return Ok(worth(2 * tolerance));
        }
        let silence = self.tracks.is_some() && (0..=LONGEST_SILENCE_NS).contains(&step);
        if silence { Ok(worth(LONGEST_SILENCE_NS)) } else { Err(Unproven) }
    }
}

/// Whether a packet's bytes are as different as those of a range coder. Samples of near silence are not.
fn is_varied(packet: &[u8]) -> bool {
    const LONG: usize = 64;
    const DIFFERENT: u32 = 16;
    let mut seen = [0_u64; 4];
    packet.iter().for_each(|byte| seen[usize::from(byte >> 6)] |= 1 << (byte & 63));
    packet.len() < LONG || seen.iter().map(|bits| bits.count_ones()).sum::<u32>() >= DIFFERENT
}

/// The first bytes of a block of this `length` that may not be complete, and how many bytes of it they are; `None` if too little
/// of it is there.
fn block_head(
    header: ElementHeader,
    element: &[u8],
    length: usize,
) -> Result<Option<(BlockHead, usize)>, Unproven> {
    let mut content = &element[header.len..];
    let mut is_first = true;
    if header.id == id::BLOCK_GROUP {
        let Some(first) = ElementHeader::read(content).map_err(|_| Unproven)? else { return Ok(None) };
        is_first = first.id == id::BLOCK;
        content = &content[first.len..];
    }
    if !is_first {
        if length > limits::PROOF {
            return Err(Unproven);
        }
        if element.len() < length {
            return Ok(None);
        }
        content = opened(header.id, &element[header.len..]).ok_or(Unproven)?.0;
    }
    let is_long_enough = content.len() >= BlockHead::MAX_LEN;
    match BlockHead::take(&mut content) {
        None if is_long_enough => Err(Unproven),
        None => Ok(None),
        Some(head) if is_first => Ok(Some((head, element.len() - content.len()))),
        Some(head) => Ok(Some((head, length))),
    }
}
