//! Leases: the write in progress, as whoever finds it can finish it without the chunks.
//!
//! The lease carries everything the commit will need, and its snapshots are stored before it. Whether its fragment is stored is
//! asked of the stream. A whole fragment is proof. "Not found" is believed once every try has had its time (`Config::certain_at`).

use ingest::checkpoint::{Advance, Checkpoint, Lease, Look};
use ingest::failure::ServiceFailure;
use ingest::gap::last_sent_by;
use ingest::plan::Plan;
use media::time::EpochMs;

use crate::event::Event;
use crate::park::Reason;
use crate::ports::{Found, Persisted, Ports, Streams as _};
use crate::state::State;
use crate::stop::Stop;
use crate::work::{Batch, SessionWork};

/// Kept from the invocation's time while the stream is asked, to write down its answer.
const AFTER_PROBE_MS: u64 = 1_000;
/// The stream is asked again after this time.
const PROBE_EVERY_MS: u64 = 500;
/// The service counts a fragment's length to the beginning of its last block, which has at most 100 ms.
const LAST_BLOCK_MS: u64 = 150;

/// What the stream says of a fragment.
pub(crate) enum Probed {
    /// It is there, whole.
    Stored(Persisted),
    /// It is not, and will not come.
    Absent,
    /// The invocation's time is up before that is certain.
    TimeIsShort,
    /// The session has waited long enough, and it is not certain yet.
    Overdue,
}

/// What has become of a lease left behind.
pub(crate) enum Resolved {
    /// There is none any more, or its fragment is surely not stored: it may be written.
    Clear,
    /// Its outcome was unknown for longer than the bound: the batch is to be parked as it is.
    Unsure(Box<Lease>, Reason),
}

