//! Bytes that libFuzzer makes up as chunks of WebM or Ogg: the same packets however they are cut and whoever takes them up.
#![no_main]

use libfuzzer_sys::fuzz_target;
use media::demux::{Demuxer, Item};
use media::time::Samples;
use worker_fuzz::{Numbers, within_budget};

/// The last bytes of an input say where it is cut.
const CUTS: usize = 16;

fuzz_target!(|input: &[u8]| {
    let Some((file, numbers)) = input.split_last_chunk::<CUTS>() else { return };
    let whole = within_budget(file.len(), || packets(Demuxer::new().push(file)));
    let single: Vec<&[u8]> = file.chunks(1).collect();
    assert_eq!(demux(&single, None), whole, "byte by byte");
    let mut numbers = Numbers(numbers);
    let resumes_at = numbers.below(CUTS / 2);
    let mut cuts: Vec<usize> = (1..CUTS / 2).map(|_| numbers.below(file.len() + 1)).collect();
    // A chunk that begins with a recording's header says that the recording before it is over.
    cuts.retain(|&cut| !begins_header(&file[cut..]));
    cuts.sort_unstable();
    let mut from = 0;
    let mut pieces = Vec::new();
    for to in cuts.into_iter().chain([file.len()]) {
        pieces.push(&file[std::mem::replace(&mut from, to)..to]);
    }
    assert_eq!(demux(&pieces, Some(resumes_at)), whole, "cut in {} pieces", pieces.len());
    in_parts(file, &whole);
});

fn begins_header(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x1a\x45\xdf\xa3") || bytes.starts_with(b"OggS")
}

/// The packets of pieces; a worker that knows nothing but what is stored takes the demuxer up before one of them.
fn demux(pieces: &[&[u8]], resumes_at: Option<usize>) -> Vec<Vec<u8>> {
    let (mut demuxer, mut items) = (Demuxer::new(), Vec::new());
    for (n, piece) in pieces.iter().enumerate() {
        if resumes_at == Some(n) {
            let stored = rmp_serde::to_vec_named(&demuxer).expect("a demuxer can be stored");
            demuxer = rmp_serde::from_slice(&stored).expect("what is stored can be read");
        }
        items.extend(demuxer.push(piece));
        assert!(demuxer.buffered() <= Demuxer::MAX_BUFFERED, "memory is bounded");
    }
    packets(items)
}

/// A chunk that is too long for one fragment: its parts end where they are said to, and give its packets together.
fn in_parts(file: &[u8], whole: &[Vec<u8>]) {
    let (mut demuxer, mut parts, mut rest) = (Demuxer::new(), Vec::new(), file);
    while !rest.is_empty() {
        let (_, used) = demuxer.push_until(rest, Samples::from_ms(100));
        assert!(0 < used && used <= rest.len(), "each part moves on");
        let (part, behind) = rest.split_at(used);
        parts.push(part);
        rest = behind;
    }
    if !parts.iter().skip(1).any(|part| begins_header(part)) {
        assert_eq!(demux(&parts, None), whole, "in {} parts", parts.len());
    }
}

fn packets(items: Vec<Item>) -> Vec<Vec<u8>> {
    let data = |item| match item {
        Item::Packet(packet) => Some(packet.data),
        _ => None,
    };
    items.into_iter().filter_map(data).collect()
}
