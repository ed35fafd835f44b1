//! What a session's next batch needs from the batches before it, as versioned data.
//!
//! Two kinds of item: the small [`Checkpoint`], read and conditionally written around every fragment, and
//! [`Snapshot`]s, immutable, which carry the demuxer's bytes and the pre-roll packets. A snapshot is named by what it
//! holds, so writing one twice is harmless. The checkpoint is JSON, which a person can read; a
//! snapshot is MessagePack, because its packets are bytes. Both open with a schema number.

use media::demux::Demuxer;
use media::time::{EpochMs, MediaTime, Samples};
use serde::{Deserialize, Serialize};

use crate::timeline::Timeline;

/// The schema that this version writes. It reads every schema up to it.
pub const SCHEMA: u32 = 1;
/// How many gaps keep their snapshot; the oldest beyond are given up.
pub const MAX_GAPS: usize = 32;
/// How many given-up ranges and past numberings are remembered.
const MAX_REMEMBERED: usize = 16;

/// Chunk indices `from..to` of one numbering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRange {
    /// Which numbering: chunkIndex begins again at 0 when the page is reloaded, and each time this counts up.
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
}

/// The place before a chunk: all that is known of the session there, but for the media bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The current numbering.
    pub numbering: u32,
    /// The next chunkIndex of it.
    pub next: u64,
    /// Capture time of the numbering's first chunk.
    pub numbering_began: EpochMs,
    /// The latest capture time gone past.
    pub last_captured: EpochMs,
    /// The highest queue sequence number gone past.
    pub last_sequence: u128,
    /// The last chunk's connection, where messages tell.
    pub connection_id: Option<String>,
    /// The last recording.
    pub recording: Option<String>,
    /// The recording that the numbering's chunk 0 began.
    #[serde(default)]
    pub opened_by: Option<String>,
    /// The audio's place in time.
    pub timeline: Timeline,
}

/// Demuxer and decoder, as values: a fresh decoder that has gone through `pre_roll` continues the sound.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MediaState {
    /// The demuxer with the bytes it holds back.
    pub demuxer: Demuxer,
    /// What the decoder heard last, oldest first, as long as [`media::opus::pre_roll_with`] asks for.
    pub pre_roll: Vec<Heard>,
    /// What is left of the recording's pre-skip.
    pub pre_skip_left: Samples,
    /// Container time at the end of the last packet.
    pub container_end: Option<MediaTime>,
    /// The last packet's duration.
    pub packet: Samples,
    /// Something is missing between the last packet and the next.
    #[serde(default)]
    pub loss: Option<Loss>,
}

/// What a decoder was given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Heard {
    /// An Opus packet.
    Packet(serde_bytes::ByteBuf),
    /// A loss to conceal.
    Lost(Samples),
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Loss {
    /// Bytes inside chunks that did arrive: no chunk will bring them, so they are concealed.
    Bytes,
    /// Whole chunks: they may come back, so their time is left open.
    Chunks,
}

/// Chunks the session has gone past without writing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Which.
    pub chunks: ChunkRange,
    /// Where its audio begins in the stream's time.
    pub begins_at: EpochMs,
    /// Where the audio after it begins, once known.
    pub ends_at: Option<EpochMs>,
    /// First and last capture time that a chunk of it can have: they tell a redriven chunk from another numbering's. The last
    /// two chunks of a recorder have the same one.
    pub captured: (EpochMs, EpochMs),
    /// Key of the snapshot before it.
    pub snapshot: String,
    /// The demuxer was still looking for a Cluster before this chunk: what it skips from there on belongs here too.
    #[serde(default)]
    pub looks_on_at: Option<u64>,
    /// Keys of what it skipped in later batches.
    #[serde(default)]
    pub skipped: Vec<String>,
    /// The chunks from the gap's end up to this one were skipped as a whole, the middle of a Cluster that begins in the gap: they
    /// are held here until it comes back. 0: none.
    #[serde(default)]
    pub held_to: u64,
    /// The batch was parked before anybody could tell whether it is stored: its first chunk to come back asks the
    /// stream, and if it is there this is committed instead of writing again.
    #[serde(default)]
    pub unsure: Option<Box<Advance>>,
    /// What of it was parked last.
    #[serde(default)]
    pub parked: Option<ParkedBatch>,
    /// Chunks from before it came back, and their audio lies up to here.
    #[serde(default)]
    pub taken_until: Option<EpochMs>,
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

/// A position and its media state, kept for the next batch or for a gap's return.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// The place.
    pub position: Position,
    /// Demuxer and pre-roll there.
    pub media: MediaState,
    /// For a gap of parked chunks: where each one's audio ended, by index. They return there however they come.
    #[serde(default)]
    pub placements: Vec<(u64, EpochMs)>,
    /// For a gap: the bytes that were skipped after it, up to the Cluster where the audio went on. They complete the
    /// gap's last packet when its chunks come back.
    #[serde(default)]
    pub residue: Vec<Residue>,
}

