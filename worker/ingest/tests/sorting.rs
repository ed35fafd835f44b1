//! Who is chunk 0? Duplicates, gaps, page reloads and redrives, told apart.

#![allow(clippy::unwrap_used, clippy::result_large_err)]

use std::sync::Arc;

use ingest::checkpoint::{Checkpoint, PastNumbering};
use ingest::gap::{ChunkRange, Gap, Search};
use ingest::message::{Chunk, Entry, Format, Record, parse};
use ingest::opening::Opening;
use ingest::piece::Piece;
use ingest::position::Position;
use ingest::snapshot::Snapshot;
use ingest::sort::{Sorted, sort};
use media::demux::{Demuxer, Item};
use media::time::EpochMs;

const HEADER: &[u8] = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\xf7\x81\x01\x42\xf2\x81\x04\x42\xf3\x81\x08\x42\x82\x84webm\x42\x87\x81\x04\x42\x85\x81\x02";

/// (index, captured, sequence, connection); index 0 opens a recording.
fn chunk(index: u64, captured: u64, sequence: u128, connection: Option<&str>) -> Entry {
    Entry::Chunk(Arc::new(Chunk {
        record: Record { message_id: format!("m{sequence}"), sequence_number: sequence, ..Record::default() },
        index,
        captured_at: EpochMs(captured),
        connection_id: connection.map(str::to_owned),
        audio: Ok(if index == 0 { HEADER.to_vec() } else { vec![1, 2, 3] }),
        ..Chunk::default()
    }))
}

/// A session that has written chunks 0 to 9 of connection `c1`, captured at 1000 to 1009, queue sequence 100 to 109.
fn written() -> Checkpoint {
    Checkpoint {
        live: Position {
            next: 10,
            numbering_began: EpochMs(1000),
            last_captured: EpochMs(1009),
            last_sequence: 109,
            connection_id: Some("c1".into()),
            ..Position::default()
        },
        ..Checkpoint::default()
    }
}

fn gap(from: u64, to: u64) -> Gap {
    let opening = Opening {
        chunks: ChunkRange { numbering: 0, from, to },
        begins_at: EpochMs(0),
        ends_at: None,
        captured: (EpochMs(1000 + from - 1), EpochMs(1000 + to)),
        search: Search::default(),
        snapshot: Snapshot::default(),
    };
    opening.open().0
}

fn live(sorted: &Sorted) -> Vec<(u32, u64)> {
    sorted.live.iter().map(|p| (p.numbering, p.index)).collect()
}

#[test]
fn chunks_in_any_order_are_put_in_theirs() {
    let sorted = sort(&written(), &[chunk(11, 1011, 110, None), chunk(10, 1010, 111, None)], &[]);
    assert_eq!(live(&sorted), [(0, 10), (0, 11)]);
}

#[test]
fn a_second_delivery_of_a_written_chunk_is_a_duplicate_even_of_chunk_0() {
    let sorted = sort(&written(), &[chunk(0, 1000, 100, Some("c1")), chunk(9, 1009, 109, Some("c1"))], &[]);
    assert_eq!((sorted.duplicates.len(), sorted.live.len()), (2, 0));
}

#[test]
fn a_redriven_written_chunk_is_a_duplicate() {
    let sorted = sort(&written(), &[chunk(4, 1004, 900, Some("c1")), chunk(0, 1000, 901, Some("c1"))], &[]);
    assert_eq!((sorted.duplicates.len(), sorted.live.len()), (2, 0));
}

#[test]
fn a_chunk_sent_twice_is_taken_once() {
    let sorted = sort(&written(), &[chunk(10, 1010, 110, None), chunk(10, 1010, 111, None)], &[]);
    assert_eq!(live(&sorted), [(0, 10)]);
    assert_eq!(sorted.duplicates.len(), 1);
}

