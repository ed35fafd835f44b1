//! Once, whatever the services answer: persistence that comes late, half fragments, lost answers, a store that refuses, panics.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use ingest::failure::ServiceFailure;
use simulation::case::Case;
use simulation::evidence::Evidence;
use simulation::faults::{Failure, Fate, Fault, On, Op};
use simulation::invariants::check;
use simulation::once::{leave_once, reported};
use simulation::run::{Outcome, Scenario, run};
use simulation::speech::session::{Session, Take};
use writer::event::Event;

/// How long live audio may stop: 20 s and one attempt, with the deferral that a batch always has.
const MAX_STOPPED_MS: u64 = 20_000 + 4_000 + 3_000;

/// One speaker for 46 s, whose recorder restarts half-way.
fn long_speaker() -> Case {
    let mut second = Take::steady(1, 76);
    second.chunks.iter_mut().for_each(|chunk| chunk.handed_out_ms += 23_000);
    let session = Session::of("s0", vec![Take::steady(0, 76), second]);
    Case { processes: 4, sessions: vec![Session { end_after_ms: Some(60), ..session }], ..Case::quiet() }
}

fn speakers(number: usize, chunks: usize) -> Case {
    let session = |n: usize| {
        let session = Session::of(&format!("s{n}"), vec![Take::steady(n, chunks)]);
        Session { end_after_ms: Some(60), ..session }
    };
    Case { processes: 4, sessions: (0..number).map(session).collect(), ..Case::quiet() }
}

fn nth(op: Op, n: u64, fate: Fate) -> Fault {
    Fault { on: On::Nth { op, session: "s0".into(), n }, fate }
}

fn scenario(case: &Case, faults: Vec<Fault>) -> Scenario {
    let mut scenario = Scenario { faults, redrives: 1, ..case.scenario(true) };
    scenario.services.persist_lag_ms = 0;
    scenario
}

/// The longest that audio of `session` was under way from the queue to its fragment.
fn longest_ms(case: &Case, outcome: &Outcome, session: usize) -> u64 {
    let evidence = Evidence::gather(&case.sessions, outcome, false);
    let session = &evidence.sessions[session];
    let stored: BTreeMap<u64, u64> = session.fragments.iter().map(|f| (f.number, f.stored_ms)).collect();
    let waits = session.heard.iter().map(|heard| {
        let id = heard.id.expect("nothing disturbs the sound");
        let take = session.take_of(id.tape).expect("it is the session's");
        let chunk = session.spoken_at((take, id.frame)).expect("it was spoken").chunk;
        stored[&heard.number].saturating_sub(session.arrived_ms[chunk].expect("it was sent"))
    });
    waits.max().unwrap_or_default()
}

fn holds(case: &Case, outcome: &Outcome, what: &str) {
    assert!(outcome.drained, "{what}: the queue never drains");
    assert_eq!(check(&Evidence::gather(&case.sessions, outcome, true)), [], "{what}");
}

#[test]
fn a_fragment_persisted_late_is_there_once_within_the_promise_and_reported_and_read_once_beyond_it() {
    let case = long_speaker();
    for late_ms in [1_500, 3_000, 5_000, 10_000, 20_000] {
        let (mut twice, mut longest) = (0, 0);
        for seed in 0..20 {
            let broken = nth(Op::Put, 2, Fate::FailLate(Failure::Disconnected, late_ms));
            let mut outcome = run(&Scenario { seed, ..scenario(&case, vec![broken]) });
            let (told, copies) = (reported(&outcome), leave_once(&mut outcome));
            assert_eq!(told, copies, "persisted after {late_ms} ms, seed {seed}: copies nobody hears of");
            let what = format!("persisted after {late_ms} ms, seed {seed}");
            assert!(outcome.parked.is_empty(), "{what}: parked without need");
            holds(&case, &outcome, &what);
            twice += copies;
            longest = longest.max(longest_ms(&case, &outcome, 0));
        }
        println!("persisted after {late_ms} ms: {twice} of 20 twice, audio at most {longest} ms old");
        assert_eq!(twice, if late_ms <= 10_000 { 0 } else { 20 }, "persisted after {late_ms} ms");
        assert!(longest <= MAX_STOPPED_MS, "persisted after {late_ms} ms: live audio stops for {longest} ms");
    }
}

