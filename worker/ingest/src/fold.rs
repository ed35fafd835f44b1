//! Goes through a batch's chunks from where the line stands: what each holds, where it lies in time, what is
//! missing. Demuxing tells all of that; nothing is decoded here.
//!
//! Two passes: the first demuxes chunk by chunk, the second places them, because only the chunks after one
//! tell a pause from a stall. The result depends on the starting snapshot and the chunks alone, never on the
//! clock, so a second attempt at the same batch is the same fragment.

use media::demux::{Demuxer, Item, Packet, RecordingHead, SkipReason, TimeBasis};
use media::opus::{PRE_ROLL, pre_roll_with};
use media::time::{EpochMs, MediaTime, Samples};

use crate::checkpoint::{ChunkRange, Gap, Heard, Loss, MediaState, Position, Residue, Snapshot};
use crate::message::{Record, Rejection};
use crate::timeline::{Joint, Timing};

/// The longest loss inside chunks that is concealed; a longer one is left as silence that nobody pretends to know.
const MAX_CONCEALED: Samples = Samples(16_000);
/// The most audio one chunk may claim: few bytes can claim hours. Kinesis Video takes fragments of at most 20 s.
const MAX_CHUNK: Samples = Samples::from_ms(10_000);
/// The most bytes kept after a gap to complete its last packet.
const MAX_RESIDUE_BYTES: usize = 64 * 1024;
/// A hole that may be longer than its container time says is not believed if the capture clock says so by more than this.
const HIDDEN_CLUSTER_MS: u64 = 500;
/// A hole told by container time may exceed the capture clock's by this much before it is disbelieved.
const HOLE_TOLERANCE_MS: u64 = 2_000;

/// A chunk with its place in the session's numbering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The record it came in.
    pub record: Record,
    /// Which numbering.
    pub numbering: u32,
    /// Its chunkIndex.
    pub index: u64,
    /// The speaker's clock.
    pub captured_at: EpochMs,
    /// Its connection, where the message tells.
    pub connection_id: Option<String>,
    /// Its bytes, or why there are none.
    pub audio: Result<Vec<u8>, Rejection>,
}

/// Why a chunk cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its message is at fault.
    #[error(transparent)]
    Message(#[from] Rejection),
    /// It claims more audio than a chunk may.
    #[error("the chunk holds {ms} ms of audio, more than {}; use a smaller MediaRecorder timeslice", MAX_CHUNK.ms_floor())]
    TooLong {
        /// Its audio, as far as it was looked at.
        ms: u64,
    },
    /// Its bytes are at fault.
    #[error("no audio could be read from the chunk: {0}")]
    Audio(String),
}

impl Refusal {
    /// A short name for metrics and the DLQ's `reason` attribute.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Message(rejection) => rejection.code(),
            Self::TooLong { .. } => "CHUNK_TOO_LONG",
            Self::Audio(_) => "UNDECODABLE_AUDIO",
        }
    }
}

/// One thing for the decoder to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Begin with a fresh decoder.
    Reset,
    /// Decode a packet, drop its first `skip` samples and keep `keep`.
    Decode {
        /// The Opus packet.
        packet: Vec<u8>,
        /// Samples to drop at its start (pre-skip).
        skip: Samples,
        /// Samples to keep after those.
        keep: Samples,
    },
    /// Make up for a loss.
    Conceal(Samples),
}

/// Audio without a hole.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Time of its first sample.
    pub at: EpochMs,
    /// How to decode it.
    pub steps: Vec<Step>,
    /// Its length.
    pub samples: Samples,
}

/// A gap that opens, with what its chunks will need when they come back.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenGap {
    /// Which chunks.
    pub gap: Gap,
    /// The state before them.
    pub snapshot: Snapshot,
}

