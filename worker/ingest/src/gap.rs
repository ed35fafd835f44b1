//! Gaps: chunks that the session passed without writing them, and what is needed to write them later at their true time.
//!
//! ```text
//! chunks   ... 11 | 12 13 14 | 15 16 | 17 ...        snapshot: the media state before chunk 12
//!                 | the gap  | with- |               residue:  the bytes of 15 and 16 (the middle of a Cluster that begins
//!          written| lost or  | held  |written                  in the gap), and those of 17 before its first Cluster
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
//! *Withheld* chunks are no state of their own: they hang on the gap before them, in any of the first three, and complete it when it closes.
//!
//! [`Checkpoint::commit`]: crate::checkpoint::Checkpoint::commit
//! [`Checkpoint::park`]: crate::checkpoint::Checkpoint::park
//! [`Checkpoint::close_stored`]: crate::checkpoint::Checkpoint::close_stored
//! [`MAX_GAPS`]: crate::checkpoint::MAX_GAPS

use media::time::EpochMs;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Advance, Try};
use crate::position::Position;
use crate::snapshot::{Kind, Residue, Snapshot, SnapshotKey};

/// Chunk indices `from..to` of one numbering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRange {
    /// Which numbering; see [`Place::numbering`](crate::position::Place::numbering).
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
    /// So it does, and it may be stored nevertheless.
    Unsure,
}

/// Chunks the session has passed without writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Which.
    pub chunks: ChunkRange,
    /// Where its audio begins in the stream's time.
    pub begins_at: EpochMs,
    /// Where the audio behind it begins, once known.
    pub ends_at: Option<EpochMs>,
    /// First and last capture time that a chunk of it can have: they tell a redriven chunk from another numbering's. The last
    /// two chunks of a recorder have the same one.
    pub captured: (EpochMs, EpochMs),
    /// Key of the snapshot before it.
    pub snapshot: SnapshotKey,
    /// What was skipped behind it.
    #[serde(flatten)]
    pub search: Search,
    /// The batch was parked before anybody could tell whether it is stored: its first chunk to come back asks the
    /// stream, and if it is there this is committed instead of writing again.
    #[serde(default)]
    pub unsure: Option<Box<Advance>>,
    /// The tries of it that may be stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tries: Vec<Try>,
    /// What of it was parked last.
    #[serde(default)]
    pub parked: Option<ParkedBatch>,
    /// Audio of earlier chunks that were backfilled reaches up to here; this gap's audio must begin later.
    #[serde(default)]
    pub taken_until: Option<EpochMs>,
}

/// What was skipped in search of the next Cluster, behind a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Search {
    /// No Cluster has come yet: what the next batch skips, from this chunk on, belongs here too.
    #[serde(rename = "looks_on_at", default)]
    pub goes_on_at: Option<u64>,
    /// Keys of the residue that later batches left.
    #[serde(rename = "skipped", default)]
    pub keys: Vec<SnapshotKey>,
    /// Exclusive end of the chunks behind the gap that cannot be decoded because their Cluster begins inside the gap. They are
    /// kept with it. 0 if there are none.
    #[serde(rename = "held_to", default)]
    pub withheld_to: u64,
}

impl Search {
    /// Goes on with what another batch skipped.
    pub fn go_on(&mut self, with: &Self) {
        self.goes_on_at = with.goes_on_at;
        self.keys.extend(with.keys.iter().cloned());
        self.withheld_to = self.withheld_to.max(with.withheld_to);
    }
}

/// A parked batch that left a gap, or was to fill it. What was in the queue then and comes without the batch's first chunk
/// follows it into the DLQ: redriven together, they sound as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkedBatch {
    /// Its first chunk.
    pub first: u64,
    /// When it was parked.
    pub at: EpochMs,
}

/// A gap about to open, with what its chunks will need when they come back.
#[derive(Clone, Debug, PartialEq)]
pub struct Opening {
    /// Which chunks.
    pub chunks: ChunkRange,
    /// See [`Gap::begins_at`].
    pub begins_at: EpochMs,
    /// See [`Gap::ends_at`].
    pub ends_at: Option<EpochMs>,
    /// See [`Gap::captured`].
    pub captured: (EpochMs, EpochMs),
    /// What is skipped behind it; the bytes are the snapshot's residue.
    pub search: Search,
    /// The state before them.
    pub snapshot: Snapshot,
}

