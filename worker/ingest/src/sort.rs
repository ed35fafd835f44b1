//! Sorts a delivery's records of one session: whose chunk is it, and what has become of that chunk so far?
//!
//! `chunkIndex` begins again at 0 when the page is reloaded, so an index alone names no chunk. A *numbering* is a run of
//! indices that belong together; the capture time (and the queue's sequence number) tells a new numbering's
//! chunk from a duplicate: every chunk that the session has passed was captured no later than the last one it passed. Redriven
//! chunks are known by index and capture time, not by anything SQS says about them (aws-facts 0-F).

use std::sync::Arc;

use media::demux::{Demuxer, Item, starts_recording};

use crate::checkpoint::{Advance, Checkpoint, Line, PastNumbering};
use crate::gap::{ChunkRange, Gap};
use crate::message::{Chunk, Entry, Record};
use crate::piece::Piece;
use crate::position::Position;

/// No page is reloaded faster.
const PAGE_TURN_MS: u64 = 100;
/// By how much a page's chunk may come late, after the next page's first one. A clock that is set back goes further, or less far
/// than the page before it was open.
const STRAGGLER_MS: u64 = 5_000;
/// By how much a speaker's clock may be set while a gap is open.
const CLOCK_SET_MS: u64 = 5_000;

/// A delivery's records of one session, sorted by what is to be done with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sorted {
    /// Chunks that the live audio waits for, by numbering and index.
    pub live: Vec<Piece>,
    /// Chunks that have come back into a gap, with the gap itself, by index.
    pub backfill: Vec<(Gap, Vec<Piece>)>,
    /// Delivered again although written: acknowledge.
    pub duplicates: Vec<Record>,
    /// Chunks whose place is no longer known: park.
    pub unplaceable: Vec<Piece>,
    /// End-of-stream markers, and the highest last index they tell.
    pub ends: Vec<Record>,
    /// See `ends`.
    pub last_index: Option<u64>,
}

impl Sorted {
    /// What of a batch is at hand.
    pub fn of(&self, batch: &Advance) -> Vec<&Piece> {
        let of_line = match batch.line {
            Line::Live => self.live.as_slice(),
            Line::Gap(id) => {
                self.backfill.iter().find(|(gap, _)| gap.id() == id).map_or(&[][..], |(_, pieces)| pieces)
            }
        };
        let leased = batch.chunks;
        of_line.iter().filter(|p| p.numbering == leased.numbering && leased.holds(p.index)).collect()
    }
}

/// Whose a chunk is.
enum Whose<'c> {
    /// The live audio's, in the walk's numbering.
    Live,
    /// Of a gap that is open.
    Gap(&'c Gap),
    /// Written before.
    Written,
    /// Its place is no longer known, or never was.
    Nobodys,
}

/// Sorts `entries` (one session's) against the checkpoint.
pub fn sort(checkpoint: &Checkpoint, entries: &[Entry]) -> Sorted {
    let mut sorted = Sorted::default();
    let mut chunks: Vec<&Arc<Chunk>> = Vec::with_capacity(entries.len());
    for entry in entries {
        match entry {
            Entry::Chunk(chunk) => chunks.push(chunk),
            Entry::End { record, last_index } => {
                sorted.ends.push(record.clone());
                sorted.last_index = sorted.last_index.max(*last_index);
            }
        }
    }
    // By capture time, so that a numbering's end and the next one's beginning fall apart in the right place.
    chunks.sort_by_key(|chunk| (chunk.captured_at, chunk.index, chunk.record.sequence_number));
    let mut walk = Walk::new(&checkpoint.live);
    for chunk in chunks {
        let mut piece = Piece { numbering: walk.at.numbering, chunk: chunk.clone() };
        match walk.classify(checkpoint, &mut piece) {
            Whose::Live => sorted.live.push(piece),
            Whose::Gap(gap) => {
                piece.numbering = gap.chunks.numbering;
                match sorted.backfill.iter_mut().find(|(g, _)| g.id() == gap.id()) {
                    Some((_, pieces)) => pieces.push(piece),
                    None => sorted.backfill.push((gap.clone(), vec![piece])),
                }
            }
            Whose::Nobodys => sorted.unplaceable.push(piece),
            Whose::Written => sorted.duplicates.push(piece.record.clone()),
        }
    }
    let Sorted { live, backfill, duplicates, unplaceable, .. } = &mut sorted;
    for pieces in backfill.iter_mut().map(|(_, pieces)| pieces).chain([live]) {
        once(pieces, duplicates, unplaceable);
    }
    sorted
}

/// Orders by index and keeps the first of each: two messages may carry one chunk. One that was captured at another time
/// is another chunk, of a page that cannot be told.
fn once(pieces: &mut Vec<Piece>, duplicates: &mut Vec<Record>, unplaceable: &mut Vec<Piece>) {
    pieces.sort_by_key(|p| (p.numbering, p.index, p.record.sequence_number));
    let mut kept: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces.drain(..) {
        match kept.last() {
            Some(last) if (last.numbering, last.index) == (piece.numbering, piece.index) => {
                match last.captured_at == piece.captured_at {
                    true => duplicates.push(piece.record.clone()),
                    false => unplaceable.push(piece),
                }
            }
            _ => kept.push(piece),
        }
    }
    *pieces = kept;
}

/// How far the speaker has come, the delivery's earlier chunks included.
struct Walk {
    at: Position,
    /// What the checkpoint waits for; 0 in a numbering that begins in this delivery.
    waits_for: u64,
    /// One past the highest index of the numbering seen in this delivery.
    seen_to: u64,
}

impl Walk {
    fn new(live: &Position) -> Self {
        Self { at: live.clone(), waits_for: live.next, seen_to: 0 }
    }

