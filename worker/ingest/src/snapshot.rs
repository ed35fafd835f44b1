//! The media state at a place, as an immutable value: the demuxer's bytes and the pre-roll packets.
//!
//! A snapshot is named by what it holds, so writing one twice is harmless. It is MessagePack, because its packets are bytes.

use std::fmt;

use media::demux::Demuxer;
use media::hash::Fnv;
use media::time::{EpochMs, MediaTime, Samples};
use serde::{Deserialize, Serialize};

use crate::piece::Place;
use crate::position::Position;
use crate::schema::{FIRST, Unreadable, from_msgpack, is_default, schema_of};

/// What a snapshot is kept for; the first word of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The live audio goes on there.
    Live,
    /// A gap begins there.
    Gap,
    /// Bytes that were skipped behind a gap.
    Residue,
    /// Chunks that wait for others.
    Aside,
}

/// A snapshot's name: kind, numbering, next chunk, hash of its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SnapshotKey(String);

impl SnapshotKey {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of an item that holds these bytes, for a place.
    pub(crate) fn of(kind: Kind, place: Place, bytes: &[u8]) -> Self {
        let hash = Fnv::of(bytes);
        let kind = match kind {
            Kind::Live => "live",
            Kind::Gap => "gap",
            Kind::Residue => "residue",
            Kind::Aside => "aside",
        };
        Self(format!("{kind}-{}-{}-{hash}", place.numbering, place.next))
    }

    /// What the snapshot is kept for.
    pub fn kind(&self) -> Kind {
        match self.0.split('-').next() {
            Some("live") => Kind::Live,
            Some("residue") => Kind::Residue,
            Some("aside") => Kind::Aside,
            _ => Kind::Gap,
        }
    }
}

impl fmt::Display for SnapshotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a checkpoint stores a key that may be missing: as an empty string.
pub(crate) mod or_empty {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::SnapshotKey;

    pub(crate) fn serialize<S: Serializer>(key: &Option<SnapshotKey>, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(key.as_ref().map_or("", SnapshotKey::as_str))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SnapshotKey>, D::Error> {
        let text = String::deserialize(d)?;
        Ok((!text.is_empty()).then_some(SnapshotKey(text)))
    }
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
    /// The last packet's duration; of plain samples, the last chunk's.
    pub packet: Samples,
    /// Something is missing between the last packet and the next.
    #[serde(default)]
    pub loss: Option<Loss>,
    /// What is kept of the search under way.
    #[serde(default, skip_serializing_if = "Withheld::is_nothing")]
    pub withheld: Withheld,
    /// So many chunks since the last packet are missing, or were passed in search of a place to go on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missing: u32,
    /// So many of the bytes that the demuxer holds back in its search are kept with the gap before it, too: they may end in that.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kept: usize,
    /// Container times are too early by what the clock has shown of a hole: a Cluster began in it whose Timestamp is not known.
    #[serde(default, skip_serializing_if = "is_default")]
    pub too_early: bool,
}

/// What was passed in search of a Cluster, and is kept with the gap before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// Bytes.
    pub bytes: u64,
    /// Whole chunks.
    pub chunks: u32,
}

impl Withheld {
    /// 30 s of one Cluster at 128 kb/s are 480 kB.
    const MAX_BYTES: u64 = 512 * 1024;
    /// 30 s of chunks of 100 ms.
    const MAX_CHUNKS: u32 = 300;

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether no more may be kept.
    pub fn is_full(self) -> bool {
        self.bytes > Self::MAX_BYTES || self.chunks > Self::MAX_CHUNKS
    }

    /// Takes in a chunk.
    pub(crate) fn take(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        self.chunks = self.chunks.saturating_add(1);
    }
}

impl MediaState {
    /// What comes next does not continue what was: the demuxer looks for a place to go on, the decoder starts afresh.
    pub fn lose_chunks(&mut self) {
        self.demuxer.bytes_missing();
        self.loss = Some(Loss::Chunks);
        self.kept = 0;
    }

