//! What a batch is written as: as it was leased before, or as much of it as fits.

use ingest::checkpoint::Checkpoint;
use ingest::fold::{Around, Folded, Vain, cut};
use ingest::gap::Advance;
use ingest::piece::Piece;
use ingest::plan::{Plan, plan, plan_as_decided};
use media::time::EpochMs;

use crate::work::Batch;

/// The lease of a batch that was leased before, and its pieces with what comes behind them, where all are at hand.
pub(crate) fn leased_before(checkpoint: &Checkpoint, batch: &Batch<'_>) -> Option<(Advance, Vec<Piece>)> {
    let delivered = batch.pieces;
    let advance = &checkpoint.lease.as_ref().filter(|lease| lease.advance.line == batch.line())?.advance;
    let range = advance.chunks;
    let same = delivered.iter().take_while(|p| (p.numbering, p.index) < (range.numbering, range.to)).count();
    let last = same.checked_sub(1)?;
    if delivered[last].index + 1 != range.to || delivered[0].index > range.from {
        return None;
    }
    let pieces = match advance.to.amid {
        None => delivered.to_vec(),
        Some(head) => cut(delivered, last, head)?,
    };
    Some((advance.clone(), pieces))
}

/// A batch that was leased before is tried again as it was, at the same times.
pub(crate) fn as_leased<'a>(
    advance: &Advance,
    pieces: &'a [Piece],
    batch: &mut Batch<'a>,
    vain: &Vain,
) -> Plan {
    let amid = advance.ends_amid_chunk();
    let range = advance.chunks;
    let is_leased = |p: &&Piece| (p.numbering, p.index) < (range.numbering, range.to);
    let same = pieces.iter().take_while(is_leased).count() - usize::from(amid);
    batch.narrow(pieces, same);
    let placed = |(index, _): &(u64, EpochMs)| batch.start.placements.iter().all(|(known, _)| known != index);
    let again: Vec<_> = advance.placements.iter().filter(|place| placed(place)).copied().collect();
    batch.start.placements.extend(again);
    if batch.start.position.is_fresh() {
        // More chunks were at hand, and may have shown the speaker's clock.
        batch.start.position.timeline.learn_skew(&advance.to.timeline);
    }
    let around = Around { ends_at: amid.then_some(advance.until), ..Around::of(batch.gap, vain) };
    plan(&batch.start, batch.pieces, around)
}

/// Narrows the batch to its longest beginning of at most `chunks` that fits into its gap; or names the chunk that is too
/// much: one that came late into a parked batch, whose other chunks have their places.
pub(crate) fn fitting<'a>(
    batch: &mut Batch<'a>,
    chunks: usize,
    around: Around<'_>,
    folded: Folded,
) -> Result<Plan, &'a Piece> {
    let all = batch.pieces;
    batch.narrow(all, chunks);
    let start = &batch.start;
    let whole = plan_as_decided(start, all, chunks, around, folded);
    let Some(gap) = batch.gap.filter(|gap| !whole.fits(gap)) else { return Ok(whole) };
    let placed = &start.placements;
    let was_late = |p: &&Piece| !placed.is_empty() && !placed.iter().any(|(index, _)| *index == p.index);
    if let Some(late) = all[..chunks].iter().find(was_late) {
        return Err(late);
    }
    let shorter = (1..chunks).rev().map(|n| (n, plan(start, &all[..n], around)));
    let (n, plan) = shorter.into_iter().find(|(_, plan)| plan.fits(gap)).ok_or(&all[0])?;
    batch.narrow(all, n);
    Ok(plan)
}
