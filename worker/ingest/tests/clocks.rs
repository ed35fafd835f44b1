//! Speakers' clocks that are set, and timestamps that are made up: every chunk keeps its place.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use ingest::checkpoint::{Checkpoint, PastNumbering};
use ingest::gap::{ChunkRange, Gap, Search};
use ingest::message::{Chunk, Entry, Record};
use ingest::opening::Opening;
use ingest::piece::Piece;
use ingest::position::Position;
use ingest::snapshot::Snapshot;
use ingest::sort::{Sorted, sort};
use media::time::EpochMs;
use serde_json::json;

const HEADER: &[u8] = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm\x42\x87\x81\x04\x42\x85\x81\x02";
const T0: u64 = 1_732_622_783_000;
/// From the capture to the queue.
const DELAY_MS: u64 = 40;

/// A chunk that the queue took `sent_ms` after the session's begin, stamped by a clock that is ahead by `ahead_ms`. The queue numbers
/// messages by their time.
fn chunk(index: u64, sent_ms: u64, ahead_ms: i64) -> Entry {
    let sent_at = EpochMs(T0 + sent_ms);
    let sequence_number = u128::from(sent_ms);
    Entry::Chunk(Arc::new(Chunk {
        record: Record { message_id: format!("m{sent_ms}"), sequence_number, sent_at, ..Record::default() },
        index,
        captured_at: EpochMs((sent_at.0 - DELAY_MS).saturating_add_signed(ahead_ms)),
        audio: Ok(if index == 0 { HEADER.to_vec() } else { vec![1, 2, index as u8] }),
        ..Chunk::default()
    }))
}

/// A chunk that was kept: the queue took it so long after the session's begin, and it was stamped when it was spoken.
fn spoken(index: u64, sent_ms: u64, spoken_ms: i64) -> Entry {
    chunk(index, sent_ms, spoken_ms - sent_ms as i64)
}

/// A session that began 30 s ago, and has passed chunks 0 to 9 of its page, the last one 300 ms ago by both clocks.
fn written() -> Checkpoint {
    let live = Position {
        next: 10,
        numbering_began: EpochMs(T0 + 27_000),
        last_captured: EpochMs(T0 + 29_700 - DELAY_MS),
        last_sequence: 29_700,
        timeline: serde_json::from_value(json!({
            "stretch_at": T0, "samples": 475_200, "skew_ms": 0, "lag_ms": 0,
            "last": {"captured_at": T0 + 29_660, "delay_ms": 40, "sent_at": T0 + 29_700, "usually_behind_ms": 40, "steady": 48_000},
        }))
        .unwrap(),
        ..Position::default()
    };
    Checkpoint { live, ..Checkpoint::default() }
}

/// Numbering, index, and capture time after the session's begin, each by the clock that was never set back.
fn live(sorted: &Sorted) -> Vec<(u32, u64, u64)> {
    sorted
        .live
        .iter()
        .map(|p| (p.numbering, p.index, p.captured_at.ms_since(EpochMs(T0)) + DELAY_MS))
        .collect()
}

/// Numbering and index of each.
fn places(sorted: &Sorted) -> Vec<(u32, u64)> {
    live(sorted).into_iter().map(|(page, index, _)| (page, index)).collect()
}

#[test]
fn a_clock_that_is_set_back_within_a_page_leaves_its_chunks_in_their_order_and_their_pace() {
    for back_ms in [-3_000, -20_000, -3_600_000, -86_400_000] {
        let entries = [
            chunk(10, 30_000, 0),
            chunk(11, 30_300, 0),
            chunk(12, 30_600, back_ms),
            chunk(13, 30_900, back_ms),
        ];
        let sorted = sort(&written(), &entries, &[]);
        let expected = [(0, 10, 30_000), (0, 11, 30_300), (0, 12, 30_600), (0, 13, 30_900)];
        assert_eq!(live(&sorted), expected, "set by {back_ms} ms: chunks would change their page");
    }
}

#[test]
fn a_clock_that_is_set_back_before_a_reload_leaves_the_new_page_behind_the_old_one() {
    let entries = [chunk(10, 30_000, 0), chunk(0, 33_000, -3_600_000), chunk(1, 33_300, -3_600_000)];
    let sorted = sort(&written(), &entries, &[]);
    assert_eq!(live(&sorted), [(0, 10, 30_000), (1, 0, 33_000), (1, 1, 33_300)], "{sorted:?}");
}

