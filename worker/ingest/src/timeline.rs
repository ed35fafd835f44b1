//! Where a session's audio lies in time: never backward, never in the future, following the speaker's clock.
//!
//! Samples are the truth inside a *stretch* (audio without a hole): its start plus the samples since gives every
//! time, so jitter in container timecodes or capture times neither adds nor drops audio. The speaker's clock
//! (each chunk's capture `timestamp`, taken when the chunk's audio had just ended) shows what the container hides: a pause.
//!
//! The *lag* is how much earlier than its capture time a chunk would end if it followed the audio before it directly. A page that
//! stalls hands out late what it recorded in time: the lag jumps, and falls again while the burst is handed out. So a lag
//! is a pause only as far as all chunks behind it have it too, and only once the burst is over: a chunk was captured about as much
//! later than the one before it as it is long. Until then it is *doubtful*, and more chunks are waited for.
//!
//! A blob that was cut into pieces has one capture time, the end of its last piece. So a lag before it is known once that piece is in
//! sight, and amid it there is none.
//!
//! Two clocks are not the queue's. The *skew* corrects the speaker's: it falls at once where a chunk seems captured after the queue
//! took it, rises slowly where all come late, and is found anew where the clock was set: capture times step back, or ahead of the
//! queue's. (A pause shows in both.) The recorder's sample clock drifts against both: audio that has moved away from its capture
//! time is stamped up to 1.5 % closer or wider until it is back.

use media::time::{EpochMs, Samples};
use serde::{Deserialize, Serialize};

/// A lag over this is a pause or a stall of the capture, not jitter. Shorter ones join the audio.
pub const PAUSE_MS: i64 = 500;

/// A speaker's clock this far behind the queue's is broken, not slow; the queue's is used instead.
const BROKEN_CLOCK_MS: i64 = 24 * 3_600_000;
/// Capture times that go back by more were stamped by a clock that was set.
const CLOCK_SET_MS: u64 = 1_000;
/// The same where they go ahead of the queue's, which is known after chunks have
const CLOCK_SET_AHEAD_MS: i64 = 500;
/// taken equally long to the queue,
const STEADY_MS: u64 = 250;
/// for so much audio. (While a page sends what it has kept, each takes less long than the one before.)
const STEADY_FOR: Samples = Samples::from_ms(900);
/// Usual time from a chunk's capture to the queue.
const USUAL_DELAY_MS: i64 = 250;
/// Chunks that reach it later than this were held up; they say nothing about the clock.
const HELD_UP_MS: i64 = 2_000;
/// How far the sample clock and the speaker's may differ before times are scaled.
const DRIFT_MS: i64 = 300;
/// Difference at which scaling stops.
const IN_STEP_MS: i64 = 50;
/// How far capture times may be off although all in sight agree.
const CLOCK_OFF_MS: u64 = 30;
/// Times are scaled by up to 3/200. A sound card drifts by less than 1 %.
const SCALE: (u64, u64) = (3, 200);

/// The timeline up to some chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// Start of the current stretch; `None` before the first audio.
    stretch_at: Option<EpochMs>,
    /// Time since then, in samples; scaled where the sample clock drifts.
    samples: Samples,
    /// Added to capture times: corrects a speaker's clock that differs from the queue's.
    skew_ms: i64,
    /// The last lag seen.
    lag_ms: i64,
    /// Nothing more lies before this: there, chunks that came back were written.
    #[serde(default)]
    taken_until: Option<EpochMs>,
    /// Times are scaled.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    drifts: bool,
    /// The last chunk's clock readings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Heard>,
    /// Capture time of the last chunk's blob, if that goes on in the next chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blob: Option<EpochMs>,
}

/// The clocks at a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Heard {
    captured_at: EpochMs,
    /// How long it took to the queue by the corrected clock, as far as that tells of the clock.
    delay_ms: i64,
    #[serde(default)]
    sent_at: EpochMs,
    /// What the queue's clock was ahead of the speaker's when chunks began to take equally long,
    #[serde(default)]
    usually_behind_ms: i64,
    /// and how much audio has come since.
    #[serde(default)]
    steady: Samples,
}

