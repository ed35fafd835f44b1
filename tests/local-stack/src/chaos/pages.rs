//! A recording made as long as the run: cut, or spoken again and again.
//!
//! Half of the sessions go on as a page whose recorder was started again: chunkIndex counts on, a new header begins. The other half go on
//! as a page that was loaded again: a new connection, and chunkIndex begins at 0.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingest::message::{Format, Rejection, format, string};
use serde_json::json;

use crate::replay::recording::{Line, Recording};

/// Silence between two rounds of the recording.
const BETWEEN_MS: u64 = 400;
/// Serial numbers of Ogg recordings that are started again count from here.
const OGG_SERIAL: u32 = 0x000c_4a05;
/// A speaker says good-bye, and the page is loaded again.
const RELOAD: Duration = Duration::from_secs(2);

/// Why a recording cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A line that is not a good chunk.
    #[error(
        "message {line} is not a chunk of audio with chunkIndex, timestamp and audioData: {why}; a chaos run needs a good recording (make replay takes any)"
    )]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
}

/// A chunk, apart from its index and time.
#[derive(Clone, Debug)]
struct Chunk {
    line: Line,
    index: u64,
    at_ms: u64,
}

/// What a session says: its pages, one after the other. A page that is loaded again speaks the next of `recordings`, since no two pages
/// record the same bytes; a recorder that is started again speaks the first one.
pub fn pages(
    recordings: &[&Recording],
    length: Duration,
    reload: bool,
) -> Result<Vec<Arc<Recording>>, Unusable> {
    let (mut pages, mut joined) = (Vec::new(), Vec::new());
    let (mut left, mut at_ms, mut index) = (length, 0, 0);
    for (n, recording) in recordings.iter().cycle().take(1_000).enumerate() {
        if left.is_zero() {
            break;
        }
        let recording = if reload { recording } else { recordings[0] };
        let chunks = chunks(recording)?;
        let (round_ms, left_ms) =
            (chunks.last().map_or(0, |chunk| chunk.at_ms) + BETWEEN_MS, left.as_millis());
        let again = |chunk: &Chunk| Chunk { line: restarted(chunk.line.clone(), n as u8), ..*chunk };
        let round = chunks.iter().filter(|chunk| u128::from(chunk.at_ms) < left_ms).map(again);
        if reload {
            pages.push(page(recording, round.collect()));
        } else {
            joined.extend(round.map(|chunk| Chunk {
                index: chunk.index + index,
                at_ms: chunk.at_ms + at_ms,
                ..chunk
            }));
            (index, at_ms) = (index + chunks.len() as u64, at_ms + round_ms);
        }
        left = left
            .saturating_sub(Duration::from_millis(round_ms) + if reload { RELOAD } else { Duration::ZERO });
    }
    if !reload {
        pages.push(page(recordings[0], joined));
    }
    Ok(pages)
}

fn page(recording: &Recording, chunks: Vec<Chunk>) -> Arc<Recording> {
    let lines = chunks.into_iter().map(renumbered).collect();
    Arc::new(Recording { lines, name: recording.name.clone(), folder: recording.folder.clone() })
}

/// A recorder that is started again draws another TrackUID or serial number; with the same one, the first blob would be the running
/// recording's once more. Ogg pages that are cut stay as they are.
fn restarted(line: Line, round: u8) -> Line {
    let (Line::Message(mut fields), Ok((format, bytes))) = (line.clone(), audio(&line)) else { return line };
    let renamed = match format {
        _ if round == 0 => None,
        Format::OggOpus => recorder::with_serial(&bytes, OGG_SERIAL + u32::from(round)),
        Format::WebmOpus => with_track_uid(bytes, round),
        Format::Pcm => None,
    };
    let Some(renamed) = renamed else { return line };
    fields.insert("audioData".into(), json!(STANDARD.encode(renamed)));
    Line::Message(fields)
}

/// A blob that begins with a WebM header, with another last byte of its TrackUID.
fn with_track_uid(mut bytes: Vec<u8>, round: u8) -> Option<Vec<u8>> {
    const TRACK_UID: [u8; 2] = [0x73, 0xc5];
    let uid = bytes.windows(2).position(|id| id == TRACK_UID);
    let at = uid.filter(|_| bytes.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]))?;
    let last = at + 2 + usize::from(bytes.get(at + 2)? & 0x0f);
    let byte = bytes.get_mut(last)?;
    *byte = byte.wrapping_add(round);
    Some(bytes)
}

