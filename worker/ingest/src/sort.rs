//! Sorts a delivery's records of one session: whose chunk is it, and what has become of that chunk so far?
//!
//! `chunkIndex` begins again at 0 when the page is reloaded, so an index alone names no chunk. A *numbering* is a run of
//! indices that belong together; the capture time (and the queue's sequence number) tells a new numbering's
//! chunk from a duplicate: whatever was gone past was captured no later than the last chunk gone past. Redriven
//! chunks are known by index and capture time, not by anything SQS says about them (aws-facts 0-F).

use media::demux::{Demuxer, Item, starts_recording};
use media::time::EpochMs;

use crate::checkpoint::{Advance, Checkpoint, ChunkRange, Gap, Line, PastNumbering, Position};
use crate::fold::Piece;
use crate::message::{Arrival, Content, Record, Rejected};

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
    /// Chunks that have come back into a gap, by gap (its index in the checkpoint), then by index.
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
            Line::Gap { numbering, from } => {
                let gap = |(gap, _): &&(Gap, Vec<Piece>)| {
                    (gap.chunks.numbering, gap.chunks.from) == (numbering, from)
                };
                self.backfill.iter().find(gap).map_or(&[][..], |(_, pieces)| pieces)
            }
        };
        let leased = batch.chunks;
        of_line.iter().filter(|p| p.numbering == leased.numbering && leased.holds(p.index)).collect()
    }
}

enum Place {
    Live(u32),
    Gap(Gap),
    Duplicate,
    Unplaceable(u32),
}

/// A record of the session: understood, or refused with its chunk's index known.
pub type Entry = Result<Arrival, Rejected>;

/// Sorts `entries` (one session's) against the checkpoint.
pub fn sort(checkpoint: &Checkpoint, entries: Vec<Entry>) -> Sorted {
    let mut sorted = Sorted::default();
    let mut pieces = Vec::new();
    for entry in entries {
        match piece(entry) {
            Ok(piece) => pieces.push(piece),
            Err(end) => {
                let (record, last_index) = *end;
                sorted.ends.push(record);
                sorted.last_index = sorted.last_index.max(last_index);
            }
        }
    }
    // By capture time, so that a numbering's end and the next one's beginning fall apart in the right place.
    pieces.sort_by_key(|p| (p.captured_at, p.index, p.record.sequence_number));
    let mut at = Walk::new(&checkpoint.live);
    for mut piece in pieces {
        match at.classify(checkpoint, &piece) {
            Place::Live(numbering) => {
                piece.numbering = numbering;
                sorted.live.push(piece);
            }
            Place::Gap(gap) => {
                piece.numbering = gap.chunks.numbering;
                match sorted.backfill.iter_mut().find(|(g, _)| *g == gap) {
                    Some((_, pieces)) => pieces.push(piece),
                    None => sorted.backfill.push((gap, vec![piece])),
                }
            }
            Place::Duplicate => sorted.duplicates.push(piece.record),
            Place::Unplaceable(numbering) => {
                piece.numbering = numbering;
                sorted.unplaceable.push(piece);
            }
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
                    true => duplicates.push(piece.record),
                    false => unplaceable.push(piece),
                }
            }
            _ => kept.push(piece),
        }
    }
    *pieces = kept;
}

/// A chunk as a piece, or an end-of-stream marker's record.
fn piece(entry: Entry) -> Result<Piece, Box<(Record, Option<u64>)>> {
    match entry {
        Ok(Arrival { record, content: Content::Chunk(chunk), .. }) => Ok(Piece {
            record,
            numbering: 0,
            index: chunk.index,
            captured_at: chunk.captured_at,
            connection_id: chunk.connection_id,
            audio: Ok(chunk.audio),
        }),
        Ok(Arrival { record, content: Content::EndOfStream { last_index }, .. }) => {
            Err(Box::new((record, last_index)))
        }
        Err(rejected) => {
            let (index, captured_at) = rejected.chunk.unwrap_or_default();
            Ok(Piece {
                record: rejected.record,
                numbering: 0,
                index,
                captured_at,
                connection_id: None,
                audio: Err(rejected.rejection),
            })
        }
    }
}

/// How far the numbering has come, the delivery's earlier chunks included.
struct Walk {
    numbering: u32,
    /// What the checkpoint waits for; 0 in a numbering that begins in this delivery.
    next: u64,
    /// One past the highest index seen in this delivery.
    seen_to: u64,
    began: EpochMs,
    last_captured: EpochMs,
    last_sequence: u128,
    connection_id: Option<String>,
    opened_by: Option<String>,
    /// Nothing was ever gone past.
    fresh: bool,
}

