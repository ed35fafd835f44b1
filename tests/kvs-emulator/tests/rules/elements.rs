//! What muxers write is taken and kept as it came, and tags belong to the fragment before them.

use crate::mkv::{
    self, cluster, cluster_of, header_of, info, simple_block, sized_cluster, tags, text, timestamp, track,
    uint, with, written,
};
use crate::{T0_MS, body, both_ways, completed};
use kvs_emulator::rules::ack::ErrorId::InvalidMkvData;
use kvs_emulator::rules::ebml::{Node, write_element};
use kvs_emulator::rules::fragment::{Fragment, Step};
use kvs_emulator::rules::schema::*;
use kvs_emulator::{Elements, FragmentRules};

const VOID: u32 = 0xEC;
const CRC_32: u32 = 0xBF;
const SEEK_HEAD: u32 = 0x114D_9B74;
const CUES: u32 = 0x1C53_BB6B;

/// Everything of a fragment that readers get.
fn given(fragment: &Fragment) -> Vec<u8> {
    [&fragment.opening[..], &fragment.media, &fragment.behind].concat()
}

fn fragments(body: &[u8]) -> Vec<Fragment> {
    let (steps, outcome) = both_ways(&FragmentRules::default(), body);
    assert_eq!(outcome, Ok(()));
    completed(&steps).into_iter().cloned().collect()
}

/// Tags as muxers write them, about the whole file and about the track.
fn statistics() -> Vec<u8> {
    let simple = |name: &str, value: &str| {
        Node::master(SIMPLE_TAG, vec![text(TAG_NAME, name), text(TAG_STRING, value)])
    };
    let mut of_file = vec![Node::leaf(TARGETS, vec![])];
    of_file.extend((0..12).map(|i| simple(&format!("FACT_{i}"), "value")));
    let of_track = vec![Node::master(TARGETS, vec![uint(0x63C5, 101)]), simple("DURATION", "00:00:04.0\0\0")];
    let crc = Node::leaf(CRC_32, vec![1, 2, 3, 4]);
    written(Node::master(TAGS, vec![crc, Node::master(TAG, of_file), Node::master(TAG, of_track)]))
}

/// The header of a muxer with a mind of its own.
fn muxed_header() -> Vec<u8> {
    let info =
        with(with(info(), Node::leaf(0x4489, 4000f64.to_be_bytes().to_vec())), text(0x3E_83BB, "next.mkv"));
    let info = with(with(info, Node::leaf(0x3E_B923, vec![7; 16])), Node::leaf(0x4461, vec![1; 8]));
    let mut entry = track(1);
    for (id, value) in [(0x9C, 0), (0x23_E383, 100_000_000), (0x55EE, 0), (0x88, 1), (0x56AA, 0)] {
        entry.children.push(uint(id, value));
    }
    entry.children.push(text(0x22_B59C, "und"));
    let video = Node::master(0xE0, vec![uint(0x54B0, 640), Node::leaf(0x55B0, vec![0x55, 0xBA, 0x81, 1])]);
    entry.children.push(video);
    let header = [
        Node::leaf(SEEK_HEAD, vec![0x4D, 0xBB, 0x80]),
        Node::leaf(VOID, vec![0; 148]),
        info,
        Node::master(TRACKS, vec![entry]),
    ];
    [header_of(&header), statistics()].concat()
}

#[test]
fn what_muxers_write_is_taken_and_given_back_as_it_came() {
    let crc = written(Node::leaf(CRC_32, vec![9; 4]));
    let group = Node::master(
        BLOCK_GROUP,
        vec![Node::leaf(BLOCK, vec![0x81, 0, 100, 0, 1, 2]), uint(BLOCK_DURATION, 100)],
    );
    let inner = [crc.clone(), timestamp(T0_MS), simple_block(1, 0, &[3, 4]), written(group), crc].concat();
    let mut first = Vec::new();
    write_element(CLUSTER, &inner, &mut first);
    let second = sized_cluster(T0_MS + 2000, 3);
    let cues = written(Node::leaf(CUES, vec![0xBB, 0x80]));
    let body = [muxed_header(), first.clone(), second.clone(), cues.clone(), statistics()].concat();
    let (steps, outcome) = both_ways(&FragmentRules::default(), &body);
    assert_eq!(outcome, Ok(()));
    let found = completed(&steps);
    assert_eq!(given(found[0]), [muxed_header(), first].concat(), "byte for byte");
    assert_eq!(given(found[1]), [muxed_header(), second].concat(), "the header again for each fragment");
    assert_eq!((found[0].blocks.len(), found[0].length_ms), (2, 200), "BlockDuration counts");
    assert_eq!((&found[0].blocks[1].data[..], found[0].blocks[1].key), (&[1, 2][..], true));
    let late: Vec<u8> = steps
        .iter()
        .flat_map(|step| if let Step::Behind(b) = step { b.raw.to_vec() } else { vec![] })
        .collect();
    assert_eq!(late, [cues, statistics()].concat(), "Cues and statistics behind the last Cluster");
    assert!(found.iter().all(|fragment| fragment.tags.is_empty()), "a muxer's tags are not the fragment's");
}

