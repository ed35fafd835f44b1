//! The second pass: where each chunk lies in time.

use media::time::{EpochMs, Samples};

use super::around::Around;
use super::folded::{Folded, Outcome, Run, Step, Undecoded};
use super::taken::Taken;
use crate::gap::{ChunkRange, Gap, Search};
use crate::opening::{Opening, captured_from, skip};
use crate::piece::Piece;
use crate::position::Position;
use crate::snapshot::{MediaState, Residue, Snapshot};
use crate::timeline::{Sight, Timing};

/// A doubt holds live audio up for no longer: what the queue has taken in so long behind a chunk has shown all that will be shown.
pub const DOUBT_MS: u64 = 20_000;

/// Places all chunks.
pub(super) fn place(
    start: &Snapshot,
    pieces: &[Piece],
    around: Around<'_>,
    media: MediaState,
    taken: Vec<Taken>,
) -> Folded {
    let own = pieces.iter().zip(&taken).map(|(piece, taken)| timing(piece, taken));
    let timings: Vec<Timing> = own.chain(around.after.iter().copied()).collect();
    let seen_until = timings.iter().map(|timing| timing.sent_at).max().unwrap_or_default();
    let (silent, folded) = (Vec::new(), nothing(start, media));
    let mut placing = Placing { start, around, pieces, timings, seen_until, silent, folded };
    for (i, taken) in taken.into_iter().enumerate() {
        placing.chunk(i, taken);
    }
    let Placing { mut folded, mut timings, .. } = placing;
    timings.truncate(pieces.len());
    folded.timings = timings;
    if folded.media.is_searching() {
        search_goes_on(&mut folded);
    }
    folded
}

fn nothing(start: &Snapshot, media: MediaState) -> Folded {
    Folded {
        end: start.position.clone(),
        media,
        runs: Vec::new(),
        gaps: Vec::new(),
        residue: Vec::new(),
        search: Search::default(),
        chunks: Vec::new(),
        timings: Vec::new(),
        doubtful: None,
        undecoded: Undecoded::default(),
    }
}

fn timing(piece: &Piece, taken: &Taken) -> Timing {
    Timing {
        samples: taken.samples,
        captured_at: piece.captured_at,
        sent_at: piece.record.sent_at,
        joint: taken.joint,
        // The parts of a long chunk share its time, as the pieces of a blob do.
        continues: piece.continues || !piece.ends_chunk(),
    }
}

struct Placing<'a> {
    start: &'a Snapshot,
    around: Around<'a>,
    pieces: &'a [Piece],
    /// Those of `pieces`, then those of the chunks behind them.
    timings: Vec<Timing>,
    /// When the queue took the last of these.
    seen_until: EpochMs,
    /// Steps without audio that the next run's decoder must go through first.
    silent: Vec<Step>,
    folded: Folded,
}