/// What a batch's chunks amount to.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// Where the line goes on.
    pub end: Position,
    /// The media state there.
    pub media: MediaState,
    /// The audio, in time order.
    pub runs: Vec<Run>,
    /// Holes between the chunks, refused chunks included.
    pub gaps: Vec<OpenGap>,
    /// What was skipped before the first Cluster, where the line was looking for one already: it completes an earlier
    /// gap.
    pub residue: Vec<Residue>,
    /// Where that goes on, if no Cluster came.
    pub looks_on_at: Option<u64>,
    /// See [`Gap::held_to`]: what of the residue is whole chunks.
    pub held_to: u64,
    /// For each chunk: its audio, and why it is refused.
    pub pieces: Vec<Result<Samples, Refusal>>,
    /// For each chunk with audio, where that begins and ends.
    pub spans: Vec<Option<(EpochMs, EpochMs)>>,
}

impl Folded {
    /// All the audio.
    pub fn samples(&self) -> Samples {
        self.runs.iter().map(|run| run.samples).sum()
    }
}

/// A chunk after the first pass.
struct Demuxed {
    steps: Vec<Step>,
    samples: Samples,
    joint: Joint,
    /// What the hole in `joint` is worth.
    basis: TimeBasis,
    /// By how much the container times since the last loss were too early, if this chunk tells.
    too_early: Option<Samples>,
    /// The capture clock's time since the chunk before.
    elapsed_ms: u64,
    /// Whether the whole chunk was skipped.
    held: bool,
    recording: Option<String>,
    refusal: Option<Refusal>,
    /// The media state before the hole that lies before this chunk (or is this chunk).
    hole: Option<MediaState>,
    residue: Vec<u8>,
}

/// Goes through `pieces` (sorted by numbering and index, each once) from `start`. Where they fill a `gap`, their audio
/// ends before that ends.
pub fn fold(start: &Snapshot, gap: Option<&Gap>, pieces: &[Piece]) -> Folded {
    let position = &start.position;
    let mut media = start.media.clone();
    let mut at = (position.numbering, position.next);
    let mut captured_before = position.last_captured;
    let mut unsure = false;
    let mut demuxed: Vec<Demuxed> = pieces
        .iter()
        .map(|piece| {
            let missing =
                at != (piece.numbering, piece.index) && !(at.0 < piece.numbering && piece.index == 0);
            if at.0 != piece.numbering {
                media.demuxer = Demuxer::new(); // another page's recorder
                lose_chunks(&mut media);
            }
            at = (piece.numbering, piece.index + 1);
            let elapsed_ms = piece.captured_at.0.saturating_sub(captured_before.0);
            captured_before = captured_before.max(piece.captured_at);
            demux(&mut media, piece, missing, elapsed_ms, &mut unsure)
        })
        .collect();
    tell_holes(&mut demuxed);
    if let Some(last) = demuxed.last_mut().filter(|last| last.refusal.is_none() && is_looking(&media)) {
        // What may yet turn out to be a block goes on with the gap, not with this line.
        let passed = media.demuxer.pass_undecided();
        last.residue.extend(passed.into_iter().flat_map(|item| match item {
            Item::Skipped(skipped) => skipped.bytes,
            _ => Vec::new(),
        }));
        last.held = last.steps.is_empty();
    }
    place(start, gap, media, pieces, demuxed)
}

/// Where a Cluster's Timestamp is among what is missing, the first one behind it tells how long the hole is. Until then the hole
/// is as long as if no Cluster had begun there, unless one did, or the capture clock contradicts.
fn tell_holes(demuxed: &mut [Demuxed]) {
    let mut too_early = None;
    for d in demuxed.iter_mut().rev() {
        too_early = d.too_early.or(too_early);
        let Joint::Missing(least) = d.joint else { continue };
        let told = too_early.take();
        if d.basis.is_known() {
            continue;
        }
        let hole = least + told.unwrap_or_default();
        let by_clock_ms = d.elapsed_ms.saturating_sub(d.samples.ms_floor());
        let untold = told.is_none()
            && (d.basis == TimeBasis::NotBefore || by_clock_ms > hole.ms_floor() + HIDDEN_CLUSTER_MS);
        if untold || hole.ms_floor() > d.elapsed_ms + HOLE_TOLERANCE_MS {
            d.joint = Joint::Clock;
        } else {
            d.joint = Joint::Missing(hole);
        }
    }
}

