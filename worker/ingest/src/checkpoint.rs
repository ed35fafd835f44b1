//! What a session's next batch needs from the batches before it, as versioned data.
//!
//! Two kinds of item: the small [`Checkpoint`], read and conditionally written around every fragment, and
//! [`Snapshot`](crate::snapshot::Snapshot)s, immutable, which carry the demuxer's bytes and the pre-roll packets. The checkpoint is
//! JSON, which a person can read. Both open with a schema number.

use media::time::{EpochMs, Samples};
use serde::{Deserialize, Serialize};

use crate::aside::Aside;
use crate::gap::{Gap, GapId, MAX_TRIES, ParkedBatch, Search};
use crate::piece::Piece;
use crate::position::Position;
use crate::schema::{FIRST, Schema, damaged, is_default, schema_of};
use crate::snapshot::{SnapshotKey, or_empty};

pub use crate::gap::{Advance, ChunkRange, Line, Resumes, Skipped, Try};
pub use crate::lease::{Lease, Look};
pub use crate::schema::{SCHEMA, Unreadable};

/// How many gaps keep their snapshot; the oldest beyond are given up.
pub const MAX_GAPS: usize = 32;
/// How many items of skipped bytes the gaps may have: the checkpoint lists them.
const MAX_RESIDUE_KEYS: usize = 2_000;
/// How many given-up ranges and past numberings are remembered.
const MAX_REMEMBERED: usize = 16;
/// How many fragments are looked at again.
const MAX_LOOKS: usize = 16;

/// Counts for the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Fragments persisted.
    pub fragments: u64,
    /// Chunks in them.
    pub chunks: u64,
    /// Samples in them.
    pub samples: Samples,
    /// Chunks parked, each time counted.
    pub parked: u64,
}

impl Totals {
    fn count_written(&mut self, batch: &Advance) {
        self.fragments += 1;
        self.chunks += batch.count;
        self.samples += batch.samples;
    }
}

/// A numbering that another one has followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastNumbering {
    /// The numbering.
    pub numbering: u32,
    /// One past the last chunk passed.
    pub next: u64,
    /// Capture times of its first and its latest chunk.
    pub captured: (EpochMs, EpochMs),
    /// Its last connection, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
}

/// A session's state between two invocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// As it was stored; see [`SCHEMA`].
    pub schema: u32,
    /// Where the live audio goes on.
    pub live: Position,
    /// Key of the snapshot there; none before the first.
    #[serde(default, with = "or_empty")]
    pub live_snapshot: Option<SnapshotKey>,
    /// Open gaps, oldest first.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// Gaps whose snapshots were given up.
    #[serde(default)]
    pub given_up: Vec<ChunkRange>,
    /// Numberings before the current one.
    #[serde(default)]
    pub past: Vec<PastNumbering>,
    /// The write in progress.
    #[serde(default)]
    pub lease: Option<Lease>,
    /// Since when every attempt has failed.
    #[serde(default)]
    pub failing_since: Option<EpochMs>,
    /// When the latest of them failed.
    #[serde(default)]
    pub failed_at: Option<EpochMs>,
    /// Counts.
    #[serde(default)]
    pub totals: Totals,
    /// Chunks that wait for others before them, acknowledged and kept here.
    #[serde(default, skip_serializing_if = "Aside::is_empty")]
    pub aside: Aside,
    /// When the session was first seen ended, if the Sessions table does not say when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ended_at: Option<EpochMs>,
    /// Fragments to look at again, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<Look>,
    /// Workers that ended in a row before they got anywhere with the session.
    #[serde(default, skip_serializing_if = "is_default")]
    pub crashes: u32,
    /// Chunks that may have ended workers are being worked on, by one that has ended by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worked_on_until: Option<EpochMs>,
    /// Whose save this is: no two have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<u64>,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            schema: FIRST,
            live: Position::default(),
            live_snapshot: None,
            gaps: Vec::new(),
            given_up: Vec::new(),
            past: Vec::new(),
            lease: None,
            failing_since: None,
            failed_at: None,
            totals: Totals::default(),
            aside: Aside::default(),
            seen_ended_at: None,
            looks: Vec::new(),
            crashes: 0,
            worked_on_until: None,
            stamp: None,
        }
    }
}

impl Checkpoint {
    /// The gap of this name.
    pub fn gap(&self, id: GapId) -> Option<&Gap> {
        self.gaps.iter().find(|gap| gap.id() == id)
    }

    /// The open gaps that may have this chunk by its index, where the current page is `at`.
    pub(crate) fn gaps_for(&self, at: &Position, piece: &Piece) -> impl DoubleEndedIterator<Item = &Gap> {
        let another = at.has_passed_another(piece);
        let (index, current) = (piece.index, at.numbering);
        self.gaps
            .iter()
            .filter(move |gap| gap.chunks.holds(index) && !(another && gap.chunks.numbering == current))
    }

