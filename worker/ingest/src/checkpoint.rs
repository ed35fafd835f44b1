//! What a session's next batch needs from the batches before it, as versioned data.
//!
//! Two kinds of item: the small [`Checkpoint`], read and conditionally written around every fragment, and
//! [`Snapshot`](crate::snapshot::Snapshot)s, immutable, which carry the demuxer's bytes and the pre-roll packets. The checkpoint is
//! JSON, which a person can read. Both open with a schema number.

use media::time::{EpochMs, Samples};
use serde::{Deserialize, Serialize};

use crate::aside::Aside;
use crate::failure::ServiceFailure;
use crate::gap::{ChunkRange, Gap, GapId, ParkedBatch, Search};
use crate::position::Position;
use crate::snapshot::{SnapshotKey, or_empty};

/// The schema that this version writes. It reads every schema up to it.
pub const SCHEMA: u32 = 1;
/// How many gaps keep their snapshot; the oldest beyond are given up.
pub const MAX_GAPS: usize = 32;
/// How many items of skipped bytes the gaps may have: the checkpoint lists them.
const MAX_RESIDUE_KEYS: usize = 2_000;
/// How many given-up ranges and past numberings are remembered.
const MAX_REMEMBERED: usize = 16;
/// How many tries of unknown outcome a lease or a gap remembers.
const MAX_TRIES: usize = 8;
/// How many fragments are looked at again.
const MAX_LOOKS: usize = 16;

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
    /// Chunks written.
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
    /// What was skipped before the batch's first Cluster belongs to the gap whose search goes on where the batch begins.
    #[serde(default)]
    pub skipped: Option<Skipped>,
    /// A backfill ends where another line was searching for a Cluster: that goes on from the backfill's end instead.
    #[serde(rename = "heals", default)]
    pub resumes: Option<Resumes>,
    /// W3C trace context of the batch's first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

impl Advance {
    /// Where the search for a Cluster goes on behind the batch, if that ended amid one.
    pub fn search_goes_on_at(&self) -> Option<u64> {
        let of_gaps = self.gaps.iter().map(|gap| gap.search.goes_on_at);
        let of_skipped = self.skipped.iter().map(|skipped| skipped.search.goes_on_at);
        of_gaps.chain(of_skipped).flatten().find(|at| *at == self.chunks.to)
    }
}

/// Bytes that a batch skipped in search of a Cluster, for an earlier gap.
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
}

impl From<StoredSkipped> for Skipped {
    fn from(stored: StoredSkipped) -> Self {
        let StoredSkipped { from, snapshot, looks_on_at: goes_on_at, held_to: withheld_to, more } = stored;
        let keys = std::iter::once(snapshot).chain(more).collect();
        Self { from, search: Search { goes_on_at, keys, withheld_to } }
    }
}

impl From<Skipped> for StoredSkipped {
    fn from(Skipped { from, search }: Skipped) -> Self {
        let Search { goes_on_at, keys, withheld_to } = search;
        let mut keys = keys.into_iter();
        let snapshot = keys.next().unwrap_or_default();
        Self { from, snapshot, looks_on_at: goes_on_at, held_to: withheld_to, more: keys.collect() }
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

/// A PutMedia that may store its fragment, now or later: it is under way, or nobody knows what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// Producer timestamp of the fragment.
    pub at: EpochMs,
    /// The last byte of it has left by then.
    pub sent_by: EpochMs,
}

/// Whether a fragment that was written again is stored twice is looked at once more: an earlier try may come late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Producer timestamp of the try.
    pub at: EpochMs,
    /// The fragment that was committed.
    pub fragment_number: String,
    /// Its chunks.
    pub chunks: ChunkRange,
    /// When to look next.
    pub due_at: EpochMs,
    /// When to look for the last time.
    pub last_at: EpochMs,
}