#[test]
fn with_the_strict_list_only_what_the_official_producers_write_is_taken() {
    let rules = FragmentRules { elements: Elements::Generator, ..FragmentRules::default() };
    let plain = body(&[cluster(T0_MS, 2)]);
    assert_eq!(both_ways(&rules, &plain).1, Ok(()));
    let void = written(Node::leaf(VOID, vec![0; 9]));
    let group = written(Node::master(BLOCK_GROUP, vec![Node::leaf(BLOCK, vec![0x81, 0, 100, 0, 1, 2])]));
    for unusual in [
        [mkv::header(), void, cluster(T0_MS, 2)].concat(),
        [mkv::header(), cluster_of(&[timestamp(T0_MS), group])].concat(),
        [mkv::header(), statistics(), cluster(T0_MS, 2)].concat(),
    ] {
        assert_eq!(both_ways(&rules, &unusual).1.unwrap_err().id, InvalidMkvData);
        assert_eq!(both_ways(&FragmentRules::default(), &unusual).1, Ok(()));
    }
}

fn names(fragment: &Fragment) -> Vec<&str> {
    fragment.tags.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn tags_belong_to_the_fragment_before_them_and_those_before_all_to_the_first() {
    let early = tags(&[("a", "1"), ("b", "2")]);
    let header = |early: &[u8]| {
        let elements = [info(), Node::master(TRACKS, vec![track(1)])];
        let plain = header_of(&[]);
        let rest = &header_of(&elements)[plain.len()..];
        [&plain[..], early, rest].concat()
    };
    let (one, two) = (cluster(T0_MS, 2), cluster(T0_MS + 2000, 2));
    let (behind_one, behind_two) =
        ([tags(&[("c", "3")]), tags(&[("d", "4")])].concat(), tags(&[("e", "5"), ("f", "6")]));
    let body = [header(&early), one.clone(), behind_one.clone(), two.clone(), behind_two.clone()].concat();
    let found = fragments(&body);
    assert_eq!((names(&found[0]), names(&found[1])), (vec!["a", "b", "c", "d"], vec!["e", "f"]));
    assert_eq!(given(&found[0]), [header(&early), one, behind_one].concat(), "each element in its place");
    assert_eq!(given(&found[1]), [header(&[]), two, behind_two].concat(), "the first one's tags only once");
}

#[test]
fn tags_behind_a_cluster_of_known_size_are_the_fragments_although_it_has_ended() {
    let (late, end) = (tags(&[("b", "2")]), tags(&[("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")]));
    let open = [cluster(T0_MS + 2000, 2), end].concat();
    for (clusters, ended) in [(sized_cluster(T0_MS, 2), 1), ([sized_cluster(T0_MS, 2), open].concat(), 2)] {
        let body = [mkv::header(), tags(&[("a", "1")]), clusters, late.clone()].concat();
        let (steps, outcome) = both_ways(&FragmentRules::default(), &body);
        assert_eq!((outcome, completed(&steps).len()), (Ok(()), ended));
        let Some(Step::Behind(behind)) = steps.last() else { panic!("nothing came behind: {steps:?}") };
        assert_eq!((&behind.raw[..], &behind.tags), (&late[..], &vec![("b".to_owned(), "2".to_owned())]));
    }
}

#[test]
fn the_tag_that_ends_a_fragment_is_given_to_nobody() {
    let end = ("AWS_KINESISVIDEO_END_OF_FRAGMENT", "");
    let (alone, beside) = (tags(&[end]), tags(&[("a", "1"), end]));
    let found = fragments(&[body(&[cluster(T0_MS, 2)]), beside, cluster(T0_MS + 2000, 2), alone].concat());
    assert_eq!((names(&found[0]), &found[0].behind[..]), (vec!["a"], &tags(&[("a", "1")])[..]));
    assert_eq!((names(&found[1]), found[1].behind.len()), (vec![], 0));
}

#[test]
fn a_nested_tag_is_kept_and_counts_as_a_part_of_its_parent() {
    let inner = Node::master(SIMPLE_TAG, vec![text(TAG_NAME, "inner"), text(TAG_STRING, "1")]);
    let outer = Node::master(SIMPLE_TAG, vec![text(TAG_NAME, "outer"), text(TAG_STRING, "2"), inner]);
    let nested = written(Node::master(TAGS, vec![Node::master(TAG, vec![outer])]));
    let found = fragments(&[body(&[cluster(T0_MS, 2)]), nested.clone()].concat());
    assert_eq!((names(&found[0]), &found[0].behind[..]), (vec!["outer"], &nested[..]));
}

#[test]
fn a_cluster_that_is_cut_off_ends_after_its_last_whole_frame() {
    use kvs_emulator::rules::fragment::Timecodes;
    use kvs_emulator::rules::put_call::PutCall;
    let sized = sized_cluster(T0_MS, 3);
    for form in [sized, cluster(T0_MS, 3)] {
        let mut call = PutCall::new(FragmentRules::default(), Timecodes::Absolute);
        let whole = [mkv::header(), form].concat();
        call.push(&whole[..whole.len() - 100], crate::NOW_MS, &mut Vec::new()).unwrap();
        let fragment = call.cut().unwrap();
        let read = fragments(&[&fragment.opening[..], &fragment.media].concat());
        assert_eq!((fragment.blocks.len(), &read[0].blocks), (2, &fragment.blocks), "readers can read it");
    }
}
