//! WebM and Matroska (RFC 9559), in every form that recorders give it.

use crate::ebml::{Writer, id, size, vint};
use crate::packets::{Noise, us_of};
use crate::{Recorder, Recording, Written};

/// WebM's knobs.
#[derive(Clone, Debug, PartialEq)]
pub struct Webm {
    /// The Segment's size.
    pub segment: Size,
    /// The Clusters' sizes.
    pub cluster: Size,
    /// A Cluster ends when it is this long, or when a block's time would not fit.
    pub cluster_us: u64,
    /// How packets share a block.
    pub lacing: Lacing,
    /// Packets in a laced block.
    pub per_block: usize,
    /// What blocks are in.
    pub blocks: Blocks,
    /// The Opus track's number.
    pub track: u64,
    /// The Opus track's UID.
    pub uid: u64,
    /// CodecID, as it is written.
    pub codec: String,
    /// How long each packet is, where it is none of Opus.
    pub packet_us: Option<u64>,
    /// Other tracks.
    pub beside: Vec<Beside>,
    /// TimestampScale.
    pub scale_ns: u64,
    /// The first packet's time.
    pub first_us: u64,
    /// By how much blocks are stamped early or late.
    pub jitter_us: u64,
    /// All sizes have eight bytes.
    pub long_sizes: bool,
    /// Whether SimpleBlocks say that they can be decoded by themselves.
    pub key_frames: bool,
    /// Elements that carry no sound.
    pub extras: Extras,
}

/// A size field.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Size {
    /// As it is.
    Known,
    /// The value that means unknown.
    Unknown,
    /// 0, which was to be written over in the end.
    Zero,
}

/// How packets share a block (RFC 9559 section 10.3).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Lacing {
    /// One packet in a block.
    None,
    /// Lengths as sums of bytes.
    Xiph,
    /// All of one length; where they are not, as Xiph.
    Fixed,
    /// Lengths as differences.
    Ebml,
}

/// What blocks are in.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// SimpleBlocks.
    Simple,
    /// BlockGroups with BlockDuration.
    Group,
    /// Now this, now that.
    Mixed,
}

/// Another track.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    /// Its number.
    pub number: u64,
    /// Its codec; `V_` makes it a video track.
    pub codec: String,
    /// Whether Tracks name it before the Opus track.
    pub first: bool,
    /// Bytes of each of its blocks.
    pub block_bytes: usize,
}

/// Elements that carry no sound.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the specification's own names")]
pub struct Extras {
    pub void: bool,
    pub crc_32: bool,
    pub seek_head: bool,
    pub cues: bool,
    pub prev_size: bool,
    pub position: bool,
    pub tags: bool,
    pub attachment_bytes: usize,
    pub codec_delay: bool,
    /// DocType and CodecID end with zeros.
    pub padded_strings: bool,
    /// Elements that RFC 9559 does not have, in Segment, Tracks and Clusters.
    pub unknown: bool,
    pub encrypted_block: bool,
}

impl Default for Webm {
    fn default() -> Self {
        Self {
            segment: Size::Unknown,
            cluster: Size::Unknown,
            cluster_us: 1_000_000,
            lacing: Lacing::None,
            per_block: 1,
            blocks: Blocks::Simple,
            track: 1,
            uid: 0x5e_c228_041c_90b8,
            codec: "A_OPUS".into(),
            packet_us: None,
            beside: Vec::new(),
            scale_ns: 1_000_000,
            first_us: 0,
            jitter_us: 0,
            long_sizes: false,
            key_frames: true,
            extras: Extras::default(),
        }
    }
}

const CLUSTER: u32 = 0x1f43_b675;
const UNKNOWN_IDS: [u32; 3] = [0x4de0, 0x3f_ab_cd, 0x11_22_33_44];

/// A block's packets and its place.
struct Group<'a> {
    packets: &'a [Vec<u8>],
    us: u64,
    ticks: i64,
    padding_us: u64,
}