impl Heard {
    /// By how much the speaker's clock was set ahead between this chunk and the `next`. The queue's time between them, and what of
    /// it no audio fills, tell a clock from a pause and from chunks that were kept and come faster than they were spoken.
    fn set_ahead_ms(&self, next: &Timing) -> Option<i64> {
        let ahead_ms = self.usually_behind_ms - next.behind_ms();
        let took_ms = next.sent_at.ms_since(self.sent_at) as i64;
        let audio_ms = (next.samples + next.joint.hole()).ms_floor() as i64;
        // How long a blob is whose first piece this is, nobody knows yet.
        let at_its_pace = self.steady >= STEADY_FOR && took_ms * 4 >= audio_ms * 3 && !next.continues;
        (at_its_pace && ahead_ms > CLOCK_SET_AHEAD_MS && ahead_ms > took_ms - audio_ms).then_some(ahead_ms)
    }

    /// By how much it was set back.
    fn set_back_ms(&self, next: &Timing, skew_ms: i64) -> Option<i64> {
        let usually_behind_ms =
            if self.steady >= STEADY_FOR { self.usually_behind_ms } else { skew_ms + self.delay_ms };
        clock_was_set(self.captured_at, next.captured_at).then_some(next.behind_ms() - usually_behind_ms)
    }
}

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
}

impl Timing {
    /// What the queue's clock was ahead of the speaker's.
    fn behind_ms(&self) -> i64 {
        self.sent_at.0 as i64 - self.captured_at.0 as i64
    }
}

impl Joint {
    /// The audio that is known to be missing before the chunk.
    fn hole(self) -> Samples {
        match self {
            Self::Missing(hole) | Self::AtLeast { hole, .. } => hole,
            Self::Continues | Self::Clock => Samples(0),
        }
    }
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
    /// Its blob goes on in the next chunk.
    pub continues: bool,
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

/// By how much a chunk and those behind it come late.
struct Lag {
    /// The lowest of them.
    lowest_ms: i64,
    /// A chunk was captured about as much later than the one before it as it is long: no burst is under way.
    settled: bool,
    /// The end of the chunk's blob is in sight; what comes later only makes the lag smaller.
    whole: bool,
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

    /// What the queue's clock is ahead of the speaker's when it takes a chunk, as a rule; `None` before the first.
    pub fn usually_behind_ms(&self) -> Option<i64> {
        self.last.map(|last| last.usually_behind_ms)
    }

    /// When the queue took the last chunk.
    pub fn last_sent_at(&self) -> Option<EpochMs> {
        self.last.map(|last| last.sent_at)
    }

    /// Places `chunk`. Those `after` it only serve to distinguish a pause from a stall.
    pub fn place(&mut self, chunk: &Timing, after: &[Timing], sight: Sight) -> Placement {
        let amid_blob = self.enter(chunk, sight.in_gap);
        let Lag { lowest_ms, settled, whole } = self.lag(chunk, after);
        let Some(end) = self.end() else {
            let at = EpochMs(self.capture_start(chunk).saturating_add_signed(lowest_ms.min(0)));
            let placed = self.put(chunk, self.within(at, sight.latest), chunk.samples, lowest_ms);
            return Placement { doubtful: !whole && !sight.calm && !sight.in_gap, ..placed };
        };
        let known = (settled && whole) || sight.calm || lowest_ms <= PAUSE_MS;
        let told = matches!(chunk.joint, Joint::Continues | Joint::Missing(_));
        let by_clock = !told && (known || sight.in_gap);
        // A blob whose end has not come joins what is before it; in a gap, what is known of its end places it.
        let tells = if amid_blob { whole && !sight.in_gap } else { whole || sight.in_gap };
        let jumps = tells && ((known && lowest_ms > PAUSE_MS) || (by_clock && lowest_ms > 0));
        let jump_ms = if jumps { lowest_ms.unsigned_abs() } else { 0 };
        let at = end.0 + if by_clock { whole_packets(jump_ms, chunk.joint) } else { jump_ms };
        let lag_ms = if whole { lowest_ms } else { self.lag_ms };
        let in_step = sight.in_gap || !whole;
        let time = if in_step { chunk.samples } else { self.scaled(chunk.samples, lowest_ms) };
        let placed = self.put(chunk, self.within(EpochMs(at), sight.latest), time, lag_ms);
        Placement { doubtful: !known && !amid_blob && !sight.in_gap, ..placed }
    }

