//! A WebM writer of every shape that RFC 9559 allows a recorder, so that the demuxer meets more than browsers write.

use proptest::prelude::*;

/// How a file is built around its packets.
#[derive(Clone, Debug)]
pub struct Shape {
    pub unknown_segment: bool,
    pub unknown_clusters: bool,
    /// 0 none, 1 Xiph, 2 fixed size, 3 EBML.
    pub lacing: u8,
    /// Packets in a laced block.
    pub per_block: usize,
    pub blocks_per_cluster: usize,
    pub block_groups: bool,
    pub track: u64,
    pub beside: Option<u64>,
    /// Elements that carry no audio, wherever they may stand.
    pub extras: bool,
    pub scale_ns: u64,
}

pub const PLAIN: Shape = Shape {
    unknown_segment: true,
    unknown_clusters: true,
    lacing: 0,
    per_block: 1,
    blocks_per_cluster: 5,
    block_groups: false,
    track: 1,
    beside: None,
    extras: false,
    scale_ns: 1_000_000,
};

pub fn shapes() -> impl Strategy<Value = Shape> {
    let tracks = (prop_oneof![1..127_u64, 128..16_000_u64], proptest::option::of(20_000..30_000_u64));
    let sizes = (any::<bool>(), any::<bool>());
    let blocks = (0..4_u8, 1..9_usize, 1..8_usize, any::<bool>());
    let rest = (any::<bool>(), prop_oneof![Just(1_000_000_u64), Just(100_000), Just(20_000_000)]);
    (sizes, blocks, tracks, rest).prop_map(|(sizes, blocks, tracks, rest)| Shape {
        unknown_segment: sizes.0,
        unknown_clusters: sizes.1,
        lacing: blocks.0,
        per_block: if blocks.0 == 0 { 1 } else { blocks.1 },
        blocks_per_cluster: blocks.2,
        block_groups: blocks.3,
        track: tracks.0,
        beside: tracks.1,
        extras: rest.0,
        scale_ns: rest.1,
    })
}

/// Well-formed 20 ms packets (CELT fullband, code 0).
pub fn packets(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let packet =
        proptest::collection::vec(any::<u8>(), 0..700).prop_map(|frame| [vec![0xf8], frame].concat());
    proptest::collection::vec(packet, count)
}

fn vint(value: u64, len: usize) -> Vec<u8> {
    let marked = value | 1 << (7 * len);
    marked.to_be_bytes()[8 - len..].to_vec()
}

fn shortest_vint(value: u64) -> Vec<u8> {
    vint(value, (1..=8).find(|len| value < (1 << (7 * len)) - 1).unwrap())
}

pub fn element(id: u32, content: &[u8]) -> Vec<u8> {
    let id: Vec<u8> = id.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect();
    [id, shortest_vint(content.len() as u64), content.to_vec()].concat()
}

fn unknown(id: u32, content: &[u8]) -> Vec<u8> {
    [&id.to_be_bytes()[..], &[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], content].concat()
}

