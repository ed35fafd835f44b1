//! Sessions whose work ends without an answer: a panic, or the end of the whole process.
//!
//! A defect that one session's chunks bring to light is that session's alone. A panic is caught and counted. The end of a process
//! (memory, a time-out in code that does not yield) cannot be caught: chunks whose deliveries lie suspiciously far apart
//! are therefore worked on under a mark in the state, which says until when its worker lives. A mark that outlives its worker counts as a crash.
//! The next one after [`MAX_CRASHES`] in a row parks the chunks at hand. An attempt that has a lease is counted by that as well.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::future::FutureExt as _;
use ingest::batch::Because;
use ingest::message::{Chunk, Entry, Record};
use ingest::piece::Piece;
use media::time::EpochMs;

use crate::event::Event;
use crate::park::Reason;
use crate::ports::Ports;
use crate::state::State;
use crate::stop::Stop;
use crate::work::SessionWork;

/// Workers that may end in a row over the same session.
const MAX_CRASHES: u32 = 3;
/// Deliveries from which on a chunk may be suspicious.
const SUSPICIOUS_DELIVERIES: u32 = 3;
/// Average time between its deliveries from which on it is: a deferral takes 6 s at most (but where audio would lie in the future),
/// the queue's VisibilityTimeout is 15 s.
const SUSPICIOUS_AWAY_MS: u64 = 8_000;

