//! Timestamps that are made up, and what stands for them.

use media::time::EpochMs;

use crate::piece::Piece;

/// A timestamp that is further from the queue's time tells nothing of when its chunk was captured: no clock is set so far, and no
/// message lies that long in a queue and its DLQ.
const MADE_UP_MS: u64 = 30 * 24 * 3_600_000;

/// A time that is not known, between those of the chunks beside it that are at hand. When a chunk came back into a gap tells nothing.
/// The pieces of a blob have one time.
pub(super) fn beside(pieces: &[Piece], piece: &Piece, in_gap: bool) -> EpochMs {
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

pub(super) fn is_made_up(piece: &Piece) -> bool {
    piece.captured_at.0.abs_diff(piece.record.sent_at.0) > MADE_UP_MS
}
