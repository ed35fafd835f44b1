//! The skew: what a speaker's clock is off the queue's.

use media::time::{EpochMs, Samples};
use serde::{Deserialize, Serialize};

use super::timing::{Timing, clock_was_set, is_time_for};
use super::{PAUSE_MS, SCALE, Timeline};

/// A speaker's clock this far behind the queue's is broken, not slow; the queue's is used instead.
const BROKEN_CLOCK_MS: i64 = 24 * 3_600_000;
/// Capture times that go ahead of the queue's by more were stamped by a clock that was set, once [`STEADY_FOR`] has come.
pub(super) const CLOCK_SET_AHEAD_MS: i64 = 500;
/// Chunks take equally long to the queue if their times on the way differ by no more. (While a page sends what it has kept, each
/// takes less time than the one before.)
const STEADY_MS: u64 = 250;
/// How much audio must have taken equally long before a clock that is set ahead can be recognised.
const STEADY_FOR: Samples = Samples::from_ms(900);
/// A recorder's event comes that much after its blob's audio has ended, at the most.
const EVENT_MS: i64 = 30;
/// Usual time from a chunk's capture to the queue.
const USUAL_DELAY_MS: i64 = 250;
/// Chunks that reach it later than this were held up; they say nothing about the clock.
pub(crate) const HELD_UP_MS: i64 = 2_000;

/// The clocks at a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heard {
    captured_at: EpochMs,
    /// How long it took to the queue by the corrected clock, as far as that tells of the clock.
    delay_ms: i64,
    #[serde(default)]
    pub(super) sent_at: EpochMs,
    /// By how much the queue's clock was ahead of the speaker's when chunks began to take equally long.
    #[serde(default)]
    pub(super) usually_behind_ms: i64,
    /// How much audio has come since chunks began to take equally long.
    #[serde(default)]
    steady: Samples,
}

impl Heard {
    /// Whether the `next` chunk took as long to the queue as this one, and was not sent at once with it out of what a page had kept.
    fn took_as_long_as(&self, next: &Timing) -> bool {
        let behind_ms = self.sent_at.0 as i64 - self.captured_at.0 as i64;
        let captured_ms = next.captured_at.ms_since(self.captured_at);
        let sent_ms = next.sent_at.ms_since(self.sent_at);
        behind_ms.abs_diff(next.behind_ms()) <= STEADY_MS && captured_ms > 0 && sent_ms * 2 >= captured_ms
    }

    /// By how much the speaker's clock was set ahead between this chunk and the `next`. The queue's time between them, and what of
    /// it no audio fills, tell a clock from a pause and from chunks that were kept and come faster than they were spoken.
    fn set_ahead_ms(&self, next: &Timing, skew_ms: i64) -> Option<i64> {
        let ahead_ms = self.usually_behind_ms - next.behind_ms();
        let took_ms = next.sent_at.ms_since(self.sent_at) as i64;
        let audio = next.samples + next.joint.hole();
        let audio_ms = audio.ms_floor() as i64;
        // The event of the blob before may have come that much late; what a page has kept comes all at once.
        let spoken_ms = took_ms + took_ms.min(EVENT_MS);
        // If the clock was set, a blob that came as long after the one before as it is long took as long as that. But behind what was
        // late it may just have taken less.
        let took_less = next.behind_ms() >= skew_ms;
        let as_long = took_ms.abs_diff(audio_ms) <= STEADY_MS && !took_less;
        let steady = if as_long { self.steady + next.samples } else { self.steady };
        // How long a blob is whose last piece has not come, nobody knows yet.
        let at_its_pace =
            steady >= STEADY_FOR && is_time_for(spoken_ms.unsigned_abs(), audio) && !next.continues;
        (at_its_pace && ahead_ms > CLOCK_SET_AHEAD_MS && ahead_ms > took_ms - audio_ms).then_some(ahead_ms)
    }

    /// By how much it was set back.
    fn set_back_ms(&self, next: &Timing, skew_ms: i64) -> Option<i64> {
        let usually_behind_ms =
            if self.steady >= STEADY_FOR { self.usually_behind_ms } else { skew_ms + self.delay_ms };
        clock_was_set(self.captured_at, next.captured_at).then_some(next.behind_ms() - usually_behind_ms)
    }
}

impl Timeline {
    /// Takes over what a later timeline has learnt of the speaker's clock: a chunk that comes late cannot show it. Where that was set
    /// in between, the chunks before are still to come.
    pub fn learn_skew(&mut self, later: &Self) {
        let set_ms = later.set_ms - self.set_ms;
        self.skew_ms = self.skew_ms.min(later.skew_ms - set_ms);
    }

