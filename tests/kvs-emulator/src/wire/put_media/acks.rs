//! How acknowledgements are put on the wire: when they are due; whole, byte by byte, merged, or not at all.

use crate::faults::FaultKind;
use crate::recorder::Recording;
use crate::rules::ack::Ack;
use crate::wire::body::Writer;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Whole,
    Split,
    Merged,
    Silent,
}

/// Sends the acknowledgements of one connection.
pub(super) struct Acks {
    mode: Mode,
    /// By the time they are due, and in the order they came.
    waiting: BTreeMap<(u64, u64), Ack>,
    count: u64,
    hold_ms: u64,
    merged: Vec<u8>,
    writer: Writer,
    recording: Recording,
}

impl Acks {
    pub(super) fn new(faults: &[FaultKind], writer: Writer, recording: Recording) -> Self {
        let mode = faults.iter().find_map(|fault| match fault {
            FaultKind::NoAcks { .. } => Some(Mode::Silent),
            FaultKind::SplitAcks => Some(Mode::Split),
            FaultKind::MergeAcks => Some(Mode::Merged),
            _ => None,
        });
        let hold_ms =
            faults.iter().map(|fault| if let FaultKind::HoldAcks { ms } = fault { *ms } else { 0 }).sum();
        let mode = mode.unwrap_or(Mode::Whole);
        Self { mode, waiting: BTreeMap::new(), count: 0, hold_ms, merged: Vec::new(), writer, recording }
    }

    /// True if nothing will ever be sent.
    pub(super) fn silent(&self) -> bool {
        self.mode == Mode::Silent
    }

    /// Has an ack sent at `due_ms`, or later if a fault holds it back.
    pub(super) fn push(&mut self, ack: Ack, due_ms: u64) {
        self.count += 1;
        self.waiting.insert((due_ms.saturating_add(self.hold_ms), self.count), ack);
    }

    /// When the next ack is due.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.waiting.first_key_value().map(|((due_ms, _), _)| *due_ms)
    }

    /// Takes the next ack if it is due.
    pub(super) fn pop(&mut self, now_ms: u64) -> Option<Ack> {
        self.due_ms().filter(|due_ms| *due_ms <= now_ms)?;
        self.waiting.pop_first().map(|(_, ack)| ack)
    }

    /// Sends an ack now; that the client is gone shows in [`gone`](Self::gone).
    pub(super) async fn send(&mut self, ack: &Ack) {
        let line = ack.line();
        if self.mode != Mode::Silent {
            self.recording.ack(&line);
        }
        match self.mode {
            Mode::Silent => {}
            Mode::Whole => drop(self.writer.send(line).await),
            Mode::Split => {
                for byte in line.into_bytes() {
                    if !self.writer.send(vec![byte]).await {
                        return;
                    }
                    // Lets the connection flush this byte before the next one is there.
                    tokio::task::yield_now().await;
                }
            }
            Mode::Merged => {
                self.merged.extend_from_slice(line.as_bytes());
                if matches!(ack.event_type.as_str(), "PERSISTED" | "ERROR" | "IDLE") {
                    self.flush().await;
                }
            }
        }
    }

    /// Sends what was merged so far.
    pub(super) async fn flush(&mut self) {
        if !self.merged.is_empty() {
            self.writer.send(std::mem::take(&mut self.merged)).await;
        }
    }

    /// Cuts the connection after what was sent.
    pub(super) async fn cut(&self) {
        self.writer.cut().await;
    }

    /// Waits until the client is gone.
    pub(super) async fn gone(&self) {
        self.writer.gone().await;
    }
}
