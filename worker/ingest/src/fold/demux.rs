//! The first pass: what each chunk holds.

use media::demux::{Demuxer, Item, Packet, RecordingHead, SkipReason};
use media::time::{MediaTime, Samples};

use super::hear::hear;
use super::{MAX_CHUNK, Refusal, Step};
use crate::piece::Piece;
use crate::position::Place;
use crate::snapshot::{Loss, MediaState, Snapshot};
use crate::timeline::Joint;

/// The longest loss inside chunks that is concealed; a longer one is left as silence that nobody pretends to know.
const MAX_CONCEALED: Samples = Samples(16_000);
/// A hole told by container time may exceed the capture clock's by this much before it is disbelieved.
const HOLE_TOLERANCE_MS: u64 = 2_000;

/// A chunk after the first pass.
pub(super) struct Taken {
    pub(super) steps: Vec<Step>,
    pub(super) samples: Samples,
    pub(super) joint: Joint,
    /// The recording that begins in it.
    pub(super) recording: Option<String>,
    pub(super) refusal: Option<Refusal>,
    /// The media state before the hole that lies before this chunk (or is this chunk).
    pub(super) hole: Option<MediaState>,
    /// What was skipped of it in search of a Cluster.
    pub(super) residue: Vec<u8>,
}

impl Taken {
    fn nothing() -> Self {
        Self {
            steps: Vec::new(),
            samples: Samples(0),
            joint: Joint::Continues,
            recording: None,
            refusal: None,
            hole: None,
            residue: Vec::new(),
        }
    }

    fn conceal(&mut self, lost: Samples) {
        if lost > Samples(0) {
            self.samples += lost;
            self.steps.push(Step::Conceal(lost));
        }
    }
}

/// Demuxes all chunks; returns the media state behind them.
pub(super) fn take(start: &Snapshot, pieces: &[Piece]) -> (MediaState, Vec<Taken>) {
    let mut media = start.media.clone();
    let mut place = start.position.place();
    let mut captured_before = start.position.last_captured;
    let mut taken = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let missing = !place.leads_to(piece);
        if place.numbering != piece.numbering {
            media.demuxer = Demuxer::new(); // another page's recorder
            media.lose_chunks();
        }
        place = Place::behind(piece);
        let elapsed_ms = piece.captured_at.0.saturating_sub(captured_before.0);
        captured_before = captured_before.max(piece.captured_at);
        taken.push(take_chunk(&mut media, piece, missing, elapsed_ms));
    }
    (media, taken)
}

fn take_chunk(media: &mut MediaState, piece: &Piece, missing: bool, elapsed_ms: u64) -> Taken {
    let mut out = Taken::nothing();
    if missing {
        out.hole = Some(media.clone());
        media.lose_chunks();
    }
    let before = Undo::of(media);
    match &piece.audio {
        Err(rejection) => out.refusal = Some(Refusal::Message(rejection.clone())),
        Ok(bytes) => take_bytes(media, bytes, elapsed_ms, &mut out),
    }
    if out.refusal.is_some() {
        before.restore(media);
        out.hole.get_or_insert_with(|| media.clone());
        media.lose_chunks();
        out.steps.clear();
        out.samples = Samples(0);
    }
    hear(&mut media.pre_roll, &out.steps);
    out
}

/// What a refused chunk may have changed. The pre-roll, which weighs most, only takes in what is not refused.
struct Undo {
    demuxer: Demuxer,
    pre_skip_left: Samples,
    container_end: Option<MediaTime>,
    packet: Samples,
    loss: Option<Loss>,
}

impl Undo {
    fn of(media: &MediaState) -> Self {
        Self {
            demuxer: media.demuxer.clone(),
            pre_skip_left: media.pre_skip_left,
            container_end: media.container_end,
            packet: media.packet,
            loss: media.loss,
        }
    }

    fn restore(self, media: &mut MediaState) {
        media.demuxer = self.demuxer;
        media.pre_skip_left = self.pre_skip_left;
        media.container_end = self.container_end;
        media.packet = self.packet;
        media.loss = self.loss;
    }
}

fn take_bytes(media: &mut MediaState, bytes: &[u8], elapsed_ms: u64, out: &mut Taken) {
    let (was_resyncing, was_searching) = (media.demuxer.is_resyncing(), media.is_searching());
    let held_back = media.demuxer.buffered() as u64;
    let mut packets = 0;
    let mut skipped_bytes = 0;
    let mut fault = None;
    for item in media.demuxer.push(bytes) {
        match item {
            Item::RecordingStart(head) => {
                begin_recording(media, &head, out);
                packets += 1;
            }
            Item::Packet(packet) => {
                take_packet(media, packet, elapsed_ms, out);
                packets += 1;
            }
            Item::Skipped(skipped)
                if skipped.reason == SkipReason::Resync && was_resyncing && packets == 0 =>
            {
                skipped_bytes += skipped.total;
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
    if was_searching && out.refusal.is_none() {
        // All of the chunk, what is held back included; or what lies before the place where the recording goes on.
        let own = if packets == 0 { u64::MAX } else { skipped_bytes.saturating_sub(held_back) };
        let own = usize::try_from(own).unwrap_or(usize::MAX).min(bytes.len());
        out.residue = bytes[..own].to_vec();
    }
}

fn begin_recording(media: &mut MediaState, head: &RecordingHead, out: &mut Taken) {
    media.pre_skip_left = head.pre_skip.to_samples();
    media.container_end = None;
    media.packet = Samples(0);
    media.loss = None;
    out.steps.push(Step::Reset);
    out.joint = Joint::Clock;
    out.recording = Some(head.id.clone());
}

fn take_packet(media: &mut MediaState, packet: Packet, elapsed_ms: u64, out: &mut Taken) {
    match media.loss.take() {
        None => {}
        Some(Loss::Chunks) => {
            out.steps.push(Step::Reset);
            out.joint = match hole_before(media, &packet) {
                Some(hole) if hole.ms_floor() <= elapsed_ms + HOLE_TOLERANCE_MS => Joint::Missing(hole),
                _ => Joint::Clock,
            };
        }
        Some(Loss::Bytes) => {
            let hole = hole_before(media, &packet).unwrap_or_default().min(MAX_CONCEALED);
            out.conceal(hole);
        }
    }
    if packet.duration == Samples(0) {
        // Not an Opus packet: the listener loses as much as the last one lasted.
        out.conceal(media.packet);
        return;
    }
    let skip = media.pre_skip_left.min(packet.duration);
    media.pre_skip_left = media.pre_skip_left.saturating_sub(skip);
    let keep = packet.duration.saturating_sub(skip).saturating_sub(packet.discard_end);
    out.samples += keep;
    media.container_end = Some(end_of(&packet));
    media.packet = packet.duration;
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
    let packets = ns.checked_add(unit_ns / 2)?.div_euclid(unit_ns);
    u64::try_from(packets).ok().map(|n| Samples(n.saturating_mul(packet.duration.0)))
}
