//! What the gateway sees of each chunk, as log lines beside the functions' own: those never print a line per chunk.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::broadcast;

use crate::replay::speaker::now_ms;
use crate::runtime_api::LogLine;

/// The name under which its lines go.
const NAME: &str = "gateway";

/// Tells of connections and chunks, where somebody wants to know. Cheap to clone.
#[derive(Clone, Default)]
pub struct Witness(Option<broadcast::Sender<Arc<LogLine>>>);

impl Witness {
    /// Tells `lines`.
    pub fn new(lines: broadcast::Sender<Arc<LogLine>>) -> Self {
        Self(Some(lines))
    }

    /// A connection opened or ended.
    pub(super) fn connection(&self, event: &str, session_id: &str) {
        self.tell(|| Some(json!({"event": event, "sessionId": session_id})));
    }

    /// A message came in.
    pub(super) fn message(&self, session_id: &str, body: &str) {
        self.tell(|| {
            let body: Value = serde_json::from_str(body).ok()?;
            (body["action"] == "audioChunk").then(|| {
                json!({"event": "chunkSent", "sessionId": session_id, "chunkIndex": body["chunkIndex"],
                    "capturedMs": body["timestamp"], "bytes": body["audioData"].as_str().map_or(0, str::len) / 4 * 3})
            })
        });
    }

    /// Its answer goes out.
    pub(super) fn reply(&self, session_id: &str, text: &str) {
        self.tell(|| {
            let reply: Value = serde_json::from_str(text).ok()?;
            let event = match reply["type"].as_str()? {
                "ack" if reply["action"] != "endStream" => "chunkQueued",
                "error" => "chunkRefused",
                _ => return None,
            };
            Some(json!({"event": event, "sessionId": session_id, "chunkIndex": reply["chunkIndex"],
                "capturedMs": reply["timestamp"], "reason": reply["code"]}))
        });
    }

    fn tell(&self, line: impl FnOnce() -> Option<Value>) {
        let Some(lines) = self.0.as_ref().filter(|lines| lines.receiver_count() > 0) else { return };
        let Some(mut value) = line() else { return };
        value["timestampMs"] = json!(now_ms());
        let line = LogLine { function: NAME.into(), environment: 0, pid: std::process::id(), value };
        let _ = lines.send(Arc::new(line)); // the listener has just gone
    }
}