fn demux(
    media: &mut MediaState,
    piece: &Piece,
    missing: bool,
    elapsed_ms: u64,
    unsure: &mut bool,
) -> Demuxed {
    let mut out = Demuxed {
        basis: TimeBasis::Known,
        too_early: None,
        elapsed_ms,
        held: false,
        steps: Vec::new(),
        samples: Samples(0),
        joint: Joint::Continues,
        recording: None,
        refusal: None,
        hole: None,
        residue: Vec::new(),
    };
    if missing {
        out.hole = Some(media.clone());
        lose_chunks(media);
    }
    let before = media.clone();
    match &piece.audio {
        Err(rejection) => out.refusal = Some(Refusal::Message(rejection.clone())),
        Ok(bytes) => take(media, bytes, unsure, &mut out),
    }
    if out.refusal.is_some() {
        let refusing = media.demuxer.refusal().is_some().then(|| std::mem::take(&mut media.demuxer));
        *media = before;
        out.hole.get_or_insert_with(|| media.clone());
        lose_chunks(media);
        if let Some(demuxer) = refusing {
            media.demuxer = demuxer; // what follows is refused, too, until the next header
        }
        out.steps.clear();
        out.samples = Samples(0);
    }
    out
}

/// What comes next does not continue what was: the demuxer looks for a Cluster, the decoder starts afresh.
fn lose_chunks(media: &mut MediaState) {
    media.demuxer.bytes_missing();
    media.loss = Some(Loss::Chunks);
}

fn take(media: &mut MediaState, bytes: &[u8], unsure: &mut bool, out: &mut Demuxed) {
    let (was_resyncing, was_looking) = (media.demuxer.is_resyncing(), is_looking(media));
    let mut packets = 0;
    let mut passed = Vec::new();
    let mut fault = None;
    for item in media.demuxer.push(bytes) {
        match item {
            Item::RecordingStart(head) => {
                begin_recording(media, &head, out);
                packets += 1;
            }
            Item::Packet(packet) => {
                take_packet(media, packet, unsure, out);
                packets += 1;
            }
            Item::Skipped(skipped)
                if skipped.reason == SkipReason::Resync && was_resyncing && packets == 0 =>
            {
                passed.extend_from_slice(&skipped.bytes);
            }
            Item::Skipped(skipped) => {
                media.loss = Some(media.loss.unwrap_or(Loss::Bytes));
                fault.get_or_insert_with(|| skipped.reason.to_string());
            }
        }
    }
    if packets == 0 {
        out.refusal = fault.map(Refusal::Audio);
    } else if out.samples > MAX_CHUNK {
        out.refusal = Some(Refusal::TooLong { ms: out.samples.ms_floor() });
    }
    if was_looking && out.refusal.is_none() {
        out.residue = passed;
        out.held = packets == 0 && media.demuxer.undecided().is_empty();
    }
}

fn begin_recording(media: &mut MediaState, head: &RecordingHead, out: &mut Demuxed) {
    media.pre_roll.clear();
    media.pre_skip_left = head.pre_skip.to_samples();
    media.container_end = None;
    media.packet = Samples(0);
    media.loss = None;
    out.steps.push(Step::Reset);
    out.joint = Joint::Clock;
    out.recording = Some(head.id.clone());
}

