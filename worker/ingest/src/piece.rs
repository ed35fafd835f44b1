//! A chunk that has found its numbering, and its place there.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::message::Chunk;

/// A chunk with its place in the session's numbering; a copy shares the chunk's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which numbering.
    pub numbering: u32,
    /// Its message is acknowledged; the state keeps it until its turn comes.
    pub set_aside: bool,
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
        Self { numbering, set_aside: false, chunk }
    }

    /// Its own place.
    pub fn place(&self) -> Place {
        Place { numbering: self.numbering, next: self.index }
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
