use crate::mkv::{
    self, audio, cluster, ebml, header_of, info, simple_block, sized_cluster, tags, uint, with, without,
    written,
};
use crate::mkv::{cluster_of, text, timestamp, track, tracks};
use crate::{T0_MS, body, both_ways, completed};
use kvs_emulator::FragmentRules;
use kvs_emulator::rules::ack::ErrorId::{self, *};
use kvs_emulator::rules::ebml::{Node, write_element};
use kvs_emulator::rules::schema::*;

/// What it is, the body, its error, and words that the reason must have.
type Case = (&'static str, Vec<u8>, ErrorId, &'static str);

fn after_header(rest: Vec<u8>) -> Vec<u8> {
    [mkv::header(), rest].concat()
}

fn good() -> Vec<u8> {
    cluster(T0_MS, 20)
}

/// A good Cluster behind a header of these elements.
fn behind(elements: &[Node]) -> Vec<u8> {
    [header_of(elements), good()].concat()
}

/// A good Cluster whose one track is this.
fn on(entry: Node) -> Vec<u8> {
    [tracks(vec![entry]), good()].concat()
}

fn audio_without(id: u32) -> Node {
    with(track(1), without(audio(), id))
}

/// Two frames this far apart, the later one without a sample.
fn long_cluster(length_ms: i16) -> Vec<u8> {
    cluster_of(&[timestamp(T0_MS), simple_block(1, 0, &[0; 32]), simple_block(1, length_ms, &[])])
}

fn documents() -> Vec<Case> {
    let webm = written(ebml("webm"));
    let no_ebml = mkv::header()[written(ebml("matroska")).len()..].to_vec();
    let twice = [body(&[good()]), written(ebml("matroska"))].concat();
    let second = [body(&[good()]), vec![0x18, 0x53, 0x80, 0x67, 0xFF]].concat();
    let outside = after_header(simple_block(1, 0, &[0; 320]));
    let unknown = after_header(written(Node::leaf(0x4DBB, vec![0])));
    let unsized_tags = after_header(vec![0x12, 0x54, 0xC3, 0x67, 0xFF]);
    let overrun = after_header(vec![0x12, 0x54, 0xC3, 0x67, 0x83, 0x73, 0x73, 0x90]);
    let cut = [body(&[good()]), simple_block(1, 0, &[0; 320])[..100].to_vec()].concat();
    let cut_sized = after_header(sized_cluster(T0_MS, 20)[..6500].to_vec());
    vec![
        (
            "not Matroska",
            b"RIFF----WAVE".to_vec(),
            InvalidMkvData,
            "none that the service is known to accept",
        ),
        ("zero bytes", vec![0; 16], InvalidMkvData, "starts no element ID"),
        ("no EBML header", no_ebml, InvalidMkvData, "EBML"),
        ("WebM", webm, InvalidMkvData, "DocType is \"webm\""),
        ("a second EBML header", twice, InvalidMkvData, "EBML header comes twice"),
        ("a second Segment", second, InvalidMkvData, "Segment comes twice"),
        ("a block outside", outside, InvalidMkvData, "SimpleBlock may not stand inside Segment"),
        ("an element of no document", unknown, InvalidMkvData, "0x4dbb"),
        ("Tags of unknown size", unsized_tags, InvalidMkvData, "Tags must state its size"),
        ("a child larger than its parent", overrun, InvalidMkvData, "Tag ends after its parent Tags"),
        ("a body that ends in a block", cut, InvalidMkvData, "in the middle of Cluster"),
        ("a body that ends in a sized Cluster", cut_sized, InvalidMkvData, "in the middle of Cluster"),
    ]
}

