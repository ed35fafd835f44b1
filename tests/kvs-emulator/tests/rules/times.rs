use crate::mkv::{self, cluster, header_of, simple_block, sized_cluster, track, uint};
use crate::{NOW_MS, T0_MS, body, both_ways, completed};
use kvs_emulator::FragmentRules;
use kvs_emulator::rules::ack::ErrorId::{self, *};
use kvs_emulator::rules::ebml::{Node, write_id, write_unknown_size};
use kvs_emulator::rules::fragment::{Step, Timecodes};
use kvs_emulator::rules::put_call::PutCall;
use kvs_emulator::rules::schema::*;

#[test]
fn producer_times_may_be_a_little_ahead_and_must_grow_within_a_call() {
    let now = NOW_MS as u64;
    let cases: Vec<(&str, Vec<u64>, Option<ErrorId>)> = vec![
        ("now", vec![now], None),
        ("as far ahead as a recorded answer", vec![now + 12_795], None),
        ("as far as AWS's Java example", vec![now + 28_821], None),
        ("30 s ahead", vec![now + 30_000], None),
        ("further ahead", vec![now + 30_001], Some(InvalidProducerTimestamp)),
        ("1970, as in a recorded answer", vec![0], None),
        ("ten years old", vec![now - 315_360_000_000], None),
        ("one after the other", vec![T0_MS, T0_MS + 2000, T0_MS + 4000], None),
        ("with a gap", vec![T0_MS, T0_MS + 10_000], None),
        ("the same time twice", vec![T0_MS, T0_MS], Some(FragmentTimecodeLesserThanPrevious)),
        ("backward", vec![T0_MS, T0_MS - 5000], Some(FragmentTimecodeLesserThanPrevious)),
        ("into the one before", vec![T0_MS, T0_MS + 1900], Some(FragmentTimecodeLesserThanPrevious)),
        ("just after its last frame", vec![T0_MS, T0_MS + 1901], None),
    ];
    for (what, times, expected) in cases {
        for form in [cluster, sized_cluster] {
            let clusters: Vec<Vec<u8>> = times.iter().map(|ms| form(*ms, 20)).collect();
            let (_, outcome) = both_ways(&FragmentRules::default(), &body(&clusters));
            assert_eq!(outcome.as_ref().err().map(|refusal| refusal.id), expected, "{what}: {outcome:?}");
        }
    }
}

#[test]
fn a_refusal_carries_the_timecode_once_it_is_known() {
    let (_, outcome) = both_ways(&FragmentRules::default(), &body(&[cluster(T0_MS, 2), cluster(T0_MS, 2)]));
    assert_eq!(outcome.unwrap_err().timecode_ms, Some(T0_MS as i64));
    let (_, outcome) = both_ways(&FragmentRules::default(), b"nonsense");
    assert_eq!(outcome.unwrap_err().timecode_ms, None);
}

#[test]
fn a_frame_before_its_clusters_time_counts_into_the_order() {
    let mut early = Vec::new();
    write_id(CLUSTER, &mut early);
    write_unknown_size(&mut early);
    uint(TIMESTAMP, T0_MS + 2000).write(&mut early);
    early.extend(simple_block(1, -150, &[0; 320]));
    let (_, outcome) = both_ways(&FragmentRules::default(), &body(&[cluster(T0_MS, 20), early]));
    assert_eq!(outcome.unwrap_err().id, FragmentTimecodeLesserThanPrevious);
}

#[test]
fn times_are_read_in_the_segments_own_ticks() {
    let scale = Node::master(INFO, vec![uint(TIMESTAMP_SCALE, 100_000)]);
    let mut body = header_of(&[scale, Node::master(TRACKS, vec![track(1)])]);
    body.extend(cluster(T0_MS * 10, 20));
    let (steps, outcome) = both_ways(&FragmentRules::default(), &body);
    assert_eq!(outcome, Ok(()));
    let fragment = completed(&steps)[0];
    assert_eq!(
        (fragment.timecode_ms, fragment.length_ms),
        (T0_MS as i64, 190),
        "ticks of a tenth of a millisecond"
    );
}

#[test]
fn a_fragment_begins_with_its_time_and_ends_with_the_next_cluster_not_before() {
    let mut call = PutCall::new(FragmentRules::default(), Timecodes::Absolute);
    let mut steps = Vec::new();
    let mut push = |call: &mut PutCall, bytes: &[u8]| {
        call.push(bytes, NOW_MS, &mut steps).unwrap();
        std::mem::take(&mut steps)
    };
    assert_eq!(push(&mut call, &mkv::header()), []);
    let first = cluster(T0_MS, 20);
    assert_eq!(push(&mut call, &first[..14]), [], "the time is not whole yet");
    assert_eq!(push(&mut call, &first[14..]), [Step::Began { timecode_ms: T0_MS as i64 }]);
    let steps = push(&mut call, &cluster(T0_MS + 2000, 20)[..5]);
    assert!(
        matches!(&steps[..], [Step::Complete(_)]),
        "the next Cluster's first bytes complete it: {steps:?}"
    );
}

#[test]
fn fragments_measure_their_blocks_times_and_their_pcm() {
    let (steps, _) = both_ways(&FragmentRules::default(), &body(&[cluster(T0_MS, 20)]));
    let fragment = completed(&steps)[0];
    assert_eq!((fragment.length_ms, fragment.media_ms, fragment.blocks.len()), (1900, 2000, 20));
    let (steps, _) = both_ways(&FragmentRules::default(), &body(&[cluster(T0_MS, 1)]));
    let fragment = completed(&steps)[0];
    assert_eq!((fragment.length_ms, fragment.media_ms), (0, 100), "one block alone measures nothing");
}
