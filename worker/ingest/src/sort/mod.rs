//! Sorts a delivery's records of one session: whose chunk is it, and what has become of that chunk so far?
//!
//! `chunkIndex` begins again at 0 when the page is reloaded, so an index alone names no chunk. A *numbering* is a run of
//! indices that belong together; the capture time (and the queue's sequence number) distinguishes a new
//! numbering's chunk from a duplicate: every chunk that the session has passed was captured no later than the last one it passed. Redriven
//! chunks are known by index and capture time, not by anything SQS says about them (aws-facts 0-F).

mod walk;

use std::collections::HashMap;

use media::time::EpochMs;

use self::walk::{PAGE_TURN_MS, Walk, Whose};
use crate::checkpoint::{Advance, Checkpoint, Line};
use crate::clock::SET_BACK_MS;
use crate::gap::Gap;
use crate::message::{Entry, Record};
use crate::piece::Piece;
use crate::reckon::by_one_clock;

/// A delivery's records of one session, sorted by what is to be done with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sorted {
    /// Chunks that the live audio waits for, by numbering and index.
    pub live: Vec<Piece>,
    /// Whether some of these were set aside as an earlier page's.
    pub renumbered: bool,
    /// Chunks that have come back into a gap, with the gap itself, by index.
    pub backfill: Vec<(Gap, Vec<Piece>)>,
    /// Delivered again although written: acknowledge.
    pub duplicates: Vec<Record>,
    /// Those of the delivery that were dropped so before: as long as it is worked on, they tell of a worker's death.
    pub came_again: Vec<Record>,
    /// Chunks whose place is no longer known: park.
    pub unplaceable: Vec<Piece>,
    /// Chunks of a page that another one has replaced: park.
    pub replaced: Vec<Piece>,
    /// End-of-stream markers.
    pub ends: Vec<Record>,
    /// The highest last index that `ends` name.
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

/// Sorts `entries` (one session's) against the checkpoint; `aside` are the chunks that its state keeps.
pub fn sort(checkpoint: &Checkpoint, entries: &[Entry], aside: &[Piece]) -> Sorted {
    let mut sorted = Sorted::default();
    let mut pieces: Vec<Piece> =
        aside.iter().filter(|p| p.place() >= checkpoint.live.place()).cloned().collect();
    for entry in entries {
        match entry {
            Entry::Chunk(chunk) => pieces.push(Piece::of(checkpoint.live.numbering, chunk.clone())),
            Entry::End { record, last_index } => {
                sorted.ends.push(record.clone());
                sorted.last_index = sorted.last_index.max(*last_index);
            }
        }
    }
    by_one_clock(checkpoint, &mut pieces);
    let mut walk = Walk::new(&checkpoint.live);
    let pieces = in_time(pieces);
    for (i, piece) in pieces.iter().enumerate() {
        let mut piece = piece.clone();
        let kept_as = piece.set_aside.then_some(piece.numbering);
        match walk.classify(checkpoint, &mut piece, &pieces[i + 1..]) {
            Whose::Live => {
                sorted.renumbered |= kept_as.is_some_and(|numbering| numbering != piece.numbering);
                sorted.live.push(piece);
            }
            Whose::Gap(gap) => {
                piece.numbering = gap.chunks.numbering;
                match sorted.backfill.iter_mut().find(|(g, _)| g.id() == gap.id()) {
                    Some((_, pieces)) => pieces.push(piece),
                    None => sorted.backfill.push((gap.clone(), vec![piece])),
                }
            }
            Whose::Replaced => sorted.replaced.push(piece),
            Whose::Nobodys if piece.is_empty() => sorted.duplicates.push(piece.record.clone()),
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

/// In the order of capture, so that a numbering's end and the next one's beginning fall apart in the right place. Within one page of
/// a connection the indices give the order, whatever the speaker's clock is set to meanwhile.
fn in_time(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut by_index: Vec<usize> = (0..pieces.len()).collect();
    let openers: Vec<&Piece> = pieces.iter().filter(|piece| piece.opens()).collect();
    by_index.sort_by_cached_key(|i| (page_of_connection(&pieces[*i], &openers, &pieces), pieces[*i].index));
    let mut latest: HashMap<&str, EpochMs> = HashMap::new();
    let mut order = Vec::with_capacity(pieces.len());
    for i in by_index {
        let piece = &pieces[i];
        let captured_at = match piece.connection_id.as_deref() {
            None => piece.captured_at,
            Some(connection) => {
                let latest = latest.entry(connection).or_default();
                let is_of_other_page = latest.ms_since(piece.captured_at) > SET_BACK_MS;
                *latest = if is_of_other_page { piece.captured_at } else { piece.captured_at.max(*latest) };
                *latest
            }
        };
        order.push((captured_at, piece.index, piece.record.sequence_number, i));
    }
    order.sort_unstable();
    let mut pieces: Vec<Option<Piece>> = pieces.into_iter().map(Some).collect();
    order.into_iter().filter_map(|(.., i)| pieces[i].take()).collect()
}

/// How many pages of its connection have begun with the piece: a page sends what its last load left over its own connection, and first.
fn page_of_connection(piece: &Piece, openers: &[&Piece], pieces: &[Piece]) -> usize {
    let is_before = |opener: &Piece| {
        let earlier_ms = opener.captured_at.ms_since(piece.captured_at);
        let sent_before = piece.record.sequence_number < opener.record.sequence_number;
        // Handlers may overtake each other on the way to the queue: then the capture time alone tells.
        (earlier_ms > PAGE_TURN_MS || (earlier_ms > 0 && sent_before))
            && !is_missing_behind(piece, opener, pieces)
    };
    let of_connection = openers.iter().filter(|opener| opener.connection_id == piece.connection_id);
    of_connection.filter(|opener| !is_before(opener)).count()
}

/// Whether the chunk is the one that the opener's page lacks: a clock was set back by less than [`SET_BACK_MS`] behind the opener.
fn is_missing_behind(piece: &Piece, opener: &Piece, pieces: &[Piece]) -> bool {
    let indices = || {
        let of_page = pieces.iter().filter(|other| {
            other.connection_id == piece.connection_id && other.captured_at >= opener.captured_at
        });
        of_page.map(|other| other.index)
    };
    opener.captured_at.ms_since(piece.captured_at) <= SET_BACK_MS
        && indices().any(|index| index > piece.index)
        && !indices().any(|index| index == piece.index)
}

/// Orders by index and keeps the first of each: two messages may carry one chunk. One with other bytes is another chunk, of an
/// unknown page; an empty one of any page is nothing beside one that is not.
fn once(pieces: &mut Vec<Piece>, duplicates: &mut Vec<Record>, unplaceable: &mut Vec<Piece>) {
    pieces.sort_by_key(|p| (p.numbering, p.index, !p.set_aside, p.record.sequence_number));
    let mut kept: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces.drain(..) {
        let Some(last) = kept.last_mut().filter(|last| last.place() == piece.place()) else {
            kept.push(piece);
            continue;
        };
        let is_same = last.captured_at == piece.captured_at || last.audio == piece.audio;
        if is_same || piece.is_empty() {
            duplicates.push(piece.record.clone());
        } else if last.is_empty() {
            let empty = std::mem::replace(last, piece);
            duplicates.extend((!empty.set_aside).then(|| empty.record.clone()));
        } else {
            unplaceable.push(piece);
        }
    }
    *pieces = kept;
}
