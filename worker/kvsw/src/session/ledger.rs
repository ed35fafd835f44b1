//! The ledger: where every chunk is, and what every millisecond between the first chunk and the last one holds, parked ones
//! included. Arithmetic only.

use std::collections::{BTreeMap, BTreeSet};

use ingest::checkpoint::{Checkpoint, Gap};
use media::time::{EpochMs, Samples};
use serde::Serialize;

use super::facts::FragmentFacts;
use crate::ranges::Ranges;

/// A hole no longer than this is rounding: times are whole milliseconds.
const ROUNDING_MS: u64 = 1;
/// A gap at the end is never guessed longer than this: a speaker's clock may say anything.
const LONGEST_GUESS_MS: u64 = 24 * 3_600_000;

/// What a time without audio is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HoleKind {
    /// Nothing was recorded: the chunks before and after are neighbours.
    Pause,
    /// An open gap: its chunks may still come.
    Gap,
    /// Nobody knows: fragments expired, or a gap was given up.
    Unknown,
}

/// A time without audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hole {
    /// From, epoch ms.
    pub from: u64,
    /// To.
    pub to: u64,
    /// What it is.
    pub kind: HoleKind,
}

/// One fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FragmentRow {
    /// `FragmentNumber`.
    pub number: String,
    /// Its first sample, epoch ms.
    pub at: u64,
    /// Its length, pauses inside included, ms.
    pub span_ms: u64,
    /// Its audio, 16 kHz samples.
    pub samples: u64,
    /// Which numbering of chunkIndex.
    pub numbering: Option<u32>,
    /// First and last chunk.
    pub chunks: Option<(u64, u64)>,
    /// It was written after fragments of later times; or nothing follows it, chunks were parked, and it was written long
    /// after the audio before it.
    pub backfilled: bool,
}

/// One open gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GapRow {
    /// Which numbering.
    pub numbering: u32,
    /// First chunk.
    pub chunk_first: u64,
    /// Last chunk.
    pub chunk_last: u64,
    /// Where its audio begins, epoch ms.
    pub begins_at: u64,
    /// Where the audio after it begins; `None` where nothing has been written after it.
    pub ends_at: Option<u64>,
    /// Where it ends as far as is known: there, or where its last chunk's audio does.
    pub until: u64,
    /// Chunks of it that are parked.
    pub parked: Ranges,
    /// Chunks of it that are nowhere.
    pub missing: Ranges,
}

/// Where the chunks of one numbering are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChunkRow {
    /// Which numbering; counts page reloads.
    pub numbering: u32,
    /// One past the last chunk that the session has gone past.
    pub next: u64,
    /// In a fragment.
    pub written: Ranges,
    /// In an open gap, and parked.
    pub parked: Ranges,
    /// In an open gap, and nowhere.
    pub missing: Ranges,
    /// Taken, but the middle of a Cluster that begins in the gap before them: useless until that comes back.
    pub held: Ranges,
    /// Their gap was given up.
    pub given_up: Ranges,
    /// None of that: their fragments expired.
    pub not_in_stream: Ranges,
    /// In two fragments.
    pub twice: Ranges,
}

/// What the time from the first chunk to the last one holds, ms. The parts add up to the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Time {
    /// First sample, epoch ms, written or in an open gap.
    pub from: u64,
    /// End of the last one.
    pub to: u64,
    /// With audio.
    pub audio_ms: u64,
    /// Paused.
    pub pause_ms: u64,
    /// In open gaps.
    pub gap_ms: u64,
    /// Nobody knows.
    pub unknown_ms: u64,
    /// With the audio of two fragments at once; counted as audio once.
    pub overlap_ms: u64,
}

/// A session's ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Of all time.
    pub time: Time,
    /// Every time without audio.
    pub holes: Vec<Hole>,
    /// In the order of time.
    pub fragments: Vec<FragmentRow>,
    /// Open gaps.
    pub gaps: Vec<GapRow>,
    /// By numbering.
    pub chunks: Vec<ChunkRow>,
    /// Parked messages that belong to no gap, by index: refused ones, late ones, ends.
    pub parked_elsewhere: Ranges,
    /// Parked messages without an index.
    pub parked_without_index: usize,
}

impl Ledger {
    /// Whether nothing is missing, parked, unknown or there twice.
    pub fn is_whole(&self) -> bool {
        let whole = |row: &ChunkRow| row.twice.is_empty() && row.given_up.is_empty();
        self.gaps.is_empty()
            && self.time.unknown_ms == 0
            && self.time.overlap_ms == 0
            && self.parked_elsewhere.is_empty()
            && self.parked_without_index == 0
            && self.chunks.iter().all(whole)
    }
}

