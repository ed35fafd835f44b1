//! How long the holes between chunks are: by the container's times, the number of missing chunks, and the speaker's clock.

use media::demux::TimeBasis;
use media::time::Samples;

use super::taken::Taken;
use crate::timeline::Joint;

/// A hole that may be longer than its container time says is not believed if the capture clock says so by more than this.
const HIDDEN_CLUSTER_MS: u64 = 500;

/// Where a Cluster's Timestamp is among what is missing, the first one behind it tells how long the hole is. Until then the hole
/// is as long as if no Cluster had begun there, unless one did, or the capture clock contradicts: by much, or as much as the number of
/// missing chunks does. Times that are already `too_early` tell nothing more. Returns whether times are too early
/// behind the last chunk.
pub(super) fn tell_holes(taken: &mut [Taken], mut too_early: bool) -> bool {
    let told = told_behind(taken);
    let usual = Usual::of(taken);
    for (chunk, told) in taken.iter_mut().zip(told) {
        chunk.hole.iter_mut().for_each(|before| before.too_early = too_early);
        chunk.joint = match chunk.joint {
            Joint::Clock => chunk.by_clock(usual.longest),
            Joint::Missing(hole) => usual.hole(chunk, hole, told, too_early),
            joint => joint,
        };
        let by_clock = !chunk.basis.is_known() && !matches!(chunk.joint, Joint::Missing(_));
        too_early = !chunk.knows && (too_early || by_clock);
    }
    too_early
}

/// By how much the times behind each hole are too early, as far as the next Timestamp is at hand.
fn told_behind(taken: &[Taken]) -> Vec<Option<Samples>> {
    let mut too_early = None;
    let mut told: Vec<_> = taken
        .iter()
        .rev()
        .map(|chunk| {
            too_early = chunk.too_early.or(too_early);
            if matches!(chunk.joint, Joint::Missing(_)) { too_early.take() } else { None }
        })
        .collect();
    told.reverse();
    told
}

/// Chunks as they are at hand.
struct Usual {
    chunk_ms: u64,
    longest: Samples,
}

impl Usual {
    fn of(taken: &[Taken]) -> Self {
        let chunks = taken.iter().filter(|chunk| chunk.samples > Samples(0)).count().max(1) as u64;
        Self {
            chunk_ms: taken.iter().map(|chunk| chunk.samples).sum::<Samples>().ms_floor() / chunks,
            longest: taken.iter().map(|chunk| chunk.samples).max().unwrap_or_default(),
        }
    }

    /// How a chunk lies behind a hole that is `least` by its container times, and longer by what was `told`.
    fn hole(&self, chunk: &Taken, least: Samples, told: Option<Samples>, too_early: bool) -> Joint {
        if chunk.basis.is_known() && !too_early {
            return Joint::Missing(least);
        }
        let by_clock_ms = chunk.elapsed_ms.saturating_sub(chunk.samples.ms_floor());
        let by_both_ms = by_clock_ms.min(u64::from(chunk.behind).saturating_mul(self.chunk_ms));
        let packets = Samples::from_ms(by_both_ms).0 / chunk.packet.0.max(1);
        let by_both = Samples(packets * chunk.packet.0);
        if chunk.basis.is_known() {
            return Joint::AtLeast { hole: by_both.min(least), packet: chunk.packet };
        }
        let told = told.filter(|_| !too_early);
        let hole = least + told.unwrap_or_default();
        let is_hidden =
            by_clock_ms > hole.ms_floor() + HIDDEN_CLUSTER_MS || by_both_ms > (hole + chunk.packet).ms_ceil();
        let untold = told.is_none() && (chunk.basis == TimeBasis::NotBefore || is_hidden);
        match (chunk.has_room_for(hole), untold) {
            (false, _) => chunk.by_clock(self.longest),
            (true, false) => Joint::Missing(hole),
            (true, true) => Joint::AtLeast { hole: hole.max(by_both), packet: chunk.packet },
        }
    }
}
