//! The ledger: where every chunk is, and what every millisecond between the first chunk and the last one holds, parked ones
//! included. Arithmetic only.

mod account;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use ingest::checkpoint::Checkpoint;
use ingest::gap::Gap;
use media::time::EpochMs;

use self::account::{account, clip};
pub use self::rows::{ChunkRow, FragmentRow, GapRow, Hole, HoleKind, Ledger, Parked, Time};
use crate::fragment::Fragment;
use crate::ranges::Ranges;

/// A gap at the end is never guessed longer than this: a speaker's clock may say anything.
const LONGEST_GUESS_MS: u64 = 24 * 3_600_000;

/// Makes the ledger. `fragments` are in the order of time, each once.
pub fn ledger(fragments: &[Fragment], checkpoint: &Checkpoint, parked: &[Parked]) -> Ledger {
    ledger_within(fragments, checkpoint, parked, (EpochMs(0), EpochMs(u64::MAX)))
}

/// The same for a part of a session: `fragments` are those of the part, and one before and behind it that tell what lies between.
/// Times, rows of fragments and of gaps are those of the part alone; chunks are the session's.
pub fn ledger_within(
    fragments: &[Fragment],
    checkpoint: &Checkpoint,
    parked: &[Parked],
    part: (EpochMs, EpochMs),
) -> Ledger {
    let mut gaps: Vec<GapRow> =
        checkpoint.gaps.iter().map(|gap| gap_row(gap, gap_end(gap, checkpoint), parked)).collect();
    let in_gap = |parked: &&Parked| {
        let holds =
            |gap: &GapRow| parked.may_be_of(gap.numbering) && parked.index.is_some_and(|i| gap.holds(i));
        gaps.iter().any(holds)
    };
    let elsewhere = parked.iter().filter(|parked| !in_gap(parked)).filter_map(|parked| parked.index);
    let parked_elsewhere = elsewhere.collect();
    let (mut time, mut holes) = account(fragments, checkpoint, &gap_times(checkpoint));
    clip(&mut time, &mut holes, part);
    let chunks = chunk_rows(fragments, checkpoint, &gaps);
    gaps.retain(|gap| gap.begins_at < part.1.0 && gap.until > part.0.0);
    let inside = fragments.iter().filter(|fragment| fragment.at < part.1 && fragment.end() > part.0);
    Ledger {
        time,
        holes,
        fragments: inside.map(|fragment| fragment_row(fragment, checkpoint)).collect(),
        chunks,
        gaps,
        parked_elsewhere,
        parked_without_index: parked.iter().filter(|parked| parked.index.is_none()).count(),
    }
}

/// The times of open gaps, epoch ms.
pub fn gap_times(checkpoint: &Checkpoint) -> Ranges {
    let mut times = Ranges::default();
    checkpoint.gaps.iter().for_each(|gap| times.add(gap.begins_at.0, gap_end(gap, checkpoint)));
    times
}

/// Where a gap ends. Behind the last audio written only the live line knows, which has passed what was parked; and where
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

fn gap_row(gap: &Gap, until: u64, parked: &[Parked]) -> GapRow {
    let whole = Ranges::one(gap.chunks.from, gap.chunks.to);
    let own = parked.iter().filter(|parked| parked.may_be_of(gap.chunks.numbering));
    let parked = whole.and(&own.filter_map(|parked| parked.index).collect());
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

fn fragment_row(fragment: &Fragment, checkpoint: &Checkpoint) -> FragmentRow {
    let span = fragment.chunks.map(|(first, last)| Ranges::inclusive(first, last)).unwrap_or_default();
    let open = checkpoint.gaps.iter().map(|gap| gap.chunks).chain(checkpoint.given_up.iter().copied());
    let open = open.filter(|range| Some(range.numbering) == fragment.numbering);
    let chunks = open.fold(span, |left, range| left.without(&Ranges::one(range.from, range.to)));
    FragmentRow {
        number: fragment.number.clone(),
        at: fragment.at.0,
        span_ms: fragment.end().0.saturating_sub(fragment.at.0),
        samples: fragment.samples().0,
        numbering: fragment.numbering,
        chunks,
        backfilled: fragment.backfilled,
    }
}

fn chunk_rows(fragments: &[Fragment], checkpoint: &Checkpoint, gaps: &[GapRow]) -> Vec<ChunkRow> {
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
    fragments: &[Fragment],
    checkpoint: &Checkpoint,
    gaps: &[GapRow],
) -> ChunkRow {
    let mut row = ChunkRow { numbering, next, ..ChunkRow::default() };
    for gap in gaps.iter().filter(|gap| gap.numbering == numbering) {
        row.parked.add_all(&gap.parked);
        row.missing.add_all(&gap.missing);
    }
    for gap in checkpoint.gaps.iter().filter(|gap| gap.chunks.numbering == numbering) {
        row.held.add(gap.chunks.to, gap.search.withheld_to);
    }
    for range in checkpoint.given_up.iter().filter(|range| range.numbering == numbering) {
        row.given_up.add(range.from, range.to);
    }
    let mut spans: Vec<&Fragment> =
        fragments.iter().filter(|fragment| fragment.numbering == Some(numbering)).collect();
    spans.sort_by_key(|fragment| fragment.order());
    let mut seen: BTreeSet<(u64, u64)> = BTreeSet::new();
    let mut parts: BTreeSet<(u64, u64)> = BTreeSet::new();
    for ((first, last), from) in spans.iter().filter_map(|f| Some((f.chunks?, f.first_from))) {
        // A chunk that is too long for one fragment goes on in others: only the same part of it is there twice.
        let goes_on = from.is_some_and(|from| parts.insert((first, from)));
        let span = Ranges::inclusive(first + u64::from(goes_on), last);
        // A later fragment inside an earlier one's span fills a hole of it; anything else is there twice.
        let fills =
            from.is_none() && seen.iter().any(|&(f, l)| (f, l) != (first, last) && f <= first && last <= l);
        if !fills {
            row.twice.add_all(&span.and(&row.written));
        }
        row.written.add_all(&Ranges::inclusive(first, last));
        seen.insert((first, last));
    }
    let mut elsewhere = row.given_up.clone();
    [&row.parked, &row.missing, &row.held].into_iter().for_each(|open| elsewhere.add_all(open));
    row.written = row.written.without(&elsewhere);
    row.not_in_stream = Ranges::one(0, next).without(&elsewhere).without(&row.written);
    row
}

#[cfg(test)]
pub(crate) mod tests;
