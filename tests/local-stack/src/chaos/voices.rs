//! What the sessions of a run say, where it is not one recording: what each kind of recorder and page hands out.
//!
//! A run speaks in real time, so what a stalled page hands out late really comes late: capture times and the queue's times agree, as in life.
//! (A replay at eight times real time would show another stall.)

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use media::demux::{Demuxer, Item};
use recorder::{Cut, Recorder, us_of};
use serde_json::json;

use super::pages::audio;
use crate::project;
use crate::replay::recording::{Line, Recording, RecordingError};

/// MediaRecorder's timeslice of the recording in Ogg.
const OGG_TIMESLICE_US: u64 = 300_000;
/// When a stalled page stands still, after its beginning, and for how long: all that the recorder made meanwhile comes at the end of it.
const STALLS: [(Duration, Duration); 2] =
    [(Duration::from_secs(6), Duration::from_secs(2)), (Duration::from_secs(16), Duration::from_secs(5))];

/// Chromium, Firefox, Ogg, a recorder that is restarted, and a page that stalls.
///
/// # Errors
/// A shipped recording is missing.
pub fn voices() -> Result<Vec<Recording>, RecordingError> {
    let recordings = project::root().join("tests/end-to-end/recordings");
    let shipped = |name: &str| Recording::read(&recordings.join(name));
    let (chromium, firefox) = (shipped("chromium-speech-default")?, shipped("firefox-speech")?);
    let restart = shipped("chromium-restart")?;
    Ok(vec![chromium.clone(), firefox.clone(), in_ogg(&firefox), restart, stalled(&chromium)])
}

/// The same sound as a recorder of Ogg hands it out.
fn in_ogg(recording: &Recording) -> Recording {
    let mut demuxer = Demuxer::new();
    let blobs = recording.lines.iter().filter_map(|line| Some(audio(line).ok()?.1));
    let items: Vec<Item> = blobs.flat_map(|blob| demuxer.push(&blob)).collect();
    let packets: Vec<Vec<u8>> =
        items.iter().filter_map(Item::packet).map(|packet| packet.data.clone()).collect();
    let ogg = Recorder::firefox_ogg().record(&packets);
    let began_ms = recording.lines.iter().find_map(Line::captured_ms).unwrap_or_default();
    let mut end = 0;
    let line = |(index, blob): (usize, Vec<u8>)| {
        end += blob.len();
        let spoken_us: u64 =
            ogg.packets.iter().filter(|packet| packet.end <= end).map(|packet| us_of(&packet.data)).sum();
        ogg_chunk(recording, index, began_ms + spoken_us / 1_000, &blob)
    };
    let lines = ogg.blobs(&Cut::AtElement { timeslice_us: OGG_TIMESLICE_US }).into_iter().enumerate();
    let lines = lines.map(line).collect();
    Recording::of(format!("{} in Ogg", recording.name), recording.folder.clone(), lines)
}

fn ogg_chunk(recording: &Recording, index: usize, captured_ms: u64, blob: &[u8]) -> Line {
    let mut fields = serde_json::Map::new();
    fields.insert("action".into(), json!("writeToStream"));
    fields.insert("sessionId".into(), json!(recording.session_id()));
    fields.insert("audioData".into(), json!(STANDARD.encode(blob)));
    fields.insert("timestamp".into(), json!(captured_ms));
    fields.insert("format".into(), json!("ogg-opus"));
    fields.insert("chunkIndex".into(), json!(index));
    Line::Message(fields)
}

/// The same recording from a page that stands still at times.
fn stalled(recording: &Recording) -> Recording {
    let began_ms = recording.lines.iter().find_map(Line::captured_ms).unwrap_or_default();
    let handed_out = |captured_ms: u64| {
        let stall = STALLS.iter().map(|(at, length)| {
            let from_ms = began_ms + at.as_millis() as u64;
            from_ms..from_ms + length.as_millis() as u64
        });
        stall.into_iter().find(|stall| stall.contains(&captured_ms)).map_or(captured_ms, |stall| stall.end)
    };
    let lines = recording.lines.iter().cloned().map(|mut line| {
        let captured_ms = line.captured_ms();
        if let (Line::Message(fields), Some(captured_ms)) = (&mut line, captured_ms) {
            fields.insert("timestamp".into(), json!(handed_out(captured_ms)));
        }
        line
    });
    Recording::of(format!("{}, stalled", recording.name), recording.folder.clone(), lines.collect())
}