/// What was skipped of one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residue {
    /// The chunk's bytes up to the Cluster, or all of them.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// The chunk's capture time.
    pub captured_at: EpochMs,
    /// When the queue took it.
    pub sent_at: EpochMs,
}

/// Which audio a batch continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// The session's live audio.
    Live,
    /// A gap, named by where it begins: a backfill.
    Gap {
        /// Its numbering.
        numbering: u32,
        /// Its first chunk.
        from: u64,
    },
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
    pub snapshot: String,
    /// Where each chunk's audio ends, by index.
    #[serde(default)]
    pub placements: Vec<(u64, EpochMs)>,
    /// What was skipped before the batch's first Cluster belongs to the gap that looks on where the batch begins.
    #[serde(default)]
    pub skipped: Option<Skipped>,
    /// A backfill ends where another line was looking for a Cluster: that goes on from the backfill's end instead.
    #[serde(default)]
    pub heals: Option<Heals>,
    /// W3C trace context of the batch's first chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Bytes that were skipped in search of a Cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// From this chunk on.
    pub from: u64,
    /// Key of the bytes.
    pub snapshot: String,
    /// The search goes on at this chunk.
    pub looks_on_at: Option<u64>,
    /// See [`Gap::held_to`].
    #[serde(default)]
    pub held_to: u64,
}

/// A line that goes on from a backfill's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heals {
    /// The live audio: from here, and the snapshot of this key.
    Live(Box<Position>, String),
    /// The gap that begins at this chunk: from the snapshot of this key.
    Gap(u64, String),
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
    /// The service said that the fragment is not stored: no need to ask.
    #[serde(default)]
    pub surely_not_stored: bool,
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

/// A numbering that was followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastNumbering {
    /// Which.
    pub numbering: u32,
    /// One past the last chunk gone past.
    pub next: u64,
    /// Capture times of its first and its latest chunk.
    pub captured: (EpochMs, EpochMs),
}

/// A session's state between two invocations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// See [`SCHEMA`].
    pub schema: u32,
    /// Where the live audio goes on.
    pub live: Position,
    /// Key of the snapshot there; empty before the first.
    #[serde(default)]
    pub live_snapshot: String,
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
            live_snapshot: String::new(),
            gaps: Vec::new(),
            given_up: Vec::new(),
            past: Vec::new(),
            lease: None,
            failing_since: None,
            failed_at: None,
            totals: Totals::default(),
        }
    }
}

impl Checkpoint {
    /// The gap that begins at `from`.
    pub fn gap(&self, numbering: u32, from: u64) -> Option<&Gap> {
        self.gaps.iter().find(|g| g.chunks.numbering == numbering && g.chunks.from == from)
    }

    /// The batch is persisted: its line goes on after it. Returns the gaps that were given up for want of room.
    pub fn commit(&mut self, advance: Advance) -> Vec<Gap> {
        self.totals.fragments += 1;
        self.totals.chunks += advance.count;
        self.totals.samples += advance.samples;
        self.failing_since = None;
        self.apply(advance)
    }

    /// The batch has no audio of its own: its line goes on after it, and its bytes go on in the snapshots. Returns the
    /// gaps that were given up for want of room.
    pub fn carry(&mut self, advance: Advance) -> Vec<Gap> {
        self.totals.chunks += advance.count;
        self.apply(advance)
    }

    /// The batch is parked: its line goes on after it, and leaves all of it behind as a gap (a backfill leaves its
    /// gap as it was). Returns the gaps that were given up for want of room.
    pub fn park(&mut self, advance: Advance, whole: Gap) -> Vec<Gap> {
        self.totals.parked += advance.count;
        if let Line::Gap { numbering, from } = advance.line {
            self.lease = None;
            let same = |g: &&mut Gap| (g.chunks.numbering, g.chunks.from) == (numbering, from);
            if let Some(gap) = self.gaps.iter_mut().find(same) {
                gap.unsure = whole.unsure.or(gap.unsure.take());
                gap.parked = whole.parked.map(|now| ParkedBatch {
                    first: gap.parked.map_or(now.first, |before| before.first.min(now.first)),
                    ..now
                });
            }
            return Vec::new();
        }
        // Holes inside the batch are part of the one gap, whose snapshot stands before all of it; what the batch skipped comes
        // back with it.
        self.apply(Advance { gaps: vec![whole], skipped: None, ..advance })
    }

    /// A parked batch turned out to be stored: its gap closes, the holes inside it stay.
    pub fn close_stored(&mut self, gap: &Gap, advance: &Advance) {
        self.totals.fragments += 1;
        self.totals.chunks += advance.count;
        self.totals.samples += advance.samples;
        self.gaps.retain(|g| g.chunks != gap.chunks);
        self.keep_skipped(advance);
        self.gaps.extend(advance.gaps.iter().cloned().map(|mut hole| {
            if hole.looks_on_at.is_some() {
                (hole.looks_on_at, hole.held_to) = (gap.looks_on_at, hole.held_to.max(gap.held_to));
                hole.skipped.clone_from(&gap.skipped);
            }
            hole
        }));
        self.gaps.sort_by_key(|g| (g.chunks.numbering, g.chunks.from));
    }

