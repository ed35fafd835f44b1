//! Passing a batch that is not written: the checkpoint moves behind it, and its messages go to the DLQ.

use ingest::checkpoint::{Advance, Lease, Line};
use ingest::fold::Around;
use ingest::gap::{Gap, ParkedBatch, cause};
use ingest::opening::Opening;
use ingest::piece::Piece;
use ingest::plan::{self, Plan};
use ingest::snapshot::Kind;
use ingest::sort::Sorted;
use media::time::EpochMs;

use crate::park::Reason;
use crate::ports::Ports;
use crate::state::{State, slept_too_long};
use crate::stop::Stop;
use crate::work::{Batch, SessionWork};

impl<P: Ports> SessionWork<'_, P> {
    /// Passes the batch: the checkpoint first, so that a copy that comes back is known as the gap's; then the DLQ.
    pub(crate) async fn park_batch(
        &self,
        state: &mut State,
        batch: &Batch<'_>,
        plan: Plan,
        lease: &Lease,
        reason: Reason,
    ) -> Result<(), Stop> {
        let mut unsure = (!lease.tries.is_empty()).then(|| plan.advance.clone());
        if let Some((rest, snapshots)) = plan.rest_if_parked().filter(|_| unsure.is_some()) {
            self.save_snapshots(&snapshots).await?;
            unsure.iter_mut().for_each(|stored| stored.gaps.push(rest.clone()));
        }
        // A chunk is parked as a whole.
        let to_chunk_end = batch.to_chunk_end();
        let (pieces, plan) = match &to_chunk_end {
            Some(pieces) => {
                (&pieces[..], plan::plan(&batch.start, pieces, Around::of(batch.gap, &self.writer.vain)))
            }
            None => (batch.pieces, plan),
        };
        let mut gap = match batch.gap {
            Some(gap) => {
                self.renew(gap).await?;
                gap.clone()
            }
            None => {
                let (gap, snapshots) = plan.if_parked(&batch.start);
                self.save_snapshots(&snapshots).await?;
                self.save_snapshots(&plan.snapshots).await?;
                gap
            }
        };
        (gap.unsure, gap.tries) = (unsure.map(Box::new), lease.tries.clone());
        gap.cause = cause(&reason.code());
        let parcels = by_reason(pieces, &plan, &reason);
        self.pass(state, plan.advance, gap, parcels, lease.attempts()).await
    }

    /// Parks refused chunks that are set aside before the checkpoint passes them: no message would bring them back if the DLQ failed.
    pub(crate) async fn park_refused_aside(&self, batch: &Batch<'_>, plan: &Plan) -> Result<(), Stop> {
        for (i, refusal) in &plan.refused {
            let piece = &batch.pieces[*i];
            if piece.set_aside {
                self.park_pieces(&[piece], Reason::Refused(refusal.clone()), 1, self.now()).await?;
            }
        }
        Ok(())
    }

    /// Passes what a lease may have stored while the stream cannot be asked, and parks those of its chunks that are at hand.
    pub(crate) async fn park_unsure(
        &self,
        state: &mut State,
        sorted: &Sorted,
        lease: Lease,
        reason: Reason,
    ) -> Result<(), Stop> {
        let (tries, attempts) = (lease.open_tries(), lease.attempts());
        let mut leased = lease.advance;
        let mut unsure = leased.clone();
        state.checkpoint.failed_at = Some(self.now());
        let mut gap = match leased.line {
            Line::Live => {
                let start = self.live_start(&state.checkpoint).await?.snapshot;
                let mut goes_on_at = leased.search_goes_on_at();
                if leased.ends_amid_chunk() {
                    let of_chunk = sorted.of(&leased).into_iter().find(|piece| piece.index == leased.to.next);
                    let (rest, searches) = self.pass_chunk(&mut leased, of_chunk).await?;
                    unsure.gaps.push(rest);
                    goes_on_at = searches.then_some(leased.to.next);
                }
                let (gap, snapshots) = Opening::over(&start, &leased, goes_on_at).open();
                self.save_snapshots(&snapshots).await?;
                gap
            }
            Line::Gap(id) => {
                let gap = state.checkpoint.gap(id).cloned();
                let gap =
                    gap.ok_or_else(|| Stop::Unreadable("a lease on a gap that is not there".to_owned()))?;
                self.renew(&gap).await?;
                gap
            }
        };
        (gap.unsure, gap.tries) = (Some(Box::new(unsure)), tries);
        gap.cause = cause(&reason.code());
        let pieces = sorted.of(&leased);
        let (before, behind) = pieces.split_at(to_last_aside(pieces.iter().copied()));
        let parcels = [before, behind].map(|pieces| vec![(reason.clone(), pieces.to_vec())]);
        self.pass(state, leased, gap, parcels, attempts).await
    }

    /// Lets the live audio go on behind the chunk that a lease ends inside, as if the rest of it had not come if it is not at hand.
    /// Returns the gap that is left of the chunk if the lease is stored, and whether the audio behind it has to search for its place.
    async fn pass_chunk(&self, leased: &mut Advance, chunk: Option<&Piece>) -> Result<(Gap, bool), Stop> {
        let end = match &leased.snapshot {
            Some(key) => self.snapshot(key).await?,
            None => None,
        };
        let mut end = end.unwrap_or_else(slept_too_long);
        let (rest, rest_snapshots) = Opening::rest_of(leased, end.clone()).open();
        self.save_snapshots(&rest_snapshots).await?;
        if let Some(chunk) = chunk {
            let of_rest = plan::plan(&end, std::slice::from_ref(chunk), Around::default());
            self.save_snapshots(&of_rest.snapshots).await?;
            (leased.to, leased.snapshot) = (of_rest.advance.to, of_rest.advance.snapshot);
            leased.placements.extend(of_rest.advance.placements);
            return Ok((rest, false));
        }
        leased.to.last_captured = leased.to.captured_to();
        (leased.to.next, leased.to.amid) = (leased.to.next + 1, None);
        end.position.clone_from(&leased.to);
        end.media.lose_chunks();
        let key = end.key(Kind::Live);
        leased.snapshot = Some(key.clone());
        self.save_snapshots(&[(key, end)]).await?;
        Ok((rest, true))
    }

    /// Moves the checkpoint behind a batch that is to be parked: it leaves `gap`, or stays in it. The first parcels go to the DLQ before,
    /// the others behind.
    async fn pass(
        &self,
        state: &mut State,
        batch: Advance,
        mut gap: Gap,
        [before, behind]: [Parcels<'_>; 2],
        attempts: (u32, EpochMs),
    ) -> Result<(), Stop> {
        self.park_parcels(before, attempts).await?;
        let is_live = batch.line == Line::Live;
        gap.parked = Some(ParkedBatch { first: batch.chunks.from, at: self.now() });
        let given_up = state.checkpoint.park(batch, gap.clone());
        self.park_withheld(&given_up).await?;
        self.save(state).await?;
        if is_live {
            self.report_gaps(&[gap], &given_up);
        }
        self.park_parcels(behind, attempts).await
    }

    async fn park_parcels(&self, parcels: Parcels<'_>, (number, since): (u32, EpochMs)) -> Result<(), Stop> {
        for (reason, pieces) in parcels {
            self.park_pieces(&pieces, reason, number, since).await?;
        }
        Ok(())
    }
}

