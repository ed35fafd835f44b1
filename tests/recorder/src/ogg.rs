//! Opus in Ogg (RFC 3533, RFC 7845).

use crate::packets::us_of;
use crate::{Recorder, Recording, Written};

/// Ogg's knobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Ogg {
    /// The stream's serial number.
    pub serial: u32,
    /// A page ends when it has so much sound.
    pub page_us: u64,
    /// The most lacing values of a page: packets then continue on the next page.
    pub page_segments: usize,
    /// Bytes of cover art in the comment header.
    pub tags_bytes: usize,
    /// Where the sound begins, in ticks at 48 kHz: a recording that was tuned into.
    pub first_tick: u64,
    /// Whether the last page says that it is the last.
    pub ends: bool,
    /// Another stream beside, which begins before or after this one.
    pub beside: Option<Other>,
}

/// Another stream in the file.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Other {
    /// It begins before the Opus stream.
    Before,
    /// It begins after it.
    After,
}

impl Default for Ogg {
    fn default() -> Self {
        Self {
            serial: 0x5ec2_2804,
            page_us: 250_000,
            page_segments: 255,
            tags_bytes: 60,
            first_tick: 0,
            ends: false,
            beside: None,
        }
    }
}

const OTHER: u32 = 0x0dd0_0dd0;

/// Pages of a stream as they come.
struct Pages {
    bytes: Vec<u8>,
    serial: u32,
    sequence: u32,
    /// Lacing values and bytes that wait for their page.
    lacing: Vec<u8>,
    body: Vec<u8>,
    /// Whether the next page begins in the middle of a packet.
    continues: bool,
    /// Where the latest complete packet ends, in ticks; none on this page is -1.
    granule: i64,
    most_segments: usize,
    boundaries: Vec<usize>,
}

impl Pages {
    fn packet(&mut self, packet: &[u8], granule: i64) {
        let values = std::iter::repeat_n(255, packet.len() / 255).chain([(packet.len() % 255) as u8]);
        let mut rest = packet;
        for value in values {
            if self.lacing.len() == self.most_segments {
                self.flush(0);
            }
            let (segment, after) = rest.split_at(usize::from(value));
            self.lacing.push(value);
            self.body.extend_from_slice(segment);
            rest = after;
        }
        self.granule = granule;
    }

    fn flush(&mut self, flags: u8) {
        let goes_on = self.lacing.last() == Some(&255);
        let flags = flags | u8::from(self.continues);
        let (lacing, body) = (std::mem::take(&mut self.lacing), std::mem::take(&mut self.body));
        self.bytes.extend(page(flags, self.granule, self.serial, self.sequence, &lacing, &body));
        self.sequence += 1;
        (self.continues, self.granule) = (goes_on, -1);
        self.boundaries.push(self.bytes.len());
    }
}