fn take_packet(media: &mut MediaState, packet: Packet, unsure: &mut bool, out: &mut Demuxed) {
    let was_unsure = std::mem::replace(unsure, !packet.time_basis.is_known());
    match media.loss.take() {
        None if was_unsure && packet.time_basis.is_known() => out.too_early = hole_before(media, &packet),
        None => {}
        Some(Loss::Chunks) => {
            media.pre_roll.clear();
            out.steps.push(Step::Reset);
            out.basis = packet.time_basis;
            out.joint = match hole_before(media, &packet) {
                Some(hole) if hole.ms_floor() <= out.elapsed_ms + HOLE_TOLERANCE_MS => Joint::Missing(hole),
                _ => Joint::Clock,
            };
        }
        Some(Loss::Bytes) => {
            let hole = hole_before(media, &packet).unwrap_or_default().min(MAX_CONCEALED);
            conceal(media, hole, out);
        }
    }
    if packet.duration == Samples(0) {
        // Not an Opus packet: the listener loses as much as the last one lasted.
        conceal(media, media.packet, out);
        return;
    }
    let skip = media.pre_skip_left.min(packet.duration);
    media.pre_skip_left = media.pre_skip_left.saturating_sub(skip);
    let keep = packet.duration.saturating_sub(skip).saturating_sub(packet.discard_end);
    out.samples += keep;
    media.container_end = Some(end_of(&packet));
    media.packet = packet.duration;
    hear(media, Heard::Packet(serde_bytes::ByteBuf::from(packet.data.clone())));
    out.steps.push(Step::Decode { packet: packet.data, skip, keep });
}

fn end_of(packet: &Packet) -> MediaTime {
    MediaTime(packet.time.0.saturating_add((packet.duration.0 * 62_500) as i64))
}

/// How much audio lies between the last packet and this one by container time, in whole packets: container times
/// jitter by some ms, packets do not.
fn hole_before(media: &MediaState, packet: &Packet) -> Option<Samples> {
    let ns = packet.time.0.checked_sub(media.container_end?.0)?.max(-(1 << 40));
    let unit_ns = i64::try_from(packet.duration.0.max(40)).ok()? * 62_500;
    let packets = (ns + unit_ns / 2).div_euclid(unit_ns);
    u64::try_from(packets).ok().map(|n| Samples(n.saturating_mul(packet.duration.0)))
}

fn conceal(media: &mut MediaState, lost: Samples, out: &mut Demuxed) {
    if lost > Samples(0) {
        out.samples += lost;
        out.steps.push(Step::Conceal(lost));
        hear(media, Heard::Lost(lost));
    }
}

/// Remembers what the decoder hears, no longer than a later one needs: as long as the most demanding packet asks for.
fn hear(media: &mut MediaState, heard: Heard) {
    media.pre_roll.push(heard);
    let needed = media.pre_roll.iter().map(needs).max().unwrap_or_default();
    let mut total: Samples = media.pre_roll.iter().map(length).sum();
    let mut surplus = 0;
    for oldest in &media.pre_roll {
        total = total.saturating_sub(length(oldest));
        if total < needed {
            break;
        }
        surplus += 1;
    }
    media.pre_roll.drain(..surplus);
}

fn needs(heard: &Heard) -> Samples {
    match heard {
        Heard::Packet(packet) => pre_roll_with(packet),
        Heard::Lost(_) => PRE_ROLL,
    }
}

fn length(heard: &Heard) -> Samples {
    match heard {
        Heard::Packet(packet) => media::opus::packet_samples(packet).unwrap_or_default(),
        Heard::Lost(samples) => *samples,
    }
}

