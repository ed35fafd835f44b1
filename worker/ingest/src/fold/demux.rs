//! The first pass: what each chunk holds.

use media::demux::{Demuxer, Item, Packet, RecordingHead, SkipReason, Skipped, TimeBasis};
use media::time::{MediaTime, Samples};

use super::folded::{MAX_CHUNK, Refusal, Step};
use super::hear::hear;
use super::own::{Items, Own};
use super::taken::{Before, Taken};
use super::vain::Vain;
use crate::message::Format;
use crate::piece::{Piece, Place};
use crate::snapshot::{Loss, MediaState, Snapshot, Withheld};
use crate::timeline::Joint;

/// How much of a loss inside chunks is concealed. The rest takes no time: the next chunk comes with a lag.
const MAX_CONCEALED: Samples = Samples(16_000);
/// Why a chunk is refused that may well be sound.
const CLUSTER_MISSING: &str =
    "the chunk with the beginning of its Cluster is missing, and what is kept behind that is full";
/// What a chunk may hold beside its audio: the pre-skip, and what is dropped at its end. What holds more is not looked at to its end.
const MOST_DROPPED: Samples = Samples::from_ms(5_000);
/// What the demuxer may hold back between two chunks of a search: it is stored with a gap's state.
const MAX_UNDECIDED_BYTES: usize = 128 * 1024;
/// A hole that may be longer than its container time says is not believed if the capture clock says so by more than this.
const HIDDEN_CLUSTER_MS: u64 = 500;

/// Demuxes all chunks, but for those behind `sight`; returns the media state behind them. What was made of those without sound may
/// be known.
pub(super) fn take(
    start: &Snapshot,
    pieces: &[Piece],
    (vain, sight): (Option<&Vain>, Option<Samples>),
) -> (MediaState, Vec<Taken>) {
    let (mut audio, sight) = (Samples(0), sight.unwrap_or(Samples(u64::MAX)));
    let mut media = start.media.clone();
    let mut place = start.position.place();
    let mut amid = start.position.amid;
    let mut captured_before = start.position.last_captured;
    let mut ended_before = start.position.timeline.ended_at(captured_before);
    let mut taken = Vec::with_capacity(pieces.len());
    let mut unsure = false;
    let mut searched_ms = 0;
    for piece in pieces {
        let missing = !place.leads_to(piece);
        let same_page = place.numbering == piece.numbering;
        if missing || !same_page || piece.starts_recording() {
            break_off(&mut media, &mut taken, (missing, same_page));
        }
        let from = amid.filter(|_| place == piece.place());
        let lost = same_page.then(|| piece.index.saturating_sub(place.next));
        place = Place::behind(piece);
        amid = piece.head;
        let elapsed_ms = piece.ended_at().0.saturating_sub(captured_before.0);
        captured_before = captured_before.max(piece.ended_at());
        let mut out = Taken::nothing(searched_ms + elapsed_ms, piece.ended_at().ms_since(ended_before));
        let lies = Before { missing, lost, from };
        let look = |media: &mut _, unsure: &mut _, out: &mut _| take_chunk(media, piece, lies, unsure, out);
        match vain {
            Some(vain) => vain.once(&mut media, piece, (lies, &mut unsure), &mut out, look),
            None => look(&mut media, &mut unsure, &mut out),
        }
        out.disbelieve_hole();
        if let Some(before) = out.hole.as_mut().filter(|_| out.refusal.is_some()) {
            keep_undecided(before, &mut taken);
        }
        ended_before = out.ended_at(ended_before, piece.ended_at());
        // What is passed in search of a place to go on is missing, too.
        searched_ms = if media.is_searching() { out.elapsed_ms } else { 0 };
        audio += out.samples;
        taken.push(out);
        if media.demuxer.undecided().len() > MAX_UNDECIDED_BYTES {
            pass_undecided(&mut media, &mut taken);
        }
        if audio >= sight {
            break;
        }
    }
    media.too_early = tell_holes(&mut taken, start.media.too_early);
    keep_undecided(&mut media, &mut taken);
    (media, taken)
}

/// What comes next does not go on with what is taken: bytes that are undecided end in what is missing, or where another recording
/// begins, and another page has another recorder.
fn break_off(media: &mut MediaState, taken: &mut [Taken], (missing, same_page): (bool, bool)) {
    match missing {
        true => _ = keep_undecided(media, taken), // what is missing may go on with them
        false => pass_undecided(media, taken),
    }
    if !same_page {
        media.begin_page();
    }
}

/// Where a Cluster's Timestamp is among what is missing, the first one behind it tells how long the hole is. Until then the hole
/// is as long as if no Cluster had begun there, unless one did, or the capture clock contradicts: by much, or as much as the number of
/// missing chunks does. Times that are already `too_early` tell nothing more. Returns whether times are too early
/// behind the last chunk.
fn tell_holes(taken: &mut [Taken], mut too_early: bool) -> bool {
    let told = told_behind(taken);
    let usual = Usual::of(taken);
    for (chunk, told) in taken.iter_mut().zip(told) {
        chunk.hole.iter_mut().for_each(|before| before.too_early = too_early);
        chunk.joint = match chunk.joint {
            Joint::Clock => chunk.by_clock(usual.longest),
            Joint::Missing(hole) => usual.hole(chunk, hole, told, too_early),
            joint => joint,
        };
        let by_clock = !chunk.basis.is_known() && !matches!(chunk.joint, Joint::Missing(_));
        too_early = !chunk.knows && (too_early || by_clock);
    }
    too_early
}