pub(crate) fn write(recorder: &Recorder, webm: &Webm, packets: &[Vec<u8>]) -> Recording {
    let writer = Writer { long_sizes: webm.long_sizes };
    let mut body = header(recorder, webm, writer);
    let (header_len, groups) = (body.len(), groups(recorder, webm, packets));
    let (mut written, mut boundaries) = (Vec::new(), Vec::new());
    let mut rest = &groups[..];
    while let Some(first) = rest.first() {
        let fits = |group: &&Group<'_>| {
            let us = (group.ticks - first.ticks) as u64 * webm.scale_ns / 1_000;
            group.ticks - first.ticks <= i64::from(i16::MAX) && us < webm.cluster_us.max(1)
        };
        let (cluster, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = after;
        let before = body.len();
        write_cluster(webm, writer, cluster, &mut body, &mut written, &mut boundaries);
        if webm.extras.unknown {
            body.extend(writer.element(UNKNOWN_IDS[2], &[9; 20]));
        }
        boundaries.extend([before, body.len()]);
    }
    if webm.extras.cues {
        let position =
            writer.master(0xb7, &[writer.uint(0xf7, webm.track), writer.uint(0xf1, header_len as u64)]);
        let point = writer.master(0xbb, &[writer.uint(0xb3, 0), position]);
        body.extend(writer.element(0x1c53_bb6b, &point.repeat(written.len().div_ceil(50))));
    }
    finish(webm, writer, body, header_len, written, boundaries)
}

/// Puts the EBML header and the Segment's before the Segment's content.
fn finish(
    webm: &Webm,
    writer: Writer,
    body: Vec<u8>,
    header_len: usize,
    mut packets: Vec<Written>,
    mut boundaries: Vec<usize>,
) -> Recording {
    let padding = if webm.extras.padded_strings { &b"\0\0\0"[..] } else { b"" };
    let ebml = [
        writer.uint(0x4286, 1),
        writer.uint(0x42f7, 1),
        writer.uint(0x42f2, 4),
        writer.uint(0x42f3, 8),
        writer.element(0x4282, &[b"webm", padding].concat()),
        writer.uint(0x4287, 4),
        writer.uint(0x4285, 2),
    ];
    let before =
        [writer.master(0x1a45_dfa3, &ebml), id(0x1853_8067), sized(webm.segment, body.len())].concat();
    let shift = before.len();
    packets.iter_mut().for_each(|packet| packet.end += shift);
    boundaries.iter_mut().for_each(|at| *at += shift);
    boundaries.sort_unstable();
    boundaries.dedup();
    Recording { bytes: [before, body].concat(), header_len: header_len + shift, packets, boundaries }
}