/// The second pass.
fn place(
    start: &Snapshot,
    gap: Option<&Gap>,
    media: MediaState,
    pieces: &[Piece],
    mut demuxed: Vec<Demuxed>,
) -> Folded {
    let timings: Vec<Timing> = pieces.iter().zip(&demuxed).map(|(piece, d)| timing(piece, d)).collect();
    let mut folded = Folded {
        end: start.position.clone(),
        media,
        runs: Vec::new(),
        gaps: Vec::new(),
        residue: Vec::new(),
        looks_on_at: None,
        held_to: 0,
        pieces: Vec::new(),
        spans: Vec::new(),
    };
    let mut silent = Vec::new();
    for (i, piece) in pieces.iter().enumerate() {
        let d = &mut demuxed[i];
        if let Some(before_hole) = d.hole.take() {
            if is_looking(&before_hole) {
                looks_on(&mut folded);
            }
            open_gap(&mut folded, before_hole, piece, d.refusal.is_some());
        }
        if !d.residue.is_empty() {
            let held_to = if d.held { piece.index + 1 } else { 0 };
            let bytes = std::mem::take(&mut d.residue);
            let (captured_at, sent_at) = (piece.captured_at, piece.record.sent_at);
            keep_residue(&mut folded, Residue { bytes, captured_at, sent_at }, held_to);
        }
        pass(&mut folded.end, piece, d.recording.take());
        let mut span = None;
        if d.samples == Samples(0) {
            // A header alone, or packets that are all pre-skip: no audio, but the decoder must hear them.
            if d.refusal.is_none() {
                folded.end.timeline.pass_silent(&timings[i]);
            }
            match folded.runs.last_mut() {
                Some(run) => run.steps.append(&mut d.steps),
                None => silent.append(&mut d.steps),
            }
        } else {
            d.steps.splice(0..0, std::mem::take(&mut silent));
            let after: Vec<Timing> =
                timings[i + 1..].iter().filter(|t| t.samples > Samples(0)).copied().collect();
            let timeline = &mut folded.end.timeline;
            let placement = match start.placements.iter().find(|(index, _)| *index == piece.index) {
                Some((_, end)) => timeline.place_again(&timings[i], *end),
                None => timeline.place(&timings[i], &after, latest(start, gap, &pieces[i..], &timings[i..])),
            };
            span = timeline.end().map(|end| (placement.at, end));
            for open in folded.gaps.iter_mut().filter(|open| open.gap.ends_at.is_none()) {
                open.gap.ends_at = Some(placement.at);
            }
            extend_runs(&mut folded.runs, placement.at, placement.joined, d);
        }
        folded.spans.push(span);
        folded.pieces.push(d.refusal.take().map_or(Ok(d.samples), Err));
    }
    if is_looking(&folded.media) {
        looks_on(&mut folded);
    }
    folded
}

/// What was skipped so far does not end here: the next chunk's bytes go on with it.
fn looks_on(folded: &mut Folded) {
    let next = Some(folded.end.next);
    match folded.gaps.last_mut() {
        Some(open) => open.gap.looks_on_at = next,
        None => folded.looks_on_at = next,
    }
}

/// Whether the demuxer looks for a Cluster because chunks are missing.
pub(crate) fn is_looking(media: &MediaState) -> bool {
    media.loss == Some(Loss::Chunks) && media.demuxer.is_resyncing()
}

/// Skipped bytes belong to the gap before them.
fn keep_residue(folded: &mut Folded, mut residue: Residue, held_to: u64) {
    let (kept, held) = match folded.gaps.last_mut() {
        Some(open) => (&mut open.snapshot.residue, &mut open.gap.held_to),
        None => (&mut folded.residue, &mut folded.held_to),
    };
    *held = held_to.max(*held);
    let bytes: usize = kept.iter().map(|residue| residue.bytes.len()).sum();
    residue.bytes.truncate(MAX_RESIDUE_BYTES.saturating_sub(bytes));
    kept.push(residue);
}

/// Where the first of `chunks` must begin at the latest for all of them to end before the gap does, and each where an
/// earlier plan had it end.
fn latest(start: &Snapshot, gap: Option<&Gap>, pieces: &[Piece], chunks: &[Timing]) -> Option<EpochMs> {
    let mut samples = Samples(0);
    let mut ends = Vec::new();
    for (piece, chunk) in pieces.iter().zip(chunks) {
        samples += chunk.samples;
        let placed = start.placements.iter().find(|(index, _)| *index == piece.index);
        ends.extend(placed.map(|(_, end)| end.0.saturating_sub(samples.ms_ceil())));
    }
    let gap_ends = gap.and_then(|gap| gap.ends_at);
    ends.extend(gap_ends.map(|end| end.0.saturating_sub(samples.ms_ceil())));
    ends.into_iter().min().map(EpochMs)
}

