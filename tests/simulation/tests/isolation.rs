//! One session's trouble is its own: nine speakers share deliveries with a tenth whose stream fails.

use std::collections::BTreeMap;

use simulation::case::Case;
use simulation::evidence::{Evidence, SessionEvidence};
use simulation::faults::{Failure, Fate, Fault, On, Op};
use simulation::run::{Outcome, Scenario, run};
use simulation::speech::session::{Session, Take};

const SESSIONS: usize = 10;
/// One deferral: SQS counts its delay in whole seconds, and the writer rounds up.
const DEFERRAL_MS: u64 = 2_000;

fn meeting(faults: Vec<Fault>) -> Case {
    let sessions = (0..SESSIONS).map(|n| {
        let session = Session::of(&format!("s{n}"), vec![Take::steady(n % 4, 60)]);
        Session { begins_ms: session.begins_ms + n as u64 * 7, end_after_ms: Some(60), ..session }
    });
    // A mapping begins with five concurrent batches (aws-facts 6).
    Case { processes: 5, sessions: sessions.collect(), faults, ..Case::quiet() }
}

fn failing(op: Op, session: &str, fate: Fate) -> Fault {
    Fault { on: On::During { op, session: Some(session.into()), from_ms: 0, to_ms: u64::MAX / 2 }, fate }
}

/// The longest that a chunk of each session was under way, from the queue to its persisted fragment.
fn longest_ms(case: &Case, outcome: &Outcome) -> BTreeMap<String, u64> {
    let evidence = Evidence::gather(&case.sessions, outcome, false);
    let longest = |session: &SessionEvidence<'_>| {
        let stored: BTreeMap<u64, u64> = session.fragments.iter().map(|f| (f.number, f.stored_ms)).collect();
        let mut waited = BTreeMap::new();
        for heard in &session.heard {
            let id = heard.id.expect("nothing disturbs the sound");
            let chunk = session.spoken_at((0, id.frame)).expect("the frame was spoken").chunk;
            waited.insert(chunk, stored[&heard.number] - session.arrived_ms[chunk].expect("it was sent"));
        }
        assert_eq!(waited.len(), session.facts.len(), "chunks of {} are not persisted", session.session.name);
        waited.into_values().max().unwrap_or_default()
    };
    evidence.sessions.iter().map(|session| (session.session.name.clone(), longest(session))).collect()
}

#[test]
fn a_session_that_fails_for_good_delays_no_other_by_more_than_a_deferral() {
    let quiet = meeting(Vec::new());
    let undisturbed = longest_ms(&quiet, &run(&quiet.scenario(false)));
    println!("undisturbed: {undisturbed:?}");
    for (op, fate) in [
        (Op::Put, Fate::Fail(Failure::Ack(4006))),
        (Op::Put, Fate::Fail(Failure::Ack(5000))),
        (Op::Put, Fate::Fail(Failure::TimedOut)),
        (Op::Put, Fate::Slow(60_000)),
        (Op::Save, Fate::Fail(Failure::Denied)),
        (Op::Load, Fate::Fail(Failure::TimedOut)),
        (Op::Load, Fate::Panic),
        (Op::Put, Fate::Panic),
    ] {
        let mut case = meeting(vec![failing(op, "s3", fate.clone())]);
        let until_ms = Some(case.begins_ms() + 60_000);
        let outcome = run(&Scenario { redrives: 0, until_ms, ..case.scenario(false) });
        case.sessions.retain(|session| session.name != "s3");
        let disturbed = longest_ms(&case, &outcome);
        println!("{op:?} {fate:?}: {disturbed:?}");
        for (session, longest_ms) in &disturbed {
            let late_ms = longest_ms.saturating_sub(undisturbed[session]);
            assert!(
                late_ms <= DEFERRAL_MS,
                "{op:?} {fate:?} of s3: {session} waits {longest_ms} ms, {late_ms} ms longer than without it"
            );
        }
    }
}

/// For a minute a stream is away, or the code that writes to it panics: nothing waits in the queue for longer than the bound and one
/// attempt, so the live audio comes to its turn; after a redrive the whole session is there, once.
#[test]
fn a_failing_session_blocks_itself_for_a_bounded_time() {
    let failures = [Failure::Ack(5000), Failure::TimedOut, Failure::Disconnected, Failure::Internal];
    let failures = failures.map(|failure| (Fate::Fail(failure), BLOCKED_MS + LAST_ATTEMPT_MS));
    for (fate, bound_ms) in failures.into_iter().chain([(Fate::Panic, BLOCKED_MS)]) {
        let mut case = meeting(Vec::new());
        case.sessions.truncate(1);
        case.sessions[0].takes[0] = Take::steady(0, 76); // the tape's end
        let (from_ms, to_ms) = (case.begins_ms() + 5_000, case.begins_ms() + 65_000);
        let on = On::During { op: Op::Put, session: None, from_ms, to_ms };
        case.faults = vec![Fault { on, fate: fate.clone() }];
        let (outcome, violations) = case.judge_traced(false);
        assert_eq!(violations, [], "{fate:?}");
        let arrived: BTreeMap<String, u64> = case.sessions[0]
            .arrivals()
            .into_iter()
            .filter_map(|arrival| match arrival.what {
                simulation::run::Incident::Message { body, .. } => Some((body, arrival.at_ms)),
                simulation::run::Incident::Status(..) => None,
            })
            .collect();
        let parked = outcome.parked.iter().map(|dead| dead.since_ms - arrived[&dead.body]).max();
        let longest = parked.unwrap_or(u64::MAX); // the outage outlasts the bound
        println!("{fate:?}: parked after {longest} ms at most");
        assert!(longest <= bound_ms, "{fate:?}: a chunk waited {longest} ms for its turn to be parked");
    }
}

/// Until a batch is ripe, the bound, and a wait between attempts.
const BLOCKED_MS: u64 = 3_000 + 20_000 + 4_000;
/// The last attempt with its probe; a panic ends one at once.
const LAST_ATTEMPT_MS: u64 = 9_000;
