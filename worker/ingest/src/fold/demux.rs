//! What a chunk holds: packets, samples, and what is lost inside it.

use media::demux::{Demuxer, Item, Packet, RecordingHead, SkipReason, Skipped};
use media::time::{MediaTime, Samples};

use super::folded::{MAX_CHUNK, Refusal, Step};
use super::hear::hear;
use super::own::{Items, Own};
use super::taken::{Before, Taken};
use crate::message::Format;
use crate::piece::Piece;
use crate::snapshot::{Loss, MediaState, Withheld};
use crate::timeline::Joint;

/// How much of a loss inside chunks is concealed. The rest takes no time: the next chunk comes with a lag.
const MAX_CONCEALED: Samples = Samples(16_000);
/// Why a chunk is refused that may well be sound.
const CLUSTER_MISSING: &str =
    "the chunk with the beginning of its Cluster is missing, and what is kept behind that is full";
/// What a chunk may hold beside its audio: the pre-skip, and what is dropped at its end. What holds more is not looked at to its end.
const MOST_DROPPED: Samples = Samples::from_ms(5_000);

/// The containers' bytes, read up to some chunk.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    pub(super) media: MediaState,
    /// The container's times since the last loss are not known.
    unsure: bool,
}

impl From<MediaState> for Reading {
    fn from(media: MediaState) -> Self {
        Self { media, unsure: false }
    }
}

impl Reading {
    /// Reads a chunk; `out` holds nothing yet but its times.
    pub(super) fn chunk(&mut self, piece: &Piece, lies: Before, mut out: Taken) -> Taken {
        let media = &mut self.media;
        if lies.missing {
            out.hole = Some(media.clone());
            media.lose_chunks();
            media.miss(lies.lost.unwrap_or_default());
        }
        let before = Undo::of(media);
        match (&piece.audio, piece.format) {
            (Err(rejection), _) => out.refusal = Some(Refusal::Message(rejection.clone())),
            (Ok(bytes), Format::Pcm) => {
                take_pcm(media, piece, Own::of(bytes, lies.from, piece.head).bytes, lies.lost, &mut out);
            }
            (Ok(bytes), Format::WebmOpus | Format::OggOpus) => {
                self.bytes(&Own::of(bytes, lies.from, piece.head), &mut out);
            }
        }
        let media = &mut self.media;
        if out.refusal.is_some() {
            let refusing = media.demuxer.refusal().is_some().then(|| std::mem::take(&mut media.demuxer));
            before.restore(media);
            out.hole.get_or_insert_with(|| media.clone());
            media.lose_chunks();
            if let Some(demuxer) = refusing {
                media.demuxer = demuxer; // what follows is refused, too, until the next header
            }
            out.steps.clear();
            out.samples = Samples(0);
        }
        hear(&mut media.pre_roll, &out.steps);
        out
    }

    fn bytes(&mut self, own: &Own<'_>, out: &mut Taken) {
        let media = &mut self.media;
        let (was_resyncing, was_searching) = (media.demuxer.is_resyncing(), media.is_searching());
        out.gain = media.demuxer.head().map(|head| head.gain).unwrap_or_default();
        let Items { items, began, is_all } = own.items(&mut media.demuxer, MAX_CHUNK + MOST_DROPPED);
        out.gain = began.map_or(out.gain, |head| head.gain);
        let Found { packets, passed, fault } = self.items(items, was_resyncing, out);
        if packets == 0 {
            out.refusal = fault.map(Refusal::Audio);
        } else if out.samples > MAX_CHUNK || !is_all {
            out.refusal = Some(Refusal::TooLong { ms: out.samples.ms_floor() });
        }
        let media = &mut self.media;
        if packets > 0 {
            media.withheld = Withheld::default();
            out.behind = std::mem::take(&mut media.missing);
        }
        if was_searching && out.refusal.is_none() {
            let withheld = packets == 0 && media.demuxer.undecided().is_empty();
            if packets == 0 {
                media.withheld.take(own.bytes.len()); // what the demuxer holds back is kept, too
                media.miss(u64::from(!own.bytes.is_empty()));
            }
            match media.withheld.is_full() {
                true => out.refusal = Some(Refusal::Audio(CLUSTER_MISSING.to_owned())),
                false => (out.residue, out.withheld) = (media.not_kept(passed), withheld),
            }
        }
        if !media.is_searching() {
            out.claimed = std::mem::take(&mut media.kept);
        }
    }

