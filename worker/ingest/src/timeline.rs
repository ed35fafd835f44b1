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
//! sight, and between its pieces there is none.
//!
//! Two clocks are not the queue's. The *skew* corrects the speaker's: it falls at once where a chunk seems captured after the queue
//! took it, rises slowly where all come late, and is measured again where the clock was set: capture times step back, or ahead of the
//! queue's. (A pause shows in both.) The recorder's sample clock drifts against both: audio that has moved away from its capture
//! time is stamped up to 1.5 % closer or wider until it is back.

use media::time::{EpochMs, Samples};
use serde::{Deserialize, Serialize};

use crate::clock::SET_BACK_MS;
use crate::schema::is_default;

/// A lag over this is a pause or a stall of the capture, not jitter. Shorter ones join the audio.
pub const PAUSE_MS: i64 = 500;

/// A speaker's clock this far behind the queue's is broken, not slow; the queue's is used instead.
const BROKEN_CLOCK_MS: i64 = 24 * 3_600_000;
/// Capture times that go ahead of the queue's by more were stamped by a clock that was set, once [`STEADY_FOR`] has come.
const CLOCK_SET_AHEAD_MS: i64 = 500;
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
    /// What of it clocks that were set while the session went on have added.
    #[serde(default, skip_serializing_if = "is_default")]
    set_ms: i64,
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
    /// By how much the queue's clock was ahead of the speaker's when chunks began to take equally long.
    #[serde(default)]
    usually_behind_ms: i64,
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
        // held up it may just have taken less.
        let took_less = self.delay_ms >= HELD_UP_MS && next.behind_ms() >= skew_ms;
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
            Self::Continues | Self::Clock | Self::ClockBehind(_) => Samples(0),
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

    /// Places `chunk`. Those `after` it serve to tell a pause from a stall, and a slow way from a clock that is behind.
    pub fn place(&mut self, chunk: &Timing, after: &[Timing], sight: Sight) -> Placement {
        let unset_ms = self.skew_ms - self.set_ms;
        let ahead_ms = self.skew_ms - self.lag_ms;
        let amid_blob = self.enter(chunk, after, sight.in_gap);
        let Lag { lowest_ms, settled, whole } = self.lag(chunk, after);
        let Some(end) = self.end() else {
            let at = EpochMs(self.capture_start(chunk).saturating_add_signed(lowest_ms.min(0)));
            let placed = self.put(chunk, self.within(at, sight.latest), chunk.samples, lowest_ms);
            // What a page handed out after a stall ends the earlier, the more of it is in sight; and the end of a blob that is on its
            // way may show that the speaker's clock is ahead.
            let may_be_ahead = |last: &Timing| last.continues && last.behind_ms() < self.skew_ms;
            let known =
                settled && whole && tells_clock(chunk, after) && !after.last().is_some_and(may_be_ahead);
            return Placement { doubtful: !known && !sight.calm, ..placed };
        };
        let known = (settled && whole) || sight.calm || lowest_ms <= PAUSE_MS;
        let told = matches!(chunk.joint, Joint::Continues | Joint::Missing(_));
        let by_clock = !told && known;
        // A blob whose end has not come joins what is before it; in a gap, what is known of its end places it.
        let tells = if amid_blob { whole && !sight.in_gap } else { whole || sight.in_gap };
        let jumps = tells && ((known && lowest_ms > PAUSE_MS) || (by_clock && lowest_ms > 0));
        let jump_ms = if jumps { lowest_ms.unsigned_abs() } else { 0 };
        let hole_ms = if by_clock { whole_packets(jump_ms, chunk.joint) } else { jump_ms };
        let at = end.0 + hole_ms.max(room_ms(chunk.joint, lowest_ms + (ahead_ms - self.skew_ms).max(0)));
        let lag_ms = if whole { lowest_ms } else { self.lag_ms };
        let in_step = sight.in_gap || !whole;
        let time = if in_step { chunk.samples } else { self.scaled(chunk.samples, lowest_ms) };
        let placed = self.put(chunk, self.within(EpochMs(at), sight.latest), time, lag_ms);
        // How far the clock was set ahead amid what a page has kept shows what comes at its pace.
        let fell_ms = unset_ms - (self.skew_ms - self.set_ms);
        let may_be_ahead = fell_ms > CLOCK_SET_AHEAD_MS && !sight.calm && !tells_clock(chunk, after);
        Placement { doubtful: (!known || may_be_ahead) && !amid_blob, ..placed }
    }

    /// Goes on to a chunk: what lies before it, and what it shows of the clock. Returns whether it continues a blob: then it shows
    /// nothing.
    fn enter(&mut self, chunk: &Timing, after: &[Timing], in_gap: bool) -> bool {
        let amid_blob = self.blob == Some(chunk.captured_at);
        self.blob = chunk.continues.then_some(chunk.captured_at);
        if !amid_blob {
            self.follow_clock(chunk, after, in_gap);
        }
        if self.stretch_at.is_some() {
            self.samples += chunk.joint.hole();
        }
        amid_blob
    }

    /// Places `chunk` so that it ends where an earlier plan had it end.
    pub fn place_again(
        &mut self,
        chunk: &Timing,
        after: &[Timing],
        ends_at: EpochMs,
        sight: Sight,
    ) -> Placement {
        self.enter(chunk, after, sight.in_gap);
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

    /// A chunk without audio of its own tells nothing of the pace. But before any audio it may show that the speaker's clock is ahead.
    pub fn pass_silent(&mut self, chunk: &Timing) {
        if self.last.is_none() {
            self.skew_ms = self.skew_ms.min(chunk.behind_ms());
        }
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

    /// Takes over what a later timeline has learnt of the speaker's clock: a chunk that comes late cannot show it. Where that was set
    /// in between, the chunks before are still to come.
    pub fn learn_skew(&mut self, later: &Self) {
        let set_ms = later.set_ms - self.set_ms;
        self.skew_ms = self.skew_ms.min(later.skew_ms - set_ms);
    }

    /// Continues the stretch where the chunk begins at its end, begins a new one where not.
    fn put(&mut self, chunk: &Timing, at: EpochMs, time: Samples, lag_ms: i64) -> Placement {
        if self.end() == Some(at) {
            self.samples += time;
            self.lag_ms = lag_ms;
            let joined = chunk.joint.hole() == Samples(0);
            return Placement { at, time, joined, doubtful: false };
        }
        let Self { skew_ms, set_ms, last, blob, .. } = *self;
        let (stretch_at, samples) = (Some(at), chunk.samples);
        *self = Self { stretch_at, samples, skew_ms, set_ms, last, blob, ..Self::default() };
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
    fn follow_clock(&mut self, first: &Timing, after: &[Timing], in_gap: bool) {
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

/// Whether audio that is handed out so long after what was handed out before may have been recorded in between: a recorder's event comes
/// up to a quarter early.
pub(crate) fn is_time_for(elapsed_ms: u64, audio: Samples) -> bool {
    elapsed_ms * 4 >= audio.ms_floor() * 3
}

/// Whether the last piece of the chunk's blob is in sight; or, where that is missing, a later blob's, which tells as much.
fn is_whole(chunk: &Timing, after: &[Timing]) -> bool {
    !chunk.continues || after.iter().any(|next| !next.continues)
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
fn tells_clock(chunk: &Timing, after: &[Timing]) -> bool {
    let Some(newest) = after.last() else { return true };
    let span_ms = |earlier: &Timing| newest.captured_at.ms_since(earlier.captured_at);
    let is_long = |earlier: &&Timing| span_ms(earlier) >= STEADY_FOR.ms_floor();
    let earlier = after.iter().rev().find(is_long).unwrap_or(chunk);
    newest.sent_at.ms_since(earlier.sent_at) * 2 >= span_ms(earlier)
}

/// The hole that the speaker's clock shows behind the one that is known, where it is to be filled with packets.
fn whole_packets(ms: u64, joint: Joint) -> u64 {
    let Joint::AtLeast { packet, .. } = joint else { return ms };
    let packet_ms = packet.ms_ceil().max(1);
    (ms + CLOCK_OFF_MS.max(packet_ms / 2)) / packet_ms * packet_ms
}

/// How much of a hole what is missing before the chunk needs, of the `by_clock_ms` that lie between the chunks around it.
fn room_ms(joint: Joint, by_clock_ms: i64) -> u64 {
    let Joint::ClockBehind(missing) = joint else { return 0 };
    missing.ms_ceil().min(by_clock_ms.max(0).unsigned_abs())
}

/// Whether the speaker's clock was set back between two chunks.
fn clock_was_set(before: EpochMs, after: EpochMs) -> bool {
    before.ms_since(after) > SET_BACK_MS
}

#[cfg(test)]
mod tests;
