//! Is the batch ripe? A pure function of the chunks at hand, the session and the clock.
//!
//! A FIFO mapping has no batching window, so a batch younger than its target is handed back to the queue for the
//! missing time; the next delivery then brings about 2 s, in order.

use media::time::{EpochMs, Samples};

use crate::backlog::{Crowd, Delivery};
use crate::fold::Folded;
use crate::piece::{Piece, Place};
use crate::policy::Policy;

/// A batch that is too short waits for another second for each so much of its age.
const PATIENCE_MS: u64 = 3_000;

/// Why a batch is deferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is shorter than the target.
    Young,
    /// A chunk before or inside it is missing and may still come.
    Hole,
    /// A pause or a stall lies before one of its chunks; the chunks after it will show which.
    Doubt,
    /// A lease holds chunks that have not all come back.
    Leased,
    /// The stream could not be asked yet whether it holds what has come back.
    Unsure,
    /// Its audio ends in the future.
    Future,
    /// The end marker has overtaken the last chunks.
    End,
}

impl Why {
    /// For logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Young => "young",
            Self::Hole => "hole",
            Self::Doubt => "doubt",
            Self::Leased => "leased",
            Self::Unsure => "unsure",
            Self::Future => "future",
            Self::End => "end",
        }
    }
}

/// What to do with the chunks at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Write the first `chunks` of them.
    Write {
        /// How many, at least 1.
        chunks: usize,
    },
    /// Hand all of them back for `seconds`.
    Defer {
        /// Whole seconds, as SQS wants them.
        seconds: u32,
        /// The reason.
        why: Why,
    },
    /// Make room for what lies behind them in the queue: keep all of them but one in the state, and look at the next delivery at once.
    SetAside,
}

/// Whether the audio of a line has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As far as is known, it has not.
    Open,
    /// Nothing more comes.
    Here,
    /// Nothing comes behind the chunk with this index.
    Behind(u64),
}

/// What is known when deciding.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The chunks at hand.
    pub delivery: Delivery<'a>,
    /// What they amount to.
    pub folded: &'a Folded,
    /// Where the line stands.
    pub place: Place,
    /// Whether more may come for the line.
    pub end: End,
    /// Whether the delivery hides what lies behind it.
    pub crowd: Crowd,
}

/// Decides about chunks, of which there is at least one.
pub fn decide(view: &View<'_>, policy: &Policy) -> Decision {
    let seen_until = view.delivery.seen_until(view.crowd, policy);
    let in_order = in_order(view, policy, seen_until);
    let behind = seen_until.is_some() && in_order < view.delivery.pieces.len();
    let sure = view.folded.doubtful.map_or(in_order, |doubtful| in_order.min(doubtful));
    let why = match (sure < in_order, in_order < view.delivery.pieces.len()) {
        (true, _) => Why::Doubt,
        (false, true) => Why::Hole,
        (false, false) => Why::Young,
    };
    let later = |seconds: u32| match view.crowd {
        Crowd::Room => Decision::SetAside,
        Crowd::No | Crowd::NoRoom => Decision::Defer { seconds: if behind { 0 } else { seconds }, why },
    };
    // What lies behind chunks that are set aside shows at once, if there is anything.
    let looks_at_once = why == Why::Doubt && view.delivery.keeps_some() && view.delivery.hides_more(policy);
    let moment_s = u32::from(!looks_at_once);
    let sure = if behind && view.crowd != Crowd::NoRoom { view.delivery.leaving_one(sure) } else { sure };
    if sure == 0 {
        return later(moment_s);
    }
    let (target, most) = lengths(policy, view.delivery.age_ms(), view.crowd);
    let fits = fits(view, policy, most, sure);
    if fits < sure || is_ripe(view, policy, fits, target) || is_enough(view, policy, fits) {
        return Decision::Write { chunks: fits };
    }
    later(if why == Why::Young { young_wait_s(view, policy, fits) } else { moment_s })
}

/// Whether the first `chunks` make a fragment as it should be, or the line's last one.
fn is_ripe(view: &View<'_>, policy: &Policy, chunks: usize, target: Samples) -> bool {
    let samples = view.folded.samples_of(chunks);
    let waited = view.delivery.pieces[0].record.receive_count > 1 && view.crowd != Crowd::Room;
    samples >= target
        || (waited && samples >= policy.enough_after_wait)
        || (chunks == view.delivery.pieces.len() && ended(view))
}

