//! A live session: at real time, fragments are about two seconds long and none waits.

use std::sync::Arc;
use std::time::Duration;

use local_stack::backend::BackendKind;
use local_stack::compare::compare;
use local_stack::replay::replay;
use local_stack::replay::speaker::Speaker;
use local_stack::stack::Stack;

use crate::{SETTLE, beginning};

/// 15 s of a session.
const CHUNKS: usize = 51;
const AGE_P99_MS_MAX: u64 = 4_000;
/// LocalStack looks only once a second for messages whose visibility timeout has passed (its `QueueUpdateWorker`), so a deferral
/// lasts up to a second longer there than on SQS.
const LOCALSTACK_LATE_MS: u64 = 1_000;

/// Speaks at real time.
pub async fn one_session(stack: &Stack) {
    let recording = Arc::new(beginning("chromium-speech-default", CHUNKS));
    let speaker = Speaker {
        recording: Arc::clone(&recording),
        session_id: "live-1".into(),
        speed: 1.0,
        delay: Duration::ZERO,
    };
    let results = replay(stack, &[speaker], SETTLE, &()).await.unwrap();
    let (report, rows) = (&results[0].report, &results[0].rows);
    println!(
        "  live: {:?}, {} deferrals, {} invocations",
        report.age_at_write_ms, report.deferrals, report.invocations
    );
    assert_eq!((report.chunks_written, report.chunks_missing.len()), (CHUNKS, 0), "{report:?}");

    let lengths: Vec<u64> = rows.iter().map(|row| row.duration_ms).collect();
    println!("  live: fragments of {lengths:?} ms");
    let (last, others) = lengths.split_last().unwrap();
    assert!(
        others.iter().all(|ms| (1_800..=3_000).contains(ms)) && *last <= 3_000,
        "fragments of a live session are 1.8 to 3 s long, but for the last: {lengths:?}"
    );
    let age = report.age_at_write_ms.unwrap();
    let late_ms = if stack.backend() == BackendKind::LocalStack { LOCALSTACK_LATE_MS } else { 0 };
    assert!(age.p99 <= AGE_P99_MS_MAX + late_ms, "live audio is in the stream within 4 s: {age:?}");

    let audio = results[0].audio();
    let reference = &recording.reference().unwrap()[..audio.len()];
    let comparison = compare(&audio, reference);
    assert!(comparison.holds(1), "{comparison:?}");
}
