//! What the writer's log lines tell about the sessions of a replay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};

use super::ledger::{Span, Whereabouts};
use crate::lock::lock;
use crate::runtime_api::LogLine;

/// One session's events so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionEvents {
    /// Chunks of the fragments that were persisted, by fragment number.
    pub fragments: BTreeMap<String, Span>,
    /// When each was known to be persisted and committed, epoch ms.
    pub persisted_ms: BTreeMap<String, u64>,
    /// Holes that were passed.
    pub gaps: Vec<Span>,
    /// Chunks that were parked.
    pub parked: BTreeSet<u64>,
    /// Why, each reason once.
    pub park_reasons: BTreeSet<String>,
    /// Times that a batch was handed back for a moment.
    pub deferrals: u64,
    /// Fragments that filled a gap.
    pub backfills: u64,
}

impl SessionEvents {
    /// What is known from the events alone.
    pub fn whereabouts(&self) -> Whereabouts {
        Whereabouts {
            fragments: self.fragments.values().copied().collect(),
            gaps: self.gaps.clone(),
            parked: self.parked.iter().copied().collect(),
        }
    }

    fn take(&mut self, event: &str, line: &Value) {
        let number = |name: &str| line[name].as_u64();
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let span = number("chunkFirst").zip(number("chunkLast")).map(|(first, last)| Span::new(first, last));
        match (event, span) {
            ("fragmentWritten", Some(span)) => {
                let fragment = text("fragmentNumber");
                self.persisted_ms.extend(number("timestampMs").map(|ms| (fragment.clone(), ms)));
                self.fragments.insert(fragment, span);
                self.backfills += u64::from(line["backfill"] == true);
            }
            ("gapOpened", Some(span)) => self.gaps.push(span),
            ("parked", span) => {
                self.park_reasons.insert(format!("{}: {}", text("reason"), text("message")));
                // An event that names more chunks than it parked says nothing about the single ones.
                let exact = span.filter(|span| Some(span.len()) == number("messages"));
                self.parked.extend(exact.into_iter().flat_map(|span| span.chunk_first..=span.chunk_last));
            }
            ("deferred", _) => self.deferrals += 1,
            _ => {}
        }
    }
}

/// Collects events while it lives.
pub struct Collector {
    sessions: Arc<Mutex<BTreeMap<String, SessionEvents>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Collector {
    /// Begins to collect what the functions print from now on.
    pub fn start(mut lines: broadcast::Receiver<Arc<LogLine>>) -> Self {
        let sessions: Arc<Mutex<BTreeMap<String, SessionEvents>>> = Arc::default();
        let collected = Arc::clone(&sessions);
        let task = tokio::spawn(async move {
            loop {
                match lines.recv().await {
                    Ok(line) => {
                        let (event, session) =
                            (line.value["event"].as_str(), line.value["sessionId"].as_str());
                        if let (Some(event), Some(session)) = (event, session) {
                            lock(&collected).entry(session.to_owned()).or_default().take(event, &line.value);
                        }
                    }
                    Err(RecvError::Lagged(lines)) => tracing::warn!(lines, "log lines were lost"),
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Self { sessions, task }
    }

    /// What is known of a session by now.
    pub fn of(&self, session_id: &str) -> SessionEvents {
        lock(&self.sessions).get(session_id).cloned().unwrap_or_default()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_become_whereabouts() {
        let mut events = SessionEvents::default();
        let lines = [
            json!({"event": "deferred", "records": 2, "seconds": 2, "why": "young"}),
            json!({"event": "fragmentWritten", "fragmentNumber": "9", "chunkFirst": 0, "chunkLast": 6,
                "timestampMs": 77, "backfill": false}),
            json!({"event": "gapOpened", "chunkFirst": 3, "chunkLast": 4}),
            json!({"event": "parked", "chunkFirst": 3, "chunkLast": 4, "messages": 2, "reason": "r", "message": "m"}),
            json!({"event": "parked", "chunkFirst": 8, "chunkLast": 12, "messages": 2, "reason": "r", "message": "m"}),
            json!({"event": "parked", "messages": 1, "reason": "NOT_JSON", "message": "m"}),
        ];
        for line in &lines {
            events.take(line["event"].as_str().unwrap(), line);
        }
        let expected =
            Whereabouts { fragments: vec![Span::new(0, 6)], gaps: vec![Span::new(3, 4)], parked: vec![3, 4] };
        assert_eq!(events.whereabouts(), expected);
        assert_eq!((events.deferrals, events.persisted_ms["9"], events.park_reasons.len()), (1, 77, 2));
    }
}
