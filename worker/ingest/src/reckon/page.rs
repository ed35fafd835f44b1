//! What is at hand of one page: there the indices tell what follows what, whatever order the queue has it in.

use std::collections::BTreeMap;

use media::time::EpochMs;

use super::made_up::is_made_up;
use crate::clock::{SET_BACK_MS, moved};
use crate::piece::Piece;
use crate::position::Position;

/// Chunks that overtake each other on their way were stamped so close together; one that was lost and is sent again with a new time is
/// stamped so much later at the most.
const SENT_AGAIN_MS: std::ops::Range<u64> = 100..20_000;
/// How many of its last chunks a page sends again, at the most.
const SENT_AGAIN: u64 = 8;

/// Chunks by index.
pub(super) type Page = BTreeMap<u64, usize>;

/// What is at hand of each connection that sends one page and no chunk twice: there the indices tell what follows what.
pub(super) fn single_pages(live: &Position, pieces: &[Piece]) -> Vec<Page> {
    let mut connections: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (i, piece) in pieces.iter().enumerate() {
        connections.entry(&piece.connection_id).or_default().push(i);
    }
    let single = |chunks: Vec<usize>| {
        let another_begins = chunks.iter().any(|i| pieces[*i].opens());
        let ahead: Vec<usize> = chunks.into_iter().filter(|i| pieces[*i].index >= live.next).collect();
        let page: Page = ahead.iter().map(|i| (pieces[*i].index, *i)).collect();
        (!another_begins && page.len() == ahead.len() && times_step_back(pieces, &page) <= 1).then_some(page)
    };
    connections.into_values().filter_map(single).collect()
}

/// How often: once where a clock was set or a chunk was sent again; more often among chunks of two loads.
fn times_step_back(pieces: &[Piece], page: &Page) -> usize {
    let captured: Vec<EpochMs> = page.values().map(|i| pieces[*i].captured_at).collect();
    captured.windows(2).filter(|pair| pair[0].ms_since(pair[1]) > SET_BACK_MS).count()
}

/// A chunk was captured before those behind it that the queue took before it. By a later time it was lost at first, and stamped when it
/// was sent again.
pub(super) fn stamp_before_overtakers(live: &Position, pieces: &mut [Piece], page: &Page) {
    let in_order: Vec<usize> = page.values().copied().collect();
    for n in (1..in_order.len()).rev() {
        let (again, behind) = (&pieces[in_order[n - 1]], &pieces[in_order[n]]);
        let overtaken = behind.record.sequence_number < again.record.sequence_number
            && behind.index - again.index <= SENT_AGAIN
            && !is_made_up(again);
        // Else they may be of two pages that speak at once.
        let follows = match n.checked_sub(2) {
            Some(before) => pieces[in_order[before]].captured_at <= behind.captured_at,
            None => again.index == live.next,
        };
        let captured_at = behind.captured_at;
        // Else it comes back from the page before.
        let is_of_page = moved(captured_at, live.clock.now_ms()) >= live.numbering_began;
        if overtaken
            && follows
            && is_of_page
            && SENT_AGAIN_MS.contains(&again.captured_at.ms_since(captured_at))
        {
            pieces[in_order[n - 1]].captured_at = captured_at;
        }
    }
}

/// Whether the page holds the piece, which is the `i`th one at hand.
pub(super) fn holds(page: &Page, piece: &Piece, i: usize) -> bool {
    page.get(&piece.index) == Some(&i)
}

/// The queue's order. But what a connection sends at once overtakes itself.
pub(super) fn in_turn(pieces: &[Piece], pages: &[Page]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..pieces.len()).collect();
    order.sort_unstable_by_key(|i| pieces[*i].record.sequence_number);
    for page in pages {
        let is_of_page = |turn: &usize| holds(page, &pieces[order[*turn]], order[*turn]);
        let turns: Vec<usize> = (0..order.len()).filter(is_of_page).collect();
        turns.into_iter().zip(page.values()).for_each(|(turn, i)| order[turn] = *i);
    }
    order
}