    /// Whether the chunk is of no page that is known, by its connection or, where it names none, as another's first one: chunks of the
    /// page before may have overtaken it.
    pub(crate) fn is_of_new_page(&self, piece: &Piece) -> bool {
        if piece.connection_id.is_none() {
            return self.live.has_passed_another(piece) && piece.opens() && !self.began_with(piece);
        }
        let mut known = self.past.iter().map(|past| &past.connection_id).chain([&self.live.connection_id]);
        known.all(|id| *id != piece.connection_id)
    }

    /// Whether an earlier page began with the chunk, by its time.
    pub(crate) fn began_with(&self, piece: &Piece) -> bool {
        let began = |past: &PastNumbering| self.live.clock.may_show(piece.captured_at, past.captured.0);
        piece.index == 0 && self.past.iter().any(began)
    }

    /// The earlier numbering that has passed a chunk with this index, captured then.
    pub(crate) fn past_with(&self, index: u64, captured_at: EpochMs) -> Option<&PastNumbering> {
        let seen = |past: &&PastNumbering| {
            (past.captured.0..=past.captured.1).contains(&captured_at) && index < past.next
        };
        self.past.iter().find(seen)
    }

    /// A fragment to look at again.
    pub fn look_again(&mut self, look: Look) {
        self.looks.push(look);
        let surplus = self.looks.len().saturating_sub(MAX_LOOKS);
        self.looks.drain(..surplus);
    }

    fn gap_mut(&mut self, id: GapId) -> Option<&mut Gap> {
        self.gaps.iter_mut().find(|gap| gap.id() == id)
    }

    /// The batch is persisted: its line goes on behind it. Returns the gaps that were given up because there were too many.
    pub fn commit(&mut self, batch: Advance) -> Vec<Gap> {
        self.totals.count_written(&batch);
        self.failing_since = None;
        self.apply(batch)
    }

    /// The batch has no audio of its own: its line goes on behind it, and its bytes go on in the snapshots. Returns the
    /// gaps that were given up for want of room.
    pub fn carry(&mut self, batch: Advance) -> Vec<Gap> {
        self.totals.chunks += batch.count;
        self.apply(batch)
    }

    /// The batch is parked: its line goes on behind it, and leaves all of it as the gap `left` (a backfill leaves its
    /// gap as it was). Returns the gaps that were given up because there were too many.
    pub fn park(&mut self, batch: Advance, left: Gap) -> Vec<Gap> {
        self.totals.parked += batch.count;
        let Line::Gap(id) = batch.line else {
            // Holes inside the batch are part of the one gap, whose snapshot stands before all of it; what the batch skipped
            // comes back with it.
            return self.apply(Advance { gaps: vec![left], skipped: None, ..batch });
        };
        self.lease = None;
        if let Some(gap) = self.gap_mut(id) {
            gap.cause = left.cause;
            gap.unsure = left.unsure.or(gap.unsure.take());
            gap.tries.extend(left.tries);
            let surplus = gap.tries.len().saturating_sub(MAX_TRIES);
            gap.tries.drain(..surplus);
            gap.parked = left.parked.map(|now| ParkedBatch {
                first: gap.parked.map_or(now.first, |before| before.first.min(now.first)),
                ..now
            });
        }
        Vec::new()
    }

    /// Chunks of a gap that have come back are parked once more, for `cause`.
    pub fn park_again(&mut self, id: GapId, cause: String, at: EpochMs) {
        let Some(gap) = self.gap_mut(id) else { return };
        gap.cause = cause;
        gap.parked.iter_mut().for_each(|parked| parked.at = at);
    }

    /// A parked batch turned out to be stored: its gap closes, the holes inside it stay.
    pub fn close_stored(&mut self, gap: &Gap, batch: &Advance) {
        self.totals.count_written(batch);
        self.gaps.retain(|g| g.chunks != gap.chunks);
        self.keep_skipped(batch);
        self.gaps.extend(batch.gaps.iter().cloned().map(|mut hole| {
            if hole.search.goes_on_at.is_some() {
                let withheld_to = hole.search.withheld_to.max(gap.search.withheld_to);
                hole.search = Search { withheld_to, ..gap.search.clone() };
            }
            hole.ends_at = hole.ends_at.or(gap.ends_at);
            hole
        }));
        self.gaps.sort_by_key(Gap::id);
    }

