//! One session's part of a delivery, told once: load, refuse, resolve, sort; then, batch after batch, fold, decide, plan,
//! lease, put, commit, settle.

use futures::future::{Either, select};
use ingest::batch::Because;
use ingest::checkpoint::Checkpoint;
use ingest::decide::{Crowd, Decision, End, View, decide, longest};
use ingest::fold::{Around, Folded, cut, fold, take_apart};
use ingest::gap::{Advance, Gap, GapId};
use ingest::message::{Entry, Record};
use ingest::piece::Piece;
use ingest::plan::{Plan, plan, plan_as_decided};
use ingest::sort::{Sorted, sort};
use media::opus::Decoder;
use media::time::EpochMs;

use crate::ended::is_after_end;
use crate::event::Event;
use crate::lease::{Resolved, is_whole};
use crate::park::Reason;
use crate::ports::{Clock as _, Ports, SessionStatus, Sessions as _, Streams as _};
use crate::state::State;
use crate::stop::Stop;
use crate::warm::Warm;
use crate::work::{Batch, SessionWork};
use crate::writer::Delivered;

/// Audio that ends later than now by less than this is clock jitter.
const FUTURE_TOLERANCE_MS: u64 = 500;
/// Audio further in the future than this will not become past by waiting: the service's refusal parks it.
const MAX_FUTURE_MS: u64 = 20_000;

/// Time after the newest chunk at hand from which on no burst is under way,
const CALM_MS: u64 = 1_000;
/// if it was delivered so often.
const CALM_LOOKS: u32 = 3;

/// What a turn has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Something was settled, so what is left has to be looked at again.
    Moved,
    /// What is left waits in the queue for more.
    Waits,
}

/// What is known of a gap that may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Something was settled.
    Settled,
    /// It may still come.
    NotYet,
    /// It is not stored.
    Absent,
}