fn headers() -> Vec<Case> {
    let one_track = || Node::master(TRACKS, vec![track(1)]);
    let no_scale = with(info(), uint(TIMESTAMP_SCALE, 0));
    let two_tracks = after_header(written(Node::master(TRACKS, vec![track(2)])));
    let late_tracks = [body(&[good()]), written(Node::master(TRACKS, vec![track(2)]))].concat();
    let four = [tracks((1..=4).map(track).collect()), good()].concat();
    let same = [tracks(vec![track(1), track(1)]), good()].concat();
    vec![
        ("no Info", behind(&[one_track()]), InvalidMkvData, "Info is missing"),
        ("no Tracks", behind(&[info()]), InvalidMkvData, "Tracks is missing"),
        ("two Tracks", two_tracks, InvalidMkvData, "Tracks comes twice"),
        ("Tracks after a Cluster", late_tracks, InvalidMkvData, "Tracks comes twice"),
        ("no track", behind(&[info(), Node::leaf(TRACKS, vec![])]), InvalidMkvData, "declares no track"),
        ("four tracks", four, MoreThanAllowedTracksFound, "4 tracks"),
        ("one number twice", same, InvalidMkvData, "declared twice"),
        ("track without number", on(without(track(1), TRACK_NUMBER)), InvalidMkvData, "TrackNumber"),
        ("track without UID", on(without(track(1), TRACK_UID)), InvalidMkvData, "TrackUID"),
        ("track without type", on(without(track(1), TRACK_TYPE)), InvalidMkvData, "TrackType"),
        ("track without codec", on(without(track(1), CODEC_ID)), InvalidMkvData, "CodecID"),
        ("PCM without Audio", on(without(track(1), AUDIO)), InvalidMkvData, "Audio"),
        ("PCM without rate", on(audio_without(SAMPLING_FREQUENCY)), InvalidMkvData, "SamplingFrequency"),
        ("PCM without channels", on(audio_without(CHANNELS)), InvalidMkvData, "Channels"),
        ("PCM without depth", on(audio_without(BIT_DEPTH)), InvalidMkvData, "BitDepth"),
        ("TimestampScale of 0", behind(&[no_scale, one_track()]), InvalidMkvData, "TimestampScale is 0"),
    ]
}

fn clusters() -> Vec<Case> {
    let at = || timestamp(T0_MS);
    let block = || simple_block(1, 0, &[0; 320]);
    let in_cluster = |inner: &[Vec<u8>]| after_header(cluster_of(inner));
    let mut laced = Vec::new();
    write_element(SIMPLE_BLOCK, &[vec![0x81, 0, 0, 0x82], vec![0; 32]].concat(), &mut laced);
    let empty_group = written(Node::leaf(BLOCK_GROUP, vec![]));
    let short = vec![0xA3, 0x82, 0x81, 0];
    let undeclared = in_cluster(&[at(), simple_block(2, 0, &[0; 32])]);
    let silent = [tracks(vec![track(1), track(2)]), good()].concat();
    let huge = in_cluster(&[at(), vec![0xA3, 0x13, 0, 0, 0]]);
    vec![
        ("a BlockGroup without Block", in_cluster(&[at(), empty_group]), InvalidMkvData, "without Block"),
        ("a block before the time", in_cluster(&[block()]), InvalidMkvData, "before its Cluster's Timestamp"),
        ("two times", in_cluster(&[at(), at()]), InvalidMkvData, "two Timestamps"),
        ("no time", in_cluster(&[]), InvalidMkvData, "Cluster without Timestamp"),
        ("no block", in_cluster(&[at()]), InvalidMkvData, "without blocks"),
        ("a laced block", in_cluster(&[at(), laced]), InvalidMkvData, "laced"),
        ("half a block header", in_cluster(&[at(), short]), InvalidMkvData, "no whole header"),
        ("an undeclared track", undeclared, TrackNumberMismatch, "track 2"),
        ("a silent track", silent, FramesMissingForTrack, "track 2"),
        ("over 20 s", after_header(long_cluster(20_001)), MaxFragmentDurationReached, "ms, at most 20000"),
        ("a block over 50 MB", huge, MaxFragmentSizeReached, "50331648 bytes"),
    ]
}

