//! Fragments as the readers get them: the producer's header and frames, and the service's own tags.

use crate::rules::ebml::{Node, write_element, write_id, write_unknown_size};
use crate::rules::schema::{
    CLUSTER, SEGMENT, SIMPLE_BLOCK, SIMPLE_TAG, TAG, TAG_NAME, TAG_STRING, TAGS, TIMESTAMP,
};
use crate::rules::schema::{DOC_TYPE, DOC_TYPE_READ_VERSION, EBML};
use crate::storage::StoredFragment;

/// Appends one Tags element, each pair in its own Tag, as the service writes them.
pub(super) fn write_tags(pairs: &[(&str, String)], out: &mut Vec<u8>) {
    let tag = |(name, value): &(&str, String)| {
        let name = Node::leaf(TAG_NAME, name.as_bytes().to_vec());
        let value = Node::leaf(TAG_STRING, value.as_bytes().to_vec());
        Node::master(TAG, vec![Node::master(SIMPLE_TAG, vec![name, value])])
    };
    Node::master(TAGS, pairs.iter().map(tag).collect()).write(out);
}

/// Appends the Cluster with a known size, its Timestamp and frames as they were sent.
pub(super) fn write_cluster(fragment: &StoredFragment, out: &mut Vec<u8>) {
    let mut cluster = Vec::with_capacity(usize::try_from(fragment.size_bytes).unwrap_or(0) + 64);
    write_element(TIMESTAMP, &fragment.cluster_ticks.to_be_bytes(), &mut cluster);
    for block in &fragment.blocks {
        let mut bytes = Vec::with_capacity(block.data.len() + 12);
        write_track_number(block.track, &mut bytes);
        bytes.extend_from_slice(&block.relative_ticks.to_be_bytes());
        bytes.push(if block.key { 0x80 } else { 0 });
        bytes.extend_from_slice(&block.data);
        write_element(SIMPLE_BLOCK, &bytes, &mut cluster);
    }
    write_element(CLUSTER, &cluster, out);
}

/// Track numbers are written like sizes, but all ones are an ordinary number; a longer form avoids the doubt.
fn write_track_number(track: u64, out: &mut Vec<u8>) {
    crate::rules::ebml::write_size(track, out);
}

/// Appends a document without media, for tags that tell an error when nothing was sent yet.
pub(super) fn write_bare_header(out: &mut Vec<u8>) {
    let doc_type = Node::leaf(DOC_TYPE, &b"matroska"[..]);
    let version = Node::leaf(DOC_TYPE_READ_VERSION, vec![2]);
    Node::master(EBML, vec![doc_type, version]).write(out);
    write_id(SEGMENT, out);
    write_unknown_size(out);
}

/// Milliseconds as seconds with three decimals, as the service's tags have them.
pub(super) fn seconds_text(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