/// By how much the times behind each hole are too early, as far as the next Timestamp is at hand.
fn told_behind(taken: &[Taken]) -> Vec<Option<Samples>> {
    let mut too_early = None;
    let mut told: Vec<_> = taken
        .iter()
        .rev()
        .map(|chunk| {
            too_early = chunk.too_early.or(too_early);
            if matches!(chunk.joint, Joint::Missing(_)) { too_early.take() } else { None }
        })
        .collect();
    told.reverse();
    told
}

/// Chunks as they are at hand.
struct Usual {
    chunk_ms: u64,
    longest: Samples,
}

impl Usual {
    fn of(taken: &[Taken]) -> Self {
        let chunks = taken.iter().filter(|chunk| chunk.samples > Samples(0)).count().max(1) as u64;
        Self {
            chunk_ms: taken.iter().map(|chunk| chunk.samples).sum::<Samples>().ms_floor() / chunks,
            longest: taken.iter().map(|chunk| chunk.samples).max().unwrap_or_default(),
        }
    }

    /// How a chunk lies behind a hole that is `least` by its container times, and longer by what was `told`.
    fn hole(&self, chunk: &Taken, least: Samples, told: Option<Samples>, too_early: bool) -> Joint {
        if chunk.basis.is_known() && !too_early {
            return Joint::Missing(least);
        }
        let by_clock_ms = chunk.elapsed_ms.saturating_sub(chunk.samples.ms_floor());
        let by_both_ms = by_clock_ms.min(u64::from(chunk.behind).saturating_mul(self.chunk_ms));
        let packets = Samples::from_ms(by_both_ms).0 / chunk.packet.0.max(1);
        let by_both = Samples(packets * chunk.packet.0);
        if chunk.basis.is_known() {
            return Joint::AtLeast { hole: by_both.min(least), packet: chunk.packet };
        }
        let told = told.filter(|_| !too_early);
        let hole = least + told.unwrap_or_default();
        let is_hidden =
            by_clock_ms > hole.ms_floor() + HIDDEN_CLUSTER_MS || by_both_ms > (hole + chunk.packet).ms_ceil();
        let untold = told.is_none() && (chunk.basis == TimeBasis::NotBefore || is_hidden);
        match (chunk.has_room_for(hole), untold) {
            (false, _) => chunk.by_clock(self.longest),
            (true, false) => Joint::Missing(hole),
            (true, true) => Joint::AtLeast { hole: hole.max(by_both), packet: chunk.packet },
        }
    }
}

/// Bytes that are undecided may end the gap before them or begin the place that is searched for: they are kept with that gap, and
/// go on with this line. Returns whether that gap takes them.
fn keep_undecided(media: &mut MediaState, taken: &mut [Taken]) -> bool {
    let searching = media.is_searching();
    let Some(last) = taken.last_mut().filter(|last| searching && last.refusal.is_none()) else {
        return false;
    };
    let undecided = media.demuxer.undecided();
    if let Some(more) = undecided.get(media.kept..).filter(|more| !more.is_empty()) {
        last.residue.extend_from_slice(more);
        media.kept = undecided.len();
        last.withheld = last.steps.is_empty();
    }
    true
}

/// The same, but this line does not go on with them.
fn pass_undecided(media: &mut MediaState, taken: &mut [Taken]) {
    if keep_undecided(media, taken) {
        media.demuxer.pass_undecided();
        media.kept = 0;
    }
}

/// `unsure`: the container's times since the last loss are not known.
fn take_chunk<'a>(
    media: &mut MediaState,
    piece: &'a Piece,
    lies: Before,
    unsure: &mut bool,
    out: &mut Taken,
) {
    if lies.missing {
        out.hole = Some(media.clone());
        media.lose_chunks();
        media.miss(lies.lost.unwrap_or_default());
    }
    let before = Undo::of(media);
    let own = |bytes: &'a [u8]| Own::of(bytes, lies.from, piece.head);
    match (&piece.audio, piece.format) {
        (Err(rejection), _) => out.refusal = Some(Refusal::Message(rejection.clone())),
        (Ok(bytes), Format::Pcm) => take_pcm(media, piece, own(bytes).bytes, lies.lost, out),
        (Ok(bytes), Format::WebmOpus | Format::OggOpus) => take_bytes(media, &own(bytes), unsure, out),
    }
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

fn take_bytes(media: &mut MediaState, own: &Own<'_>, unsure: &mut bool, out: &mut Taken) {
    let (was_resyncing, was_searching) = (media.demuxer.is_resyncing(), media.is_searching());
    out.gain = media.demuxer.head().map(|head| head.gain).unwrap_or_default();
    let Items { items, began, is_all } = own.items(&mut media.demuxer, MAX_CHUNK + MOST_DROPPED);
    out.gain = began.map_or(out.gain, |head| head.gain);
    let mut packets = 0;
    let mut passed = Vec::new();
    let mut fault = None;
    for item in items {
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
            Item::Skipped(Skipped { reason: SkipReason::Beside(codec), .. }) => out.meet(codec),
            Item::Skipped(skipped) => {
                out.undecoded.encrypted_blocks += u64::from(skipped.reason == SkipReason::Encrypted);
                media.loss = Some(media.loss.unwrap_or(Loss::Bytes));
                fault.get_or_insert_with(|| skipped.reason.to_string());
            }
        }
    }
    if packets == 0 {
        out.refusal = fault.map(Refusal::Audio);
    } else if out.samples > MAX_CHUNK || !is_all {
        out.refusal = Some(Refusal::TooLong { ms: out.samples.ms_floor() });
    }
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
