//! Gaps: chunks that the session passed without writing them, and what is needed to write them later at their true time.
//!
//! ```text
//! chunks   ... 11 | 12 13 14 | 15 16 | 17 ...        snapshot: the media state before chunk 12
//!                 | the gap  | with- |               residue:  the bytes of 15 and 16 (they cannot be decoded without the
//!          written| lost or  | held  |written                  gap), and those of 17 before the place where decoding goes on
//!                 | parked   |       |               search:   goes_on_at 17, withheld_to 17
//! ```
//!
//! A gap opens where the live audio goes on behind a chunk that did not come (*lost*), was refused alone, or belongs to a
//! batch that is parked. Its snapshot stands before its first chunk, so a chunk that comes back (late, or redriven from the
//! DLQ) is decoded from there and written as a backfill. [`Gap::state`] tells a gap's state from its fields:
//!
//! | state | what is known | how it comes about | where it goes |
//! |---|---|---|---|
//! | open | its chunks may still come | [`Checkpoint::commit`] passed them | closed, parked, given up |
//! | parked | its batch lies in the DLQ | [`Checkpoint::park`] | closed, parked again, given up |
//! | unsure | as parked, and its fragment may be stored: the stream is asked first | `park` of an unknown outcome | closed ([`Checkpoint::close_stored`]), parked |
//! | closed | nothing: it is no longer in the checkpoint | the last of it was written | – |
//! | given up | only its range: what comes back is parked as NO_PLACE | more than [`MAX_GAPS`] | – |
//!
//! *Withheld* chunks are not a state of their own: they hang on the gap before them, in any of the first three, and complete it when it closes.
//!
//! [`Checkpoint::commit`]: crate::checkpoint::Checkpoint::commit
//! [`Checkpoint::park`]: crate::checkpoint::Checkpoint::park
//! [`Checkpoint::close_stored`]: crate::checkpoint::Checkpoint::close_stored
//! [`MAX_GAPS`]: crate::checkpoint::MAX_GAPS

use media::time::{EpochMs, Samples};
use serde::{Deserialize, Serialize};

use crate::position::Position;
use crate::schema::is_default;
use crate::snapshot::{SnapshotKey, or_empty};

/// Chunk indices `from..to` of one numbering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRange {
    /// Which numbering; see [`Place::numbering`](crate::piece::Place::numbering).
    pub numbering: u32,
    /// First index.
    pub from: u64,
    /// One past the last index.
    pub to: u64,
}

impl ChunkRange {
    /// Whether the range holds this index (of the same numbering).
    pub fn holds(&self, index: u64) -> bool {
        (self.from..self.to).contains(&index)
    }

    /// How many it holds.
    pub fn count(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// The last index.
    pub fn last(&self) -> u64 {
        self.to.saturating_sub(1)
    }
}

/// A gap's name: where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GapId {
    /// Its numbering.
    pub numbering: u32,
    /// Its first chunk.
    pub from: u64,
}

/// What a gap is at the moment; see the table at the head of this file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its chunks may still come.
    Open,
    /// Its batch lies in the DLQ.
    Parked,
    /// Its batch lies in the DLQ, and may be stored nevertheless.
    Unsure,
}

/// Chunks the session has passed without writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its chunks.
    pub chunks: ChunkRange,
    /// Where its audio begins in the stream's time.
    pub begins_at: EpochMs,
    /// Where the audio behind it begins, once known.
    pub ends_at: Option<EpochMs>,
    /// First and last capture time that a chunk of it can have: they distinguish a redriven chunk from another numbering's.
    /// The last two chunks of a recorder have the same one.
    pub captured: (EpochMs, EpochMs),
    /// Key of the snapshot before it.
    pub snapshot: SnapshotKey,
    /// What was skipped behind it.
    #[serde(flatten)]
    pub search: Search,
    /// The batch was parked while it was unknown whether it is stored. Its first chunk to come back asks the stream; if the
    /// fragment is there, this is committed instead of writing again.
    #[serde(default)]
    pub unsure: Option<Box<Advance>>,
    /// The tries of it that may be stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Try>,
    /// What of it was parked last.
    #[serde(default)]
    pub parked: Option<ParkedBatch>,
    /// Why chunks of it were parked last, as a batch or each by itself: the short code of the DLQ's `reason`. Empty: none were, or by an
    /// older writer.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// Audio of earlier chunks that were backfilled reaches up to here; this gap's audio must begin later.
    #[serde(default)]
    pub taken_until: Option<EpochMs>,
}