    fn apply(&mut self, advance: Advance) -> Vec<Gap> {
        self.lease = None;
        self.keep_skipped(&advance);
        match advance.line {
            Line::Live => {
                if advance.to.numbering != self.live.numbering {
                    self.past.push(PastNumbering {
                        numbering: self.live.numbering,
                        next: self.live.next,
                        captured: (self.live.numbering_began, self.live.last_captured),
                    });
                    let surplus = self.past.len().saturating_sub(MAX_REMEMBERED);
                    self.past.drain(..surplus);
                }
                let open = |g: &&mut Gap| g.ends_at.is_none() && advance.samples > Samples(0);
                for gap in self.gaps.iter_mut().filter(open) {
                    gap.ends_at = Some(advance.at);
                }
                (self.live, self.live_snapshot) = (advance.to, advance.snapshot);
            }
            Line::Gap { numbering, from } => {
                self.gaps.retain(|g| (g.chunks.numbering, g.chunks.from) != (numbering, from));
                if advance.samples > Samples(0) {
                    self.take_place((numbering, from), advance.at, advance.until);
                }
                self.began_by(numbering, advance.to.numbering_began);
            }
        }
        match advance.heals {
            Some(Heals::Live(position, snapshot)) => (self.live, self.live_snapshot) = (*position, snapshot),
            Some(Heals::Gap(from, snapshot)) => {
                let healed =
                    |g: &&mut Gap| (g.chunks.numbering, g.chunks.from) == (advance.chunks.numbering, from);
                self.gaps.iter_mut().filter(healed).for_each(|gap| gap.snapshot = snapshot.clone());
            }
            None => {}
        }
        self.gaps.extend(advance.gaps);
        self.gaps.sort_by_key(|g| (g.chunks.numbering, g.chunks.from));
        let surplus = self.gaps.len().saturating_sub(MAX_GAPS);
        let given_up: Vec<Gap> = self.gaps.drain(..surplus).collect();
        let with_held = |g: &Gap| ChunkRange { to: g.chunks.to.max(g.held_to), ..g.chunks };
        self.given_up.extend(given_up.iter().map(with_held));
        self.bound_given_up();
        given_up
    }

    /// A page's first chunks came back: it began no later than they were captured.
    fn began_by(&mut self, numbering: u32, at: EpochMs) {
        if self.live.numbering == numbering {
            self.live.numbering_began = self.live.numbering_began.min(at);
        }
        for past in self.past.iter_mut().filter(|past| past.numbering == numbering) {
            past.captured.0 = past.captured.0.min(at);
        }
    }

    /// A backfill of the gap at `place` lies from `at` to `until`: what else comes back lies before or after it.
    fn take_place(&mut self, place: (u32, u64), at: EpochMs, until: EpochMs) {
        for gap in &mut self.gaps {
            match (gap.chunks.numbering, gap.chunks.from) < place {
                true => gap.ends_at = Some(gap.ends_at.map_or(at, |end| end.min(at))),
                false => gap.taken_until = gap.taken_until.max(Some(until)),
            }
        }
        self.live.timeline.go_on_after(until);
    }

    /// What a batch skipped before its first Cluster belongs to the gap that looks on where the batch begins.
    fn keep_skipped(&mut self, batch: &Advance) {
        let Some(skipped) = &batch.skipped else { return };
        let looks = |g: &&mut Gap| {
            g.chunks.numbering == batch.chunks.numbering && g.looks_on_at == Some(skipped.from)
        };
        for gap in self.gaps.iter_mut().filter(looks) {
            gap.looks_on_at = skipped.looks_on_at;
            gap.skipped.push(skipped.snapshot.clone());
            gap.held_to = gap.held_to.max(skipped.held_to);
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
struct Schema {
    schema: u32,
}

impl Default for Snapshot {
    /// What a session begins with.
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            position: Position::default(),
            media: MediaState::default(),
            placements: Vec::new(),
            residue: Vec::new(),
        }
    }
}

impl Snapshot {
    /// Names the snapshot by what it holds, so that nothing ever overwrites another: a plan that was given up, or a
    /// worker that lost the session, can store what it likes.
    pub fn key(&self, kind: &str) -> String {
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = self.encode().iter().fold(0xcbf2_9ce4_8422_2325, fnv);
        format!("{kind}-{}-{}-{hash:016x}", self.position.numbering, self.position.next)
    }

    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("a snapshot holds only values that MessagePack has")
    }

    /// From storage.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let damaged = |e: rmp_serde::decode::Error| Unreadable::Damaged { detail: e.to_string() };
        let Schema { schema } = rmp_serde::from_slice(bytes).map_err(damaged)?;
        if schema > SCHEMA {
            return Err(Unreadable::Newer { found: schema });
        }
        rmp_serde::from_slice(bytes).map_err(damaged)
    }
}
