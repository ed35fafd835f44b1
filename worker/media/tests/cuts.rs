//! However the bytes are cut, and wherever the state is stored and taken up again, the packets and times are the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::webm::{self, PLAIN, Shape};
use common::{RECORDINGS, STREAMS, chunks, demux, packets, runs, skipped};
use media::demux::{Demuxer, Item};
use media::time::MediaTime;
use proptest::prelude::*;

/// What another process finds when it takes the state up.
fn taken_up(demuxer: &Demuxer) -> Demuxer {
    let stored = rmp_serde::to_vec_named(demuxer).unwrap();
    let back = rmp_serde::from_slice(&stored).unwrap();
    assert_eq!(demuxer, &back, "storing changes the state");
    back
}

/// Pushes pieces of these lengths in turn, each to a demuxer taken up from storage.
fn demux_cut(bytes: &[u8], lengths: impl IntoIterator<Item = usize>) -> Vec<Item> {
    let (mut demuxer, mut items, mut rest) = (Demuxer::new(), Vec::new(), bytes);
    let mut lengths = lengths.into_iter();
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, after) = rest.split_at(length);
        demuxer = taken_up(&demuxer);
        items.extend(demuxer.push(piece));
        rest = after;
    }
    assert_eq!(demuxer.buffered(), 0, "a whole stream leaves nothing behind");
    items
}

#[test]
fn whole_chunks_and_single_bytes_give_the_same() {
    for name in STREAMS {
        let chunks = chunks(name);
        let stream = chunks.concat();
        let by_chunks = demux(&chunks);
        assert!(demux([&stream]) == by_chunks, "{name} in one piece");
        assert!(demux_cut(&stream, std::iter::repeat(1)) == by_chunks, "{name} byte by byte");
    }
}

#[test]
fn files_one_after_the_other_are_taken_apart_without_chunk_boundaries() {
    let chunks = chunks("chromium-self-contained");
    let (whole, by_chunks) = (chunks.concat(), runs(&demux(&chunks)));
    assert!(runs(&demux([&whole])) == by_chunks, "in one piece");
    let bytes = demux(whole.iter().map(|byte| [*byte]));
    assert!(runs(&bytes) == by_chunks, "byte by byte");
    assert!(!skipped(&bytes).is_empty(), "the stubs at the end are reported");
}

#[test]
fn the_state_between_chunks_is_small() {
    for name in RECORDINGS {
        let mut demuxer = Demuxer::new();
        for chunk in chunks(name) {
            demuxer.push(&chunk);
            let (stored, json) =
                (rmp_serde::to_vec_named(&demuxer).unwrap(), serde_json::to_vec(&demuxer).unwrap());
            assert_eq!(serde_json::from_slice::<Demuxer>(&json).unwrap(), demuxer);
            assert!(stored.len() < demuxer.buffered() + 300, "{name}: {} bytes", stored.len());
        }
    }
}

/// The packets' times as the shape has them: 20 ms each, in steps of its ticks at the blocks.
fn times(count: usize, shape: &Shape) -> Vec<MediaTime> {
    let time = |n: usize| {
        let (block, frame) = (n / shape.per_block, n % shape.per_block);
        let start =
            (block * shape.per_block) as i64 * 20_000_000 / shape.scale_ns as i64 * shape.scale_ns as i64;
        MediaTime(start + frame as i64 * 20_000_000)
    };
    (0..count).map(time).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn random_cuts_of_recordings_give_the_same(
        which in 0..STREAMS.len(),
        lengths in proptest::collection::vec(prop_oneof![1..8_usize, 1..20_000_usize], 1..400),
    ) {
        let chunks = chunks(STREAMS[which]);
        prop_assert!(demux_cut(&chunks.concat(), lengths) == demux(&chunks));
    }

    #[test]
    fn every_shape_of_webm_gives_its_packets(
        opus in webm::packets(0..60),
        shape in webm::shapes(),
        lengths in proptest::collection::vec(1..300_usize, 0..100),
    ) {
        let (file, _) = webm::build(&opus, &shape);
        let items = demux_cut(&file, lengths);
        prop_assert_eq!(skipped(&items), vec![]);
        let packets = packets(&items);
        prop_assert_eq!(packets.iter().map(|p| p.time).collect::<Vec<_>>(), times(opus.len(), &shape));
        prop_assert!(packets.into_iter().map(|p| p.data).eq(opus));
    }
}

#[test]
fn discard_padding_is_told_with_the_last_packet_of_its_block() {
    let shape = Shape { unknown_clusters: true, ..PLAIN };
    let (mut file, _) = webm::build(&[vec![0xf8, 1]], &shape);
    let block = webm::element(0xa1, &[0x81, 0, 20, 0x02, 1, 2, 0xf8, 2, 0xf8, 3]);
    let padding_6_5_ms = webm::element(0x75a2, &6_500_000_i32.to_be_bytes());
    file.extend(webm::element(0xa0, &[block, padding_6_5_ms].concat()));
    let discards: Vec<u64> = packets(&demux([file])).iter().map(|p| p.discard_end.0).collect();
    assert_eq!(discards, [0, 0, 104]);
}