#[test]
fn a_reloaded_page_begins_a_new_numbering_with_or_without_connection_ids() {
    for connection in [None, Some("c1"), Some("c2")] {
        let entries = [chunk(0, 5000, 110, connection), chunk(1, 5001, 111, connection)];
        assert_eq!(live(&sort(&written(), &entries, &[])), [(1, 0), (1, 1)], "{connection:?}");
    }
}

#[test]
fn a_page_that_went_away_and_its_successor_in_one_delivery_fall_apart() {
    for connection in [None, Some("c1"), Some("c2")] {
        let entries = [
            chunk(10, 1010, 110, connection),
            chunk(11, 1011, 111, connection),
            chunk(0, 5000, 113, connection),
            chunk(1, 5001, 112, connection),
        ];
        let sorted = sort(&written(), &entries, &[]);
        assert_eq!(
            live(&sorted),
            [(0, 10), (0, 11), (1, 0), (1, 1)],
            "over {connection:?} the new load of a page sends what the last one left: it is not the new one's"
        );
    }
}

/// A page that was reloaded offline sends what its last load left over its own connection, and handlers overtake each other.
#[test]
fn what_a_pages_last_load_left_stays_that_loads_though_the_new_ones_first_chunk_overtakes_it() {
    let connection = Some("c1");
    let opens = chunk(0, 5000, 111, connection);
    let entries = [
        chunk(10, 1010, 110, connection),
        opens,
        chunk(11, 1011, 112, connection),
        chunk(1, 5300, 113, connection),
    ];
    let sorted = sort(&written(), &entries, &[]);
    assert_eq!(
        live(&sorted),
        [(0, 10), (0, 11), (1, 0), (1, 1)],
        "it waits for the new load to reach its index"
    );

    let checkpoint = reloaded(connection);
    let late = sort(&checkpoint, &[chunk(10, 1010, 115, connection), chunk(3, 5003, 114, connection)], &[]);
    assert_eq!(live(&late), [(1, 3)], "it would sound in the new load, which is written already");
    assert_eq!((late.duplicates.len(), late.unplaceable.len()), (0, 1), "it was never seen");
}

/// Two loads of a page are sent at once, and the queue has them in any order.
#[test]
fn a_chunk_that_was_set_aside_before_its_pages_first_ones_came_is_that_pages() {
    let aside = |connection| {
        let Entry::Chunk(chunk) = with_bytes(chunk(12, 8_600, 111, connection), &[7, 7, 7]) else {
            unreachable!("it is a chunk")
        };
        Piece { set_aside: true, ..Piece::of(0, chunk) }
    };
    for connection in [None, Some("c1")] {
        let old = [chunk(10, 1010, 113, connection), chunk(12, 1012, 110, connection)];
        let sorted = sort(&passed(10), &old, &[aside(connection)]);
        assert_eq!(live(&sorted), [(0, 10), (0, 12), (1, 12)], "the old load's chunk 12 would be parked");
        assert!(sorted.renumbered, "it would be dropped with the old load's");

        let opens = chunk(0, 5000, 112, connection);
        let sorted = sort(&passed(10), &[old[0].clone(), opens], &[aside(connection)]);
        assert_eq!(live(&sorted), [(0, 10), (1, 0), (1, 12)], "it comes behind its page's first chunk");
    }
    let sorted = sort(&passed(10), &[chunk(0, 5000, 112, Some("c2"))], &[aside(Some("c1"))]);
    assert!(!sorted.renumbered, "of two pages that speak at once, the connection tells whose it is");
}

