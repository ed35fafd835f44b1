//! Opus in Ogg (RFC 7845), page by page.
//!
//! A page is waited for, its checksum proves it, and its granule position, the end of its last packet in ticks at
//! 48 kHz, places its packets in time. A packet may go on on the next page; that is all that is kept between pages.

mod page;
mod proof;

pub(super) use page::Page;
pub(super) use proof::prove;

use serde::{Deserialize, Serialize};

use super::opus_head::{self, OpusHead};
use super::outcome::{Again, Step};
use super::{Container, Item, Packet, RecordingHead, SkipReason, Skipped, TimeBasis};
use crate::hash::Fnv;
use crate::opus::{MAX_PACKET_BYTES, packet_samples};
use crate::time::{MediaTime, Samples};

/// What must be remembered from page to page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ogg {
    serial: u32,
    /// The next page's number.
    sequence: u32,
    /// The comment header must come before the first audio packet.
    tags_due: bool,
    /// Where the next packet begins, in ticks; unknown after a loss.
    position: Option<i64>,
    unfinished: Unfinished,
    /// Serial numbers of the streams beside this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<u32>,
}

/// What the latest page left of a packet that goes on on the next one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Unfinished {
    /// Nothing: the next page begins with a packet.
    Nothing,
    /// The packet's start.
    Start(#[serde(with = "serde_bytes")] Vec<u8>),
    /// A packet that is of no use: a comment header, too long, or without its start.
    Useless,
}

const TAGS_MAGIC: &[u8] = b"OpusTags";
const TICKS_PER_SAMPLE: i64 = 3;
/// A smaller serial number was not drawn by lot.
const DRAWN: u32 = 1 << 20;
/// Streams beside this one that are remembered.
const MAX_OTHERS: usize = 32;

/// Begins a recording at a page that begins a stream: the parser for the pages from this one on, and the head.
///
/// # Errors
/// [`SkipReason::UnsupportedCodec`] if the stream is not Opus, or Opus that one decoder cannot decode.
pub(super) fn open(page: &Page<'_>) -> Result<(Ogg, RecordingHead), SkipReason> {
    let parts = page.parts();
    let packet = parts.first().map(|part| part.bytes).unwrap_or_default();
    let head = OpusHead::read(packet)?
        .ok_or_else(|| SkipReason::UnsupportedCodec(format!("{} in Ogg", codec_of(packet))))?;
    let id = Fnv::of(page.whole).to_string();
    let head = RecordingHead {
        container: Container::Ogg,
        id,
        channels: head.channels,
        pre_skip: head.pre_skip,
        headerless: false,
        gain: head.gain,
        beside: Box::default(),
    };
    Ok((Ogg::at(page, true, Some(0)), head))
}

/// The codec of a stream, from its first packet.
fn codec_of(packet: &[u8]) -> String {
    const KNOWN: [(&[u8], &str); 11] = [
        (opus_head::MAGIC, "Opus"),
        (b"\x01vorbis", "Vorbis"),
        (b"\x7fFLAC", "FLAC"),
        (b"fLaC", "FLAC"),
        (b"Speex   ", "Speex"),
        (b"CELT    ", "CELT"),
        (b"PCM     ", "PCM"),
        (b"\x80theora", "Theora"),
        (b"OVP80", "VP8"),
        (b"\x80kate", "Kate"),
        (b"fishead", "Skeleton"),
    ];
    match KNOWN.iter().find(|(magic, _)| packet.starts_with(magic)) {
        Some((_, name)) => (*name).to_owned(),
        None => {
            let begins: String = packet.iter().take(8).map(|&byte| printable(byte)).collect();
            format!("a stream that begins with {begins:?}")
        }
    }
}

impl Ogg {
    /// A parser whose next page is this one.
    fn at(page: &Page<'_>, tags_due: bool, position: Option<i64>) -> Self {
        let unfinished = if page.continues() { Unfinished::Useless } else { Unfinished::Nothing };
        let (serial, sequence) = (page.serial, page.sequence);
        Self { serial, sequence, tags_due, position, unfinished, others: Vec::new() }
    }

