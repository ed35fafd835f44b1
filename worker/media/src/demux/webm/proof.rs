//! Where a recording goes on after a loss, at the place that a search has come upon; [`super::walk`] proves that it is one.

use std::ops::Range;

use super::super::effort::Effort;
use super::super::item::{Container, RecordingHead, TimeBasis};
use super::super::outcome::Proof;
use super::content::block_time;
use super::state::{Cluster, DEFAULT_SCALE_NS, First, Webm};
use super::tracks::OpusTrack;
use super::walk::{Start, Walk};
use crate::ebml::id;
use crate::hash::Fnv;
use crate::time::MediaTime;

/// A place to go on from.
pub(in super::super) struct Proven {
    /// The parser behind the Cluster's header.
    pub(in super::super) webm: Webm,
    /// That header's length; 0 if there is none.
    pub(in super::super) used: usize,
    /// The head that is made up for a recording whose header was lost.
    pub(in super::super) head: Option<RecordingHead>,
    /// How many bytes it takes to prove it: with one less, it must wait.
    pub(in super::super) proof: usize,
}

/// Tries to go on at the Cluster, Timestamp, SimpleBlock or BlockGroup that `bytes` begin with. `before` is the recording that
/// was left, if there was one: it goes on if the blocks are of its tracks, and a Cluster's time is later than what was read;
/// otherwise a recording begins whose header was lost, and a head is made up for it. Where the run is sound but of another recording,
/// the blocks in it must not be taken for the running one's while that is not decided: `holds_back` says from how many bytes to how many.
pub(in super::super) fn prove(
    before: Option<&Webm>,
    bytes: &[u8],
    effort: &mut Effort,
    holds_back: &mut Range<usize>,
) -> Proof<Proven> {
    effort.spend(0);
    let (mut refuted, mut other) = (None, None);
    if let Some((webm, track)) = before.and_then(|webm| Some((webm, webm.track.as_ref()?))) {
        let walk = || Walk::of(track, webm.scale_ns);
        match walk().prove(bytes, effort) {
            Proof::Holds(start) => {
                if let Some(webm) = resumed(webm, &start) {
                    return Proof::Holds(Proven { webm, used: start.used(), head: None, proof: start.proof });
                }
                other = Some(start.proof);
            }
            Proof::Wait => return Proof::Wait,
            Proof::Fails if bytes.starts_with(&id::CLUSTER.to_be_bytes()) => {} // perhaps of other tracks
            Proof::Fails => return Proof::Fails,
        }
        refuted = Some(walk);
    }
    let proof = Walk::headerless(DEFAULT_SCALE_NS).prove(bytes, effort);
    match (other, &proof) {
        (None, _) => {}
        (Some(from), Proof::Fails) => {
            let until = least(from, bytes.len(), |end| {
                let proof = Walk::headerless(DEFAULT_SCALE_NS).prove(&bytes[..end], effort);
                !matches!(proof, Proof::Wait)
            });
            *holds_back = from..until;
        }
        (Some(from), Proof::Wait | Proof::Holds(_)) => *holds_back = from..usize::MAX,
    }
    match proof {
        Proof::Holds(start) => {
            let (webm, head) = headerless(&start, bytes);
            let decided = refuted.map_or(0, |walk| {
                least(start.proof, bytes.len(), |end| {
                    !matches!(walk().prove(&bytes[..end], effort), Proof::Wait)
                })
            });
            let proof = start.proof.max(decided);
            Proof::Holds(Proven { webm, used: start.used(), head: Some(head), proof })
        }
        Proof::Wait => Proof::Wait,
        Proof::Fails => Proof::Fails,
    }
}

/// The least number of `low..=high` that is enough, where `high` is, and whatever is more than enough.
fn least(mut low: usize, mut high: usize, mut is_enough: impl FnMut(usize) -> bool) -> usize {
    if is_enough(low) {
        return low;
    }
    while low + 1 < high {
        let middle = low.midpoint(high);
        if is_enough(middle) { high = middle } else { low = middle }
    }
    high
}

/// Whether a recording goes on with what `bytes` begin with.
pub(super) fn follows(webm: &Webm, bytes: &[u8], effort: &mut Effort) -> Proof<()> {
    Walk::in_order(webm.track.as_ref(), webm.scale_ns).prove_order(bytes, effort)
}

/// The recording's parser behind a loss; `None` if another recording goes on there.
///
/// Without a Timestamp the Cluster may be the one before the loss: so it is taken if the block lies later there than what was
/// read. Else a Cluster began in what is missing, right after what was read at the earliest.
fn resumed(webm: &Webm, start: &Start) -> Option<Webm> {
    let relative = start.block.relative;
    let later =
        |time| webm.latest.is_none_or(|latest: MediaTime| block_time(time, relative, webm.scale_ns) > latest);
    let cluster = match (start.time, webm.cluster.as_ref().and_then(|cluster| cluster.time)) {
        (Some(time), _) if later(time) => Cluster { end: start.cluster_end(), ..Cluster::default() },
        (Some(_), _) => return None,
        (None, Some(time)) if later(time) => {
            Cluster { time: Some(time), basis: TimeBasis::SameCluster, end: None }
        }
        (None, _) => {
            let heard_to = webm.latest.map_or(MediaTime(0), |latest| latest.plus(start.block.duration));
            let ticks = u64::try_from(heard_to.0).unwrap_or(0).div_ceil(webm.scale_ns);
            let time = ticks.saturating_add_signed(-i64::from(relative.min(0)));
            Cluster { time: Some(time), basis: TimeBasis::NotBefore, end: None }
        }
    };
    let at = start.used() as u64;
    let mut resumed = Webm { at, segment_end: None, cluster: Some(cluster), pass: 0, ..webm.clone() };
    resumed.miss();
    Some(resumed)
}

/// A recording whose header was lost.
fn headerless(start: &Start, bytes: &[u8]) -> (Webm, RecordingHead) {
    let hash = Fnv::of(&bytes[..start.block.end]);
    let head = RecordingHead::made_up(Container::WebM, hash, start.block.stereo);
    let cluster = match start.time {
        Some(_) => Cluster { end: start.cluster_end(), ..Cluster::default() },
        None => Cluster { time: Some(0), basis: TimeBasis::NotBefore, end: None },
    };
    let webm = Webm {
        at: start.used() as u64,
        segment_end: None,
        cluster: Some(cluster),
        pass: 0,
        scale_ns: DEFAULT_SCALE_NS,
        track: Some(OpusTrack { number: start.block.track, others: start.others.clone() }),
        hash,
        latest: None,
        first: First::Unknown,
    };
    (webm, head)
}
