//! A batch as one fragment: what its bytes and its timestamp will be, and what its commit will change.
//! All of it depends on the arguments alone: the checkpoint's state, the chunks, and what was decided of them.

use media::time::{EpochMs, Samples};

use crate::checkpoint::{Advance, Line, Resumes, Skipped};
use crate::fold::{Around, Folded, Refusal, Run, Undecoded, fold};
use crate::gap::{ChunkRange, Gap, Search};
use crate::message::{Chunk, Record};
use crate::opening::{Opening, residue_snapshots};
use crate::piece::{Piece, Place};
use crate::position::Position;
use crate::snapshot::{Heard, Kind, MediaState, Snapshot, SnapshotKey};

/// A batch, ready to be leased, put and committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What the commit changes.
    pub advance: Advance,
    /// Snapshots to store before the lease, by key: where gaps begin, then where the line goes on.
    pub snapshots: Vec<(SnapshotKey, Snapshot)>,
    /// The audio.
    pub runs: Vec<Run>,
    /// What the decoder must have heard before.
    pub pre_roll: Vec<Heard>,
    /// Chunks that cannot be written, as indices into the pieces that were planned.
    pub refused: Vec<(usize, Refusal)>,
    /// Sound that is not decoded.
    pub undecoded: Undecoded,
    /// Whether the batch ends in search of a place where decoding can go on.
    searches: bool,
    /// Set when a backfill closes its gap completely: the next chunk's index, and the position and media state before it.
    end_of_gap: Option<(u64, Position, MediaState)>,
}

/// Plans the batch of `pieces` (of one numbering) that goes on from `start`: with the live audio, or in the gap that it fills;
/// `start` then holds all that was skipped behind it.
pub fn plan(start: &Snapshot, pieces: &[Piece], around: Around<'_>) -> Plan {
    let around = Around { sight: None, ..around }; // all of a batch is in it
    let folded = match around.gap.filter(|gap| closes(gap, pieces)) {
        Some(_) => fold_with_residue(start, pieces, around),
        None => fold(start, pieces, around),
    };
    plan_folded(start, around.gap, pieces, folded)
}

/// As [`plan`] of the first `chunks` of `pieces`, which were folded for a decision.
pub fn plan_as_decided(
    start: &Snapshot,
    pieces: &[Piece],
    chunks: usize,
    around: Around<'_>,
    folded: Folded,
) -> Plan {
    if chunks == pieces.len() && !around.gap.is_some_and(|gap| closes(gap, pieces)) {
        return plan_folded(start, around.gap, pieces, folded);
    }
    plan(start, &pieces[..chunks], Around { after: &folded.timings[chunks..], ..around })
}

fn closes(gap: &Gap, pieces: &[Piece]) -> bool {
    pieces.last().is_some_and(|last| Place::behind(last).next >= gap.chunks.to)
}

fn plan_folded(start: &Snapshot, gap: Option<&Gap>, pieces: &[Piece], folded: Folded) -> Plan {
    let outcomes = folded.chunks.iter().enumerate();
    let refused: Vec<(usize, Refusal)> =
        outcomes.filter_map(|(i, chunk)| Some((i, chunk.audio.as_ref().err()?.clone()))).collect();
    let advance = advance(start, gap, pieces, &folded);
    let mut plan = Plan {
        advance,
        snapshots: Vec::new(),
        runs: folded.runs,
        pre_roll: start.media.pre_roll.clone(),
        refused,
        undecoded: folded.undecoded,
        searches: folded.media.is_searching(),
        end_of_gap: None,
    };
    let skew_from = folded.end.timeline.clone();
    let on = |at: Option<u64>| match gap.filter(|gap| closes(gap, pieces)) {
        // A search that goes on beyond a gap that closes goes on where that gap's did.
        Some(gap) if at >= Some(gap.chunks.to) => gap.search.goes_on_at,
        _ => at,
    };
    for mut opening in folded.gaps {
        opening.snapshot.position.timeline.learn_skew(&skew_from);
        opening.search.goes_on_at = on(opening.search.goes_on_at);
        let of_hole = |(i, _): &&(usize, Refusal)| opening.chunks.holds(pieces[*i].index);
        let refusal = plan.refused.iter().find(of_hole).map(|(_, refusal)| refusal.code());
        plan.leave_hole(start, gap, opening, refusal);
    }
    if !folded.residue.is_empty() || folded.search.claimed > 0 {
        let (keys, snapshots) = residue_snapshots(&start.position, folded.residue);
        plan.snapshots.extend(snapshots);
        let search = Search { goes_on_at: on(folded.search.goes_on_at), keys, ..folded.search };
        plan.advance.skipped = Some(Skipped { from: start.position.next, search });
    }
    plan.go_on(start, gap, folded.end, folded.media);
    plan
}

