//! Brings a session's capture times to one clock: the one that the speaker's would be if it had never been set back.
//!
//! Everything else compares capture times: which page a chunk is of, which gap, what lies between two chunks. So a delivery's
//! chunks are brought to one clock before. A clock that is set ahead needs nothing here: what comes later is later, and
//! [`Timeline`](crate::timeline::Timeline) tells it from a pause.

mod page;
mod walk;

use media::time::EpochMs;

use self::page::{holds, in_turn, single_pages, stamp_before_overtakers};
use self::walk::Walk;
use crate::checkpoint::Checkpoint;
use crate::clock::moved;
use crate::piece::Piece;

/// A timestamp that is further from the queue's time tells nothing of when its chunk was captured: no clock is set so far, and no
/// message lies that long in a queue and its DLQ.
const MADE_UP_MS: u64 = 30 * 24 * 3_600_000;
/// Capture times that go back by more within a page were stamped by a clock that was set.
const SET_BACK_MS: u64 = 1_000;

/// Brings chunks of one session, as they were stamped, to one clock.
pub fn by_one_clock(checkpoint: &Checkpoint, pieces: &mut [Piece]) {
    let live = &checkpoint.live;
    let pages = single_pages(live, pieces);
    pages.iter().for_each(|page| stamp_before_overtakers(live, pieces, page));
    let mut walk = Walk::new(checkpoint, pieces);
    let mut made_up = Vec::new();
    for i in in_turn(pieces, &pages) {
        let piece = &mut pieces[i];
        let sequence_number = piece.record.sequence_number;
        if is_made_up(piece) {
            made_up.push((i, walk.gap(piece).is_some()));
            (piece.captured_at, piece.clock_ms) = (walk.probably_at(piece), walk.ms);
            continue;
        }
        let goes_on =
            piece.connection_id == live.connection_id && pages.iter().any(|page| holds(page, piece, i));
        piece.clock_ms = match sequence_number <= live.last_sequence && !goes_on {
            true => live.clock.at_ms(sequence_number),
            false => walk.added_ms(piece),
        };
        piece.captured_at = moved(piece.captured_at, piece.clock_ms);
    }
    for (i, in_gap) in made_up {
        pieces[i].captured_at = beside(pieces, &pieces[i], in_gap);
    }
}

/// A time that is not known, between those of the chunks beside it that are at hand. When a chunk came back into a gap tells nothing.
/// The pieces of a blob have one time.
fn beside(pieces: &[Piece], piece: &Piece, in_gap: bool) -> EpochMs {
    let beside = |index: Option<u64>| {
        let same = |p: &&Piece| Some(p.index) == index && p.connection_id == piece.connection_id;
        pieces.iter().find(same)
    };
    let after = beside(piece.index.checked_add(1));
    // One with the index before that was captured after the one behind is another page's.
    let is_before = |before: &&Piece| after.is_none_or(|after| before.captured_at <= after.captured_at);
    let before = beside(piece.index.checked_sub(1)).filter(is_before);
    let of_blob = after.filter(|_| piece.continues).or(before.filter(|before| before.continues));
    if let Some(of_blob) = of_blob {
        return of_blob.captured_at;
    }
    let [before, after] = [before, after].map(|piece| piece.map(|piece| piece.captured_at));
    let latest = after.or(before.filter(|_| in_gap));
    let captured_at = latest.map_or(piece.captured_at, |latest| latest.min(piece.captured_at));
    captured_at.max(before.unwrap_or_default())
}

fn is_made_up(piece: &Piece) -> bool {
    piece.captured_at.0.abs_diff(piece.record.sent_at.0) > MADE_UP_MS
}
