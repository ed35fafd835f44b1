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

mod heard;
mod lag;
mod skew;
mod state;
mod timing;

use media::time::{EpochMs, Samples};

use self::heard::CLOCK_SET_AHEAD_MS;
pub(crate) use self::heard::HELD_UP_MS;
use self::lag::Lag;
use self::skew::tells_clock;
use self::state::SCALE;
pub use self::state::{PAUSE_MS, Timeline};
pub(crate) use self::timing::is_time_for;
pub use self::timing::{Joint, Placement, Sight, Timing};

/// How far the sample clock and the speaker's may differ before times are scaled.
const DRIFT_MS: i64 = 300;
/// Difference at which scaling stops.
const IN_STEP_MS: i64 = 50;
/// How far capture times may be off although all in sight agree.
const CLOCK_OFF_MS: u64 = 30;

impl Timeline {
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

#[cfg(test)]
mod tests;
