//! One attempt at a batch: lease, put, commit; or, where it cannot be written, park.
//!
//! The lease carries everything the commit will need, and its snapshots are stored before it, so whoever finds
//! it later can commit without the chunks, once ListFragments shows the fragment.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use ingest::checkpoint::{Advance, Gap, Lease, Line, ParkedBatch, Snapshot};
use ingest::failure::{Class, ServiceFailure};
use ingest::fold::{Piece, Refusal};
use ingest::plan::{Plan, gap_over, prime};
use ingest::sort::Sorted;
use media::opus::Decoder;
use media::time::EpochMs;

use crate::event::Event;
use crate::parking::{Parking, Place, Reason};
use crate::ports::{Clock as _, Persisted, Ports, Store as _, Streams as _};
use crate::session::{Batch, Held, SessionWork, Stop};
use crate::warm::Warm;

/// Kept from the invocation's time after a PutMedia, to write down what came of it.
const AFTER_PUT_MS: u64 = 1_000;

impl<P: Ports> SessionWork<'_, P> {
    /// Writes the batch, or parks it: either way its records are settled.
    pub(crate) async fn attempt(
        &self,
        held: &mut Held,
        batch: Batch<'_>,
        plan: Plan,
        warm: Option<Decoder>,
    ) -> Result<(), Stop> {
        let lease = self.next_lease(held, &plan);
        if plan.is_silent() {
            return self.carry(held, &batch, plan).await;
        }
        if lease.attempt > self.writer.config.max_attempts {
            let reason = Reason::Crashed { attempts: lease.attempt - 1 };
            return self.park_batch(held, &batch, plan, &lease, reason, false).await;
        }
        if let Some(since) = self.waited_out(held, &batch) {
            let reason = Reason::StreamFailing { since };
            return self.park_batch(held, &batch, plan, &lease, reason, false).await;
        }
        self.save_snapshots(&plan.snapshots).await?;
        held.checkpoint.lease = Some(lease.clone());
        self.save(held).await?;
        let decode_from = self.writer.ports.clock().now_us();
        let (bytes, decoder) = match self.render(&plan, warm) {
            Ok(rendered) => rendered,
            Err(why) => {
                let reason = Reason::Refused(Refusal::Audio(why));
                return self.park_batch(held, &batch, plan, &lease, reason, false).await;
            }
        };
        let decode_us = self.writer.ports.clock().now_us().saturating_sub(decode_from);
        let failing_since = self.failing_since(held).unwrap_or(lease.first_attempt_at);
        match self.put(&lease, failing_since, bytes).await {
            Ok(persisted) => {
                self.commit(held, lease, persisted, Some(decode_us)).await?;
                self.settle_written(held, &batch, plan, decoder).await
            }
            Err(failure) => self.after_failure(held, &batch, plan, lease, failure).await,
        }
    }

    /// Since when the session fails, where that has blocked it and this batch for long enough: what queued up behind the
    /// first failure does not get an attempt of its own, so that the live audio comes to its turn.
    fn waited_out(&self, held: &Held, batch: &Batch<'_>) -> Option<EpochMs> {
        let is_over =
            |since: EpochMs| self.now().0.saturating_sub(since.0) >= self.writer.config.max_blocked_ms;
        let sent_at = batch.pieces.iter().map(|piece| piece.record.sent_at).min()?;
        self.failing_since(held).filter(|since| is_over(*since) && is_over(sent_at))
    }

    /// Since when every attempt has failed. A failure longer ago than the bound says nothing of now.
    fn failing_since(&self, held: &Held) -> Option<EpochMs> {
        let quiet_ms = self.now().0.saturating_sub(held.checkpoint.failed_at?.0);
        held.checkpoint.failing_since.filter(|_| quiet_ms < self.writer.config.max_blocked_ms)
    }

    /// The lease of this attempt: it counts on where the same chunks were leased before.
    fn next_lease(&self, held: &Held, plan: &Plan) -> Lease {
        let now = self.now();
        let before = held.checkpoint.lease.as_ref().filter(|before| {
            before.advance.line == plan.advance.line && before.advance.chunks.from == plan.advance.chunks.from
        });
        Lease {
            advance: plan.advance.clone(),
            attempt: before.map_or(1, |lease| lease.attempt + 1),
            first_attempt_at: before.map_or(now, |lease| lease.first_attempt_at),
            leased_at: now,
            expires_at: EpochMs(self.stop_at.0 + self.writer.config.answer_margin_ms),
            surely_not_stored: false,
        }
    }

    async fn save_snapshots(&self, snapshots: &[(String, Snapshot)]) -> Result<(), Stop> {
        for (key, snapshot) in snapshots {
            let keep_seconds = match key.starts_with("live-") {
                true => self.writer.config.live_snapshot_seconds,
                false => self.writer.config.gap_snapshot_seconds,
            };
            let store = self.writer.ports.store();
            store.save_snapshot(&self.session, key, &snapshot.encode(), keep_seconds).await?;
        }
        Ok(())
    }

    fn render(&self, plan: &Plan, warm: Option<Decoder>) -> Result<(Vec<u8>, Decoder), String> {
        let mut decoder = match warm {
            Some(decoder) => decoder,
            None => prime(&plan.pre_roll).map_err(|e| e.to_string())?,
        };
        let bytes = plan.render(&self.session, &mut decoder).map_err(|e| e.to_string())?;
        Ok((bytes, decoder))
    }

    /// PutMedia, again where that may help. After an unknown outcome the stream is asked first.
    async fn put(
        &self,
        lease: &Lease,
        failing_since: EpochMs,
        bytes: Vec<u8>,
    ) -> Result<Persisted, ServiceFailure> {
        let config = &self.writer.config;
        let at = lease.advance.at;
        let mut waits = self.waits();
        let mut tries = 0;
        loop {
            tries += 1;
            let within_ms = config.put_within_ms.min(self.remaining_ms().saturating_sub(AFTER_PUT_MS));
            let put = self.writer.ports.streams().put(&self.session, at, bytes.clone(), within_ms).await;
            let failure = match put {
                Ok(persisted) => return Ok(persisted),
                Err(failure) => failure,
            };
            if failure.outcome_unknown() {
                match self.look_for(at).await {
                    Ok(Some(found)) => return Ok(found),
                    Ok(None) => {}
                    Err(_) => return Err(failure),
                }
            }
            let wait = waits.next_backoff().unwrap_or(Duration::ZERO).as_millis() as u64;
            let blocked_ms = self.now().0.saturating_sub(failing_since.0);
            let hopeless = failure.class() == Class::Lasting
                || tries >= config.max_tries
                || blocked_ms >= config.max_blocked_ms
                || self.remaining_ms() < wait + config.put_within_ms / 2 + AFTER_PUT_MS;
            if hopeless {
                return Err(failure);
            }
            self.emit(Event::Retried {
                session_id: self.session.to_string(),
                chunk_first: lease.advance.chunks.from,
                chunk_last: lease.advance.chunks.to.saturating_sub(1),
                reason: failure.reason(),
                tries,
            });
            self.writer.ports.clock().sleep_ms(wait).await;
        }
    }

    fn waits(&self) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(Duration::from_millis(self.writer.config.retry_ms))
            .with_multiplier(2.0)
            .with_randomization_factor(self.writer.config.retry_jitter)
            .with_max_elapsed_time(None)
            .build()
    }

    /// Asks the stream for the fragment until a negative answer can be believed, or time runs short.
    async fn look_for(&self, at: EpochMs) -> Result<Option<Persisted>, ServiceFailure> {
        let certain_at = self.now().0 + self.writer.config.probe_patience_ms;
        loop {
            let asked_at = self.now().0;
            if let Some(found) = self.writer.ports.streams().find(&self.session, at).await? {
                return Ok(Some(found));
            }
            let wait_ms = certain_at.saturating_sub(asked_at).min(500);
            if wait_ms == 0 {
                return Ok(None);
            }
            if self.remaining_ms() < wait_ms + 500 {
                let operation = "ListFragments".to_owned();
                return Err(ServiceFailure::TimedOut { operation, waited_ms: wait_ms });
            }
            self.writer.ports.clock().sleep_ms(wait_ms).await;
        }
    }

    /// Advances the checkpoint past a persisted fragment.
    pub(crate) async fn commit(
        &self,
        held: &mut Held,
        lease: Lease,
        persisted: Persisted,
        decode_us: Option<u64>,
    ) -> Result<(), Stop> {
        let advance = lease.advance;
        let gaps = advance.gaps.clone();
        let event = Event::FragmentWritten {
            session_id: self.session.to_string(),
            fragment_number: persisted.fragment_number,
            producer_timestamp_ms: advance.at.0,
            samples: advance.samples.0,
            chunk_first: advance.chunks.from,
            chunk_last: advance.chunks.to.saturating_sub(1),
            chunks: advance.count,
            persisted_after_ms: persisted.acknowledged_after_ms,
            decode_us,
            age_ms: self.now().0.saturating_sub(advance.until.0),
            attempts: lease.attempt,
            backfill: advance.line != Line::Live,
            drift_ms: advance.to.timeline.drift_ms(),
            traceparent: advance.traceparent.clone(),
        };
        let closes = advance.line != Line::Live && gaps.is_empty();
        let (chunk_first, chunk_last) = (advance.chunks.from, advance.chunks.to.saturating_sub(1));
        let given_up = held.checkpoint.commit(advance);
        self.save(held).await?;
        self.emit(event);
        if closes {
            self.emit(Event::GapClosed { session_id: self.session.to_string(), chunk_first, chunk_last });
        }
        self.report_gaps(&gaps, &given_up);
        Ok(())
    }

    fn report_gaps(&self, opened: &[Gap], given_up: &[Gap]) {
        let session_id = || self.session.to_string();
        for gap in opened {
            let (chunk_first, chunk_last) = (gap.chunks.from, gap.chunks.to - 1);
            self.emit(Event::GapOpened { session_id: session_id(), chunk_first, chunk_last });
        }
        for gap in given_up {
            let (chunk_first, chunk_last) = (gap.chunks.from, gap.chunks.to - 1);
            self.emit(Event::GapGivenUp { session_id: session_id(), chunk_first, chunk_last });
        }
    }

    /// A batch without audio of its own (a header, the middle of a packet, bytes before the next Cluster) goes on in
    /// the snapshots; what it refused is parked.
    async fn carry(&self, held: &mut Held, batch: &Batch<'_>, plan: Plan) -> Result<(), Stop> {
        self.save_snapshots(&plan.snapshots).await?;
        let gaps = plan.advance.gaps.clone();
        let given_up = held.checkpoint.carry(plan.advance);
        self.save(held).await?;
        self.report_gaps(&gaps, &given_up);
        self.settle_pieces(batch, plan.refused).await
    }

    /// Settles the chunks of a committed batch; those it refused are parked first.
    async fn settle_written(
        &self,
        held: &Held,
        batch: &Batch<'_>,
        plan: Plan,
        decoder: Decoder,
    ) -> Result<(), Stop> {
        if batch.line == Line::Live
            && let Some((key, snapshot)) = plan.snapshots.into_iter().next_back()
            && key == held.checkpoint.live_snapshot
        {
            self.writer.warm.put(&self.session, &key, Warm { snapshot, decoder: Some(decoder) });
        }
        self.settle_pieces(batch, plan.refused).await
    }

    async fn settle_pieces(&self, batch: &Batch<'_>, refused: Vec<(usize, Refusal)>) -> Result<(), Stop> {
        let is_refused = |i: usize| refused.iter().any(|(r, _)| *r == i);
        let taken = batch.pieces.iter().enumerate().filter(|(i, _)| !is_refused(*i));
        self.settle(taken.map(|(_, piece)| &piece.record));
        for (i, refusal) in refused {
            self.park_pieces(&[&batch.pieces[i]], Reason::Refused(refusal), 1, self.now()).await?;
        }
        Ok(())
    }

    /// A failed attempt: given back with growing visibility, or parked once that has lasted long enough.
    async fn after_failure(
        &self,
        held: &mut Held,
        batch: &Batch<'_>,
        plan: Plan,
        mut lease: Lease,
        failure: ServiceFailure,
    ) -> Result<(), Stop> {
        let now = self.now();
        let config = &self.writer.config;
        let failing_since = self.failing_since(held).unwrap_or(now);
        (held.checkpoint.failing_since, held.checkpoint.failed_at) = (Some(failing_since), Some(now));
        let lasting = failure.class() == Class::Lasting;
        let spent = lease.attempt >= config.max_attempts
            || now.0.saturating_sub(failing_since.0) >= config.max_blocked_ms
            || now.0.saturating_sub(lease.first_attempt_at.0) >= config.max_blocked_ms;
        if lasting || spent {
            let unsure = failure.outcome_unknown();
            return self.park_batch(held, batch, plan, &lease, Reason::Service(failure), unsure).await;
        }
        lease.surely_not_stored = !failure.outcome_unknown();
        lease.expires_at = now;
        let seconds = 1 << lease.attempt.clamp(1, 4).saturating_sub(1);
        held.checkpoint.lease = Some(lease);
        self.save(held).await?;
        Err(Stop::Failed { failure, seconds: Some(seconds) })
    }

    /// Goes past the batch: the checkpoint first, so that a copy that comes back is known as the gap's; then the DLQ.
    async fn park_batch(
        &self,
        held: &mut Held,
        batch: &Batch<'_>,
        plan: Plan,
        lease: &Lease,
        reason: Reason,
        unsure: bool,
    ) -> Result<(), Stop> {
        let (gap, snapshot) = plan.whole;
        if batch.line == Line::Live {
            self.save_snapshots(&[(gap.snapshot.clone(), snapshot)]).await?;
            self.save_snapshots(&plan.snapshots).await?;
        }
        self.go_past(held, plan.advance, gap, unsure).await?;
        let (attempts, since) = (lease.attempt, lease.first_attempt_at);
        let own = |i: usize| plan.refused.iter().find(|(r, _)| *r == i).map(|(_, refusal)| refusal.clone());
        let mut others = Vec::new();
        for (i, piece) in batch.pieces.iter().enumerate() {
            match own(i) {
                Some(refusal) => {
                    self.park_pieces(&[piece], Reason::Refused(refusal), attempts, since).await?
                }
                None => others.push(piece),
            }
        }
        self.park_pieces(&others, reason, attempts, since).await
    }

    /// Goes past what a lease may have stored while nobody can be asked, and parks what of it is at hand.
    pub(crate) async fn park_unsure(
        &self,
        held: &mut Held,
        sorted: &Sorted,
        lease: Lease,
        failure: ServiceFailure,
    ) -> Result<(), Stop> {
        let leased = lease.advance;
        let gap = match leased.line {
            Line::Live => {
                let start = self.live_start(&held.checkpoint).await?.snapshot;
                let (gap, snapshot) = gap_over(&start, &leased, looks_on_at(&leased));
                self.save_snapshots(&[(gap.snapshot.clone(), snapshot)]).await?;
                gap
            }
            Line::Gap { numbering, from } => match held.checkpoint.gap(numbering, from) {
                Some(gap) => gap.clone(),
                None => return Err(Stop::Unreadable("a lease on a gap that is not there".to_owned())),
            },
        };
        let pieces = sorted.of(&leased);
        self.go_past(held, leased, gap, true).await?;
        self.park_pieces(&pieces, Reason::Service(failure), lease.attempt, lease.first_attempt_at).await
    }

    /// Moves the checkpoint past a batch that is to be parked; it leaves `gap`, or stays in it.
    async fn go_past(&self, held: &mut Held, batch: Advance, mut gap: Gap, unsure: bool) -> Result<(), Stop> {
        let is_live = batch.line == Line::Live;
        gap.unsure = unsure.then(|| Box::new(batch.clone()));
        gap.parked = Some(ParkedBatch { first: batch.chunks.from, at: self.now() });
        let given_up = held.checkpoint.park(batch, gap.clone());
        self.save(held).await?;
        if is_live {
            self.report_gaps(&[gap], &given_up);
        }
        Ok(())
    }

    pub(crate) async fn park_pieces(
        &self,
        pieces: &[&Piece],
        reason: Reason,
        attempts: u32,
        first_failure_at: EpochMs,
    ) -> Result<(), Stop> {
        let parking = Parking {
            session_id: self.session.as_str(),
            records: pieces.iter().map(|p| (&p.record, Some(Place::of(p)))).collect(),
            reason,
            attempts,
            first_failure_at,
        };
        Ok(self.writer.park(parking, self.settled).await?)
    }
}

/// Where the search for a Cluster goes on after a batch, if that ended amid one.
fn looks_on_at(advance: &Advance) -> Option<u64> {
    let of_gaps = advance.gaps.iter().map(|gap| gap.looks_on_at);
    let of_skipped = advance.skipped.iter().map(|skipped| skipped.looks_on_at);
    of_gaps.chain(of_skipped).flatten().find(|at| *at == advance.chunks.to)
}
