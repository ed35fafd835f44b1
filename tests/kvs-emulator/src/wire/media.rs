//! Fragments as readers get them: each one a Matroska document of its own, made of the producer's bytes and the service's
//! tags, in the order and form of the service's recorded answers.

use crate::rules::ebml::{Node, write_id, write_unknown_size};
use crate::rules::schema::{DOC_TYPE, DOC_TYPE_READ_VERSION, EBML, SEGMENT};
use crate::rules::schema::{SIMPLE_TAG, TAG, TAG_NAME, TAG_STRING, TAGS};

/// Appends one Tags element with one Tag in it, every size in four bytes, as the service writes its own.
pub(super) fn write_tags(pairs: &[(&str, String)], out: &mut Vec<u8>) {
    let mut simple_tags = Vec::new();
    for (name, value) in pairs {
        let mut simple_tag = Vec::new();
        write_element(TAG_NAME, name.as_bytes(), &mut simple_tag);
        write_element(TAG_STRING, value.as_bytes(), &mut simple_tag);
        write_element(SIMPLE_TAG, &simple_tag, &mut simple_tags);
    }
    let mut tag = Vec::new();
    write_element(TAG, &simple_tags, &mut tag);
    write_element(TAGS, &tag, out);
}

fn write_element(id: u32, payload: &[u8], out: &mut Vec<u8>) {
    write_id(id, out);
    // A few tags with short values: far below the 2^28 bytes that such a size can say.
    out.extend_from_slice(&(payload.len() as u32 | 0x1000_0000).to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends a document without media, for tags that tell an error in place of a fragment.
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
