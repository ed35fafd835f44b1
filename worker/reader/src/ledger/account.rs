//! The account of time: what every millisecond from the first to the last of audio and open gaps holds.

use ingest::checkpoint::Checkpoint;
use media::time::{EpochMs, Samples};

use super::rows::{Hole, HoleKind, Time};
use crate::fragment::Fragment;
use crate::ranges::Ranges;

/// A hole no longer than this is rounding: times are whole milliseconds.
const ROUNDING_MS: u64 = 1;

/// A stretch of audio and the fragment that it is in.
struct Stretch<'a> {
    from: u64,
    to: u64,
    fragment: &'a Fragment,
}

/// Every millisecond from the first to the last of audio and the times of `open` gaps.
pub(super) fn account(fragments: &[Fragment], checkpoint: &Checkpoint, open: &Ranges) -> (Time, Vec<Hole>) {
    let stretches = stretches(fragments);
    let (mut time, mut holes) = between(&stretches, open);
    if let Some((first, last)) = open.runs().first().zip(open.runs().last()) {
        around(&mut time, &mut holes, &stretches, checkpoint, open, (first.0, last.1));
    }
    sum(&mut time, &holes);
    (time, holes)
}

/// Leaves what lies within `part`.
pub(super) fn clip(time: &mut Time, holes: &mut Vec<Hole>, part: (EpochMs, EpochMs)) {
    time.from = time.from.clamp(part.0.0, part.1.0.max(part.0.0));
    time.to = time.to.clamp(time.from, part.1.0.max(time.from));
    for hole in holes.iter_mut() {
        (hole.from, hole.to) = (hole.from.max(time.from), hole.to.min(time.to));
    }
    holes.retain(|hole| hole.from < hole.to);
    sum(time, holes);
}

/// What is no hole is audio.
fn sum(time: &mut Time, holes: &[Hole]) {
    let of = |kind: HoleKind| -> u64 {
        holes.iter().filter(|hole| hole.kind == kind).map(|hole| hole.to - hole.from).sum()
    };
    (time.pause_ms, time.gap_ms, time.unknown_ms) =
        (of(HoleKind::Pause), of(HoleKind::Gap), of(HoleKind::Unknown));
    time.audio_ms = time.to - time.from - time.pause_ms - time.gap_ms - time.unknown_ms;
}

/// Extends the account to open gaps (`from..to` in all) before the first audio and behind the last.
fn around(
    time: &mut Time,
    holes: &mut Vec<Hole>,
    stretches: &[Stretch],
    checkpoint: &Checkpoint,
    open: &Ranges,
    (from, to): (u64, u64),
) {
    let last = stretches.iter().max_by_key(|stretch| stretch.to);
    // Where the audio begins and ends, by numbering and chunkIndex.
    let (first_chunk, after_last) = match stretches.first().zip(last) {
        Some((first, last)) => (first.fragment.begins(), last.fragment.ends().or(first.fragment.begins())),
        None => {
            (time.from, time.to) = (from, from);
            (Some((0, 0)), Some((0, 0)))
        }
    };
    if from < time.from {
        let known = first_chunk.is_some_and(|chunk| all_in_gaps(checkpoint, (0, 0), chunk));
        holes.splice(0..0, split(from, time.from, open, known));
        time.from = from;
    }
    if to > time.to {
        let live = (checkpoint.live.numbering, checkpoint.live.next);
        let known = after_last.is_some_and(|chunk| all_in_gaps(checkpoint, chunk, live));
        holes.extend(split(time.to, to, open, known));
        time.to = to;
    }
}

fn stretches(fragments: &[Fragment]) -> Vec<Stretch<'_>> {
    let of = |fragment| {
        move |&(at, length): &(EpochMs, Samples)| Stretch {
            from: at.0,
            to: at.0 + length.ms_ceil(),
            fragment,
        }
    };
    let mut stretches: Vec<Stretch> =
        fragments.iter().flat_map(|fragment| fragment.stretches.iter().map(of(fragment))).collect();
    stretches.sort_by_key(|stretch| (stretch.from, stretch.to));
    stretches
}

/// From the first audio to the last: the holes, and what is there twice.
fn between(stretches: &[Stretch], open: &Ranges) -> (Time, Vec<Hole>) {
    let Some(first) = stretches.first() else { return Default::default() };
    let mut time = Time { from: first.from, to: first.from, ..Time::default() };
    let (mut holes, mut before) = (Vec::new(), first);
    for stretch in stretches {
        if stretch.from > time.to + ROUNDING_MS {
            let bordered = !Ranges::one(time.to, stretch.from).and(open).is_empty();
            let known = bordered || neighbours(before.fragment, stretch.fragment);
            holes.extend(split(time.to, stretch.from, open, known));
        } else if time.to > stretch.from + ROUNDING_MS && time.to > time.from {
            time.overlap_ms += time.to.min(stretch.to) - stretch.from;
        }
        if stretch.to >= time.to {
            time.to = stretch.to;
            before = stretch;
        }
    }
    (time, holes)
}

/// A hole, cut where open gaps begin and end. The rest is a pause where it is `known` that no chunk lies in it.
fn split(from: u64, to: u64, open: &Ranges, known: bool) -> Vec<Hole> {
    let whole = Ranges::one(from, to);
    let rest = if known { HoleKind::Pause } else { HoleKind::Unknown };
    let hole = |kind: HoleKind| move |&(from, to): &(u64, u64)| Hole { from, to, kind };
    let mut holes: Vec<Hole> = whole.and(open).runs().iter().map(hole(HoleKind::Gap)).collect();
    holes.extend(whole.without(open).runs().iter().map(hole(rest)));
    holes.sort_by_key(|hole| hole.from);
    holes
}

/// Whether each chunk from one place (numbering and index) to another lies in an open gap.
fn all_in_gaps(checkpoint: &Checkpoint, from: (u32, u64), to: (u32, u64)) -> bool {
    (from.0..=to.0).all(|numbering| {
        let first = if numbering == from.0 { from.1 } else { 0 };
        let past = checkpoint.past.iter().find(|past| past.numbering == numbering);
        let end = if numbering == to.0 { Some(to.1) } else { past.map(|past| past.next) };
        let mut left = end.map(|end| Ranges::one(first, end));
        for gap in checkpoint.gaps.iter().filter(|gap| gap.chunks.numbering == numbering) {
            let end = gap.chunks.to.max(gap.search.withheld_to);
            left = left.map(|left| left.without(&Ranges::one(gap.chunks.from, end)));
        }
        left.is_some_and(|left| left.is_empty())
    })
}

/// Whether no chunk is missing between two fragments.
fn neighbours(before: &Fragment, after: &Fragment) -> bool {
    let Some(((first, last), (next, _))) = before.chunks.zip(after.chunks) else { return false };
    match before.numbering == after.numbering {
        // A backfill lies inside the fragment whose hole it fills.
        true => before.number == after.number || (first..=last.saturating_add(1)).contains(&next),
        // A reloaded page begins again.
        false => after.numbering > before.numbering && next == 0,
    }
}