impl Placing<'_> {
    fn chunk(&mut self, i: usize, mut taken: Taken) {
        let piece = &self.pieces[i];
        if let Some(before_hole) = taken.hole.take() {
            if before_hole.is_searching() {
                search_goes_on(&mut self.folded);
            }
            self.open_gap(before_hole, piece, taken.refusal.is_some());
        }
        let cut = if taken.residue.is_empty() { Samples(0) } else { taken.packet };
        if !taken.residue.is_empty() {
            let withheld_to = if taken.withheld { piece.index + 1 } else { 0 };
            let (captured_at, sent_at) = (piece.captured_at, piece.record.sent_at);
            self.skip(Residue { bytes: taken.residue, captured_at, sent_at }, withheld_to);
        }
        self.folded.search.claimed += taken.claimed;
        self.folded.end.pass(piece, taken.recording);
        self.folded.undecoded.add(taken.undecoded);
        let audio = match taken.refusal {
            Some(refusal) => Err(refusal),
            None => Ok(taken.samples),
        };
        let span = match taken.samples {
            Samples(0) => {
                self.pass_silent(i, taken.steps, audio.is_ok());
                None
            }
            _ => self.sound(i, taken.steps, cut),
        };
        self.folded.chunks.push(Outcome { audio, span });
    }

    /// A header alone, packets that are all pre-skip, or nothing: no audio, but the decoder must hear it.
    fn pass_silent(&mut self, i: usize, mut steps: Vec<Step>, accepted: bool) {
        if accepted {
            self.folded.end.timeline.pass_silent(&self.timings[i]);
        }
        match self.folded.runs.last_mut() {
            Some(run) => run.steps.append(&mut steps),
            None => self.silent.append(&mut steps),
        }
    }

    /// Puts a chunk's audio in its time, behind a packet that is `cut` by what is missing; returns its span.
    fn sound(&mut self, i: usize, steps: Vec<Step>, cut: Samples) -> Option<(EpochMs, EpochMs)> {
        let steps: Vec<Step> = self.silent.drain(..).chain(steps).collect();
        let timing = &self.timings[i];
        let index = self.pieces[i].index;
        // What comes back into a gap comes alone: nothing behind it is waited for.
        let Around { gap, calm, .. } = self.around;
        let calm = calm || gap.is_some() || self.seen_until.ms_since(timing.sent_at) >= DOUBT_MS;
        let sight = Sight { calm, in_gap: gap.is_some(), latest: self.latest(i) };
        let timeline = &mut self.folded.end.timeline;
        let known = self.start.placements.iter().find(|(placed, _)| *placed == index).map(|(_, end)| *end);
        let known = match self.pieces[i].ends_chunk() {
            true => known,
            false => self.around.ends_at.filter(|_| i + 1 == self.pieces.len()),
        };
        let after = &self.timings[i + 1..];
        let placement = match known {
            Some(end) => timeline.place_again(timing, after, end, sight),
            None => {
                // It was missing in a parked batch, behind chunks whose place is known.
                let before = self.start.placements.iter().filter(|(placed, _)| *placed < index);
                before.for_each(|(_, end)| timeline.go_on_after(end.plus(cut)));
                timeline.place(timing, after, sight)
            }
        };
        if placement.doubtful {
            self.folded.doubtful.get_or_insert(i);
        }
        let span = timeline.end().map(|end| (placement.at, end));
        for open in self.folded.gaps.iter_mut().filter(|open| open.ends_at.is_none()) {
            open.ends_at = Some(placement.at);
        }
        match self.folded.runs.last_mut() {
            Some(run) if placement.joined => {
                run.steps.extend(steps);
                run.samples += timing.samples;
                run.time += placement.time;
            }
            _ => {
                let (at, time) = (placement.at, placement.time);
                self.folded.runs.push(Run { at, steps, samples: timing.samples, time });
            }
        }
        span
    }

    /// Where chunk `i` must begin at the latest for it and all behind it to end before the gap does, and each where an
    /// earlier plan had it end.
    fn latest(&self, i: usize) -> Option<EpochMs> {
        let mut samples = Samples(0);
        let mut latest: Option<u64> = None;
        let mut ends_by = |end: EpochMs, samples: Samples| {
            let begins = end.0.saturating_sub(samples.ms_ceil());
            latest = Some(latest.map_or(begins, |latest| latest.min(begins)));
        };
        for (piece, chunk) in self.pieces.iter().zip(&self.timings).skip(i) {
            samples += chunk.samples;
            if let Some((_, end)) = self.start.placements.iter().find(|(placed, _)| *placed == piece.index) {
                ends_by(*end, samples);
            }
        }
        let last = self.pieces.last().map(|last| last.index);
        if let Some((to, end)) = self.around.gap.zip(last).and_then(|(gap, last)| self.next_placed(gap, last))
        {
            ends_by(end, samples + self.still_missing(i, to));
        }
        latest.map(EpochMs)
    }

    /// Of what lies behind a gap's chunk, the first whose place is known: the index behind it, and where its audio ends. Of the audio
    /// behind the gap that is where it begins.
    fn next_placed(&self, gap: &Gap, index: u64) -> Option<(u64, EpochMs)> {
        let parked =
            self.start.placements.iter().filter(|(placed, _)| (index + 1..gap.chunks.to).contains(placed));
        let first = parked.min_by_key(|(placed, _)| *placed).map(|(placed, end)| (placed + 1, *end));
        first.or_else(|| Some((gap.chunks.to, gap.ends_at?)))
    }

    /// About how much audio the chunks have that come behind chunk `i`, up to the index `to`, and are not at hand: as much as these have.
    fn still_missing(&self, i: usize, to: u64) -> Samples {
        let behind = to.saturating_sub(self.pieces[i].index);
        let at_hand = self.pieces[i..].iter().filter(|piece| piece.index < to).count() as u64;
        let audio: Samples = self.timings[..self.pieces.len()].iter().map(|timing| timing.samples).sum();
        Samples((audio.0 / self.pieces.len() as u64).saturating_mul(behind.saturating_sub(at_hand)))
    }

    /// Skipped bytes belong to the gap before them.
    fn skip(&mut self, residue: Residue, withheld_to: u64) {
        match self.folded.gaps.last_mut() {
            Some(open) => open.skip(residue, withheld_to),
            None => skip(&mut self.folded.residue, &mut self.folded.search, residue, withheld_to),
        }
    }

    /// Opens a gap before `piece`, or of `piece` itself where that is refused.
    fn open_gap(&mut self, media: MediaState, piece: &Piece, refused: bool) {
        let end = &self.folded.end;
        let from = if end.numbering == piece.numbering { end.next } else { 0 };
        let to = piece.index + u64::from(refused);
        if let Some(open) = self.folded.gaps.last_mut()
            && (open.chunks.numbering, open.chunks.to) == (piece.numbering, from)
            && open.ends_at.is_none()
        {
            open.chunks.to = to;
            open.captured.1 = piece.captured_at;
            return;
        }
        let chunks = ChunkRange { numbering: piece.numbering, from, to };
        let at_piece = ChunkRange { from: piece.index, ..chunks };
        self.folded.gaps.push(Opening {
            chunks,
            begins_at: end.timeline.end().unwrap_or(piece.captured_at),
            ends_at: None,
            captured: (captured_from(end, at_piece, piece.captured_at), piece.captured_at),
            search: Search::default(),
            snapshot: Snapshot::at(before(end, piece), media),
        });
    }
}

/// The place before a piece that may begin another page.
fn before(end: &Position, piece: &Piece) -> Position {
    let mut position = end.clone();
    if position.numbering != piece.numbering {
        position.begin_page(piece.numbering, piece.captured_at);
    }
    position
}

/// What was skipped so far does not end here: the next chunk's bytes go on with it.
fn search_goes_on(folded: &mut Folded) {
    let next = Some(folded.end.next);
    match folded.gaps.last_mut() {
        Some(open) => open.search.goes_on_at = next,
        None => folded.search.goes_on_at = next,
    }
}
