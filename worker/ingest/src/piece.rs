//! A chunk that has found its numbering, and its place there.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use media::demux::{Demuxer, Item, starts_recording};
use serde::{Deserialize, Serialize};

use crate::message::Chunk;

/// A chunk with its place in the session's numbering; a copy shares the chunk's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which numbering.
    pub numbering: u32,
    /// Its message is acknowledged; the state keeps it until its turn comes.
    pub set_aside: bool,
    /// What was added to its capture time, where the speaker's clock was set back before.
    pub clock_ms: i64,
    /// The chunk.
    pub chunk: Arc<Chunk>,
}

impl Piece {
    /// The chunk in this numbering.
    pub fn new(numbering: u32, chunk: Chunk) -> Self {
        Self::of(numbering, Arc::new(chunk))
    }

    /// The chunk in this numbering.
    pub fn of(numbering: u32, chunk: Arc<Chunk>) -> Self {
        Self { numbering, set_aside: false, clock_ms: 0, chunk }
    }

    /// Its own place.
    pub fn place(&self) -> Place {
        Place { numbering: self.numbering, next: self.index }
    }

    /// Whether the chunk can be the first of a numbering.
    pub fn opens(&self) -> bool {
        self.index == 0 && self.audio.as_ref().is_ok_and(|bytes| starts_recording(bytes))
    }

    /// The recording that the chunk begins.
    pub fn recording(&self) -> Option<String> {
        self.items().into_iter().find_map(|item| match item {
            Item::RecordingStart(head) => Some(head.id),
            _ => None,
        })
    }

    /// Whether the chunk, which begins a recording, holds audio of it.
    pub fn holds_audio(&self) -> bool {
        self.items().iter().any(|item| matches!(item, Item::Packet(_)))
    }

    fn items(&self) -> Vec<Item> {
        self.audio.as_ref().map(|bytes| Demuxer::new().push(bytes)).unwrap_or_default()
    }
}

impl Deref for Piece {
    type Target = Chunk;
    fn deref(&self) -> &Chunk {
        &self.chunk
    }
}

impl DerefMut for Piece {
    fn deref_mut(&mut self) -> &mut Chunk {
        Arc::make_mut(&mut self.chunk)
    }
}

/// Before chunk `next` of a numbering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
