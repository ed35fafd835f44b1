//! Draws services in trouble: what is persisted late, and an archive that is away.

use fastrand::Rng;
use writer::Config;

use super::Case;
use super::kinds::{Kind, Kinds};
use crate::faults::{Failure, Fate, Fault, On, Op};
use crate::speech::session::{BEGIN_MS, Session, Take};

/// The longest persistence that anybody speaks of (SPECIFICATION.md, "A write").
const LATEST_MS: u64 = 20_000;

/// What the model adds to a late persistence: half of the call's time, and what it has of its own.
const AND_MORE_MS: u64 = 700;

/// Adds the services' trouble; where speakers may be in trouble, too, only to some cases.
pub fn trouble(case: &mut Case, kinds: Kinds) {
    let mut rng = Rng::with_seed(case.seed.rotate_left(32));
    if !kinds.of_speakers().is_empty() && rng.u8(0..3) > 0 {
        return;
    }
    if kinds.has(Kind::Late) {
        late(&mut rng, case);
    }
    if kinds.has(Kind::Archive) {
        archive(&mut rng, case);
    }
    case.undisturbed &= case.faults.is_empty();
}

/// PutMedia's connections break, and the service persists later what it has. Beyond the time that the writer waits for, nobody can keep a
/// second fragment away: there one speaker, who speaks for so long that the last look comes late enough, has no other trouble.
fn late(rng: &mut Rng, case: &mut Case) {
    let within_ms = Config::default().persisted_within_ms;
    if rng.bool() {
        *case = Case { seed: case.seed, processes: case.processes, ..alone() };
        case.faults.push(put(rng, "s0", within_ms + 1, LATEST_MS));
        return;
    }
    for _ in 0..rng.u8(1..=3) {
        let session = case.sessions[rng.usize(0..case.sessions.len())].name.clone();
        case.faults.push(put(rng, &session, 500, within_ms - AND_MORE_MS));
    }
}

fn put(rng: &mut Rng, session: &str, least_ms: u64, most_ms: u64) -> Fault {
    let failure = if rng.bool() { Failure::Disconnected } else { Failure::TimedOut };
    let on = On::Nth { op: Op::Put, session: session.to_owned(), n: rng.u64(0..6) };
    Fault { on, fate: Fate::FailLate(failure, rng.u64(least_ms..=most_ms)) }
}

/// One speaker for 46 s, whose recorder restarts half-way.
fn alone() -> Case {
    let mut second = Take::steady(1, 76);
    second.chunks.iter_mut().for_each(|chunk| chunk.handed_out_ms += 23_000);
    let session = Session::of("s0", vec![Take::steady(0, 76), second]);
    Case { sessions: vec![Session { end_after_ms: Some(60), ..session }], ..Case::quiet() }
}

/// PutMedia's answers are lost or it is away, and ListFragments is away for longer.
fn archive(rng: &mut Rng, case: &mut Case) {
    let session = rng.bool().then(|| case.sessions[rng.usize(0..case.sessions.len())].name.clone());
    let from_ms = BEGIN_MS + rng.u64(0..12_000);
    let put_ms = rng.u64(1_000..20_000);
    let find_ms = put_ms + *rng.choice(&[2_000, 10_000, 60_000, 900_000]).unwrap_or(&2_000);
    let away = [Failure::TimedOut, Failure::Disconnected, Failure::Internal];
    let mut failure = || rng.choice(&away).cloned().unwrap_or(Failure::Internal);
    let (find, put) = (Fate::Fail(failure()), failure());
    let put = if rng.bool() { Fate::FailAfter(put) } else { Fate::Fail(put) };
    for (op, ms, fate) in [(Op::Put, put_ms, put), (Op::Find, find_ms, find)] {
        let on = On::During { op, session: session.clone(), from_ms, to_ms: from_ms + ms };
        case.faults.push(Fault { on, fate });
    }
}