/// A clock that was set back by a moment hides that the page before was left: by their times, chunks of both lie among each other.
#[test]
fn a_new_pages_chunk_is_not_taken_for_the_last_pages_that_is_set_aside_beside_it() {
    let aside = |numbering, entry| {
        let Entry::Chunk(chunk) = entry else { unreachable!("it is a chunk") };
        Piece { set_aside: true, ..Piece::of(numbering, chunk) }
    };
    let kept = [
        aside(0, chunk(10, 1_010, 110, Some("c1"))),
        aside(0, chunk(11, 1_410, 111, Some("c1"))),
        aside(1, chunk(0, 1_200, 112, Some("c2"))),
    ];
    let sorted = sort(&passed(10), &[chunk(1, 1_500, 113, Some("c2"))], &kept);
    assert_eq!(live(&sorted), [(0, 10), (0, 11), (1, 0), (1, 1)], "it would be dropped with the page before");

    let entries = [
        chunk(10, 1_010, 110, Some("c1")),
        chunk(11, 1_410, 111, Some("c1")),
        with_bytes(chunk(0, 1_200, 112, Some("c2")), &[9]),
        chunk(12, 1_420, 113, Some("c1")),
    ];
    let sorted = sort(&passed(10), &entries, &[]);
    assert_eq!(
        live(&sorted),
        [(0, 10), (0, 11), (1, 0)],
        "what was sent before the new page would be parked"
    );
    assert_eq!(sorted.replaced.len(), 1, "what was sent after it is refused");
}

/// A session that has written chunks 0 to 9 of a page, and 0 to 2 of its next load, all over this connection.
fn reloaded(connection: Option<&str>) -> Checkpoint {
    let connection_id = connection.map(str::to_owned);
    let captured = (EpochMs(1000), EpochMs(1009));
    let live = Position {
        numbering: 1,
        next: 3,
        numbering_began: EpochMs(5000),
        last_captured: EpochMs(5002),
        last_sequence: 112,
        connection_id: connection_id.clone(),
        ..Position::default()
    };
    Checkpoint {
        live,
        past: vec![PastNumbering { numbering: 0, next: 10, captured, connection_id }],
        ..Checkpoint::default()
    }
}

/// A worker died behind its commit: what it had written of the old load comes again, with chunks of the new one.
#[test]
fn what_a_pages_last_load_left_is_a_duplicate_when_it_comes_again_over_the_new_loads_connection() {
    let connection = Some("c2");
    let mut checkpoint = written();
    let past = PastNumbering {
        numbering: 0,
        next: 12,
        captured: (EpochMs(1000), EpochMs(1011)),
        connection_id: connection.map(str::to_owned),
    };
    checkpoint.past.push(past);
    checkpoint.live = Position {
        numbering: 1,
        next: 3,
        numbering_began: EpochMs(5000),
        last_captured: EpochMs(5002),
        last_sequence: 114,
        connection_id: connection.map(str::to_owned),
        ..Position::default()
    };
    for (index, captured, sequence) in [(11, 1011, 111), (2, 1002, 102), (0, 1000, 100)] {
        let entries = [chunk(index, captured, sequence, connection), chunk(3, 5003, 115, connection)];
        let sorted = sort(&checkpoint, &entries, &[]);
        assert_eq!(live(&sorted), [(1, 3)], "chunk {index} would be heard twice");
        let (duplicates, parked) = (sorted.duplicates.len(), sorted.unplaceable.len());
        assert_eq!((duplicates, parked), (1, 0), "chunk {index} is written, and the DLQ would hold it");
    }
}

#[test]
fn a_first_delivery_may_hold_two_numberings() {
    let other = with_bytes(chunk(1, 5001, 4, None), &[4, 5, 6]);
    let entries = [chunk(0, 1000, 1, None), chunk(1, 1001, 2, None), chunk(0, 5000, 3, None), other];
    assert_eq!(live(&sort(&Checkpoint::default(), &entries, &[])), [(0, 0), (0, 1), (1, 0), (1, 1)]);
}

#[test]
fn a_second_chunk_that_overtakes_its_new_pages_first_waits_for_it() {
    let sorted = sort(&written(), &[chunk(1, 5001, 110, Some("c2"))], &[]);
    assert_eq!(live(&sorted), [(1, 1)]);
}