    /// Goes on to a chunk: what lies before it, and what it tells of the clock. Whether it is amid its blob: then that tells nothing.
    fn enter(&mut self, chunk: &Timing, in_gap: bool) -> bool {
        let amid_blob = self.blob == Some(chunk.captured_at);
        self.blob = chunk.continues.then_some(chunk.captured_at);
        if !amid_blob {
            self.follow_clock(chunk, in_gap);
        }
        if self.stretch_at.is_some() {
            self.samples += chunk.joint.hole();
        }
        amid_blob
    }

    /// Places `chunk` so that it ends where an earlier plan had it end.
    pub fn place_again(&mut self, chunk: &Timing, ends_at: EpochMs, sight: Sight) -> Placement {
        self.enter(chunk, sight.in_gap);
        let lowest_ms = self.lag(chunk, &[]).lowest_ms;
        let at = EpochMs(ends_at.0.saturating_sub(chunk.samples.ms_ceil()));
        let Some((stretch_at, end)) = self.stretch_at.zip(self.end()) else {
            return self.put(chunk, at.max(self.free_from()), chunk.samples, lowest_ms);
        };
        let off_ms = at.0.abs_diff(end.0);
        let off_by_drift = off_ms.saturating_sub(2) * SCALE.1 <= chunk.samples.ms_ceil() * SCALE.0; // rounded twice
        if off_ms <= 1 || off_by_drift {
            // Parts of a ms are rounded apart, or times are scaled: it ends where it ended, and never behind that.
            let exact = Samples::from_ms(ends_at.ms_since(stretch_at)).saturating_sub(self.samples);
            let time = if off_ms <= 1 { exact.min(chunk.samples) } else { exact };
            return self.put(chunk, self.free_from(), time, lowest_ms);
        }
        // What came back before may have taken its place.
        self.put(chunk, at.max(self.free_from()), chunk.samples, lowest_ms)
    }

    /// A chunk without audio of its own has a time, too: it may show that the speaker's clock is ahead.
    pub fn pass_silent(&mut self, chunk: &Timing, in_gap: bool) {
        let samples = self.samples;
        self.enter(chunk, in_gap);
        self.samples = samples; // a hole is told with the audio behind it
    }

    /// Chunks from before this place came back, and their audio lies up to `until`.
    pub fn go_on_after(&mut self, until: EpochMs) {
        if self.end() < Some(until) {
            self.taken_until = self.taken_until.max(Some(until));
        }
    }

    fn within(&self, at: EpochMs, latest: Option<EpochMs>) -> EpochMs {
        latest.map_or(at, |latest| at.min(latest)).max(self.free_from())
    }

    /// Where audio can begin at the earliest.
    fn free_from(&self) -> EpochMs {
        self.end().max(self.taken_until).unwrap_or_default()
    }

    /// Takes over what a later timeline has learnt of the speaker's clock: a chunk that comes late cannot show it.
    pub fn learn_skew(&mut self, later: &Self) {
        self.skew_ms = self.skew_ms.min(later.skew_ms);
    }

    /// Continues the stretch where the chunk begins at its end, begins a new one where not.
    fn put(&mut self, chunk: &Timing, at: EpochMs, time: Samples, lag_ms: i64) -> Placement {
        if self.end() == Some(at) {
            self.samples += time;
            self.lag_ms = lag_ms;
            let joined = chunk.joint.hole() == Samples(0);
            return Placement { at, time, joined, doubtful: false };
        }
        let Self { skew_ms, last, blob, .. } = *self;
        *self = Self { stretch_at: Some(at), samples: chunk.samples, skew_ms, last, blob, ..Self::default() };
        Placement { at, time: chunk.samples, joined: false, doubtful: false }
    }