    fn classify<'c>(&mut self, checkpoint: &'c Checkpoint, piece: &mut Piece) -> Whose<'c> {
        if let Some(gap) = gap_of(checkpoint, piece) {
            return Whose::Gap(gap);
        }
        let newer = piece.record.sequence_number > self.at.last_sequence;
        let from_before = self.at.numbering > 0 && piece.captured_at < self.at.numbering_began;
        // A clock that went back to before the session began tells nothing; any other tells a late chunk.
        let odd = checkpoint.past.first().is_some_and(|first| piece.captured_at < first.captured.0);
        if from_before && !(odd && newer && piece.index == self.waits_for) {
            return from_past_numbering(checkpoint, piece);
        }
        let turned = newer && piece.captured_at.0 > self.at.last_captured.0 + PAGE_TURN_MS;
        let repeats = piece.index < self.seen_to && (turned || opens(piece));
        if piece.index < self.waits_for || repeats {
            // Nothing that was passed was captured later; sequence numbers tell less, since pages overtake each other.
            let later = piece.captured_at > self.at.last_captured;
            let clock_set_back = newer && !self.is_straggler(piece);
            if later || (clock_set_back && self.other_recording(piece) && self.other_connection(piece)) {
                self.at.begin_page(self.at.numbering + 1, piece.captured_at);
                (self.waits_for, self.seen_to) = (0, 0);
            } else if piece.index < self.waits_for {
                return self.passed(checkpoint, piece);
            }
        }
        piece.numbering = self.at.numbering;
        self.at.pass(piece, Some(&*piece).filter(|piece| opens(piece)).and_then(recording));
        self.seen_to = self.seen_to.max(piece.index.saturating_add(1));
        Whose::Live
    }

    /// A chunk whose index the current page has passed.
    fn passed<'c>(&self, checkpoint: &'c Checkpoint, piece: &Piece) -> Whose<'c> {
        if self.other_recording(piece) || (piece.index > 0 && piece.captured_at < self.at.numbering_began) {
            return Whose::Nobodys; // of a page that was never seen
        }
        match gap_of_set_clock(checkpoint, piece) {
            Some(gap) => Whose::Gap(gap),
            None => written(checkpoint, self.at.numbering, piece),
        }
    }

    /// Captured just before the page began: of the page before it, which was hardly seen.
    fn is_straggler(&self, piece: &Piece) -> bool {
        let began = self.at.numbering_began;
        piece.captured_at < began && began.ms_since(piece.captured_at) <= STRAGGLER_MS
    }

    fn other_connection(&self, piece: &Piece) -> bool {
        match (&self.at.connection_id, &piece.connection_id) {
            (Some(old), Some(new)) => old != new,
            _ => false,
        }
    }

    /// Whether the chunk opens another recording than the numbering's chunk 0 did.
    fn other_recording(&self, piece: &Piece) -> bool {
        let opened = self.at.opened_by.as_ref();
        piece.index == 0 && opened.is_some() && recording(piece).is_some_and(|new| Some(&new) != opened)
    }
}

/// Whether the chunk can be the first of a numbering.
fn opens(piece: &Piece) -> bool {
    piece.index == 0 && piece.audio.as_ref().is_ok_and(|bytes| starts_recording(bytes))
}

/// The recording that a chunk begins.
fn recording(piece: &Piece) -> Option<String> {
    let bytes = piece.audio.as_ref().ok()?;
    Demuxer::new().push(bytes).into_iter().find_map(|item| match item {
        Item::RecordingStart(head) => Some(head.id),
        _ => None,
    })
}

/// The open gap this chunk belongs to: its index lies inside, and so does its capture time.
fn gap_of<'a>(checkpoint: &'a Checkpoint, piece: &Piece) -> Option<&'a Gap> {
    let in_time = |gap: &Gap| (gap.captured.0..=gap.captured.1).contains(&piece.captured_at);
    checkpoint.gaps.iter().find(|gap| gap.chunks.holds(piece.index) && in_time(gap))
}

/// The current page's gap that has the chunk's index, where a speaker's clock that was set meanwhile hides it.
fn gap_of_set_clock<'a>(checkpoint: &'a Checkpoint, piece: &Piece) -> Option<&'a Gap> {
    let off_ms = |gap: &Gap| {
        let (a, b) = gap.captured;
        a.min(b).ms_since(piece.captured_at).max(piece.captured_at.ms_since(a.max(b)))
    };
    let holds =
        |gap: &&Gap| gap.chunks.numbering == checkpoint.live.numbering && gap.chunks.holds(piece.index);
    checkpoint.gaps.iter().filter(holds).find(|gap| off_ms(gap) <= CLOCK_SET_MS)
}

/// A chunk that was passed: written, unless it lies where the checkpoint knows that it was not.
fn written<'c>(checkpoint: &Checkpoint, numbering: u32, piece: &Piece) -> Whose<'c> {
    let holds = |range: &ChunkRange| range.numbering == numbering && range.holds(piece.index);
    let open = checkpoint.gaps.iter().map(|gap| &gap.chunks);
    if checkpoint.given_up.iter().chain(open).any(holds) { Whose::Nobodys } else { Whose::Written }
}

/// A chunk captured before the current numbering began. What may never have been seen is parked, not dropped.
fn from_past_numbering<'c>(checkpoint: &Checkpoint, piece: &Piece) -> Whose<'c> {
    let seen = |past: &&PastNumbering| {
        (past.captured.0..=past.captured.1).contains(&piece.captured_at) && piece.index < past.next
    };
    match checkpoint.past.iter().find(seen) {
        Some(past) => written(checkpoint, past.numbering, piece),
        None => Whose::Nobodys,
    }
}