#[test]
fn a_clock_that_steps_back_between_pages_is_seen_through_by_connection_and_header() {
    let path = "../../tests/end-to-end/recordings/firefox-speech/messages.jsonl";
    let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let body = text.lines().next().unwrap();
    let group_id =
        serde_json::from_str::<serde_json::Value>(body).unwrap()["sessionId"].as_str().unwrap().into();
    let first = parse(Record { body: body.into(), group_id, ..Record::default() }).unwrap();
    let (_, Entry::Chunk(first)) = first else { panic!("not a chunk") };
    let new_page = |captured| {
        let Entry::Chunk(chunk) = chunk(0, captured, 110, Some("c2")) else { panic!("not a chunk") };
        Entry::Chunk(Arc::new(Chunk { audio: first.audio.clone(), ..(*chunk).clone() }))
    };
    let mut checkpoint = written();
    (checkpoint.live.numbering_began, checkpoint.live.last_captured) = (EpochMs(10_000), EpochMs(10_009));
    checkpoint.live.opened_by = Some("another recording".into());
    assert_eq!(live(&sort(&checkpoint, &[new_page(400)], &[])), [(1, 0)]);
    let late = sort(&checkpoint, &[new_page(9_000), chunk(10, 10_010, 111, Some("c1"))], &[]);
    assert_eq!(live(&late), [(0, 10)], "the page before, not the clock, was late: this page goes on");
    assert_eq!(late.unplaceable.len(), 1);

    let recording =
        Demuxer::new().push(first.audio.as_ref().unwrap()).into_iter().find_map(|item| match item {
            Item::RecordingStart(head) => Some(head.id),
            _ => None,
        });
    checkpoint.live.opened_by = recording;
    let sorted = sort(&checkpoint, &[new_page(400)], &[]);
    assert_eq!(
        sorted.duplicates.len(),
        1,
        "a reconnected page's own chunk 0, redriven, would be written twice"
    );
}

#[test]
fn a_reconnected_page_goes_on_numbering() {
    let sorted = sort(&written(), &[chunk(10, 1010, 110, Some("c2"))], &[]);
    assert_eq!(live(&sorted), [(0, 10)]);
}

#[test]
fn a_chunk_of_a_gap_is_known_by_index_and_capture_time() {
    let mut checkpoint = written();
    checkpoint.gaps = vec![gap(3, 6)];
    let sorted = sort(&checkpoint, &[chunk(4, 1004, 900, None), chunk(6, 1006, 901, None)], &[]);
    assert_eq!(sorted.backfill.len(), 1);
    assert_eq!(sorted.backfill[0].1[0].index, 4);
    assert_eq!(sorted.duplicates.len(), 1, "chunk 6 is written");
}

/// Pieces of a stall's audio are handed out at once, with times that are a few ms off.
#[test]
fn a_chunk_of_a_past_pages_gap_is_known_though_its_time_is_a_little_off() {
    let mut checkpoint = written();
    checkpoint.gaps = vec![gap(5, 8)];
    let past = PastNumbering {
        numbering: 0,
        next: 10,
        captured: (EpochMs(1000), EpochMs(1009)),
        connection_id: None,
    };
    checkpoint.past.push(past);
    checkpoint.live = Position {
        numbering: 1,
        numbering_began: EpochMs(5000),
        last_captured: EpochMs(5009),
        ..checkpoint.live
    };
    let sorted = sort(&checkpoint, &[chunk(5, 1002, 900, Some("c0"))], &[]);
    assert_eq!(sorted.backfill.len(), 1, "it would stay in the DLQ, and its gap open: {sorted:?}");
}

#[test]
fn a_new_pages_chunk_is_not_taken_for_an_old_gaps() {
    let mut checkpoint = written();
    checkpoint.gaps = vec![gap(0, 6)];
    let sorted = sort(&checkpoint, &[chunk(0, 5000, 110, None), chunk(1, 5001, 111, None)], &[]);
    assert_eq!(live(&sorted), [(1, 0), (1, 1)]);
}