    /// One page on.
    pub(super) fn step(&mut self, bytes: &[u8], out: &mut Vec<Item>) -> Step {
        let page = match Page::read(bytes) {
            Ok(Some(page)) => page,
            Ok(None) => return Step::Wait,
            Err(_) => return Step::Broken(SkipReason::BadPage),
        };
        let own = page.serial == self.serial;
        if own && !(page.begins() && page.sequence != self.sequence) {
            self.take(&page, out);
        } else if page.begins() && (own || !self.is_among_first_pages()) && open(&page).is_ok() {
            return Step::Header;
        } else {
            self.meet(&page, out);
        }
        Step::Took(page.whole.len())
    }

    /// Whether no more than the stream's first page was read. The first pages of all streams that are multiplexed come before any
    /// other page (RFC 3533 section 4); a recording that follows begins later.
    fn is_among_first_pages(&self) -> bool {
        self.tags_due && self.position == Some(0) && self.unfinished == Unfinished::Nothing
    }

    /// Passes a page of another stream; its first is reported.
    fn meet(&mut self, page: &Page<'_>, out: &mut Vec<Item>) {
        if self.others.contains(&page.serial) {
            return;
        }
        let codec = match page.parts().first() {
            Some(part) if page.begins() => codec_of(part.bytes),
            _ => "unknown".to_owned(),
        };
        out.push(Item::Skipped(Skipped::new(page.whole, SkipReason::Beside(codec))));
        if self.others.len() < MAX_OTHERS {
            self.others.push(page.serial);
        }
    }

    /// How much of a chunk repeats pages that were read; `None` if it begins another recording. A stream's first page distinguishes
    /// it from others, unless its serial number is not random. Then sound with an earlier time is another run's, and so is sound
    /// that reaches as far as what was read.
    pub(super) fn repeated(&self, id: &str, chunk: &[u8]) -> Option<Again> {
        const CLOCKS_DIFFER: i64 = 45 * 48;
        let (mut at, mut heard_to) = (0, 0);
        let is_cut_off = loop {
            let page = match Page::read(&chunk[at..]) {
                Ok(Some(page)) => page,
                cut => break cut.is_ok(),
            };
            if at == 0 && Fnv::of(page.whole).to_string() != id {
                return None;
            }
            let is_beside = self.others.contains(&page.serial);
            let ahead = page.sequence.wrapping_sub(self.sequence);
            if !is_beside && (page.serial != self.serial || ahead < u32::MAX / 2) {
                break false;
            }
            if !is_beside {
                heard_to = page.granule.max(heard_to);
            }
            at += page.whole.len();
        };
        if self.serial < DRAWN && heard_to == 0 && is_cut_off {
            return Some(Again::Waits(at));
        }
        let as_far = self.position.is_none_or(|known_to| heard_to.saturating_add(CLOCKS_DIFFER) > known_to);
        let is_other = heard_to > 0 && (self.serial < DRAWN || at == chunk.len() && as_far);
        (at > 0 && !is_other).then_some(Again::GoesOn(at))
    }