impl<P: Ports> SessionWork<'_, P> {
    /// Works under a mark where the chunks' deliveries are suspicious. Chunks that end their workers, or that the store
    /// will never take, are parked.
    pub(crate) async fn guarded(&self, entries: &mut Vec<Entry>, keeps_some: &mut bool) -> Result<(), Stop> {
        let suspicious = entries.iter().any(|entry| is_suspicious(entry.record(), self.now()));
        if suspicious && self.mark(entries).await? {
            return Ok(());
        }
        let result = match AssertUnwindSafe(self.work(entries, keeps_some)).catch_unwind().await {
            Ok(result) => result,
            Err(panic) => {
                let counted = self.count_panic(entries, keeps_some, text(panic.as_ref()));
                // What panics here, too, comes again uncounted.
                return AssertUnwindSafe(counted).catch_unwind().await.unwrap_or_else(|panic| {
                    Err(Stop::Crashed { message: text(panic.as_ref()), seconds: 1 })
                });
            }
        };
        if suspicious && let Err(stop) = self.unmark().await {
            tracing::warn!(session = %self.session, ?stop, "the mark of a worker that came through stays");
        }
        match result {
            Err(Stop::Failed { failure, .. }) if failure.refuses_item() => {
                *keeps_some = false;
                let mut state = self.load().await?;
                self.park_all_there_is(&mut state, entries, Reason::Service(failure)).await
            }
            result => result,
        }
    }

    async fn count_panic(
        &self,
        entries: &[Entry],
        keeps_some: &mut bool,
        message: String,
    ) -> Result<(), Stop> {
        let mut state = self.load().await?;
        self.end_own_lease(&mut state);
        let is_parked = self.count_crash(&mut state, entries, &message).await?;
        *keeps_some &= !is_parked;
        let seconds = 1 << state.checkpoint.crashes.saturating_sub(1);
        if is_parked { Ok(()) } else { Err(Stop::Crashed { message, seconds }) }
    }

    /// A panic while a batch was leased is a failed attempt at it, and nothing waits until this worker would have ended.
    fn end_own_lease(&self, state: &mut State) {
        let own = state.checkpoint.lease.as_mut().filter(|lease| lease.expires_at == self.ends_at());
        if let Some(lease) = own {
            lease.expires_at = self.now();
            self.note_failure(state);
        }
    }

    /// When this worker has ended at the latest.
    fn ends_at(&self) -> EpochMs {
        self.stop_at.plus_ms(self.writer.config.answer_margin_ms)
    }

    /// Marks the session as being worked on. A mark whose worker must have ended is one that died: `true` if that was once too often.
    async fn mark(&self, entries: &[Entry]) -> Result<bool, Stop> {
        let mut state = self.load().await?;
        match state.checkpoint.worked_on_until {
            Some(until) if self.now() < until => return Ok(false),
            Some(_) => {
                let message = "a worker ended without an answer";
                if self.count_crash(&mut state, entries, message).await? {
                    return Ok(true);
                }
            }
            None => {}
        }
        state.checkpoint.worked_on_until = Some(self.ends_at());
        self.save(&mut state).await?;
        Ok(false)
    }

    /// The work has come to an end, whatever came of it.
    async fn unmark(&self) -> Result<(), Stop> {
        let mut state = self.load().await?;
        if state.checkpoint.worked_on_until == Some(self.ends_at()) {
            (state.checkpoint.worked_on_until, state.checkpoint.crashes) = (None, 0);
            self.save(&mut state).await?;
        }
        Ok(())
    }

    /// Counts a worker that ended. After a few in a row the chunks at hand are parked, those that are set aside among them: `true`.
    async fn count_crash(&self, state: &mut State, entries: &[Entry], message: &str) -> Result<bool, Stop> {
        let session_id = self.session.to_string();
        self.emit(Event::Crashed { session_id, message: message.to_owned() });
        let crashes = state.checkpoint.crashes + 1;
        let too_often = crashes > MAX_CRASHES;
        if too_often {
            let reason = Reason::Crashed { attempts: crashes };
            self.park_aside(state, &reason).await?;
            self.park_entries(entries, state.checkpoint.live.numbering, reason).await?;
        }
        state.checkpoint.crashes = if too_often { 0 } else { crashes };
        state.checkpoint.worked_on_until = None;
        self.save(state).await?;
        Ok(too_often)
    }

    /// Parks what is set aside and what is delivered: where the store takes nothing more of the session, its list stays as it is, and
    /// what is written of it later is a duplicate in the DLQ.
    pub(crate) async fn park_all_there_is(
        &self,
        state: &mut State,
        entries: &[Entry],
        reason: Reason,
    ) -> Result<(), Stop> {
        if !state.checkpoint.aside.is_empty() {
            self.park_aside(state, &reason).await?;
            if let Err(stop) = self.save(state).await {
                tracing::warn!(session = %self.session, ?stop, "chunks that were set aside are parked and stay listed");
            }
        }
        self.park_entries(entries, state.checkpoint.live.numbering, reason).await
    }

    /// Parks the chunks that are delivered as they are, as the current page's: nothing was made of them. A marker among them ends
    /// nothing.
    async fn park_entries(&self, entries: &[Entry], page: u32, reason: Reason) -> Result<(), Stop> {
        let chunks = entries.iter().filter(|entry| !self.is_settled(entry.record())).filter_map(chunk);
        let pieces: Vec<Piece> = chunks.map(|chunk| Piece::of(page, chunk.clone())).collect();
        self.park_all(&pieces, reason).await?;
        let markers = entries.iter().filter(|entry| matches!(entry, Entry::End { .. }));
        self.settle(markers.map(Entry::record), Because::Ended);
        Ok(())
    }
}

fn is_suspicious(record: &Record, now: EpochMs) -> bool {
    let away = u64::from(record.receive_count.saturating_sub(1));
    record.receive_count >= SUSPICIOUS_DELIVERIES && now.ms_since(record.sent_at) >= away * SUSPICIOUS_AWAY_MS
}

fn chunk(entry: &Entry) -> Option<&Arc<Chunk>> {
    match entry {
        Entry::Chunk(chunk) => Some(chunk),
        Entry::End { .. } => None,
    }
}

/// What a panic says.
fn text(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| Some(panic.downcast_ref::<String>()?.as_str()));
    text.unwrap_or("a panic").chars().take(256).collect()
}