/// What the fragment's commit does, but for the holes and the search behind it.
fn advance(start: &Snapshot, gap: Option<&Gap>, pieces: &[Piece], folded: &Folded) -> Advance {
    let at = folded.runs.first().map_or_else(|| start.position.timeline.end().unwrap_or_default(), |r| r.at);
    let whole = pieces.iter().zip(&folded.chunks).filter(|(piece, _)| piece.ends_chunk());
    Advance {
        line: gap.map_or(Line::Live, |gap| Line::Gap(gap.id())),
        to: folded.end.clone(),
        gaps: Vec::new(),
        chunks: range_of(pieces),
        within: pieces.first().and_then(|first| start.position.passed_of(first)).map(|passed| passed.until),
        count: whole.filter(|(_, chunk)| chunk.audio.is_ok()).count() as u64,
        at,
        until: folded.end.timeline.end().unwrap_or_default(),
        samples: folded.samples(),
        snapshot: None,
        placements: placements(pieces, folded),
        skipped: None,
        resumes: None,
        traceparent: pieces.first().and_then(|piece| piece.record.traceparent()).map(str::to_owned),
    }
}

fn range_of(pieces: &[Piece]) -> ChunkRange {
    let Some((first, last)) = pieces.first().zip(pieces.last()) else {
        return ChunkRange::default();
    };
    ChunkRange { numbering: first.numbering, from: first.index, to: last.index + 1 }
}

/// Completes a gap's last packet: what was skipped behind the gap follows its last chunk.
fn fold_with_residue(start: &Snapshot, pieces: &[Piece], around: Around<'_>) -> Folded {
    let (numbering, index) = pieces.last().map_or((0, 0), |last| (last.numbering, last.index + 1));
    let residue = start.residue.iter().zip(index..).map(|(residue, index)| {
        let record = Record { sent_at: residue.sent_at, ..Record::default() };
        let (captured_at, audio) = (residue.captured_at, Ok(residue.bytes.clone()));
        Piece::new(numbering, Chunk { record, index, captured_at, audio, ..Chunk::default() })
    });
    let all: Vec<Piece> = pieces.iter().cloned().chain(residue).collect();
    // What was skipped is a chunk's beginning: where that chunk ends says nothing of it.
    let mut start = start.clone();
    start.placements.retain(|(placed, _)| *placed < index);
    let mut folded = fold(&start, &all, Around { after: &[], ..around });
    folded.chunks.truncate(pieces.len());
    // The residue is not a chunk: what it cannot complete stays with the gap that it belongs to.
    folded.gaps.retain(|open| open.chunks.from < index);
    for open in &mut folded.gaps {
        open.chunks.to = open.chunks.to.min(index);
    }
    folded
}

/// Where each piece's audio ends, by index.
fn placements(pieces: &[Piece], folded: &Folded) -> Vec<(u64, EpochMs)> {
    let ends = folded.chunks.iter().map(|chunk| chunk.span.map(|(_, end)| end));
    let whole = pieces.iter().zip(ends).filter(|(piece, _)| piece.ends_chunk());
    whole.filter_map(|(piece, end)| Some((piece.index, end?))).collect()
}

impl Plan {
    /// A gap inside the batch; `refusal`: why a chunk of it is parked by itself.
    fn leave_hole(
        &mut self,
        start: &Snapshot,
        of: Option<&Gap>,
        mut opening: Opening,
        refusal: Option<&'static str>,
    ) {
        opening.snapshot.placements.clone_from(&start.placements);
        let (mut gap, snapshots) = opening.open();
        self.snapshots.extend(snapshots);
        gap.ends_at = gap.ends_at.or(of.and_then(|of| of.ends_at));
        gap.parked = of.and_then(|of| of.parked);
        gap.cause = refusal.map(str::to_owned).or(of.map(|of| of.cause.clone())).unwrap_or_default();
        self.advance.gaps.push(gap);
    }

