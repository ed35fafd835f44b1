use ingest::checkpoint::PastNumbering;
use ingest::gap::ChunkRange;
use ingest::position::Position;
use ingest::timeline::{Joint, Timing};
use media::time::{EpochMs, Samples};
use proptest::prelude::*;

use super::*;

/// A fragment of chunks `first..=last` that begins at `at` and lasts `ms`; `number` is its place in the order of ingestion.
fn fragment(number: u32, at: u64, ms: u64, chunks: (u64, u64)) -> Fragment {
    Fragment {
        number: format!("{number:020}"),
        at: EpochMs(at),
        stretches: vec![(EpochMs(at), Samples::from_ms(ms))],
        numbering: Some(0),
        chunks: Some(chunks),
        ..Fragment::default()
    }
}

/// Parked messages by their index, as notes of an older writer have it.
fn by_index(indices: &[Option<u64>]) -> Vec<Parked> {
    indices.iter().map(|index| Parked { numbering: None, index: *index }).collect()
}

fn withheld_to(withheld_to: u64) -> ingest::gap::Search {
    ingest::gap::Search { withheld_to, ..Default::default() }
}

pub(crate) fn gap(from: u64, to: u64, begins_at: u64, ends_at: Option<u64>) -> Gap {
    Gap {
        chunks: ChunkRange { numbering: 0, from, to },
        begins_at: EpochMs(begins_at),
        ends_at: ends_at.map(EpochMs),
        captured: (EpochMs(0), EpochMs(u64::MAX)),
        snapshot: ingest::snapshot::SnapshotKey::default(),
        search: ingest::gap::Search::default(),
        unsure: None,
        tries: Vec::new(),
        parked: None,
        cause: String::new(),
        taken_until: None,
    }
}

fn checkpoint(next: u64, gaps: Vec<Gap>) -> Checkpoint {
    let live = Position { next, ..Position::default() };
    Checkpoint { live, gaps, ..Checkpoint::default() }
}

fn kinds(ledger: &Ledger) -> Vec<(u64, u64, HoleKind)> {
    ledger.holes.iter().map(|hole| (hole.from, hole.to, hole.kind)).collect()
}

#[test]
fn a_chunk_in_several_fragments_is_there_once_unless_the_same_part_is_there_again() {
    let part =
        |number, at, chunks, from| Fragment { first_from: from, ..fragment(number, at, 3_000, chunks) };
    let mut parts = vec![
        part(1, 1_000, (0, 3), None),
        part(2, 4_000, (3, 3), Some(9_000)),
        part(3, 7_000, (3, 3), Some(18_000)),
        part(4, 10_000, (3, 5), Some(27_000)),
    ];
    let whole = ledger(&parts, &checkpoint(6, vec![]), &[]);
    assert!(whole.is_whole(), "{whole:?}");
    assert_eq!(whole.chunks[0].written.pairs(), [(0, 5)]);
    parts.push(part(5, 13_000, (3, 3), Some(18_000)));
    let twice = ledger(&parts, &checkpoint(6, vec![]), &[]);
    assert_eq!(twice.chunks[0].twice.pairs(), [(3, 3)], "the same bytes are heard again");
}

#[test]
fn a_session_without_trouble_is_whole() {
    let fragments = [fragment(1, 1_000, 2_000, (0, 6)), fragment(2, 3_000, 2_000, (7, 13))];
    let ledger = ledger(&fragments, &checkpoint(14, vec![]), &[]);
    assert!(ledger.is_whole(), "{ledger:?}");
    assert_eq!((ledger.time.audio_ms, ledger.holes.len()), (4_000, 0));
    assert_eq!(ledger.chunks[0].written.pairs(), [(0, 13)]);
    assert!(ledger.chunks[0].not_in_stream.is_empty());
}