/// A page of 30 s that has only sent its opening chunk, which is known by its bytes.
fn opened(connection: Option<&str>) -> Checkpoint {
    let mut checkpoint = written();
    checkpoint.live.next = 0;
    let Entry::Chunk(mut first) = by(connection, chunk(0, 29_700, 0)) else { unreachable!("it is a chunk") };
    Arc::make_mut(&mut first).audio = Ok([HEADER, &[1]].concat());
    checkpoint.live.pass(&Piece::of(0, first), None);
    checkpoint
}

/// By a few seconds: what has passed meanwhile hides most of it.
#[test]
fn a_clock_that_is_set_back_a_little_before_a_reload_is_seen_by_the_new_pages_header() {
    for (before, after) in [(Some("c1"), Some("c2")), (None, None)] {
        let checkpoint = opened(before);
        for (loaded_ms, back_ms) in [(32_300, -3_000), (32_300, -4_000), (33_600, -4_000), (31_300, -6_000)] {
            let entries = [by(before, chunk(1, 30_000, 0)), by(after, chunk(0, loaded_ms, back_ms))];
            let sorted = sort(&checkpoint, &entries, &[]);
            assert_eq!(live(&sorted), [(0, 1, 30_000), (1, 0, loaded_ms)], "by {back_ms} ms: {sorted:?}");
        }
        // A page beside the first one, whose clock is as it was.
        let entries = [by(before, chunk(1, 30_000, 0)), by(after, chunk(0, 30_100, -400))];
        let sorted = sort(&checkpoint, &entries, &[]);
        assert!(sorted.live.iter().all(|piece| piece.clock_ms == 0), "no clock was set");
    }
}

/// Its recorder's headers are all alike, and what the page sent long ago is not known by its bytes.
#[test]
fn a_reload_is_seen_by_its_header_though_the_page_before_began_with_the_same() {
    let mut checkpoint = written();
    let header = recorder::Recorder::plain(300_000).record(&recorder::packets(20_000, 15, 1)).bytes;
    let opens = over("c2", with(chunk(0, 33_000, -4_000), |chunk| chunk.audio = Ok(header)));
    let Entry::Chunk(first) = opens.clone() else { unreachable!("it is a chunk") };
    checkpoint.live.next = 100;
    checkpoint.live.opened_by = Piece::of(0, first).recording();
    checkpoint.live.connection_id = Some("c1".to_owned());
    assert!(checkpoint.live.opened_by.is_some(), "the header names its recording");
    let entries = [opens, over("c2", chunk(1, 33_300, -4_000))];
    let sorted = sort(&checkpoint, &entries, &[]);
    assert_eq!(live(&sorted), [(1, 0, 33_000), (1, 1, 33_300)], "the page would be lost: {sorted:?}");
}

#[test]
fn a_made_up_timestamp_ends_with_its_chunk() {
    for ahead_ms in [-(T0 as i64) - 40_000, (1 << 53) - 2 * T0 as i64] {
        let entries = [chunk(10, 30_000, 0), chunk(11, 30_300, ahead_ms), chunk(12, 30_600, 0)];
        let sorted = sort(&written(), &entries, &[]);
        let expected = [(0, 10, 30_000), (0, 11, 30_300), (0, 12, 30_600)];
        assert_eq!(live(&sorted), expected, "a timestamp that is {ahead_ms} ms off breaks its neighbours");
        assert!(sorted.live.iter().all(|piece| piece.clock_ms == 0), "it tells nothing of the clock");
    }
}

fn gap(from: u64, to: u64, captured: (u64, u64)) -> Gap {
    let opening = Opening {
        chunks: ChunkRange { numbering: 0, from, to },
        begins_at: EpochMs(T0),
        ends_at: None,
        captured: (EpochMs(T0 + captured.0), EpochMs(T0 + captured.1)),
        search: Search::default(),
        snapshot: Snapshot::default(),
    };
    opening.open().0
}