impl Walk {
    fn new(live: &Position) -> Self {
        Self {
            numbering: live.numbering,
            next: live.next,
            seen_to: 0,
            began: live.numbering_began,
            last_captured: live.last_captured,
            last_sequence: live.last_sequence,
            connection_id: live.connection_id.clone(),
            opened_by: live.opened_by.clone(),
            fresh: live.next == 0 && live.last_sequence == 0,
        }
    }

    fn classify(&mut self, checkpoint: &Checkpoint, piece: &Piece) -> Place {
        if let Some(gap) = gap_of(checkpoint, piece) {
            return Place::Gap(gap.clone());
        }
        let newer = piece.record.sequence_number > self.last_sequence;
        let from_before = self.numbering > 0 && piece.captured_at < self.began;
        // A clock that went back to before the session began tells nothing; any other tells a late chunk.
        let odd = checkpoint.past.first().is_some_and(|first| piece.captured_at < first.captured.0);
        if from_before && !(odd && newer && piece.index == self.next) {
            return from_past_numbering(checkpoint, self, piece);
        }
        let turned = newer && piece.captured_at.0 > self.last_captured.0 + PAGE_TURN_MS;
        let repeats = piece.index < self.seen_to && (turned || opens(piece));
        if piece.index < self.next || repeats {
            // Nothing that was gone past was captured later; sequence numbers tell less, since pages overtake each other.
            let later = piece.captured_at > self.last_captured;
            let clock_set_back = newer && !self.is_straggler(piece);
            if later || (clock_set_back && self.other_recording(piece) && self.other_connection(piece)) {
                self.begin_numbering(piece);
            } else if piece.index < self.next {
                return self.gone_past(checkpoint, piece);
            }
        }
        self.pass(piece);
        Place::Live(self.numbering)
    }

    /// A chunk whose index the current page has gone past.
    fn gone_past(&self, checkpoint: &Checkpoint, piece: &Piece) -> Place {
        if self.other_recording(piece) || (piece.index > 0 && piece.captured_at < self.began) {
            return Place::Unplaceable(self.numbering); // of a page that was never seen
        }
        match gap_of_set_clock(checkpoint, piece) {
            Some(gap) => Place::Gap(gap.clone()),
            None => gone_past(checkpoint, self.numbering, piece),
        }
    }

    /// Captured just before the page began: of the page before it, which was hardly seen.
    fn is_straggler(&self, piece: &Piece) -> bool {
        piece.captured_at < self.began && self.began.ms_since(piece.captured_at) <= STRAGGLER_MS
    }

    fn other_connection(&self, piece: &Piece) -> bool {
        match (&self.connection_id, &piece.connection_id) {
            (Some(old), Some(new)) => old != new,
            _ => false,
        }
    }

    /// Whether the chunk opens another recording than the numbering's chunk 0 did.
    fn other_recording(&self, piece: &Piece) -> bool {
        let opened = self.opened_by.as_ref();
        piece.index == 0 && opened.is_some() && recording(piece).is_some_and(|new| Some(&new) != opened)
    }

    fn begin_numbering(&mut self, piece: &Piece) {
        self.numbering += 1;
        self.next = 0;
        self.seen_to = 0;
        self.began = piece.captured_at;
        self.opened_by = None;
    }

    fn pass(&mut self, piece: &Piece) {
        if self.fresh {
            self.began = piece.captured_at;
            self.fresh = false;
        }
        self.seen_to = self.seen_to.max(piece.index.saturating_add(1));
        self.last_captured = self.last_captured.max(piece.captured_at);
        self.last_sequence = self.last_sequence.max(piece.record.sequence_number);
        self.connection_id = piece.connection_id.clone().or(self.connection_id.take());
        if opens(piece) {
            self.opened_by = recording(piece);
        }
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

/// A chunk that was gone past: written, unless it lies where the checkpoint knows that it was not.
fn gone_past(checkpoint: &Checkpoint, numbering: u32, piece: &Piece) -> Place {
    let holds = |range: &ChunkRange| range.numbering == numbering && range.holds(piece.index);
    let open = checkpoint.gaps.iter().map(|gap| &gap.chunks);
    match checkpoint.given_up.iter().chain(open).any(holds) {
        true => Place::Unplaceable(numbering),
        false => Place::Duplicate,
    }
}

/// A chunk captured before the current numbering began. What may never have been seen is parked, not dropped.
fn from_past_numbering(checkpoint: &Checkpoint, walk: &Walk, piece: &Piece) -> Place {
    let seen = |past: &&PastNumbering| {
        (past.captured.0..=past.captured.1).contains(&piece.captured_at) && piece.index < past.next
    };
    match checkpoint.past.iter().find(seen) {
        Some(past) => gone_past(checkpoint, past.numbering, piece),
        None => Place::Unplaceable(walk.numbering),
    }
}