    fn apply(&mut self, mut batch: Advance) -> Vec<Gap> {
        (self.lease, self.crashes) = (None, 0);
        self.keep_skipped(&batch);
        let gaps = std::mem::take(&mut batch.gaps);
        let (page, resumes) = (batch.chunks.numbering, batch.resumes.take());
        match batch.line {
            Line::Live => self.go_on(batch),
            Line::Gap(id) => self.fill(id, &batch),
        }
        match resumes {
            Some(Resumes::Live(position, snapshot)) => {
                (self.live, self.live_snapshot) = (*position, Some(snapshot));
            }
            Some(Resumes::Gap(from, snapshot)) => {
                let gap = self.gap_mut(GapId { numbering: page, from });
                gap.into_iter().for_each(|gap| gap.snapshot = snapshot.clone());
            }
            None => {}
        }
        self.open(gaps)
    }

    /// The live audio goes on behind the batch.
    fn go_on(&mut self, batch: Advance) {
        if batch.to.numbering != self.live.numbering {
            self.past.push(PastNumbering {
                numbering: self.live.numbering,
                next: self.live.next,
                captured: (self.live.numbering_began, self.live.last_captured),
                connection_id: self.live.connection_id.clone(),
            });
            let surplus = self.past.len().saturating_sub(MAX_REMEMBERED);
            self.past.drain(..surplus);
        }
        if batch.samples > Samples(0) {
            for gap in self.gaps.iter_mut().filter(|gap| gap.ends_at.is_none()) {
                gap.ends_at = Some(batch.at);
            }
        }
        (self.live, self.live_snapshot) = (batch.to, batch.snapshot);
        self.aside.leave_behind(self.live.place());
    }

    /// A backfill takes its place: what else comes back lies before or behind it.
    fn fill(&mut self, id: GapId, batch: &Advance) {
        self.gaps.retain(|gap| gap.id() != id);
        if batch.samples > Samples(0) {
            for gap in &mut self.gaps {
                match gap.id() < id {
                    true => gap.ends_at = Some(gap.ends_at.map_or(batch.at, |end| end.min(batch.at))),
                    false => gap.taken_until = gap.taken_until.max(Some(batch.until)),
                }
            }
            self.live.timeline.go_on_after(batch.until);
        }
        // A page's first chunks came back: it began no later than they were captured.
        let began = batch.to.numbering_began;
        if self.live.numbering == id.numbering {
            self.live.numbering_began = self.live.numbering_began.min(began);
        }
        for past in self.past.iter_mut().filter(|past| past.numbering == id.numbering) {
            past.captured.0 = past.captured.0.min(began);
        }
    }

    /// Takes new gaps in; gives up the oldest where there are too many.
    fn open(&mut self, gaps: Vec<Gap>) -> Vec<Gap> {
        self.gaps.extend(gaps);
        self.gaps.sort_by_key(Gap::id);
        self.gaps.dedup_by(|later, earlier| earlier.goes_on_in(later));
        let mut surplus = self.gaps.len().saturating_sub(MAX_GAPS);
        let keys = |gaps: &[Gap]| gaps.iter().map(|gap| gap.search.keys.len()).sum::<usize>();
        while keys(&self.gaps[surplus..]) > MAX_RESIDUE_KEYS {
            surplus += 1;
        }
        let given_up: Vec<Gap> = self.gaps.drain(..surplus).collect();
        self.given_up.extend(given_up.iter().map(Gap::with_withheld));
        self.bound_given_up();
        given_up
    }

    /// What a batch skipped before its first Cluster belongs to the gap whose search goes on where the batch begins.
    fn keep_skipped(&mut self, batch: &Advance) {
        let Some(skipped) = &batch.skipped else { return };
        let searches = |gap: &&mut Gap| {
            gap.chunks.numbering == batch.chunks.numbering && gap.search.goes_on_at == Some(skipped.from)
        };
        for gap in self.gaps.iter_mut().filter(searches) {
            gap.search.go_on(&skipped.search);
        }
    }

    /// Past the bound, neighbours of one numbering are joined: a chunk between them is parked rather than lost.
    fn bound_given_up(&mut self) {
        while self.given_up.len() > MAX_REMEMBERED {
            let first = self.given_up.remove(0);
            match self.given_up.first_mut() {
                Some(next) if next.numbering == first.numbering => next.from = first.from.min(next.from),
                _ => {}
            }
        }
    }

    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        let lease_ends_amid = self.lease.as_ref().is_some_and(|lease| lease.advance.ends_amid_chunk());
        let schema = schema_of(self.live.amid.is_some() || lease_ends_amid);
        let stored = match schema == self.schema {
            true => serde_json::to_vec(self),
            false => serde_json::to_vec(&Self { schema, ..self.clone() }),
        };
        stored.expect("a checkpoint holds no map with odd keys and no failing serializer")
    }

    /// From storage.
    ///
    /// # Errors
    /// [`Unreadable`]: a later version's, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice::<Schema>(bytes).map_err(damaged)?.check()?;
        serde_json::from_slice(bytes).map_err(damaged)
    }
}
