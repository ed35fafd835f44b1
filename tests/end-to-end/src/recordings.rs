//! Every shipped recording, all side by side, at eight times real time: the sound is right, nothing is missing, times are true.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local_stack::backend::BackendKind;
use local_stack::compare::compare;
use local_stack::replay::recording::{Line, Recording};
use local_stack::replay::speaker::Speaker;
use local_stack::replay::{SessionResult, replay};
use local_stack::report::FragmentRow;
use local_stack::stack::Stack;

use crate::{RECORDINGS, SETTLE, shipped};

const SPEED: f64 = 8.0;
/// A recorder that got no audio sends this: an EBML header, then zeros.
const STUB_BYTES: usize = 110;

/// Replays and judges them.
pub async fn all(stack: &Stack) {
    let recordings: Vec<Arc<Recording>> = RECORDINGS.map(|name| Arc::new(shipped(name))).into();
    let speaker = |(n, recording): (usize, &Arc<Recording>)| Speaker {
        recording: Arc::clone(recording),
        session_id: recording.session_id(),
        speed: SPEED,
        delay: Duration::from_millis(400) * n as u32,
    };
    let speakers: Vec<Speaker> = recordings.iter().enumerate().map(speaker).collect();
    let mut results = Vec::new();
    for some in speakers.chunks(at_once(stack.backend())) {
        results.extend(replay(stack, some, SETTLE, &()).await.unwrap());
    }
    for (recording, result) in recordings.iter().zip(&results) {
        every_chunk_is_accounted_for(recording, result);
        the_sound_is_right(recording, result);
        times_are_true(result);
    }
    a_pause_is_a_hole_in_the_streams_time(&results[1]);
}

/// How many sessions of 27 messages a second the emulator keeps up with (measured: LocalStack 29 to 67 a second, MiniStack 87 to 147).
fn at_once(backend: BackendKind) -> usize {
    match backend {
        BackendKind::LocalStack => 2,
        BackendKind::MiniStack | BackendKind::Aws => RECORDINGS.len(),
    }
}

fn every_chunk_is_accounted_for(recording: &Recording, result: &SessionResult) {
    let (name, report) = (&recording.name, &result.report);
    let stubs = recording.lines.iter().filter(|line| is_stub(line)).count();
    assert!(report.is_whole(), "{name}: chunks are lost or written twice: {report:?}");
    assert_eq!(report.chunks_sent, recording.lines.len(), "{name}");
    assert_eq!(report.chunks_written, report.chunks_sent - stubs, "{name}: {report:?}");
    assert_eq!(report.chunks_parked, stubs, "{name}: only chunks without audio are parked: {report:?}");
    assert_eq!(report.chunks_refused, 0, "{name}: {report:?}");
    assert_eq!(report.fragments, result.rows.len(), "{name}");
    assert!(report.invocations >= 1 && report.age_at_write_ms.is_some(), "{name}: {report:?}");
}

fn is_stub(line: &Line) -> bool {
    let Line::Message(fields) = line else { return false };
    STANDARD.decode(fields["audioData"].as_str().unwrap()).unwrap().len() == STUB_BYTES
}

fn the_sound_is_right(recording: &Recording, result: &SessionResult) {
    let comparison = compare(&result.audio(), &recording.reference().unwrap());
    println!("  {:<24} {comparison:?}", recording.name);
    assert!(comparison.holds(recording.recorder_runs()), "{}: {comparison:?}", recording.name);
}

/// A block of 100 ms is stamped up to 1.5 ms closer where the sample clock drifts; times are whole ms.
const SCALED_MS: u64 = 3;

fn times_are_true(result: &SessionResult) {
    let id = &result.report.session_id;
    let blocks = blocks(result);
    for pair in blocks.windows(2) {
        let (end_ms, next_ms) = (pair[0].1, pair[1].0);
        assert!(
            next_ms + SCALED_MS >= end_ms,
            "{id}: audio overlaps: some ends at {end_ms}, the next begins at {next_ms}"
        );
    }
    for (row, fragment) in result.rows.iter().zip(&result.fragments) {
        let end_ms = row.producer_timestamp_ms + row.duration_ms;
        let taken_ms = fragment.server_ms.unwrap().0;
        assert!(end_ms <= taken_ms, "{id}: a fragment ends {} ms in the future", end_ms - taken_ms);
        // 3 s, and up to 9 s where the backend was so slow that the session is behind.
        assert!(row.duration_ms <= 9_000, "{id}: a fragment of {} ms", row.duration_ms);
        assert!(row.persisted_after_ms.is_some(), "{id}: nobody knows when {row:?} was persisted");
    }
    let short = |row: &&FragmentRow| row.duration_ms < 1_000 && !fills_a_hole(row, &result.rows);
    let short: Vec<_> = result.rows.iter().rev().skip(1).filter(short).collect();
    assert!(short.is_empty(), "{id}: under a second, which the service refuses: {short:?}");
}

/// A backfill is as short as what was missing: an overloaded backend may have brought some chunks too late.
fn fills_a_hole(row: &FragmentRow, rows: &[FragmentRow]) -> bool {
    rows.iter().any(|other| other.chunk_first < row.chunk_first && row.chunk_last < other.chunk_last)
}

/// Beginning and end of each block, ms, in the order of time.
fn blocks(result: &SessionResult) -> Vec<(u64, u64)> {
    let blocks = result.fragments.iter().flat_map(|fragment| &fragment.blocks);
    let mut blocks: Vec<_> = blocks.map(|(at, pcm)| (at.0, at.0 + pcm.len().div_ceil(32) as u64)).collect();
    blocks.sort_unstable();
    blocks
}

/// The page paused for 3 s. The container hides that; the stream's time must not.
fn a_pause_is_a_hole_in_the_streams_time(result: &SessionResult) {
    let ends = blocks(result);
    let holes: Vec<u64> = ends.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].1)).collect();
    let long: Vec<&u64> = holes.iter().filter(|hole| **hole > 500).collect();
    assert!(
        matches!(long.as_slice(), [hole] if (2_500..=3_500).contains(*hole)),
        "one hole of about 3 s is where the page paused; found {long:?} ms"
    );
}