    /// How much time a chunk's samples take, where its audio has drifted `lag_ms` away from its capture time.
    fn scaled(&mut self, samples: Samples, lag_ms: i64) -> Samples {
        let off_ms = lag_ms.unsigned_abs();
        let bound_ms = if self.drifts { IN_STEP_MS } else { DRIFT_MS };
        self.drifts = off_ms > bound_ms.unsigned_abs() && lag_ms <= PAUSE_MS;
        let shift = Samples::from_ms(off_ms).min(Samples(samples.0 * SCALE.0 / SCALE.1));
        match (self.drifts, lag_ms < 0) {
            (false, _) => samples,
            (true, true) => samples.saturating_sub(shift),
            (true, false) => samples + shift,
        }
    }

    /// Keeps the speaker's clock together with the queue's.
    fn follow_clock(&mut self, chunk: &Timing, in_gap: bool) {
        let behind_ms = chunk.behind_ms();
        if self.stretch_at.is_none() && behind_ms > BROKEN_CLOCK_MS {
            self.skew_ms = behind_ms;
        }
        if in_gap {
            self.skew_ms = self.skew_ms.min(behind_ms);
            return;
        }
        let set_ahead_ms = self.last.and_then(|last| last.set_ahead_ms(chunk));
        let set_back_ms = self.last.and_then(|last| last.set_back_ms(chunk, self.skew_ms));
        // What the chunks before took to the queue, this one takes.
        let set_ms = set_back_ms.or(set_ahead_ms.map(|ms| -ms)).unwrap_or_default();
        self.skew_ms += set_ms;
        let delay_ms = behind_ms - self.skew_ms;
        if (USUAL_DELAY_MS..HELD_UP_MS).contains(&delay_ms) {
            let rise_ms = (chunk.samples.ms_floor() * SCALE.0 / SCALE.1) as i64;
            self.skew_ms += rise_ms.min(delay_ms - USUAL_DELAY_MS);
        }
        // The queue cannot have taken a chunk before it was captured: where it seems so, the speaker's clock is ahead.
        self.skew_ms = self.skew_ms.min(behind_ms);
        let usually = self.last.map(|last| (last.usually_behind_ms + set_ms, last.steady));
        let steady = usually.filter(|(usually_ms, _)| usually_ms.abs_diff(behind_ms) <= STEADY_MS);
        let (usually_behind_ms, before) = steady.unwrap_or((behind_ms, Samples(0)));
        self.last = Some(Heard {
            captured_at: chunk.captured_at,
            delay_ms: (behind_ms - self.skew_ms).min(HELD_UP_MS),
            sent_at: chunk.sent_at,
            usually_behind_ms,
            steady: before + chunk.samples,
        });
    }

    /// When the chunk's first sample was captured, by the speaker's corrected clock.
    fn capture_start(&self, chunk: &Timing) -> u64 {
        self.corrected(chunk.captured_at).0.saturating_sub(chunk.samples.ms_floor())
    }