#[test]
fn a_try_of_unknown_outcome_is_remembered_behind_one_that_was_refused() {
    let case = long_speaker();
    let late = nth(Op::Put, 2, Fate::FailLate(Failure::Disconnected, 17_000));
    let refused = nth(Op::Put, 3, Fate::Fail(Failure::Ack(4006)));
    let outcome = run(&scenario(&case, vec![late, refused]));
    assert!(!outcome.parked.is_empty(), "a lasting refusal parks");
    holds(&case, &outcome, "the redrive does not ask for the first try");
}

#[test]
fn live_audio_goes_on_where_no_try_ever_tells_its_outcome() {
    let case = long_speaker();
    let from_ms = case.begins_ms() + 6_000;
    let on = |op| On::During { op, session: None, from_ms, to_ms: from_ms + 60_000 };
    for failure in [Failure::TimedOut, Failure::Disconnected] {
        let put = Fault { on: on(Op::Put), fate: Fate::FailAfter(failure.clone()) };
        let outcome = run(&scenario(&case, vec![put.clone()]));
        holds(&case, &outcome, "stored, and the answers lost");
        assert!(outcome.parked.is_empty(), "{failure:?}: what is found needs no parking");
        let archive = Fault { on: on(Op::Find), fate: Fate::Fail(Failure::Internal) };
        let outcome = run(&scenario(&case, vec![put, archive]));
        holds(&case, &outcome, "stored, the answers lost, and nobody to ask");
    }
}

#[test]
fn half_a_fragment_is_no_proof() {
    let case = long_speaker();
    let mut outcome = run(&scenario(&case, vec![nth(Op::Put, 2, Fate::Torn(Failure::Disconnected))]));
    assert_eq!((reported(&outcome), leave_once(&mut outcome)), (1, 1), "half a fragment is reported");
    holds(&case, &outcome, "the half that is not there is lost");
}

#[test]
fn a_lost_answer_of_the_store_costs_less_than_a_second() {
    let case = speakers(1, 24);
    // A lease and a commit for each fragment; what is written from then on lies otherwise in the queue's whole seconds.
    let written_ms = |outcome: &Outcome, fragment: usize| {
        let written =
            outcome.world.events.iter().filter(|(_, event)| matches!(event, Event::FragmentWritten { .. }));
        written.map(|(at_ms, _)| *at_ms).nth(fragment).unwrap()
    };
    let undisturbed = run(&scenario(&case, Vec::new()));
    let fates = [
        Fate::FailAfter(Failure::TimedOut),
        Fate::Fail(Failure::TimedOut),
        Fate::FailAfter(Failure::Disconnected),
        Fate::Fail(Failure::Throttled),
        Fate::Slow(5_000),
    ];
    for fate in fates {
        for n in 0..6 {
            let outcome = run(&scenario(&case, vec![nth(Op::Save, n, fate.clone())]));
            holds(&case, &outcome, "a lost answer");
            let fragment = n as usize / 2;
            let late_ms = written_ms(&outcome, fragment).saturating_sub(written_ms(&undisturbed, fragment));
            assert!(late_ms < 1_000, "save {n}, {fate:?}: the fragment is {late_ms} ms late");
        }
    }
}

#[test]
fn a_connection_that_keeps_its_place_is_waited_for() {
    let case = speakers(1, 60);
    let taken = Failure::As(ServiceFailure::Service {
        operation: "PutMedia".into(),
        status: 400,
        code: "ConnectionLimitExceededException".into(),
        message: String::new(),
    });
    let from_ms = case.begins_ms() + 4_000;
    let on = On::During { op: Op::Put, session: None, from_ms, to_ms: from_ms + 17_000 };
    let outcome = run(&scenario(&case, vec![Fault { on, fate: Fate::Fail(taken) }]));
    assert!(outcome.parked.is_empty(), "parked although the service is well: {:?}", outcome.parked);
    holds(&case, &outcome, "a connection that keeps its place");
}

