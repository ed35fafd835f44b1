//! A chunk after the first pass.

use media::demux::TimeBasis;
use media::opus::OutputGain;
use media::time::{EpochMs, Samples};

use super::folded::{Refusal, Step, Undecoded};
use crate::piece::Head;
use crate::snapshot::MediaState;
use crate::timeline::{Joint, is_time_for};

/// Audio behind a hole told by container time may begin this much later than it was captured before the hole is disbelieved.
const HOLE_TOLERANCE_MS: u64 = 2_000;
/// What a page that stood still hands out is no older: a longer hole in it is disbelieved.
const LONGEST_STALL_MS: u64 = 3_600_000;
/// Codecs of sound, as they are called in Ogg; WebM says it in their name.
const AUDIO_IN_OGG: [&str; 6] = ["Opus", "Vorbis", "FLAC", "Speex", "CELT", "PCM"];

/// A chunk after the first pass.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Taken {
    pub(super) steps: Vec<Step>,
    pub(super) samples: Samples,
    pub(super) joint: Joint,
    /// The recording's output gain.
    pub(super) gain: OutputGain,
    /// No decoder of this chunk's knows it yet.
    pub(super) gain_due: bool,
    /// What the hole in `joint` is worth.
    pub(super) basis: TimeBasis,
    /// How long the packet behind that hole is.
    pub(super) packet: Samples,
    /// By how much the container times since the last loss were too early, if this chunk tells.
    pub(super) too_early: Option<Samples>,
    /// It has container times that are known.
    pub(super) knows: bool,
    /// The capture clock's time since the chunk before, or since the one before those that this batch passed in search.
    pub(super) elapsed_ms: u64,
    /// Chunks missing, or passed in search, since the last audio.
    pub(super) behind: u32,
    /// Its time since the audio before had ended: more where that was handed out late, by a page that had stalled.
    pub(super) room_ms: u64,
    /// The recording that begins in it.
    pub(super) recording: Option<String>,
    pub(super) refusal: Option<Refusal>,
    /// The media state before the hole that lies before this chunk (or is this chunk).
    pub(super) hole: Option<MediaState>,
    /// What was skipped of it in search of a Cluster.
    pub(super) residue: Vec<u8>,
    /// The whole chunk was skipped.
    pub(super) withheld: bool,
    /// So many of the bytes that were kept with the gap before begin the place where the search has ended.
    pub(super) claimed: usize,
    pub(super) undecoded: Undecoded,
}

impl Taken {
    pub(super) fn nothing(elapsed_ms: u64, room_ms: u64) -> Self {
        Self {
            steps: Vec::new(),
            samples: Samples(0),
            joint: Joint::Continues,
            gain: OutputGain::default(),
            gain_due: true,
            basis: TimeBasis::Known,
            packet: Samples(0),
            too_early: None,
            knows: false,
            elapsed_ms,
            behind: 0,
            room_ms,
            recording: None,
            refusal: None,
            hole: None,
            residue: Vec::new(),
            withheld: false,
            claimed: 0,
            undecoded: Undecoded::default(),
        }
    }

    /// Whether the audio behind this hole was not captured before it was spoken.
    pub(super) fn has_room_for(&self, hole: Samples) -> bool {
        let room_ms = if self.is_of_burst() { LONGEST_STALL_MS } else { self.room_ms + HOLE_TOLERANCE_MS };
        hole.ms_floor() <= room_ms
    }

    /// Whether it was handed out sooner after the one before it than it is long: both waited for the page, nobody knows how long.
    fn is_of_burst(&self) -> bool {
        !is_time_for(self.elapsed_ms, self.samples)
    }

    /// Where there was no time for the hole before it, only the clock places it.
    pub(super) fn disbelieve_hole(&mut self) {
        if matches!(self.joint, Joint::Missing(hole) if !self.has_room_for(hole)) {
            self.joint = Joint::Clock;
        }
    }

    /// Only the clock places it. Chunks that are missing before it were, as a rule, no longer than the `longest` that is there, and so
    /// was this one with what is missing of its own.
    pub(super) fn by_clock(&self, longest: Samples) -> Joint {
        match u64::from(self.behind) {
            0 => Joint::Clock,
            missing => {
                let own =
                    if self.residue.is_empty() { Samples(0) } else { longest.saturating_sub(self.samples) };
                Joint::ClockBehind(Samples(longest.0.saturating_mul(missing)) + own)
            }
        }
    }

    /// When its audio had ended at the earliest; `before`: the same of the audio before it.
    pub(super) fn ended_at(&self, before: EpochMs, captured_at: EpochMs) -> EpochMs {
        match self.joint {
            Joint::Clock | Joint::ClockBehind(_) => captured_at,
            Joint::Continues => before.plus(self.samples).min(captured_at),
            Joint::Missing(hole) | Joint::AtLeast { hole, .. } => {
                before.plus(hole + self.samples).min(captured_at)
            }
        }
    }

    pub(super) fn reset(&mut self) {
        self.steps.push(Step::Reset);
        self.gain_due = true;
    }

    /// Hardly a recorder sets a gain, and no decoder that another left keeps one in mind.
    pub(super) fn decode(&mut self, packet: Vec<u8>, skip: Samples, keep: Samples) {
        if std::mem::take(&mut self.gain_due) && !self.gain.is_none() {
            self.steps.push(Step::Gain(self.gain));
        }
        self.samples += keep;
        self.steps.push(Step::Decode { packet, skip, keep });
    }

    /// A stream beside the one that is heard.
    pub(super) fn meet(&mut self, codec: String) {
        if AUDIO_IN_OGG.contains(&codec.as_str()) {
            self.undecoded.audio_beside.push(codec);
        }
    }

    pub(super) fn conceal(&mut self, lost: Samples) {
        if lost > Samples(0) {
            self.samples += lost;
            self.steps.push(Step::Conceal(lost));
        }
    }
}

/// What lies between a chunk and the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Before {
    /// Something is missing.
    pub(super) missing: bool,
    /// So many chunks, where both are of one page.
    pub(super) lost: Option<u64>,
    /// What was taken of it before.
    pub(super) from: Option<Head>,
}
