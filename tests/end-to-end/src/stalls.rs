//! Pages that stood still while their recorders went on: nobody paused, so the stream has no hole. In real time, as it was recorded: a
//! faster replay lies in the past, where no chunk is waited for.

use std::sync::Arc;
use std::time::Duration;

use local_stack::compare::compare;
use local_stack::replay::recording::Recording;
use local_stack::replay::speaker::Speaker;
use local_stack::replay::{SessionResult, replay};
use local_stack::stack::Stack;

use crate::{SETTLE, STALLED, shipped};

/// How far the stream's length may be off that of the speech.
const LENGTH_WITHIN_MS: u64 = 500;
const PER_MS: usize = 16;

/// Replays and judges them.
pub async fn all(stack: &Stack) {
    let recordings: Vec<Arc<Recording>> = STALLED.map(|name| Arc::new(shipped(name))).into();
    let speaker = |recording: &Arc<Recording>| Speaker {
        recording: Arc::clone(recording),
        session_id: recording.session_id(),
        speed: 1.0,
        delay: Duration::ZERO,
    };
    let speakers: Vec<Speaker> = recordings.iter().map(speaker).collect();
    let results = replay(stack, &speakers, SETTLE, &()).await.unwrap();
    for (recording, result) in recordings.iter().zip(&results) {
        every_chunk_is_written(recording, result);
        the_stream_is_as_long_as_the_speech(recording, result);
        no_fragment_is_torn(recording, result);
    }
}

fn every_chunk_is_written(recording: &Recording, result: &SessionResult) {
    let (name, report) = (&recording.name, &result.report);
    assert!(report.is_whole(), "{name}: chunks are lost or written twice: {report:?}");
    assert_eq!(report.chunks_written, recording.lines.len(), "{name}: {report:?}");
    assert_eq!((report.chunks_parked, report.chunks_refused), (0, 0), "{name}: {report:?}");
}

fn the_stream_is_as_long_as_the_speech(recording: &Recording, result: &SessionResult) {
    let name = &recording.name;
    let reference = recording.reference().unwrap();
    let comparison = compare(&result.audio(), &reference);
    println!("  {name:<26} {comparison:?}");
    assert!(comparison.holds(recording.recorder_runs()), "{name}: {comparison:?}");
    let blocks = result.blocks();
    let (first, last) = (blocks.first().unwrap(), blocks.last().unwrap());
    let (stream_ms, speech_ms) = (last.end().ms_since(first.at), (reference.len() / PER_MS) as u64);
    assert!(
        stream_ms.abs_diff(speech_ms) <= LENGTH_WITHIN_MS,
        "{name}: {speech_ms} ms of speech take {stream_ms} ms of the stream: the stall was taken for a pause"
    );
}

/// Fragments are in order and none but the last is under a second, which the service refuses.
fn no_fragment_is_torn(recording: &Recording, result: &SessionResult) {
    let name = &recording.name;
    let lengths: Vec<u64> = result.rows.iter().map(|row| row.duration_ms).collect();
    let (_, others) = lengths.split_last().unwrap();
    assert!(others.iter().all(|ms| *ms >= 1_000), "{name}: fragments of {lengths:?} ms");
    let numbers: Vec<&str> = result.rows.iter().map(|row| row.fragment_number.as_str()).collect(); // all as long
    assert!(numbers.is_sorted(), "{name}: a reader of GetMedia hears fragments {numbers:?} out of order");
}
