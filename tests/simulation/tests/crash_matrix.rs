//! The worker dies after each step of the batch protocol, before the step takes effect and after it: nothing is lost,
//! nothing comes twice, and the sound is that of one pass.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use simulation::case::Case;
use simulation::faults::{Failure, Fate, Fault, On, Op};
use simulation::speech::session::{Passage, Session, Take};

/// A page of twelve chunks and an `endStream`: two fragments with their deferrals.
fn speaker(tape: usize) -> Case {
    let take = Take::steady(tape, 12);
    let session = Session { end_after_ms: Some(60), ..Session::of("s", vec![take]) };
    Case { processes: 2, sessions: vec![session], ..Case::quiet() }
}

fn crashes(at: &[(u64, bool)]) -> Vec<Fault> {
    let fate = |after: bool| if after { Fate::CrashAfter } else { Fate::CrashBefore };
    at.iter().map(|(call, after)| Fault { on: On::Call(*call), fate: fate(*after) }).collect()
}

/// Runs the case with each set of faults; panics with the first that breaks a promise.
fn all_hold(case: &Case, sets: &[Vec<Fault>]) {
    let (next, broken) = (AtomicU64::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(set) = sets.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let mut case = case.clone();
                    case.faults.extend(set.iter().cloned());
                    if let Some(violation) = case.judge().first() {
                        *broken.lock().unwrap() = Some(format!("{violation}\nwith {set:#?}"));
                        return;
                    }
                }
            });
        }
    });
    if let Some(broken) = broken.into_inner().unwrap() {
        panic!("{broken}");
    }
}

fn calls(case: &Case) -> u64 {
    let (outcome, violations) = case.judge_traced(false);
    assert_eq!(violations, [], "undisturbed");
    outcome.world.calls
}

fn single(calls: u64) -> Vec<Vec<Fault>> {
    (0..calls).flat_map(|call| [crashes(&[(call, false)]), crashes(&[(call, true)])]).collect()
}

#[test]
fn a_crash_at_any_call_loses_nothing_and_doubles_nothing() {
    for tape in [0, 4] {
        let case = speaker(tape);
        let calls = calls(&case);
        assert!(calls > 20, "the scenario exercises the whole protocol: {calls} calls");
        all_hold(&case, &single(calls));
    }
}

#[test]
fn two_crashes_at_any_calls_lose_nothing_and_double_nothing() {
    let mut case = speaker(0);
    case.sessions[0].takes[0] = Take::steady(0, 8);
    let calls = calls(&case);
    let mut sets = Vec::new();
    for first in 0..calls {
        for second in first + 1..calls + 12 {
            for after in [(false, false), (false, true), (true, false), (true, true)] {
                sets.push(crashes(&[(first, after.0), (second, after.1)]));
            }
        }
    }
    all_hold(&case, &sets);
}

/// The protocol's other branch: PutMedia fails until the batch is parked, then an operator redrives it.
#[test]
fn a_crash_at_any_call_while_a_batch_is_parked_and_redriven_loses_nothing() {
    for failure in [Failure::Ack(4006), Failure::Ack(5000)] {
        let mut case = speaker(0);
        let on = On::During { op: Op::Put, session: None, from_ms: 0, to_ms: case.begins_ms() + 30_000 };
        case.faults = vec![Fault { on, fate: Fate::Fail(failure) }];
        let calls = calls(&case);
        all_hold(&case, &single(calls));
    }
}

/// Nobody can tell whether the fragment is stored: PutMedia's answer is lost, and then ListFragments does not answer.
#[test]
fn a_crash_at_any_call_while_nothing_is_known_of_a_fragment_loses_nothing() {
    let mut case = speaker(0);
    let (from_ms, to_ms) = (0, case.begins_ms() + 40_000);
    let lost = Fate::FailAfter(Failure::Disconnected);
    let away = Fate::Fail(Failure::Internal);
    case.faults = vec![
        Fault { on: On::Nth { op: Op::Put, session: "s".into(), n: 0 }, fate: lost },
        Fault { on: On::During { op: Op::Find, session: None, from_ms, to_ms }, fate: away },
    ];
    let calls = calls(&case);
    all_hold(&case, &single(calls));
}

/// A chunk comes late: a gap opens, and the backfill closes it.
#[test]
fn a_crash_at_any_call_while_a_gap_opens_and_closes_loses_nothing() {
    for tape in [0, 4] {
        let mut case = speaker(tape);
        case.sessions[0].takes[0].chunks[5].passage = Passage::Sent(9_000);
        let calls = calls(&case);
        all_hold(&case, &single(calls));
    }
}

/// The page slept for 12 s, and hands out all of it in one blob: that becomes several fragments.
fn sleeper(tape: usize) -> Case {
    let mut take = Take::steady(tape, 51);
    take.chunks.drain(7..46);
    let session = Session { end_after_ms: Some(60), ..Session::of("s", vec![take]) };
    Case { processes: 2, sessions: vec![session], ..Case::quiet() }
}

#[test]
fn a_crash_at_any_call_while_one_chunk_becomes_several_fragments_loses_nothing_and_doubles_nothing() {
    for tape in [0, 4] {
        let case = sleeper(tape);
        let (outcome, _) = case.judge_traced(false);
        let fragments = &outcome.world.streams.by_session["s"].fragments;
        let tag = |name: &str| fragments.iter().filter(|f| f.media.tags.contains_key(name)).count();
        let parts = (tag("chunkFirstFrom"), tag("chunkLastTo"));
        assert!(parts.0 >= 1 && parts.1 >= 1, "the chunk is in one fragment: {parts:?}");
        all_hold(&case, &single(calls(&case)));
    }
}

/// The same while PutMedia fails amid the chunk: what was written of it stays, the rest is parked and comes back.
#[test]
fn a_crash_at_any_call_while_the_rest_of_a_long_chunk_is_parked_loses_nothing() {
    for n in [1, 2, 3] {
        let mut case = sleeper(0);
        let on = On::Nth { op: Op::Put, session: "s".into(), n };
        case.faults = vec![Fault { on, fate: Fate::Fail(Failure::Ack(4006)) }];
        all_hold(&case, &single(calls(&case)));
    }
}

/// The same where nobody can tell whether a part of the chunk is stored.
#[test]
fn a_crash_at_any_call_while_nothing_is_known_of_a_long_chunks_part_loses_nothing() {
    for n in 1..3 {
        for lost in [Fate::FailAfter(Failure::Disconnected), Fate::Fail(Failure::Disconnected)] {
            let mut case = sleeper(0);
            let (from_ms, to_ms) = (0, case.begins_ms() + 60_000);
            case.faults = vec![
                Fault { on: On::Nth { op: Op::Put, session: "s".into(), n }, fate: lost },
                Fault {
                    on: On::During { op: Op::Find, session: None, from_ms, to_ms },
                    fate: Fate::Fail(Failure::Internal),
                },
            ];
            all_hold(&case, &single(calls(&case)));
        }
    }
}

/// The long chunk itself comes late, or the one before it.
#[test]
fn a_crash_at_any_call_while_a_long_chunk_comes_back_loses_nothing() {
    for late in [6, 7] {
        let mut case = sleeper(4);
        case.sessions[0].takes[0].chunks[late].passage = Passage::Sent(9_000);
        all_hold(&case, &single(calls(&case)));
    }
}
