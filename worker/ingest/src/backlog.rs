//! May more of the session lie behind a delivery? It shows ten records at most, and after a worker's death it may show fewer than there
//! are.

use media::time::EpochMs;

use crate::aside::Aside;
use crate::fold::DOUBT_MS;
use crate::message::Record;
use crate::piece::Piece;
use crate::policy::Policy;

/// No burst is under way if the newest chunk at hand is at least this old, and nothing came behind it in so many looks.
const CALM_MS: u64 = 1_000;
/// See [`CALM_MS`]; in one process, where there was trouble before.
const CALM_LOOKS: u32 = 3;
/// This many deliveries of an old chunk, to any process, count as one look.
const DELIVERIES_A_LOOK: u32 = 8;

/// Whether a delivery hides what lies behind it in the queue: it is full of one session's records, or goes on with what such a one began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowd {
    /// It is not.
    No,
    /// It is, and its chunks can be set aside.
    Room,
    /// It is, and no more can be set aside.
    NoRoom,
}

/// What a delivery shows of a line.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The line's chunks at hand, sorted, those that are set aside included.
    pub pieces: &'a [Piece],
    /// The session's end markers.
    pub ends: &'a [Record],
    /// Its records that were dropped, since what they carry is written or kept already.
    pub came_again: &'a [Record],
    /// It held as many records as one can, those of other sessions included.
    pub is_full: bool,
    /// The clock.
    pub now: EpochMs,
}

impl<'a> Delivery<'a> {
    /// How long ago the queue took the oldest chunk.
    pub fn age_ms(&self) -> u64 {
        let oldest = self.pieces.iter().map(|piece| piece.record.sent_at).min().unwrap_or(self.now);
        self.now.ms_since(oldest)
    }

    /// How crowded the live line is. It is crowded if the delivery is full of this session's records (`all_full`), or chunks are set
    /// aside already, or its chunks were delivered before and still leave a doubt.
    pub fn crowd(&self, all_full: bool, doubt: bool, aside: &Aside) -> Crowd {
        let seen_again = self.delivered().all(|record| record.receive_count > 1);
        let goes_on = (!aside.is_empty() || (doubt && seen_again)) && self.delivered().count() > 1;
        match (all_full || goes_on, aside.has_room()) {
            (false, _) => Crowd::No,
            (true, true) => Crowd::Room,
            (true, false) => Crowd::NoRoom,
        }
    }

    /// The time up to which the queue was seen, if more may lie behind the delivery. More may if it hides chunks ([`Crowd::Room`]).
    /// More may if its newest chunk is over `caught_up_ms` old, and one of its chunks comes for the first time. The same holds if it
    /// was delivered fewer than `backlog_looks` times, and is full, comes behind chunks set aside, or is over `behind_ms` old.
    pub(crate) fn seen_until(&self, crowd: Crowd, policy: &Policy) -> Option<EpochMs> {
        let Some(newest) = self.delivered().map(|record| record.sent_at).max() else {
            // All that was delivered is written by now. The newest chunk set aside shows how far the queue was seen.
            let newest = self.pieces.iter().map(|piece| piece.record.sent_at).max();
            return newest.filter(|_| self.is_full);
        };
        let is_old = self.now.ms_since(newest) >= policy.caught_up_ms;
        let is_new_here = self.delivered().any(|record| record.receive_count <= 1);
        let looked = self.delivered().map(|record| record.receive_count).max()?;
        // Behind what is set aside there was more, and so there may be after a worker's death: a delivery may show less than there is.
        let hides = self.is_full || self.keeps_some() || self.now.ms_since(newest) >= policy.behind_ms;
        let more_behind = (hides && looked < policy.backlog_looks) || is_new_here;
        (crowd == Crowd::Room || (is_old && more_behind)).then_some(newest)
    }

    /// Whether more may lie behind it though it is not full: its newest record is old, and was not looked at often.
    pub(crate) fn hides_more(&self, policy: &Policy) -> bool {
        self.delivered().max_by_key(|record| record.sent_at).is_some_and(|newest| {
            let is_old = self.now.ms_since(newest.sent_at) >= policy.caught_up_ms;
            is_old && newest.receive_count < policy.backlog_looks
        })
    }

    /// How many of the first `chunks` can be written so that one that was delivered is left in the queue: it brings what may lie behind
    /// it, before those that are set aside go past their holes.
    pub(crate) fn leaving_one(&self, chunks: usize) -> usize {
        let last_delivered = self.pieces.iter().rposition(|piece| !piece.set_aside);
        last_delivered.map_or(chunks, |last| chunks.min(last))
    }

    /// Whether nothing more is on its way that would tell a stall before the chunk at `doubtful` from a pause. The queue was looked at
    /// so often ([`Self::looks`]).
    pub fn is_calm(&self, doubtful: usize, looks: u32, policy: &Policy) -> bool {
        let waited_ms = |piece: &Piece| self.now.ms_since(piece.record.sent_at);
        let waited_out = self.pieces.get(doubtful).is_some_and(|piece| waited_ms(piece) >= DOUBT_MS);
        // A delivery need not show all there is: what lies behind the newest record is seen when that is delivered again. A blob is
        // placed when its last piece has come, however far behind in the queue that lies.
        let quiet_ms = self.pieces.iter().map(waited_ms).min().unwrap_or_default();
        let goes_on = self.pieces.last().is_some_and(|last| last.continues);
        // Behind what is set aside there was more, and may still be.
        let least = if goes_on || self.keeps_some() { policy.backlog_looks } else { CALM_LOOKS };
        let nothing_comes = looks >= least && (waited_out || (!goes_on && quiet_ms >= CALM_MS));
        // The end may overtake the last piece of a blob.
        let has_ended = !self.ends.is_empty() && !goes_on;
        (nothing_comes && !self.brings_kept_again(policy)) || has_ended
    }