/// The recording's chunks, numbered from 0, times from 0, in the order of their times.
fn chunks(recording: &Recording) -> Result<Vec<Chunk>, Unusable> {
    let began_ms = recording.lines.iter().find_map(Line::captured_ms).unwrap_or_default();
    let chunk = |(i, line): (usize, &Line)| {
        let unusable = |why: &str| Unusable::Line { line: i + 1, why: why.to_owned() };
        audio(line).map_err(|why| unusable(&why))?;
        line.chunk_index()
            .filter(|index| *index == i as u64)
            .ok_or_else(|| unusable("chunkIndex is not its place"))?;
        let captured_ms = line.captured_ms().ok_or_else(|| unusable("no timestamp"))?;
        let at_ms = captured_ms.checked_sub(began_ms).ok_or_else(|| unusable("captured before the first"))?;
        Ok(Chunk { line: line.clone(), index: i as u64, at_ms })
    };
    recording.lines.iter().enumerate().map(chunk).collect()
}

/// The format of a line and the bytes of its `audioData`.
///
/// # Errors
/// What is wrong with them, for a person.
pub fn audio(line: &Line) -> Result<(Format, Vec<u8>), String> {
    let Line::Message(fields) = line else { return Err("no JSON object".into()) };
    let read = || {
        let format = format(string(fields, "format")?)?;
        Ok((format, ingest::message::audio(string(fields, "audioData")?, format)?))
    };
    read().map_err(|refused: Rejection| refused.to_string())
}

fn renumbered(chunk: Chunk) -> Line {
    let Line::Message(mut fields) = chunk.line else { return chunk.line };
    fields.insert("chunkIndex".into(), json!(chunk.index));
    // Where it begins is of no importance: the speaker moves all times to the moment of the replay.
    fields.insert("timestamp".into(), json!(1_700_000_000_000 + chunk.at_ms));
    Line::Message(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::path::PathBuf;

    fn recording(chunks: u64) -> Recording {
        let line = |i: u64| {
            let audio = base64::engine::general_purpose::STANDARD.encode([1, 2, i as u8]);
            let fields = json!({"action": "writeToStream", "sessionId": "a", "audioData": audio, "format": "webm-opus",
                "timestamp": 5_000 + 300 * i, "chunkIndex": i});
            let Value::Object(fields) = fields else { unreachable!("an object was written") };
            Line::Message(fields)
        };
        Recording { name: "r".into(), folder: PathBuf::new(), lines: (0..chunks).map(line).collect() }
    }

    fn told(page: &Recording) -> Vec<(u64, u64)> {
        let base = page.lines[0].captured_ms().unwrap();
        page.lines.iter().map(|l| (l.chunk_index().unwrap(), l.captured_ms().unwrap() - base)).collect()
    }

    #[test]
    fn a_recorder_that_starts_again_counts_on() {
        let pages = pages(&[&recording(4)], Duration::from_millis(2_000), false).unwrap();
        let expected = [(0, 0), (1, 300), (2, 600), (3, 900), (4, 1_300), (5, 1_600), (6, 1_900)];
        assert_eq!((pages.len(), told(&pages[0])), (1, expected.to_vec()));
    }

    #[test]
    fn a_page_that_is_loaded_again_counts_from_zero() {
        let pages = pages(&[&recording(4)], Duration::from_millis(3_700), true).unwrap();
        assert_eq!(
            pages.iter().map(|page| told(page)).collect::<Vec<_>>(),
            [vec![(0, 0), (1, 300), (2, 600), (3, 900)], vec![(0, 0), (1, 300)],]
        );
    }

    #[test]
    fn a_recording_with_a_bad_line_is_refused_by_its_number() {
        let mut bad = recording(3);
        bad.lines[1] = Line::Raw("nope".into());
        assert!(matches!(pages(&[&bad], RELOAD, false), Err(Unusable::Line { line: 2, .. })));
        let mut holed = recording(3);
        holed.lines.remove(1);
        assert!(matches!(pages(&[&holed], RELOAD, false), Err(Unusable::Line { line: 2, .. })));
    }
}