impl Opening {
    /// The gap, and the snapshots that hold what it needs, under their keys.
    pub fn open(mut self) -> (Gap, Vec<(SnapshotKey, Snapshot)>) {
        let (own, more) = split(std::mem::take(&mut self.snapshot.residue), MAX_OWN_RESIDUE_BYTES);
        self.snapshot.residue = own;
        let (keys, mut snapshots) = residue_snapshots(&self.snapshot.position, more);
        self.search.keys.splice(..0, keys);
        let key = self.snapshot.key(Kind::Gap);
        let gap = Gap {
            chunks: self.chunks,
            begins_at: self.begins_at,
            ends_at: self.ends_at,
            captured: self.captured,
            snapshot: key.clone(),
            search: self.search,
            unsure: None,
            tries: Vec::new(),
            parked: None,
            taken_until: None,
        };
        snapshots.insert(0, (key, self.snapshot));
        (gap, snapshots)
    }

    /// The gap that is left where all of a batch is parked, back to where its line stood at `start`. What of the batch a later
    /// one will find unfinished goes on at `goes_on_at`.
    pub fn over(start: &Snapshot, batch: &Advance, goes_on_at: Option<u64>) -> Self {
        let (position, began) = (&start.position, batch.to.numbering_began);
        let same_page = position.numbering == batch.chunks.numbering;
        let from = if same_page { position.next.min(batch.chunks.from) } else { 0 };
        let mut snapshot =
            Snapshot { residue: Vec::new(), placements: batch.placements.clone(), ..start.clone() };
        snapshot.position.timeline.learn_skew(&batch.to.timeline);
        if !same_page {
            snapshot.position.begin_page(batch.chunks.numbering, began);
        }
        Self {
            chunks: ChunkRange { from, ..batch.chunks },
            begins_at: position.timeline.end().unwrap_or(batch.at),
            ends_at: None,
            captured: (captured_from(position, batch.chunks, began), batch.to.last_captured),
            search: Search { goes_on_at, ..Search::default() },
            snapshot,
        }
    }

    /// Bytes of a chunk that were skipped behind the gap.
    pub fn skip(&mut self, residue: Residue, withheld_to: u64) {
        skip(&mut self.snapshot.residue, &mut self.search, residue, withheld_to);
    }
}

/// Skipped bytes that a gap's own snapshot holds, beside the media state; what is more goes into items of its own.
const MAX_OWN_RESIDUE_BYTES: usize = 64 * 1024;
/// Skipped bytes in one item: DynamoDB takes 400 KB.
const MAX_ITEM_BYTES: usize = 256 * 1024;

/// Keeps skipped bytes with the `kept` ones of a search. [`Withheld`](crate::snapshot::Withheld) bounds them.
pub(crate) fn skip(kept: &mut Vec<Residue>, search: &mut Search, residue: Residue, withheld_to: u64) {
    search.withheld_to = withheld_to.max(search.withheld_to);
    kept.push(residue);
}

/// The first of `residue` that have at most `bytes`, and the others.
fn split(mut residue: Vec<Residue>, bytes: usize) -> (Vec<Residue>, Vec<Residue>) {
    let mut sum = 0;
    let fits = |one: &&Residue| {
        sum += one.bytes.len();
        sum <= bytes
    };
    let count = residue.iter().take_while(fits).count();
    let more = residue.split_off(count);
    (residue, more)
}

/// Items for what was skipped behind `position`, in order.
pub(crate) fn residue_snapshots(
    position: &Position,
    mut residue: Vec<Residue>,
) -> (Vec<SnapshotKey>, Vec<(SnapshotKey, Snapshot)>) {
    let mut snapshots = Vec::new();
    while !residue.is_empty() {
        let (mut own, more) = split(residue, MAX_ITEM_BYTES);
        residue = more;
        if own.is_empty() {
            own.push(residue.remove(0)); // no chunk is larger than an item
        }
        let snapshot = Snapshot { residue: own, position: position.clone(), ..Snapshot::default() };
        snapshots.push((snapshot.key(Kind::Residue), snapshot));
    }
    (snapshots.iter().map(|(key, _)| key.clone()).collect(), snapshots)
}

/// The earliest capture time of `chunks`, which come behind `before`; their numbering began at `began`. The page before may
/// have ended on the same index; what was captured before a page's chunk 0 may still come.
pub(crate) fn captured_from(before: &Position, chunks: ChunkRange, began: EpochMs) -> EpochMs {
    match (before.numbering == chunks.numbering, chunks.from) {
        (true, _) => before.last_captured,
        (false, 0) => began,
        (false, _) => EpochMs(before.last_captured.0.saturating_add(1)),
    }
}

impl Gap {
    /// Its name.
    pub fn id(&self) -> GapId {
        GapId { numbering: self.chunks.numbering, from: self.chunks.from }
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
        true
    }

    /// Its chunks, and those withheld behind it.
    pub fn with_withheld(&self) -> ChunkRange {
        ChunkRange { to: self.chunks.to.max(self.search.withheld_to), ..self.chunks }
    }
}
