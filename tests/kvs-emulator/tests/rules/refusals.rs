use crate::mkv::{
    self, audio, cluster, ebml, header_of, info, simple_block, sized_cluster, tags, text, track, uint,
};
use crate::{T0_MS, body, both_ways, completed};
use kvs_emulator::rules::ack::ErrorId::{self, *};
use kvs_emulator::rules::ebml::{Node, write_element, write_id, write_unknown_size};
use kvs_emulator::rules::schema::*;
use kvs_emulator::{Elements, FragmentRules};

fn tracks(entries: Vec<Node>) -> Vec<u8> {
    header_of(&[info(), Node::master(TRACKS, entries)])
}

fn without(mut entry: Node, id: u32) -> Node {
    entry.children.retain(|child| child.id != id);
    entry
}

fn with(mut entry: Node, node: Node) -> Node {
    entry.children.retain(|child| child.id != node.id);
    entry.children.push(node);
    entry
}

fn audio_without(id: u32) -> Node {
    with(track(1), without(audio(), id))
}

fn whole(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

fn written(node: Node) -> Vec<u8> {
    let mut out = Vec::new();
    node.write(&mut out);
    out
}

/// A Cluster with this inside.
fn cluster_of(inner: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    write_id(CLUSTER, &mut out);
    write_unknown_size(&mut out);
    out.extend(inner.concat());
    out
}

/// Two frames this far apart, the later one without a sample.
fn long_cluster(length_ms: i16) -> Vec<u8> {
    cluster_of(&[timestamp(), simple_block(1, 0, &[0; 32]), simple_block(1, length_ms, &[])])
}

fn timestamp() -> Vec<u8> {
    written(uint(TIMESTAMP, T0_MS))
}

#[test]
fn every_way_to_be_wrong_has_its_error_and_says_why() {
    let good = cluster(T0_MS, 20);
    let block = simple_block(1, 0, &[0; 320]);
    let eleven: Vec<(String, String)> = (0..11).map(|i| (format!("k{i}"), "v".to_owned())).collect();
    let eleven: Vec<(&str, &str)> = eleven.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let long = "x".repeat(257);
    let laced = {
        let mut payload = vec![0x81, 0, 0, 0x82];
        payload.extend([0; 32]);
        let mut out = Vec::new();
        write_element(SIMPLE_BLOCK, &payload, &mut out);
        out
    };
    let cases: Vec<(&str, Vec<u8>, ErrorId, &str)> = vec![
        (
            "not Matroska",
            b"RIFF----WAVE".to_vec(),
            InvalidMkvData,
            "none that the service is known to accept",
        ),
        ("zero bytes", vec![0; 16], InvalidMkvData, "starts no element ID"),
        (
            "no EBML header",
            mkv::header()[whole(&[written(ebml("matroska"))]).len()..].to_vec(),
            InvalidMkvData,
            "EBML",
        ),
        ("WebM", whole(&[written(ebml("webm"))]), InvalidMkvData, "DocType is \"webm\""),
        (
            "a second EBML header",
            whole(&[body(std::slice::from_ref(&good)), written(ebml("matroska"))]),
            InvalidMkvData,
            "EBML header comes twice",
        ),
        (
            "a second Segment",
            whole(&[body(std::slice::from_ref(&good)), vec![0x18, 0x53, 0x80, 0x67, 0xFF]]),
            InvalidMkvData,
            "Segment comes twice",
        ),
        (
            "no Info",
            header_of(&[Node::master(TRACKS, vec![track(1)])]).into_iter().chain(good.clone()).collect(),
            InvalidMkvData,
            "Info is missing",
        ),
        (
            "no Tracks",
            header_of(&[info()]).into_iter().chain(good.clone()).collect(),
            InvalidMkvData,
            "Tracks is missing",
        ),
        (
            "two Tracks",
            whole(&[mkv::header(), written(Node::master(TRACKS, vec![track(2)]))]),
            InvalidMkvData,
            "Tracks comes twice",
        ),
        (
            "Tracks after a Cluster",
            whole(&[body(std::slice::from_ref(&good)), written(Node::master(TRACKS, vec![track(2)]))]),
            InvalidMkvData,
            "Tracks comes twice",
        ),
        (
            "no track",
            whole(&[
                tracks(vec![without(track(1), 0)]).into_iter().take(0).collect(),
                header_of(&[info(), Node::leaf(TRACKS, vec![])]),
                good.clone(),
            ]),
            InvalidMkvData,
            "declares no track",
        ),
        (
            "four tracks",
            whole(&[tracks((1..=4).map(track).collect()), good.clone()]),
            MoreThanAllowedTracksFound,
            "4 tracks",
        ),
        (
            "one number twice",
            whole(&[tracks(vec![track(1), track(1)]), good.clone()]),
            InvalidMkvData,
            "declared twice",
        ),
        (
            "track without number",
            whole(&[tracks(vec![without(track(1), TRACK_NUMBER)]), good.clone()]),
            InvalidMkvData,
            "TrackNumber",
        ),
        (
            "track without UID",
            whole(&[tracks(vec![without(track(1), TRACK_UID)]), good.clone()]),
            InvalidMkvData,
            "TrackUID",
        ),
        (
            "track without type",
            whole(&[tracks(vec![without(track(1), TRACK_TYPE)]), good.clone()]),
            InvalidMkvData,
            "TrackType",
        ),
        (
            "track without codec",
            whole(&[tracks(vec![without(track(1), CODEC_ID)]), good.clone()]),
            InvalidMkvData,
            "CodecID",
        ),
        (
            "PCM without Audio",
            whole(&[tracks(vec![without(track(1), AUDIO)]), good.clone()]),
            InvalidMkvData,
            "Audio",
        ),
        (
            "PCM without rate",
            whole(&[tracks(vec![audio_without(SAMPLING_FREQUENCY)]), good.clone()]),
            InvalidMkvData,
            "SamplingFrequency",
        ),
        (
            "PCM without channels",
            whole(&[tracks(vec![audio_without(CHANNELS)]), good.clone()]),
            InvalidMkvData,
            "Channels",
        ),
        (
            "PCM without depth",
            whole(&[tracks(vec![audio_without(BIT_DEPTH)]), good.clone()]),
            InvalidMkvData,
            "BitDepth",
        ),
        (
            "TimestampScale of 0",
            whole(&[
                header_of(&[with(info(), uint(TIMESTAMP_SCALE, 0)), Node::master(TRACKS, vec![track(1)])]),
                good.clone(),
            ]),
            InvalidMkvData,
            "TimestampScale is 0",
        ),
        (
            "an element no producer writes",
            whole(&[mkv::header(), written(Node::leaf(0x1C53_BB6B, vec![0]))]),
            InvalidMkvData,
            "0x1c53bb6b",
        ),
        (
            "BlockGroup",
            whole(&[mkv::header(), cluster_of(&[timestamp(), written(Node::leaf(BLOCK_GROUP, vec![]))])]),
            InvalidMkvData,
            "0xa0",
        ),
        (
            "a block outside",
            whole(&[mkv::header(), block.clone()]),
            InvalidMkvData,
            "SimpleBlock may not stand inside Segment",
        ),
        (
            "a block before the time",
            whole(&[mkv::header(), cluster_of(std::slice::from_ref(&block))]),
            InvalidMkvData,
            "before its Cluster's Timestamp",
        ),
        (
            "two times",
            whole(&[mkv::header(), cluster_of(&[timestamp(), timestamp()])]),
            InvalidMkvData,
            "two Timestamps",
        ),
        ("no time", whole(&[mkv::header(), cluster_of(&[])]), InvalidMkvData, "Cluster without Timestamp"),
        ("no block", whole(&[mkv::header(), cluster_of(&[timestamp()])]), InvalidMkvData, "without blocks"),
        (
            "a laced block",
            whole(&[mkv::header(), cluster_of(&[timestamp(), laced])]),
            InvalidMkvData,
            "laced",
        ),
        (
            "half a block header",
            whole(&[mkv::header(), cluster_of(&[timestamp(), vec![0xA3, 0x82, 0x81, 0]])]),
            InvalidMkvData,
            "no whole header",
        ),
        (
            "a body that ends in a block",
            whole(&[body(std::slice::from_ref(&good)), block[..100].to_vec()]),
            InvalidMkvData,
            "in the middle of Cluster",
        ),
        (
            "a body that ends in a sized Cluster",
            whole(&[mkv::header(), sized_cluster(T0_MS, 20)[..6500].to_vec()]),
            InvalidMkvData,
            "in the middle of Cluster",
        ),
        (
            "a child larger than its parent",
            whole(&[mkv::header(), vec![0x12, 0x54, 0xC3, 0x67, 0x83, 0x73, 0x73, 0x90]]),
            InvalidMkvData,
            "Tag ends after its parent Tags",
        ),
        (
            "Tags of unknown size",
            whole(&[mkv::header(), vec![0x12, 0x54, 0xC3, 0x67, 0xFF]]),
            InvalidMkvData,
            "Tags must state its size",
        ),
        (
            "an undeclared track",
            whole(&[mkv::header(), cluster_of(&[timestamp(), simple_block(2, 0, &[0; 32])])]),
            TrackNumberMismatch,
            "track 2",
        ),
        (
            "a silent track",
            whole(&[tracks(vec![track(1), track(2)]), good.clone()]),
            FramesMissingForTrack,
            "track 2",
        ),
        (
            "a fragment over 20 s",
            whole(&[mkv::header(), long_cluster(20_001)]),
            MaxFragmentDurationReached,
            "ms, at most 20000",
        ),
        (
            "a block over 50 MB",
            whole(&[mkv::header(), cluster_of(&[timestamp(), vec![0xA3, 0x13, 0, 0, 0]])]),
            MaxFragmentSizeReached,
            "50331648 bytes",
        ),
        (
            "eleven tags",
            whole(&[mkv::header(), tags(&eleven), good.clone()]),
            FragmentMetadataLimitReached,
            "more than 10 tags",
        ),
        (
            "eleven tags, before and after",
            whole(&[mkv::header(), tags(&eleven[..6]), good.clone(), tags(&eleven[6..])]),
            FragmentMetadataLimitReached,
            "11 tags",
        ),
        (
            "a tag of the service",
            whole(&[mkv::header(), tags(&[("AWS_X", "1")])]),
            FragmentMetadataLimitReached,
            "AWS_X",
        ),
        (
            "a nameless tag",
            whole(&[mkv::header(), tags(&[("", "1")])]),
            FragmentMetadataLimitReached,
            "name of 0 bytes",
        ),
        (
            "a long tag name",
            whole(&[mkv::header(), tags(&[(&long[..129], "1")])]),
            FragmentMetadataLimitReached,
            "129 bytes",
        ),
        (
            "a long tag value",
            whole(&[mkv::header(), tags(&[("k", &long)])]),
            FragmentMetadataLimitReached,
            "257 bytes",
        ),
    ];
    for (what, body, id, culprit) in cases {
        let (_, outcome) = both_ways(&FragmentRules::default(), &body);
        let refusal = outcome.expect_err(what);
        assert_eq!(refusal.id, id, "{what}: {refusal}");
        assert!(refusal.why.contains(culprit), "{what}: {:?} does not say {culprit:?}", refusal.why);
    }
}

#[test]
fn what_the_official_producers_write_is_taken() {
    let limits: Vec<(String, String)> = (0..10).map(|i| (format!("{i:0>128}"), "v".repeat(256))).collect();
    let limits: Vec<(&str, &str)> = limits.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let video = Node::master(
        TRACK_ENTRY,
        vec![
            uint(TRACK_NUMBER, 2),
            uint(TRACK_UID, 7),
            uint(TRACK_TYPE, 1),
            text(CODEC_ID, "V_MPEG4/ISO/AVC"),
        ],
    );
    let both = cluster_of(&[timestamp(), simple_block(1, 0, &[0; 32]), simple_block(2, 40, &[0; 32])]);
    let cases: Vec<(&str, Vec<u8>, usize)> = vec![
        ("nothing but a header", mkv::header(), 0),
        ("an empty body", vec![], 0),
        ("Clusters of unknown size", body(&[cluster(T0_MS, 20), cluster(T0_MS + 2000, 20)]), 2),
        ("Clusters of known size", body(&[sized_cluster(T0_MS, 20), sized_cluster(T0_MS + 2000, 20)]), 2),
        ("one of each", body(&[sized_cluster(T0_MS, 20), cluster(T0_MS + 2000, 20)]), 2),
        ("ten long tags", whole(&[mkv::header(), tags(&limits), cluster(T0_MS, 20)]), 1),
        ("20 s", body(&[long_cluster(20_000)]), 1),
        ("audio and video", whole(&[tracks(vec![track(1), video]), both]), 1),
        ("a short last fragment", body(&[cluster(T0_MS, 2)]), 1),
    ];
    for (what, body, fragments) in cases {
        let (steps, outcome) = both_ways(&FragmentRules::default(), &body);
        assert_eq!(outcome, Ok(()), "{what}");
        assert_eq!(completed(&steps).len(), fragments, "{what}");
    }
}

#[test]
fn a_segment_of_known_size_is_taken_like_an_open_one() {
    let inner =
        [written(info()), written(Node::master(TRACKS, vec![track(1)])), sized_cluster(T0_MS, 20)].concat();
    let mut body = written(ebml("matroska"));
    write_element(SEGMENT, &inner, &mut body);
    let (steps, outcome) = both_ways(&FragmentRules::default(), &body);
    assert_eq!((outcome, completed(&steps).len()), (Ok(()), 1));
}

#[test]
fn with_the_wider_whitelist_what_ffmpeg_writes_is_taken_too() {
    let rules = FragmentRules { elements: Elements::Matroska, ..FragmentRules::default() };
    let entry = with(track(1), uint(0x9C, 0));
    let group =
        Node::master(BLOCK_GROUP, vec![Node::leaf(BLOCK, vec![0x81, 0, 100, 0, 1, 2]), uint(0x9B, 100)]);
    let body = [
        header_of(&[Node::leaf(0xEC, vec![0; 9]), info(), Node::master(TRACKS, vec![entry])]),
        cluster_of(&[timestamp(), simple_block(1, 0, &[3, 4]), written(group)]),
    ]
    .concat();
    let (steps, outcome) = both_ways(&rules, &body);
    assert_eq!(outcome, Ok(()));
    let fragments = completed(&steps);
    assert_eq!((fragments[0].blocks.len(), fragments[0].length_ms), (2, 200), "BlockDuration counts");
    assert!(both_ways(&FragmentRules::default(), &body).1.is_err(), "the strict list refuses the same body");
}

#[test]
fn the_minimum_duration_is_refused_only_where_it_is_enforced() {
    let rules = FragmentRules { enforce_min_duration: true, ..FragmentRules::default() };
    let (_, short) = both_ways(&rules, &body(&[cluster(T0_MS, 9)]));
    assert_eq!(short.unwrap_err().id, MinFragmentDurationReached);
    assert_eq!(both_ways(&rules, &body(&[cluster(T0_MS, 10)])).1, Ok(()), "1 s of PCM is enough");
}
