//! Plain samples (`pcm-s16le`): a page whose browser records no Opus, and one that hands out a minute at once.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local_stack::replay::recording::{Line, Recording};
use local_stack::replay::speaker::Speaker;
use local_stack::replay::{SessionResult, replay};
use local_stack::stack::Stack;
use serde_json::json;

use crate::{SETTLE, shipped};

const SPEED: f64 = 8.0;
const PER_MS: usize = 16;
const BLOB_MS: usize = 250;
const PAUSE_MS: u64 = 20_000;
const LARGE_BYTES: usize = 1024 * 1024;
const BEGAN_MS: u64 = 1_732_622_783_000;

/// Both.
pub async fn all(stack: &Stack) {
    tokio::join!(a_worklets_page(stack), a_large_blob_after_a_pause(stack));
}

fn sound() -> Vec<i16> {
    shipped("firefox-speech").reference().unwrap()
}

/// A message of the page, captured so long after it began.
fn message(index: usize, captured_ms: u64, samples: &[i16]) -> Line {
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let fields = json!({"action": "writeToStream", "sessionId": "samples", "format": "pcm-s16le",
        "audioData": STANDARD.encode(bytes), "timestamp": BEGAN_MS + captured_ms, "chunkIndex": index});
    Line::Message(fields.as_object().unwrap().clone())
}

async fn spoken(stack: &Stack, session_id: &str, lines: Vec<Line>) -> SessionResult {
    let folder = shipped("firefox-speech").folder;
    let recording = Arc::new(Recording::of(session_id.to_owned(), folder, lines));
    let speaker = Speaker { recording, session_id: session_id.into(), speed: SPEED, delay: Duration::ZERO };
    replay(stack, &[speaker], SETTLE, &()).await.unwrap().remove(0)
}

async fn a_worklets_page(stack: &Stack) {
    let sound = sound();
    let blobs = sound.chunks(BLOB_MS * PER_MS).enumerate();
    let lines = blobs.map(|(n, blob)| message(n, ((n + 1) * BLOB_MS) as u64, blob)).collect();
    let result = spoken(stack, "samples-worklet", lines).await;
    assert!(result.report.is_whole() && result.report.chunks_parked == 0, "{:?}", result.report);
    assert!(result.audio() == sound, "samples do not arrive as they were sent");
}

/// A second of speech, a pause, and 33 s in one blob, which fits no frame.
async fn a_large_blob_after_a_pause(stack: &Stack) {
    let sound = sound();
    let first = &sound[..1_000 * PER_MS];
    let large: Vec<i16> = sound.iter().copied().cycle().take(LARGE_BYTES / 2).collect();
    let large_ms = (large.len() / PER_MS) as u64;
    let ends_ms = 1_000 + PAUSE_MS + large_ms;
    let lines =
        vec![message(0, 1_000, first), message(1, ends_ms, &large), message(2, ends_ms + 1_000, first)];
    let result = spoken(stack, "samples-large", lines).await;
    let report = &result.report;
    assert!(report.is_whole() && report.chunks_refused == 0, "{report:?}");
    let pieces = |bytes: usize| bytes.div_ceil(22 * 1024);
    let sent = 2 * pieces(2 * first.len()) + pieces(LARGE_BYTES);
    assert_eq!(report.chunks_sent, sent, "blobs go in pieces of 22 KiB");
    assert!(result.audio() == [first, &large, first].concat(), "samples do not arrive as they were sent");
    let blocks = result.blocks();
    let holes: Vec<u64> =
        blocks.windows(2).map(|pair| pair[1].at.ms_since(pair[0].end())).filter(|ms| *ms > 3).collect();
    assert!(
        matches!(holes[..], [hole] if hole.abs_diff(PAUSE_MS) <= 100),
        "one hole of 20 s lies before the blob; found {holes:?} ms"
    );
}