    /// How often the queue was seen with nothing behind the newest chunk at hand: `here` by this process. `in_gaps`: other chunks of the
    /// delivery come back into gaps.
    pub fn looks(&self, here: u32, in_gaps: bool, policy: &Policy) -> u32 {
        // A marker may come without the chunk behind it that was left in the queue to bring the rest.
        let Some(newest) = self.delivered().chain(self.ends).max_by_key(|record| record.sent_at) else {
            // All of it is kept in the state. Chunks that come back into a gap are not what was left in the queue to bring the rest.
            return if in_gaps { here } else { u32::MAX };
        };
        // Where it is old there was trouble, and its deliveries may have ended before anybody looked.
        let is_old = self.now.ms_since(newest.sent_at) >= policy.behind_ms;
        // But a session's deliveries may go to many processes, each of which sees a few.
        if is_old { here.max(newest.receive_count / DELIVERIES_A_LOOK) } else { newest.receive_count }
    }

    /// Whether it brought chunks again that the state keeps: a worker died before it deleted them. The one that it left in the queue
    /// lies behind them, and so may more.
    fn brings_kept_again(&self, policy: &Policy) -> bool {
        let is_kept = |record: &&Record| {
            self.pieces.iter().any(|p| p.set_aside && p.record.sequence_number == record.sequence_number)
        };
        self.came_again.iter().filter(is_kept).any(|record| record.receive_count < policy.backlog_looks)
    }

    /// Whether chunks are at hand that are set aside.
    pub(crate) fn keeps_some(&self) -> bool {
        self.pieces.iter().any(|piece| piece.set_aside)
    }

    /// Records of its chunks that the queue has delivered.
    fn delivered(&self) -> impl Iterator<Item = &'a Record> + use<'a> {
        self.pieces.iter().filter(|piece| !piece.set_aside).map(|piece| &piece.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Chunk;

    const NOW: EpochMs = EpochMs(1_732_622_790_000);

    /// Chunks that the queue took `age_ms` ago and has delivered so often.
    fn pieces(count: u64, age_ms: u64, receive_count: u32) -> Vec<Piece> {
        let sent_at = EpochMs(NOW.0 - age_ms);
        let record =
            |n: u64| Record { sent_at, receive_count, sequence_number: n.into(), ..Record::default() };
        (0..count).map(|n| Piece::new(0, Chunk { record: record(n), index: n, ..Chunk::default() })).collect()
    }

    fn delivery(pieces: &[Piece]) -> Delivery<'_> {
        Delivery { pieces, ends: &[], came_again: &[], is_full: false, now: NOW }
    }

    #[test]
    fn chunks_are_set_aside_only_where_they_hide_others() {
        let none = Aside::default();
        let (fresh, again) = (pieces(10, 500, 1), pieces(10, 500, 2));
        for (what, pieces, all_full, doubt, crowd) in [
            ("ten of one session", &fresh[..], true, false, Crowd::Room),
            ("ten of several sessions", &fresh, false, true, Crowd::No),
            ("delivered again, and still in doubt", &again, false, true, Crowd::Room),
            ("delivered again, and no doubt is left", &again, false, false, Crowd::No),
            ("one chunk hides nothing", &again[..1], false, true, Crowd::No),
        ] {
            assert_eq!(delivery(pieces).crowd(all_full, doubt, &none), crowd, "{what}");
        }
    }

    #[test]
    fn a_doubt_is_over_once_nothing_came_behind_the_newest_chunk_for_long() {
        let policy = Policy::default();
        let calm = |pieces: &[Piece], looks| delivery(pieces).is_calm(0, looks, &policy);
        let quiet = pieces(3, 1_500, 3);
        assert!(calm(&quiet, 3), "live audio would wait for nothing");
        assert!(!calm(&quiet, 2), "a burst may go on right behind");
        assert!(!calm(&pieces(3, 500, 3), 3), "the next chunk of a page that speaks is not due yet");
        let mut aside = quiet.clone();
        aside[0].set_aside = true;
        assert!(!calm(&aside, 3) && calm(&aside, policy.backlog_looks), "behind a burst, more looks are due");
        let mut blob = quiet.clone();
        blob[2].chunk = Chunk { continues: true, ..(*blob[2].chunk).clone() }.into();
        assert!(!calm(&blob, policy.backlog_looks), "the end of a blob would come too late for its place");
    }

    #[test]
    fn deliveries_that_failed_are_no_looks() {
        let policy = Policy::default();
        let looks = |pieces: &[Piece], in_gaps| delivery(pieces).looks(1, in_gaps, &policy);
        assert_eq!(looks(&pieces(2, 1_000, 4), false), 4, "each delivery of a fresh chunk is a look");
        assert_eq!(looks(&pieces(2, 6_000, 4), false), 1, "an old one's may have ended with their worker");
        assert_eq!(looks(&pieces(2, 6_000, 24), false), 3, "but not all of so many, to whatever process");
        let mut kept = pieces(2, 1_000, 1);
        kept.iter_mut().for_each(|piece| piece.set_aside = true);
        assert_eq!((looks(&kept, false), looks(&kept, true)), (u32::MAX, 1), "nothing is left in the queue");
    }
}
