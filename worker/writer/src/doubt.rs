//! What the chunks at hand leave open, and how long the batch waits for more to tell.

use ingest::decide::Crowd;
use ingest::fold::{Around, DOUBT_MS, Folded, fold};
use ingest::message::Record;
use ingest::sort::Sorted;

use crate::ports::Ports;
use crate::state::State;
use crate::work::{Batch, SessionWork};

/// No burst is under way if the newest chunk at hand is at least this old and was delivered [`CALM_LOOKS`] times.
const CALM_MS: u64 = 1_000;
/// See [`CALM_MS`]; in this process, where there was trouble before.
const CALM_LOOKS: u32 = 3;
/// This many deliveries of an old chunk, to any process, count as one look.
const DELIVERIES_A_LOOK: u32 = 8;

impl<P: Ports> SessionWork<'_, P> {
    /// Where a place is in doubt and nothing more will tell, the chunks are folded as if all had come.
    pub(crate) fn when_calm<'b>(
        &'b self,
        batch: &Batch<'b>,
        folded: Folded,
        crowd: Crowd,
        sorted: &Sorted,
    ) -> (Around<'b>, Folded) {
        let around = Around::of(batch.gap, &self.writer.vain);
        if crowd == Crowd::NoRoom {
            // The burst has outgrown what can be set aside: it is the stall that it looks like. A pause shows at its end.
            return (around, Folded { doubtful: None, ..folded });
        }
        if !folded.doubtful.is_some_and(|doubtful| self.is_calm(batch, doubtful, crowd, sorted)) {
            return (around, folded);
        }
        let around = Around { calm: true, ..around };
        (around, fold(&batch.start, batch.pieces, around))
    }

    /// Whether the delivery hides what lies behind it in the queue: it is full of this session's records, or chunks are set aside
    /// already, or its chunks were delivered before and still leave a doubt.
    pub(crate) fn crowd(&self, state: &State, batch: &Batch<'_>, doubt: bool) -> Crowd {
        let aside = &state.checkpoint.aside;
        let delivered = || batch.pieces.iter().filter(|piece| !piece.set_aside);
        let seen_again = delivered().all(|piece| piece.record.receive_count > 1);
        let goes_on = (!aside.is_empty() || (doubt && seen_again)) && delivered().count() > 1;
        let crowded = batch.gap.is_none() && ((self.alone && self.delivery_full) || goes_on);
        match (crowded, aside.has_room()) {
            (false, _) => Crowd::No,
            (true, true) => Crowd::Room,
            (true, false) => Crowd::NoRoom,
        }
    }

    /// Whether nothing more is on its way that would tell a stall before the chunk at `doubtful` from a pause.
    fn is_calm(&self, batch: &Batch<'_>, doubtful: usize, crowd: Crowd, sorted: &Sorted) -> bool {
        let waited_ms = |record: &Record| self.now().ms_since(record.sent_at);
        let policy = &self.writer.config.policy;
        let waited_out = batch.pieces.get(doubtful).is_some_and(|piece| waited_ms(&piece.record) >= DOUBT_MS);
        let looks = self.looks(batch, sorted);
        let looked = |least: u32| looks >= least;
        // A delivery need not show all there is: what lies behind the newest record is seen when that is delivered again. A blob is
        // placed when its last piece has come, however far behind in the queue that lies.
        let quiet_ms = batch.pieces.iter().map(|piece| waited_ms(&piece.record)).min().unwrap_or_default();
        let goes_on = batch.pieces.last().is_some_and(|last| last.continues);
        // Behind what is set aside there was more, and may still be.
        let in_backlog = batch.pieces.iter().any(|piece| piece.set_aside);
        let least = if goes_on || in_backlog { policy.backlog_looks } else { CALM_LOOKS };
        let nothing_comes = looked(least) && (waited_out || (!goes_on && quiet_ms >= CALM_MS));
        // The end may overtake the last piece of a blob.
        let has_ended = !sorted.ends.is_empty() && !goes_on;
        batch.gap.is_none()
            && crowd != Crowd::Room
            && ((nothing_comes && !self.hides(batch, sorted)) || has_ended)
    }

    /// How often the queue was seen with nothing behind the newest chunk at hand.
    fn looks(&self, batch: &Batch<'_>, sorted: &Sorted) -> u32 {
        let last = sorted.live.iter().map(|piece| piece.record.sequence_number).max().unwrap_or_default();
        let seen_here = self.writer.looks.note(&self.session, last, self.delivery_number, self.delivery_full);
        let delivered = batch.pieces.iter().filter(|piece| !piece.set_aside).map(|piece| &piece.record);
        // A marker may come without the chunk behind it that was left in the queue to bring the rest.
        let delivered = delivered.chain(&sorted.ends);
        let Some(newest) = delivered.max_by_key(|record| record.sent_at) else {
            // All of it is kept in the state. Chunks that come back into a gap are not what was left in the queue to bring the rest.
            return if sorted.backfill.is_empty() { u32::MAX } else { seen_here };
        };
        // Where it is old there was trouble, and its deliveries may have ended before anybody looked.
        let is_old = self.now().ms_since(newest.sent_at) >= self.writer.config.policy.behind_ms;
        // But a session's deliveries may go to many processes, each of which sees a few.
        if is_old { seen_here.max(newest.receive_count / DELIVERIES_A_LOOK) } else { newest.receive_count }
    }

    /// Whether the delivery brought chunks again that the state keeps: a worker died before it deleted them. The one that it left in
    /// the queue lies behind them, and so may more.
    fn hides(&self, batch: &Batch<'_>, sorted: &Sorted) -> bool {
        let looks = self.writer.config.policy.backlog_looks;
        let is_kept = |record: &&Record| {
            batch.pieces.iter().any(|p| p.set_aside && p.record.sequence_number == record.sequence_number)
        };
        sorted.came_again.iter().filter(is_kept).any(|record| record.receive_count < looks)
    }
}
