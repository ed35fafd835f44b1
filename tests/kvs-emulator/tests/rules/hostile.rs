use crate::mkv::{self, cluster, sized_cluster, tags};
use crate::{NOW_MS, T0_MS, body, completed, feed};
use kvs_emulator::rules::ack::ErrorId::{InvalidMkvData, MaxFragmentSizeReached};
use kvs_emulator::rules::fragment::Timecodes;
use kvs_emulator::rules::put_call::PutCall;
use kvs_emulator::{Elements, FragmentRules};
use proptest::prelude::*;

fn sample() -> Vec<u8> {
    [
        mkv::header(),
        tags(&[("a", "1")]),
        cluster(T0_MS, 3),
        tags(&[("b", "2")]),
        sized_cluster(T0_MS + 2000, 3),
        cluster(T0_MS + 4000, 2),
        tags(&[("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")]),
    ]
    .concat()
}

#[test]
fn no_prefix_of_a_body_completes_a_fragment_that_is_not_whole() {
    let whole = sample();
    let (all, outcome) = feed(&FragmentRules::default(), &whole, &[]);
    assert_eq!((completed(&all).len(), outcome), (3, Ok(())));
    for length in 0..whole.len() {
        let mut call = PutCall::new(FragmentRules::default(), Timecodes::Absolute);
        let mut steps = Vec::new();
        call.push(&whole[..length], NOW_MS, &mut steps).unwrap();
        let expected = &completed(&all)[..completed(&steps).len()];
        assert!(completed(&steps) == expected, "after {length} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_pieces_a_body_arrives_in_do_not_matter(cuts in prop::collection::btree_set(0usize..20_000, 0..40)) {
        let whole = sample();
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < whole.len()).collect();
        let rules = FragmentRules::default();
        prop_assert!(feed(&rules, &whole, &cuts) == feed(&rules, &whole, &[]));
    }

    #[test]
    fn a_changed_body_is_taken_or_refused_but_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        lenient in any::<bool>(),
    ) {
        let mut hostile = sample();
        for (at, byte) in changes {
            let at = at.index(hostile.len().min(400));
            hostile[at] = byte;
        }
        let elements = if lenient { Elements::Matroska } else { Elements::Generator };
        let rules = FragmentRules { elements, ..FragmentRules::default() };
        let cut = cut.index(hostile.len());
        let whole = feed(&rules, &hostile, &[]);
        prop_assert!(feed(&rules, &hostile, &[cut]) == whole);
    }

    #[test]
    fn random_bytes_are_refused_within_their_first_element(bytes in prop::collection::vec(any::<u8>(), 13..600)) {
        prop_assume!(!bytes.starts_with(&[0x1A, 0x45, 0xDF, 0xA3]));
        prop_assert!(feed(&FragmentRules::default(), &bytes, &[]).1.is_err());
    }
}

#[test]
fn tags_and_empty_frames_without_end_are_stopped() {
    // A Tags element that says it is 2 GB long, full of empty tags; a Cluster of frames without a byte in them.
    let tags = [mkv::header(), vec![0x12, 0x54, 0xC3, 0x67, 0x08, 0x7F, 0xFF, 0xFF, 0xFF]].concat();
    let cases = [
        (tags, vec![0x73, 0x73, 0x80], 60_000, InvalidMkvData),
        (body(&[cluster(T0_MS, 1)]), mkv::simple_block(1, 0, &[]), 100_001, MaxFragmentSizeReached),
    ];
    for (mut hostile, unit, times, id) in cases {
        hostile.extend(unit.repeat(times));
        let mut call = PutCall::new(FragmentRules::default(), Timecodes::Absolute);
        let outcome = call.push(&hostile, NOW_MS, &mut Vec::new());
        assert_eq!(outcome.unwrap_err().id, id);
    }
}

#[test]
fn nesting_without_end_and_sizes_without_measure_are_refused_at_once() {
    let nest =
        |id: &[u8]| [mkv::header(), [id, &[0x08, 0x7F, 0xFF, 0xFF, 0xFF]].concat().repeat(10_000)].concat();
    let cases = [
        ("Tags in Tags", nest(&[0x12, 0x54, 0xC3, 0x67])),
        ("Segments in Segments", nest(&[0x18, 0x53, 0x80, 0x67])),
        (
            "a SimpleTag in a SimpleTag",
            [
                mkv::header(),
                vec![0x12, 0x54, 0xC3, 0x67, 0x9F, 0x73, 0x73, 0x9C, 0x67, 0xC8, 0x99, 0x67, 0xC8, 0x96],
            ]
            .concat(),
        ),
        (
            "a name of 2^56 bytes",
            [mkv::header(), vec![0x12, 0x54, 0xC3, 0x67, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFE]]
                .concat(),
        ),
        (
            "a track's name of 4 GB",
            [&mkv::header()[..60], &[0x53, 0x6E, 0x08, 0xFF, 0xFF, 0xFF, 0xFF]].concat(),
        ),
    ];
    for (what, body) in cases {
        let mut call = PutCall::new(FragmentRules::default(), Timecodes::Absolute);
        let mut outcome = call.push(&body, NOW_MS, &mut Vec::new());
        if outcome.is_ok() {
            assert!(call.held_bytes() < 10_000, "{what}: a promised size takes no memory");
            outcome = call.finish(NOW_MS, &mut Vec::new());
        }
        assert_eq!(outcome.unwrap_err().id, InvalidMkvData, "{what}");
    }
}
