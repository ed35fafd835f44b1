//! A session's fragments as one playable Matroska file (RFC 9559): one Segment whose clock begins at the first fragment, the blocks
//! as they were read and in the order of their times, a Cluster wherever another fragment takes over. DateUTC keeps the true time of
//! the beginning.

use media::ebml::write::{element, master, uint};
use media::fragment::read::ReadFragment;

use super::{Block, in_time_order};

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const INFO: u32 = 0x1549_A966;
const TRACKS: u32 = 0x1654_AE6B;
const CLUSTER: u32 = 0x1F43_B675;

/// Nanoseconds from 1970 to 2001, where Matroska's dates begin.
const DATE_EPOCH_MS: i64 = 978_307_200_000;
const SAMPLES_PER_MS: f64 = 16.0;
const BYTES_PER_SAMPLE: f64 = 2.0;

/// Writes `fragments`. `title` is the session's id.
pub fn write(title: &str, fragments: &[ReadFragment]) -> Vec<u8> {
    let blocks = in_time_order(fragments);
    let start_ms = blocks.first().map_or(0, |(_, (at, _))| at.0);
    let end_ms = blocks.iter().map(|(_, block)| end_ms(block)).fold(start_ms as f64, f64::max);
    let mut parts = vec![info(title, start_ms, end_ms - start_ms as f64), tracks()];
    let clusters = blocks.chunk_by(|(a, _), (b, _)| a == b);
    parts.extend(clusters.map(|blocks| cluster(blocks, start_ms)));
    [header(), master(SEGMENT, &parts)].concat()
}

fn end_ms((at, pcm): &Block) -> f64 {
    at.0 as f64 + pcm.len() as f64 / BYTES_PER_SAMPLE / SAMPLES_PER_MS
}

fn header() -> Vec<u8> {
    master(
        EBML,
        &[
            uint(0x4286, 1),
            uint(0x42F7, 1),
            uint(0x42F2, 4),
            uint(0x42F3, 8),
            element(0x4282, b"matroska"),
            uint(0x4287, 2),
            uint(0x4285, 2),
        ],
    )
}

fn info(title: &str, start_ms: u64, length_ms: f64) -> Vec<u8> {
    let date_ns = (start_ms.cast_signed() - DATE_EPOCH_MS).saturating_mul(1_000_000);
    master(
        INFO,
        &[
            uint(0x2A_D7B1, 1_000_000),
            element(0x4489, &length_ms.to_be_bytes()),
            element(0x4461, &date_ns.to_be_bytes()),
            element(0x7BA9, title.as_bytes()),
            element(0x4D80, b"kvs-stream-writer"),
            element(0x5741, b"kvs-stream-writer replay"),
        ],
    )
}

fn tracks() -> Vec<u8> {
    let audio = master(0xE1, &[element(0xB5, &16_000_f64.to_be_bytes()), uint(0x9F, 1), uint(0x6264, 16)]);
    let entry = [
        uint(0xD7, 1),
        uint(0x73C5, 1),
        uint(0x83, 2),
        uint(0x9C, 0),
        element(0x536E, b"audio"),
        element(0x22_B59C, b"und"),
        element(0x86, b"A_PCM/INT/LIT"),
        audio,
    ];
    master(TRACKS, &[master(0xAE, &entry)])
}

fn cluster(blocks: &[(usize, &Block)], start_ms: u64) -> Vec<u8> {
    let first_ms = blocks[0].1.0.0;
    let mut parts = vec![uint(0xE7, first_ms - start_ms)];
    for (_, (at, pcm)) in blocks {
        // A fragment spans 20 s at most, a block's time is 16 bits of ms.
        let relative = i16::try_from(at.0 - first_ms).unwrap_or(i16::MAX);
        let mut block = vec![0x81];
        block.extend(relative.to_be_bytes());
        block.push(0x80);
        block.extend(pcm);
        parts.push(element(0xA3, &block));
    }
    master(CLUSTER, &parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::fragment::read::read_fragments;
    use media::time::EpochMs;

    fn fragment(blocks: &[(u64, u8, usize)]) -> ReadFragment {
        let block = |(at, value, bytes): &(u64, u8, usize)| (EpochMs(*at), vec![*value; *bytes]);
        ReadFragment { blocks: blocks.iter().map(block).collect(), ..Default::default() }
    }

    #[test]
    fn the_file_holds_every_block_at_its_time_after_the_first() {
        let start = 1_795_335_945_729;
        let fragments = [
            fragment(&[(start, 1, 3_200), (start + 100, 2, 40)]),
            fragment(&[(start + 5_000, 3, 2)]),
            fragment(&[]),
        ];
        let read = read_fragments(&write("s", &fragments)).unwrap();
        let times: Vec<Vec<u64>> =
            read.iter().map(|f| f.blocks.iter().map(|(at, _)| at.0).collect()).collect();
        assert_eq!(times, [vec![0, 100], vec![5_000]]);
        assert_eq!((read[0].pcm(), read[1].pcm()), (fragments[0].pcm(), fragments[1].pcm()));
    }

    #[test]
    fn a_backfill_inside_a_fragment_is_played_where_it_belongs() {
        let fragments = [fragment(&[(1_000, 1, 3_200), (1_200, 3, 3_200)]), fragment(&[(1_100, 2, 3_200)])];
        let read = read_fragments(&write("s", &fragments)).unwrap();
        let first_bytes: Vec<u8> = read.iter().flat_map(|f| f.blocks.iter().map(|(_, pcm)| pcm[0])).collect();
        assert_eq!(first_bytes, [1, 2, 3]);
    }
}