#[test]
fn a_redriven_chunk_from_before_the_clock_was_set_finds_its_gap() {
    let mut checkpoint = written();
    checkpoint.gaps = vec![gap(3, 6, (28_000, 28_900))];
    checkpoint.live.clock = serde_json::from_value(json!([{"from": 29_500, "ms": 20_000}])).unwrap();
    // Sent 60 s ago, and redriven now.
    let redriven = with(chunk(4, 28_540, 0), |again| {
        again.record.sent_at = EpochMs(T0 + 90_000);
        again.record.sequence_number = 90_000;
    });
    let sorted = sort(&checkpoint, &[redriven], &[]);
    let came_back =
        sorted.backfill.iter().flat_map(|(_, pieces)| pieces).map(|piece| piece.captured_at.0 - T0);
    assert_eq!(came_back.collect::<Vec<_>>(), [28_500], "its audio would stay in the DLQ: {sorted:?}");
}

#[test]
fn a_late_chunk_of_the_page_before_is_not_the_next_one_by_a_clock_that_was_set_back() {
    let mut checkpoint = written();
    checkpoint.live = Position { numbering: 1, next: 1, ..checkpoint.live };
    let captured = (EpochMs(T0 + 10_000), EpochMs(T0 + 19_400));
    checkpoint.past = vec![PastNumbering { numbering: 0, next: 4, captured, connection_id: None }];
    checkpoint.gaps = vec![gap(1, 2, (10_300, 10_600))];
    // It took 19 s, and comes just where the new page's chunk with this index does.
    let sorted = sort(&checkpoint, &[chunk(1, 29_790, -19_300), chunk(1, 30_000, 0)], &[]);
    let came_back: Vec<u64> =
        sorted.backfill.iter().flat_map(|(_, pieces)| pieces).map(|piece| piece.captured_at.0 - T0).collect();
    assert_eq!((live(&sorted), came_back), (vec![(1, 1, 30_000)], vec![10_450]), "one of the two is lost");
}

/// Both pages still wait in the queue, so no gap tells whose it is; but the new page's own chunk with its index is there, too.
#[test]
fn a_late_chunk_of_a_page_that_is_not_yet_written_does_not_set_the_clock_back() {
    let mut checkpoint = written();
    checkpoint.live.next = 2;
    let old_page = [chunk(2, 30_000, 0), chunk(4, 30_600, 0)];
    let other =
        |index, sent_ms| with(chunk(index, sent_ms, 0), |chunk| chunk.audio = Ok(vec![3, 4, index as u8]));
    let new_page = [chunk(0, 38_000, 0), other(1, 38_300), other(2, 38_600)];
    let late = chunk(3, 38_700, -8_400);
    let entries = [&old_page[..], &new_page, &[late, other(3, 38_900)]].concat();
    let sorted = sort(&checkpoint, &entries, &[]);
    assert_eq!(places(&sorted), [(0, 2), (0, 3), (0, 4), (1, 0), (1, 1), (1, 2), (1, 3)], "{sorted:?}");
}

/// The same session, whose first page had so many chunks, and ended so many ms after its begin.
fn behind_a_page(next: u64, until_ms: u64) -> Checkpoint {
    let mut checkpoint = written();
    checkpoint.live.numbering = 1;
    let captured = (EpochMs(T0), EpochMs(T0 + until_ms));
    checkpoint.past = vec![PastNumbering { numbering: 0, next, captured, connection_id: None }];
    checkpoint
}

/// The first page's chunks had the indices that come next at the times that the second one's have by its clock, which was set back.
fn set_back_before_the_page() -> Checkpoint {
    let mut checkpoint = behind_a_page(60, 20_000);
    checkpoint.live.clock.note(27_000, 20_000);
    checkpoint
}

#[test]
fn what_comes_behind_a_hole_after_the_clock_was_set_back_is_no_chunk_of_the_page_before() {
    let checkpoint = set_back_before_the_page();
    // Chunks 10 to 14 are lost, and what follows was kept for 2 s.
    let kept = [15, 16, 17].map(|i| chunk(i, 33_500 + i, 31_500 + 300 * (i as i64 - 15) - 33_500 - 20_000));
    let sorted = sort(&checkpoint, &kept, &[]);
    assert_eq!(places(&sorted), [(1, 15), (1, 16), (1, 17)], "they would be dropped as written: {sorted:?}");
}