/// What was skipped behind a gap, in search of the next place where decoding can go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// No such place has come yet: what the next batch skips, from this chunk on, belongs here too.
    #[serde(rename = "looks_on_at", default)]
    pub goes_on_at: Option<u64>,
    /// Keys of what else was skipped: by later batches, and behind a gap that became part of this one (its own snapshot).
    #[serde(rename = "skipped", default)]
    pub keys: Vec<SnapshotKey>,
    /// Exclusive end of the chunks behind the gap that cannot be decoded without it. They are kept with the gap. 0 if there are
    /// none.
    #[serde(rename = "held_to", default)]
    pub withheld_to: u64,
    /// So many of the last bytes of the residue are not the gap's: the place where decoding went on begins with them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub claimed: usize,
}

impl Search {
    /// Goes on with what another batch skipped.
    pub fn go_on(&mut self, with: &Self) {
        self.goes_on_at = with.goes_on_at;
        self.keys.extend(with.keys.iter().cloned());
        self.withheld_to = self.withheld_to.max(with.withheld_to);
        self.claimed += with.claimed;
    }
}

/// How many tries of unknown outcome a lease or a gap remembers.
pub(crate) const MAX_TRIES: usize = 8;

/// A PutMedia that may store its fragment, now or later: it is under way, or its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// Producer timestamp of the fragment.
    pub at: EpochMs,
    /// The last byte of it has left by then.
    pub sent_by: EpochMs,
}

/// When the last byte of any of these tries has left; `None` if there are none.
pub fn last_sent_by(tries: &[Try]) -> Option<EpochMs> {
    tries.iter().map(|one| one.sent_by).max()
}

/// A parked batch that left a gap, or was to fill it. Messages that were in the queue then and come without the batch's first
/// chunk follow it into the DLQ: redriven together, they sound as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedBatch {
    /// Its first chunk.
    pub first: u64,
    /// When it was parked.
    pub at: EpochMs,
}

/// Characters of a [`Gap::cause`] that are stored: a service may make up codes of any length.
const MAX_CAUSE_CHARS: usize = 64;

/// A [`Gap::cause`] that is short enough to be stored.
pub fn cause(code: &str) -> String {
    code.chars().take(MAX_CAUSE_CHARS).collect()
}

impl Gap {
    /// Its name.
    pub fn id(&self) -> GapId {
        GapId { numbering: self.chunks.numbering, from: self.chunks.from }
    }

    /// Whether a chunk of it can have been captured then.
    pub fn is_of_time(&self, captured_at: EpochMs) -> bool {
        (self.captured.0..=self.captured.1).contains(&captured_at)
    }

    /// See the table at the head of this file.
    pub fn state(&self) -> State {
        match (&self.unsure, &self.parked) {
            (Some(_), _) => State::Unsure,
            (None, Some(_)) => State::Parked,
            (None, None) => State::Open,
        }
    }

    /// Takes in a gap that begins where this one's search goes on with nothing kept: no audio lies between them.
    pub(crate) fn goes_on_in(&mut self, next: &Self) -> bool {
        let is_next = next.chunks.numbering == self.chunks.numbering
            && next.chunks.from == self.chunks.to
            && self.search.goes_on_at == Some(self.chunks.to)
            && self.ends_at.is_none();
        let kept = !self.search.keys.is_empty() || self.search.withheld_to > self.chunks.to;
        let open = self.state() == State::Open && next.state() == State::Open;
        if !is_next || kept || !open {
            return false;
        }
        self.chunks.to = next.chunks.to;
        self.captured.1 = next.captured.1;
        self.ends_at = next.ends_at;
        self.search = next.search.clone();
        // What was skipped behind the next one lies with its snapshot. There is none only while the search stands right behind it.
        let may_have_skipped = self.search.goes_on_at.is_none() || self.search.withheld_to > self.chunks.to;
        if may_have_skipped || !self.search.keys.is_empty() {
            self.search.keys.insert(0, next.snapshot.clone());
        }
        if !next.cause.is_empty() {
            self.cause.clone_from(&next.cause);
        }
        true
    }

