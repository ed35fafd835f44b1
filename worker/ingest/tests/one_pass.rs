//! Batching does not change the sound, and time is true: the recordings through `fold` and `plan`, cut into batches at
//! random, each batch decoded by a fresh decoder from stored state, against one pass over the whole recording.

#![allow(clippy::unwrap_used)]

mod common;

use common::{batch, pieces, recordings};
use ingest::fold::{Around, fold, take_apart};
use ingest::message::{Chunk, TRACEPARENT};
use ingest::piece::Piece;
use ingest::snapshot::Snapshot;
use media::fragment::read::read_fragments;
use media::time::{EpochMs, Samples};
use proptest::prelude::*;

/// All audio of a recording cut into batches of the given sizes, with each batch's begin and end.
fn decode_in_batches(
    pieces: &[Piece],
    sizes: impl IntoIterator<Item = usize>,
) -> (Vec<i16>, Vec<(u64, u64)>) {
    let (mut pcm, mut spans) = (Vec::new(), Vec::new());
    let mut start = Snapshot::default();
    let mut rest = pieces;
    for size in sizes {
        let (now, later) = rest.split_at(size.clamp(1, rest.len()));
        let (plan, samples, _) = batch(&start, None, now);
        if !samples.is_empty() {
            spans.push((plan.advance.at.0, plan.advance.until.0));
        }
        pcm.extend(samples);
        start = plan.snapshots.into_iter().next_back().unwrap().1;
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert!(rest.is_empty());
    (pcm, spans)
}

#[test]
fn one_pass_has_the_length_of_the_reference() {
    for folder in recordings() {
        let (pcm, _) = decode_in_batches(&pieces(&folder), [usize::MAX]);
        let mut wav = hound::WavReader::open(folder.join("reference.wav")).unwrap();
        let reference = wav.samples::<i16>().count();
        assert_eq!(pcm.len(), reference, "{}: samples against reference.wav", folder.display());
    }
}

#[test]
fn the_output_gain_of_a_recording_holds_in_every_batch() {
    let folder = recordings().into_iter().find(|f| f.ends_with("firefox-speech")).unwrap();
    let pieces = pieces(&folder);
    let mut softer = pieces.clone();
    let first = softer[0].audio.as_mut().unwrap();
    let head = first.windows(8).position(|bytes| bytes == b"OpusHead").unwrap();
    first[head + 16..head + 18].copy_from_slice(&(-6_i16 * 256).to_le_bytes());
    let (loud, _) = decode_in_batches(&pieces, [usize::MAX]);
    let (soft, _) = decode_in_batches(&softer, std::iter::repeat(7));
    assert!(decode_in_batches(&softer, [usize::MAX]).0 == soft, "batches differ in their gain");
    let power = |pcm: &[i16]| pcm.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>();
    for (loud, soft) in loud.chunks(32_000).zip(soft.chunks(32_000)) {
        let softer_db = 10.0 * (power(loud) / power(soft)).log10();
        assert!((softer_db - 6.0).abs() < 0.2, "{softer_db} dB softer");
    }
}

#[test]
fn a_pause_and_a_restart_show_in_the_time() {
    for (name, wall_ms) in [("chromium-pause-resume", 18_500), ("chromium-restart", 20_400)] {
        let folder = recordings().into_iter().find(|f| f.ends_with(name)).unwrap();
        let pieces = pieces(&folder);
        let (pcm, spans) = decode_in_batches(&pieces, std::iter::repeat(7));
        let wall = spans.last().unwrap().1 - spans[0].0;
        let captured = pieces.last().unwrap().captured_at.0 - pieces[0].captured_at.0 + 280;
        assert!(
            wall.abs_diff(captured) < 500,
            "{name}: {wall} ms on the timeline, {captured} by the speaker's clock"
        );
        assert!(wall.abs_diff(wall_ms) < 500, "{name}: {wall}");
        assert!(pcm.len() as u64 / 16 <= wall);
    }
}

/// All of a recording as one chunk, whose message has a trace context.
fn in_one_chunk(pieces: &[Piece]) -> Piece {
    let last = pieces.last().unwrap();
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.audio.clone().unwrap()).collect();
    let mut record = last.record.clone();
    let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    record.attributes.insert(TRACEPARENT.to_owned(), context.to_owned());
    Piece::new(0, Chunk { record, index: 0, audio: Ok(bytes), ..(*last.chunk).clone() })
}

