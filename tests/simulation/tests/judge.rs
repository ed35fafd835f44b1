//! The judge himself: each promise, broken by hand, is noticed.
#![allow(clippy::unwrap_used)]

use simulation::case::Case;
use simulation::evidence::Evidence;
use simulation::invariants::check;
use simulation::run::{Outcome, run};
use simulation::speech::session::{Passage, Session, Take};

fn case() -> Case {
    Case { sessions: vec![Session::of("s", vec![Take::steady(0, 30)])], ..Case::quiet() }
}

/// The promises that are broken after `spoil` has changed what a good run left.
fn broken(case: &Case, spoil: impl FnOnce(&mut Outcome)) -> Vec<u8> {
    let mut outcome = run(&case.scenario(false));
    spoil(&mut outcome);
    let mut promises: Vec<u8> =
        check(&Evidence::gather(&case.sessions, &outcome, true)).iter().map(|v| v.promise).collect();
    promises.dedup();
    promises.sort_unstable();
    promises.dedup();
    promises
}

fn fragments(outcome: &mut Outcome) -> &mut Vec<simulation::model::stream::Fragment> {
    &mut outcome.world.streams.by_session.get_mut("s").unwrap().fragments
}

#[test]
fn a_good_run_breaks_nothing() {
    assert_eq!(broken(&case(), |_| ()), [0_u8; 0]);
}

#[test]
fn a_lost_fragment_is_noticed() {
    assert_eq!(broken(&case(), |outcome| _ = fragments(outcome).remove(1)), [1]);
}

#[test]
fn a_fragment_written_twice_is_noticed() {
    let promises = broken(&case(), |outcome| {
        let again = fragments(outcome)[1].clone();
        fragments(outcome).push(again);
    });
    assert!(promises.contains(&1) && promises.contains(&3), "{promises:?}");
}

#[test]
fn one_wrong_sample_is_noticed() {
    let promises = broken(&case(), |outcome| fragments(outcome)[1].media.blocks[3].1[40] ^= 1);
    assert!(promises.contains(&2), "{promises:?}");
}

#[test]
fn a_fragment_at_a_wrong_time_is_noticed() {
    let promises = broken(&case(), |outcome| {
        for (at, _) in &mut fragments(outcome)[1].media.blocks {
            at.0 += 5;
        }
    });
    assert_eq!(promises, [3], "5 ms later: a hole before, an overlap after");
}

#[test]
fn a_hole_where_nobody_paused_is_noticed() {
    let promises = broken(&case(), |outcome| {
        let fragments = fragments(outcome);
        let last = fragments.len() - 1;
        for (at, _) in &mut fragments[last].media.blocks {
            at.0 += 400;
        }
    });
    assert_eq!(promises, [3]);
}

#[test]
fn a_fragment_in_the_future_is_noticed() {
    let promises =
        broken(&case(), |outcome| fragments(outcome)[1].stored_ms = fragments(outcome)[1].at.0 - 1);
    assert_eq!(promises, [3]);
}

#[test]
fn a_queue_that_never_drains_and_a_chunk_that_stays_parked_are_noticed() {
    assert_eq!(broken(&case(), |outcome| outcome.drained = false), [5]);
    let mut case = case();
    case.sessions[0].takes[0].chunks[4].passage = Passage::Bad(simulation::speech::session::Bad::NotBase64);
    assert_eq!(broken(&case, |_| ()), [0_u8; 0], "a bad message belongs into the DLQ");
    assert_eq!(broken(&case, |outcome| outcome.world.queue.dead.clear()), [1]);
    let good = case.sessions[0].clone();
    let promises = broken(&case, |outcome| {
        let body = good.arrivals().into_iter().find_map(|arrival| match arrival.what {
            simulation::run::Incident::Message { body, .. } => Some(body),
            simulation::run::Incident::Status(..) => None,
        });
        let dead = outcome.world.queue.dead[0].clone();
        outcome.world.queue.dead.push(simulation::model::queue::Dead { body: body.unwrap(), ..dead });
    });
    assert_eq!(promises, [6]);
}