#[test]
fn a_pause_is_told_from_a_gap_and_from_what_nobody_knows() {
    let fragments = [
        fragment(1, 0, 2_000, (0, 6)),
        fragment(2, 5_000, 2_000, (7, 13)),
        fragment(3, 9_000, 1_000, (20, 22)),
        fragment(4, 12_000, 1_000, (30, 32)),
    ];
    let gaps = vec![gap(14, 20, 7_000, Some(9_000))];
    let ledger = ledger(&fragments, &checkpoint(33, gaps), &by_index(&[Some(14), Some(15), None, Some(99)]));
    use HoleKind::*;
    assert_eq!(kinds(&ledger), [(2_000, 5_000, Pause), (7_000, 9_000, Gap), (10_000, 12_000, Unknown)]);
    let time = &ledger.time;
    assert_eq!((time.audio_ms, time.pause_ms, time.gap_ms, time.unknown_ms), (6_000, 3_000, 2_000, 2_000));
    let row = &ledger.chunks[0];
    assert_eq!((row.parked.pairs(), row.missing.pairs()), (vec![(14, 15)], vec![(16, 19)]));
    assert_eq!(row.not_in_stream.pairs(), [(23, 29)]);
    assert_eq!((ledger.parked_elsewhere.pairs(), ledger.parked_without_index), (vec![(99, 99)], 1));
    assert!(!ledger.is_whole());
}

#[test]
fn a_backfill_closes_the_account() {
    let fragments = [
        fragment(1, 0, 2_000, (0, 6)),
        Fragment { backfilled: true, ..fragment(3, 2_000, 2_000, (7, 13)) },
        fragment(2, 4_000, 2_000, (14, 20)),
    ];
    let ledger = ledger(&fragments, &checkpoint(21, vec![]), &[]);
    assert!(ledger.is_whole());
    assert_eq!(ledger.fragments.iter().map(|row| row.backfilled).collect::<Vec<_>>(), [false, true, false]);
}

#[test]
fn chunks_held_with_a_gap_are_neither_written_nor_gone() {
    let fragments = [fragment(1, 0, 1_000, (0, 3)), fragment(2, 2_000, 1_000, (7, 9))];
    let held = Gap { search: withheld_to(9), ..gap(4, 5, 1_000, Some(2_000)) }; // 5 and 6 in no fragment, 7 and 8 at the beginning of one
    let row = &ledger(&fragments, &checkpoint(10, vec![held]), &[]).chunks[0];
    assert_eq!(row.held.pairs(), [(5, 8)]);
    assert_eq!(row.written.pairs(), [(0, 3), (9, 9)]);
    assert!(row.not_in_stream.is_empty(), "{row:?}");
}

#[test]
fn a_hole_inside_a_fragment_is_no_second_copy_when_it_is_filled() {
    let mut holed = fragment(1, 0, 1_000, (0, 9));
    holed.stretches.push((EpochMs(2_000), Samples::from_ms(1_000)));
    let open =
        ledger(std::slice::from_ref(&holed), &checkpoint(10, vec![gap(4, 6, 1_000, Some(2_000))]), &[]);
    assert_eq!(open.chunks[0].written.pairs(), [(0, 3), (6, 9)]);
    assert_eq!(open.time.gap_ms, 1_000);
    let filled = ledger(&[holed, fragment(2, 1_000, 1_000, (4, 5))], &checkpoint(10, vec![]), &[]);
    assert!(filled.is_whole(), "{filled:?}");
    assert_eq!(filled.time.audio_ms, 3_000);
}

#[test]
fn chunks_in_two_fragments_and_audio_at_one_time_are_found() {
    let fragments = [fragment(1, 0, 2_000, (0, 6)), fragment(2, 1_500, 2_000, (5, 11))];
    let overlapping = ledger(&fragments, &checkpoint(12, vec![]), &[]);
    assert_eq!(overlapping.chunks[0].twice.pairs(), [(5, 6)]);
    assert_eq!((overlapping.time.overlap_ms, overlapping.time.audio_ms), (500, 3_500));
    let resent = [fragment(1, 0, 2_000, (0, 6)), fragment(2, 9_000, 2_000, (0, 6))];
    let elsewhere = ledger(&resent, &checkpoint(7, vec![]), &[]);
    assert_eq!(
        elsewhere.chunks[0].twice.pairs(),
        [(0, 6)],
        "the same chunks at another time are heard twice"
    );
}