    /// Its chunks, and those withheld behind it.
    pub fn with_withheld(&self) -> ChunkRange {
        ChunkRange { to: self.chunks.to.max(self.search.withheld_to), ..self.chunks }
    }
}

/// Which audio a batch continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// The session's live audio.
    Live,
    /// A gap: a backfill.
    Gap(GapId),
}

/// What a batch does to the checkpoint when it is committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advance {
    /// Which audio it continues.
    pub line: Line,
    /// Where the line goes on (for a gap, only its snapshot matters).
    pub to: Position,
    /// Gaps that open; for a backfill, what is left of its gap.
    pub gaps: Vec<Gap>,
    /// Chunks of the batch, first to last; holes inside are among `gaps`.
    pub chunks: ChunkRange,
    /// How many bytes of the first of them earlier fragments hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<usize>,
    /// Chunks that are written whole with it.
    pub count: u64,
    /// Producer timestamp of the fragment.
    pub at: EpochMs,
    /// End of its audio.
    pub until: EpochMs,
    /// Its audio.
    pub samples: Samples,
    /// Key of the snapshot where the live audio goes on.
    #[serde(with = "or_empty")]
    pub snapshot: Option<SnapshotKey>,
    /// Where each chunk's audio ends, by index.
    #[serde(default)]
    pub placements: Vec<(u64, EpochMs)>,
    /// What was skipped at the batch's beginning belongs to the gap whose search goes on there.
    #[serde(default)]
    pub skipped: Option<Skipped>,
    /// A backfill ends where another line was searching for a place to go on: that line goes on from the backfill's end instead.
    #[serde(rename = "heals", default)]
    pub resumes: Option<Resumes>,
    /// W3C trace context of the batch's first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Advance {
    /// Whether it ends inside a chunk that is too long for one fragment.
    pub fn ends_amid_chunk(&self) -> bool {
        self.to.amid.is_some()
    }

    /// Where the search for a place to go on continues behind the batch, if the batch ended during one.
    pub fn search_goes_on_at(&self) -> Option<u64> {
        let of_gaps = self.gaps.iter().map(|gap| gap.search.goes_on_at);
        let of_skipped = self.skipped.iter().map(|skipped| skipped.search.goes_on_at);
        of_gaps.chain(of_skipped).flatten().find(|at| *at == self.chunks.to)
    }
}

/// Bytes that a batch skipped in search of a place to go on, for an earlier gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredSkipped", into = "StoredSkipped")]
pub struct Skipped {
    /// From this chunk on.
    pub from: u64,
    /// The search, with the keys of these bytes.
    pub search: Search,
}

#[derive(Serialize, Deserialize)]
struct StoredSkipped {
    from: u64,
    snapshot: SnapshotKey,
    looks_on_at: Option<u64>,
    #[serde(default)]
    held_to: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    more: Vec<SnapshotKey>,
    #[serde(default, skip_serializing_if = "is_default")]
    claimed: usize,
}

impl From<StoredSkipped> for Skipped {
    fn from(stored: StoredSkipped) -> Self {
        let StoredSkipped { from, snapshot, looks_on_at: goes_on_at, held_to: withheld_to, more, claimed } =
            stored;
        let keys =
            std::iter::once(snapshot).chain(more).filter(|key| *key != SnapshotKey::default()).collect();
        Self { from, search: Search { goes_on_at, keys, withheld_to, claimed } }
    }
}

impl From<Skipped> for StoredSkipped {
    fn from(Skipped { from, search }: Skipped) -> Self {
        let Search { goes_on_at, keys, withheld_to, claimed } = search;
        let mut keys = keys.into_iter();
        let snapshot = keys.next().unwrap_or_default();
        Self { from, snapshot, looks_on_at: goes_on_at, held_to: withheld_to, more: keys.collect(), claimed }
    }
}

/// A line that goes on from a backfill's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Resumes {
    /// The live audio: from here, and the snapshot of this key.
    Live(Box<Position>, SnapshotKey),
    /// The gap that begins at this chunk: from the snapshot of this key.
    Gap(u64, SnapshotKey),
}
