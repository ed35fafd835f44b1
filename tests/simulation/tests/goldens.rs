//! What the writer stores stays what it was, byte for byte: checkpoints, snapshots, fragments, parked messages and notes.
//!
//! A change here reaches sessions that are under way during a deployment. Where one is meant, `UPDATE_GOLDENS=1` writes the files
//! again, and the commit says why; `GOLDEN_DUMP=folder` writes the bytes to look at.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use media::hash::Fnv;
use simulation::faults::{Failure, Fate, Fault, On, Op};
use simulation::real::Recording;
use simulation::run::{Scenario, run};
use simulation::world::Services;

/// Plays the recording, and compares all that is stored with the golden of this name.
fn check(golden: &str, recording: &str, faults: Vec<Fault>) {
    let recording = Recording::load(recording).unwrap();
    let services = Services { call_ms: (5, 5), put_ms: (200, 200), ..Services::default() };
    let arrivals = recording.arrivals(40);
    let scenario = Scenario {
        services,
        arrivals,
        faults,
        redrives: 1,
        journal: true,
        processes: 1,
        ..Scenario::default()
    };
    let outcome = run(&scenario);
    assert!(outcome.drained, "{golden}: the queue never drains");
    let mut stored = String::new();
    for (n, (what, bytes)) in outcome.world.journal.as_ref().unwrap().iter().enumerate() {
        writeln!(stored, "{what} | {} bytes {}", bytes.len(), Fnv::of(bytes)).unwrap();
        if let Ok(folder) = std::env::var("GOLDEN_DUMP") {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(Path::new(&folder).join(format!("{golden}-{n:03}")), bytes).unwrap();
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(golden);
    if std::env::var("UPDATE_GOLDENS").is_ok() {
        std::fs::write(&file, &stored).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap();
    let differs = expected.lines().zip(stored.lines()).position(|(a, b)| a != b);
    if let Some(n) = differs {
        let (before, now) = (expected.lines().nth(n).unwrap(), stored.lines().nth(n).unwrap());
        panic!(
            "{golden}: a running session would store something else, at line {}:\n- {before}\n+ {now}",
            n + 1
        );
    }
    assert_eq!(expected.lines().count(), stored.lines().count(), "{golden}: more or less is stored");
}

#[test]
fn the_recordings_are_stored_as_they_were() {
    for name in [
        "chromium-speech-default",
        "firefox-speech",
        "chromium-restart",
        "chromium-pause-resume",
        "chromium-self-contained",
    ] {
        check(name, name, Vec::new());
    }
}

#[test]
fn a_redriven_run_is_stored_as_it_was() {
    for name in ["firefox-speech", "chromium-speech-default"] {
        let recording = Recording::load(name).unwrap();
        let from_ms = recording.captured_ms[20];
        let outage = |op, failure, from_ms: u64, ms| Fault {
            on: On::During { op, session: None, from_ms, to_ms: from_ms + ms },
            fate: Fate::Fail(failure),
        };
        let unclear = Fault {
            on: On::Nth { op: Op::Put, session: name.to_owned(), n: 1 },
            fate: Fate::FailAfter(Failure::TimedOut),
        };
        let refused = Fault {
            on: On::Nth { op: Op::Put, session: name.to_owned(), n: 2 },
            fate: Fate::Fail(Failure::Ack(4006)),
        };
        let faults = vec![unclear, refused, outage(Op::Put, Failure::Ack(4000), from_ms, 25_000)];
        check(&format!("{name}-redriven"), name, faults);
    }
}

#[test]
fn a_run_with_crashes_is_stored_as_it_was() {
    let calls = [17, 40, 61, 95, 130, 171].into_iter().enumerate();
    let crash = |(n, call): (usize, u64)| Fault {
        on: On::Call(call),
        fate: if n % 2 == 0 { Fate::CrashBefore } else { Fate::CrashAfter },
    };
    check("chromium-restart-crashes", "chromium-restart", calls.map(crash).collect());
}
