//! How a gap opens: with the state before its chunks and what was skipped behind them.

use media::time::EpochMs;

use crate::gap::{Advance, ChunkRange, Gap, Search};
use crate::position::Position;
use crate::schema::MAX_ITEM_BYTES;
use crate::snapshot::{Kind, Residue, Snapshot, SnapshotKey};

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
        let room = MAX_OWN_RESIDUE_BYTES.saturating_sub(self.snapshot.media.demuxer.undecided().len());
        let (own, more) = split(std::mem::take(&mut self.snapshot.residue), room);
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
            cause: String::new(),
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
            snapshot.media.begin_page();
        }
        Self {
            chunks: ChunkRange { from, ..batch.chunks },
            begins_at: position.timeline.end().unwrap_or(batch.at),
            ends_at: None,
            captured: (captured_from(position, batch.chunks, began), batch.to.captured_to()),
            search: Search { goes_on_at, ..Search::default() },
            snapshot,
        }
    }

    /// What is left of a batch's last chunk where that is too long for one fragment; `start` is where the batch ends.
    pub fn rest_of(batch: &Advance, start: Snapshot) -> Self {
        let end = &batch.to;
        Self {
            chunks: ChunkRange { numbering: end.numbering, from: end.next, to: end.next + 1 },
            begins_at: batch.until,
            ends_at: None,
            captured: (end.last_captured, end.captured_to()),
            search: Search { goes_on_at: Some(end.next + 1), ..Search::default() },
            snapshot: start,
        }
    }

    /// Bytes of a chunk that were skipped behind the gap.
    pub fn skip(&mut self, residue: Residue, withheld_to: u64) {
        skip(&mut self.snapshot.residue, &mut self.search, residue, withheld_to);
    }
}

/// Skipped bytes that a gap's own snapshot holds, those that the demuxer holds back included; what is more goes into items of its own.
const MAX_OWN_RESIDUE_BYTES: usize = 64 * 1024;

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

/// The earliest capture time of `chunks`, which come behind `before`; their numbering began at `began`, with their chunk 0 if they
/// have it. The page before may have ended on the same index; what was captured before a page's chunk 0 may still come.
pub(crate) fn captured_from(before: &Position, chunks: ChunkRange, began: EpochMs) -> EpochMs {
    match (before.numbering == chunks.numbering, chunks.from) {
        (_, 0) => began,
        (true, _) => before.last_captured,
        (false, _) => EpochMs(before.last_captured.0.saturating_add(1)),
    }
}
