//! Where a session stands in its speaker's chunks: the one home of what follows what.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use media::time::EpochMs;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::message::Format;
use crate::piece::{Head, Piece, Place};
use crate::schema::is_default;
use crate::timeline::Timeline;

/// All that is known of the session before a chunk, but for the media bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The current numbering.
    pub numbering: u32,
    /// The next chunkIndex of it.
    pub next: u64,
    /// What of that chunk is passed, where it is too long for one fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amid: Option<Head>,
    /// Capture time of the numbering's first chunk.
    pub numbering_began: EpochMs,
    /// The latest capture time passed.
    pub last_captured: EpochMs,
    /// The highest queue sequence number passed.
    pub last_sequence: u128,
    /// The last chunk's connection, if known.
    pub connection_id: Option<String>,
    /// The last recording.
    pub recording: Option<String>,
    /// The recording that the numbering's chunk 0 began.
    #[serde(default)]
    pub opened_by: Option<String>,
    /// The audio's place in time.
    pub timeline: Timeline,
    /// The last chunks passed; stored as what they are, so that others of an earlier version are not compared with them.
    #[serde(default, rename = "recent_crc", skip_serializing_if = "Recent::is_empty")]
    pub recent: Recent,
    /// The fingerprint of the numbering's chunk 0; 0 if it is not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub first: u32,
    /// The speaker's clock: capture times here are those of the one that was never set back.
    #[serde(default, skip_serializing_if = "Clock::is_unset")]
    pub clock: Clock,
}

/// A clock that is ahead of the queue's by more does not show the order of pages.
const MAX_AHEAD_MS: u64 = 24 * 3_600_000;

impl Position {
    /// The place in the chunks alone.
    pub fn place(&self) -> Place {
        Place { numbering: self.numbering, next: self.next }
    }

    /// Whether no chunk was ever passed.
    pub fn is_fresh(&self) -> bool {
        self.next == 0 && self.last_sequence == 0
    }

    /// How much later the page's chunks were captured than the ones before them, on average; `None` behind one chunk alone.
    pub(crate) fn pace_ms(&self) -> Option<u64> {
        self.last_captured.ms_since(self.numbering_began).checked_div(self.next.checked_sub(1)?)
    }

    /// Another page begins, at its chunk 0.
    pub fn begin_page(&mut self, numbering: u32, captured_at: EpochMs) {
        self.numbering = numbering;
        (self.next, self.amid) = (0, None);
        self.numbering_began = captured_at;
        (self.opened_by, self.first) = (None, 0);
        self.recent = Recent::default();
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
        if piece.index == 0 && self.passed_of(piece).is_none() {
            self.opened_by.clone_from(&recording);
            self.first = fingerprint(piece);
        }
        self.clock.note(piece.record.sequence_number, piece.clock_ms);
        self.recording = recording.or(self.recording.take());
        self.meet(piece);
        match piece.head {
            Some(_) => self.recent.go_to(self.next, piece.index),
            None => self.recent.note(self.next, piece),
        }
        (self.next, self.amid) = (Place::behind(piece).next, piece.head);
    }

    /// Notes a chunk that lies before others that are passed: it was captured later than they were, or is sent again.
    pub(crate) fn note_between(&mut self, piece: &Piece) {
        self.meet(piece);
        self.recent.fill(self.next, piece);
    }

    /// What a chunk tells wherever it lies.
    fn meet(&mut self, piece: &Piece) {
        self.last_sequence = self.last_sequence.max(piece.record.sequence_number);
        self.connection_id = piece.connection_id.clone().or(self.connection_id.take());
        let captured_at = piece.ended_at().min(piece.record.sent_at.plus_ms(MAX_AHEAD_MS));
        self.last_captured = self.last_captured.max(captured_at);
    }

    /// What of a chunk is passed.
    pub fn passed_of(&self, piece: &Piece) -> Option<Head> {
        self.amid.filter(|_| self.place() == piece.place())
    }

    /// Whether the chunk's bytes were passed with its index, where that is known. A header alone may be the same in each of a
    /// page's recordings.
    pub fn has_passed(&self, piece: &Piece) -> Option<bool> {
        let same = self.recent.is_same(self.next, piece).or_else(|| self.is_first_again(piece))?;
        (!same || !piece.opens() || piece.holds_audio()).then_some(same)
    }

    /// Whether a chunk with this index would still be known by its bytes, had it been passed and had it any sound of its own.
    pub(crate) fn is_recent(&self, index: u64) -> bool {
        self.next.saturating_sub(index) <= RECENT as u64
    }

