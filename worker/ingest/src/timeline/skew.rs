//! The skew: what a speaker's clock is off the queue's.

use media::time::Samples;

use super::heard::{HELD_UP_MS, Heard, STEADY_FOR, STEADY_MS};
use super::state::{PAUSE_MS, SCALE, Timeline};
use super::timing::{Timing, clock_was_set};

/// A speaker's clock this far behind the queue's is broken, not slow; the queue's is used instead.
const BROKEN_CLOCK_MS: i64 = 24 * 3_600_000;
/// Usual time from a chunk's capture to the queue.
const USUAL_DELAY_MS: i64 = 250;

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
