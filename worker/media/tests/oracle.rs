//! `webm-iterable` is the second opinion on every block of the recordings.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{RECORDINGS, Rng, chunks, demux, packets};
use media::demux::starts_recording;
use webm_iterable::WebmIterator;
use webm_iterable::matroska_spec::{MatroskaSpec, SimpleBlock};

/// Every block's time in ms, with its packet, of one file of good bytes.
fn oracle(file: &[u8]) -> Vec<(i64, Vec<u8>)> {
    let (mut cluster_ms, mut blocks) = (0, Vec::new());
    for tag in WebmIterator::new(file, &[]) {
        match tag.unwrap() {
            MatroskaSpec::Timestamp(ms) => cluster_ms = ms as i64,
            MatroskaSpec::SimpleBlock(data) => {
                let block = SimpleBlock::try_from(&data[..]).unwrap();
                let frame = block.raw_frame_data().to_vec();
                blocks.push((cluster_ms + i64::from(block.timestamp), frame));
            }
            _ => {}
        }
    }
    blocks
}

#[test]
fn the_same_blocks_at_the_same_times_as_webm_iterable() {
    for name in RECORDINGS {
        let chunks: Vec<_> = chunks(name).into_iter().filter(|chunk| chunk.len() != 110).collect();
        let runs: Vec<Vec<u8>> =
            chunks.chunk_by(|_, next| !starts_recording(next)).map(|run| run.concat()).collect();
        let expected: Vec<_> = runs.iter().flat_map(|run| oracle(run)).collect();
        assert!(expected.len() > 100, "{name}: the oracle finds only {} blocks", expected.len());
        let ours = |items: &[media::demux::Item]| {
            packets(items).into_iter().map(|p| (p.time.ms_floor(), p.data)).collect::<Vec<_>>()
        };
        assert_eq!(ours(&demux(&chunks)), expected, "{name}, by chunks");
        let mut rng = Rng(1);
        let mut cut = Vec::new();
        for run in &runs {
            let mut rest = &run[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + rng.below(rest.len().min(9_000)));
                cut.push(piece);
                rest = after;
            }
        }
        assert_eq!(ours(&demux(cut)), expected, "{name}, cut at random");
    }
}
