//! Speakers who send what no recorder hands out: all of it is written, or parked with a reason, and nothing is left where no message
//! brings the session back to it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use ingest::checkpoint::Checkpoint;
use ingest::failure::ServiceFailure;
use recorder::{Container, Recorder, packets};
use serde_json::Value;
use simulation::faults::{Failure, Fate, Fault, On, Op};
use simulation::hostile::{begin, burst};
use simulation::run::{Arrival, Outcome, Scenario, run};
use writer::event::Event;

const SESSION: &str = "s";
const WEBM: &str = "webm-opus";
/// Ten chunks of so many seconds of sound.
fn long_chunks(seconds: usize, each_a_recording: bool) -> Vec<Vec<u8>> {
    let sound = |chunks: usize, run: u8| {
        let mut recorder = Recorder::chromium();
        if let Container::Webm(webm) = &mut recorder.container {
            webm.uid += u64::from(run); // each run of a recorder draws another
        }
        let packet = |n: usize| [&[0xfb, 3, run][..], &n.to_le_bytes()[..2], &[7; 30]].concat(); // three frames of 20 ms
        let recording = recorder.record(&(0..chunks * seconds * 1_000 / 60).map(packet).collect::<Vec<_>>());
        (recording.bytes, recording.packets)
    };
    if each_a_recording {
        return (0..10).map(|run| sound(1, run).0).collect();
    }
    let (bytes, written) = sound(10, 0);
    let ends: Vec<usize> = (1..=10).map(|n| written[n * written.len() / 10 - 1].end).collect();
    let begins = [&[0][..], &ends].concat();
    begins.iter().zip(&ends).map(|(from, to)| bytes[*from..*to].to_vec()).collect()
}

fn scenario(seed: u64, arrivals: impl Iterator<Item = Arrival>) -> Scenario {
    let arrivals: Vec<Arrival> = [begin(SESSION)].into_iter().chain(arrivals).collect();
    Scenario { seed, arrivals, ..Scenario::default() }
}

/// The session's state at the end.
fn checkpoint(outcome: &Outcome) -> Checkpoint {
    Checkpoint::decode(&outcome.world.store.load(SESSION).unwrap().bytes).unwrap()
}

fn written_ms(outcome: &Outcome) -> u64 {
    let stream = outcome.world.streams.by_session.get(SESSION);
    let samples = stream.map_or(0, |s| s.fragments.iter().map(|f| f.media.samples().0).sum());
    samples / 16
}

/// What lies in the DLQ: which chunks, and why.
fn parked(outcome: &Outcome) -> (BTreeSet<u64>, BTreeSet<String>) {
    let index = |body: &str| serde_json::from_str::<Value>(body).unwrap()["chunkIndex"].as_u64().unwrap();
    let dead = &outcome.world.queue.dead;
    (
        dead.iter().map(|d| index(&d.body)).collect(),
        dead.iter().map(|d| d.attributes["reason"].clone()).collect(),
    )
}

/// Each of ten chunks of so many seconds is written or in the DLQ, and the queue and the list of what is set aside are empty.
fn assert_told(outcome: &Outcome, seconds: usize, what: &str) {
    assert!(outcome.drained, "{what}: the queue never drains");
    let aside = checkpoint(outcome).aside.chunks();
    assert_eq!(
        aside, 0,
        "{what}: {aside} chunks are acknowledged, and no message brings the session back to them"
    );
    let (parked, reasons) = parked(outcome);
    let chunk_ms = (seconds * 1_000 / 60 * 60) as u64;
    let (written_ms, expected_ms) = (written_ms(outcome), (10 - parked.len()) as u64 * chunk_ms);
    println!("{what}: {written_ms} ms written, {} chunks parked: {reasons:?}", parked.len());
    // A chunk may be parked whose beginning is written already.
    let most_ms = expected_ms + u64::from(!parked.is_empty()) * chunk_ms;
    assert!(
        (expected_ms..=most_ms).contains(&written_ms),
        "{what}: {written_ms} ms of {expected_ms} are written"
    );
}

/// Once chunk 9 was in doubt until SQS gave it up, and chunks 0 to 8 were set aside with nothing left to bring them back.
#[test]
fn ten_long_chunks_sent_at_once_are_written_or_parked() {
    for (seconds, each_a_recording) in [(30, false), (30, true), (110, false), (110, true)] {
        let chunks = long_chunks(seconds, each_a_recording);
        assert!(chunks.iter().all(|chunk| chunk.len() <= recorder::CHUNK_BYTES), "they fit the queue");
        for seed in 0..6 {
            let full_deliveries = seed % 2 == 0;
            let arrivals = burst(SESSION, 0, &chunks, WEBM, 0);
            let outcome = run(&Scenario { full_deliveries, ..scenario(seed, arrivals) });
            assert_told(
                &outcome,
                seconds,
                &format!("{seconds} s, each a recording: {each_a_recording}, seed {seed}"),
            );
        }
    }
}

const LOST: usize = 3;
const CHUNKS: usize = 24;
/// By then chunks are set aside, and chunk 3 is still waited for.
const ASIDE_MS: u64 = 1_500;

