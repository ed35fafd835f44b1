//! What a ledger says, as values.

use aws::parked_index::Entry;
use serde::Serialize;

use crate::ranges::Ranges;

/// The chunk of a parked message, as far as its note says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parked {
    /// Which numbering of chunkIndex; notes of older writers lack it.
    pub numbering: Option<u32>,
    /// Its chunkIndex.
    pub index: Option<u64>,
}

impl Parked {
    /// From a note.
    pub fn of(Entry { note, .. }: &Entry) -> Self {
        Self { numbering: note.numbering, index: note.chunk_index }
    }

    pub(super) fn may_be_of(&self, numbering: u32) -> bool {
        self.numbering.is_none_or(|own| own == numbering)
    }
}

/// What a time without audio is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum HoleKind {
    /// Nothing was recorded: the chunks before and after are neighbours.
    Pause,
    /// An open gap: its chunks may still come.
    Gap,
    /// Not known: fragments expired, or a gap was given up.
    Unknown,
}

/// A time without audio.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hole {
    /// From, epoch ms.
    pub from: u64,
    /// To.
    pub to: u64,
    /// What it is.
    pub kind: HoleKind,
}

/// One fragment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FragmentRow {
    /// `FragmentNumber`.
    pub number: String,
    /// Its first sample, epoch ms.
    pub at: u64,
    /// Its length, pauses inside included, ms.
    pub span_ms: u64,
    /// Its audio, 16 kHz samples.
    pub samples: u64,
    /// Which numbering of chunkIndex.
    pub numbering: Option<u32>,
    /// Its chunks, without those of open gaps.
    pub chunks: Ranges,
    /// It was written after fragments of later times; or nothing follows it, chunks were parked, and it was written long
    /// after the audio before it.
    pub backfilled: bool,
}

/// One open gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GapRow {
    /// Which numbering.
    pub numbering: u32,
    /// First chunk.
    pub chunk_first: u64,
    /// Last chunk.
    pub chunk_last: u64,
    /// Where its audio begins, epoch ms.
    pub begins_at: u64,
    /// Where the audio after it begins; `None` where nothing has been written after it.
    pub ends_at: Option<u64>,
    /// Where it ends as far as is known: there, or where its last chunk's audio does.
    pub until: u64,
    /// Chunks of it that are parked.
    pub parked: Ranges,
    /// Chunks of it that are nowhere.
    pub missing: Ranges,
}

impl GapRow {
    /// Whether the gap holds this chunkIndex.
    pub fn holds(&self, index: u64) -> bool {
        (self.chunk_first..=self.chunk_last).contains(&index)
    }
}

/// Where the chunks of one numbering are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChunkRow {
    /// Which numbering; counts page reloads.
    pub numbering: u32,
    /// One past the last chunk that the session has passed.
    pub next: u64,
    /// In a fragment.
    pub written: Ranges,
    /// In an open gap, and parked.
    pub parked: Ranges,
    /// In an open gap, and nowhere.
    pub missing: Ranges,
    /// Taken, but they cannot be decoded without the gap before them.
    pub held: Ranges,
    /// Their gap was given up.
    pub given_up: Ranges,
    /// None of that: their fragments expired.
    pub not_in_stream: Ranges,
    /// In two fragments that are not the same one.
    pub twice: Ranges,
}

/// What the time from the first chunk to the last one holds, ms. The parts add up to the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Time {
    /// First sample, epoch ms, written or in an open gap.
    pub from: u64,
    /// End of the last one.
    pub to: u64,
    /// With audio.
    pub audio_ms: u64,
    /// Paused.
    pub pause_ms: u64,
    /// In open gaps.
    pub gap_ms: u64,
    /// Where fragments expired or a gap was given up.
    pub unknown_ms: u64,
    /// With the audio of two fragments at once; counted as audio once.
    pub overlap_ms: u64,
}

/// A session's ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// Of all time.
    pub time: Time,
    /// Every time without audio.
    pub holes: Vec<Hole>,
    /// In the order of time.
    pub fragments: Vec<FragmentRow>,
    /// Open gaps.
    pub gaps: Vec<GapRow>,
    /// By numbering.
    pub chunks: Vec<ChunkRow>,
    /// Parked messages that belong to no gap, by index: refused ones, late ones, ends.
    pub parked_elsewhere: Ranges,
    /// Parked messages without an index.
    pub parked_without_index: usize,
}

impl Ledger {
    /// Whether nothing is missing, parked, unknown or there twice.
    pub fn is_whole(&self) -> bool {
        let whole = |row: &ChunkRow| row.twice.is_empty() && row.given_up.is_empty();
        self.gaps.is_empty()
            && self.time.unknown_ms == 0
            && self.time.overlap_ms == 0
            && self.parked_elsewhere.is_empty()
            && self.parked_without_index == 0
            && self.chunks.iter().all(whole)
    }
}