/// Concurrent handlers have brought the chunks out of their order.
#[test]
fn what_others_overtook_after_the_clock_was_set_back_is_no_chunk_of_the_page_before() {
    let checkpoint = set_back_before_the_page();
    let order = [13, 11, 10, 12];
    let stamped = |i: u64| 30_000 + 300 * (i as i64 - 10) - 20_000;
    for away_ms in [0, 9_000] {
        let sent_ms = |n: usize| 31_000 + away_ms + n as u64;
        let shaken: Vec<Entry> =
            (0..4).map(|n| chunk(order[n], sent_ms(n), stamped(order[n]) - sent_ms(n) as i64)).collect();
        assert_eq!(
            places(&sort(&checkpoint, &shaken, &[])),
            [(1, 10), (1, 11), (1, 12), (1, 13)],
            "after {away_ms} ms away, some are dropped as written"
        );
    }
}

/// The network was away until 40 s, and what was spoken from 30 s on, 300 ms each, comes in this order, 5 ms apart. Chunks from 14 on
/// were stamped by a clock that was set by so much.
fn kept(order: &[u64], set_ms: i64) -> Vec<Entry> {
    let sent = (40_000..).step_by(5);
    let set = |index: u64| if index < 14 { 0 } else { set_ms };
    let spoken_ms = |index: u64| 30_000 + 300 * (index as i64 - 10);
    order
        .iter()
        .zip(sent)
        .map(|(i, sent_ms)| chunk(*i, sent_ms, spoken_ms(*i) - sent_ms as i64 + set(*i)))
        .collect()
}

/// Whether these chunks of the page are live, each captured about when it was spoken: the pace before the burst tells that.
fn are_as_spoken(sorted: &Sorted, indices: &[u64]) -> bool {
    let as_spoken = |(_, index, at_ms): (u32, u64, u64)| at_ms.abs_diff(27_000 + 300 * index) <= 500;
    places(sorted) == indices.iter().map(|i| (0, *i)).collect::<Vec<_>>()
        && live(sorted).into_iter().all(as_spoken)
}

#[test]
fn a_clock_that_is_set_back_while_the_network_is_away_leaves_what_was_kept_at_its_pace() {
    let in_order: Vec<u64> = (10..18).collect();
    for order in [&in_order[..], &[12, 11, 14, 10, 16, 13, 15, 17]] {
        for set_ms in [-3_000, -20_000, -3_600_000] {
            let sorted = sort(&written(), &kept(order, set_ms), &[]);
            assert!(
                are_as_spoken(&sorted, &in_order),
                "set by {set_ms} ms, in the order {order:?}: {sorted:?}"
            );
        }
    }
}

#[test]
fn a_clock_that_is_set_back_while_the_network_is_away_opens_no_page_before_a_hole() {
    // The other chunks come with the next delivery.
    let sorted = sort(&written(), &kept(&[11, 24, 10, 27, 28, 12, 25], -20_000), &[]);
    let all_live = are_as_spoken(&sorted, &[10, 11, 12, 24, 25, 27, 28]);
    assert!(all_live, "all that follows would lie before the page: {sorted:?}");
}

#[test]
fn what_was_kept_after_the_clock_was_set_back_is_not_parked_as_from_before_the_page() {
    let checkpoint = behind_a_page(9, 26_000);
    let sorted = sort(&checkpoint, &kept(&[10, 12, 16, 11, 19, 18], -10_000), &[]);
    assert_eq!(places(&sorted), [10, 11, 12, 16, 18, 19].map(|i| (1, i)), "{sorted:?}");
}

/// A page kept all that it and its next load recorded, and the queue has it in any order.
#[test]
fn a_chunk_of_an_earlier_load_among_those_of_a_later_one_shows_no_clock_that_was_set_back() {
    let entries = [
        spoken(12, 60_001, 50_000),
        spoken(13, 60_002, 30_900),
        spoken(14, 60_003, 50_600),
        spoken(0, 60_004, 48_000),
    ];
    let sorted = sort(&written(), &entries, &[]);
    let expected = [(0, 13, 30_900), (1, 0, 48_000), (1, 12, 50_000), (1, 14, 50_600)];
    assert_eq!(live(&sorted), expected, "{sorted:?}");
}