/// A page sends 24 chunks at once, and chunk 3 never comes; from when on chunks are set aside, this goes wrong for good.
fn waiting_for_a_lost_chunk(op: Op, fate: Fate) -> Scenario {
    let recording = Recorder::chromium().record(&packets(60_000, CHUNKS * 5, 1));
    let ends = recording.packets.iter().skip(4).step_by(5).map(|packet| packet.end);
    let begins = [0].into_iter().chain(ends.clone());
    let chunks: Vec<Vec<u8>> =
        begins.zip(ends).map(|(from, to)| recording.bytes[from..to].to_vec()).collect();
    let burst = burst(SESSION, 0, &chunks, WEBM, 0).enumerate().filter(|(i, _)| *i != LOST);
    let mut scenario = scenario(1, burst.map(|(_, arrival)| arrival));
    let from_ms = scenario.arrivals.last().unwrap().at_ms + ASIDE_MS;
    let on = On::During { op, session: Some(SESSION.into()), from_ms, to_ms: u64::MAX / 2 };
    scenario.faults.push(Fault { on, fate });
    scenario
}

/// Chunks that fragments hold.
fn written(outcome: &Outcome) -> BTreeSet<u64> {
    let chunks = |event: &Event| match event {
        Event::FragmentWritten { chunk_first, chunk_last, .. } => Some(*chunk_first..=*chunk_last),
        _ => None,
    };
    let mut written: BTreeSet<u64> =
        outcome.world.events.iter().filter_map(|(_, event)| chunks(event)).flatten().collect();
    written.remove(&(LOST as u64));
    written
}

/// One message is left in the queue to bring the session back to what is set aside. Whatever becomes of it, the rest goes with it.
#[test]
fn what_is_set_aside_shares_the_fate_of_the_message_that_it_waits_for() {
    let refused = ServiceFailure::Service {
        operation: "PutItem".into(),
        status: 400,
        code: "ValidationException".into(),
        message: String::new(),
    };
    let cases = [
        ("its worker panics", Op::Status, Fate::Panic, "CRASHED"),
        ("its worker dies before any lease", Op::Status, Fate::CrashBefore, "CRASHED"),
        ("its worker dies at each PutMedia", Op::Put, Fate::CrashBefore, "CRASHED"),
        ("the queue gives it up", Op::Status, Fate::Fail(Failure::Denied), "RECEIVED_TOO_OFTEN"),
        ("the queue gives it up", Op::Status, Fate::Fail(Failure::TimedOut), "RECEIVED_TOO_OFTEN"),
        (
            "no item is taken",
            Op::SaveSnapshot,
            Fate::Fail(Failure::As(refused)),
            "PutItem-ValidationException",
        ),
        ("the stream is refused for good", Op::Put, Fate::Fail(Failure::Ack(4006)), "ack-4006"),
    ];
    for (what, op, fate, reason) in cases {
        let mut scenario = waiting_for_a_lost_chunk(op, fate);
        scenario.config.last_receive = 20; // the template's 90 take seven hours
        let outcome = run(&scenario);
        assert!(outcome.drained, "{what}: the queue never drains");
        let set_aside = outcome.world.events.iter().any(|(_, event)| matches!(event, Event::SetAside { .. }));
        assert!(set_aside, "{what}: nothing was set aside, so the test tests nothing");
        let aside = checkpoint(&outcome).aside.chunks();
        assert_eq!(aside, 0, "{what}: {aside} chunks are acknowledged, and no message brings them back");
        let (parked, reasons) = parked(&outcome);
        assert!(reasons.contains(reason), "{what}: {reasons:?}");
        let told: BTreeSet<u64> = parked.union(&written(&outcome)).copied().collect();
        let sent: BTreeSet<u64> = (0..CHUNKS as u64).filter(|i| *i != LOST as u64).collect();
        assert_eq!(told, sent, "{what}: chunks are neither written nor parked");
    }
}

/// DynamoDB is away until SQS has given the message up: nobody could park the rest. The message's redrive brings all of it back.
#[test]
fn a_redrive_of_the_message_that_sqs_moved_brings_back_what_is_set_aside() {
    let mut scenario = waiting_for_a_lost_chunk(Op::Load, Fate::Fail(Failure::TimedOut));
    scenario.services.queue.max_receive_count = 12;
    let from_ms = scenario.arrivals.last().unwrap().at_ms;
    if let On::During { to_ms, .. } = &mut scenario.faults[0].on {
        *to_ms = from_ms + 3_600_000;
    }
    let outcome = run(&Scenario { redrives: 1, ..scenario });
    assert!(outcome.drained, "the queue never drains");
    assert!(!outcome.parked.is_empty(), "the test waits too short for SQS to move anything");
    assert_eq!(checkpoint(&outcome).aside.chunks(), 0);
    let sent: BTreeSet<u64> = (0..CHUNKS as u64).filter(|i| *i != LOST as u64).collect();
    assert_eq!(written(&outcome), sent, "the redrive does not restore");
}