fn metadata() -> Vec<Case> {
    let eleven: Vec<(String, String)> = (0..11).map(|i| (format!("k{i}"), "v".to_owned())).collect();
    let eleven: Vec<(&str, &str)> = eleven.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let long = "x".repeat(257);
    let tagged = |pairs: &[(&str, &str)]| after_header([tags(pairs), good()].concat());
    let around = after_header([tags(&eleven[..6]), good(), tags(&eleven[6..])].concat());
    let late = after_header([tags(&eleven[..6]), sized_cluster(T0_MS, 20), tags(&eleven[6..])].concat());
    let muxer = with_targets(Node::leaf(TARGETS, vec![]), &[("AWS_X", "1")]);
    let cues = written(Node::leaf(0x1C53_BB6B, vec![0; 200_000]));
    let padded = after_header([good(), cues.clone(), cues].concat());
    let id = FragmentMetadataLimitReached;
    vec![
        ("eleven tags", tagged(&eleven), id, "more than 10 tags"),
        ("eleven tags, before and after", around, id, "more than 10 tags"),
        ("eleven tags, the last five after a Cluster of known size", late, id, "more than 10 tags"),
        ("a tag of the service", tagged(&[("AWS_X", "1")]), id, "AWS_X"),
        ("a muxer's tag of the service", after_header([muxer, good()].concat()), id, "AWS_X"),
        ("a nameless tag", tagged(&[("", "1")]), id, "name of 0 bytes"),
        ("a long tag name", tagged(&[(&long[..129], "1")]), id, "129 bytes"),
        ("a long tag value", tagged(&[("k", &long)]), id, "257 bytes"),
        ("400 kB behind a Cluster", padded, InvalidMkvData, "bytes behind a Cluster"),
    ]
}

/// Tags as muxers write them.
fn with_targets(targets: Node, pairs: &[(&str, &str)]) -> Vec<u8> {
    let simple = |(name, value): &(&str, &str)| {
        Node::master(SIMPLE_TAG, vec![text(TAG_NAME, name), text(TAG_STRING, value)])
    };
    let children = [targets].into_iter().chain(pairs.iter().map(simple)).collect();
    written(Node::master(TAGS, vec![Node::master(TAG, children)]))
}

#[test]
fn every_way_to_be_wrong_has_its_error_and_says_why() {
    for (what, body, id, culprit) in [documents(), headers(), clusters(), metadata()].concat() {
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
    let both = cluster_of(&[timestamp(T0_MS), simple_block(1, 0, &[0; 32]), simple_block(2, 40, &[0; 32])]);
    let cases: Vec<(&str, Vec<u8>, usize)> = vec![
        ("nothing but a header", mkv::header(), 0),
        ("an empty body", vec![], 0),
        ("Clusters of unknown size", body(&[cluster(T0_MS, 20), cluster(T0_MS + 2000, 20)]), 2),
        ("Clusters of known size", body(&[sized_cluster(T0_MS, 20), sized_cluster(T0_MS + 2000, 20)]), 2),
        ("one of each", body(&[sized_cluster(T0_MS, 20), cluster(T0_MS + 2000, 20)]), 2),
        ("ten long tags", after_header([tags(&limits), cluster(T0_MS, 20)].concat()), 1),
        ("20 s", body(&[long_cluster(20_000)]), 1),
        ("audio and video", [tracks(vec![track(1), video]), both].concat(), 1),
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
    let open = [0x18, 0x53, 0x80, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
    let opening = &completed(&steps)[0].opening;
    assert!(
        opening.windows(12).any(|window| window == open),
        "readers get a Segment whose size is not that of the producer's whole body"
    );
}

#[test]
fn the_minimum_duration_is_refused_only_where_it_is_enforced() {
    let rules = FragmentRules { enforce_min_duration: true, ..FragmentRules::default() };
    let (_, short) = both_ways(&rules, &body(&[cluster(T0_MS, 9)]));
    assert_eq!(short.unwrap_err().id, MinFragmentDurationReached);
    assert_eq!(both_ways(&rules, &body(&[cluster(T0_MS, 10)])).1, Ok(()), "1 s of PCM is enough");
}
