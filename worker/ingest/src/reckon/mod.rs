//! Brings a session's capture times to one clock: the one that the speaker's would be if it had never been set back.
//!
//! Everything else compares capture times: which page a chunk is of, which gap, what lies between two chunks. So a delivery's
//! chunks are brought to one clock before. A clock that is set ahead needs nothing here: what comes later is later, and
//! [`Timeline`](crate::timeline::Timeline) tells it from a pause.

mod made_up;
mod page;
mod walk;

use self::made_up::{beside, is_made_up};
use self::page::{holds, in_turn, single_pages, stamp_before_overtakers};
use self::walk::Walk;
use crate::checkpoint::Checkpoint;
use crate::clock::moved;
use crate::piece::Piece;

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
        let may_be_seen = sequence_number <= live.last_sequence && !checkpoint.is_of_new_page(piece);
        piece.clock_ms = match may_be_seen && !goes_on {
            true => live.clock.at_ms(sequence_number),
            false => walk.added_ms(piece),
        };
        piece.captured_at = moved(piece.captured_at, piece.clock_ms);
    }
    for (i, in_gap) in made_up {
        pieces[i].captured_at = beside(pieces, &pieces[i], in_gap);
    }
}