/// Whether the first `chunks` have waited so long, or leave so little room, that they are written as they are.
fn is_enough(view: &View<'_>, policy: &Policy, chunks: usize) -> bool {
    let age_ms = view.delivery.age_ms();
    let is_long = view.folded.samples_of(chunks) >= policy.least;
    match view.crowd {
        Crowd::Room => false,
        Crowd::NoRoom if chunks == view.delivery.pieces.len() => true,
        Crowd::No | Crowd::NoRoom => {
            age_ms >= policy.max_wait_ms && (is_long || age_ms >= policy.last_resort_ms)
        }
    }
}

/// How long the first `chunks`, which are too short, wait for more.
fn young_wait_s(view: &View<'_>, policy: &Policy, chunks: usize) -> u32 {
    let age_ms = view.delivery.age_ms();
    if age_ms < policy.max_wait_ms {
        let missing_s = policy.target.saturating_sub(view.folded.samples_of(chunks)).ms_ceil().div_ceil(1000);
        let left_s = ((policy.max_wait_ms - age_ms) / 1000).max(1);
        return missing_s.clamp(1, left_s) as u32;
    }
    if view.delivery.hides_more(policy) {
        return 0;
    }
    // It waits ever longer for the speaker to go on, and delays what follows by no more than that.
    (age_ms / PATIENCE_MS).clamp(1, policy.most_patient_s) as u32
}

/// The most audio that a batch of the delivery's chunks may hold now.
pub fn longest(delivery: &Delivery<'_>, policy: &Policy) -> Samples {
    lengths(policy, delivery.age_ms(), Crowd::No).1
}

/// How long a batch should be, and may be: longer while the session is behind.
fn lengths(policy: &Policy, age_ms: u64, crowd: Crowd) -> (Samples, Samples) {
    if age_ms < policy.behind_ms {
        return (policy.target, policy.most);
    }
    let most = Samples::from_ms(age_ms).min(policy.most_behind);
    let most_but_a_chunk = Samples(most.0 / 4 * 3);
    let target = if crowd == Crowd::Room { most_but_a_chunk } else { policy.target };
    (target, most)
}

/// Whether what is missing before chunk `i` has been waited for long enough: `max_wait_ms` in the queue's time, from that chunk on.
/// The queue keeps its order, so all that was enqueued before the newest chunk at hand has been seen; but out of a
/// backlog a delivery brings no more than it can hold, and what is missing may be the very next one.
fn passes_hole(view: &View<'_>, policy: &Policy, i: usize, seen_until: Option<EpochMs>) -> bool {
    if view.crowd == Crowd::NoRoom && view.folded.samples_of(i) < policy.least {
        return true; // there is no room for the missing one, and what lies before it is too short to make room
    }
    seen_until.unwrap_or(view.delivery.now).ms_since(view.delivery.pieces[i].record.sent_at)
        >= policy.max_wait_ms
}

/// How many of the chunks follow each other, and the chunk before them, without a hole that is still waited for.
fn in_order(view: &View<'_>, policy: &Policy, seen_until: Option<EpochMs>) -> usize {
    let mut place = view.place;
    let follows = |(i, piece): &(usize, &Piece)| {
        let follows = place.leads_to(piece);
        place = Place::behind(piece);
        follows || passes_hole(view, policy, *i, seen_until)
    };
    view.delivery.pieces.iter().enumerate().take_while(follows).count()
}

/// How many of the first `in_order` chunks fit one fragment. Two numberings never share one: its chunk range would name
/// no chunk.
fn fits(view: &View<'_>, policy: &Policy, most: Samples, in_order: usize) -> usize {
    let folded = view.folded;
    let begins = folded.runs.first().map(|run| run.at).unwrap_or_default();
    let numbering = view.delivery.pieces.first().map(|piece| piece.numbering);
    let mut samples = Samples(0);
    let room = (0..in_order).take_while(|&i| {
        let chunk = folded.chunks.get(i);
        // What is too short for a fragment of its own goes with the chunk behind it, however long that is.
        let too_short = samples < policy.least;
        samples += chunk.and_then(|chunk| chunk.audio.as_ref().ok()).copied().unwrap_or_default();
        let until = chunk.and_then(|chunk| chunk.span).unwrap_or_default().1;
        Some(view.delivery.pieces[i].numbering) == numbering
            && (samples <= most || too_short)
            && until.ms_since(begins) <= policy.most_span_ms
    });
    room.count().max(1)
}