    fn items(&mut self, items: Vec<Item>, was_resyncing: bool, out: &mut Taken) -> Found {
        let media = &mut self.media;
        let mut found = Found::default();
        for item in items {
            match item {
                Item::RecordingStart(head) => {
                    begin_recording(media, &head, out);
                    found.packets += 1;
                }
                Item::Packet(packet) => {
                    take_packet(media, packet, &mut self.unsure, out);
                    found.packets += 1;
                }
                Item::Skipped(skipped)
                    if skipped.reason == SkipReason::Resync && was_resyncing && found.packets == 0 =>
                {
                    found.passed.extend_from_slice(&skipped.bytes);
                }
                Item::Skipped(Skipped { reason: SkipReason::Beside(codec), .. }) => out.meet(codec),
                Item::Skipped(skipped) => {
                    out.undecoded.encrypted_blocks += u64::from(skipped.reason == SkipReason::Encrypted);
                    media.loss = Some(media.loss.unwrap_or(Loss::Bytes));
                    found.fault.get_or_insert_with(|| skipped.reason.to_string());
                }
            }
        }
        found
    }
}

/// What a container's items amount to, beside what they add to the chunk.
#[derive(Default)]
struct Found {
    /// Packets, and beginnings of recordings.
    packets: u32,
    /// Bytes before the first of them, passed in search of a Cluster.
    passed: Vec<u8>,
    /// Why the first bytes that cannot be used were skipped.
    fault: Option<String>,
}

/// What a refused chunk may have changed. The pre-roll, which weighs most, only takes in what is not refused.
struct Undo {
    demuxer: Demuxer,
    pre_skip_left: Samples,
    container_end: Option<MediaTime>,
    packet: Samples,
    loss: Option<Loss>,
    kept: usize,
}

impl Undo {
    fn of(media: &MediaState) -> Self {
        Self {
            demuxer: media.demuxer.clone(),
            pre_skip_left: media.pre_skip_left,
            container_end: media.container_end,
            packet: media.packet,
            loss: media.loss,
            kept: media.kept,
        }
    }

    fn restore(self, media: &mut MediaState) {
        media.demuxer = self.demuxer;
        media.pre_skip_left = self.pre_skip_left;
        media.container_end = self.container_end;
        media.packet = self.packet;
        media.loss = self.loss;
        media.kept = self.kept;
    }
}

/// Plain samples need nothing of what came before them, and tell nothing of what is missing but that its chunks were, as a rule, as
/// long as the last one.
fn take_pcm(media: &mut MediaState, piece: &Piece, bytes: &[u8], lost: Option<u64>, out: &mut Taken) {
    let samples: Vec<i16> = bytes.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect();
    if samples.is_empty() {
        return;
    }
    out.samples = Samples::from(samples.len());
    out.knows = true; // it needs no container's times
    out.joint = match (media.pcm_chunk(), media.loss, lost) {
        (Some(_), None, Some(_)) => Joint::Continues,
        (Some(chunk), Some(Loss::Chunks), Some(lost @ 1..)) => {
            Joint::Missing(Samples(chunk.0.saturating_mul(lost)))
        }
        _ => Joint::Clock,
    };
    out.behind = media.missing;
    if media.pcm_chunk().is_none() || lost.is_none() {
        out.reset();
        out.recording = piece.begins_pcm();
    }
    media.go_on_with_pcm(out.samples);
    out.steps.push(Step::Pcm(samples));
}

fn begin_recording(media: &mut MediaState, head: &RecordingHead, out: &mut Taken) {
    media.pre_skip_left = head.pre_skip.to_samples();
    media.container_end = None;
    media.packet = Samples(0);
    media.loss = None;
    out.gain = head.gain;
    out.reset();
    out.joint = Joint::Clock;
    out.recording = Some(head.id.clone());
    let audio = head.beside.iter().filter(|codec| codec.starts_with("A_"));
    out.undecoded.audio_beside.extend(audio.cloned());
}

fn take_packet(media: &mut MediaState, packet: Packet, unsure: &mut bool, out: &mut Taken) {
    let was_unsure = std::mem::replace(unsure, !packet.time_basis.is_known());
    out.knows |= packet.time_basis.is_known();
    match media.loss.take() {
        None if was_unsure && packet.time_basis.is_known() => out.too_early = hole_before(media, &packet),
        None => {}
        Some(Loss::Chunks) => {
            out.reset();
            (out.basis, out.packet) = (packet.time_basis, packet.duration);
            out.joint = hole_before(media, &packet).map_or(Joint::Clock, Joint::Missing);
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
    media.container_end = Some(end_of(&packet));
    media.packet = packet.duration;
    out.decode(packet.data, skip, keep);
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