    /// Keeps the speaker's clock together with the queue's.
    pub(super) fn follow_clock(&mut self, first: &Timing, after: &[Timing], in_gap: bool) {
        let chunk = &blob_of(first, after);
        let behind_ms = chunk.behind_ms();
        let lowest_ms = lowest_behind_ms(chunk, after);
        if self.stretch_at.is_none() && behind_ms > BROKEN_CLOCK_MS {
            self.skew_ms = behind_ms;
        }
        if in_gap {
            self.skew_ms = self.skew_ms.min(lowest_ms);
            return;
        }
        let set_ahead_ms = self.last.and_then(|last| last.set_ahead_ms(chunk, self.skew_ms));
        let set_back_ms = self.last.and_then(|last| last.set_back_ms(chunk, self.skew_ms));
        // What the chunks before took to the queue, this one takes.
        let set_ms = set_back_ms.or(set_ahead_ms.map(|ms| -ms)).unwrap_or_default();
        self.skew_ms += set_ms;
        self.set_ms += set_ms;
        let delay_ms = behind_ms - self.skew_ms;
        if (USUAL_DELAY_MS..HELD_UP_MS).contains(&delay_ms) {
            let rise_ms = (first.samples.ms_floor() * SCALE.0 / SCALE.1) as i64;
            self.skew_ms += rise_ms.min(delay_ms - USUAL_DELAY_MS);
        }
        // The queue cannot have taken a chunk before it was captured: where it seems so, the speaker's clock is ahead.
        self.skew_ms = self.skew_ms.min(lowest_ms);
        let as_before = self.last.is_some_and(|last| set_ms == 0 && last.took_as_long_as(chunk));
        let usually = self.last.map(|last| (last.usually_behind_ms + set_ms, last.steady));
        let (usually_behind_ms, steady) = match usually {
            Some((usually_ms, before)) if usually_ms.abs_diff(behind_ms) <= STEADY_MS => {
                (usually_ms, before + chunk.samples)
            }
            // What was held up is no rule, unless the way has become so much longer.
            Some((usually_ms, _)) if behind_ms > usually_ms + HELD_UP_MS && !as_before => {
                (usually_ms, Samples(0))
            }
            _ => (behind_ms, Samples(0)),
        };
        self.last = Some(Heard {
            captured_at: chunk.captured_at,
            delay_ms: (behind_ms - self.skew_ms).min(HELD_UP_MS),
            sent_at: chunk.sent_at,
            usually_behind_ms,
            steady,
        });
    }
}

/// The chunk with those that continue its blob, as far as they are in sight. All were captured at once, so that the one that the queue
/// took first tells most of the clock.
fn blob_of(chunk: &Timing, after: &[Timing]) -> Timing {
    let same_blob = |next: &&Timing| next.captured_at == chunk.captured_at;
    let pieces = after.iter().take_while(same_blob).filter(|_| chunk.continues);
    pieces.fold(*chunk, |blob, piece| Timing {
        samples: blob.samples + piece.joint.hole() + piece.samples,
        sent_at: blob.sent_at.min(piece.sent_at),
        continues: piece.continues,
        ..blob
    })
}

/// What the queue's clock was ahead of the speaker's, by the chunk at hand that took least time to the queue: a page that had no
/// network sends its first chunks late. Where the clock was set meanwhile, the rest tells nothing.
fn lowest_behind_ms(chunk: &Timing, after: &[Timing]) -> i64 {
    let mut lowest_ms = chunk.behind_ms();
    let mut before = chunk.captured_at;
    let mut audio = Samples(0);
    for next in after {
        audio += next.samples + next.joint.hole();
        if next.continues {
            // How long its blob is shows its end. But had the clock been set ahead before it, there was no time for so much.
            let set_ms = lowest_ms - next.behind_ms();
            let left_ms = next.captured_at.0 as i64 - before.0 as i64 - set_ms;
            if set_ms > 0 && audio.ms_floor() as i64 > left_ms + PAUSE_MS {
                lowest_ms = next.behind_ms();
            }
            continue;
        }
        let later_ms = next.captured_at.ms_since(before);
        if later_ms > audio.ms_ceil() + PAUSE_MS as u64 || clock_was_set(before, next.captured_at) {
            break;
        }
        lowest_ms = lowest_ms.min(next.behind_ms());
        (before, audio) = (next.captured_at, Samples(0));
    }
    lowest_ms
}

/// Whether the newest chunks at hand came as they were spoken. Of what a page sends at once that had no network before, each chunk takes
/// less time to the queue than the one before it: only the last ones show whether the speaker's clock is ahead.
pub(super) fn tells_clock(chunk: &Timing, after: &[Timing]) -> bool {
    let Some(newest) = after.last() else { return true };
    let span_ms = |earlier: &Timing| newest.captured_at.ms_since(earlier.captured_at);
    let is_long = |earlier: &&Timing| span_ms(earlier) >= STEADY_FOR.ms_floor();
    let earlier = after.iter().rev().find(is_long).unwrap_or(chunk);
    newest.sent_at.ms_since(earlier.sent_at) * 2 >= span_ms(earlier)
}
