//! The clocks at a chunk, and what they show at the next one: was the speaker's set?

use media::time::{EpochMs, Samples};
use serde::{Deserialize, Serialize};

use super::timing::{Timing, clock_was_set, is_time_for};

/// Capture times that go ahead of the queue's by more were stamped by a clock that was set, once [`STEADY_FOR`] has come.
pub(super) const CLOCK_SET_AHEAD_MS: i64 = 500;
/// Chunks take equally long to the queue if their times on the way differ by no more. (While a page sends what it has kept, each
/// takes less time than the one before.)
pub(super) const STEADY_MS: u64 = 250;
/// How much audio must have taken equally long before a clock that is set ahead can be recognised.
pub(super) const STEADY_FOR: Samples = Samples::from_ms(900);
/// Late blobs lift the skew by 15 ms each: by no more than this until the delay that they share is the rule.
const LIFTED_MS: i64 = 250;
/// A recorder's event comes that much after its blob's audio has ended, at the most.
const EVENT_MS: i64 = 30;
/// Chunks that reach the queue later than this were held up; they say nothing about the clock.
pub(crate) const HELD_UP_MS: i64 = 2_000;

/// The clocks at a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heard {
    pub(super) captured_at: EpochMs,
    /// How long it took to the queue by the corrected clock, as far as that tells of the clock.
    pub(super) delay_ms: i64,
    #[serde(default)]
    pub(super) sent_at: EpochMs,
    /// By how much the queue's clock was ahead of the speaker's when chunks began to take equally long.
    #[serde(default)]
    pub(super) usually_behind_ms: i64,
    /// How much audio has come since chunks began to take equally long.
    #[serde(default)]
    pub(super) steady: Samples,
}

impl Heard {
    /// Whether the `next` chunk took as long to the queue as this one, and was not sent at once with it out of what a page had kept.
    pub(super) fn took_as_long_as(&self, next: &Timing) -> bool {
        let behind_ms = self.sent_at.0 as i64 - self.captured_at.0 as i64;
        let captured_ms = next.captured_at.ms_since(self.captured_at);
        let sent_ms = next.sent_at.ms_since(self.sent_at);
        behind_ms.abs_diff(next.behind_ms()) <= STEADY_MS && captured_ms > 0 && sent_ms * 2 >= captured_ms
    }

    /// By how much the speaker's clock was set ahead between this chunk and the `next`. The queue's time between them, and what of
    /// it no audio fills, tell a clock from a pause and from chunks that were kept and come faster than they were spoken.
    pub(super) fn set_ahead_ms(&self, next: &Timing, skew_ms: i64) -> Option<i64> {
        let ahead_ms = self.usually_behind_ms - next.behind_ms();
        let took_ms = next.sent_at.ms_since(self.sent_at) as i64;
        let audio = next.samples + next.joint.hole();
        let audio_ms = audio.ms_floor() as i64;
        // The event of the blob before may have come that much late; what a page has kept comes all at once.
        let spoken_ms = took_ms + took_ms.min(EVENT_MS);
        // If the clock was set, a blob that came as long after the one before as it is long took as long as that. But behind what was
        // late it may just have taken less.
        let took_less = next.behind_ms() + LIFTED_MS >= skew_ms;
        let as_long = took_ms.abs_diff(audio_ms) <= STEADY_MS && !took_less;
        let steady = if as_long { self.steady + next.samples } else { self.steady };
        // How long a blob is whose last piece has not come, nobody knows yet.
        let at_its_pace =
            steady >= STEADY_FOR && is_time_for(spoken_ms.unsigned_abs(), audio) && !next.continues;
        (at_its_pace && ahead_ms > CLOCK_SET_AHEAD_MS && ahead_ms > took_ms - audio_ms).then_some(ahead_ms)
    }

    /// By how much it was set back.
    pub(super) fn set_back_ms(&self, next: &Timing, skew_ms: i64) -> Option<i64> {
        let usually_behind_ms =
            if self.steady >= STEADY_FOR { self.usually_behind_ms } else { skew_ms + self.delay_ms };
        clock_was_set(self.captured_at, next.captured_at).then_some(next.behind_ms() - usually_behind_ms)
    }
}
