//! A batch's packets as a whole WebM file: what a converter without state would be given.

use media::ebml::write::{element, uint};
use media::opus::packet_samples;
use media::time::Samples;

/// Mono at 48 kHz, no pre-skip (RFC 7845 section 5.1).
const OPUS_HEAD: &[u8] = b"OpusHead\x01\x01\0\0\x80\xbb\0\0\0\0\0";

/// Writes one Segment with one Cluster (RFC 9559).
pub fn write(packets: &[Vec<u8>]) -> Vec<u8> {
    let header =
        [uint(0x4286, 1), uint(0x42F7, 1), element(0x4282, b"webm"), uint(0x4287, 2), uint(0x4285, 2)];
    let audio = [element(0xB5, &48_000_f64.to_be_bytes()), uint(0x9F, 1)].concat();
    let track = [
        uint(0xD7, 1),
        uint(0x73C5, 1),
        uint(0x83, 2),
        element(0x86, b"A_OPUS"),
        element(0x63A2, OPUS_HEAD),
        element(0xE1, &audio),
    ];
    let segment = [
        element(0x1549_A966, &uint(0x2A_D7B1, 1_000_000)),
        element(0x1654_AE6B, &element(0xAE, &track.concat())),
        cluster(packets),
    ];
    [element(0x1A45_DFA3, &header.concat()), element(0x1853_8067, &segment.concat())].concat()
}

fn cluster(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut content = uint(0xE7, 0);
    let mut at = Samples::ZERO;
    for packet in packets {
        let ms = i16::try_from(at.ms_floor()).unwrap_or(i16::MAX).to_be_bytes();
        let block = [&[0x81], ms.as_slice(), &[0x80], packet].concat();
        content.extend(element(0xA3, &block));
        at += packet_samples(packet).unwrap_or_default();
    }
    element(0x1F43_B675, &content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::demux::{Demuxer, Item};

    #[test]
    fn the_file_gives_the_packets_back() {
        let packets: Vec<Vec<u8>> = (0..5_u8).map(|n| vec![0xfb, 3, n, n, n]).collect();
        let items = Demuxer::new().push(&write(&packets));
        let found: Vec<Vec<u8>> =
            items.iter().filter_map(Item::packet).map(|packet| packet.data.clone()).collect();
        assert_eq!(found, packets);
    }
}
