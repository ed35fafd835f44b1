//! Where a session's audio lies in time: never backward, never in the future, following the speaker's clock.
//!
//! Samples are the truth inside a *stretch* (audio without a hole): its start plus the samples since gives every
//! time, so jitter in container timecodes or capture times neither adds nor drops audio. The speaker's clock
//! (each chunk's capture `timestamp`, taken when the chunk's audio had just ended) shows what the container hides: a pause.
//! The *lag* is by how much a chunk, joined to the audio before it, would end before its capture time. A short lag is
//! jitter or a stalled page and passes by itself; a lag that holds for every chunk in sight was silence nobody
//! recorded, and a new stretch begins after it.

use media::time::{EpochMs, Samples};
use serde::{Deserialize, Serialize};

/// A lag over this is a pause or a stall of the capture, not jitter. Shorter ones join the audio.
pub const PAUSE_MS: i64 = 500;

/// A speaker's clock this far behind the queue's is broken, not slow; the queue's is used instead.
const BROKEN_CLOCK_MS: i64 = 24 * 3_600_000;

/// The timeline up to some chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Start of the current stretch; `None` before the first audio.
    stretch_at: Option<EpochMs>,
    /// Samples since then.
    samples: Samples,
    /// Added to capture times: corrects a speaker's clock that is ahead of the queue's.
    skew_ms: i64,
    /// The last lag seen.
    lag_ms: i64,
    /// Nothing more lies before this: there, chunks that came back were written.
    #[serde(default)]
    taken_until: Option<EpochMs>,
}

/// How a chunk joins the audio before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joint {
    /// Same recording, nothing missing.
    Continues,
    /// Same recording; chunks are missing and the container tells how much audio they held.
    Missing(Samples),
    /// A new recording, or nothing is known about what lies between: only the speaker's clock tells.
    Clock,
}

/// What the timeline needs to know of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Its audio.
    pub samples: Samples,
    /// The speaker's clock, about the end of its audio.
    pub captured_at: EpochMs,
    /// The queue's clock when it took the message.
    pub sent_at: EpochMs,
    /// How it joins the chunk before.
    pub joint: Joint,
}