/// Makes the ledger. `fragments` are in the order of time; `parked` are the indices of parked messages.
pub fn ledger(fragments: &[FragmentFacts], checkpoint: &Checkpoint, parked: &[Option<u64>]) -> Ledger {
    ledger_within(fragments, checkpoint, parked, (EpochMs(0), EpochMs(u64::MAX)))
}

/// The same for a part of a session: `fragments` are those of the part, and gaps outside of it do not make it longer.
pub fn ledger_within(
    fragments: &[FragmentFacts],
    checkpoint: &Checkpoint,
    parked: &[Option<u64>],
    part: (EpochMs, EpochMs),
) -> Ledger {
    let indices: Ranges = parked.iter().copied().flatten().collect();
    let gaps: Vec<GapRow> =
        checkpoint.gaps.iter().map(|gap| gap_row(gap, gap_end(gap, checkpoint), &indices)).collect();
    let in_gaps = gaps.iter().fold(Ranges::default(), |mut all, gap| {
        all.add(gap.chunk_first, gap.chunk_last.saturating_add(1));
        all
    });
    let open = gap_times(checkpoint).and(&Ranges::one(part.0.0, part.1.0));
    let (time, holes) = account(fragments, checkpoint, &open);
    Ledger {
        time,
        holes,
        fragments: fragments.iter().map(fragment_row).collect(),
        chunks: chunk_rows(fragments, checkpoint, &gaps),
        gaps,
        parked_elsewhere: indices.without(&in_gaps),
        parked_without_index: parked.iter().filter(|index| index.is_none()).count(),
    }
}

/// The times of open gaps, epoch ms.
pub fn gap_times(checkpoint: &Checkpoint) -> Ranges {
    let mut times = Ranges::default();
    checkpoint.gaps.iter().for_each(|gap| times.add(gap.begins_at.0, gap_end(gap, checkpoint)));
    times
}

/// Where a gap ends. Behind the last audio written only the live line knows, which has gone past what was parked; and where
/// nothing of that could be decoded, the speaker's clock.
fn gap_end(gap: &Gap, checkpoint: &Checkpoint) -> u64 {
    let begin = gap.begins_at.0;
    let line = checkpoint.live.timeline.end().filter(|end| end.0 > begin);
    if let Some(end) = gap.ends_at.or(line) {
        return end.0.max(begin);
    }
    // A chunk's capture time is the end of its audio; the first one is that of the chunk before, if there was any.
    let (before, last) = gap.captured;
    let since = if before.0 == 0 { begin } else { before.0 };
    begin.saturating_add(last.0.saturating_sub(since).min(LONGEST_GUESS_MS))
}

fn gap_row(gap: &Gap, until: u64, parked: &Ranges) -> GapRow {
    let whole = Ranges::one(gap.chunks.from, gap.chunks.to);
    let parked = whole.and(parked);
    GapRow {
        numbering: gap.chunks.numbering,
        chunk_first: gap.chunks.from,
        chunk_last: gap.chunks.to.saturating_sub(1),
        begins_at: gap.begins_at.0,
        ends_at: gap.ends_at.map(|at| at.0),
        until,
        missing: whole.without(&parked),
        parked,
    }
}

fn fragment_row(fragment: &FragmentFacts) -> FragmentRow {
    FragmentRow {
        number: fragment.number.clone(),
        at: fragment.at().0,
        span_ms: fragment.end().0 - fragment.at().0,
        samples: fragment.samples().0,
        numbering: fragment.numbering,
        chunks: fragment.chunks,
        backfilled: fragment.backfilled,
    }
}

/// A stretch of audio and the fragment that it is in.
struct Stretch<'a> {
    from: u64,
    to: u64,
    fragment: &'a FragmentFacts,
}

/// Every millisecond from the first to the last of audio and open gaps.
fn account(fragments: &[FragmentFacts], checkpoint: &Checkpoint, open: &Ranges) -> (Time, Vec<Hole>) {
    let stretches = stretches(fragments);
    let (mut time, mut holes) = between(&stretches, open);
    if let Some((from, to)) = open.runs().first().zip(open.runs().last()).map(|(a, b)| (a.0, b.1)) {
        let (first, last) = (stretches.first(), stretches.iter().max_by_key(|stretch| stretch.to));
        let ends = first.zip(last).map(|(first, last)| (first.fragment, last.fragment));
        let (begins, ends) = ends.map_or((Some((0, 0)), None), |(first, last)| (first.begins(), last.ends()));
        if stretches.is_empty() {
            (time.from, time.to) = (from, from);
        }
        if from < time.from {
            let known = begins.is_some_and(|begins| all_in_gaps(checkpoint, (0, 0), begins));
            holes.splice(0..0, split(from, time.from, open, known));
            time.from = from;
        }
        if to > time.to {
            let live = (checkpoint.live.numbering, checkpoint.live.next);
            let known = ends.or(begins).is_some_and(|ends| all_in_gaps(checkpoint, ends, live));
            holes.extend(split(time.to, to, open, known));
            time.to = to;
        }
    }
    for hole in &holes {
        *match hole.kind {
            HoleKind::Pause => &mut time.pause_ms,
            HoleKind::Gap => &mut time.gap_ms,
            HoleKind::Unknown => &mut time.unknown_ms,
        } += hole.to - hole.from;
    }
    time.audio_ms = time.to - time.from - time.pause_ms - time.gap_ms - time.unknown_ms;
    (time, holes)
}

