//! The shipped browser recordings as scenarios, with one pass of libopus over each as the judge.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use media::demux::{Demuxer, Item};
use media::opus::Decoder;
use serde_json::Value;
use writer::ports::SessionStatus;

use crate::run::{Arrival, Incident};

/// A recording: the queue messages as a browser and connection_handler made them.
pub struct Recording {
    /// Its session.
    pub session: String,
    /// Message bodies in order.
    pub bodies: Vec<String>,
    /// Each one's capture time.
    pub captured_ms: Vec<u64>,
    /// Each one's blob.
    pub blobs: Vec<Vec<u8>>,
}

impl Recording {
    /// Reads one of `tests/end-to-end/recordings`.
    ///
    /// # Errors
    /// Says which file or line is at fault.
    pub fn load(name: &str) -> anyhow::Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../end-to-end/recordings").join(name);
        let file = folder.join("messages.jsonl");
        let text = std::fs::read_to_string(&file).map_err(|e| anyhow::anyhow!("{}: {e}", file.display()))?;
        let mut recording =
            Self { session: name.to_owned(), bodies: Vec::new(), captured_ms: Vec::new(), blobs: Vec::new() };
        for line in text.lines() {
            let mut message: Value = serde_json::from_str(line)?;
            message["sessionId"] = name.into();
            recording.captured_ms.push(message["timestamp"].as_u64().unwrap_or_default());
            recording.blobs.push(STANDARD.decode(message["audioData"].as_str().unwrap_or_default())?);
            recording.bodies.push(message.to_string());
        }
        Ok(recording)
    }

    /// The session begins, and each message is sent `network_ms` after its capture.
    pub fn arrivals(&self, network_ms: u64) -> Vec<Arrival> {
        let begin_ms = self.captured_ms.first().copied().unwrap_or_default();
        let active = Incident::Status(self.session.clone(), SessionStatus::Active);
        let mut arrivals = vec![Arrival { at_ms: begin_ms, what: active }];
        for (i, (body, captured_ms)) in self.bodies.iter().zip(&self.captured_ms).enumerate() {
            arrivals.push(Arrival {
                at_ms: captured_ms + network_ms,
                what: Incident::Message {
                    group: self.session.clone(),
                    deduplication: format!("{}#{i}", self.session),
                    body: body.clone(),
                },
            });
        }
        arrivals
    }

    /// What one process makes of the whole recording: one decoder per recorder run, samples joined.
    pub fn one_pass(&self) -> Vec<i16> {
        let mut demuxer = Demuxer::new();
        let mut pcm = Vec::new();
        let (mut decoder, mut skip) = (None, 0);
        for item in self.blobs.iter().flat_map(|blob| demuxer.push(blob)) {
            match item {
                Item::RecordingStart(head) => {
                    (decoder, skip) = (Decoder::new().ok(), head.pre_skip.to_samples().as_usize());
                }
                Item::Packet(packet) => {
                    let mut decoded = Vec::new();
                    if let Some(decoder) = &mut decoder {
                        decoder.decode(&packet.data, &mut decoded).expect("a browser's packets decode");
                    }
                    let skipped = skip.min(decoded.len());
                    skip -= skipped;
                    pcm.extend_from_slice(&decoded[skipped..]);
                }
                Item::Skipped(_) => {}
            }
        }
        pcm
    }
}
