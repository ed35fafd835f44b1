//! What is known of a session's time up to some chunk.

use media::time::{EpochMs, Samples};
use serde::{Deserialize, Serialize};

use super::heard::Heard;
use crate::schema::is_default;

/// A lag over this is a pause or a stall of the capture, not jitter. Shorter ones join the audio.
pub const PAUSE_MS: i64 = 500;
/// Times are scaled by up to 3/200. A sound card drifts by less than 1 %.
pub(super) const SCALE: (u64, u64) = (3, 200);

/// The timeline up to some chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Start of the current stretch; `None` before the first audio.
    pub(super) stretch_at: Option<EpochMs>,
    /// Time since then, in samples; scaled where the sample clock drifts.
    pub(super) samples: Samples,
    /// Added to capture times: corrects a speaker's clock that differs from the queue's.
    pub(super) skew_ms: i64,
    /// What of it clocks that were set while the session went on have added.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) set_ms: i64,
    /// The last lag seen.
    pub(super) lag_ms: i64,
    /// Nothing more lies before this: there, chunks that came back were written.
    #[serde(default)]
    pub(super) taken_until: Option<EpochMs>,
    /// Times are scaled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) drifts: bool,
    /// The last chunk's clock readings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Heard>,
    /// Capture time of the last chunk's blob, if that goes on in the next chunk or part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) blob: Option<EpochMs>,
}

impl Timeline {
    /// End of the audio so far, rounded up so that what follows never overlaps; `None` before the first audio.
    pub fn end(&self) -> Option<EpochMs> {
        self.stretch_at.map(|at| EpochMs(at.0 + self.samples.ms_ceil()))
    }

    /// The speaker's clock minus the media clock at the last chunk, in ms: drift, measured since the stretch began.
    pub fn drift_ms(&self) -> i64 {
        self.lag_ms
    }

    /// A capture time by the queue's clock.
    pub fn corrected(&self, captured_at: EpochMs) -> EpochMs {
        EpochMs(captured_at.0.saturating_add_signed(self.skew_ms))
    }

    /// When the audio so far had ended, by the speaker's clock, at the earliest. Its last chunk was captured at `captured_at`.
    pub fn ended_at(&self, captured_at: EpochMs) -> EpochMs {
        let by_speaker = |end: EpochMs| EpochMs(end.0.saturating_add_signed(-self.skew_ms));
        self.end().map_or(captured_at, |end| by_speaker(end).min(captured_at))
    }

    /// What the queue's clock is ahead of the speaker's when it takes a chunk, as a rule; `None` before the first.
    pub fn usually_behind_ms(&self) -> Option<i64> {
        self.last.map(|last| last.usually_behind_ms)
    }

    /// When the queue took the last chunk.
    pub fn last_sent_at(&self) -> Option<EpochMs> {
        self.last.map(|last| last.sent_at)
    }
}
