//! Fragments as the readers get them: the producer's header and frames, and the service's own tags.

use crate::rules::document::Block;
use crate::rules::ebml::{Node, write_element, write_id, write_size, write_unknown_size};
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

/// Appends the beginning of the Cluster: its size, which covers all blocks, and its Timestamp.
pub(super) fn write_cluster_head(fragment: &StoredFragment, out: &mut Vec<u8>) {
    let mut timestamp = Vec::new();
    write_element(TIMESTAMP, &fragment.cluster_ticks.to_be_bytes(), &mut timestamp);
    let mut head = Vec::new();
    let blocks = fragment.blocks.iter().map(|block| {
        head.clear();
        write_block_head(block, &mut head);
        head.len() + block.data.len()
    });
    let size = timestamp.len() + blocks.sum::<usize>();
    write_id(CLUSTER, out);
    write_size(size as u64, out);
    out.extend_from_slice(&timestamp);
}

/// Appends a SimpleBlock up to its frame.
pub(super) fn write_block_head(block: &Block, out: &mut Vec<u8>) {
    let mut head = Vec::with_capacity(12);
    // Track numbers are written like sizes; all ones, which would be an unknown size, take a longer form.
    write_size(block.track, &mut head);
    head.extend_from_slice(&block.relative_ticks.to_be_bytes());
    head.push(if block.key { 0x80 } else { 0 });
    write_id(SIMPLE_BLOCK, out);
    write_size((head.len() + block.data.len()) as u64, out);
    out.extend_from_slice(&head);
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