fn sized(how: Size, bytes: usize) -> Vec<u8> {
    match how {
        Size::Known => size(bytes as u64, true),
        Size::Unknown => vec![0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        Size::Zero => vint(0, 8),
    }
}

/// What stands before the first Cluster.
fn header(recorder: &Recorder, webm: &Webm, writer: Writer) -> Vec<u8> {
    let extras = &webm.extras;
    let optional = |wanted: bool, element: Vec<u8>| if wanted { element } else { Vec::new() };
    let void = || optional(extras.void, writer.element(0xec, &[0; 60]));
    let seek = writer.master(0x4dbb, &[writer.element(0x53ab, &id(0x1654_ae6b)), writer.uint(0x53ac, 200)]);
    let crc = || optional(extras.crc_32, writer.element(0xbf, &[1, 2, 3, 4]));
    let info = [
        crc(),
        writer.uint(0x2a_d7b1, webm.scale_ns),
        writer.element(0x4489, &0_f64.to_be_bytes()),
        writer.element(0x4d80, b"recorder"),
    ];
    let mut entries: Vec<Vec<u8>> = Vec::new();
    let beside = |first| webm.beside.iter().filter(move |beside| beside.first == first);
    let head = recorder.opus_head();
    entries.extend(beside(true).map(|beside| entry_beside(beside, &head, writer)));
    entries.push(opus_entry(recorder, webm, writer));
    entries.extend(beside(false).map(|beside| entry_beside(beside, &head, writer)));
    let attachment = writer.master(
        0x61a7,
        &[writer.element(0x466e, b"cover.jpg"), writer.element(0x465c, &vec![0xd8; extras.attachment_bytes])],
    );
    [
        optional(extras.seek_head, writer.element(0x114d_9b74, &seek)),
        void(),
        optional(extras.unknown, writer.element(UNKNOWN_IDS[0], b"vendor")),
        writer.master(0x1549_a966, &info),
        writer.master(0x1654_ae6b, &[crc(), entries.concat()]),
        optional(extras.tags, writer.element(0x1254_c367, &writer.element(0x7373, &[]))),
        optional(extras.attachment_bytes > 0, writer.element(0x1941_a469, &attachment)),
    ]
    .concat()
}

fn opus_entry(recorder: &Recorder, webm: &Webm, writer: Writer) -> Vec<u8> {
    let padding = if webm.extras.padded_strings { "\0" } else { "" };
    let delay_ns = u64::from(recorder.pre_skip) * 1_000_000 / 48;
    let audio = [
        writer.element(0xb5, &48_000_f32.to_be_bytes()),
        writer.uint(0x9f, recorder.channels.into()),
        writer.uint(0x6264, 32),
    ];
    let mut fields = vec![
        writer.uint(0xd7, webm.track),
        writer.uint(0x73c5, webm.uid),
        writer.uint(0x83, 2),
        writer.element(0x86, format!("{}{padding}", webm.codec).as_bytes()),
        writer.element(0x63a2, &recorder.opus_head()),
        writer.master(0xe1, &audio),
    ];
    if webm.extras.codec_delay {
        fields.extend([writer.uint(0x56aa, delay_ns), writer.uint(0x56bb, 80_000_000)]);
    }
    if webm.extras.unknown {
        fields.push(writer.element(UNKNOWN_IDS[1], b"?"));
    }
    writer.master(0xae, &fields)
}

fn entry_beside(beside: &Beside, opus_head: &[u8], writer: Writer) -> Vec<u8> {
    let kind = match beside.codec.as_bytes()[0] {
        b'V' => 1,
        b'A' => 2,
        _ => 0x11, // subtitles
    };
    let mut fields = vec![
        writer.uint(0xd7, beside.number),
        writer.uint(0x73c5, beside.number + 1_000),
        writer.uint(0x83, kind),
        writer.element(0x86, beside.codec.as_bytes()),
    ];
    if beside.codec == "A_OPUS" {
        fields.push(writer.element(0x63a2, opus_head));
    }
    if kind == 1 {
        fields.push(writer.master(0xe0, &[writer.uint(0xb0, 64), writer.uint(0xba, 48)]));
    }
    writer.master(0xae, &fields)
}

/// Packets by blocks, with each block's time in ticks.
fn groups<'a>(recorder: &Recorder, webm: &Webm, packets: &'a [Vec<u8>]) -> Vec<Group<'a>> {
    let per_block = if webm.lacing == Lacing::None { 1 } else { webm.per_block.clamp(1, 256) };
    let (mut at_us, mut noise, mut latest) = (webm.first_us, Noise(7), -1);
    let mut groups = Vec::new();
    for packets in packets.chunks(per_block) {
        let jitter = noise.below(2 * webm.jitter_us + 1) as i64 - webm.jitter_us as i64;
        let early_us = if at_us == webm.first_us { at_us } else { at_us.saturating_add_signed(jitter) };
        let ticks = (early_us as i64 * 1_000 / webm.scale_ns as i64).max(latest);
        let us = packets.iter().map(|packet| webm.packet_us.unwrap_or_else(|| us_of(packet))).sum();
        groups.push(Group { packets, us, ticks, padding_us: 0 });
        (at_us, latest) = (at_us + us, ticks);
    }
    if let Some(last) = groups.last_mut() {
        last.padding_us = recorder.padding_us.min(last.packets.last().map_or(0, |packet| us_of(packet)));
    }
    groups
}