    /// Another page begins, with another recorder: the last one's times and lengths tell nothing of its own.
    pub(crate) fn begin_page(&mut self) {
        self.demuxer = Demuxer::new();
        self.lose_chunks();
        (self.container_end, self.packet, self.missing) = (None, Samples(0), 0);
    }

    /// Counts chunks whose audio is missing before the next packet.
    pub(crate) fn miss(&mut self, chunks: u64) {
        self.missing = self.missing.saturating_add(u32::try_from(chunks).unwrap_or(u32::MAX));
    }

    /// Of bytes that the search `passed`, those that are not kept yet.
    pub(crate) fn not_kept(&mut self, mut passed: Vec<u8>) -> Vec<u8> {
        let known = self.kept.min(passed.len());
        self.kept -= known;
        passed.split_off(known)
    }

    /// The last chunk's length, where that was plain samples: these have no container time.
    pub fn pcm_chunk(&self) -> Option<Samples> {
        (self.container_end.is_none() && !self.packet.is_zero()).then_some(self.packet)
    }

    /// Plain samples go on, the last chunk of them `chunk` long: nothing before it is needed, and no decoder.
    pub fn go_on_with_pcm(&mut self, chunk: Samples) {
        *self = Self { packet: chunk, ..Self::default() };
    }

    /// Whether the demuxer looks for a place to go on because chunks are missing.
    pub fn is_searching(&self) -> bool {
        self.loss == Some(Loss::Chunks) && self.demuxer.is_resyncing()
    }
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

/// A position and its media state, kept for the next batch or for a gap's return.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// As it was stored; see [`SCHEMA`].
    pub schema: u32,
    /// The place.
    pub position: Position,
    /// Demuxer and pre-roll there.
    pub media: MediaState,
    /// For a gap of parked chunks: where each one's audio ended, by index. They return there however they come.
    #[serde(default)]
    pub placements: Vec<(u64, EpochMs)>,
    /// For a gap: the bytes that were skipped behind it, up to the place where the audio went on. They complete the gap's
    /// last packet when its chunks come back.
    #[serde(default)]
    pub residue: Vec<Residue>,
}

/// What was skipped of one chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residue {
    /// The chunk's bytes up to that place, or all of them.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// The chunk's capture time.
    pub captured_at: EpochMs,
    /// When the queue took it.
    pub sent_at: EpochMs,
}

impl Default for Snapshot {
    /// What a session begins with.
    fn default() -> Self {
        Self {
            schema: FIRST,
            position: Position::default(),
            media: MediaState::default(),
            placements: Vec::new(),
            residue: Vec::new(),
        }
    }
}

impl Snapshot {
    /// A place with its media state, and nothing else.
    pub fn at(position: Position, media: MediaState) -> Self {
        Self { position, media, ..Self::default() }
    }

    /// Leaves out the last bytes of the residue, as many as another line has `claimed`.
    pub fn leave_claimed(&mut self, mut claimed: usize) {
        for residue in self.residue.iter_mut().rev() {
            let left = residue.bytes.len().saturating_sub(claimed);
            claimed -= residue.bytes.len() - left;
            residue.bytes.truncate(left);
        }
    }

    /// Names the snapshot by what it holds, so that nothing ever overwrites another: a plan that was given up, or a
    /// worker that lost the session, can store what it likes.
    pub fn key(&self, kind: Kind) -> SnapshotKey {
        SnapshotKey::of(kind, self.position.place(), &self.encode())
    }

    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        let schema = schema_of(self.position.amid.is_some());
        let stored = match schema == self.schema {
            true => rmp_serde::to_vec_named(self),
            false => rmp_serde::to_vec_named(&Self { schema, ..self.clone() }),
        };
        stored.expect("a snapshot holds only values that MessagePack has")
    }

    /// From storage.
    ///
    /// # Errors
    /// [`Unreadable`]: a later version's, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        from_msgpack(bytes)
    }
}
