//! Plain samples: no decoder and no state, so a chunk's fate is its own.

#![allow(clippy::unwrap_used)]

mod common;

use common::{batch, recordings};
use ingest::fold::{Around, Step, fold};
use ingest::message::{Chunk, Entry, Format, Record, Rejection};
use ingest::piece::Piece;
use ingest::plan::Plan;
use ingest::snapshot::Snapshot;
use ingest::sort::sort;
use media::time::EpochMs;
use proptest::prelude::*;

const T0: u64 = 1_795_335_900_000;

/// Samples that no two chunks share.
fn samples(index: u64, ms: u64) -> Vec<i16> {
    (0..ms * 16).map(|n| (index * 7_919 + n * 31 + 1) as i16).collect()
}

fn bytes(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

/// A chunk captured `captured_ms` after T0.
fn chunk(index: u64, captured_ms: u64, audio: Result<Vec<u8>, Rejection>) -> Piece {
    let captured_at = EpochMs(T0 + captured_ms);
    let sent_at = captured_at.plus_ms(40);
    let record = Record { sent_at, sequence_number: u128::from(index) + 1, ..Record::default() };
    let format = Format::Pcm;
    Piece::new(0, Chunk { record, index, captured_at, format, audio, ..Chunk::default() })
}

/// Chunks of 250 ms, one after the other.
fn chunks(count: u64) -> Vec<Piece> {
    (0..count).map(|i| chunk(i, (i + 1) * 250, Ok(bytes(&samples(i, 250))))).collect()
}

fn expected(indices: impl IntoIterator<Item = u64>) -> Vec<i16> {
    indices.into_iter().flat_map(|i| samples(i, 250)).collect()
}

fn after(plan: Plan) -> Snapshot {
    plan.snapshots.into_iter().next_back().unwrap().1
}

/// Begin and end of each run, ms after T0.
fn runs(start: &Snapshot, pieces: &[Piece]) -> Vec<(u64, u64)> {
    let folded = fold(start, pieces, Around { calm: true, ..Around::default() });
    folded.runs.iter().map(|run| (run.at.0 - T0, run.at.plus(run.time).0 - T0)).collect()
}

/// A Cluster's Timestamp was lost, so the container's times were too early when the page went over to plain samples.
#[test]
fn a_hole_between_plain_samples_is_as_long_as_a_chunk_whatever_was_lost_before_them() {
    let all = chunks(8);
    let mut before = Snapshot::default();
    before.media.too_early = true;
    let start = after(batch(&before, None, &all[..4]).0);
    assert_eq!(runs(&start, &all[5..]), [(1_250, 2_000)], "what is late would have no place");
}

#[test]
fn samples_arrive_as_they_were_sent_and_need_no_past() {
    let (plan, pcm, _) = batch(&Snapshot::default(), None, &chunks(8));
    assert!(pcm == expected(0..8), "samples are changed");
    assert_eq!((plan.advance.at.0 - T0, plan.advance.until.0 - T0), (0, 2_000));
    let state = after(plan);
    assert!(state.media.pre_roll.is_empty(), "nothing is decoded");
    assert!(state.encode().len() < 1_000, "{} bytes of state", state.encode().len());
}

/// `scripts/verify-account` sends this file to a real account. After a change of the fragment's layout: delete it, run this test
/// twice, commit it.
#[test]
fn verify_account_sends_the_bytes_that_the_writer_sends() {
    let (_, _, rendered) = batch(&Snapshot::default(), None, &chunks(8));
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/verify_fragment.mkv");
    if !file.exists() {
        std::fs::write(&file, &rendered).unwrap();
        panic!("{} was missing and has been written", file.display());
    }
    let sent = std::fs::read(&file).unwrap();
    assert!(sent == rendered, "a real account is asked about other bytes than the writer sends it");
}

#[test]
fn a_missing_chunk_costs_its_own_audio_and_comes_back_into_its_hole() {
    let mut all = chunks(16);
    let late = all.remove(6);
    let (plan, pcm, _) = batch(&Snapshot::default(), None, &all[..7]);
    assert!(pcm == expected((0..8).filter(|i| *i != 6)), "more than the missing chunk's audio is gone");
    assert_eq!(plan.advance.until.0 - T0, 2_000, "the hole is as long as the chunk");
    let gap = plan.advance.gaps[0].clone();
    let before = plan.snapshots.iter().find(|(key, _)| *key == gap.snapshot).unwrap().1.clone();
    let (backfill, pcm, _) = batch(&before, Some(&gap), std::slice::from_ref(&late));
    assert!(backfill.fits(&gap), "it ends at {} ms", backfill.advance.until.0 - T0);
    assert!(pcm == expected([6]));
    assert_eq!((backfill.advance.at.0 - T0, backfill.advance.until.0 - T0), (1_500, 1_750));
}

#[test]
fn a_long_hole_in_what_a_stalled_page_hands_out_is_believed() {
    // The page stood still from its beginning, and then handed out ten chunks of 1 s at once. Four of them have not come yet.
    let second = |index: u64, captured_ms| chunk(index, captured_ms, Ok(bytes(&samples(index, 1_000))));
    let handed_out = [0, 1, 6, 7, 8, 9].map(|index| second(index, 10_000));
    let all = [&handed_out[..], &[second(10, 11_000)]].concat();
    assert_eq!(runs(&Snapshot::default(), &all), [(0, 2_000), (6_000, 11_000)]);
}

#[test]
fn a_missing_first_chunk_is_nothing_special() {
    let all = chunks(8);
    let (plan, pcm, _) = batch(&Snapshot::default(), None, &all[1..]);
    assert!(pcm == expected(1..8) && plan.refused.is_empty());
    assert_eq!(plan.advance.at.0 - T0, 250);
}

#[test]
fn what_jitters_joins_and_a_pause_shows() {
    let jitter_ms = [0, 25, 3, 40, 10, 31, 5, 60];
    let captured_ms = |i: u64| (i + 1) * 250 + jitter_ms[i as usize] + if i < 4 { 0 } else { 3_000 };
    let all: Vec<Piece> = (0..8).map(|i| chunk(i, captured_ms(i), Ok(bytes(&samples(i, 250))))).collect();
    assert_eq!(runs(&Snapshot::default(), &all), [(0, 1_000), (4_005, 5_005)], "jitter or pause is wrong");
}

#[test]
fn each_thing_that_is_no_audio_has_its_answer() {
    let refused = |bytes: Vec<u8>| {
        let body = serde_json::json!({"action": "writeToStream", "sessionId": "s", "format": "pcm-s16le",
            "timestamp": T0, "chunkIndex": 0, "audioData": base64(&bytes)});
        let record = Record { body: body.to_string(), group_id: "s".into(), ..Record::default() };
        match ingest::message::parse(record).unwrap().1 {
            Entry::Chunk(chunk) => chunk.audio.as_ref().err().map(Rejection::code),
            end => panic!("{end:?}"),
        }
    };
    assert_eq!(refused(bytes(&samples(1, 250))), None);
    assert_eq!(refused(vec![0; 8_000]), None, "silence is audio");
    assert_eq!(refused(Vec::new()), None, "an empty blob has an index");
    assert_eq!(refused(vec![0; 7_999]), Some("HALF_SAMPLE"));
    assert_eq!(refused(vec![0; 98_306]), Some("AUDIO_TOO_LARGE"));
    assert_eq!(refused([b"RIFF\0\0\0\0WAVEfmt ".as_slice(), &[0; 28]].concat()), Some("UNSUPPORTED_FORMAT"));
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_refused_chunk_costs_its_own_audio() {
    let mut all = chunks(8);
    all[3] = chunk(3, 1_000, Err(Rejection::HalfSample { bytes: 7_999 }));
    all[5] = chunk(5, 1_500, Ok(Vec::new()));
    let (plan, pcm, _) = batch(&Snapshot::default(), None, &all);
    assert!(pcm == expected([0, 1, 2, 4, 6, 7]));
    assert_eq!(plan.refused.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [3]);
    assert_eq!(runs(&Snapshot::default(), &all)[1].0, 1_000, "what follows it is at its true time");
}

/// A recorder's Opus, then samples, then a recorder again: in one page, at each boundary of a batch or inside one.
#[test]
fn the_format_may_change_within_a_page() {
    let folder = recordings().into_iter().find(|folder| folder.ends_with("firefox-speech")).unwrap();
    let opus = common::pieces(&folder);
    let began = opus[0].captured_at.0;
    let opus_ms = opus[7].captured_at.0 - began;
    let moved = |pieces: &[Piece], index: u64, ms: u64| -> Vec<Piece> {
        let moved = pieces.iter().cloned().zip(index..).map(|(mut piece, index)| {
            piece.index = index;
            piece.captured_at = EpochMs(piece.captured_at.0 - began + T0 + ms);
            piece.record.sent_at = piece.captured_at.plus_ms(40);
            piece
        });
        moved.collect()
    };
    let pcm: Vec<Piece> =
        (8..16).map(|i| chunk(i, opus_ms + (i - 7) * 250, Ok(bytes(&samples(i, 250))))).collect();
    let all = [moved(&opus[..8], 0, 0), pcm, moved(&opus[..8], 16, opus_ms + 2_300)].concat();
    let (_, alone, _) = batch(&Snapshot::default(), None, &moved(&opus[..8], 0, 0));
    for cuts in [vec![24], vec![8, 8, 8], vec![5, 6, 6, 7], vec![11, 13]] {
        let (mut start, mut rest, mut heard) = (Snapshot::default(), &all[..], Vec::new());
        for size in &cuts {
            let (now, later) = rest.split_at(*size);
            let (plan, pcm, _) = batch(&start, None, now);
            assert!(plan.refused.is_empty() && plan.advance.gaps.is_empty(), "{cuts:?}: {:?}", plan.refused);
            heard.extend(pcm);
            (start, rest) = (after(plan), later);
        }
        assert!(heard == [&alone[..], &expected(8..16), &alone].concat(), "{cuts:?}: another sound");
    }
}

#[test]
fn samples_after_a_lost_header_of_a_recorder_are_heard() {
    let mut all = chunks(8);
    let noise = (0..300_u32).map(|i| (i * i * 31 + i * 7 + 3) as u8).collect();
    all[1] = Piece::new(0, Chunk { audio: Ok(noise), format: Format::WebmOpus, ..(*all[1].chunk).clone() });
    let (plan, pcm, _) = batch(&Snapshot::default(), None, &all[1..]);
    assert!(pcm == expected(2..8), "{:?}", plan.refused);
}

/// Digital silence has the same bytes on every page: it is no chunk sent again.
#[test]
fn the_silence_of_a_page_that_was_loaded_again_is_its_own() {
    let silence = |index: u64, captured_ms: u64| chunk(index, captured_ms, Ok(vec![0; 8_000]));
    let first: Vec<Piece> = (0..8).map(|i| silence(i, (i + 1) * 250)).collect();
    let (plan, ..) = batch(&Snapshot::default(), None, &first);
    let mut checkpoint = ingest::checkpoint::Checkpoint::default();
    checkpoint.commit(plan.advance);
    let second = (0..4).map(|i| {
        let mut piece = silence(i, 5_000 + i * 250);
        piece.record.sequence_number += 100;
        Entry::Chunk(piece.chunk)
    });
    let sorted = sort(&checkpoint, &second.collect::<Vec<_>>(), &[]);
    let places: Vec<_> = sorted.live.iter().map(|piece| (piece.numbering, piece.index)).collect();
    assert_eq!(places, [(1, 0), (1, 1), (1, 2), (1, 3)], "{} are dropped", sorted.duplicates.len());
}

/// Another page's chunk 0 is told from a late one by its bytes, as a recorder's is by its header.
#[test]
fn a_second_page_of_samples_takes_over_at_once() {
    let told = |mut piece: Piece, connection: &str, sequence: u128| {
        piece.connection_id = Some(connection.into());
        piece.record.sequence_number = sequence;
        piece
    };
    let first: Vec<Piece> = chunks(8).into_iter().map(|p| told(p, "a", 1)).collect();
    let (plan, ..) = batch(&Snapshot::default(), None, &first);
    let mut checkpoint = ingest::checkpoint::Checkpoint::default();
    checkpoint.commit(plan.advance);
    let other = told(chunk(0, 2_020, Ok(bytes(&samples(77, 250)))), "b", 20);
    let again = told(chunk(0, 2_300, Ok(bytes(&samples(0, 250)))), "b", 21);
    let sorted = |piece: Piece| sort(&checkpoint, &[Entry::Chunk(piece.chunk)], &[]);
    assert_eq!(sorted(other).live.first().map(|piece| piece.place().numbering), Some(1));
    assert_eq!(sorted(again).duplicates.len(), 1, "what was sent again is no page");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn batches_and_losses_change_no_sample(
        sizes in proptest::collection::vec(1usize..9, 40), lost in proptest::collection::btree_set(0u64..40, 0..6),
    ) {
        let all: Vec<Piece> = chunks(40).into_iter().filter(|piece| !lost.contains(&piece.index)).collect();
        let (mut start, mut rest, mut heard) = (Snapshot::default(), &all[..], Vec::new());
        for size in sizes {
            let (now, later) = rest.split_at(size.min(rest.len()));
            if now.is_empty() {
                break;
            }
            let (plan, pcm, _) = batch(&start, None, now);
            let last = now.last().unwrap().index;
            prop_assert_eq!(plan.advance.until.0 - T0, (last + 1) * 250, "chunk {} is not at its time", last);
            heard.extend(pcm);
            (start, rest) = (after(plan), later);
        }
        let kept = (0..40).filter(|i| !lost.contains(i) && (*i as usize) < 40);
        let all_expected = expected(kept);
        prop_assert!(heard == all_expected[..heard.len()], "samples are changed");
    }

    #[test]
    fn any_even_bytes_are_samples(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let even = &bytes[..bytes.len() / 2 * 2];
        let folded = fold(&Snapshot::default(), &[chunk(0, 250, Ok(even.to_vec()))], Around::default());
        prop_assert_eq!(folded.samples().0 as usize, even.len() / 2);
        let decodes = |step: &Step| matches!(step, Step::Decode { .. });
        let decoded = folded.runs.iter().flat_map(|run| &run.steps).any(decodes);
        prop_assert!(!decoded, "samples go through a decoder");
    }
}