    /// Drops what a packet's later pages would have completed.
    pub(super) fn drop_unfinished(&mut self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.unfinished, Unfinished::Nothing) {
            Unfinished::Start(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Bytes kept of an unfinished packet.
    pub(super) fn kept(&self) -> usize {
        match &self.unfinished {
            Unfinished::Start(bytes) => bytes.len(),
            _ => 0,
        }
    }

    fn take(&mut self, page: &Page<'_>, out: &mut Vec<Item>) {
        if page.sequence != self.sequence {
            self.position = None;
        }
        let fits = page.sequence == self.sequence && page.continues();
        if !fits && let Some(lost) = self.drop_unfinished() {
            out.push(Item::Skipped(Skipped::new(&lost, SkipReason::BytesMissing)));
        }
        if !fits {
            self.unfinished = if page.continues() { Unfinished::Useless } else { Unfinished::Nothing };
        }
        self.sequence = page.sequence.wrapping_add(1);
        let packets: Vec<Vec<u8>> =
            page.parts().into_iter().filter_map(|part| self.finish(part.bytes, part.ends, out)).collect();
        self.place(page, packets, out);
    }

    /// Joins a part with what the page before left of its packet; returns the packet if it is complete and audio.
    fn finish(&mut self, part: &[u8], ends: bool, out: &mut Vec<Item>) -> Option<Vec<u8>> {
        let packet = match std::mem::replace(&mut self.unfinished, Unfinished::Nothing) {
            Unfinished::Useless => {
                if !ends {
                    self.unfinished = Unfinished::Useless;
                }
                return None;
            }
            Unfinished::Nothing => part.to_vec(),
            Unfinished::Start(start) => [&start, part].concat(),
        };
        let header = packet.starts_with(opus_head::MAGIC) || packet.starts_with(TAGS_MAGIC);
        // Some encoders end a stream with an empty packet: it only says that it is the last.
        if header || packet.is_empty() {
            self.tags_due &= !packet.starts_with(TAGS_MAGIC);
            self.unfinished = if ends { Unfinished::Nothing } else { Unfinished::Useless };
            return None;
        }
        if packet.len() > MAX_PACKET_BYTES {
            out.push(Item::Skipped(Skipped::new(&packet, SkipReason::BadPacket)));
            self.unfinished = if ends { Unfinished::Nothing } else { Unfinished::Useless };
            return None;
        }
        if !ends {
            self.unfinished = Unfinished::Start(packet);
            return None;
        }
        Some(packet)
    }

    /// Gives a page's packets their times, counted back from its granule position. On a stream's last page a granule
    /// position before the packets' end says how much of that end is to be dropped (RFC 7845 section 4.4).
    fn place(&mut self, page: &Page<'_>, packets: Vec<Vec<u8>>, out: &mut Vec<Item>) {
        let durations: Vec<Samples> = packets.iter().map(|p| packet_samples(p).unwrap_or_default()).collect();
        let total = ticks(durations.iter().copied().sum());
        let time_basis = match self.position {
            None if page.granule == -1 => TimeBasis::NotBefore,
            _ => TimeBasis::Known,
        };
        let (start, mut trim) = match self.position {
            Some(position) if page.granule == -1 => (position, 0),
            None if page.granule == -1 => (0, 0),
            Some(position) if page.ends() && position.saturating_add(total) > page.granule => {
                (position, position.saturating_add(total).saturating_sub(page.granule))
            }
            _ => (page.granule.saturating_sub(total), 0),
        };
        if !packets.is_empty() && time_basis.is_known() {
            self.position = Some(start.saturating_add(total));
        }
        let (mut at, first) = (start, out.len());
        for (data, duration) in packets.into_iter().zip(durations) {
            let (time, discard_end) = (media_time(at), Samples::ZERO);
            out.push(Item::Packet(Packet { time, time_basis, duration, data, discard_end }));
            at = at.saturating_add(ticks(duration));
        }
        if trim <= 0 {
            return;
        }
        for item in out[first..].iter_mut().rev() {
            let Item::Packet(packet) = item else { continue };
            let dropped = trim.min(ticks(packet.duration));
            packet.discard_end =
                Samples((dropped as u64).div_ceil(TICKS_PER_SAMPLE as u64)).min(packet.duration);
            trim -= dropped;
        }
    }
}

fn ticks(samples: Samples) -> i64 {
    samples.0 as i64 * TICKS_PER_SAMPLE
}

fn media_time(ticks: i64) -> MediaTime {
    // 10^9 / 48,000, in lowest terms.
    match ticks.checked_mul(62_500) {
        Some(thirds) => MediaTime(thirds / 3),
        None => MediaTime((i128::from(ticks) * 62_500 / 3).clamp(i64::MIN.into(), i64::MAX.into()) as i64),
    }
}

fn printable(byte: u8) -> char {
    if byte.is_ascii_graphic() { char::from(byte) } else { '.' }
}

#[cfg(test)]
mod tests {
    use super::page::tests::page;
    use super::*;
    use crate::time::OpusTicks;

    const HEAD: &[u8] = b"OpusHead\x01\x01\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
    const TOC_20_MS: u8 = 31 << 3;

    fn opened() -> Ogg {
        let first = page(2, 0, 0, &[HEAD.len() as u8], HEAD);
        let first = Page::read(&first).unwrap().unwrap();
        let (mut ogg, head) = open(&first).unwrap();
        assert_eq!((head.pre_skip, head.headerless), (OpusTicks(312), false));
        let mut out = Vec::new();
        ogg.take(&first, &mut out);
        let tags = page(0, 0, 1, &[8], TAGS_MAGIC);
        ogg.take(&Page::read(&tags).unwrap().unwrap(), &mut out);
        assert_eq!(out, []);
        ogg
    }

    fn step(ogg: &mut Ogg, page: &[u8]) -> Vec<Item> {
        let mut out = Vec::new();
        assert_eq!(ogg.step(page, &mut out), Step::Took(page.len()));
        out
    }

    fn packets(items: &[Item]) -> Vec<(i64, u64, u64)> {
        let packet = |item: &Item| match item {
            Item::Packet(p) => (p.time.ms_floor(), p.duration.ms_floor(), p.discard_end.0),
            other => panic!("no packet: {other:?}"),
        };
        items.iter().map(packet).collect()
    }

    #[test]
    fn times_count_back_from_the_granule_position() {
        let mut ogg = opened();
        let two = [TOC_20_MS, 1, TOC_20_MS, 2];
        assert_eq!(packets(&step(&mut ogg, &page(0, 1920, 2, &[2, 2], &two))), [(0, 20, 0), (20, 20, 0)]);
        let after_a_hole = page(0, 1920 + 48_000, 9, &[2, 2], &two);
        assert_eq!(packets(&step(&mut ogg, &after_a_hole)), [(1000, 20, 0), (1020, 20, 0)]);
    }

    #[test]
    fn the_last_page_trims_the_end() {
        let mut ogg = opened();
        let two = [TOC_20_MS, 1, TOC_20_MS, 2];
        let trimmed = packets(&step(&mut ogg, &page(4, 480, 2, &[2, 2], &two)));
        assert_eq!(trimmed, [(0, 20, 160), (20, 20, 320)], "30 ms of 40 are cut off");
    }

    #[test]
    fn a_packet_over_two_pages_is_one_packet() {
        let mut ogg = opened();
        let mut long = vec![TOC_20_MS; 300];
        long[0] = TOC_20_MS;
        assert_eq!(step(&mut ogg, &page(0, -1, 2, &[255], &long[..255])), []);
        assert_eq!(ogg.kept(), 255);
        let items = step(&mut ogg, &page(1, 960, 3, &[45], &long[255..]));
        assert!(matches!(&items[..], [Item::Packet(p)] if p.data == long && p.time == MediaTime(0)));
    }

    #[test]
    fn a_packet_whose_second_page_is_lost_is_reported() {
        let mut ogg = opened();
        step(&mut ogg, &page(0, -1, 2, &[255], &[TOC_20_MS; 255]));
        let items = step(&mut ogg, &page(1, 1920, 4, &[45, 2], &[TOC_20_MS; 47]));
        assert!(
            matches!(&items[..], [Item::Skipped(s), Item::Packet(p)]
                if s.reason == SkipReason::BytesMissing && s.total == 255 && p.data.len() == 2),
            "{items:?}"
        );
    }

    #[test]
    fn a_stream_of_another_codec_is_refused_by_name() {
        let bytes = page(2, 0, 0, &[7], b"\x01vorbis");
        let refused = open(&Page::read(&bytes).unwrap().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("Vorbis in Ogg"), "{refused}");
    }
}