/// It comes back from the DLQ, or could not be parked yet, and its index is the live chunk's next one.
#[test]
fn a_chunk_of_the_page_before_that_comes_back_does_not_change_a_live_chunks_time() {
    let checkpoint = behind_a_page(60, 26_000);
    let entries = [chunk(11, 25_000, 0), chunk(10, 35_000, 0)];
    let sorted = sort(&checkpoint, &entries, &[]);
    assert_eq!(live(&sorted), [(1, 10, 35_000)], "it would be acknowledged as the page before's: {sorted:?}");
}

/// All that two loads have kept is sent at once, in any order.
#[test]
fn two_loads_with_chunks_of_the_same_index_show_no_clock_that_was_set_back() {
    let mut checkpoint = written();
    checkpoint.live.connection_id = Some("c1".to_owned());
    let sent = |index, sent_ms, spoken_ms| over("c2", spoken(index, sent_ms, spoken_ms));
    let later: Vec<Entry> =
        (0..12).map(|i| sent(i, 41_000 + 7 * (i * 5 % 12), 36_000 + 300 * i as i64)).collect();
    let earlier = (10..13).map(|i| sent(i, 41_003 + 7 * (i * 3 % 11), 27_000 + 300 * i as i64));
    let earlier: Vec<Entry> =
        earlier.map(|entry| with(entry, |chunk| chunk.audio = Ok(vec![3, chunk.index as u8]))).collect();
    let sorted = sort(&checkpoint, &[later, earlier].concat(), &[]);
    let expected: Vec<(u32, u64)> = (10..13).map(|i| (0, i)).chain((0..12).map(|i| (1, i))).collect();
    assert_eq!(places(&sorted), expected, "what the earlier load left would be parked");
}

/// The queue took the page before's last chunk behind the new page's first one, which is still to be written.
#[test]
fn a_new_page_whose_clock_was_set_back_is_known_though_the_page_before_is_further_in_the_queue() {
    for (before, after) in [(Some("c1"), Some("c2")), (None, None)] {
        let mut checkpoint = opened(before);
        let Entry::Chunk(last) = by(before, chunk(1, 31_600, -700)) else { unreachable!("it is a chunk") };
        checkpoint.live.pass(&Piece::of(0, last), None);
        let entries = [by(after, chunk(0, 31_400, -7_000)), by(after, chunk(1, 31_700, -7_000))];
        let sorted = sort(&checkpoint, &entries, &[]);
        assert_eq!(places(&sorted), [(1, 0), (1, 1)], "the page would be parked: {sorted:?}");
    }
}

/// Blobs are so short that the first one by the new clock overtakes the last one by the old.
#[test]
fn a_clock_that_is_set_back_within_a_page_is_seen_although_a_chunk_overtakes_another() {
    let mut checkpoint = set_back_before_the_page();
    checkpoint.live.timeline = written().live.timeline;
    let set = |index, sent_ms| chunk(index, sent_ms, -27_000);
    let entries = [set(11, 29_800), chunk(10, 29_810, -20_000), set(12, 29_860), set(13, 29_920)];
    let sorted = sort(&checkpoint, &entries, &[]);
    assert_eq!(places(&sorted), [(1, 10), (1, 11), (1, 12), (1, 13)], "they would be dropped: {sorted:?}");
}

/// By less than what is told from jitter: only the page's indices show whose the chunks are.
#[test]
fn a_clock_that_is_set_back_by_a_moment_leaves_a_page_s_chunks_to_it() {
    let set = |index, sent_ms| over("c", chunk(index, sent_ms, -500));
    let opens = over("c", chunk(0, 120, 0));
    let entries = [opens, over("c", chunk(1, 240, 0)), set(2, 360), set(3, 480), set(4, 600), set(5, 720)];
    let sorted = sort(&Checkpoint::default(), &entries, &[]);
    let expected: Vec<(u32, u64)> = (0..6).map(|index| (0, index)).collect();
    assert_eq!(places(&sorted), expected, "what was said after the clock was set would be lost");
}

