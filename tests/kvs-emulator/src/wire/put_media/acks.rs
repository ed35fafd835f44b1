//! How acknowledgements are put on the wire: whole, byte by byte, merged, or not at all.

use crate::faults::FaultKind;
use crate::rules::ack::Ack;
use crate::wire::body::Writer;

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
    held: Vec<u8>,
    writer: Writer,
}

impl Acks {
    pub(super) fn new(faults: &[FaultKind], writer: Writer) -> Self {
        let mode = faults.iter().find_map(|fault| match fault {
            FaultKind::NoAcks { .. } => Some(Mode::Silent),
            FaultKind::SplitAcks => Some(Mode::Split),
            FaultKind::MergeAcks => Some(Mode::Merged),
            _ => None,
        });
        Self { mode: mode.unwrap_or(Mode::Whole), held: Vec::new(), writer }
    }

    /// True if nothing will ever be sent.
    pub(super) fn silent(&self) -> bool {
        self.mode == Mode::Silent
    }

    /// Sends an ack; that the client is gone shows in [`gone`](Self::gone).
    pub(super) async fn send(&mut self, ack: &Ack) {
        let line = ack.line();
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
                self.held.extend_from_slice(line.as_bytes());
                if matches!(ack.event_type.as_str(), "PERSISTED" | "ERROR" | "IDLE") {
                    self.flush().await;
                }
            }
        }
    }

    /// Sends what was held back.
    pub(super) async fn flush(&mut self) {
        if !self.held.is_empty() {
            self.writer.send(std::mem::take(&mut self.held)).await;
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
