//! How long chunks waited, as the writer's log lines tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

use crate::runtime_api::LogLine;

/// The writer's longest deferral of a young batch.
const DEFERRAL_MS: u64 = 2_000;

/// The longest waits of a session's chunks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waits {
    /// From the end of a live fragment's audio until it was persisted, ms, of what was spoken while things went wrong.
    pub written_ms: u64,
    /// The same of what was spoken when that was over.
    pub written_after_ms: u64,
    /// From a chunk's capture until it was parked, ms.
    pub parked_ms: u64,
    /// From a session's last parking until its next live fragment, ms; `None` where either is missing.
    pub live_again_ms: Option<u64>,
}

/// Sessions whose own stream was well and whose chunks waited longer by more than a deferral while another's failed than those of
/// all the well ones when that was over.
pub fn held_up(waits: &BTreeMap<String, Waits>) -> Vec<String> {
    let well: Vec<_> = waits.iter().filter(|(_, waits)| waits.parked_ms == 0).collect();
    let calm_ms = well.iter().map(|(_, waits)| waits.written_after_ms).max().unwrap_or_default();
    let late = well.iter().filter(|(_, waits)| waits.written_ms > calm_ms + DEFERRAL_MS);
    late.map(|(session, _)| (*session).clone()).collect()
}

/// What the log tells of a session.
#[derive(Default)]
struct Seen {
    waits: Waits,
    parked_at: Option<u64>,
}

/// Reads the lines that have come so far. Things went wrong until `over_ms` (epoch ms); `captured_ms` knows when a session's chunk was
/// captured.
pub fn waits(
    lines: &mut Receiver<Arc<LogLine>>,
    over_ms: u64,
    captured_ms: impl Fn(&str, u64) -> Option<u64>,
) -> BTreeMap<String, Waits> {
    let mut sessions: BTreeMap<String, Seen> = BTreeMap::new();
    loop {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Lagged(lines)) => {
                tracing::warn!(lines, "log lines were lost");
                continue;
            }
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        };
        let text = |name: &str| line.value[name].as_str();
        let number = |name: &str| line.value[name].as_u64();
        let (Some(event), Some(session), Some(now)) =
            (text("event"), text("sessionId"), number("timestampMs"))
        else {
            continue;
        };
        let seen = sessions.entry(session.to_owned()).or_default();
        match event {
            "fragmentWritten" if line.value["backfill"] == false => {
                let waited = number("ageMs").unwrap_or_default();
                let longest = match now.saturating_sub(waited) < over_ms {
                    true => &mut seen.waits.written_ms,
                    false => &mut seen.waits.written_after_ms,
                };
                *longest = waited.max(*longest);
                if let Some(parked_at) = seen.parked_at.take() {
                    seen.waits.live_again_ms = Some(now.saturating_sub(parked_at));
                }
            }
            "parked" => {
                let captured = number("chunkFirst").and_then(|first| captured_ms(session, first));
                let waited = captured.map_or(0, |captured| now.saturating_sub(captured));
                seen.waits.parked_ms = seen.waits.parked_ms.max(waited);
                seen.parked_at = Some(now);
            }
            _ => {}
        }
    }
    sessions.into_iter().map(|(session, seen)| (session, seen.waits)).collect()
}