    /// Whether the chunk is the numbering's chunk 0, from long ago. Over another connection that is not asked: what follows it
    /// could not be told from another page's.
    fn is_first_again(&self, piece: &Piece) -> Option<bool> {
        let same_connection = self.connection_id.is_some() && self.connection_id == piece.connection_id;
        let is_known = piece.index == 0 && self.first != 0 && same_connection;
        (is_known && self.first == fingerprint(piece)).then_some(true)
    }

    /// Whether another chunk than this was passed with its index, as far as is known.
    pub fn has_passed_another(&self, piece: &Piece) -> bool {
        self.has_passed(piece) == Some(false) || self.opened_otherwise(piece)
    }

    /// Whether the chunk opens another recording than the numbering's chunk 0 did.
    pub fn opened_otherwise(&self, piece: &Piece) -> bool {
        let opened = self.opened_by.as_ref();
        piece.index == 0 && opened.is_some() && piece.recording().is_some_and(|new| Some(&new) != opened)
    }

    /// The latest capture time of a chunk that is passed, or of the one that this stands inside.
    pub fn captured_to(&self) -> EpochMs {
        self.amid.map_or(self.last_captured, |head| self.last_captured.plus_ms(head.behind.ms_ceil()))
    }
}

/// How many chunks are known by their bytes.
const RECENT: usize = 64;

/// Fingerprints of the last chunks passed, up to the one before [`Position::next`]. They distinguish a chunk that was sent again,
/// even with a new time, from another page's chunk with the same index. Stored as base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Recent(VecDeque<u32>);

impl Recent {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the chunk has the bytes of the one that was passed with its index; `None` where that is not known. `next` is the
    /// place's next index.
    pub fn is_same(&self, next: u64, piece: &Piece) -> Option<bool> {
        let known = *self.0.get(self.slot(next, piece)?)?;
        let own = fingerprint(piece);
        (known != 0 && own != 0).then_some(known == own)
    }

    /// Where the chunk's fingerprint is, or would be.
    fn slot(&self, next: u64, piece: &Piece) -> Option<usize> {
        let back = usize::try_from(next.checked_sub(piece.index)?).ok()?;
        self.0.len().checked_sub(back)
    }

    /// Notes a chunk that is passed at a place whose next index is `next`.
    fn note(&mut self, next: u64, piece: &Piece) {
        self.go_to(next, piece.index);
        self.0.push_back(fingerprint(piece));
        while self.0.len() > RECENT {
            self.0.pop_front();
        }
    }

    /// Notes a chunk that lies before others that are passed, if it is not known.
    fn fill(&mut self, next: u64, piece: &Piece) {
        let slot = self.slot(next, piece).and_then(|slot| self.0.get_mut(slot));
        if let Some(unknown) = slot.filter(|known| **known == 0) {
            *unknown = fingerprint(piece);
        }
    }

    /// What is passed ends before another chunk: forward over what is missing, or back.
    fn go_to(&mut self, next: u64, index: u64) {
        match usize::try_from(index.saturating_sub(next)).unwrap_or(usize::MAX) {
            missing if missing >= RECENT => self.0.clear(),
            missing => self.0.extend(std::iter::repeat_n(0, missing)),
        }
        let back = usize::try_from(next.saturating_sub(index)).unwrap_or(usize::MAX);
        if back > 0 {
            self.0.truncate(self.0.len().saturating_sub(back));
        }
    }
}

impl From<Recent> for String {
    fn from(recent: Recent) -> Self {
        let bytes: Vec<u8> = recent.0.into_iter().flat_map(u32::to_be_bytes).collect();
        STANDARD_NO_PAD.encode(bytes)
    }
}

impl TryFrom<String> for Recent {
    type Error = base64::DecodeError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = STANDARD_NO_PAD.decode(text)?;
        Ok(Self(bytes.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect()))
    }
}

/// CRC-32 of a chunk's bytes; 0 where they tell nothing: a byte alone and digital silence are the same on every page.
fn fingerprint(piece: &Piece) -> u32 {
    let is_silence = |bytes: &[u8]| piece.format == Format::Pcm && bytes.iter().all(|byte| *byte == bytes[0]);
    match &piece.audio {
        Ok(bytes) if bytes.len() > 1 && !is_silence(bytes) => crc32fast::hash(bytes).max(1),
        _ => 0,
    }
}