fn timing(piece: &Piece, d: &Demuxed) -> Timing {
    Timing {
        samples: d.samples,
        captured_at: piece.captured_at,
        sent_at: piece.record.sent_at,
        joint: d.joint,
    }
}

fn extend_runs(runs: &mut Vec<Run>, at: EpochMs, joined: bool, d: &mut Demuxed) {
    let steps = std::mem::take(&mut d.steps);
    match runs.last_mut() {
        Some(run) if joined => {
            run.steps.extend(steps);
            run.samples += d.samples;
        }
        _ => runs.push(Run { at, steps, samples: d.samples }),
    }
}

/// The earliest capture time of `chunks`, which come after `before`; their numbering began at `began`. The page before may
/// have ended on the same index; what was captured before a page's chunk 0 may still come.
pub(crate) fn captured_from(before: &Position, chunks: ChunkRange, began: EpochMs) -> EpochMs {
    match (before.numbering == chunks.numbering, chunks.from) {
        (true, _) => before.last_captured,
        (false, 0) => began,
        (false, _) => EpochMs(before.last_captured.0.saturating_add(1)),
    }
}

/// Opens a gap before `piece`, or of `piece` itself where that is refused.
fn open_gap(folded: &mut Folded, media: MediaState, piece: &Piece, refused: bool) {
    let end = &folded.end;
    let from = if end.numbering == piece.numbering { end.next } else { 0 };
    let to = piece.index + u64::from(refused);
    if let Some(open) = folded.gaps.last_mut() {
        let c = &mut open.gap.chunks;
        if (c.numbering, c.to) == (piece.numbering, from) && open.gap.ends_at.is_none() {
            c.to = to;
            open.gap.captured.1 = piece.captured_at;
            return;
        }
    }
    let begins_at = end.timeline.end().unwrap_or(piece.captured_at);
    let chunks = ChunkRange { numbering: piece.numbering, from, to };
    let at_piece = ChunkRange { from: piece.index, ..chunks };
    let gap = Gap {
        chunks,
        begins_at,
        ends_at: None,
        captured: (captured_from(end, at_piece, piece.captured_at), piece.captured_at),
        snapshot: String::new(), // known once the residue is
        looks_on_at: None,
        skipped: Vec::new(),
        held_to: 0,
        unsure: None,
        parked: None,
        taken_until: None,
    };
    let mut position = end.clone();
    if position.numbering != piece.numbering {
        renumber(&mut position, piece);
    }
    let snapshot = Snapshot { position, media, ..Snapshot::default() };
    folded.gaps.push(OpenGap { gap, snapshot });
}

fn renumber(position: &mut Position, piece: &Piece) {
    position.numbering = piece.numbering;
    position.next = 0;
    position.numbering_began = piece.captured_at;
    position.opened_by = None;
}

/// Moves the position past a chunk.
fn pass(position: &mut Position, piece: &Piece, recording: Option<String>) {
    if position.numbering != piece.numbering {
        renumber(position, piece);
    }
    if position.next == 0 && position.last_sequence == 0 {
        position.numbering_began = piece.captured_at;
    } else if position.next == 0 && piece.audio.is_ok() {
        position.numbering_began = position.numbering_began.min(piece.captured_at); // a page's first chunks come back
    }
    if piece.index == 0 {
        position.opened_by = recording.clone();
    }
    position.next = piece.index + 1;
    position.last_captured = position.last_captured.max(piece.captured_at);
    position.last_sequence = position.last_sequence.max(piece.record.sequence_number);
    position.connection_id = piece.connection_id.clone().or(position.connection_id.take());
    position.recording = recording.or(position.recording.take());
}
