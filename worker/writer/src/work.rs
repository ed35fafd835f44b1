//! The work on one session within one invocation, as its steps share it.

use std::sync::Mutex;

use ingest::batch::{Because, Settled};
use ingest::checkpoint::Line;
use ingest::fold::Folded;
use ingest::gap::Gap;
use ingest::message::{Record, SessionId};
use ingest::piece::Piece;
use ingest::snapshot::Snapshot;
use media::time::EpochMs;

use crate::event::{Event, Telemetry as _};
use crate::ports::{Clock as _, Ports};
use crate::writer::{Writer, lock};

/// What a turn has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Something was settled, so what is left has to be looked at again.
    Moved,
    /// What is left waits in the queue for more.
    Waits,
}

/// Chunks that go on from one place: the live audio's, or a gap's.
pub(crate) struct Batch<'a> {
    /// The gap they fill; none for live audio.
    pub(crate) gap: Option<&'a Gap>,
    pub(crate) pieces: &'a [Piece],
    /// What comes behind them.
    pub(crate) after: &'a [Piece],
    /// The place.
    pub(crate) start: Snapshot,
}

impl<'a> Batch<'a> {
    /// Live audio, or what fills a gap.
    pub(crate) fn of(gap: Option<&'a Gap>, pieces: &'a [Piece], start: Snapshot) -> Self {
        Self { gap, pieces, after: &[], start }
    }

    /// Keeps those of its pieces that were folded: the others are out of sight.
    pub(crate) fn keep(&mut self, folded: &Folded) -> &Self {
        self.pieces = &self.pieces[..folded.chunks.len()];
        self
    }

    /// Narrows it to its first pieces.
    pub(crate) fn narrow(&mut self, all: &'a [Piece], pieces: usize) {
        (self.pieces, self.after) = all.split_at(pieces);
    }

    /// The batch with all of its last chunk, if it ends inside one that is too long for a fragment.
    pub(crate) fn to_chunk_end(&self) -> Option<Vec<Piece>> {
        let rest =
            self.after.first().filter(|_| self.pieces.last().is_some_and(|last| !last.ends_chunk()))?;
        Some([self.pieces, std::slice::from_ref(rest)].concat())
    }

    pub(crate) fn line(&self) -> Line {
        self.gap.map_or(Line::Live, |gap| Line::Gap(gap.id()))
    }
}

/// The work on one session within one invocation.
pub(crate) struct SessionWork<'a, P> {
    pub(crate) writer: &'a Writer<P>,
    pub(crate) session: SessionId,
    pub(crate) stop_at: EpochMs,
    /// Which of this process's deliveries it is.
    pub(crate) delivery_number: u64,
    /// See [`Delivery::is_full`](ingest::backlog::Delivery::is_full).
    pub(crate) delivery_full: bool,
    /// All of the delivery is this session's.
    pub(crate) alone: bool,
    pub(crate) settled: &'a Mutex<Settled>,
}

impl<P: Ports> SessionWork<'_, P> {
    pub(crate) fn settle<'r>(&self, records: impl IntoIterator<Item = &'r Record>, because: Because) {
        let mut settled = lock(self.settled);
        records.into_iter().for_each(|record| settled.settle(record, because));
    }

    pub(crate) fn is_settled(&self, record: &Record) -> bool {
        lock(self.settled).holds(&record.message_id)
    }

    pub(crate) fn now(&self) -> EpochMs {
        self.writer.ports.clock().now()
    }

    pub(crate) async fn sleep_ms(&self, ms: u64) {
        self.writer.ports.clock().sleep_ms(ms).await;
    }

    pub(crate) fn remaining_ms(&self) -> u64 {
        self.stop_at.ms_since(self.now())
    }

    pub(crate) fn emit(&self, event: Event) {
        self.writer.ports.telemetry().emit(&event);
    }
}