#[test]
fn what_may_never_have_been_seen_is_parked_rather_than_dropped() {
    let mut checkpoint = written();
    checkpoint.given_up = vec![ChunkRange { numbering: 0, from: 2, to: 4 }];
    assert_eq!(sort(&checkpoint, &[chunk(2, 1002, 900, None)], &[]).unplaceable.len(), 1);

    let sorted = sort(&reloaded(None), &[chunk(10, 1010, 113, None), chunk(9, 1009, 109, None)], &[]);
    assert_eq!(sorted.unplaceable.len(), 1, "the old page's chunk 10 was never seen");
    assert_eq!(sorted.duplicates.len(), 1, "its chunk 9 was");
}

#[test]
fn one_mad_index_does_not_swallow_the_session() {
    let mut checkpoint = written();
    checkpoint.live.next = 1 << 53;
    checkpoint.gaps = vec![gap(10, (1 << 53) - 1)];
    checkpoint.gaps[0].captured.1 = EpochMs(1010);
    checkpoint.live.last_captured = EpochMs(1010);
    let sorted = sort(&checkpoint, &[chunk(11, 1_211, 120, None)], &[]);
    assert_eq!(live(&sorted), [(1, 11)], "the session goes on in a new numbering");
}

#[test]
fn a_late_chunk_of_a_page_that_was_never_seen_is_parked_and_not_taken_for_a_duplicate() {
    let mut checkpoint = written();
    checkpoint.live.numbering_began = EpochMs(1000);
    let sorted = sort(&checkpoint, &[chunk(1, 400, 110, None)], &[]);
    assert_eq!((sorted.duplicates.len(), sorted.unplaceable.len()), (0, 1), "it would be lost");
}

fn with_bytes(entry: Entry, bytes: &[u8]) -> Entry {
    with(entry, |chunk| chunk.audio = Ok(bytes.to_vec()))
}

/// The chunk, changed.
fn with(entry: Entry, change: impl FnOnce(&mut Chunk)) -> Entry {
    let Entry::Chunk(mut chunk) = entry else { panic!("{entry:?} is no chunk") };
    change(Arc::make_mut(&mut chunk));
    Entry::Chunk(chunk)
}

/// A chunk with bytes of its own.
fn sound(index: u64, captured: u64, sequence: u128, connection: &str) -> Entry {
    with_bytes(
        chunk(index, captured, sequence, Some(connection)),
        &[index as u8, connection.as_bytes()[1], 9],
    )
}

/// A session that has passed so many chunks of connection `c1`, captured from 1000 on, one a ms.
fn passed(chunks: u64) -> Checkpoint {
    let mut live = Position::default();
    for index in 0..chunks {
        let Entry::Chunk(chunk) = sound(index, 1000 + index, 100 + u128::from(index), "c1") else { continue };
        live.pass(&Piece::of(0, chunk), None);
    }
    Checkpoint { live, ..Checkpoint::default() }
}

#[test]
fn a_parked_chunk_is_known_by_its_bytes_whatever_its_time() {
    let checkpoint = Checkpoint { gaps: vec![gap(3, 6)], ..passed(10) };
    let redriven = sort(&checkpoint, &[sound(4, 1, 200, "c1")], &[]);
    assert_eq!((redriven.backfill.len(), redriven.duplicates.len()), (1, 0), "a parked chunk is lost");
    let other = with_bytes(chunk(4, 1004, 201, Some("c0")), &[7, 7, 8]);
    let other = sort(&checkpoint, &[other], &[]);
    assert_eq!((other.backfill.len(), other.unplaceable.len()), (0, 1), "another page's sound fills the gap");
}

#[test]
fn a_page_whose_first_blobs_are_empty_begins_at_its_header() {
    for chunks in [10, 100] {
        let checkpoint = passed(chunks);
        let ended = 1000 + chunks;
        let empty = with_bytes(chunk(0, ended + 10, 300, Some("c2")), &[]);
        let header = with_bytes(chunk(3, ended + 30, 303, Some("c2")), HEADER);
        let sorted = sort(&checkpoint, &[empty, header], &[]);
        assert_eq!(live(&sorted), [(1, 3)], "the page's sound is dropped or parked");
    }
}