pub fn uint(id: u32, value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

pub fn ebml_header() -> Vec<u8> {
    let fields =
        [uint(0x4286, 1), uint(0x42f7, 1), uint(0x42f2, 4), uint(0x42f3, 8), element(0x4282, b"webm")];
    element(0x1a45_dfa3, &fields.concat())
}

pub fn tracks(shape: &Shape) -> Vec<u8> {
    let entry = |number, kind, codec: &[u8]| {
        let fields = [uint(0xd7, number), uint(0x73c5, 99), uint(0x83, kind), element(0x86, codec)];
        element(0xae, &fields.concat())
    };
    let beside = shape.beside.map(|number| entry(number, 1, b"V_VP9")).unwrap_or_default();
    element(0x1654_ae6b, &[beside, entry(shape.track, 2, b"A_OPUS")].concat())
}

/// The ticks at which each block begins: packets are 20 ms, whatever a tick is.
fn ticks(block: usize, shape: &Shape) -> u64 {
    (block * shape.per_block) as u64 * 20_000_000 / shape.scale_ns
}

fn lace(frames: &[Vec<u8>], shape: &Shape) -> (u8, Vec<u8>) {
    let sizes: Vec<usize> = frames.iter().map(Vec::len).collect();
    let even = sizes.iter().all(|size| *size == sizes[0]);
    let count = vec![(frames.len() - 1) as u8];
    let body = frames.concat();
    match shape.lacing {
        0 => (0, body),
        2 if even => (0x04, [count, body].concat()),
        1 | 2 => {
            let lengths = sizes[..sizes.len() - 1].iter().flat_map(|size| {
                std::iter::repeat_n(255, size / 255).chain([(size % 255) as u8]).collect::<Vec<u8>>()
            });
            (0x02, [count, lengths.collect(), body].concat())
        }
        _ => {
            let mut lengths = Vec::new();
            for (n, size) in sizes[..sizes.len() - 1].iter().enumerate() {
                match n {
                    0 => lengths.extend(shortest_vint(*size as u64)),
                    _ => lengths.extend(vint((*size as i64 - sizes[n - 1] as i64 + 8191) as u64, 2)),
                }
            }
            (0x06, [count, lengths, body].concat())
        }
    }
}

fn block(frames: &[Vec<u8>], relative: i16, shape: &Shape) -> Vec<u8> {
    let (flags, body) = lace(frames, shape);
    let content = [&shortest_vint(shape.track)[..], &relative.to_be_bytes(), &[flags], &body].concat();
    let beside = match shape.beside {
        Some(track) => element(0xa3, &[&shortest_vint(track)[..], &[0, 0, 0x80, 1, 2, 3]].concat()),
        None => Vec::new(),
    };
    let block = match shape.block_groups {
        true => element(0xa0, &[element(0xa1, &content), uint(0x9b, 20), uint(0xfb, 0)].concat()),
        false => element(0xa3, &content),
    };
    [beside, block].concat()
}

/// The file of some packets in this shape, with the start of its every Cluster.
pub fn build(packets: &[Vec<u8>], shape: &Shape) -> (Vec<u8>, Vec<usize>) {
    let void = element(0xec, &[0; 40]);
    let extra = |bytes: Vec<u8>| if shape.extras { bytes } else { Vec::new() };
    let mut body = [
        extra(element(0x114d_9b74, &element(0x4dbb, &[]))),
        extra(void.clone()),
        element(0x1549_a966, &[uint(0x2a_d7b1, shape.scale_ns), element(0x4489, &[0; 8])].concat()),
        tracks(shape),
        extra(element(0x1254_c367, &[])),
    ]
    .concat();
    let mut clusters = Vec::new();
    let blocks: Vec<&[Vec<u8>]> = packets.chunks(shape.per_block).collect();
    for (n, group) in blocks.chunks(shape.blocks_per_cluster).enumerate() {
        let first = n * shape.blocks_per_cluster;
        let start = ticks(first, shape);
        let mut content = [
            extra(element(0xbf, &[1, 2, 3, 4])),
            uint(0xe7, start),
            extra([uint(0xa7, 0), uint(0xab, 77), void.clone()].concat()),
        ]
        .concat();
        for (k, frames) in group.iter().enumerate() {
            let relative = (ticks(first + k, shape) - start) as i16;
            content.extend(block(frames, relative, shape));
        }
        clusters.push(body.len());
        let cluster = if shape.unknown_clusters { unknown } else { element };
        body.extend(cluster(0x1f43_b675, &content));
    }
    body.extend(extra(element(0x1c53_bb6b, &element(0xbb, &[]))));
    let segment = if shape.unknown_segment { unknown } else { element };
    let file = [ebml_header(), segment(0x1853_8067, &body)].concat();
    let offset = file.len() - body.len();
    (file, clusters.into_iter().map(|at| at + offset).collect())
}
