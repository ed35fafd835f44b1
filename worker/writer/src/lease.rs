//! Leases: the write in progress, as whoever finds it can finish it without the chunks.
//!
//! The lease carries everything the commit will need, and its snapshots are stored before it. Whether its fragment is stored,
//! the stream tells: found is proof, not found is believed once the question was asked late enough.

use ingest::checkpoint::Lease;
use ingest::failure::ServiceFailure;
use ingest::plan::Plan;
use media::time::EpochMs;

use crate::ports::{Clock as _, Persisted, Ports, Streams as _};
use crate::state::State;
use crate::stop::Stop;
use crate::work::SessionWork;

/// Kept from the invocation's time while the stream is asked, to write down its answer.
const AFTER_PROBE_MS: u64 = 1_000;
/// The stream is asked again after this time.
const PROBE_EVERY_MS: u64 = 500;

/// What the stream says of a fragment.
pub(crate) enum Probed {
    /// It is there.
    Stored(Persisted),
    /// It is not, and will not come.
    Absent,
    /// The invocation's time is up before that is certain.
    TimeIsShort,
}

/// What has become of a lease left behind.
pub(crate) enum Resolved {
    /// There is none any more, or its fragment is surely not stored: it may be written.
    Clear,
    /// The stream could not be asked for longer than the bound: the batch is to be parked as it is.
    Unsure(Box<Lease>, ServiceFailure),
}

impl<P: Ports> SessionWork<'_, P> {
    /// The lease of this attempt: it counts on where the same chunks were leased before.
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
            surely_not_stored: false,
        }
    }

    /// A lease left behind: commits it if its fragment is stored.
    pub(crate) async fn resolve(&self, state: &mut State) -> Result<Resolved, Stop> {
        let Some(lease) = state.checkpoint.lease.clone().filter(|lease| !lease.surely_not_stored) else {
            return Ok(Resolved::Clear);
        };
        if self.now() < lease.expires_at {
            let seconds = lease.expires_at.ms_since(self.now()).div_ceil(1000) as u32;
            return Err(Stop::NotOurs { seconds });
        }
        let certain_at = EpochMs(lease.expires_at.0 + self.writer.config.probe_patience_ms);
        match self.probe(lease.advance.at, certain_at).await {
            Ok(Probed::Stored(found)) => {
                self.commit(state, lease, found, None).await?;
                Ok(Resolved::Clear)
            }
            Ok(Probed::Absent) => Ok(Resolved::Clear),
            Ok(Probed::TimeIsShort) => Err(Stop::TimeIsUp { seconds: Some(1) }),
            Err(failure) => {
                let since = self.failing_since(state).unwrap_or(lease.first_attempt_at);
                let blocked_ms = self.now().ms_since(since.min(lease.first_attempt_at));
                let left_ms = self.writer.config.max_blocked_ms.saturating_sub(blocked_ms);
                if left_ms == 0 {
                    return Ok(Resolved::Unsure(Box::new(lease), failure));
                }
                // Asked again soon: while the bound lasts, and at its end.
                let seconds = (blocked_ms / 2_000).clamp(1, left_ms.div_ceil(1_000)) as u32;
                Err(Stop::Failed { failure, seconds: Some(seconds) })
            }
        }
    }

    /// Asks the stream for the fragment of exactly this time until a negative answer can be believed.
    pub(crate) async fn probe(&self, at: EpochMs, certain_at: EpochMs) -> Result<Probed, ServiceFailure> {
        loop {
            // The clock first: an answer is believed for what was stored before the question.
            let asked_at = self.now();
            if let Some(found) = self.writer.ports.streams().find(&self.session, at).await? {
                return Ok(Probed::Stored(found));
            }
            if asked_at >= certain_at {
                return Ok(Probed::Absent);
            }
            let wait_ms = certain_at.ms_since(asked_at).min(PROBE_EVERY_MS);
            if self.remaining_ms() < wait_ms + AFTER_PROBE_MS {
                return Ok(Probed::TimeIsShort);
            }
            self.writer.ports.clock().sleep_ms(wait_ms).await;
        }
    }
}
