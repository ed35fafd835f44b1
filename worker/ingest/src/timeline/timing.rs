//! What the timeline is told of a chunk, and what it tells.

use media::time::{EpochMs, Samples};

use crate::clock::SET_BACK_MS;

/// How a chunk joins the audio before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// Same recording, nothing missing.
    Continues,
    /// Same recording; chunks are missing and the container shows how much audio they held.
    Missing(Samples),
    /// The same, but the container only shows how much they held at least, and how long its packets are. The speaker's clock shows
    /// the rest, and leaves room for what may come back: the hole is whole packets, and rather one too many.
    AtLeast {
        /// What they held at least.
        hole: Samples,
        /// The length of a packet.
        packet: Samples,
    },
    /// A new recording, or nothing is known about what lies between: only the speaker's clock can place it.
    Clock,
    /// The same, and chunks are missing that held about as much as this.
    ClockBehind(Samples),
}

impl Joint {
    /// The audio that is known to be missing before the chunk.
    pub(super) fn hole(self) -> Samples {
        match self {
            Self::Missing(hole) | Self::AtLeast { hole, .. } => hole,
            Self::Continues | Self::Clock | Self::ClockBehind(_) => Samples(0),
        }
    }
}

/// What the timeline needs to know of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Its audio.
    pub samples: Samples,
    /// The speaker's clock, about the end of its audio, or of the blob or chunk that it is part of.
    pub captured_at: EpochMs,
    /// The queue's clock when it took the message.
    pub sent_at: EpochMs,
    /// How it joins the chunk before.
    pub joint: Joint,
    /// Its blob, or its chunk, goes on in the next one.
    pub continues: bool,
}

impl Timing {
    /// What the queue's clock was ahead of the speaker's.
    pub(super) fn behind_ms(&self) -> i64 {
        self.sent_at.0 as i64 - self.captured_at.0 as i64
    }
}

/// What is known around a chunk that is placed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight {
    /// Nothing more is on its way: only what can be seen shows whether there was a pause.
    pub calm: bool,
    /// It comes back into a gap: its own time and the queue's prove little.
    pub in_gap: bool,
    /// Where it must begin at the latest for itself and those behind it to fit a hole.
    pub latest: Option<EpochMs>,
}

/// Where a chunk's audio lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Time of its first sample.
    pub at: EpochMs,
    /// How much time it takes: its samples, or a little more or less where the sample clock drifts.
    pub time: Samples,
    /// Whether it follows the audio before it without a hole.
    pub joined: bool,
    /// A large lag that may be a pause or a stall: more chunks will show which.
    pub doubtful: bool,
}

/// Whether audio that is handed out so long after what was handed out before may have been recorded in between: a recorder's event comes
/// up to a quarter early.
pub(crate) fn is_time_for(elapsed_ms: u64, audio: Samples) -> bool {
    elapsed_ms * 4 >= audio.ms_floor() * 3
}

/// Whether the speaker's clock was set back between two chunks.
pub(super) fn clock_was_set(before: EpochMs, after: EpochMs) -> bool {
    before.ms_since(after) > SET_BACK_MS
}