/// Whether the line's audio has ended and its last chunk is at hand.
fn ended(view: &View<'_>) -> bool {
    match view.end {
        End::Open => false,
        End::Here => true,
        End::Behind(last) => view.delivery.pieces.last().is_some_and(|piece| piece.index >= last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fold::{Around, Outcome, fold};
    use crate::message::{Chunk, Record};
    use crate::snapshot::Snapshot;

    const NOW: EpochMs = EpochMs(1_732_622_790_000);

    /// Chunks of 300 ms, the first sent `age_ms` ago, with the given indices.
    fn pieces(indices: &[u64], age_ms: u64, deliveries: u32) -> Vec<Piece> {
        let piece = |(i, index): (usize, &u64)| {
            let sent_at = EpochMs(NOW.0 - age_ms + 300 * i as u64);
            let record = Record { sent_at, receive_count: deliveries, ..Record::default() };
            Piece::new(0, Chunk { record, index: *index, captured_at: sent_at, ..Chunk::default() })
        };
        indices.iter().enumerate().map(piece).collect()
    }

    fn decide_on(indices: &[u64], age_ms: u64, deliveries: u32, end: End) -> Decision {
        let pieces = pieces(indices, age_ms, deliveries);
        let crowd = if pieces.len() >= 10 { Crowd::NoRoom } else { Crowd::No };
        decide_in(&pieces, end, pieces.len() >= 10, crowd)
    }

    fn decide_in(pieces: &[Piece], end: End, is_full: bool, crowd: Crowd) -> Decision {
        let samples = Samples::from_ms(300);
        let outcome = Outcome { audio: Ok(samples), span: None };
        let folded = Folded {
            chunks: vec![outcome; pieces.len()],
            ..fold(&Snapshot::default(), &[], Around::default())
        };
        let place = Place { numbering: 0, next: 5 };
        let delivery = Delivery { pieces, ends: &[], came_again: &[], is_full, now: NOW };
        let view = View { delivery, folded: &folded, place, end, crowd };
        decide(&view, &Policy::default())
    }

    #[test]
    fn what_is_set_aside_waits_for_what_lies_behind_a_full_delivery_that_is_written() {
        let mut aside = pieces(&[5, 6, 8, 9], 12_000, 2);
        aside.iter_mut().for_each(|piece| piece.set_aside = true);
        let more_behind = decide_in(&aside, End::Open, true, Crowd::Room);
        assert_eq!(more_behind, Decision::SetAside, "chunk 7 may be the next one in the queue");
        let all_seen = decide_in(&aside, End::Open, false, Crowd::No);
        assert_eq!(all_seen, write(4), "chunk 7 was waited for, and holds up nothing any longer");
    }

    #[test]
    fn a_chunk_is_waited_for_however_long_one_before_it_was() {
        let mut pieces = pieces(&[6, 7, 9, 10, 11, 12, 13, 14], 10_000, 2);
        pieces[2..].iter_mut().for_each(|piece| piece.record.sent_at = EpochMs(NOW.0 - 100));
        let decision = decide_in(&pieces, End::Open, false, Crowd::No);
        assert_eq!(decision, defer(1, Why::Hole), "chunk 8 may come next out of the same burst");
    }

    #[test]
    fn a_short_delivery_behind_what_is_set_aside_may_hide_the_missing_chunk() {
        let lone = |deliveries: u32| {
            let mut pieces = pieces(&[5, 6, 8, 9], 12_000, deliveries);
            pieces[..3].iter_mut().for_each(|piece| piece.set_aside = true);
            decide_in(&pieces, End::Open, false, Crowd::No)
        };
        assert_eq!(
            lone(2),
            defer(0, Why::Hole),
            "a minute of a burst would go past at once, with holes for what is behind"
        );
        assert_eq!(lone(6), write(4), "the queue was looked at often enough");
    }

    #[test]
    fn the_last_chunk_of_a_burst_that_was_delivered_stays_in_the_queue_to_bring_the_rest() {
        let behind = |last: usize, deliveries: u32| {
            let mut pieces = pieces(&[5, 6, 7, 8, 9, 10, 11, 13, 14], 12_000, deliveries);
            pieces.iter_mut().enumerate().for_each(|(i, piece)| piece.set_aside = i != last);
            decide_in(&pieces, End::Open, false, Crowd::No)
        };
        assert_eq!(behind(6, 1), write(6), "what is set aside would go past chunk 12, which lies behind it");
        assert_eq!(behind(0, 1), defer(0, Why::Hole));
        assert_eq!(behind(6, 6), write(9), "the queue was looked at often enough");
    }

    fn write(chunks: usize) -> Decision {
        Decision::Write { chunks }
    }

    fn defer(seconds: u32, why: Why) -> Decision {
        Decision::Defer { seconds, why }
    }

    #[test]
    fn the_table_of_when_a_batch_is_written() {
        let to = |last: u64| (5..=last).collect::<Vec<u64>>();
        for (what, indices, age_ms, deliveries, end, expected) in [
            ("young: waits for the missing 1.7 s", to(5), 50, 1, End::Open, defer(2, Why::Young)),
            ("young: 1.5 s are there", to(9), 1_300, 1, End::Open, defer(1, Why::Young)),
            ("ripe: 2.1 s", to(11), 1_900, 1, End::Open, write(7)),
            ("1.8 s are not ripe at once", to(10), 1_600, 1, End::Open, defer(1, Why::Young)),
            ("1.8 s are ripe after a wait", to(10), 2_100, 2, End::Open, write(6)),
            ("a backlog is cut at its age", to(34), 6_000, 2, End::Open, write(20)),
            ("what is hardly behind is cut at 3 s", to(24), 4_900, 2, End::Open, write(10)),
            ("end of stream: whatever is there", to(5), 50, 1, End::Here, write(1)),
            (
                "end of stream, its last chunk is still missing",
                to(6),
                300,
                1,
                End::Behind(8),
                defer(2, Why::Young),
            ),
            ("end of stream, its last chunk is here", to(8), 300, 1, End::Behind(8), write(4)),
            ("too old and over 1 s", to(8), 3_000, 3, End::Open, write(4)),
            (
                "too old but under 1 s: more may lie right behind",
                to(6),
                4_600,
                4,
                End::Open,
                defer(0, Why::Young),
            ),
            ("under 1 s, and nothing comes for a while", to(6), 15_000, 8, End::Open, defer(5, Why::Young)),
            ("under 1 s at the last resort", to(6), 65_000, 20, End::Open, write(2)),
            ("out of order: the chunk before is missing", vec![6, 7], 400, 1, End::Open, defer(1, Why::Hole)),
            (
                "out of order inside: what precedes is short",
                vec![5, 7, 8],
                400,
                1,
                End::Open,
                defer(1, Why::Hole),
            ),
            (
                "out of order inside: what precedes is ripe",
                [&to(11)[..], &[13]].concat(),
                2_100,
                1,
                End::Open,
                write(7),
            ),
            ("the hole has been waited for", vec![6, 7, 8, 9], 3_000, 3, End::Open, write(4)),
            // A worker died; the group was hidden meanwhile. What is missing was enqueued a little late, right behind these ten.
            (
                "a hole in a backlog: what precedes makes room for what may lie behind",
                [&to(10)[..], &[12, 13, 14, 15]].concat(),
                12_000,
                1,
                End::Open,
                write(6),
            ),
            (
                "a hole in a backlog that nothing can make room for",
                (6..16).collect(),
                12_000,
                1,
                End::Open,
                write(10),
            ),
            (
                "seen for the first time though old: more may lie right behind",
                vec![6, 7],
                12_000,
                1,
                End::Open,
                defer(0, Why::Hole),
            ),
            (
                "a worker died, and this may not be all that it left",
                vec![6, 7, 8, 9],
                12_000,
                2,
                End::Open,
                defer(0, Why::Hole),
            ),
            ("nothing lies behind", vec![6, 7, 8, 9], 12_000, 6, End::Open, write(4)),
            ("nothing lies behind, and nobody died", vec![6, 7, 8, 9], 4_500, 2, End::Open, write(4)),
        ] {
            assert_eq!(decide_on(&indices, age_ms, deliveries, end), expected, "{what}");
        }
    }
}
