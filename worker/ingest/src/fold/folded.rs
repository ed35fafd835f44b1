//! What a batch's chunks amount to.

use media::opus::OutputGain;
use media::time::{EpochMs, Samples};

use crate::gap::Search;
use crate::message::Rejection;
use crate::opening::Opening;
use crate::position::Position;
use crate::snapshot::{MediaState, Residue};
use crate::timeline::Timing;

/// The most audio one chunk may claim: few bytes can claim hours.
pub(super) const MAX_CHUNK: Samples = Samples::from_ms(120_000);

/// Why a chunk cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its message is at fault.
    #[error(transparent)]
    Message(#[from] Rejection),
    /// It claims more audio than a chunk may.
    #[error("the chunk holds {ms} ms of audio, more than {}; use a smaller MediaRecorder timeslice", MAX_CHUNK.ms_floor())]
    TooLong {
        /// Its audio, as far as it was looked at.
        ms: u64,
    },
    /// Its bytes are at fault.
    #[error("no audio could be read from the chunk: {0}")]
    Audio(String),
}

impl Refusal {
    /// Every code but those of messages, [`Rejection::CODES`].
    pub const CODES: [&'static str; 2] = ["CHUNK_TOO_LONG", "UNDECODABLE_AUDIO"];

    /// A short name for metrics and the DLQ's `reason` attribute.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Message(rejection) => rejection.code(),
            Self::TooLong { .. } => Self::CODES[0],
            Self::Audio(_) => Self::CODES[1],
        }
    }
}

/// One thing for the decoder to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Begin with a fresh decoder.
    Reset,
    /// Play what follows louder or softer.
    Gain(OutputGain),
    /// Decode a packet, drop its first `skip` samples and keep `keep`.
    Decode {
        /// The Opus packet.
        packet: Vec<u8>,
        /// Samples to drop at its start (pre-skip).
        skip: Samples,
        /// Samples to keep after those.
        keep: Samples,
    },
    /// Make up for a loss.
    Conceal(Samples),
    /// Samples as they are; the decoder does not hear them.
    Pcm(Vec<i16>),
}

/// Audio without a hole.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Time of its first sample.
    pub at: EpochMs,
    /// How to decode it.
    pub steps: Vec<Step>,
    /// Its length.
    pub samples: Samples,
    /// The time it takes: its length, or a little more or less where the sample clock drifts.
    pub time: Samples,
}

/// What became of one chunk.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Its audio, or why it is refused.
    pub audio: Result<Samples, Refusal>,
    /// Where its audio begins and ends, if it has any.
    pub span: Option<(EpochMs, EpochMs)>,
}

/// Sound that is in the chunks and is not decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undecoded {
    /// The codecs of the audio tracks beside the one that is heard, of each recording that begins.
    pub audio_beside: Vec<String>,
    /// Blocks that are encrypted.
    pub encrypted_blocks: u64,
}

impl Undecoded {
    /// Adds what another chunk has.
    pub(super) fn add(&mut self, other: Self) {
        self.audio_beside.extend(other.audio_beside);
        self.encrypted_blocks += other.encrypted_blocks;
    }
}

/// What a batch's chunks amount to.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    /// Where the line goes on.
    pub end: Position,
    /// The media state there.
    pub media: MediaState,
    /// The audio, in time order.
    pub runs: Vec<Run>,
    /// Holes between the chunks, refused chunks included.
    pub gaps: Vec<Opening>,
    /// What was skipped at the beginning, if the line was already searching for a place to go on: it completes an earlier gap.
    pub residue: Vec<Residue>,
    /// The search that left `residue`.
    pub search: Search,
    /// One for each chunk.
    pub chunks: Vec<Outcome>,
    /// When each was captured and how much audio it has.
    pub timings: Vec<Timing>,
    /// The first chunk whose place in time is in doubt: a pause or a stall lies before it, and more chunks will show which.
    pub doubtful: Option<usize>,
    /// See there.
    pub undecoded: Undecoded,
}

impl Folded {
    /// All the audio.
    pub fn samples(&self) -> Samples {
        self.runs.iter().map(|run| run.samples).sum()
    }

    /// The audio of the first `chunks`.
    pub fn samples_of(&self, chunks: usize) -> Samples {
        self.chunks.iter().take(chunks).filter_map(|chunk| chunk.audio.as_ref().ok()).copied().sum()
    }
}