#[test]
fn an_empty_blob_of_another_page_takes_no_ones_place() {
    let empty = with_bytes(chunk(0, 1020, 101, Some("c2")), &[]);
    let sorted = sort(&Checkpoint::default(), &[chunk(0, 1000, 100, Some("c1")), empty], &[]);
    assert_eq!((live(&sorted), sorted.duplicates.len(), sorted.unplaceable.len()), (vec![(0, 0)], 1, 0));
}

#[test]
fn a_chunk_from_long_ago_that_is_sent_again_with_a_new_time_opens_no_page() {
    let mut checkpoint = written();
    checkpoint.live.next = 200;
    let sorted = sort(&checkpoint, &[chunk(20, 9_000, 300, Some("c1"))], &[]);
    assert_eq!(
        (live(&sorted).len(), sorted.duplicates.len()),
        (0, 1),
        "its audio would be there twice: {sorted:?}"
    );
}

#[test]
fn an_empty_chunk_without_a_place_is_dropped() {
    let mut checkpoint = written();
    (checkpoint.live.numbering, checkpoint.live.connection_id) = (1, None);
    let empty = with_bytes(chunk(3, 500, 300, None), &[]);
    let sorted = sort(&checkpoint, &[empty], &[]);
    assert_eq!(
        (sorted.unplaceable.len(), sorted.duplicates.len()),
        (0, 1),
        "an operator would find silence parked"
    );
}

#[test]
fn chunks_that_are_sent_again_in_the_same_delivery_open_no_page() {
    let again = |index: u64, at: u64| {
        with_bytes(chunk(index, 60_000 + at, 120 + u128::from(at), Some("c2")), &[index as u8, b'1', 9])
    };
    let first = [3, 4, 5].map(|index| sound(index, 1_000 + index, 107 + u128::from(index), "c1"));
    let entries = [&first[..], &[again(3, 0), again(4, 1), again(5, 2)]].concat();
    let sorted = sort(&passed(3), &entries, &[]);
    assert_eq!(
        (live(&sorted), sorted.duplicates.len()),
        (vec![(0, 3), (0, 4), (0, 5)], 3),
        "their audio would be there twice"
    );
}

#[test]
fn a_page_that_begins_within_a_moment_with_empty_blobs_is_another_one() {
    // Its first blob with sound comes 15 ms after the old page's last one; what that said at this index is long forgotten.
    let sorted = sort(&passed(100), &[sound(3, 1_114, 300, "c2")], &[]);
    assert_eq!((live(&sorted), sorted.duplicates.len()), (vec![(1, 3)], 0), "its first second is dropped");
    let again = sort(&passed(100), &[sound(3, 1_003, 300, "c2")], &[]);
    assert_eq!(
        (live(&again), again.duplicates.len()),
        (vec![], 1),
        "sent again over another connection, it is as old as it was"
    );
}

#[test]
fn a_second_page_with_empty_first_blobs_begins_at_its_header_also_while_the_first_ones_chunks_wait() {
    // Its header comes 5 ms after the first page's last chunk, with an index that this page has used for other bytes.
    let first = [0, 1, 2, 3, 4].map(|index| chunk(index, 1_000 + index, 100 + u128::from(index), Some("c1")));
    let second = [0, 1, 2]
        .map(|index| with_bytes(chunk(index, 1_000 + index, 200 + u128::from(index), Some("c2")), &[]));
    let header = with_bytes(chunk(3, 1_009, 203, Some("c2")), HEADER);
    let sorted = sort(&Checkpoint::default(), &[&first[..], &second, &[header]].concat(), &[]);
    assert_eq!(live(&sorted).last(), Some(&(1, 3)), "the second page's sound begins cold");
    assert_eq!(sorted.unplaceable.len(), 0, "its header is parked");
}

