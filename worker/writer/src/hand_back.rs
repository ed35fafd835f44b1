//! Records that stay in the queue: deferred because a batch is not ripe, given back because something failed.

use ingest::decide::Why;
use ingest::message::{Entry, Record};
use ingest::piece::Piece;
use media::time::EpochMs;

use crate::event::Event;
use crate::ports::{Ports, Queue as _};
use crate::stop::{Stop, Told};
use crate::work::SessionWork;

/// The longest that chunks are given back for while a service is away.
const MAX_AWAY_SECONDS: u32 = 300;

impl<P: Ports> SessionWork<'_, P> {
    /// Hands a batch that is not ripe back for a moment.
    pub(crate) async fn defer(&self, pieces: &[Piece], ends: &[Record], seconds: u32, why: Why) {
        let records = pieces.iter().filter(|p| !p.set_aside).map(|p| &p.record).chain(ends);
        let records = self.hide(records, seconds).await;
        let (chunk_first, chunk_last) = (pieces.first().map(|p| p.index), pieces.last().map(|p| p.index));
        let session_id = self.session.to_string();
        let why = why.as_str();
        self.emit(Event::Deferred { session_id, records, seconds, why, chunk_first, chunk_last });
    }

    /// Gives all that is not settled back to the queue.
    pub(crate) async fn give_back(&self, entries: &[Entry], stop: &Stop) {
        if let Stop::Unreadable(why) = stop {
            tracing::error!(session = %self.session, why, "the session's state cannot be read");
        }
        let seconds = stop.seconds().unwrap_or_else(|| growing_seconds(entries, self.now()));
        let indices = || entries.iter().filter_map(Entry::index);
        let (chunk_first, chunk_last) = (indices().min(), indices().max());
        let open: Vec<&Record> = entries.iter().map(Entry::record).filter(|r| !self.is_settled(r)).collect();
        let records = self.hide(open.into_iter(), seconds).await;
        let Told { class, reason, message } = stop.told();
        let session_id = self.session.to_string();
        self.emit(Event::GivenBack {
            session_id,
            records,
            seconds,
            chunk_first,
            chunk_last,
            class,
            reason,
            message,
        });
    }

    /// Makes all records of the group invisible for the same time. If that fails, they become visible by the queue's own
    /// visibility time-out, later.
    pub(crate) async fn hide(&self, records: impl Iterator<Item = &Record>, seconds: u32) -> u64 {
        self.hide_handles(records.map(|r| r.receipt_handle.clone()).collect(), seconds).await
    }

    pub(crate) async fn hide_handles(&self, handles: Vec<String>, seconds: u32) -> u64 {
        if !handles.is_empty()
            && let Err(failure) = self.writer.ports.queue().hide(&handles, seconds).await
        {
            tracing::warn!(session = %self.session, %failure, "records could not be handed back early");
        }
        handles.len() as u64
    }
}

/// 1, 2, 4 s and so on: longer with each delivery, but no longer than half the time the chunks have already waited. After a short
/// failure they come back soon; one that lasts for hours does not use up the receives that the queue's redrive policy allows.
fn growing_seconds(entries: &[Entry], now: EpochMs) -> u32 {
    let deliveries = entries.iter().map(|entry| entry.record().receive_count).max().unwrap_or(1);
    let oldest = entries.iter().map(|entry| entry.record().sent_at).min().unwrap_or(now);
    let waited = u32::try_from(now.ms_since(oldest) / 2_000).unwrap_or(MAX_AWAY_SECONDS);
    (1 << deliveries.clamp(1, 16).saturating_sub(1)).min(waited).clamp(1, MAX_AWAY_SECONDS)
}
