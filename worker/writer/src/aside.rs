//! Setting chunks aside: they are acknowledged once the state holds them, so that the queue shows the chunks behind them.

use ingest::aside::Aside;
use ingest::batch::Because;
use ingest::message::{Entry, Record};
use ingest::piece::Piece;
use ingest::snapshot::SnapshotKey;
use ingest::sort::Sorted;

use crate::event::Event;
use crate::park::Reason;
use crate::ports::{Ports, Store as _};
use crate::state::State;
use crate::stop::Stop;
use crate::work::SessionWork;
use crate::writer::{Delivered, lock};

/// Delay until the session is looked at again while chunks are set aside and no other message brings it back.
const WAKE_SECONDS: u32 = 1;

impl<P: Ports> SessionWork<'_, P> {
    /// The chunks that are set aside.
    pub(crate) async fn load_aside(&self, state: &mut State) -> Result<Vec<Piece>, Stop> {
        let mut pieces = Vec::new();
        let keys: Vec<SnapshotKey> = state.checkpoint.aside.keys().cloned().collect();
        for key in &keys {
            if let Some(known) = self.writer.warm.aside(&self.session, key) {
                pieces.extend(known);
                continue;
            }
            let stored = self.writer.ports.store().load_snapshot(&self.session, key.as_str()).await?;
            let Some(stored) = stored else {
                tracing::error!(session = %self.session, %key, "chunks that were set aside are no longer stored");
                state.checkpoint.aside.forget(key);
                continue;
            };
            let item = ingest::aside::decode(&stored).map_err(|e| Stop::Unreadable(e.to_string()))?;
            self.writer.warm.put_aside(&self.session, key, item.clone());
            pieces.extend(item);
        }
        Ok(pieces)
    }

    /// Keeps what is set aside as it is sorted now, if some of it has turned out to be a later page's.
    pub(crate) async fn keep_numbering(&self, state: &mut State, sorted: &Sorted) -> Result<(), Stop> {
        if !sorted.renumbered {
            return Ok(());
        }
        let aside: Vec<&Piece> = sorted.live.iter().filter(|piece| piece.set_aside).collect();
        state.checkpoint.aside = Aside::default();
        self.store_aside(state, &aside).await
    }

    /// Stores chunks, and lists them in the checkpoint.
    async fn store_aside(&self, state: &mut State, pieces: &[&Piece]) -> Result<(), Stop> {
        let keep_seconds = self.writer.config.gap_snapshot_seconds;
        for (key, item) in state.checkpoint.aside.take(pieces) {
            let store = self.writer.ports.store();
            store.save_snapshot(&self.session, key.as_str(), &item, keep_seconds).await?;
        }
        self.save(state).await
    }

    /// Parks what is set aside, and takes it off the list.
    pub(crate) async fn park_aside(&self, state: &mut State, reason: &Reason) -> Result<(), Stop> {
        let pieces = self.load_aside(state).await?;
        self.park_all(&pieces, reason.clone()).await?;
        state.checkpoint.aside = Aside::default();
        Ok(())
    }

    /// Parks what is delivered with all that is set aside, if the queue would soon move what is delivered: then nothing would be left
    /// that brings the session back to the rest.
    pub(crate) async fn give_up(&self, entries: &[Entry], stop: Option<&Stop>) -> Result<bool, Stop> {
        let open = entries.iter().map(Entry::record).filter(|record| !self.is_settled(record));
        let receives = open.map(|record| record.receive_count).max().unwrap_or_default();
        if receives < self.writer.config.last_receive {
            return Ok(false);
        }
        let mut state = self.load().await?;
        if state.checkpoint.aside.is_empty() {
            return Ok(false);
        }
        let why = stop.map_or_else(String::new, |stop| format!(": {}", stop.told().message));
        self.park_all_there_is(&mut state, entries, Reason::ReceivedTooOften { receives, why }).await?;
        Ok(true)
    }

    /// Sets all delivered ones of `pieces` aside but the newest, which brings the next delivery at once. What stays hidden of the
    /// session, a marker too, holds up all behind it.
    pub(crate) async fn set_aside(
        &self,
        state: &mut State,
        pieces: &[Piece],
        ends: &[Record],
    ) -> Result<(), Stop> {
        let mut delivered: Vec<&Piece> = pieces.iter().filter(|piece| !piece.set_aside).collect();
        let newest = delivered.iter().map(|piece| piece.record.sequence_number).max();
        delivered.retain(|piece| Some(piece.record.sequence_number) != newest);
        if !delivered.is_empty() {
            self.store_aside(state, &delivered).await?;
            self.settle(delivered.iter().map(|piece| &piece.record), Because::SetAside);
            self.emit(Event::SetAside {
                session_id: self.session.to_string(),
                messages: delivered.len() as u64,
                chunk_first: delivered.iter().map(|piece| piece.index).min(),
                chunk_last: delivered.iter().map(|piece| piece.index).max(),
                in_all: state.checkpoint.aside.chunks(),
            });
        }
        let newest = pieces.iter().filter(|piece| !self.is_settled(&piece.record) && !piece.set_aside);
        self.hide(newest.map(|piece| &piece.record).chain(ends), 0).await;
        Ok(())
    }

    /// Chunks are set aside, and no message may be left that would bring the session back to them: one of the delivered ones then
    /// stays in the queue for it, although it is settled.
    pub(crate) async fn stay_awake(&self, delivered: &[Delivered]) {
        let last = {
            let mut settled = lock(self.settled);
            let all_settled = delivered.iter().all(|message| settled.holds(&message.id));
            let Some(last) = delivered.last().filter(|_| all_settled) else { return };
            settled.withdraw(&last.id);
            last
        };
        self.hide_handles(vec![last.receipt_handle.clone()], WAKE_SECONDS).await;
    }
}