#[test]
fn a_parked_chunk_is_of_its_own_pages_gap() {
    let second = |gap: Gap| Gap { chunks: ChunkRange { numbering: 1, ..gap.chunks }, ..gap };
    let gaps = vec![gap(4, 6, 1_000, Some(2_000)), second(gap(4, 6, 8_000, Some(9_000)))];
    let mut state = checkpoint(9, gaps);
    state.live.numbering = 1;
    state.past.push(PastNumbering {
        numbering: 0,
        next: 9,
        captured: Default::default(),
        connection_id: None,
    });
    let parked = |numbering, index| Parked { numbering, index: Some(index) };
    let told =
        ledger(&[], &state, &[parked(Some(1), 4), parked(Some(1), 5), parked(Some(2), 4), parked(None, 5)]);
    assert_eq!(told.gaps.iter().map(|gap| gap.parked.pairs()).collect::<Vec<_>>(), [[(5, 5)], [(4, 5)]]);
    assert_eq!(told.parked_elsewhere.pairs(), [(4, 4)]);
}

#[test]
fn a_reloaded_page_leaves_a_pause_not_a_mystery() {
    let mut again = fragment(2, 5_000, 2_000, (0, 6));
    again.numbering = Some(1);
    let mut state = checkpoint(7, vec![]);
    state.live.numbering = 1;
    state.past.push(PastNumbering {
        numbering: 0,
        next: 7,
        captured: Default::default(),
        connection_id: None,
    });
    let ledger = ledger(&[fragment(1, 0, 2_000, (0, 6)), again], &state, &[]);
    assert_eq!(kinds(&ledger), [(2_000, 5_000, HoleKind::Pause)]);
    assert_eq!(ledger.chunks.len(), 2);
    assert!(ledger.is_whole(), "{ledger:?}");
}

#[test]
fn expired_fragments_leave_chunks_that_are_not_in_the_stream() {
    let ledger = ledger(&[fragment(9, 60_000, 2_000, (70, 76))], &checkpoint(77, vec![]), &[]);
    assert_eq!(ledger.chunks[0].not_in_stream.pairs(), [(0, 69)]);
    assert!(ledger.is_whole(), "what has expired was written once");
}

fn parked_by_clock(gap: Gap, captured: (u64, u64)) -> Gap {
    Gap { captured: (EpochMs(captured.0), EpochMs(captured.1)), ..gap }
}

fn parts(ledger: &Ledger) -> (u64, u64, u64, u64) {
    let time = &ledger.time;
    assert_eq!(time.audio_ms + time.pause_ms + time.gap_ms + time.unknown_ms, time.to - time.from);
    (time.from, time.to, time.audio_ms, time.gap_ms)
}

#[test]
fn what_is_parked_at_the_head_and_at_the_tail_has_its_time() {
    let fragments = [fragment(1, 3_000, 2_000, (7, 13))];
    let tail = parked_by_clock(gap(14, 21, 5_000, None), (4_950, 7_000));
    let mut state = checkpoint(21, vec![gap(0, 7, 1_000, Some(3_000)), tail]);
    let by_clock = ledger(&fragments, &state, &[]);
    assert_eq!(parts(&by_clock), (1_000, 7_050, 2_000, 4_050));
    use HoleKind::Gap;
    assert_eq!(kinds(&by_clock), [(1_000, 3_000, Gap), (5_000, 7_050, Gap)]);
    assert_eq!(by_clock.gaps.iter().map(|gap| gap.until).collect::<Vec<_>>(), [3_000, 7_050]);

    // The live line passed what was decoded before it was parked.
    let (samples, captured_at) = (Samples::from_ms(2_000), EpochMs(7_100));
    let (sent_at, joint) = (EpochMs(7_150), Joint::Clock);
    let timing = Timing { samples, captured_at, sent_at, joint, continues: false };
    state.live.timeline.place(&timing, &[], ingest::timeline::Sight { calm: true, ..Default::default() });
    assert_eq!(parts(&ledger(&fragments, &state, &[])), (1_000, 7_100, 2_000, 4_100));
    let part = ledger_within(&fragments, &state, &[], (EpochMs(2_500), EpochMs(4_000)));
    assert_eq!(parts(&part), (2_500, 4_000, 1_000, 500));
}

