//! What the delivery shows of a batch, and whether its doubts are over.

use ingest::backlog::{Crowd, Delivery};
use ingest::fold::{Around, Folded, fold};
use ingest::piece::Piece;
use ingest::sort::Sorted;

use crate::ports::Ports;
use crate::state::State;
use crate::work::{Batch, SessionWork};

impl<P: Ports> SessionWork<'_, P> {
    /// What the delivery shows of a line with these chunks.
    pub(crate) fn shown<'b>(&self, pieces: &'b [Piece], sorted: &'b Sorted) -> Delivery<'b> {
        let Sorted { ends, came_again, .. } = sorted;
        Delivery { pieces, ends, came_again, is_full: self.delivery_full, now: self.now() }
    }

    /// How crowded the batch's line is; chunks that fill a gap are never set aside.
    pub(crate) fn crowd(&self, state: &State, batch: &Batch<'_>, doubt: bool, sorted: &Sorted) -> Crowd {
        if batch.gap.is_some() {
            return Crowd::No;
        }
        let all_full = self.alone && self.delivery_full;
        self.shown(batch.pieces, sorted).crowd(all_full, doubt, &state.checkpoint.aside)
    }

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

    fn is_calm(&self, batch: &Batch<'_>, doubtful: usize, crowd: Crowd, sorted: &Sorted) -> bool {
        let shown = self.shown(batch.pieces, sorted);
        let newest = sorted.live.iter().map(|piece| piece.record.sequence_number).max().unwrap_or_default();
        let here = self.writer.looks.note(&self.session, newest, self.delivery_number, self.delivery_full);
        let policy = &self.writer.config.policy;
        let looks = shown.looks(here, !sorted.backfill.is_empty(), policy);
        batch.gap.is_none() && crowd != Crowd::Room && shown.is_calm(doubtful, looks, policy)
    }
}