/// Where a chunk's audio lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Time of its first sample.
    pub at: EpochMs,
    /// Whether it follows the audio before it without a hole.
    pub joined: bool,
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

    /// Places `chunk`. Those `after` it are only looked at to tell a pause from a passing stall. Where a hole is being
    /// filled, `latest` is where the chunk must begin at the latest for itself and those after it to fit.
    pub fn place(&mut self, chunk: &Timing, after: &[Timing], latest: Option<EpochMs>) -> Placement {
        self.correct_skew(chunk);
        self.skip_missing(chunk);
        let lag_ms = self.lowest_lag_ms(chunk, after);
        let start = match self.end() {
            None => self.capture_start(chunk).saturating_add_signed(lag_ms.min(0)),
            Some(end) => {
                let jumps = lag_ms > PAUSE_MS || (chunk.joint == Joint::Clock && lag_ms > 0);
                end.0 + if jumps { lag_ms.unsigned_abs() } else { 0 }
            }
        };
        let within = latest.map_or(start, |latest| start.min(latest.0));
        self.put(chunk, EpochMs(within).max(self.free_from()), lag_ms)
    }

    /// Places `chunk` so that it ends where an earlier plan had it end.
    pub fn place_again(&mut self, chunk: &Timing, ends_at: EpochMs) -> Placement {
        self.correct_skew(chunk);
        self.skip_missing(chunk);
        let lag_ms = self.lowest_lag_ms(chunk, &[]);
        let at = ends_at.0.saturating_sub(chunk.samples.ms_ceil());
        let at = match self.end() {
            Some(end) if at <= end.0 + 1 => end, // parts of a ms are rounded apart
            _ => EpochMs(at),
        };
        self.put(chunk, at.max(self.free_from()), lag_ms)
    }

    /// A chunk without audio of its own has a time, too: it may be what tells that the speaker's clock is ahead.
    pub fn pass_silent(&mut self, chunk: &Timing) {
        self.correct_skew(chunk);
    }

    /// Chunks from before this place came back, and their audio lies up to `until`.
    pub fn go_on_after(&mut self, until: EpochMs) {
        if self.end() < Some(until) {
            self.taken_until = self.taken_until.max(Some(until));
        }
    }

    /// Where audio can begin at the earliest.
    fn free_from(&self) -> EpochMs {
        self.end().max(self.taken_until).unwrap_or_default()
    }

    /// Takes over what a later timeline has learnt of the speaker's clock: a chunk that comes late cannot tell.
    pub fn learn_skew(&mut self, later: &Self) {
        self.skew_ms = self.skew_ms.min(later.skew_ms);
    }

    fn skip_missing(&mut self, chunk: &Timing) {
        if let (Joint::Missing(hole), true) = (chunk.joint, self.stretch_at.is_some()) {
            self.samples += hole;
        }
    }

    /// Continues the stretch where the chunk begins at its end, begins a new one where not.
    fn put(&mut self, chunk: &Timing, at: EpochMs, lag_ms: i64) -> Placement {
        if self.end() == Some(at) {
            self.samples += chunk.samples;
            self.lag_ms = lag_ms;
            let joined = !matches!(chunk.joint, Joint::Missing(hole) if hole > Samples(0));
            return Placement { at, joined };
        }
        let begun = Self { stretch_at: Some(at), samples: chunk.samples, ..Self::default() };
        *self = Self { skew_ms: self.skew_ms, ..begun };
        Placement { at, joined: false }
    }

    /// The queue cannot have taken a chunk before it was captured: where it seems so, the speaker's clock is ahead.
    fn correct_skew(&mut self, chunk: &Timing) {
        let behind_ms = chunk.sent_at.0 as i64 - chunk.captured_at.0 as i64;
        if behind_ms < self.skew_ms || (self.stretch_at.is_none() && behind_ms > BROKEN_CLOCK_MS) {
            self.skew_ms = behind_ms;
        }
    }

    /// When the chunk's first sample was captured, by the speaker's corrected clock.
    fn capture_start(&self, chunk: &Timing) -> u64 {
        chunk.captured_at.0.saturating_add_signed(self.skew_ms).saturating_sub(chunk.samples.ms_floor())
    }

    /// The lowest lag of the chunk and of those that continue it. Before any audio, lags are counted from the
    /// chunk's own capture time, so the result is 0 or below.
    fn lowest_lag_ms(&self, chunk: &Timing, after: &[Timing]) -> i64 {
        let base = self.end().map_or_else(|| self.capture_start(chunk), |end| end.0) as i64;
        let mut lowest = self.capture_start(chunk) as i64 - base;
        let mut before = chunk.samples;
        for next in after.iter().take_while(|next| next.joint == Joint::Continues) {
            lowest = lowest.min(self.capture_start(next) as i64 - (base + before.ms_ceil() as i64));
            before += next.samples;
        }
        lowest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_732_622_783_000;

    fn chunk(captured_ms: u64, media_ms: u64, joint: Joint) -> Timing {
        Timing {
            samples: Samples::from_ms(media_ms),
            captured_at: EpochMs(T0 + captured_ms),
            sent_at: EpochMs(T0 + captured_ms + 40),
            joint,
        }
    }

    /// Places every chunk with all later ones in sight; returns start times relative to T0.
    fn place_all(chunks: &[Timing]) -> Vec<i64> {
        let mut timeline = Timeline::default();
        (0..chunks.len())
            .map(|i| timeline.place(&chunks[i], &chunks[i + 1..], None).at.0 as i64 - T0 as i64)
            .collect()
    }

    #[test]
    fn audio_starts_when_its_first_chunk_was_captured() {
        assert_eq!(place_all(&[chunk(300, 300, Joint::Clock), chunk(600, 300, Joint::Continues)]), [0, 300]);
    }

    #[test]
    fn a_late_first_event_does_not_move_the_audio_into_the_future() {
        // The first blob was handed out 80 ms late; the second one tells.
        assert_eq!(place_all(&[chunk(380, 300, Joint::Clock), chunk(600, 300, Joint::Continues)]), [0, 300]);
    }

    #[test]
    fn a_pause_shows_in_the_time_although_the_container_hides_it() {
        let chunks = [
            chunk(300, 300, Joint::Clock),
            chunk(3600, 300, Joint::Continues),
            chunk(3900, 300, Joint::Continues),
        ];
        assert_eq!(place_all(&chunks), [0, 3300, 3600]);
    }

    #[test]
    fn a_stalled_page_that_catches_up_is_no_pause() {
        let chunks = [
            chunk(300, 300, Joint::Clock),
            chunk(1500, 300, Joint::Continues), // due at 600
            chunk(1502, 300, Joint::Continues), // due at 900
            chunk(1504, 300, Joint::Continues), // due at 1200
            chunk(1506, 300, Joint::Continues), // on time again
        ];
        assert_eq!(place_all(&chunks), [0, 300, 600, 900, 1200]);
    }

    #[test]
    fn missing_chunks_leave_a_hole_of_exactly_their_audio() {
        let missing = Joint::Missing(Samples::from_ms(600));
        assert_eq!(place_all(&[chunk(300, 300, Joint::Clock), chunk(1230, 300, missing)]), [0, 900]);
    }

    #[test]
    fn a_restarted_recorder_follows_the_clock_and_never_goes_back() {
        let later = [chunk(300, 300, Joint::Clock), chunk(700, 300, Joint::Clock)];
        assert_eq!(place_all(&later), [0, 400]);
        let early = [chunk(300, 300, Joint::Clock), chunk(500, 300, Joint::Clock)];
        assert_eq!(place_all(&early), [0, 300]);
    }

    #[test]
    fn a_clock_ahead_of_the_queue_is_corrected_so_that_no_time_lies_in_the_future() {
        let mut ahead = chunk(60_000, 300, Joint::Clock);
        ahead.sent_at = EpochMs(T0 + 400);
        assert_eq!(place_all(&[ahead]), [100]);
    }

    #[test]
    fn a_chunk_without_audio_tells_of_a_clock_that_is_ahead_for_one_that_came_late() {
        let ahead = |captured_ms: u64, sent_ms: u64| Timing {
            sent_at: EpochMs(T0 + sent_ms),
            ..chunk(60_000 + captured_ms, 300, Joint::Clock)
        };
        let mut timeline = Timeline::default();
        timeline.pass_silent(&ahead(600, 640));
        assert_eq!(timeline.place(&ahead(300, 1_500), &[], None).at, EpochMs(T0 + 40));
    }

    #[test]
    fn a_clock_of_1970_is_replaced_by_the_queues() {
        let broken = Timing { captured_at: EpochMs(5), ..chunk(0, 300, Joint::Clock) };
        assert_eq!(place_all(&[broken]), [40 - 300]);
    }
}