/// The last load had written three blobs of a second; the queue took the new load's first one before what it left.
#[test]
fn what_a_load_of_few_blobs_left_shows_no_clock_that_was_set_back() {
    let mut checkpoint = written();
    checkpoint.live.connection_id = Some("c1".to_owned());
    (checkpoint.live.next, checkpoint.live.numbering_began) = (3, EpochMs(T0 + 27_660));
    let sent = |index, sent_ms, spoken_ms| over("c2", spoken(index, sent_ms, spoken_ms));
    let entries = [sent(0, 34_015, 34_000), sent(3, 34_115, 30_700), sent(4, 34_120, 31_700)];
    let sorted = sort(&checkpoint, &entries, &[]);
    assert_eq!(
        live(&sorted),
        [(0, 3, 30_700), (0, 4, 31_700), (1, 0, 34_000)],
        "the new page's own chunks would have their places"
    );
}

/// What the last load left is sent with the new load's first chunks, which overtake it.
#[test]
fn what_an_earlier_load_left_shows_no_clock_that_was_set_back_while_the_later_one_goes_on() {
    let mut checkpoint = written();
    checkpoint.live.connection_id = Some("c1".to_owned());
    let sent = |index, sent_ms, spoken_ms| over("c2", spoken(index, sent_ms, spoken_ms));
    let entries = [
        sent(0, 32_500, 31_900),
        sent(10, 32_501, 30_000),
        sent(12, 32_504, 30_600),
        sent(11, 32_508, 30_300),
        sent(1, 32_513, 32_200),
        sent(2, 32_650, 32_500),
    ];
    let sorted = sort(&checkpoint, &entries, &[]);
    let earlier = [(0, 10, 30_000), (0, 11, 30_300), (0, 12, 30_600)];
    let later = [(1, 0, 31_900), (1, 1, 32_200), (1, 2, 32_500)];
    assert_eq!(live(&sorted), [earlier, later].concat(), "what was left would be heard amid what follows");
}

#[test]
fn a_made_up_timestamp_in_a_burst_lies_between_its_neighbours() {
    // The network was away for 9 s, and the queue took all at once: when it did tells nothing.
    let kept = |index: u64, spoken_ms: i64| chunk(index, 39_000 + index, spoken_ms - 39_000);
    let entries = [kept(10, 30_000), chunk(11, 39_011, (1 << 53) - 2 * T0 as i64), kept(12, 30_600)];
    let sorted = sort(&written(), &entries, &[]);
    let captured: Vec<u64> = live(&sorted).into_iter().map(|(.., at_ms)| at_ms).collect();
    let (before, after) = (captured[0], captured[2]);
    assert!(
        (before..=after).contains(&captured[1]),
        "the others would wait 20 s for a stall to end: {captured:?}"
    );
}

#[test]
fn a_piece_with_a_made_up_timestamp_has_the_time_of_its_blob() {
    // The clock was set ahead by an hour just before the blob.
    for made_up in [10, 11, 12] {
        let piece = |index: u64| {
            let ahead_ms = if index == made_up { (1 << 53) - 2 * T0 as i64 } else { 3_600_000 };
            with(chunk(index, 34_000, ahead_ms), |piece| piece.continues = index < 12)
        };
        let sorted = sort(&written(), &[piece(10), piece(11), piece(12)], &[]);
        let captured: Vec<u64> = live(&sorted).into_iter().map(|(.., at_ms)| at_ms).collect();
        assert_eq!(captured, [3_634_000; 3], "piece {made_up} would be a blob of its own");
    }
}

#[test]
fn a_page_s_first_chunk_that_comes_again_does_not_set_the_clock_back() {
    let mut checkpoint = written();
    checkpoint.live.numbering = 1;
    let captured = (EpochMs(T0 + 10_000 - DELAY_MS), EpochMs(T0 + 20_000));
    checkpoint.past = vec![PastNumbering { numbering: 0, next: 30, captured, connection_id: None }];
    // Redriven: it was written after all.
    let sorted = sort(&checkpoint, &[chunk(0, 90_000, -80_000)], &[]);
    assert_eq!((live(&sorted), sorted.duplicates.len()), (vec![], 1), "it would be written twice");
}

/// A chunk that came over this connection.
fn by(connection: Option<&str>, entry: Entry) -> Entry {
    match connection {
        Some(connection) => over(connection, entry),
        None => entry,
    }
}

fn over(connection: &str, entry: Entry) -> Entry {
    with(entry, |chunk| chunk.connection_id = Some(connection.to_owned()))
}

