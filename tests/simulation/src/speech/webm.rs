//! A recorder's WebM: header, Clusters of unknown size, SimpleBlocks, as Chromium and Firefox write them
//! (mediarecorder-facts 4; RFC 9559).

use super::ogg;

/// How a browser writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Browser {
    /// 60 ms packets of three frames, a Cluster each 300 ms, jittering timecodes; blobs end one byte into the next
    /// element.
    Chromium,
    /// 20 ms packets, a Cluster each second, a pre-skip of 312; blobs end between elements.
    Firefox,
    /// As Firefox, but in Ogg: a first blob that is all header, then a page of 13 packets each.
    FirefoxOgg,
    /// No recorder: plain samples of an AudioWorklet, 20 ms of them in the place of a packet. There is no header.
    Worklet,
}

impl Browser {
    /// Opus frames of 20 ms in a packet.
    pub fn frames_per_packet(self) -> usize {
        match self {
            Self::Chromium => 3,
            Self::Firefox | Self::FirefoxOgg | Self::Worklet => 1,
        }
    }

    /// Packets in a Cluster or a page: at its start a demuxer finds the way again.
    pub fn packets_per_cluster(self) -> usize {
        match self {
            Self::Chromium => 5,
            Self::Firefox => 50,
            Self::FirefoxOgg => ogg::PACKETS_PER_PAGE,
            Self::Worklet => 1,
        }
    }

    /// Packets in a blob.
    pub fn packets_per_chunk(self) -> usize {
        match self {
            Self::Chromium => 5,
            Self::Firefox | Self::FirefoxOgg => 13,
            Self::Worklet => 12,
        }
    }

    /// Samples at 16 kHz that a player drops at the start.
    pub fn pre_skip_samples(self) -> usize {
        match self {
            Self::Chromium | Self::Worklet => 0,
            Self::Firefox | Self::FirefoxOgg => 104,
        }
    }

    /// The MIME type's short name, as pages send it.
    pub fn format(self) -> &'static str {
        match self {
            Self::Chromium | Self::Firefox => "webm-opus",
            Self::FirefoxOgg => "ogg-opus",
            Self::Worklet => "pcm-s16le",
        }
    }

    fn track(self) -> u8 {
        match self {
            Self::Chromium | Self::Worklet => 1,
            Self::Firefox | Self::FirefoxOgg => 2,
        }
    }

    /// The timecode of a packet.
    fn timecode_ms(self, packet: usize) -> u64 {
        match self {
            Self::Chromium => packet as u64 * 60 + [0, 4, 1, 7, 3, 0, 5][packet % 7],
            Self::Firefox | Self::FirefoxOgg | Self::Worklet => packet as u64 * 20 + 6,
        }
    }
}

const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    let size = (content.len() as u16 | 0x4000).to_be_bytes();
    [id, &size, content].concat()
}

/// EBML header, Segment, Info and Tracks (in Ogg: the header pages). `uid` is the recorder's random number.
pub fn header(browser: Browser, uid: u64) -> Vec<u8> {
    match browser {
        Browser::FirefoxOgg => return ogg::header(uid as u32),
        Browser::Worklet => return Vec::new(),
        Browser::Chromium | Browser::Firefox => {}
    }
    let pre_skip: u16 = if browser == Browser::Firefox { 312 } else { 0 };
    let head =
        [b"OpusHead\x01\x01".as_slice(), &pre_skip.to_le_bytes(), &48_000_u32.to_le_bytes(), &[0, 0, 0]];
    let ebml = [
        element(&[0x42, 0x86], &[1]),
        element(&[0x42, 0xf7], &[1]),
        element(&[0x42, 0xf2], &[4]),
        element(&[0x42, 0xf3], &[8]),
        element(&[0x42, 0x82], b"webm"),
        element(&[0x42, 0x87], &[4]),
        element(&[0x42, 0x85], &[2]),
    ];
    let audio = [element(&[0xb5], &48_000_f32.to_be_bytes()), element(&[0x9f], &[1])];
    let mut track = vec![
        element(&[0xd7], &[browser.track()]),
        element(&[0x73, 0xc5], &uid.to_be_bytes()),
        element(&[0x83], &[2]),
        element(&[0x86], b"A_OPUS"),
        element(&[0x63, 0xa2], &head.concat()),
        element(&[0xe1], &audio.concat()),
    ];
    if browser == Browser::Firefox {
        track.push(element(&[0x56, 0xaa], &6_500_000_u32.to_be_bytes()));
        track.push(element(&[0x56, 0xbb], &80_000_000_u32.to_be_bytes()));
    }
    let info = element(&[0x2a, 0xd7, 0xb1], &1_000_000_u32.to_be_bytes());
    [
        element(&[0x1a, 0x45, 0xdf, 0xa3], &ebml.concat()),
        [&[0x18, 0x53, 0x80, 0x67], UNKNOWN_SIZE.as_slice()].concat(),
        element(&[0x15, 0x49, 0xa9, 0x66], &info),
        element(&[0x16, 0x54, 0xae, 0x6b], &element(&[0xae], &track.concat())),
    ]
    .concat()
}

/// Each packet's bytes in the file; `uid` as for [`header`].
pub fn blocks(browser: Browser, uid: u64, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    match browser {
        Browser::FirefoxOgg => ogg::blocks(uid as u32, packets),
        Browser::Worklet => packets.to_vec(),
        _ => packets.iter().enumerate().map(|(at, packet)| block(browser, at, packet)).collect(),
    }
}

/// One packet's SimpleBlock, with the start of its Cluster where it opens one (WebM only).
pub fn block(browser: Browser, at: usize, packet: &[u8]) -> Vec<u8> {
    let first = at - at % browser.packets_per_cluster();
    let cluster_ms = browser.timecode_ms(first);
    let relative = (browser.timecode_ms(at) - cluster_ms) as u16;
    let content = [[0x80 | browser.track()].as_slice(), &relative.to_be_bytes(), &[0x80], packet].concat();
    let block = element(&[0xa3], &content);
    if at != first {
        return block;
    }
    let time = element(&[0xe7], &(cluster_ms as u32).to_be_bytes());
    [[0x1f, 0x43, 0xb6, 0x75].as_slice(), &UNKNOWN_SIZE, &time, &block].concat()
}
