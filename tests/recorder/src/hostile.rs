//! Bytes that cost most to look at and are worth nothing, to fill chunks with.

use crate::{Recorder, element, packets};

/// What a queue message holds at most, in bytes.
pub const CHUNK_BYTES: usize = 96 * 1024;

/// A chunk full of a bait.
pub fn full_of(bait: &[u8]) -> Vec<u8> {
    bait.repeat(CHUNK_BYTES / bait.len().max(1))
}

/// Each by its name.
pub fn baits() -> Vec<(&'static str, Vec<u8>)> {
    let block = |packet: &[u8]| element(0xa3, &[&[0x81, 0, 0, 0x80], packet].concat());
    let padded = [&[0xfb, 0x41][..], &[0xff; 700]].concat();
    let laced = element(0xa3, &[&[0x81, 0, 0, 0x04, 0xff][..], &[0xe0; 256]].concat());
    vec![
        ("Clusters", costly_cluster()),
        ("pages", costly_page()),
        ("pages before a sound one", [costly_page().repeat(15), page_of_sound()].concat()),
        ("half a Cluster's ID", vec![0x1f]),
        ("EBML headers", vec![0x1a, 0x45, 0xdf, 0xa3, 0x43, 0xff]),
        ("half a page", b"O".to_vec()),
        ("the first bytes of pages", b"OggS".to_vec()),
        ("pages of nothing", [&b"OggS\0\0"[..], &[0; 21]].concat()),
        (
            "blocks that claim 60 kB of padding",
            vec![0xa3, 0x20, 0xf0, 0x00, 0x81, 0, 0, 0x80, 0xfb, 0x41, 0xff, 0xff],
        ),
        ("blocks of padding", block(&padded)),
        ("blocks of one time", block(&[0xf8])),
        ("blocks laced with 256 packets", laced.clone()),
        ("blocks of false lacing", element(0xa3, &[&[0x81, 0, 0, 0x06, 0xff][..], &[0x81; 255]].concat())),
        ("Timestamps", vec![0xe7, 0x80]),
        ("BlockGroups", element(0xa0, &element(0xa1, &[0x81, 0, 0, 0x80, 0xfb, 0x41, 0xff]))),
        ("nested BlockGroups", nested(&[0xa0], &laced)),
        ("nested Clusters", nested(&[0x1f43_b675, 0xa0], &laced)),
        ("empty elements of no meaning", vec![0xc0, 0x80]),
        ("large elements of no meaning", vec![0x4d, 0xe0, 0x20, 0xff, 0x00, 0xa3]),
        ("elements of no meaning before a block", [[0xc0, 0x80].repeat(15), laced].concat()),
        ("Void", vec![0xec, 0x80]),
        ("zeros", vec![0]),
    ]
}

/// A Cluster's start that claims the largest block there may be, laced into 256 frames, and never comes true.
fn costly_cluster() -> Vec<u8> {
    let mut bait = vec![0x1f, 0x43, 0xb6, 0x75, 0xff, 0xe7, 0x81, 1, 0xa3, 0x22, 0x00, 0x00];
    bait.extend([0x81, 0, 0, 0x04, 0xff]);
    bait
}

/// A page's header that claims 65 kB, all of which its checksum must cover.
fn costly_page() -> Vec<u8> {
    [&b"OggS\0\0"[..], &[0; 20], &[0xff], &[0xff; 20]].concat()
}

fn page_of_sound() -> Vec<u8> {
    let recording = Recorder::firefox_ogg().record(&packets(20_000, 1, 1));
    recording.bytes[recording.header_len..].to_vec()
}

/// An element in an element, a hundred times over.
fn nested(ids: &[u32], innermost: &[u8]) -> Vec<u8> {
    ids.iter().cycle().take(100).fold(innermost.to_vec(), |inner, id| element(*id, &inner))
}