/// The chunk, changed.
fn with(entry: Entry, change: impl FnOnce(&mut Chunk)) -> Entry {
    let Entry::Chunk(mut chunk) = entry else { unreachable!("it is a chunk") };
    change(Arc::make_mut(&mut chunk));
    Entry::Chunk(chunk)
}

#[test]
fn a_clock_that_is_set_back_before_a_reconnect_leaves_chunks_in_their_order() {
    let mut checkpoint = written();
    checkpoint.live.connection_id = Some("c1".to_owned());
    let sorted = sort(&checkpoint, &[10, 11].map(|i| over("c2", chunk(i, 27_000 + 300 * i, -20_000))), &[]);
    assert_eq!(live(&sorted), [(0, 10, 30_000), (0, 11, 30_300)], "their audio has moved by 20 s");
}

#[test]
fn a_clock_that_was_set_back_is_set_ahead_to_a_time_of_its_own() {
    let mut checkpoint = written();
    checkpoint.live.clock.note(28_000, 20_000);
    let sorted = sort(&checkpoint, &[chunk(10, 30_000, -17_000)], &[]);
    assert_eq!(live(&sorted), [(0, 10, 33_000)], "it is not as late as by the clock that was never set back");
}

#[test]
fn a_clock_that_is_set_back_was_ahead_as_the_last_chunks_show() {
    // Set ahead by 3 s amid the delivery, back by 20 s before the page is loaded.
    let entries = [chunk(10, 30_000, 3_000), chunk(11, 30_300, 3_000), chunk(0, 30_600, -17_000)];
    let sorted = sort(&written(), &entries, &[]);
    assert_eq!(
        places(&sorted),
        [(0, 10), (0, 11), (1, 0)],
        "the old page's chunks are taken for the new one's"
    );
}

#[test]
fn a_written_chunk_from_before_the_clock_was_set_back_is_redriven_as_a_duplicate() {
    let mut checkpoint = written();
    checkpoint.live.clock.note(29_000, 20_000);
    let redriven = chunk(3, 100_000, 28_460 - 100_000);
    let sorted = sort(&checkpoint, &[redriven], &[]);
    assert_eq!(
        (live(&sorted).len(), sorted.duplicates.len()),
        (0, 1),
        "its audio would be there twice: {sorted:?}"
    );
}

#[test]
fn a_session_s_first_chunk_that_others_overtook_shows_no_clock_that_was_set() {
    // The network was away, and the queue took all at once.
    for connection in [Some("c"), None] {
        let kept = |index, sent_ms, spoken_ms| by(connection, spoken(index, sent_ms, spoken_ms));
        let entries = [kept(1, 39_000, 10_000), kept(2, 39_010, 26_000), kept(0, 39_020, 10_000)];
        let sorted = sort(&Checkpoint::default(), &entries, &[]);
        let expected = [(0, 0, 10_000), (0, 1, 10_000), (0, 2, 26_000)];
        assert_eq!(live(&sorted), expected, "it would be another page's, and the rest would lack its header");
    }
}

#[test]
fn a_chunk_that_was_lost_and_stamped_when_it_was_sent_again_was_captured_before_those_behind_it() {
    for late_ms in [1_000, 1_700, 2_500] {
        let mut entries: Vec<Entry> = (11..20).map(|i| chunk(i, 27_000 + 300 * i, 0)).collect();
        entries.push(chunk(10, 30_000 + late_ms, 0));
        let expected: Vec<_> = (10..20).map(|i| (0, i, (27_000 + 300 * i).max(30_300))).collect();
        assert_eq!(
            live(&sort(&written(), &entries, &[])),
            expected,
            "{late_ms} ms late: all would be shifted"
        );
    }
}

#[test]
fn a_second_page_s_chunks_are_not_stamped_late_where_the_first_one_s_are_further_on() {
    let pages = [
        over("b", chunk(0, 30_010, 0)),
        over("a", chunk(7, 30_020, 0)),
        over("b", chunk(1, 30_310, 0)),
        over("b", chunk(2, 30_610, 0)),
    ];
    let sorted = live(&sort(&Checkpoint::default(), &pages, &[]));
    let second: Vec<_> = sorted.into_iter().filter(|(_, i, _)| *i < 7).map(|(.., at)| at).collect();
    assert_eq!(second, [30_010, 30_310, 30_610], "its audio would lie before it was spoken");
}
