//! What a gap's chunks need that live audio does not: whether they are stored already, or follow what was parked.

use ingest::batch::Because;
use ingest::checkpoint::Checkpoint;
use ingest::decide::Why;
use ingest::gap::{Gap, GapId, cause, last_sent_by};
use ingest::piece::Piece;
use ingest::plan::Plan;

use crate::lease::is_whole;
use crate::park::Reason;
use crate::ports::{Ports, Streams as _};
use crate::state::State;
use crate::stop::Stop;
use crate::work::{SessionWork, Turn};

/// What is known of a gap that may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Something was settled.
    Settled,
    /// It may still come.
    NotYet,
    /// It is not stored.
    Absent,
}

impl<P: Ports> SessionWork<'_, P> {
    /// A gap whose batch was parked while it was unknown whether it is stored: now the stream can be asked. The same is asked of
    /// the gap that this one's last packet goes on in.
    pub(crate) async fn already_stored(
        &self,
        state: &mut State,
        gap: &Gap,
        pieces: &[Piece],
    ) -> Result<Known, Stop> {
        let numbering = gap.chunks.numbering;
        let next = gap.search.goes_on_at.and_then(|from| state.checkpoint.gap(GapId { numbering, from }));
        for asked in [Some(gap.clone()), next.cloned()].into_iter().flatten() {
            let Some(stored) = &asked.unsure else { continue };
            let sent_by = last_sent_by(&asked.tries).unwrap_or_default();
            let is_certain = self.now() >= self.writer.config.certain_at(sent_by);
            match self.writer.ports.streams().find(&self.session, stored.at).await {
                Ok(found) if found.iter().any(|found| is_whole(found, stored)) => {}
                Ok(_) if is_certain => continue,
                Ok(_) => {
                    self.defer(pieces, &[], 1, Why::Unsure).await;
                    return Ok(Known::NotYet);
                }
                Err(failure) => {
                    self.park_again(state, (gap, &asked), pieces, Reason::Service(failure)).await?;
                    return Ok(Known::Settled);
                }
            }
            state.checkpoint.close_stored(&asked, stored);
            self.save(state).await?;
            let missing = |p: &Piece| stored.gaps.iter().any(|hole| hole.chunks.holds(p.index));
            let pieces = pieces.iter().filter(|p| stored.chunks.holds(p.index) && !missing(p));
            self.settle(pieces.map(|p| &p.record), Because::Written);
            return Ok(Known::Settled);
        }
        Ok(Known::Absent)
    }

    /// Live audio does not wait for an answer about what is `asked` for: a gap's chunks come from the DLQ, and go back there. What of them
    /// is still in the queue follows, or it would be decoded without its beginning.
    async fn park_again(
        &self,
        state: &mut State,
        (gap, asked): (&Gap, &Gap),
        pieces: &[Piece],
        reason: Reason,
    ) -> Result<(), Stop> {
        self.renew(gap).await?;
        if asked.id() != gap.id() {
            self.renew(asked).await?;
        }
        state.checkpoint.park_again(gap.id(), cause(&reason.code()), self.now());
        self.save(state).await?;
        self.park_all(pieces, reason).await
    }

    /// Messages of a parked batch that come only now, without its beginning: written alone they would be decoded without it.
    pub(crate) async fn park_stragglers(&self, gap: &Gap, pieces: &[Piece]) -> Result<Turn, Stop> {
        let Some(parked) = &gap.parked else { return Ok(Turn::Waits) };
        let beginning = parked.first.max(gap.chunks.from);
        let late = |p: &&Piece| p.record.sent_at <= parked.at;
        let stragglers: Vec<&Piece> = pieces.iter().filter(late).collect();
        if pieces.iter().any(|p| p.index == beginning) || stragglers.is_empty() {
            return Ok(Turn::Waits);
        }
        self.park_pieces(&stragglers, Reason::BatchParked, 1, self.now()).await?;
        Ok(Turn::Moved)
    }

    /// What a backfill brings back may be what the live audio, or the next gap, is searching for.
    pub(crate) async fn resume_what_follows(
        &self,
        checkpoint: &Checkpoint,
        plan: &mut Plan,
    ) -> Result<(), Stop> {
        let Some(next) = plan.ends_before() else { return Ok(()) };
        let (live, numbering) = (&checkpoint.live, plan.advance.chunks.numbering);
        match checkpoint.gap(GapId { numbering, from: next }) {
            Some(gap) => {
                if let Some(snapshot) = self.snapshot(&gap.snapshot).await? {
                    plan.resume_gap(snapshot);
                }
            }
            None if (numbering, next) == (live.numbering, live.next) => plan.resume_live(live),
            None => {}
        }
        Ok(())
    }
}
