//! One session's part of a delivery, told once: load, resolve, refuse, sort; then, batch after batch, fold, decide, plan,
//! lease, put, commit, settle.

use futures::future::{Either, select};
use ingest::backlog::Crowd;
use ingest::batch::Because;
use ingest::checkpoint::Checkpoint;
use ingest::decide::{Decision, End, View, Why, decide, longest};
use ingest::fold::{Around, Folded, fold, take_apart};
use ingest::message::{Entry, Record};
use ingest::piece::Piece;
use ingest::plan::Plan;
use ingest::sort::{Sorted, sort};
use media::opus::Decoder;
use media::time::EpochMs;

use crate::backfill::Known;
use crate::ended::is_after_end;
use crate::event::Event;
use crate::lease::{Resolved, incomplete_lease, overdue};
use crate::park::Reason;
use crate::planned::{as_leased, fitting, leased_before};
use crate::ports::{Clock as _, Ports, SessionStatus, Sessions as _};
use crate::state::State;
use crate::stop::Stop;
use crate::warm::Warm;
use crate::work::{Batch, SessionWork, Turn};
use crate::writer::Delivered;

/// Audio that ends later than now by less than this is clock jitter.
const FUTURE_TOLERANCE_MS: u64 = 500;
/// A marker of the end that has overtaken the last chunks waits for them so long.
const OVERTAKEN_MS: u64 = 3_000;
/// Audio further in the future than this will not become past by waiting: the service's refusal parks it.
const MAX_FUTURE_MS: u64 = 20_000;

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
        if let Some(stop) = &stop {
            self.give_back(&entries, stop).await;
        }
        match self.give_up(&entries, stop.as_ref()).await {
            Ok(given_up) => keeps_some &= !given_up,
            Err(stop) => {
                tracing::warn!(session = %self.session, ?stop, "what may be set aside could not be parked");
            }
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
        let mut came_again = Vec::new();
        while goes_on && self.has_unsettled(&state, entries) {
            let resolved = self.resolve(&mut state).await?;
            let aside = self.load_aside(&mut state).await?;
            *keeps_some = !state.checkpoint.aside.is_empty();
            self.refuse(&mut state, status, entries, &aside).await?;
            let mut sorted = sort(&state.checkpoint, entries, &aside);
            self.drop_duplicates(&sorted);
            came_again.extend(std::mem::take(&mut sorted.duplicates));
            sorted.came_again.clone_from(&came_again);
            self.park_all(&sorted.unplaceable, Reason::NoPlace).await?;
            self.park_all(&sorted.replaced, Reason::Replaced).await?;
            self.keep_numbering(&mut state, &sorted).await?;
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
            let batch = Batch::of(None, &sorted.live, start);
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
            let batch = Batch::of(Some(gap), pieces, start);
            if self.park_stragglers(gap, pieces).await? == Turn::Moved
                || self.batch(state, batch, None, sorted).await? == Turn::Moved
            {
                return Ok(Turn::Moved);
            }
        }
        if sorted.live.is_empty() {
            match sorted.last_index {
                Some(last) if sorted.ends.iter().any(|end| self.awaits(&state.checkpoint, end, last)) => {
                    self.defer(&[], &sorted.ends, 1, Why::End).await;
                }
                _ => self.settle(&sorted.ends, Because::Ended),
            }
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
        let delivered = batch.pieces;
        let leased = leased_before(&state.checkpoint, &batch);
        if leased.is_none()
            && let Some(lease) = incomplete_lease(&state.checkpoint, &batch)
        {
            if self.now().ms_since(lease.first_attempt_at) < self.writer.config.max_blocked_ms {
                self.defer(delivered, &sorted.ends, 1, Why::Leased).await;
                return Ok(Turn::Waits);
            }
            let (lease, reason) = (lease.clone(), overdue(lease));
            self.park_unsure(state, sorted, lease, reason).await?;
            return Ok(Turn::Moved);
        }
        let folded = self.fold(&batch);
        let crowd = self.crowd(state, &batch, folded.doubtful.is_some(), sorted);
        let (mut around, mut folded) = self.when_calm(batch.keep(&folded), folded, crowd, sorted);
        let apart;
        let policy = &self.writer.config.policy;
        // Audio over the first is taken apart, into pieces that fit a fragment of at most the second.
        let lengths = (policy.most_behind, longest(&self.shown(delivered, sorted), policy));
        if let Some(pieces) =
            take_apart(&batch.start, batch.pieces, &folded, lengths, Some(&self.writer.vain))
        {
            apart = pieces;
            batch.pieces = &apart;
            folded = self.fold(&batch);
            (around, folded) = self.when_calm(batch.keep(&folded), folded, crowd, sorted);
        }
        let chunks = match self.decide(&batch, &folded, crowd, sorted) {
            Decision::Write { chunks } => chunks,
            Decision::SetAside => {
                self.set_aside(state, delivered, &sorted.ends).await?;
                return Ok(Turn::Waits);
            }
            Decision::Defer { seconds, why } => {
                self.defer(delivered, &sorted.ends, seconds, why).await;
                if let (None, Some(key)) = (batch.gap, &state.checkpoint.live_snapshot) {
                    self.writer.warm.put(&self.session, key, Warm { snapshot: batch.start, decoder });
                }
                return Ok(Turn::Waits);
            }
        };
        let planned = match leased
            .as_ref()
            .map(|(advance, pieces)| as_leased(advance, pieces, &mut batch, &self.writer.vain))
        {
            Some(plan) => Ok(plan),
            None => fitting(&mut batch, chunks, around, folded),
        };
        match planned {
            Ok(plan) => self.write(state, batch, plan, decoder, (delivered, sorted)).await,
            Err(too_much) => {
                self.park_all(std::slice::from_ref(too_much), Reason::NoPlace).await?;
                Ok(Turn::Moved)
            }
        }
    }

    /// What the batch's chunks hold, as far as they are in sight.
    fn fold(&self, batch: &Batch<'_>) -> Folded {
        fold(&batch.start, batch.pieces, Around::of(batch.gap, &self.writer.vain))
    }

    fn decide(&self, batch: &Batch<'_>, folded: &Folded, crowd: Crowd, sorted: &Sorted) -> Decision {
        let view = View {
            delivery: self.shown(batch.pieces, sorted),
            folded,
            place: batch.start.position.place(),
            end: end(batch, folded, sorted),
            crowd,
        };
        decide(&view, &self.writer.config.policy)
    }

    /// Attempts a planned batch, once its audio lies in the past.
    async fn write(
        &self,
        state: &mut State,
        batch: Batch<'_>,
        mut plan: Plan,
        decoder: Option<Decoder>,
        (delivered, sorted): (&[Piece], &Sorted),
    ) -> Result<Turn, Stop> {
        self.resume_what_follows(&state.checkpoint, &mut plan).await?;
        let ahead_ms = plan.advance.until.ms_since(self.now());
        if (FUTURE_TOLERANCE_MS..MAX_FUTURE_MS).contains(&ahead_ms) {
            self.defer(delivered, &sorted.ends, ahead_ms.div_ceil(1000) as u32, Why::Future).await;
            return Ok(Turn::Waits);
        }
        self.attempt(state, batch, plan, decoder).await?;
        Ok(Turn::Moved)
    }

    async fn status(&self) -> Result<SessionStatus, Stop> {
        Ok(self.writer.ports.sessions().status(&self.session).await?)
    }

    /// Parks the records of a session that may not be written. What was set aside was taken while it might.
    async fn refuse(
        &self,
        state: &mut State,
        status: SessionStatus,
        entries: &mut Vec<Entry>,
        aside: &[Piece],
    ) -> Result<(), Stop> {
        let ended = match status {
            SessionStatus::Active => return Ok(()),
            SessionStatus::Unknown => None,
            SessionStatus::Ended { at } => Some(at),
        };
        let sorted = sort(&state.checkpoint, entries, &[]);
        let (reason, refused): (Reason, Vec<&Piece>) = match ended {
            None => {
                self.settle(&sorted.ends, Because::Ended);
                self.drop_duplicates(&sorted);
                let backfill = sorted.backfill.iter().flat_map(|(_, pieces)| pieces);
                let all =
                    sorted.live.iter().chain(backfill).chain(&sorted.unplaceable).chain(&sorted.replaced);
                (Reason::SessionUnknown, all.collect())
            }
            Some(at) => {
                let at = match at.or(state.checkpoint.seen_ended_at) {
                    Some(at) => at,
                    None => self.note_end(state).await?,
                };
                let ahead_ms = ahead_ms(&state.checkpoint, aside.iter().chain(&sorted.live));
                let late = |p: &&Piece| {
                    let captured_at = EpochMs(p.captured_at.0.saturating_sub(ahead_ms));
                    is_after_end(&state.checkpoint, &self.writer.config, at, (captured_at, p.record.sent_at))
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

    fn drop_duplicates(&self, sorted: &Sorted) {
        if !sorted.duplicates.is_empty() {
            self.settle(&sorted.duplicates, Because::Duplicate);
            let messages = sorted.duplicates.len() as u64;
            self.emit(Event::DuplicatesDropped { session_id: self.session.to_string(), messages });
        }
    }

    /// Whether a marker has overtaken the `last` chunk, which may still come.
    fn awaits(&self, checkpoint: &Checkpoint, end: &Record, last: u64) -> bool {
        checkpoint.live.next <= last && self.now().ms_since(end.sent_at) < OVERTAKEN_MS
    }

    /// Drops settled entries; returns whether work is left. End markers alone are settled, too, unless one has overtaken the last chunk.
    fn has_unsettled(&self, state: &State, entries: &mut Vec<Entry>) -> bool {
        entries.retain(|entry| !self.is_settled(entry.record()));
        let waits_aside = !state.checkpoint.aside.is_empty();
        let is_over = |entry: &Entry| match entry {
            Entry::Chunk(_) => false,
            Entry::End { record, last_index } => {
                !last_index.is_some_and(|last| self.awaits(&state.checkpoint, record, last))
            }
        };
        if !waits_aside && entries.iter().all(is_over) {
            self.settle(entries.iter().map(Entry::record), Because::Ended);
            entries.clear();
        }
        waits_aside || !entries.is_empty()
    }
}

/// By how much more than is known the speaker's clock is ahead: nothing is sent before it is captured.
fn ahead_ms<'p>(checkpoint: &Checkpoint, pieces: impl Iterator<Item = &'p Piece>) -> u64 {
    let corrected = |piece: &Piece| checkpoint.live.timeline.corrected(piece.captured_at);
    pieces.map(|piece| corrected(piece).ms_since(piece.record.sent_at)).max().unwrap_or_default()
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