    /// Where the line goes on.
    fn go_on(&mut self, start: &Snapshot, gap: Option<&Gap>, end: Position, media: MediaState) {
        let Some(gap) = gap else {
            self.advance.snapshot = Some(self.store(Kind::Live, Snapshot::at(end, media)));
            return;
        };
        if end.next >= gap.chunks.to {
            let next = gap.search.goes_on_at.filter(|_| !media.is_searching());
            self.end_of_gap = next.map(|next| (next, end, media));
            return;
        }
        let (residue, placements) = (start.residue.clone(), start.placements.clone());
        let rest = Gap {
            chunks: ChunkRange { from: end.next, ..gap.chunks },
            begins_at: end.timeline.end().unwrap_or(gap.begins_at),
            captured: (end.last_captured, gap.captured.1),
            snapshot: self.store(Kind::Gap, Snapshot { residue, placements, ..Snapshot::at(end, media) }),
            search: Search { keys: Vec::new(), claimed: 0, ..gap.search.clone() },
            unsure: None,
            tries: Vec::new(),
            ..gap.clone()
        };
        self.advance.gaps.push(rest);
    }

    fn store(&mut self, kind: Kind, snapshot: Snapshot) -> SnapshotKey {
        let key = snapshot.key(kind);
        self.snapshots.push((key.clone(), snapshot));
        key
    }

    /// The gap that is left if all of the batch is parked, and its snapshots. `start` is what it was planned from.
    pub fn if_parked(&self, start: &Snapshot) -> (Gap, Vec<(SnapshotKey, Snapshot)>) {
        let goes_on_at = self.searches.then_some(self.advance.chunks.to);
        Opening::over(start, &self.advance, goes_on_at).open()
    }

    /// What is left of the last chunk if that is parked, where live audio ends inside one that is too long for a fragment.
    pub fn rest_if_parked(&self) -> Option<(Gap, Vec<(SnapshotKey, Snapshot)>)> {
        let key = self.advance.snapshot.as_ref().filter(|_| self.advance.ends_amid_chunk())?;
        let (_, end) = self.snapshots.iter().find(|(stored, _)| stored == key)?;
        Some(Opening::rest_of(&self.advance, end.clone()).open())
    }

    /// Index of the chunk before which a backfill ends, if what follows searches for a place to go on there: it can go on from the
    /// backfill's end.
    pub fn ends_before(&self) -> Option<u64> {
        self.end_of_gap.as_ref().map(|(next, ..)| *next)
    }

    /// Lets the live audio go on from the backfill's end.
    pub fn resume_live(&mut self, live: &Position) {
        if let Some((_, end, media)) = self.end_of_gap.take() {
            let (timeline, recording) = (end.timeline, end.recording);
            let position = Position { timeline, recording, ..live.clone() };
            let key = self.store(Kind::Live, Snapshot::at(position.clone(), media));
            self.advance.resumes = Some(Resumes::Live(Box::new(position), key));
        }
    }

    /// Lets the gap that begins there, at `snapshot`, go on from the backfill's end.
    pub fn resume_gap(&mut self, mut snapshot: Snapshot) {
        if let Some((from, end, media)) = self.end_of_gap.take() {
            (snapshot.position.timeline, snapshot.position.recording) = (end.timeline, end.recording);
            snapshot.media = media;
            let key = self.store(Kind::Gap, snapshot);
            self.advance.resumes = Some(Resumes::Gap(from, key));
        }
    }

    /// Whether a backfill ends before the audio behind its gap begins. (Its hole may have been measured too short, where
    /// the header of a restarted recorder is among the missing chunks.)
    pub fn fits(&self, gap: &Gap) -> bool {
        gap.ends_at.is_none_or(|end| self.is_silent() || self.advance.until <= end)
    }

    /// Whether there is any audio to write.
    pub fn is_silent(&self) -> bool {
        self.advance.samples == Samples(0)
    }
}