pub(crate) fn write(recorder: &Recorder, ogg: &Ogg, packets: &[Vec<u8>]) -> Recording {
    let mut pages = Pages {
        bytes: Vec::new(),
        serial: ogg.serial,
        sequence: 0,
        lacing: Vec::new(),
        body: Vec::new(),
        continues: false,
        granule: -1,
        most_segments: ogg.page_segments.clamp(1, 255),
        boundaries: Vec::new(),
    };
    let other = |flags: u8, sequence: u32| page(flags, 0, OTHER, sequence, &[64], &skeleton());
    if ogg.beside == Some(Other::Before) {
        pages.bytes.extend(other(2, 0));
    }
    pages.packet(&recorder.opus_head(), 0);
    pages.flush(2);
    if ogg.beside == Some(Other::After) {
        pages.bytes.extend(other(2, 0));
    }
    pages.packet(&tags(ogg.tags_bytes), 0);
    pages.flush(0);
    let header_len = pages.bytes.len();
    let mut written: Vec<Written> = Vec::new();
    let (mut tick, mut page_us, mut waiting) = (ogg.first_tick, 0, 0);
    for (n, packet) in packets.iter().enumerate() {
        let (us, last) = (us_of(packet), n + 1 == packets.len());
        // On a lone page, a granule position that is trimmed and one that begins late look the same.
        let is_padded = last && ogg.ends && ogg.first_tick == 0;
        let padding_us = if is_padded { recorder.padding_us.min(us) } else { 0 };
        let time_ns = (u128::from(tick) * 1_000_000_000 / 48_000) as i64;
        tick += us * 48 / 1_000;
        let pages_before = pages.sequence;
        pages.packet(packet, (tick - padding_us * 48 / 1_000) as i64);
        if pages.sequence > pages_before {
            complete(&mut written[waiting..], pages.bytes.len());
            (waiting, page_us) = (written.len(), 0);
        }
        written.push(Written { data: packet.clone(), time_ns, us, padding_us, end: 0 });
        page_us += us;
        if page_us >= ogg.page_us || last {
            if ogg.beside.is_some() {
                pages.bytes.extend(other(0, pages.sequence));
            }
            pages.flush(if last && ogg.ends { 4 } else { 0 });
            complete(&mut written[waiting..], pages.bytes.len());
            (waiting, page_us) = (written.len(), 0);
        }
    }
    Recording { bytes: pages.bytes, header_len, packets: written, boundaries: pages.boundaries }
}

/// An Ogg Skeleton's first packet: it describes the other streams to players.
fn skeleton() -> Vec<u8> {
    let one_of_1000 = [0_u64.to_le_bytes(), 1_000_u64.to_le_bytes()].concat();
    [&b"fishead\0\x03\0\0\0"[..], &one_of_1000, &one_of_1000, &[0; 20]].concat()
}

/// A comment header with a picture of this many bytes in base64 (RFC 7845 section 5.2).
fn tags(picture_bytes: usize) -> Vec<u8> {
    let picture = [&b"METADATA_BLOCK_PICTURE="[..], &vec![b'k'; picture_bytes]].concat();
    let length = (picture.len() as u32).to_le_bytes();
    [&b"OpusTags\x08\0\0\0recorder\x01\0\0\0"[..], &length, &picture].concat()
}

fn complete(packets: &mut [Written], end: usize) {
    packets.iter_mut().for_each(|packet| packet.end = end);
}

/// A page with its checksum.
fn page(flags: u8, granule: i64, serial: u32, sequence: u32, lacing: &[u8], body: &[u8]) -> Vec<u8> {
    let mut page = b"OggS\0".to_vec();
    page.push(flags);
    page.extend(granule.to_le_bytes());
    page.extend(serial.to_le_bytes());
    page.extend(sequence.to_le_bytes());
    page.extend([0; 4]);
    page.push(lacing.len() as u8);
    page.extend(lacing);
    page.extend(body);
    seal(&mut page);
    page
}

/// Writes a page's checksum into it (RFC 3533 section 6).
fn seal(page: &mut [u8]) {
    page[22..26].fill(0);
    let sum = page.iter().fold(0_u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    page[22..26].copy_from_slice(&sum.to_le_bytes());
}

/// Whole Ogg pages as those of another stream: with this serial number. `None` if the bytes are not whole pages.
pub fn with_serial(bytes: &[u8], serial: u32) -> Option<Vec<u8>> {
    let mut pages = bytes.to_vec();
    let mut rest = pages.as_mut_slice();
    while !rest.is_empty() {
        let segments = usize::from(*rest.get(26).filter(|_| rest.starts_with(b"OggS"))?);
        let lacing = rest.get(27..27 + segments)?;
        let len = 27 + segments + lacing.iter().map(|&value| usize::from(value)).sum::<usize>();
        let (page, after) = rest.split_at_mut_checked(len)?;
        page[14..18].copy_from_slice(&serial.to_le_bytes());
        seal(page);
        rest = after;
    }
    Some(pages)
}