impl<P: Ports> SessionWork<'_, P> {
    /// The lease of this attempt: it counts on where the same chunks were leased before, and remembers what may come of that.
    pub(crate) fn next_lease(&self, state: &State, plan: &Plan) -> Lease {
        let now = self.now();
        let before = state.checkpoint.lease.as_ref().filter(|before| {
            before.advance.line == plan.advance.line && before.advance.chunks.from == plan.advance.chunks.from
        });
        Lease {
            advance: plan.advance.clone(),
            attempt: before.map_or(1, |lease| lease.attempt + 1),
            first_attempt_at: before.map_or(now, |lease| lease.first_attempt_at),
            leased_at: now,
            expires_at: EpochMs(self.stop_at.0 + self.writer.config.answer_margin_ms),
            surely_not_stored: before.is_none_or(|lease| lease.surely_not_stored),
            tries: before.map(|lease| lease.tries.clone()).unwrap_or_default(),
            failure: None,
        }
    }

    /// A PutMedia may begin: the stored lease says until when its bytes may be on their way.
    pub(crate) async fn begin_try(
        &self,
        state: &mut State,
        lease: &mut Lease,
        prepared_in_ms: u64,
    ) -> Result<(), Stop> {
        let sent_by = self.now().plus_ms(prepared_in_ms + self.writer.config.put_within_ms);
        let stored = state.checkpoint.lease.as_ref().filter(|stored| stored.leased_at == lease.leased_at);
        let stored = stored.and_then(|stored| stored.tries.get(lease.tries.len()));
        match stored.filter(|one| one.sent_by >= sent_by) {
            Some(covers) => lease.begin_try(covers.sent_by),
            None => {
                lease.begin_try(sent_by);
                state.checkpoint.lease = Some(lease.clone());
                self.save(state).await?;
            }
        }
        Ok(())
    }

    /// A lease left behind: commits it if its fragment is stored.
    pub(crate) async fn resolve(&self, state: &mut State) -> Result<Resolved, Stop> {
        let Some(lease) = state.checkpoint.lease.clone() else { return Ok(Resolved::Clear) };
        let Some(sent_by) = lease.last_sent_by() else { return Ok(Resolved::Clear) };
        if self.now() < lease.expires_at {
            let seconds = lease.expires_at.ms_since(self.now()).div_ceil(1000) as u32;
            return Err(Stop::NotOurs { seconds });
        }
        let since = self.failing_since(state).unwrap_or(lease.first_attempt_at).min(lease.first_attempt_at);
        let until = since.plus_ms(self.writer.config.max_blocked_ms);
        match self.probe(&lease.advance, self.writer.config.certain_at(sent_by), until).await {
            Ok(Probed::Stored(found)) => {
                self.commit(state, lease, found, None).await?;
                Ok(Resolved::Clear)
            }
            Ok(Probed::Absent) => Ok(Resolved::Clear),
            Ok(Probed::TimeIsShort) => Err(Stop::TimeIsUp { seconds: Some(1) }),
            Ok(Probed::Overdue) => {
                let reason = overdue(&lease);
                Ok(Resolved::Unsure(Box::new(lease), reason))
            }
            Err(failure) => {
                let left_ms = until.ms_since(self.now());
                if left_ms == 0 {
                    return Ok(Resolved::Unsure(Box::new(lease), Reason::Service(failure)));
                }
                // Asked again soon: while the bound lasts, and at its end.
                let seconds = (self.now().ms_since(since) / 2_000).clamp(1, left_ms.div_ceil(1_000)) as u32;
                Err(Stop::Failed { failure, seconds: Some(seconds) })
            }
        }
    }

    /// Asks the stream for the batch's fragment until a negative answer can be believed, or `until` is over.
    pub(crate) async fn probe(
        &self,
        batch: &Advance,
        certain_at: EpochMs,
        until: EpochMs,
    ) -> Result<Probed, ServiceFailure> {
        loop {
            // The clock first: an answer is believed for what was stored before the question.
            let asked_at = self.now();
            let found = self.writer.ports.streams().find(&self.session, batch.at).await?;
            if let Some(whole) = found.into_iter().find(|found| is_whole(found, batch)) {
                let fragment_number = whole.fragment_number;
                return Ok(Probed::Stored(Persisted { fragment_number, acknowledged_after_ms: None }));
            }
            if asked_at >= certain_at {
                return Ok(Probed::Absent);
            }
            if asked_at >= until {
                return Ok(Probed::Overdue);
            }
            let wait_ms = certain_at.min(until).ms_since(asked_at).min(PROBE_EVERY_MS);
            if self.remaining_ms() < wait_ms + AFTER_PROBE_MS {
                return Ok(Probed::TimeIsShort);
            }
            self.sleep_ms(wait_ms).await;
        }
    }

    /// A batch that was tried more than once is committed: the other tries may still be stored, and are looked for later.
    pub(crate) fn note_looks(&self, state: &mut State, lease: &Lease, fragment_number: &str) {
        let Some((_, earlier)) = lease.tries.split_last().filter(|(_, earlier)| !earlier.is_empty()) else {
            return;
        };
        let last_sent_by = last_sent_by(earlier).unwrap_or_default();
        let config = &self.writer.config;
        let mut times: Vec<EpochMs> = lease.tries.iter().map(|one| one.at).collect();
        times.dedup();
        for at in times {
            state.checkpoint.look_again(Look {
                at,
                fragment_number: fragment_number.to_owned(),
                chunks: lease.advance.chunks,
                due_at: self.now().plus_ms(config.listed_within_ms),
                last_at: last_sent_by.plus_ms(config.last_look_ms),
            });
        }
    }

    /// Looks once more at what was written again: soon after the write, when nothing more can come, and at the session's end.
    pub(crate) async fn look_again(&self, state: &mut State, ends: bool) -> Result<(), Stop> {
        let (mut kept, mut looked) = (Vec::new(), false);
        for mut look in std::mem::take(&mut state.checkpoint.looks) {
            let now = self.now();
            if now < look.due_at && !ends {
                kept.push(look);
                continue;
            }
            let found = self.writer.ports.streams().find(&self.session, look.at).await.unwrap_or_default();
            let other = found.into_iter().find(|found| found.fragment_number != look.fragment_number);
            looked = true;
            if let Some(other) = other {
                self.emit(Event::FragmentTwice {
                    session_id: self.session.to_string(),
                    fragment_number: look.fragment_number,
                    other_fragment_number: other.fragment_number,
                    producer_timestamp_ms: look.at.0,
                    chunk_first: look.chunks.from,
                    chunk_last: look.chunks.last(),
                });
            } else if now < look.last_at {
                look.due_at = look.last_at;
                kept.push(look);
            }
        }
        state.checkpoint.looks = kept;
        if looked && state.checkpoint.lease.is_none() {
            self.save(state).await?;
        }
        Ok(())
    }
}

/// The lease of the batch's line, not all of whose chunks are at hand, if a fragment was sent: written with other chunks, a copy that came
/// late after all could not be told by them.
pub(crate) fn incomplete_lease<'s>(checkpoint: &'s Checkpoint, batch: &Batch<'_>) -> Option<&'s Lease> {
    checkpoint.lease.as_ref().filter(|lease| lease.advance.line == batch.line() && !lease.tries.is_empty())
}

/// Why a lease is parked that its session has waited for long enough.
pub(crate) fn overdue(lease: &Lease) -> Reason {
    let crashed = Reason::Crashed { attempts: lease.attempt };
    lease.failure.clone().map_or(crashed, Reason::Service)
}

/// Whether a fragment is all of the batch: a connection that broke inside the body may leave a beginning of it.
pub(crate) fn is_whole(found: &Found, batch: &Advance) -> bool {
    let length_ms = batch.until.ms_since(batch.at);
    found.bytes >= 2 * batch.samples.0 && found.length_ms + LAST_BLOCK_MS >= length_ms
}
