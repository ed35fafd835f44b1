//! The lag: a pause, or a page that stalls?

use media::time::{EpochMs, Samples};

use super::state::Timeline;
use super::timing::{Joint, Timing, clock_was_set, is_time_for};

/// By how much a chunk and those behind it come late.
pub(super) struct Lag {
    /// The lowest of them.
    pub(super) lowest_ms: i64,
    /// A chunk was captured about as much later than the one before it as it is long: no burst is under way.
    pub(super) settled: bool,
    /// The end of the chunk's blob is in sight; what comes later only makes the lag smaller.
    pub(super) whole: bool,
}

impl Timeline {
    /// When the chunk's first sample was captured, by the speaker's corrected clock.
    pub(super) fn capture_start(&self, chunk: &Timing) -> u64 {
        self.corrected(chunk.captured_at).0.saturating_sub(chunk.samples.ms_floor())
    }

    /// The lag of the chunk and of those that continue it. Before any audio, lags are counted from the chunk's own capture
    /// time, so the lowest is 0 or below.
    pub(super) fn lag(&self, chunk: &Timing, after: &[Timing]) -> Lag {
        let base = self.end().map_or_else(|| self.capture_start(chunk), |end| end.0) as i64;
        let whole = is_whole(chunk, after);
        let mut lag = Lag { lowest_ms: self.capture_start(chunk) as i64 - base, settled: false, whole };
        let mut before = chunk.samples;
        let mut blob = Blob { captured_at: chunk.captured_at, after_ms: 0, samples: chunk.samples };
        let mut at_its_pace = false;
        for next in after.iter().filter(|next| next.samples > Samples(0)) {
            if clock_was_set(blob.captured_at, next.captured_at) {
                break; // its time cannot be compared
            }
            match next.joint {
                Joint::Continues | Joint::Missing(_) | Joint::AtLeast { .. } => before += next.joint.hole(),
                // It was handed out with what lies before the missing ones: its recorder went on.
                Joint::ClockBehind(missing) if blob.is_handed_out_with(next) => before += missing,
                Joint::Clock | Joint::ClockBehind(_) => {
                    lag.settled = true; // its recorder was stopped: nothing of it is still to come
                    break;
                }
            }
            let lag_ms = self.capture_start(next) as i64 - (base + before.ms_ceil() as i64);
            lag.lowest_ms = lag.lowest_ms.min(lag_ms);
            lag.settled |= at_its_pace && next.captured_at != blob.captured_at;
            blob.go_on(next);
            at_its_pace = !next.continues && blob.is_at_its_pace();
            before += next.samples;
        }
        lag.settled |= at_its_pace;
        lag
    }
}

/// Pieces of one blob, as far as they are in sight.
struct Blob {
    captured_at: EpochMs,
    /// How much later it was captured than the one before it.
    after_ms: u64,
    samples: Samples,
}

impl Blob {
    /// Takes in what was handed out at the same time, whether or not the page says that it is a piece; or begins another blob with it.
    fn go_on(&mut self, next: &Timing) {
        if next.captured_at == self.captured_at {
            self.samples += next.samples;
            return;
        }
        let after_ms = next.captured_at.ms_since(self.captured_at);
        *self = Self { captured_at: next.captured_at, after_ms, samples: next.samples };
    }

    /// Whether there was no time to record the `next` chunk in between.
    fn is_handed_out_with(&self, next: &Timing) -> bool {
        !is_time_for(next.captured_at.ms_since(self.captured_at), next.samples)
    }

    fn is_at_its_pace(&self) -> bool {
        is_time_for(self.after_ms, self.samples)
    }
}

/// Whether the last piece of the chunk's blob is in sight; or, where that is missing, a later blob's, which tells as much.
fn is_whole(chunk: &Timing, after: &[Timing]) -> bool {
    !chunk.continues || after.iter().any(|next| !next.continues)
}
