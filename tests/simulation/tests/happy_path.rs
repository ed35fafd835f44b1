//! Nothing goes wrong: the shipped recordings, live, one at a time.

#![allow(clippy::unwrap_used)]

use simulation::real::Recording;
use simulation::run::{Outcome, Scenario, run};
use writer::event::Event;

fn play(recording: &Recording) -> Outcome {
    let scenario = Scenario { arrivals: recording.arrivals(40), trace: true, ..Scenario::default() };
    run(&scenario)
}

fn read_back(outcome: &Outcome, session: &str) -> Vec<i16> {
    let mut fragments = outcome.world.streams.by_session[session].fragments.clone();
    fragments.sort_by_key(|f| f.at);
    fragments.iter().flat_map(|f| f.media.pcm()).collect()
}

fn check(name: &str) {
    let recording = Recording::load(name).unwrap();
    let outcome = play(&recording);
    let trace = outcome.world.trace.as_ref().unwrap().join("\n");
    assert!(outcome.drained, "the queue never drains:\n{trace}");
    let fragments = &outcome.world.streams.by_session[name].fragments;
    let lengths: Vec<u64> = fragments.iter().map(|f| f.media.samples().ms_floor()).collect();
    let deferrals = outcome.world.events.iter().filter(|(_, e)| matches!(e, Event::Deferred { .. })).count();
    println!("{name}: fragments {lengths:?} ms, {deferrals} deferrals, {} invocations", outcome.invocations);
    let expected = recording.one_pass();
    let pcm = read_back(&outcome, name);
    assert_eq!(pcm.len(), expected.len(), "audio is missing or doubled:\n{trace}");
    let differs = pcm.iter().zip(&expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "batching changes the sound from this sample on:\n{trace}");
}

#[test]
fn a_chromium_recording_reads_back_as_one_pass() {
    check("chromium-speech-default");
}

#[test]
fn a_firefox_recording_reads_back_as_one_pass() {
    check("firefox-speech");
}

#[test]
fn a_restarted_recorder_reads_back_as_one_pass() {
    check("chromium-restart");
}

#[test]
fn a_paused_recorder_reads_back_as_one_pass() {
    check("chromium-pause-resume");
}

#[test]
fn one_recorder_per_chunk_reads_back_as_one_pass() {
    check("chromium-self-contained");
}