impl<P: Ports> SessionWork<'_, P> {
    /// Settles what can be settled; the rest is given back to the queue for a fitting time. Returns all of its messages.
    pub(crate) async fn run(self, mut entries: Vec<Entry>) -> Vec<Delivered> {
        let delivered: Vec<Delivered> = entries.iter().map(|entry| Delivered::of(entry.record())).collect();
        let mut keeps_some = false;
        let work = self.guarded(&mut entries, &mut keeps_some);
        let time_is_up = self.writer.ports.clock().sleep_ms(self.remaining_ms());
        let stop = match select(Box::pin(work), Box::pin(time_is_up)).await {
            Either::Left((result, _)) => result.err(),
            Either::Right(_) => Some(Stop::TimeIsUp { seconds: None }),
        };
        if let Some(stop) = stop {
            self.give_back(&entries, &stop).await;
        }
        if keeps_some {
            self.stay_awake(&delivered).await;
        }
        delivered
    }

    /// Sets `keeps_some` to whether chunks are set aside at its end, however it ends.
    pub(crate) async fn work(&self, entries: &mut Vec<Entry>, keeps_some: &mut bool) -> Result<(), Stop> {
        let (mut state, status) = futures::try_join!(self.load(), self.status())?;
        self.look_again(&mut state, entries.iter().any(|entry| matches!(entry, Entry::End { .. }))).await?;
        let mut goes_on = true;
        while goes_on && self.has_unsettled(&state, entries) {
            let resolved = self.resolve(&mut state).await?;
            let aside = self.load_aside(&mut state).await?;
            *keeps_some = !state.checkpoint.aside.is_empty();
            self.refuse(&mut state, status, entries).await?;
            let sorted = sort(&state.checkpoint, entries, &aside);
            self.drop_duplicates(&sorted);
            self.park_all(&sorted.unplaceable, Reason::NoPlace).await?;
            self.park_all(&sorted.replaced, Reason::Replaced).await?;
            if let Resolved::Unsure(lease, reason) = resolved {
                self.park_unsure(&mut state, &sorted, *lease, reason).await?;
            } else {
                goes_on = self.next_batch(&mut state, &sorted).await? == Turn::Moved;
            }
            *keeps_some = !state.checkpoint.aside.is_empty();
            if goes_on && self.remaining_ms() < self.put_needs_ms() {
                return Err(Stop::TimeIsUp { seconds: Some(0) });
            }
        }
        Ok(())
    }

    /// Writes or parks the next batch, of the live audio if there is one.
    async fn next_batch(&self, state: &mut State, sorted: &Sorted) -> Result<Turn, Stop> {
        if !sorted.live.is_empty() {
            let Warm { snapshot: start, decoder } = self.live_start(&state.checkpoint).await?;
            let batch = Batch { gap: None, pieces: &sorted.live, after: &[], start };
            if self.batch(state, batch, decoder, sorted).await? == Turn::Moved {
                return Ok(Turn::Moved);
            }
        }
        for (gap, pieces) in &sorted.backfill {
            let Some(start) = self.gap_start(gap).await? else {
                self.park_all(pieces, Reason::NoPlace).await?;
                continue;
            };
            match self.already_stored(state, gap, pieces).await? {
                Known::Settled => return Ok(Turn::Moved),
                Known::NotYet => continue,
                Known::Absent => {}
            }
            if self.park_stragglers(gap, pieces).await? == Turn::Moved
                || self
                    .batch(state, Batch { gap: Some(gap), pieces, after: &[], start }, None, sorted)
                    .await?
                    == Turn::Moved
            {
                return Ok(Turn::Moved);
            }
        }
        if sorted.live.is_empty() {
            self.settle(&sorted.ends, Because::Ended);
        }
        Ok(Turn::Waits)
    }

    /// Decides on one line's chunks: defers them, or plans and attempts to write the first of them.
    /// `decoder` stands where the batch begins, if there is one.
    async fn batch(
        &self,
        state: &mut State,
        mut batch: Batch<'_>,
        decoder: Option<Decoder>,
        sorted: &Sorted,
    ) -> Result<Turn, Stop> {
        let now = self.now();
        if self.waits_for_leased(state, &batch) {
            self.defer(batch.pieces, &sorted.ends, 1, "leased").await;
            return Ok(Turn::Waits);
        }
        let delivered = batch.pieces;
        let (apart, leased);
        let (around, crowd, mut folded) = self.fold(state, &batch, sorted);
        let policy = &self.writer.config.policy;
        let lengths = (policy.most_behind, longest(delivered, now, policy));
        if let Some(pieces) = take_apart(&batch.start, delivered, &folded, lengths) {
            apart = pieces;
            batch.pieces = &apart;
            folded = fold(&batch.start, batch.pieces, around);
        }
        let view = View {
            pieces: batch.pieces,
            folded: &folded,
            place: batch.start.position.place(),
            end: end(&batch, &folded, sorted),
            delivery_full: self.delivery_full,
            crowd,
            now,
        };
        let chunks = match decide(&view, policy) {
            Decision::Write { chunks } => chunks,
            Decision::SetAside => {
                self.set_aside(state, delivered).await?;
                return Ok(Turn::Waits);
            }
            Decision::Defer { seconds, why } => {
                self.defer(delivered, &sorted.ends, seconds, why.as_str()).await;
                if let (None, Some(key)) = (batch.gap, &state.checkpoint.live_snapshot) {
                    self.writer.warm.put(&self.session, key, Warm { snapshot: batch.start, decoder });
                }
                return Ok(Turn::Waits);
            }
        };
        leased = leased_before(&state.checkpoint, &batch, delivered);
        let planned = match leased.as_ref().map(|(advance, pieces)| as_leased(advance, pieces, &mut batch)) {
            Some(plan) => Ok(plan),
            None => fitting(&mut batch, chunks, around, folded),
        };
        let mut plan = match planned {
            Ok(plan) => plan,
            Err(too_much) => {
                self.park_all(std::slice::from_ref(too_much), Reason::NoPlace).await?;
                return Ok(Turn::Moved);
            }
        };
        self.resume_what_follows(&state.checkpoint, &mut plan).await?;
        let ahead_ms = plan.advance.until.ms_since(now);
        if (FUTURE_TOLERANCE_MS..MAX_FUTURE_MS).contains(&ahead_ms) {
            self.defer(delivered, &sorted.ends, ahead_ms.div_ceil(1000) as u32, "future").await;
            return Ok(Turn::Waits);
        }
        self.attempt(state, batch, plan, decoder).await?;
        Ok(Turn::Moved)
    }

    /// Whether a batch that may come late after all has not all of its chunks at hand: cut otherwise, its second copy could not be told
    /// by its chunks.
    fn waits_for_leased(&self, state: &State, batch: &Batch<'_>) -> bool {
        let leased = state.checkpoint.lease.as_ref().filter(|lease| lease.advance.line == batch.line());
        leased.is_some_and(|lease| {
            let waited_ms = self.now().ms_since(lease.first_attempt_at);
            !lease.tries.is_empty()
                && waited_ms < self.writer.config.max_blocked_ms
                && leased_before(&state.checkpoint, batch, batch.pieces).is_none()
        })
    }

    /// Folds the line's chunks; where a place is in doubt and nothing more will tell, as if all had come.
    fn fold<'b>(&self, state: &State, batch: &Batch<'b>, sorted: &Sorted) -> (Around<'b>, Crowd, Folded) {
        let around = Around::of(batch.gap);
        let folded = fold(&batch.start, batch.pieces, around);
        let crowd = self.crowd(state, batch, folded.doubtful.is_some());
        if !folded.doubtful.is_some_and(|doubtful| self.is_calm(batch, doubtful, crowd, sorted)) {
            return (around, crowd, folded);
        }
        let around = Around { calm: true, ..around };
        (around, crowd, fold(&batch.start, batch.pieces, around))
    }

    async fn status(&self) -> Result<SessionStatus, Stop> {
        Ok(self.writer.ports.sessions().status(&self.session).await?)
    }

    /// Whether the delivery hides what lies behind it in the queue: it is full, or goes on with what one that was full began, or leaves
    /// a doubt a second time.
    fn crowd(&self, state: &State, batch: &Batch<'_>, doubt: bool) -> Crowd {
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
        let oldest_waited = |pieces: &[Piece], most_ms: u64| {
            pieces.iter().map(|piece| waited_ms(&piece.record)).max().is_some_and(|ms| ms >= most_ms)
        };
        // A delivery need not show all there is: what lies behind the newest record is seen when that is delivered again.
        let newest = batch.pieces.iter().map(|piece| &piece.record).max_by_key(|record| record.sent_at);
        let looked = |least: u32| newest.is_some_and(|record| record.receive_count >= least);
        let quiet = newest.is_some_and(|record| waited_ms(record) >= CALM_MS) && looked(CALM_LOOKS);
        let nothing_comes = match batch.pieces.last() {
            // A blob is placed when its last piece has come, however far behind in the queue that lies.
            Some(last) if last.continues => {
                looked(policy.backlog_looks) && oldest_waited(batch.pieces, policy.last_resort_ms)
            }
            _ => {
                quiet
                    || batch
                        .pieces
                        .get(doubtful)
                        .is_some_and(|p| waited_ms(&p.record) >= policy.last_resort_ms)
            }
        };
        let nothing_comes = nothing_comes || !sorted.ends.is_empty();
        batch.gap.is_none() && crowd != Crowd::Room && nothing_comes
    }

    /// Parks the records of a session that may not be written. What was set aside was taken while it might.
    async fn refuse(
        &self,
        state: &mut State,
        status: SessionStatus,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Stop> {
        if status == SessionStatus::Active {
            return Ok(());
        }
        let sorted = sort(&state.checkpoint, entries, &[]);
        let (reason, refused): (Reason, Vec<&Piece>) = match status {
            SessionStatus::Active | SessionStatus::Unknown => {
                self.settle(&sorted.ends, Because::Ended);
                self.drop_duplicates(&sorted);
                let backfill = sorted.backfill.iter().flat_map(|(_, pieces)| pieces);
                let all =
                    sorted.live.iter().chain(backfill).chain(&sorted.unplaceable).chain(&sorted.replaced);
                (Reason::SessionUnknown, all.collect())
            }
            SessionStatus::Ended { at } => {
                let at = match at.or(state.checkpoint.seen_ended_at) {
                    Some(at) => at,
                    None => self.note_end(state).await?,
                };
                let late = |p: &&Piece| {
                    let chunk = (p.captured_at, p.record.sent_at);
                    is_after_end(&state.checkpoint, &self.writer.config, at, chunk)
                };
                (Reason::SessionEnded, sorted.live.iter().filter(late).collect())
            }
        };
        self.park_pieces(&refused, reason, 1, self.now()).await?;
        entries.retain(|entry| !self.is_settled(entry.record()));
        Ok(())
    }

    /// The Sessions table does not say when the session ended: it ended now at the latest.
    async fn note_end(&self, state: &mut State) -> Result<EpochMs, Stop> {
        let now = self.now();
        state.checkpoint.seen_ended_at = Some(now);
        self.save(state).await?;
        Ok(now)
    }

    /// A gap whose batch was parked while it was unknown whether it is stored: now the stream can be asked. The same is asked of
    /// the gap that this one's last packet goes on in.
    async fn already_stored(&self, state: &mut State, gap: &Gap, pieces: &[Piece]) -> Result<Known, Stop> {
        let numbering = gap.chunks.numbering;
        let next = gap.search.goes_on_at.and_then(|from| state.checkpoint.gap(GapId { numbering, from }));
        for gap in [Some(gap.clone()), next.cloned()].into_iter().flatten() {
            let Some(stored) = &gap.unsure else { continue };
            let sent_by = gap.tries.iter().map(|one| one.sent_by).max().unwrap_or_default();
            let is_certain = self.now() >= self.writer.config.certain_at(sent_by);
            match self.writer.ports.streams().find(&self.session, stored.at).await {
                Ok(found) if found.iter().any(|found| is_whole(found, stored)) => {}
                Ok(_) if is_certain => continue,
                Ok(_) => {
                    self.defer(pieces, &[], 1, "unsure").await;
                    return Ok(Known::NotYet);
                }
                Err(failure) => {
                    // Live audio does not wait for an answer: these come from the DLQ, and go back there.
                    self.renew(&gap).await?;
                    self.park_all(pieces, Reason::Service(failure)).await?;
                    return Ok(Known::Settled);
                }
            }
            state.checkpoint.close_stored(&gap, stored);
            self.save(state).await?;
            let missing = |p: &Piece| stored.gaps.iter().any(|hole| hole.chunks.holds(p.index));
            let pieces = pieces.iter().filter(|p| stored.chunks.holds(p.index) && !missing(p));
            self.settle(pieces.map(|p| &p.record), Because::Written);
            return Ok(Known::Settled);
        }
        Ok(Known::Absent)
    }

    /// Messages of a parked batch that come only now, without its beginning: written alone they would be decoded without it.
    async fn park_stragglers(&self, gap: &Gap, pieces: &[Piece]) -> Result<Turn, Stop> {
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
    async fn resume_what_follows(&self, checkpoint: &Checkpoint, plan: &mut Plan) -> Result<(), Stop> {
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

    fn drop_duplicates(&self, sorted: &Sorted) {
        if !sorted.duplicates.is_empty() {
            self.settle(&sorted.duplicates, Because::Duplicate);
            let messages = sorted.duplicates.len() as u64;
            self.emit(Event::DuplicatesDropped { session_id: self.session.to_string(), messages });
        }
    }

    /// Drops what is settled; a marker alone has nothing to end, and is settled too. Whether anything is left.
    fn has_unsettled(&self, state: &State, entries: &mut Vec<Entry>) -> bool {
        entries.retain(|entry| !self.is_settled(entry.record()));
        let waits_aside = !state.checkpoint.aside.is_empty();
        if !waits_aside && entries.iter().all(|entry| matches!(entry, Entry::End { .. })) {
            self.settle(entries.iter().map(Entry::record), Because::Ended);
            entries.clear();
        }
        waits_aside || !entries.is_empty()
    }
}

/// Whether more may come for the batch's line. A gap's last chunks fill it, unless some between them are missing.
fn end(batch: &Batch<'_>, folded: &Folded, sorted: &Sorted) -> End {
    let fills = batch.gap.is_some_and(|gap| folded.end.next >= gap.chunks.to && folded.gaps.is_empty());
    match (fills, sorted.ends.is_empty(), sorted.last_index) {
        (true, ..) | (false, false, None) => End::Here,
        (false, false, Some(last)) => End::Behind(last),
        (false, true, _) => End::Open,
    }
}

/// The lease of a batch that was leased before, and its pieces with what comes behind them, where all are at hand.
fn leased_before(
    checkpoint: &Checkpoint,
    batch: &Batch<'_>,
    delivered: &[Piece],
) -> Option<(Advance, Vec<Piece>)> {
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
fn as_leased<'a>(advance: &Advance, pieces: &'a [Piece], batch: &mut Batch<'a>) -> Plan {
    let amid = advance.ends_amid_chunk();
    let range = advance.chunks;
    let is_leased = |p: &&Piece| (p.numbering, p.index) < (range.numbering, range.to);
    let same = pieces.iter().take_while(is_leased).count() - usize::from(amid);
    batch.narrow(pieces, same);
    let placed = |(index, _): &(u64, EpochMs)| batch.start.placements.iter().all(|(known, _)| known != index);
    let again: Vec<_> = advance.placements.iter().filter(|place| placed(place)).copied().collect();
    batch.start.placements.extend(again);
    let around = Around { ends_at: amid.then_some(advance.until), ..Around::of(batch.gap) };
    plan(&batch.start, batch.pieces, around)
}

/// Narrows the batch to its longest beginning of at most `chunks` that fits into its gap; or names the chunk that is too
/// much: one that came late into a parked batch, whose other chunks have their places.
fn fitting<'a>(
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