fn stretches(fragments: &[FragmentFacts]) -> Vec<Stretch<'_>> {
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
            let end = gap.chunks.to.max(gap.held_to);
            left = left.map(|left| left.without(&Ranges::one(gap.chunks.from, end)));
        }
        left.is_some_and(|left| left.is_empty())
    })
}

/// Whether no chunk is missing between two fragments.
fn neighbours(before: &FragmentFacts, after: &FragmentFacts) -> bool {
    let Some(((first, last), (next, _))) = before.chunks.zip(after.chunks) else { return false };
    match before.numbering == after.numbering {
        // A backfill lies inside the fragment whose hole it fills.
        true => before.number == after.number || (first..=last.saturating_add(1)).contains(&next),
        // A reloaded page begins again.
        false => after.numbering > before.numbering && next == 0,
    }
}

fn chunk_rows(fragments: &[FragmentFacts], checkpoint: &Checkpoint, gaps: &[GapRow]) -> Vec<ChunkRow> {
    let mut ends: BTreeMap<u32, u64> =
        checkpoint.past.iter().map(|past| (past.numbering, past.next)).collect();
    if checkpoint.live.next > 0 || fragments.is_empty() {
        ends.insert(checkpoint.live.numbering, checkpoint.live.next);
    }
    for fragment in fragments {
        if let Some(((_, last), numbering)) = fragment.chunks.zip(fragment.numbering) {
            let end = ends.entry(numbering).or_default();
            *end = (*end).max(last.saturating_add(1));
        }
    }
    ends.into_iter()
        .map(|(numbering, next)| chunk_row(numbering, next, fragments, checkpoint, gaps))
        .collect()
}

fn chunk_row(
    numbering: u32,
    next: u64,
    fragments: &[FragmentFacts],
    checkpoint: &Checkpoint,
    gaps: &[GapRow],
) -> ChunkRow {
    let mut row = ChunkRow { numbering, next, ..ChunkRow::default() };
    for gap in gaps.iter().filter(|gap| gap.numbering == numbering) {
        gap.parked.runs().iter().for_each(|&(from, to)| row.parked.add(from, to));
        gap.missing.runs().iter().for_each(|&(from, to)| row.missing.add(from, to));
    }
    for gap in checkpoint.gaps.iter().filter(|gap| gap.chunks.numbering == numbering) {
        row.held.add(gap.chunks.to, gap.held_to);
    }
    for range in checkpoint.given_up.iter().filter(|range| range.numbering == numbering) {
        row.given_up.add(range.from, range.to);
    }
    let mut spans: Vec<&FragmentFacts> =
        fragments.iter().filter(|fragment| fragment.numbering == Some(numbering)).collect();
    spans.sort_by_key(|fragment| fragment.order());
    let mut seen: BTreeSet<(u64, u64)> = BTreeSet::new();
    for (first, last) in spans.iter().filter_map(|fragment| fragment.chunks) {
        let span = Ranges::one(first, last.saturating_add(1));
        // A later fragment inside an earlier one's span fills a hole of it; anything else is there twice.
        let fills = seen.iter().any(|&(f, l)| (f, l) != (first, last) && f <= first && last <= l);
        if !fills {
            span.and(&row.written).runs().iter().for_each(|&(from, to)| row.twice.add(from, to));
        }
        row.written.add(first, last.saturating_add(1));
        seen.insert((first, last));
    }
    let mut elsewhere = row.given_up.clone();
    let open = row.parked.runs().iter().chain(row.missing.runs());
    open.chain(row.held.runs()).for_each(|&(from, to)| elsewhere.add(from, to));
    row.written = row.written.without(&elsewhere);
    row.not_in_stream = Ranges::one(0, next).without(&elsewhere).without(&row.written);
    row
}

#[cfg(test)]
mod tests;
