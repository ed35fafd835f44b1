//! One attempt at a batch: lease, put, commit, settle.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use ingest::batch::Because;
use ingest::checkpoint::{Advance, Checkpoint, Lease, Line};
use ingest::failure::{Class, ServiceFailure};
use ingest::fold::{Refusal, Undecoded};
use ingest::gap::{ChunkRange, Gap};
use ingest::piece::Piece;
use ingest::plan::Plan;
use ingest::render::prime;
use ingest::withheld::withheld_by;
use media::opus::Decoder;
use media::time::EpochMs;

use crate::event::Event;
use crate::lease::Probed;
use crate::park::Reason;
use crate::ports::{Clock as _, Persisted, Ports, Streams as _};
use crate::state::State;
use crate::stop::Stop;
use crate::warm::Warm;
use crate::work::{Batch, SessionWork};

/// Kept from the invocation's time after a PutMedia, to write down what came of it.
const AFTER_PUT_MS: u64 = 1_000;
/// Time to decode and pack a batch, between its lease and its PutMedia.
const RENDER_MS: u64 = 1_000;

impl<P: Ports> SessionWork<'_, P> {
    /// Writes the batch, or parks it: either way its records are settled.
    pub(crate) async fn attempt(
        &self,
        state: &mut State,
        batch: Batch<'_>,
        plan: Plan,
        decoder: Option<Decoder>,
    ) -> Result<(), Stop> {
        if plan.is_silent() {
            return self.carry(state, &batch, plan).await;
        }
        if self.remaining_ms() < self.put_needs_ms() {
            return Err(Stop::TimeIsUp { seconds: Some(0) });
        }
        let mut lease = self.next_lease(state, &plan);
        if let Some(reason) = self.hopeless(state, &batch, &lease) {
            return self.park_batch(state, &batch, plan, &lease, reason).await;
        }
        self.park_refused_aside(&batch, &plan).await?;
        self.save_snapshots(&plan.snapshots).await?;
        self.begin_try(state, &mut lease, RENDER_MS).await?;
        lease.refuse_try(); // nothing is sent yet
        let decode_from = self.writer.ports.clock().now_us();
        let (bytes, decoder) = match self.render(&plan, decoder) {
            Ok(rendered) => rendered,
            Err(why) => {
                let reason = Reason::Refused(Refusal::Audio(why));
                return self.park_batch(state, &batch, plan, &lease, reason).await;
            }
        };
        let decode_us = self.writer.ports.clock().now_us().saturating_sub(decode_from);
        let failing_since = self.failing_since(state).unwrap_or(lease.first_attempt_at);
        let undecoded = plan.undecoded.clone();
        let chunks = plan.advance.chunks;
        match self.put(state, &mut lease, failing_since, bytes).await? {
            Ok(persisted) => {
                self.commit(state, lease, persisted, Some(decode_us)).await?;
                self.report_undecoded(&undecoded, chunks);
                self.settle_written(state, &batch, plan, decoder).await
            }
            Err(failure) => self.after_failure(state, &batch, plan, lease, failure).await,
        }
    }

    /// Why another attempt is not worth it.
    fn hopeless(&self, state: &State, batch: &Batch<'_>, lease: &Lease) -> Option<Reason> {
        if lease.attempt > self.writer.config.max_attempts {
            return Some(Reason::Crashed { attempts: lease.attempt - 1 });
        }
        // What queued up behind the first failure of a session that has blocked itself for long enough does not get an attempt
        // of its own, so that the live audio comes to its turn.
        let is_over = |since: EpochMs| self.now().ms_since(since) >= self.writer.config.max_blocked_ms;
        let sent_at = batch.pieces.iter().map(|piece| piece.record.sent_at).min()?;
        let since = self.failing_since(state).filter(|since| is_over(*since) && is_over(sent_at))?;
        Some(Reason::StreamFailing { since })
    }

    /// Since when every attempt has failed, or panicked. A failure longer ago than the bound says nothing of now.
    pub(crate) fn failing_since(&self, state: &State) -> Option<EpochMs> {
        let quiet_ms = self.now().ms_since(state.checkpoint.failed_at?);
        state.checkpoint.failing_since.filter(|_| quiet_ms < self.writer.config.max_blocked_ms)
    }

    /// An attempt has failed. Returns since when every one has.
    pub(crate) fn note_failure(&self, state: &mut State) -> EpochMs {
        let now = self.now();
        let failing_since = self.failing_since(state).unwrap_or(now);
        (state.checkpoint.failing_since, state.checkpoint.failed_at) = (Some(failing_since), Some(now));
        failing_since
    }

    fn render(&self, plan: &Plan, warm: Option<Decoder>) -> Result<(Vec<u8>, Decoder), String> {
        let mut decoder = match warm {
            Some(decoder) => decoder,
            None => prime(&plan.pre_roll).map_err(|e| e.to_string())?,
        };
        let bytes = plan.render(&self.session, &mut decoder).map_err(|e| e.to_string())?;
        Ok((bytes, decoder))
    }

    /// The time that a PutMedia must have, to be answered and written down.
    pub(crate) fn put_needs_ms(&self) -> u64 {
        self.writer.config.put_within_ms + AFTER_PUT_MS
    }

    /// PutMedia, again where that may help. After an unknown outcome the stream is asked first.
    async fn put(
        &self,
        state: &mut State,
        lease: &mut Lease,
        failing_since: EpochMs,
        bytes: Vec<u8>,
    ) -> Result<Result<Persisted, ServiceFailure>, Stop> {
        let config = &self.writer.config;
        let until = failing_since.plus_ms(config.max_blocked_ms);
        let mut waits = self.waits();
        let mut tries = 0;
        loop {
            tries += 1;
            self.begin_try(state, lease, 0).await?;
            let streams = self.writer.ports.streams();
            let put = streams.put(&self.session, lease.advance.at, bytes.clone(), config.put_within_ms).await;
            let failure = match put {
                Ok(persisted) => return Ok(Ok(persisted)),
                Err(failure) => failure,
            };
            if failure.may_have_stored() {
                lease.end_try(self.now());
                let certain_at = config.certain_at(lease.last_sent_by().unwrap_or_default());
                match self.probe(&lease.advance, certain_at, until).await {
                    Ok(Probed::Stored(found)) => return Ok(Ok(found)),
                    Ok(Probed::Absent) => {}
                    Ok(Probed::TimeIsShort | Probed::Overdue) | Err(_) => return Ok(Err(failure)),
                }
            } else {
                lease.refuse_try();
            }
            let wait_ms = waits.next_backoff().unwrap_or(Duration::ZERO).as_millis() as u64;
            let hopeless = failure.class() == Class::Lasting
                || tries >= config.max_tries
                || self.now() >= until
                || self.remaining_ms() < wait_ms + self.put_needs_ms();
            if hopeless {
                return Ok(Err(failure));
            }
            self.emit(Event::Retried {
                session_id: self.session.to_string(),
                chunk_first: lease.advance.chunks.from,
                chunk_last: lease.advance.chunks.last(),
                reason: failure.reason(),
                tries,
            });
            self.sleep_ms(wait_ms).await;
        }
    }

    pub(crate) fn waits(&self) -> ExponentialBackoff {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(Duration::from_millis(self.writer.config.retry_ms))
            .with_multiplier(2.0)
            .with_randomization_factor(self.writer.config.retry_jitter)
            .with_max_elapsed_time(None)
            .build()
    }

    /// Moves the checkpoint behind a persisted fragment.
    pub(crate) async fn commit(
        &self,
        state: &mut State,
        lease: Lease,
        persisted: Persisted,
        decode_us: Option<u64>,
    ) -> Result<(), Stop> {
        self.note_looks(state, &lease, &persisted.fragment_number);
        let advance = lease.advance;
        let is_backfill = advance.line != Line::Live;
        let (chunk_first, chunk_last) = (advance.chunks.from, advance.chunks.last());
        let written = Event::FragmentWritten {
            session_id: self.session.to_string(),
            fragment_number: persisted.fragment_number,
            producer_timestamp_ms: advance.at.0,
            samples: advance.samples.0,
            chunk_first,
            chunk_last,
            chunks: advance.count,
            persisted_after_ms: persisted.acknowledged_after_ms,
            decode_us,
            age_ms: self.now().ms_since(advance.until),
            attempts: lease.attempt,
            backfill: is_backfill,
            drift_ms: advance.to.timeline.drift_ms(),
            traceparent: advance.traceparent.clone(),
        };
        let closes = is_backfill && advance.gaps.is_empty();
        let closed = Event::GapClosed { session_id: self.session.to_string(), chunk_first, chunk_last };
        let events = std::iter::once(written).chain(closes.then_some(closed));
        self.move_on(state, advance, Checkpoint::commit, events).await
    }

    /// Moves the checkpoint behind a batch that is written or carried on, and tells of it.
    async fn move_on(
        &self,
        state: &mut State,
        advance: Advance,
        commit: fn(&mut Checkpoint, Advance) -> Vec<Gap>,
        events: impl IntoIterator<Item = Event>,
    ) -> Result<(), Stop> {
        let gaps = advance.gaps.clone();
        let withheld = withheld_by(&advance);
        let given_up = commit(&mut state.checkpoint, advance);
        self.park_withheld(&given_up).await?;
        self.save(state).await?;
        events.into_iter().for_each(|event| self.emit(event));
        self.report_gaps(&gaps, &given_up);
        self.report_withheld(&withheld);
        Ok(())
    }

    pub(crate) fn report_gaps(&self, opened: &[Gap], given_up: &[Gap]) {
        let session_id = || self.session.to_string();
        for gap in opened {
            let (chunk_first, chunk_last) = (gap.chunks.from, gap.chunks.last());
            self.emit(Event::GapOpened { session_id: session_id(), chunk_first, chunk_last });
        }
        for gap in given_up {
            let (chunk_first, chunk_last) = (gap.chunks.from, gap.chunks.last());
            self.emit(Event::GapGivenUp { session_id: session_id(), chunk_first, chunk_last });
        }
    }

    /// Tells of sound that is in the chunks and in no fragment.
    fn report_undecoded(&self, undecoded: &Undecoded, chunks: ChunkRange) {
        let session_id = || self.session.to_string();
        let (chunk_first, chunk_last) = (chunks.from, chunks.last());
        if !undecoded.audio_beside.is_empty() {
            self.emit(Event::SeveralAudioTracks {
                session_id: session_id(),
                codecs: undecoded.audio_beside.join(" "),
                chunk_first,
                message: "several audio tracks, the first Opus one is used",
            });
        }
        if undecoded.encrypted_blocks > 0 {
            let blocks = undecoded.encrypted_blocks;
            self.emit(Event::EncryptedBlocks { session_id: session_id(), blocks, chunk_first, chunk_last });
        }
    }

    /// A batch without audio of its own (a header, the middle of a packet, bytes before the place where decoding goes on)
    /// goes on in the snapshots; what it refused is parked.
    async fn carry(&self, state: &mut State, batch: &Batch<'_>, plan: Plan) -> Result<(), Stop> {
        self.park_refused_aside(batch, &plan).await?;
        self.save_snapshots(&plan.snapshots).await?;
        let chunks = plan.advance.chunks;
        self.move_on(state, plan.advance, Checkpoint::carry, []).await?;
        self.report_undecoded(&plan.undecoded, chunks);
        self.settle_pieces(batch, plan.refused).await
    }

    /// Settles the chunks of a committed batch; those it refused are parked first.
    async fn settle_written(
        &self,
        state: &State,
        batch: &Batch<'_>,
        plan: Plan,
        decoder: Decoder,
    ) -> Result<(), Stop> {
        if plan.advance.line == Line::Live
            && let Some((key, snapshot)) = plan.snapshots.into_iter().next_back()
            && state.checkpoint.live_snapshot.as_ref() == Some(&key)
        {
            self.writer.warm.put(&self.session, &key, Warm { snapshot, decoder: Some(decoder) });
        }
        self.settle_pieces(batch, plan.refused).await
    }

    async fn settle_pieces(&self, batch: &Batch<'_>, refused: Vec<(usize, Refusal)>) -> Result<(), Stop> {
        let is_refused = |i: usize| refused.iter().any(|(r, _)| *r == i);
        let is_whole = |i: usize, piece: &Piece| piece.ends_chunk() && !is_refused(i);
        let taken = batch.pieces.iter().enumerate().filter(|(i, piece)| is_whole(*i, piece));
        self.settle(taken.map(|(_, piece)| &piece.record), Because::Written);
        for (i, refusal) in refused {
            let piece = &batch.pieces[i];
            if !piece.set_aside {
                self.park_pieces(&[piece], Reason::Refused(refusal), 1, self.now()).await?;
            }
        }
        Ok(())
    }

    /// A failed attempt: given back with growing visibility, or parked once that has lasted long enough.
    async fn after_failure(
        &self,
        state: &mut State,
        batch: &Batch<'_>,
        plan: Plan,
        mut lease: Lease,
        failure: ServiceFailure,
    ) -> Result<(), Stop> {
        let now = self.now();
        let config = &self.writer.config;
        let failing_since = self.note_failure(state);
        if failure.is_connection_limit() {
            lease.attempt = lease.attempt.saturating_sub(1); // a connection that is gone may keep its place: only time tells
        }
        let spent = lease.attempt >= config.max_attempts
            || now.ms_since(failing_since) >= config.max_blocked_ms
            || now.ms_since(lease.first_attempt_at) >= config.max_blocked_ms;
        if spent || failure.class() == Class::Lasting {
            return self.park_batch(state, batch, plan, &lease, Reason::Service(failure)).await;
        }
        (lease.expires_at, lease.failure) = (now, Some(failure.brief()));
        let seconds = match lease.tries.is_empty() {
            true => 1 << lease.attempt.clamp(1, 4).saturating_sub(1),
            false => 1, // the stream is asked again
        };
        state.checkpoint.lease = Some(lease);
        self.save(state).await?;
        Err(Stop::Failed { failure, seconds: Some(seconds) })
    }
}
