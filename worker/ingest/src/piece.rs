//! A chunk that has found its numbering, and its place there.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use media::demux::{Demuxer, Item, starts_recording};
use media::hash::Fnv;
use media::time::{EpochMs, Samples};
use serde::{Deserialize, Serialize};

use crate::message::{Chunk, Format};
use crate::schema::is_default;

/// A chunk with its place in the session's numbering; a copy shares the chunk's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which numbering.
    pub numbering: u32,
    /// Its message is acknowledged; the state keeps it until its turn comes.
    pub set_aside: bool,
    /// What of the chunk; all that is left of it if this is `None`.
    pub head: Option<Head>,
    /// What was added to its capture time, where the speaker's clock was set back before.
    pub clock_ms: i64,
    /// The chunk.
    pub chunk: Arc<Chunk>,
}

/// The beginning of a chunk that is too long for one fragment, or of what is left of one. The rest follows as another piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Where in the chunk's bytes it ends; with `packets`, where the block or page begins that it ends in.
    pub until: usize,
    /// How many packets of that block or page are passed: one may hold more audio than a fragment.
    #[serde(default, skip_serializing_if = "is_default")]
    pub packets: usize,
    /// The audio of the rest.
    pub behind: Samples,
}

impl Piece {
    /// The chunk in this numbering.
    pub fn new(numbering: u32, chunk: Chunk) -> Self {
        Self::of(numbering, Arc::new(chunk))
    }

    /// The chunk in this numbering.
    pub fn of(numbering: u32, chunk: Arc<Chunk>) -> Self {
        Self { numbering, set_aside: false, clock_ms: 0, head: None, chunk }
    }

    /// Its own place.
    pub fn place(&self) -> Place {
        Place { numbering: self.numbering, next: self.index }
    }

    /// The recording that begins with this chunk, where it is plain samples: no header names it, so its bytes do.
    pub fn begins_pcm(&self) -> Option<String> {
        let bytes = self.audio.as_ref().ok().filter(|bytes| !bytes.is_empty())?;
        (self.format == Format::Pcm).then(|| Fnv::of(bytes).to_string())
    }

    /// Whether nothing of the chunk comes behind this.
    pub fn ends_chunk(&self) -> bool {
        self.head.is_none()
    }

    /// When the speaker's clock says that its audio ended, about.
    pub fn ended_at(&self) -> EpochMs {
        let behind = self.head.map_or(Samples(0), |head| head.behind);
        EpochMs(self.captured_at.0.saturating_sub(behind.ms_floor()))
    }

    /// Whether the chunk can be the first of a numbering.
    pub fn opens(&self) -> bool {
        self.index == 0 && (self.begins_pcm().is_some() || self.starts_recording())
    }

    /// Whether the chunk has no bytes.
    pub fn is_empty(&self) -> bool {
        self.audio.as_ref().is_ok_and(|bytes| bytes.is_empty())
    }

    /// Whether the chunk begins with a recording's header.
    pub fn starts_recording(&self) -> bool {
        self.audio.as_ref().is_ok_and(|bytes| starts_recording(bytes))
    }

    /// The recording that the chunk begins.
    pub fn recording(&self) -> Option<String> {
        let begun = |item| match item {
            Item::RecordingStart(head) => Some(head.id),
            _ => None,
        };
        self.begins_pcm().or_else(|| self.items().into_iter().find_map(begun))
    }

    /// Whether the chunk, which begins a recording, holds audio of it.
    pub fn holds_audio(&self) -> bool {
        self.begins_pcm().is_some() || self.items().iter().any(|item| item.packet().is_some())
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
    /// The place behind a chunk; before it, while more of it follows.
    pub fn behind(piece: &Piece) -> Self {
        let next = piece.index.saturating_add(u64::from(piece.ends_chunk()));
        Self { numbering: piece.numbering, next }
    }

    /// Whether nothing is missing before the chunk: it is the numbering's next one, or a later numbering's first.
    pub fn leads_to(self, piece: &Piece) -> bool {
        (piece.numbering, piece.index) == (self.numbering, self.next)
            || (piece.numbering > self.numbering && piece.index == 0)
    }
}