#[test]
fn a_wholly_parked_session_is_one_gap() {
    let gap = parked_by_clock(gap(0, 7, 1_000, None), (0, 3_000));
    let ledger = ledger(&[], &checkpoint(7, vec![gap]), &by_index(&[Some(0)]));
    assert_eq!(parts(&ledger), (1_000, 3_000, 0, 2_000));
    assert_eq!(kinds(&ledger), [(1_000, 3_000, HoleKind::Gap)]);
}

#[test]
fn what_expired_between_a_gap_and_the_audio_is_unknown() {
    use HoleKind::*;
    let fragments = [fragment(9, 9_000, 2_000, (10, 16))];
    let expired = ledger(&fragments, &checkpoint(17, vec![gap(0, 3, 1_000, Some(2_000))]), &[]);
    assert_eq!(kinds(&expired), [(1_000, 2_000, Gap), (2_000, 9_000, Unknown)]);
    let paused = ledger(&fragments, &checkpoint(17, vec![gap(0, 10, 1_000, Some(2_000))]), &[]);
    assert_eq!(kinds(&paused), [(1_000, 2_000, Gap), (2_000, 9_000, Pause)]);
    parts(&expired);
}

proptest! {
    /// Whatever lies in the stream: the parts of the time add up, and each chunk is in one place.
    #[test]
    fn every_millisecond_and_every_chunk_is_accounted_for_once(
        parts in prop::collection::vec((0..4_000_u64, 1..3_000_u64, 0..12_u64, 0..8_u64), 1..20),
        gaps in prop::collection::vec((0..120_u64, 1..9_u64, 0..60_000_u64, prop::option::of(0..5_000_u64)), 0..6),
        parked in prop::collection::vec(prop::option::of(0..150_u64), 0..30),
        next in 0..150_u64,
    ) {
        let (mut at, mut chunk) = (0, 0);
        let fragments: Vec<Fragment> = parts.iter().enumerate().map(|(i, &(pause, ms, skip, chunks))| {
            at += pause;
            chunk += skip;
            let made = fragment(i as u32, at, ms, (chunk, chunk + chunks));
            at += ms;
            chunk += chunks + 1;
            made
        }).collect();
        let gaps: Vec<Gap> = gaps.into_iter().map(|(from, len, at, ms)| gap(from, from + len, at, ms.map(|ms| at + ms))).collect();
        let ledger = ledger(&fragments, &checkpoint(next, gaps), &by_index(&parked));
        let time = &ledger.time;
        prop_assert_eq!(time.audio_ms + time.pause_ms + time.gap_ms + time.unknown_ms, time.to - time.from);
        prop_assert_eq!(time.audio_ms, parts.iter().map(|part| part.1).sum::<u64>()
            + fragments.windows(2).filter(|w| w[1].at.0 == w[0].end().0 + 1).count() as u64);
        prop_assert!(ledger.holes.windows(2).all(|w| w[0].to <= w[1].from));
        for row in &ledger.chunks {
            let places = [&row.written, &row.parked, &row.missing, &row.given_up, &row.not_in_stream];
            let mut all = Ranges::default();
            places.iter().for_each(|place| place.runs().iter().for_each(|&(from, to)| all.add(from, to)));
            prop_assert!(Ranges::one(0, row.next).without(&all).is_empty(), "a chunk is nowhere");
            let sum: u64 = [&row.written, &row.not_in_stream].iter().map(|place| place.len()).sum();
            let other = [&row.parked, &row.missing];
            let gone = other.iter().map(|place| place.len()).sum::<u64>();
            prop_assert!(row.written.and(&row.not_in_stream).is_empty());
            prop_assert!(other.iter().all(|place| place.and(&row.written).is_empty()));
            prop_assert!(sum + gone >= row.next, "{:?}", row);
        }
    }
}
