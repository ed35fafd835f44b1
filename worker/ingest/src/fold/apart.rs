//! A chunk with more audio than a fragment holds: what a page hands out in one blob after it slept, or a recorder that was asked
//! for none before. Its head goes into the fragment at hand, and the rest follows, as if the blob had been cut there.

use media::demux::{Demuxer, Item};
use media::time::Samples;

use super::folded::{Folded, Outcome};
use super::taking::take;
use super::vain::Vain;
use crate::message::Format;
use crate::piece::{Head, Piece, Place};
use crate::snapshot::Snapshot;

/// A packet is rarely longer: where the next one might not fit, the head ends.
const PACKET: Samples = Samples::from_ms(60);
/// A longer block or page is cut between its packets: two seconds more make no fragment too long.
const LONG_BLOCK: Samples = Samples::from_ms(2_000);
/// A head is no shorter, unless the audio before it can be a fragment by itself.
const LEAST: Samples = Samples::from_ms(1_000);

/// The pieces with the first chunk of more than `long` taken apart, so that what lies before it and its head are no longer than
/// `most`; `None` where there is none, or it cannot be cut.
pub fn take_apart(
    start: &Snapshot,
    pieces: &[Piece],
    folded: &Folded,
    (long, most): (Samples, Samples),
    vain: Option<&Vain>,
) -> Option<Vec<Piece>> {
    let is_long = |chunk: &Outcome| chunk.audio.as_ref().is_ok_and(|samples| *samples > long);
    let i = folded.chunks.iter().position(is_long)?;
    let piece = pieces.get(i).filter(|piece| piece.format != Format::Pcm)?;
    let room = most.saturating_sub(folded.samples_of(i));
    let head = if room < LEAST { most } else { room }.saturating_sub(PACKET);
    let (mut before, _) = take(start, &pieces[..i], (vain, None));
    let place = behind(start, &pieces[..i]);
    if place.numbering != piece.numbering {
        before.demuxer = Demuxer::new();
    }
    if !place.leads_to(piece) {
        before.lose_chunks();
    }
    let from = start.position.passed_of(piece).filter(|_| i == 0).unwrap_or_default();
    let head = head_of(before.demuxer, piece.audio.as_ref().ok()?, from, head)?;
    let mut apart = cut(pieces, i, head)?;
    let (_, taken) = take(start, &apart[..i + 2], (vain, None));
    let rest = taken.get(i + 1)?.samples;
    apart[i].head = apart[i].head.map(|head| Head { behind: rest, ..head });
    (rest > Samples(0)).then_some(apart)
}

/// The head of what is left of a chunk behind `from`: about so much audio, up to the end of a block or page; or up to a packet, if
/// that holds more than [`LONG_BLOCK`].
fn head_of(mut demuxer: Demuxer, bytes: &[u8], mut from: Head, audio: Samples) -> Option<Head> {
    let mut left = audio;
    while left > Samples(0) {
        let (items, used) = demuxer.push_until(bytes.get(from.until..)?, Samples(1));
        let durations =
            || items.iter().filter_map(Item::packet).map(|packet| packet.duration).skip(from.packets);
        let block: Samples = durations().sum();
        if block == Samples(0) {
            return None; // there is no more
        }
        if block > left && block > LONG_BLOCK {
            let mut room = left;
            let fits = |packet: &Samples| {
                let fits = *packet <= room;
                room = room.saturating_sub(*packet);
                fits
            };
            from.packets += durations().take_while(fits).count();
            return Some(from);
        }
        left = left.saturating_sub(block);
        from = Head { until: from.until + used, ..Head::default() };
    }
    Some(from)
}

fn behind(start: &Snapshot, pieces: &[Piece]) -> Place {
    pieces.last().map_or(start.position.place(), Place::behind)
}

/// The pieces with one of them cut behind this head; `None` where that does not end in it.
pub fn cut(pieces: &[Piece], i: usize, head: Head) -> Option<Vec<Piece>> {
    let piece = pieces.get(i)?;
    let bytes = piece.audio.as_ref().ok()?.len();
    let is_inside = (0 < head.until || 0 < head.packets) && head.until < bytes;
    let head = Piece { head: Some(head), ..piece.clone() };
    is_inside.then(|| [&pieces[..i], &[head], &pieces[i..]].concat())
}