/// The write in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// What a commit will do.
    pub advance: Advance,
    /// Real attempts of this batch, this one included.
    pub attempt: u32,
    /// When the first of them began.
    pub first_attempt_at: EpochMs,
    /// When this one began.
    pub leased_at: EpochMs,
    /// When its holder's invocation ends at the latest: from then on nothing of it can be under way.
    pub expires_at: EpochMs,
    /// Every try was refused: no need to ask.
    #[serde(default)]
    pub surely_not_stored: bool,
    /// Tries that may be stored, this attempt's last. Leases of older versions have none.
    #[serde(default)]
    pub tries: Vec<Try>,
    /// Why this attempt failed; none while it is under way, or where its worker ended without a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ServiceFailure>,
}

impl Lease {
    /// A PutMedia begins, or the last one begins again; its last byte leaves by `sent_by`.
    pub fn begin_try(&mut self, sent_by: EpochMs) {
        self.tries.push(Try { at: self.advance.at, sent_by });
        let surplus = self.tries.len().saturating_sub(MAX_TRIES);
        self.tries.drain(..surplus);
        self.surely_not_stored = false;
    }

    /// The last try is over, with an unknown outcome: nothing of it is sent any more.
    pub fn end_try(&mut self, now: EpochMs) {
        if let Some(last) = self.tries.last_mut() {
            last.sent_by = last.sent_by.min(now);
        }
    }

    /// The last try was refused: it will not be stored.
    pub fn refuse_try(&mut self) {
        self.tries.pop();
        self.surely_not_stored = self.tries.is_empty();
    }

    /// When the last byte of any of its tries has left; `None` if nothing of it can be stored.
    pub fn last_sent_by(&self) -> Option<EpochMs> {
        let last = || self.tries.iter().map(|one| one.sent_by).max().unwrap_or(self.expires_at);
        (!self.surely_not_stored).then(last)
    }
}

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

/// A numbering that was followed by another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastNumbering {
    /// Which.
    pub numbering: u32,
    /// One past the last chunk passed.
    pub next: u64,
    /// Capture times of its first and its latest chunk.
    pub captured: (EpochMs, EpochMs),
    /// Its last connection, where messages tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<String>,
}

/// A session's state between two invocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// See [`SCHEMA`].
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
    /// When the session was first seen ended, where nobody told when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ended_at: Option<EpochMs>,
    /// Fragments to look at again, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<Look>,
    /// Workers that ended in a row before they got anywhere with the session.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub crashes: u32,
    /// Whose save this is: no two have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<u64>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A stored value that cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Written by a later version: deploy that one again, or finish its sessions with it.
    #[error(
        "the stored state has schema {found}; this version reads up to {SCHEMA}. Deploy the newer version again"
    )]
    Newer {
        /// Its schema.
        found: u32,
    },
    /// Not what was written.
    #[error("the stored state is damaged: {detail}")]
    Damaged {
        /// What the decoder said.
        detail: String,
    },
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
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
            stamp: None,
        }
    }
}

impl Checkpoint {
    /// The gap of this name.
    pub fn gap(&self, id: GapId) -> Option<&Gap> {
        self.gaps.iter().find(|gap| gap.id() == id)
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

    /// The batch is persisted: its line goes on behind it. Returns the gaps that were given up for want of room.
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
    /// gap as it was). Returns the gaps that were given up for want of room.
    pub fn park(&mut self, batch: Advance, left: Gap) -> Vec<Gap> {
        self.totals.parked += batch.count;
        let Line::Gap(id) = batch.line else {
            // Holes inside the batch are part of the one gap, whose snapshot stands before all of it; what the batch skipped
            // comes back with it.
            return self.apply(Advance { gaps: vec![left], skipped: None, ..batch });
        };
        self.lease = None;
        if let Some(gap) = self.gap_mut(id) {
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
        serde_json::to_vec(self).expect("a checkpoint holds no map with odd keys and no failing serializer")
    }

    /// From storage.
    ///
    /// # Errors
    /// [`Unreadable`]: a later version's, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let damaged = |e: serde_json::Error| Unreadable::Damaged { detail: e.to_string() };
        let Schema { schema } = serde_json::from_slice(bytes).map_err(damaged)?;
        if schema > SCHEMA {
            return Err(Unreadable::Newer { found: schema });
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }
}

#[derive(Deserialize)]
pub(crate) struct Schema {
    pub(crate) schema: u32,
}
