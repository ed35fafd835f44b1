//! A small Matroska writer for the tests.

use kvs_emulator::rules::ebml::{Node, write_element, write_id, write_unknown_size};
use kvs_emulator::rules::schema::*;

pub const RATE_HZ: u64 = 16_000;
/// Samples of 100 ms.
pub const BLOCK_SAMPLES: usize = 1_600;

pub fn uint(id: u32, value: u64) -> Node {
    Node::leaf(id, value.to_be_bytes().to_vec())
}

pub fn text(id: u32, value: &str) -> Node {
    Node::leaf(id, value.as_bytes().to_vec())
}

pub fn ebml(doc_type: &str) -> Node {
    Node::master(
        EBML,
        vec![text(DOC_TYPE, doc_type), uint(EBML_READ_VERSION, 1), uint(DOC_TYPE_READ_VERSION, 2)],
    )
}

pub fn info() -> Node {
    Node::master(INFO, vec![uint(TIMESTAMP_SCALE, 1_000_000)])
}

pub fn audio() -> Node {
    let rate = Node::leaf(SAMPLING_FREQUENCY, (RATE_HZ as f64).to_be_bytes().to_vec());
    Node::master(AUDIO, vec![rate, uint(CHANNELS, 1), uint(BIT_DEPTH, 16)])
}

pub fn track(number: u64) -> Node {
    Node::master(
        TRACK_ENTRY,
        vec![
            uint(TRACK_NUMBER, number),
            uint(TRACK_UID, number + 100),
            uint(TRACK_TYPE, 2),
            text(TRACK_NAME, "AUDIO_FROM_CUSTOMER"),
            text(CODEC_ID, "A_PCM/INT/LIT"),
            audio(),
        ],
    )
}

pub fn header_of(elements: &[Node]) -> Vec<u8> {
    let mut out = Vec::new();
    ebml("matroska").write(&mut out);
    write_id(SEGMENT, &mut out);
    write_unknown_size(&mut out);
    elements.iter().for_each(|element| element.write(&mut out));
    out
}

/// One mono PCM track at 16 kHz.
pub fn header() -> Vec<u8> {
    header_of(&[info(), Node::master(TRACKS, vec![track(1)])])
}

pub fn simple_block(track: u8, relative_ms: i16, data: &[u8]) -> Vec<u8> {
    let mut payload = vec![0x80 | track];
    payload.extend_from_slice(&relative_ms.to_be_bytes());
    payload.push(0x80);
    payload.extend_from_slice(data);
    let mut out = Vec::new();
    write_element(SIMPLE_BLOCK, &payload, &mut out);
    out
}

/// 100 ms of PCM that depends on its number only.
pub fn samples(number: u64) -> Vec<u8> {
    let sample = |i: usize| ((number as i64 * 7919 + i as i64 * 31) % 20_011 - 10_000) as i16;
    (0..BLOCK_SAMPLES).flat_map(|i| sample(i).to_le_bytes()).collect()
}

/// A Cluster of unknown size with `blocks` blocks of 100 ms.
pub fn cluster(timestamp_ms: u64, blocks: u64) -> Vec<u8> {
    let mut out = Vec::new();
    write_id(CLUSTER, &mut out);
    write_unknown_size(&mut out);
    out.extend(cluster_inner(timestamp_ms, blocks));
    out
}

pub fn cluster_inner(timestamp_ms: u64, blocks: u64) -> Vec<u8> {
    let mut out = Vec::new();
    uint(TIMESTAMP, timestamp_ms).write(&mut out);
    for i in 0..blocks {
        out.extend(simple_block(1, (i * 100) as i16, &samples(timestamp_ms / 100 + i)));
    }
    out
}

/// The PCM of such a Cluster.
pub fn pcm(timestamp_ms: u64, blocks: u64) -> Vec<u8> {
    (0..blocks).flat_map(|i| samples(timestamp_ms / 100 + i)).collect()
}

/// A Cluster whose size is stated.
pub fn sized_cluster(timestamp_ms: u64, blocks: u64) -> Vec<u8> {
    let mut out = Vec::new();
    write_element(CLUSTER, &cluster_inner(timestamp_ms, blocks), &mut out);
    out
}

pub fn tags(pairs: &[(&str, &str)]) -> Vec<u8> {
    let tag = |(name, value): &(&str, &str)| {
        Node::master(TAG, vec![Node::master(SIMPLE_TAG, vec![text(TAG_NAME, name), text(TAG_STRING, value)])])
    };
    let mut out = Vec::new();
    Node::master(TAGS, pairs.iter().map(tag).collect()).write(&mut out);
    out
}

pub fn written(node: Node) -> Vec<u8> {
    let mut out = Vec::new();
    node.write(&mut out);
    out
}

pub fn without(mut entry: Node, id: u32) -> Node {
    entry.children.retain(|child| child.id != id);
    entry
}

pub fn with(entry: Node, node: Node) -> Node {
    let mut entry = without(entry, node.id);
    entry.children.push(node);
    entry
}

/// A header with these tracks.
pub fn tracks(entries: Vec<Node>) -> Vec<u8> {
    header_of(&[info(), Node::master(TRACKS, entries)])
}

pub fn timestamp(ms: u64) -> Vec<u8> {
    written(uint(TIMESTAMP, ms))
}

/// A Cluster of unknown size with this inside.
pub fn cluster_of(inner: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_id(CLUSTER, &mut out);
    write_unknown_size(&mut out);
    out.extend(inner.concat());
    out
}
