//! What the undisturbed run would have written: one pass of the worker's own core over all that was spoken, with one decoder.

use std::collections::BTreeMap;
use std::ops::Range;

use ingest::fold::{Around, fold};
use ingest::message::{Chunk, Format, Record, SessionId};
use ingest::piece::Piece;
use ingest::plan::plan;
use ingest::render::prime;
use ingest::snapshot::Snapshot;
use media::fragment::read::read_fragments;
use media::time::EpochMs;

use super::ledger::Key;

/// All that was spoken is at hand.
const CALM: Around<'static> =
    Around { gap: None, after: &[], calm: true, ends_at: None, vain: None, sight: None };
/// Chunks in one batch of the pass: about 2 s. The size changes nothing, as long as a fragment holds it.
const BATCH: usize = 7;

/// A chunk as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Page and chunkIndex.
    pub key: Key,
    /// The speaker's clock, epoch ms.
    pub captured_ms: u64,
    /// When it went out, epoch ms.
    pub at_ms: u64,
    /// How the blob is packed.
    pub format: Format,
    /// The blob.
    pub audio: Vec<u8>,
}

/// The sound of a session, and each chunk's part of it.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// 16 kHz mono.
    pub pcm: Vec<i16>,
    /// Each chunk's samples in `pcm`.
    pub chunks: BTreeMap<Key, Range<usize>>,
    /// Where each chunk's audio begins, epoch ms, where it has any.
    pub begins_ms: BTreeMap<Key, u64>,
}

/// The recording cannot even be decoded when nothing is wrong.
#[derive(Debug, thiserror::Error)]
#[error("chunk {} of page {} cannot be decoded even undisturbed: {why}", key.1, key.0)]
pub struct Undecodable {
    /// Which chunk.
    pub key: Key,
    /// The reason.
    pub why: String,
}

/// Decodes a session's chunks, sorted by key, in one pass.
///
/// # Errors
/// [`Undecodable`] names the first chunk of the batch.
pub fn one_pass(session: &SessionId, sent: &[Sent]) -> Result<Expected, Undecodable> {
    let mut expected = Expected::default();
    let mut start = Snapshot::default();
    let mut decoder = None;
    for page in sent.chunk_by(|a, b| a.key.0 == b.key.0) {
        for batch in page.chunks(BATCH) {
            let failed = |why: String| Undecodable { key: batch[0].key, why };
            let pieces: Vec<Piece> = batch.iter().map(piece).collect();
            note_chunks(&mut expected, &start, &pieces);
            let plan = plan(&start, &pieces, CALM);
            let mut decoder_here = match decoder.take() {
                Some(decoder) => decoder,
                None => prime(&plan.pre_roll).map_err(|e| failed(e.to_string()))?,
            };
            if !plan.is_silent() {
                let bytes = plan.render(session, &mut decoder_here).map_err(|e| failed(e.to_string()))?;
                let fragments = read_fragments(&bytes).map_err(|e| failed(e.to_string()))?;
                expected.pcm.extend(fragments.iter().flat_map(|fragment| fragment.pcm()));
            }
            decoder = Some(decoder_here);
            let after = plan.snapshots.into_iter().next_back();
            start = after.map(|(_, snapshot)| snapshot).ok_or_else(|| failed("no snapshot".into()))?;
        }
    }
    Ok(expected)
}

fn note_chunks(expected: &mut Expected, start: &Snapshot, pieces: &[Piece]) {
    let folded = fold(start, pieces, CALM);
    let mut at = expected.pcm.len();
    for (piece, chunk) in pieces.iter().zip(&folded.chunks) {
        let key = (piece.numbering, piece.index);
        let samples = chunk.audio.as_ref().map_or(0, |samples| samples.0 as usize);
        expected.chunks.insert(key, at..at + samples);
        expected.begins_ms.extend(chunk.span.map(|(begin, _)| (key, begin.0)));
        at += samples;
    }
}

fn piece(sent: &Sent) -> Piece {
    let sent_at = EpochMs(sent.at_ms.max(sent.captured_ms));
    let (page, index) = sent.key;
    let chunk = Chunk {
        record: Record { sent_at, ..Record::default() },
        index,
        captured_at: EpochMs(sent.captured_ms),
        format: sent.format,
        audio: Ok(sent.audio.clone()),
        ..Chunk::default()
    };
    Piece::new(page, chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::pages::{audio, pages};
    use crate::replay::recording::{Line as Message, Recording};
    use std::time::Duration;

    fn sent(pages: &[std::sync::Arc<Recording>]) -> Vec<Sent> {
        let mut from_ms = 0;
        let mut sent = Vec::new();
        for (page, recording) in pages.iter().enumerate() {
            let chunk = |line: &Message| {
                let ms = line.captured_ms().unwrap() + from_ms;
                let key = (page as u32, line.chunk_index().unwrap());
                let (format, audio) = audio(line).unwrap();
                Sent { key, captured_ms: ms, at_ms: ms, format, audio }
            };
            sent.extend(recording.lines.iter().map(chunk));
            from_ms += 70_000;
        }
        sent
    }

    #[test]
    fn two_rounds_of_a_recording_are_its_sound_twice_whether_restarted_or_reloaded() {
        let folder = crate::project::root().join("tests/end-to-end/recordings/firefox-speech");
        let recording = Recording::read(&folder).unwrap();
        let reference = recording.reference().unwrap().len();
        let session = SessionId::parse("s").unwrap();
        for reload in [false, true] {
            let pages = pages(&[&recording], Duration::from_secs(44), reload).unwrap();
            let sent = sent(&pages);
            let expected = one_pass(&session, &sent).unwrap();
            assert_eq!(expected.chunks.len(), sent.len());
            assert_eq!(expected.pcm.len(), expected.chunks.values().map(|range| range.len()).sum::<usize>());
            assert_eq!(expected.pcm[..reference], expected.pcm[reference..2 * reference], "reload: {reload}");
        }
    }
}