    /// The lag of the chunk and of those that continue it. Before any audio, lags are counted from the chunk's own capture
    /// time, so the lowest is 0 or below.
    fn lag(&self, chunk: &Timing, after: &[Timing]) -> Lag {
        let base = self.end().map_or_else(|| self.capture_start(chunk), |end| end.0) as i64;
        let whole = is_whole(chunk, after);
        let mut lag = Lag { lowest_ms: self.capture_start(chunk) as i64 - base, settled: false, whole };
        let mut before = chunk.samples;
        let mut blob = Blob { captured_at: chunk.captured_at, after_ms: 0, samples: chunk.samples };
        let mut continues = chunk.continues;
        for next in after.iter().filter(|next| next.samples > Samples(0)) {
            if clock_was_set(blob.captured_at, next.captured_at) {
                break; // its time cannot be compared
            }
            match next.joint {
                Joint::Continues | Joint::Missing(_) | Joint::AtLeast { .. } => before += next.joint.hole(),
                Joint::Clock => {
                    lag.settled = true; // its recorder was stopped: nothing of it is still to come
                    break;
                }
            }
            let lag_ms = self.capture_start(next) as i64 - (base + before.ms_ceil() as i64);
            lag.lowest_ms = lag.lowest_ms.min(lag_ms);
            blob.go_on(next, continues);
            continues = next.continues;
            lag.settled |= !continues && blob.is_at_its_pace();
            before += next.samples;
        }
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
    /// Takes in the next piece, or begins another blob with it; `continues`: the last one was not the blob's last.
    fn go_on(&mut self, next: &Timing, continues: bool) {
        if continues && next.captured_at == self.captured_at {
            self.samples += next.samples;
            return;
        }
        let after_ms = next.captured_at.ms_since(self.captured_at);
        *self = Self { captured_at: next.captured_at, after_ms, samples: next.samples };
    }

    fn is_at_its_pace(&self) -> bool {
        self.after_ms * 4 >= self.samples.ms_floor() * 3
    }
}

/// Whether the last piece of the chunk's blob is in sight; or, where that is missing, a later blob's, which tells as much.
fn is_whole(chunk: &Timing, after: &[Timing]) -> bool {
    !chunk.continues || after.iter().any(|next| !next.continues)
}

/// The hole that the speaker's clock shows behind the one that is known, where it is to be filled with packets.
fn whole_packets(ms: u64, joint: Joint) -> u64 {
    let Joint::AtLeast { packet, .. } = joint else { return ms };
    let packet_ms = packet.ms_ceil().max(1);
    (ms + CLOCK_OFF_MS.max(packet_ms / 2)) / packet_ms * packet_ms
}

/// Whether the speaker's clock was set back between two chunks.
fn clock_was_set(before: EpochMs, after: EpochMs) -> bool {
    before.ms_since(after) > CLOCK_SET_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_732_622_783_000;
    const CALM: Sight = Sight { calm: true, in_gap: false, latest: None };

    fn chunk(captured_ms: u64, media_ms: u64, joint: Joint) -> Timing {
        Timing {
            samples: Samples::from_ms(media_ms),
            captured_at: EpochMs(T0 + captured_ms),
            sent_at: EpochMs(T0 + captured_ms + 40),
            joint,
            continues: false,
        }
    }

    /// Places every chunk with all later ones in sight; returns start times relative to T0.
    fn place_all(chunks: &[Timing]) -> Vec<i64> {
        let mut timeline = Timeline::default();
        (0..chunks.len())
            .map(|i| timeline.place(&chunks[i], &chunks[i + 1..], CALM).at.0 as i64 - T0 as i64)
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
    fn a_burst_that_is_not_over_is_no_pause_yet() {
        // The page stood still for 5 s: first the small blob that was due, then all the rest in one.
        let chunks = [
            chunk(300, 300, Joint::Clock),
            chunk(5_300, 100, Joint::Continues),
            chunk(5_580, 4_980, Joint::Continues),
        ];
        let busy = Sight { calm: false, ..CALM };
        let mut timeline = Timeline::default();
        timeline.place(&chunks[0], &[], busy);
        let alone = timeline.clone().place(&chunks[1], &[], busy);
        assert!(alone.doubtful, "a stall would be taken for a pause of 5 s");
        let seen = timeline.place(&chunks[1], &chunks[2..], busy);
        assert_eq!((seen.at.0 - T0, seen.doubtful), (300, false));
    }

    #[test]
    fn a_pause_is_known_as_soon_as_one_chunk_behind_it_comes_at_its_pace() {
        let chunks = [
            chunk(300, 300, Joint::Clock),
            chunk(5_300, 300, Joint::Continues),
            chunk(5_600, 300, Joint::Continues),
        ];
        let mut timeline = Timeline::default();
        timeline.place(&chunks[0], &[], Sight::default());
        let after = timeline.place(&chunks[1], &chunks[2..], Sight::default());
        assert_eq!((after.at.0 - T0, after.doubtful), (5_000, false));
    }

    /// For 3 h the sample clock is `ppm` off, and the speaker's clock `clock_ppm`, in chunks of 300 ms.
    fn drifting(ppm: i64, clock_ppm: i64) -> i64 {
        let mut timeline = Timeline::default();
        let mut worst = 0;
        for i in 1..36_000_i64 {
            let true_ms = i * (300_000_000 - 300 * ppm) / 1_000_000;
            let captured = T0 as i64 + true_ms + true_ms * clock_ppm / 1_000_000;
            let chunk = Timing {
                samples: Samples::from_ms(300),
                captured_at: EpochMs(captured as u64),
                sent_at: EpochMs(T0 + true_ms as u64 + 40),
                joint: if i == 1 { Joint::Clock } else { Joint::Continues },
                continues: false,
            };
            timeline.place(&chunk, &[], Sight::default());
            worst = worst.max((timeline.end().unwrap().0 as i64 - T0 as i64 - true_ms).abs());
        }
        worst
    }

    #[test]
    fn three_hours_of_drift_by_up_to_one_percent_stay_within_half_a_second_of_true_time() {
        for (ppm, clock_ppm) in
            [(10_000, 0), (-10_000, 0), (2_000, 0), (0, 10_000), (0, -10_000), (5_000, -5_000)]
        {
            let worst_ms = drifting(ppm, clock_ppm);
            assert!(
                worst_ms < 500,
                "{ppm} ppm, clock {clock_ppm} ppm: audio is {worst_ms} ms off its true time"
            );
        }
    }

    #[test]
    fn a_pause_after_the_clock_was_set_back_by_an_hour_keeps_its_length() {
        let chunks = [
            (300, 340),
            (600, 640),
            (900 - 3_600_000, 940),
            (10_900 - 3_600_000, 10_940),
            (11_200 - 3_600_000, 11_240),
        ];
        let chunks: Vec<Timing> = chunks
            .into_iter()
            .map(|(captured, sent)| Timing {
                captured_at: EpochMs((T0 as i64 + captured) as u64),
                sent_at: EpochMs(T0 + sent),
                ..chunk(0, 300, Joint::Continues)
            })
            .collect();
        let placed = place_all(&chunks);
        assert_eq!(placed, [0, 300, 600, 10_600, 10_900]);
    }

    /// A blob that is handed out at `captured_ms`, cut into pieces of so many ms.
    fn blob(captured_ms: u64, pieces_ms: &[u64]) -> Vec<Timing> {
        let piece = |(n, ms): (usize, &u64)| Timing {
            continues: n + 1 < pieces_ms.len(),
            sent_at: EpochMs(T0 + captured_ms + 40 + 25 * n as u64),
            ..chunk(captured_ms, *ms, Joint::Continues)
        };
        pieces_ms.iter().enumerate().map(piece).collect()
    }

    #[test]
    fn a_large_blob_after_a_pause_lies_at_its_true_time_however_much_of_it_is_in_sight() {
        let pieces = [vec![chunk(1_000, 1_000, Joint::Clock)], blob(91_000, &[1_400; 43])].concat();
        let next = chunk(92_000, 1_000, Joint::Continues);
        let begins_ms = 91_000 - 43 * 1_400;
        for in_sight in [2, 10, 44] {
            let mut timeline = Timeline::default();
            let busy = Sight { calm: false, ..CALM };
            timeline.place(&pieces[0], &[], busy);
            let alone = timeline.clone().place(&pieces[1], &pieces[2..11], busy);
            assert!(alone.doubtful, "as long as its last piece is not there, nobody knows where it begins");
            let all = [&pieces[1..], &[next]].concat();
            for n in 0..all.len() {
                // From the second piece on, a batch may see few of those behind it.
                let to = if n == 0 { all.len() } else { all.len().min(n + in_sight) };
                let placed = timeline.place(&all[n], &all[n + 1..to], busy);
                let true_ms = if n < 43 { begins_ms + n as u64 * 1_400 } else { 91_000 };
                let off_ms = (placed.at.0 - T0).abs_diff(true_ms);
                assert!(off_ms <= 45, "piece {n} is {off_ms} ms off with {in_sight} in sight");
                assert!(!placed.doubtful, "piece {n} waits for others");
            }
        }
    }

    #[test]
    fn a_large_blob_of_a_page_that_stood_still_is_no_pause() {
        // 6 s of a stall: the small blob that was due, then the large one 280 ms later, in pieces.
        let pieces = [
            vec![chunk(300, 300, Joint::Clock)],
            blob(6_300, &[60]),
            blob(6_580, &[1_400, 1_400, 1_400, 1_400, 620]),
        ];
        let pieces = pieces.concat();
        let mut timeline = Timeline::default();
        let busy = Sight { calm: false, ..CALM };
        timeline.place(&pieces[0], &[], busy);
        assert!(timeline.clone().place(&pieces[1], &pieces[2..4], busy).doubtful);
        for (n, at_ms) in [(1, 300), (2, 360), (3, 1_760), (6, 5_960)] {
            let mut timeline = timeline.clone();
            let placed = (1..=n).map(|n| timeline.place(&pieces[n], &pieces[n + 1..], busy)).last().unwrap();
            assert_eq!(
                ((placed.at.0 - T0).abs_diff(at_ms) <= 5, placed.doubtful),
                (true, false),
                "piece {n}: {placed:?}"
            );
        }
    }

    #[test]
    fn a_blob_without_its_last_piece_is_placed_by_what_follows_it() {
        let mut pieces = blob(20_000, &[1_400, 1_400, 1_400, 800]);
        pieces.pop();
        let next = chunk(20_300, 300, Joint::Missing(Samples::from_ms(800)));
        let all = [vec![chunk(300, 300, Joint::Clock)], pieces, vec![next]].concat();
        assert_eq!(place_all(&all), [0, 15_000, 16_400, 17_800, 20_000]);
    }

    #[test]
    fn a_blob_whose_end_does_not_come_never_lies_in_the_future() {
        let pieces = [vec![chunk(300, 300, Joint::Clock)], blob(20_000, &[1_400; 10])].concat();
        let mut timeline = Timeline::default();
        for (n, piece) in pieces.iter().enumerate() {
            // Two pieces at a time, with long waits between them.
            let placed = timeline.place(piece, &pieces[n + 1..(n + 2).min(pieces.len())], CALM);
            let ends_ms = placed.at.0 - T0 + placed.time.ms_ceil();
            assert!(ends_ms <= 20_045, "piece {n} ends at {ends_ms} ms, captured at 20,000");
        }
        assert!(timeline.end().unwrap().0 - T0 > 19_900, "at the latest its end is where it was captured");
    }

    #[test]
    fn pieces_of_an_older_page_that_tells_nothing_are_a_burst() {
        let mut pieces = [vec![chunk(300, 300, Joint::Clock)], blob(20_000, &[1_400; 4])].concat();
        pieces.iter_mut().for_each(|piece| piece.continues = false);
        pieces.push(chunk(20_300, 300, Joint::Continues));
        assert_eq!(place_all(&pieces), [0, 14_400, 15_800, 17_200, 18_600, 20_000]);
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
        timeline.pass_silent(&ahead(600, 640), false);
        let at_ms = timeline.place(&ahead(300, 1_500), &[], CALM).at.0;
        assert!(at_ms.abs_diff(T0 + 40) < 10, "audio lies at {} ms instead of 40", at_ms - T0);
    }

    #[test]
    fn a_clock_of_1970_is_replaced_by_the_queues() {
        let broken = Timing { captured_at: EpochMs(5), ..chunk(0, 300, Joint::Clock) };
        assert_eq!(place_all(&[broken]), [40 - 300]);
    }
}
