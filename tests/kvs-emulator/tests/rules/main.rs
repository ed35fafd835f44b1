//! What a PutMedia body may be, as tables and properties. Every body is fed whole, byte by byte and in random pieces,
//! and must come to the same end each time.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../support/mkv.rs"]
#[allow(dead_code, unreachable_pub)]
mod mkv;

mod elements;
mod ffmpeg;
mod hostile;
mod refusals;
mod times;

use kvs_emulator::FragmentRules;
use kvs_emulator::rules::fragment::{Refusal, Step, Timecodes};
use kvs_emulator::rules::put_call::PutCall;

pub const NOW_MS: i64 = 1_767_225_600_000;
pub const T0_MS: u64 = NOW_MS as u64 - 60_000;

pub type Outcome = (Vec<Step>, Result<(), Refusal>);

/// Feeds a body in pieces that end at `cuts`, and ends it.
pub fn feed(rules: &FragmentRules, body: &[u8], cuts: &[usize]) -> Outcome {
    let mut call = PutCall::new(rules.clone(), Timecodes::Absolute);
    let mut steps = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([body.len()]) {
        let (from, to) = (std::mem::replace(&mut from, to), to);
        if let Err(refusal) = call.push(&body[from..to], NOW_MS, &mut steps) {
            let again = call.push(b"more", NOW_MS, &mut Vec::new());
            assert_eq!(again, Err(refusal.clone()), "a failed call stays failed");
            return (steps, Err(refusal));
        }
    }
    let outcome = call.finish(NOW_MS, &mut steps);
    (steps, outcome)
}

/// Feeds a body whole and byte by byte.
pub fn both_ways(rules: &FragmentRules, body: &[u8]) -> Outcome {
    let whole = feed(rules, body, &[]);
    let bytes: Vec<usize> = (1..body.len()).collect();
    assert!(feed(rules, body, &bytes) == whole, "byte by byte it ends otherwise than whole: {:?}", whole.1);
    whole
}

pub fn body(clusters: &[Vec<u8>]) -> Vec<u8> {
    [mkv::header(), clusters.concat()].concat()
}

pub fn completed(steps: &[Step]) -> Vec<&kvs_emulator::rules::fragment::Fragment> {
    let complete = |step| match step {
        &Step::Began { .. } | &Step::Behind(_) => None,
        Step::Complete(fragment) => Some(&**fragment),
    };
    steps.iter().filter_map(complete).collect()
}