fn write_cluster(
    webm: &Webm,
    writer: Writer,
    groups: &[Group<'_>],
    body: &mut Vec<u8>,
    written: &mut Vec<Written>,
    boundaries: &mut Vec<usize>,
) {
    let extras = &webm.extras;
    let start = groups[0].ticks.max(0);
    let mut content = Vec::new();
    if extras.crc_32 {
        content.extend(writer.element(0xbf, &[5, 6, 7, 8]));
    }
    content.extend(writer.uint(0xe7, start as u64));
    if extras.position {
        content.extend(writer.uint(0xa7, body.len() as u64));
    }
    if extras.prev_size {
        content.extend(writer.uint(0xab, 77));
    }
    let (mut ends, first) = (Vec::new(), written.len());
    for (n, group) in groups.iter().enumerate() {
        for beside in &webm.beside {
            let frame =
                [&size(beside.number, false)[..], &[0, n as u8, 0x80], &vec![0xfb; beside.block_bytes]];
            content.extend(writer.element(0xa3, &frame.concat()));
        }
        content.extend(block(webm, writer, group, n, group.ticks - start));
        if n % 3 == 1 {
            content.extend(idle(extras, writer));
        }
        ends.push(content.len());
        let mut time_ns = group.ticks * webm.scale_ns as i64;
        for (k, data) in group.packets.iter().enumerate() {
            let us = us_of(data);
            let last = k + 1 == group.packets.len();
            let padding_us = if last { group.padding_us.min(us) } else { 0 };
            written.push(Written { data: data.clone(), time_ns, us, padding_us, end: content.len() });
            time_ns += us as i64 * 1_000;
        }
    }
    body.extend(id(CLUSTER));
    body.extend(sized(webm.cluster, content.len()));
    let shift = body.len();
    written[first..].iter_mut().for_each(|packet| packet.end += shift);
    boundaries.extend(ends.into_iter().map(|end| end + shift));
    body.extend(content);
}

/// Elements between blocks.
fn idle(extras: &Extras, writer: Writer) -> Vec<u8> {
    let mut idle = Vec::new();
    if extras.void {
        idle.extend(writer.element(0xec, &[0; 9]));
    }
    if extras.unknown {
        idle.extend(writer.element(UNKNOWN_IDS[0], b"abc"));
        idle.extend(writer.element(UNKNOWN_IDS[1], &[0xa3; 300]));
    }
    if extras.encrypted_block {
        idle.extend(writer.element(0xaf, &[0x5a; 50]));
    }
    idle
}

fn block(webm: &Webm, writer: Writer, group: &Group<'_>, n: usize, relative: i64) -> Vec<u8> {
    let (lacing, body) = lace(webm.lacing, group.packets);
    let in_group = match webm.blocks {
        Blocks::Simple => group.padding_us > 0,
        Blocks::Group => true,
        Blocks::Mixed => n.is_multiple_of(2) || group.padding_us > 0,
    };
    let key_frame = if webm.key_frames && !in_group { 0x80 } else { 0 };
    let relative = (relative as i16).to_be_bytes();
    let content = [&size(webm.track, false)[..], &relative, &[key_frame | lacing], &body].concat();
    if !in_group {
        return writer.element(0xa3, &content);
    }
    let ticks = (group.us - group.padding_us) * 1_000 / webm.scale_ns;
    let mut children = vec![writer.element(0xa1, &content), writer.uint(0x9b, ticks)];
    if group.padding_us > 0 {
        children.push(writer.int(0x75a2, (group.padding_us * 1_000) as i32));
    }
    writer.master(0xa0, &children)
}

/// The flags and the content of a block (RFC 9559 section 10.3).
fn lace(lacing: Lacing, packets: &[Vec<u8>]) -> (u8, Vec<u8>) {
    let sizes: Vec<usize> = packets.iter().map(Vec::len).collect();
    let (body, count) = (packets.concat(), vec![(packets.len() - 1) as u8]);
    let first = &sizes[..sizes.len() - 1];
    match lacing {
        Lacing::None => (0, body),
        Lacing::Fixed if sizes.iter().all(|size| *size == sizes[0]) => (0x04, [count, body].concat()),
        Lacing::Xiph | Lacing::Fixed => {
            let length = |size: &usize| {
                std::iter::repeat_n(255, size / 255).chain([(size % 255) as u8]).collect::<Vec<u8>>()
            };
            (0x02, [count, first.iter().flat_map(length).collect(), body].concat())
        }
        Lacing::Ebml => {
            let difference = |n: usize| match n {
                0 => size(sizes[0] as u64, false),
                n => vint((sizes[n] as i64 - sizes[n - 1] as i64 + 8_191) as u64, 2),
            };
            (0x06, [count, (0..first.len()).flat_map(difference).collect(), body].concat())
        }
    }
}
