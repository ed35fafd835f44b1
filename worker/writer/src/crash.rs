//! Sessions whose work ends without an answer: a panic, or the end of the whole process.
//!
//! A defect that one session's chunks bring to light is that session's alone. A panic is caught and counted. The end of a process
//! (memory, a time-out in code that does not yield) nobody can catch: what was delivered over and over is therefore counted in
//! the state *before* it is worked on, and counted off when the work has come to any end. After [`MAX_CRASHES`] in a row the
//! chunks at hand are parked. An attempt that has a lease is counted by that as well.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::future::FutureExt as _;
use ingest::batch::Because;
use ingest::message::{Chunk, Entry};
use ingest::piece::Piece;

use crate::event::Event;
use crate::hand_back::Stop;
use crate::park::Reason;
use crate::ports::Ports;
use crate::session::SessionWork;
use crate::state::State;

/// Workers that may end in a row over the same session.
const MAX_CRASHES: u32 = 3;
/// A chunk that is delivered for the so manieth time may have ended its workers: deferrals explain a few deliveries.
const SUSPICIOUS_DELIVERIES: u32 = 6;

impl<P: Ports> SessionWork<'_, P> {
    /// Works under a count that outlives the process where the chunks have been delivered suspiciously often. Chunks that end their
    /// workers, or that the store will never take, are parked.
    pub(crate) async fn guarded(&self, entries: &mut Vec<Entry>, keeps_some: &mut bool) -> Result<(), Stop> {
        let deliveries = entries.iter().map(|entry| entry.record().receive_count).max();
        let suspicious = deliveries >= Some(SUSPICIOUS_DELIVERIES);
        if suspicious && self.count_crash(entries).await? {
            return Ok(());
        }
        let result = match AssertUnwindSafe(self.work(entries, keeps_some)).catch_unwind().await {
            Ok(result) => result,
            Err(panic) => {
                let message = text(panic.as_ref());
                self.emit(Event::Crashed { session_id: self.session.to_string(), message: message.clone() });
                if !suspicious && self.count_crash(entries).await? {
                    return Ok(());
                }
                return Err(Stop::Crashed(message));
            }
        };
        if suspicious {
            self.survived().await?;
        }
        match result {
            Err(Stop::Failed { failure, .. }) if failure.refuses_item() => {
                let page = self.load().await.map_or(0, |state| state.checkpoint.live.numbering);
                self.park_entries(entries, page, Reason::Service(failure)).await
            }
            result => result,
        }
    }

    /// Counts a worker that ended, or may be about to. After a few in a row the chunks at hand are parked: `true`.
    async fn count_crash(&self, entries: &[Entry]) -> Result<bool, Stop> {
        let mut state = self.load().await?;
        let crashes = state.checkpoint.crashes;
        if crashes >= MAX_CRASHES {
            let page = state.checkpoint.live.numbering;
            self.park_entries(entries, page, Reason::Crashed { attempts: crashes }).await?;
            self.count(&mut state, 0).await?;
            return Ok(true);
        }
        self.count(&mut state, crashes + 1).await?;
        Ok(false)
    }

    /// The work has come to an end, whatever came of it.
    async fn survived(&self) -> Result<(), Stop> {
        let mut state = self.load().await?;
        match state.checkpoint.crashes {
            0 => Ok(()),
            _ => self.count(&mut state, 0).await,
        }
    }

    async fn count(&self, state: &mut State, crashes: u32) -> Result<(), Stop> {
        state.checkpoint.crashes = crashes;
        self.save(state).await
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