/// Chunks to be parked together.
type Parcels<'a> = Vec<(Reason, Vec<&'a Piece>)>;

/// A batch's chunks by why they are parked: up to the last one that is set aside, and those behind it. Copies of the first must be in
/// the DLQ before the checkpoint passes them, since no message brings them again; redriven, a copy of a written one is a duplicate.
fn by_reason<'a>(pieces: &'a [Piece], plan: &Plan, reason: &Reason) -> [Parcels<'a>; 2] {
    let until = to_last_aside(pieces.iter());
    let (mut before, mut behind) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for (i, piece) in pieces.iter().enumerate().filter(|(_, piece)| piece.ends_chunk()) {
        let (own, others) = if i < until { &mut before } else { &mut behind };
        match plan.refused.iter().find(|(refused, _)| *refused == i) {
            Some((_, refusal)) => own.push((Reason::Refused(refusal.clone()), vec![piece])),
            None => others.push(piece),
        }
    }
    let parcels = |(mut own, others): (Parcels<'a>, Vec<&'a Piece>)| {
        own.push((reason.clone(), others));
        own
    };
    [parcels(before), parcels(behind)]
}

/// How many of the chunks lie before or at the last one that is set aside. Those that were delivered go to the DLQ with them, in
/// order: redriven, ten chunks would hide one before them.
fn to_last_aside<'a>(mut pieces: impl DoubleEndedIterator<Item = &'a Piece> + ExactSizeIterator) -> usize {
    pieces.rposition(|piece| piece.set_aside).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use ingest::message::Chunk;

    use super::*;

    #[test]
    fn what_was_delivered_is_parked_in_order_with_what_is_set_aside() {
        let piece = |set_aside| Piece { set_aside, ..Piece::new(0, Chunk::default()) };
        let pieces = [true, false, true, false].map(piece);
        assert_eq!(
            to_last_aside(pieces.iter()),
            3,
            "redriven behind ten others, the second would come too late"
        );
        assert_eq!(to_last_aside(pieces[3..].iter()), 0);
    }
}
