//! Feeds PutMedia bodies that libFuzzer makes up to the validator, and holds it to what every caller relies on.
#![no_main]

use kvs_emulator::rules::document::{Document, Part};
use kvs_emulator::rules::fragment::{Fragment, Refusal, Step, Timecodes};
use kvs_emulator::rules::put_call::PutCall;
use kvs_emulator::{Elements, FragmentRules};
use libfuzzer_sys::fuzz_target;

const NOW_MS: i64 = 1_767_225_600_000;

fuzz_target!(|input: &[u8]| {
    let Some((&[options, cut_a, cut_b], body)) = input.split_first_chunk::<3>() else { return };
    let elements = if options & 1 == 0 { Elements::Generator } else { Elements::Matroska };
    let start_ms = NOW_MS - 60_000;
    let timecodes = if options & 2 == 0 { Timecodes::Absolute } else { Timecodes::Relative { start_ms } };
    let mut rules = FragmentRules { elements, enforce_min_duration: options & 4 != 0, ..FragmentRules::default() };
    if options & 8 != 0 {
        // Small limits, so that small inputs reach them.
        (rules.bytes_max, rules.duration_ms_max, rules.tags_max) = (400, 1_500, 2);
    }
    let whole = feed(&rules, timecodes, body, &[]);
    let at = |cut: u8| usize::from(cut) * body.len() / 256;
    let (a, b) = (at(cut_a).min(at(cut_b)), at(cut_a).max(at(cut_b)));
    assert_eq!(feed(&rules, timecodes, body, &[a, b]), whole, "the pieces a body comes in do not matter");
    for step in &whole.0 {
        if let Step::Complete(fragment) = step {
            check(&rules, fragment);
        }
    }
});

fn feed(
    rules: &FragmentRules,
    timecodes: Timecodes,
    body: &[u8],
    cuts: &[usize],
) -> (Vec<Step>, Result<(), Refusal>) {
    let mut call = PutCall::new(rules.clone(), timecodes);
    let (mut steps, mut from) = (Vec::new(), 0);
    for to in cuts.iter().copied().chain([body.len()]) {
        let piece = &body[std::mem::replace(&mut from, to)..to];
        if let Err(refusal) = call.push(piece, NOW_MS, &mut steps) {
            assert_eq!(call.push(b"more", NOW_MS, &mut Vec::new()), Err(refusal.clone()), "failed stays failed");
            return (steps, Err(refusal));
        }
        assert!(call.held_bytes() <= 8 * body.len() as u64 + 96 * body.len() as u64, "memory follows what was sent");
    }
    let outcome = call.finish(NOW_MS, &mut steps);
    (steps, outcome)
}

/// What is stored keeps the promises of its rules, and what readers get of it is read as the same fragment again.
fn check(rules: &FragmentRules, fragment: &Fragment) {
    assert!(!fragment.blocks.is_empty());
    assert!(fragment.media.len() as u64 <= rules.bytes_max && fragment.media_ms <= rules.duration_ms_max);
    assert!(fragment.tags.len() <= rules.tags_max && fragment.header.tracks.len() <= rules.tracks_max);
    assert!(fragment.producer_ms <= NOW_MS + rules.future_tolerance_ms);
    assert!(fragment.producer_ms >= rules.earliest_timestamp_ms);
    assert!(fragment.header.tracks.iter().all(|t| fragment.blocks.iter().any(|block| block.track == t.number)));
    assert!(fragment.tags.iter().all(|(name, _)| !name.starts_with("AWS")));
    let mut again = Document::new(Elements::Matroska, rules.tracks_max, u64::MAX);
    again.push(&fragment.opening);
    again.push(&fragment.media);
    again.push(&fragment.behind);
    let mut frames = Vec::new();
    while let Some(part) = again.next().expect("a document given to readers does not parse") {
        match part {
            Part::Header { header, .. } => assert_eq!(header, fragment.header),
            Part::Frame(frame) => frames.push(frame.in_cluster(&fragment.media)),
            Part::EndOfFragment => panic!("readers see the tag that ends a fragment"),
            _ => {}
        }
    }
    assert_eq!(frames, fragment.blocks, "the frames are where they are said to be");
}
