//! A speaker who sends what no recorder hands out, much of it at once.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use writer::ports::SessionStatus;

use crate::run::{Arrival, Incident};
use crate::speech::session::BEGIN_MS;

/// The capture times of two chunks that follow each other differ by so much, as if each held no more.
pub const STAMPED_MS: u64 = 300;
/// They are sent so fast.
pub const SENT_MS: u64 = 45;

/// A session that is active.
pub fn begin(session: &str) -> Arrival {
    Arrival { at_ms: BEGIN_MS, what: Incident::Status(session.to_owned(), SessionStatus::Active) }
}

/// Chunk `index` of a session, captured so long after the session's start, and sent then.
pub fn chunk(
    session: &str,
    index: usize,
    bytes: &[u8],
    format: &str,
    (captured_ms, sent_ms): (u64, u64),
) -> Arrival {
    let body = json!({
        "action": "writeToStream",
        "sessionId": session,
        "audioData": STANDARD.encode(bytes),
        "timestamp": BEGIN_MS + captured_ms,
        "format": format,
        "chunkIndex": index,
    });
    let what = Incident::Message {
        group: session.to_owned(),
        deduplication: format!("{session}#{index}"),
        body: body.to_string(),
    };
    Arrival { at_ms: BEGIN_MS + sent_ms, what }
}

/// Chunks from `first` on, all of them within half a second if there are ten; `from_ms` after the session's start.
pub fn burst<'a>(
    session: &'a str,
    first: usize,
    chunks: &'a [Vec<u8>],
    format: &'a str,
    from_ms: u64,
) -> impl Iterator<Item = Arrival> + 'a {
    let times =
        move |i: u64| (from_ms + i * STAMPED_MS, from_ms + chunks.len() as u64 * STAMPED_MS + i * SENT_MS);
    (0..).zip(chunks).map(move |(i, bytes)| chunk(session, first + i as usize, bytes, format, times(i)))
}