/// While the answer to a deletion is awaited, nobody stands still: a PutMedia that takes 3 s is over in 3 s.
#[test]
fn sessions_go_on_while_others_messages_are_deleted() {
    let case = speakers(2, 24);
    let slow = |op, session: Option<&str>, ms| Fault {
        on: On::During { op, session: session.map(str::to_owned), from_ms: 0, to_ms: u64::MAX / 2 },
        fate: Fate::Slow(ms),
    };
    let one = Scenario { processes: 1, ..scenario(&case, vec![slow(Op::Put, Some("s0"), 3_000)]) };
    let without = longest_ms(&case, &run(&one), 0);
    let faults = vec![slow(Op::Put, Some("s0"), 3_000), slow(Op::Delete, None, 8_000)];
    let with = longest_ms(&case, &run(&Scenario { faults, ..one }), 0);
    assert!(with < without + 2_500, "{with} ms with slow deletions, {without} ms without");
}

#[test]
fn a_panic_is_its_sessions_alone_and_its_chunks_are_parked_after_a_few() {
    let case = speakers(3, 30);
    let quiet = run(&scenario(&case, Vec::new()));
    for op in [Op::Status, Op::SaveSnapshot] {
        let on = On::Calls { op, session: Some("s0".into()), from: 2, to: u64::MAX };
        let panics = Fault { on, fate: Fate::Panic };
        let outcome = run(&Scenario { redrives: 0, ..scenario(&case, vec![panics]) });
        assert!(outcome.drained, "{op:?}: the queue never drains");
        let (crashed, others): (Vec<_>, Vec<_>) =
            outcome.parked.iter().partition(|dead| dead.attributes["reason"] == "CRASHED");
        let others: Vec<&str> = others.iter().map(|dead| dead.attributes["reason"].as_str()).collect();
        assert!(!crashed.is_empty() && others.is_empty(), "{op:?}: {} CRASHED, {others:?}", crashed.len());
        assert!(
            outcome.world.events.iter().any(|(_, e)| matches!(e, Event::Crashed { .. })),
            "{op:?}: no event"
        );
        for session in [1, 2] {
            let (with, without) = (longest_ms(&case, &outcome, session), longest_ms(&case, &quiet, session));
            assert!(with <= without + 2_000, "{op:?}: s{session} waits {with} ms instead of {without} ms");
        }
    }
}

#[test]
fn what_kills_the_process_before_any_lease_is_parked_after_a_few_deliveries() {
    let case = speakers(2, 16);
    let kills = Fault {
        on: On::Calls { op: Op::Status, session: Some("s0".into()), from: 3, to: u64::MAX },
        fate: Fate::CrashBefore,
    };
    let outcome = run(&Scenario { redrives: 0, ..scenario(&case, vec![kills]) });
    assert!(outcome.drained, "the queue never drains");
    let reasons: Vec<&str> = outcome.parked.iter().map(|dead| dead.attributes["reason"].as_str()).collect();
    assert!(reasons.contains(&"CRASHED"), "{reasons:?}");
    let took_ms = outcome.end_ms - case.begins_ms();
    assert!(took_ms < 30 * 60_000, "the others' deliveries die with it for {took_ms} ms");
    let evidence = Evidence::gather(&case.sessions, &outcome, false);
    assert_eq!(evidence.sessions[1].dead.len(), 0, "another session's chunks are parked with it");
}

#[test]
fn a_store_that_refuses_an_item_for_good_parks_the_batch_by_name() {
    let case = speakers(1, 30);
    let refused = Failure::As(ServiceFailure::Service {
        operation: "PutItem".into(),
        status: 400,
        code: "ValidationException".into(),
        message: "Item size has exceeded the maximum allowed size".into(),
    });
    for (op, n) in [(Op::SaveSnapshot, 1), (Op::Save, 4)] {
        let outcome = run(&scenario(&case, vec![nth(op, n, Fate::Fail(refused.clone()))]));
        let reasons: Vec<&str> =
            outcome.parked.iter().map(|dead| dead.attributes["reason"].as_str()).collect();
        assert!(!reasons.is_empty(), "{op:?}: nothing is parked");
        assert!(reasons.iter().all(|reason| *reason == "PutItem-ValidationException"), "{op:?}: {reasons:?}");
        let waited = longest_ms(&case, &outcome, 0);
        assert!(outcome.drained && waited < 60_000, "{op:?}: the session stands still for {waited} ms");
    }
}
