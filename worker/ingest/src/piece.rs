//! A chunk that has found its numbering.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::message::Chunk;
use crate::position::Place;

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