#[test]
fn a_replaced_page_whose_clock_is_set_back_to_before_the_session_stays_replaced() {
    let set_back = |index: u64, sequence: u128| {
        let mut piece = sound(index, 1, sequence, "c1");
        if let Entry::Chunk(chunk) = &mut piece {
            Arc::make_mut(chunk).record.sent_at = EpochMs(1_200);
        }
        piece
    };
    let opens = chunk(0, 1_100, 300, Some("c2"));
    let sorted = sort(&written(), &[opens, set_back(13, 301)], &[]);
    assert_eq!((live(&sorted), sorted.replaced.len()), (vec![(1, 0)], 1), "it opens a gap of the first page");
}

/// The session behind a page's chunks, all of connection `c1`.
fn behind(page: &[Entry]) -> Checkpoint {
    let mut live = Position::default();
    for entry in page {
        let Entry::Chunk(chunk) = entry else { continue };
        let piece = Piece::of(0, chunk.clone());
        live.pass(&piece, piece.recording());
    }
    Checkpoint { live, ..Checkpoint::default() }
}

/// The page's first chunks with new times and sequence numbers, over this connection.
fn again(page: &[Entry], connection: Option<&str>) -> Vec<Entry> {
    let renew = |chunk: &mut Chunk| {
        let sequence_number = 500 + u128::from(chunk.index);
        let message_id = format!("m{sequence_number}");
        chunk.record = Record { message_id, sequence_number, ..Record::default() };
        (chunk.captured_at, chunk.connection_id) = (EpochMs(9_000), connection.map(str::to_owned));
    };
    page.iter().take(10).map(|entry| with(entry.clone(), renew)).collect()
}

/// Plain samples; 0 is silence.
fn pcm(index: u64, level: u8) -> Entry {
    let samples = if level == 0 { vec![0; 8] } else { vec![level, index as u8, 7, 9] };
    let sound = sound(index, 1000 + index, 100 + u128::from(index), "c1");
    with(sound, |chunk| (chunk.format, chunk.audio) = (Format::Pcm, Ok(samples)))
}

#[test]
fn a_page_that_sends_all_again_opens_no_other_though_its_first_chunks_tell_nothing() {
    let header = chunk(0, 1000, 100, Some("c1"));
    let sounds = (1..12).map(|index| sound(index, 1000 + index, 100 + u128::from(index), "c1"));
    let headed: Vec<Entry> = std::iter::once(header).chain(sounds).collect();
    let silent_at_first: Vec<Entry> = (0..12).map(|index| pcm(index, u8::from(index > 1))).collect();
    for (page, connection) in [&headed, &silent_at_first]
        .into_iter()
        .flat_map(|page| [None, Some("c1"), Some("c2")].map(|connection| (page, connection)))
    {
        let sorted = sort(&behind(page), &again(page, connection), &[]);
        assert_eq!(
            (live(&sorted), sorted.duplicates.len()),
            (vec![], 10),
            "over {connection:?}: its audio would be there twice"
        );
    }
}

#[test]
fn a_page_opens_another_if_what_follows_its_header_is_new() {
    let page: Vec<Entry> = (0..12).map(|index| pcm(index, u8::from(index > 1))).collect();
    let other: Vec<Entry> = (0..12).map(|index| pcm(index, 2 * u8::from(index > 1))).collect();
    let sorted = sort(&behind(&page), &again(&other, Some("c2")), &[]);
    assert_eq!(live(&sorted), (0..10).map(|index| (1, index)).collect::<Vec<_>>(), "its sound is dropped");
}

#[test]
fn a_page_that_sends_all_again_over_its_connection_after_long_opens_no_other() {
    let page: Vec<Entry> = (0..100).map(|index| pcm(index, 1)).collect();
    let sorted = sort(&behind(&page), &again(&page, Some("c1")), &[]);
    assert_eq!(
        (live(&sorted), sorted.duplicates.len()),
        (vec![], 10),
        "its first half minute would be there twice"
    );
}