/// The chunks with a long one taken apart, if there is one.
fn apart(start: &Snapshot, pieces: &[Piece], most_ms: u64) -> Option<Vec<Piece>> {
    let lengths = (Samples::from_ms(9_000), Samples::from_ms(most_ms));
    take_apart(start, pieces, &fold(start, pieces, Around::default()), lengths, None)
}

/// The page stood still for 14 s. What its recorder had handed out before comes at once, and 280 ms later all the rest as one blob.
#[test]
fn one_blob_with_all_of_a_stall_is_no_pause_before_what_was_handed_out_just_before_it() {
    let folder = recordings().into_iter().find(|f| f.ends_with("chromium-speech-default")).unwrap();
    let spoken = pieces(&folder);
    let mut stalled = in_one_chunk(&spoken[4..60]);
    stalled.index = 4;
    let mut before = spoken[..4].to_vec();
    before[3].captured_at = EpochMs(stalled.captured_at.0 - 280);
    before[3].record.sent_at = EpochMs(stalled.captured_at.0 - 240);
    let mut next = spoken[60].clone();
    next.index = 5;
    let chunks = [&before[..], &[stalled, next]].concat();
    let apart = apart(&Snapshot::default(), &chunks, 3_000).expect("the blob is longer than a fragment");
    let all_there_is = Around { calm: true, ..Around::default() };
    let runs = fold(&Snapshot::default(), &apart, all_there_is).runs;
    assert_eq!(
        runs.len(),
        1,
        "a pause as long as the stall lies before the blob, and all that follows is late by it"
    );
}

#[test]
fn each_part_of_a_long_chunk_has_no_more_tags_than_the_service_takes() {
    let folder = recordings().into_iter().find(|f| f.ends_with("chromium-speech-default")).unwrap();
    let chunk = in_one_chunk(&pieces(&folder));
    let (mut start, mut pcm, mut traced) = (Snapshot::default(), Vec::new(), Vec::new());
    loop {
        let chunk = std::slice::from_ref(&chunk);
        let apart = apart(&start, chunk, 9_000);
        let (plan, samples, bytes) = batch(&start, None, apart.as_ref().map_or(chunk, |apart| &apart[..1]));
        pcm.extend(samples);
        traced.push(read_fragments(&bytes).unwrap()[0].tags.contains_key(TRACEPARENT));
        if apart.is_none() {
            break;
        }
        start = plan.snapshots.into_iter().next_back().unwrap().1;
    }
    assert_eq!(traced, [true, false, false, false], "the trace context stands where its chunk begins");
    assert!(pcm == decode_in_batches(&pieces(&folder), [usize::MAX]).0, "the parts are not the whole");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn batching_changes_neither_sound_nor_order(sizes in proptest::collection::vec(1usize..12, 110)) {
        for folder in recordings() {
            let pieces = pieces(&folder);
            let (whole, _) = decode_in_batches(&pieces, [usize::MAX]);
            let (batched, spans) = decode_in_batches(&pieces, sizes.iter().copied());
            prop_assert!(whole == batched, "{}: the sound depends on the batches", folder.display());
            for pair in spans.windows(2) {
                prop_assert!(pair[0].1 <= pair[1].0, "{}: fragments overlap: {pair:?}", folder.display());
            }
            for (piece, span) in pieces.iter().zip(&spans) {
                prop_assert!(span.0 <= piece.record.sent_at.0 + 60_000);
            }
            let last_sent = pieces.last().unwrap().record.sent_at.0;
            prop_assert!(spans.last().unwrap().1 <= last_sent, "audio lies in the future");
        }
    }

    #[test]
    fn a_second_attempt_is_the_same_fragment(from in 0usize..40, size in 1usize..10) {
        let pieces = pieces(&recordings()[0]);
        let mut start = Snapshot::default();
        if from > 0 {
            start = batch(&start, None, &pieces[..from]).0.snapshots.pop().unwrap().1;
        }
        let once = batch(&start, None, &pieces[from..from + size]);
        let again = batch(&start, None, &pieces[from..from + size]);
        prop_assert_eq!(once.2, again.2);
    }
}
