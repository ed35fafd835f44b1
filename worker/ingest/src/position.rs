//! Where a session stands in its speaker's chunks: the one home of what follows what.

use media::time::EpochMs;
use serde::{Deserialize, Serialize};

use crate::piece::Piece;
use crate::timeline::Timeline;

/// Before chunk `next` of a numbering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The numbering: chunkIndex begins again at 0 when the page is reloaded, and each time this counts up.
    pub numbering: u32,
    /// The next chunkIndex of it.
    pub next: u64,
}

impl Place {
    /// The place behind a chunk.
    pub fn behind(piece: &Piece) -> Self {
        Self { numbering: piece.numbering, next: piece.index.saturating_add(1) }
    }

    /// Whether nothing is missing before the chunk: it is the numbering's next one, or a later numbering's first.
    pub fn leads_to(self, piece: &Piece) -> bool {
        (piece.numbering, piece.index) == (self.numbering, self.next)
            || (piece.numbering > self.numbering && piece.index == 0)
    }
}

/// All that is known of the session before a chunk, but for the media bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The current numbering.
    pub numbering: u32,
    /// The next chunkIndex of it.
    pub next: u64,
    /// Capture time of the numbering's first chunk.
    pub numbering_began: EpochMs,
    /// The latest capture time passed.
    pub last_captured: EpochMs,
    /// The highest queue sequence number passed.
    pub last_sequence: u128,
    /// The last chunk's connection, where messages tell.
    pub connection_id: Option<String>,
    /// The last recording.
    pub recording: Option<String>,
    /// The recording that the numbering's chunk 0 began.
    #[serde(default)]
    pub opened_by: Option<String>,
    /// The audio's place in time.
    pub timeline: Timeline,
}

impl Position {
    /// The place in the chunks alone.
    pub fn place(&self) -> Place {
        Place { numbering: self.numbering, next: self.next }
    }

    /// Whether no chunk was ever passed.
    pub fn is_fresh(&self) -> bool {
        self.next == 0 && self.last_sequence == 0
    }

    /// Another page begins, at its chunk 0.
    pub fn begin_page(&mut self, numbering: u32, captured_at: EpochMs) {
        self.numbering = numbering;
        self.next = 0;
        self.numbering_began = captured_at;
        self.opened_by = None;
    }

    /// Moves behind a chunk, which began `recording` if any.
    pub fn pass(&mut self, piece: &Piece, recording: Option<String>) {
        if self.numbering != piece.numbering {
            self.begin_page(piece.numbering, piece.captured_at);
        }
        if self.is_fresh() {
            self.numbering_began = piece.captured_at;
        } else if self.next == 0 && piece.audio.is_ok() {
            // A page's first chunks came back.
            self.numbering_began = self.numbering_began.min(piece.captured_at);
        }
        if piece.index == 0 {
            self.opened_by.clone_from(&recording);
        }
        self.next = Place::behind(piece).next;
        self.last_captured = self.last_captured.max(piece.captured_at);
        self.last_sequence = self.last_sequence.max(piece.record.sequence_number);
        self.connection_id = piece.connection_id.clone().or(self.connection_id.take());
        self.recording = recording.or(self.recording.take());
    }
}
