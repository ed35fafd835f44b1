//! However the bytes are cut, and wherever the state is stored and taken up again, the packets and times are the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{RECORDINGS, STREAMS, chunks, demux, runs, skipped};
use media::demux::{Demuxer, Item};
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
}

/// A worker of an earlier version may have stored the state, and may take it up again after a deployment that was undone.
#[test]
fn the_state_of_an_ordinary_recording_is_stored_as_it_always_was() {
    let chunks = chunks("chromium-speech-default");
    let stored = |demuxer: &Demuxer| serde_json::to_string(demuxer).unwrap();
    let recording = r#""format":{"Webm":{"at":217,"segment_end":null,"cluster":{"end":null,"time":0},"pass":0,"scale_ns":1000000,"track":{"number":1,"others":[]},"hash":8735678553356012906,"latest":180000000@}},"head":{"container":"WebM","id":"793b5d5c54c88d6a","channels":1,"pre_skip":0,"headerless":false}"#;
    let states = [
        (r#""tail":[163],"mode":"Inside""#, Demuxer::push as fn(&mut Demuxer, &[u8]) -> Vec<Item>),
        (r#""tail":[],"mode":{"Seek":"Resync"}"#, |demuxer, _| demuxer.bytes_missing()),
    ];
    let mut demuxer = Demuxer::new();
    for (state, step) in states {
        step(&mut demuxer, &chunks[0]);
        let text = format!("{{{state},{recording}}}");
        let now = text.replace('@', r#","first":{"Is":14452820781452545527}"#); // which earlier versions pass over
        assert_eq!(stored(&demuxer), now);
        assert_eq!(serde_json::from_str::<Demuxer>(&now).unwrap(), demuxer);
        let as_before = text.replace('@', "");
        assert_eq!(stored(&serde_json::from_str(&as_before).unwrap()), as_before);
    }
}
