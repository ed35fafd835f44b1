//! Where the writer finds that a chunk belongs: its own [`sort`], asked with what is known of parked messages.

use std::sync::Arc;

use aws::parked_index::Entry;
use ingest::checkpoint::Checkpoint;
use ingest::gap::Gap;
use ingest::message::{Chunk, Record};
use ingest::sort::sort;
use media::time::EpochMs;
use writer::ports::{ParkedNote, SessionStatus};

/// A gap, by numbering and first chunk.
pub type GapKey = (u32, u64);

/// The gap's key.
pub(super) fn key(gap: &Gap) -> GapKey {
    (gap.chunks.numbering, gap.chunks.from)
}

/// Where a chunk belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In an open gap.
    Gap(GapKey),
    /// Behind the live audio.
    Live {
        /// When it was captured, by the speaker's clock.
        captured_at: EpochMs,
    },
    /// In the stream already.
    Written,
    /// Nowhere that the session still knows.
    Nowhere {
        /// The numbering that it would be of.
        numbering: u32,
    },
    /// Its message has no index, or its group is not the name of a session.
    Unknown,
}

/// A chunk without its audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its chunkIndex.
    pub index: u64,
    /// When it was captured, by the speaker's clock.
    pub captured_at: EpochMs,
    /// Its WebSocket connection, where known.
    pub connection_id: Option<String>,
}

/// Each chunk's place, by the writer's own sorting. `sent` is when the queue took the first of them, and its number there.
pub fn places(checkpoint: &Checkpoint, chunks: &[Option<Known>], sent: (EpochMs, u128)) -> Vec<Place> {
    let mut places = vec![Place::Unknown; chunks.len()];
    let entries = chunks.iter().enumerate().filter_map(|(i, known)| {
        let Known { index, captured_at, connection_id } = known.clone()?;
        let (sent_at, sequence_number) = (sent.0, sent.1.saturating_add(i as u128));
        let record = Record { message_id: i.to_string(), sequence_number, sent_at, ..Record::default() };
        let audio = Ok(vec![0]); // not empty, and a byte alone tells nothing
        let chunk = Chunk { record, index, captured_at, connection_id, audio, ..Chunk::default() };
        Some(ingest::message::Entry::Chunk(Arc::new(chunk)))
    });
    let sorted = sort(checkpoint, &entries.collect::<Vec<_>>(), &[]);
    let mut put = |record: &Record, place| {
        if let Some(slot) = record.message_id.parse().ok().and_then(|i: usize| places.get_mut(i)) {
            *slot = place;
        }
    };
    for (gap, pieces) in &sorted.backfill {
        pieces.iter().for_each(|piece| put(&piece.record, Place::Gap(key(gap))));
    }
    for piece in &sorted.live {
        put(&piece.record, Place::Live { captured_at: piece.captured_at });
    }
    for piece in sorted.unplaceable.iter().chain(&sorted.replaced) {
        put(&piece.record, Place::Nowhere { numbering: piece.numbering });
    }
    sorted.duplicates.iter().for_each(|record| put(record, Place::Written));
    places
}

/// Each note's place once its message is sent again.
pub(super) fn places_of_notes(
    checkpoint: &Checkpoint,
    status: SessionStatus,
    (notes, now): (&[Entry], EpochMs),
) -> Vec<Place> {
    let known = |Entry { note, .. }: &Entry| {
        let index = note.chunk_index?;
        let captured_at = captured_at(note, index, checkpoint, status);
        Some(Known { index, captured_at, connection_id: None })
    };
    // A redriven message is newer than all that were ever seen.
    let newer = checkpoint.live.last_sequence.saturating_add(1);
    places(checkpoint, &notes.iter().map(known).collect::<Vec<_>>(), (now, newer))
}

/// Notes of older writers do not tell when the chunk was captured. Then it is taken to be where its index says: in a gap, or
/// after the session's end if it was parked for that, or with the last of the live audio.
fn captured_at(note: &ParkedNote, index: u64, checkpoint: &Checkpoint, status: SessionStatus) -> EpochMs {
    if let Some(at) = note.captured_at {
        return at;
    }
    let live = checkpoint.live.last_captured;
    match (checkpoint.gaps.iter().find(|gap| gap.chunks.holds(index)), status) {
        (Some(gap), _) => gap.captured.0,
        (None, SessionStatus::Ended { at: Some(at) }) if note.reason == "SESSION_ENDED" => {
            EpochMs(live.0.max(at.0.saturating_add(AFTER_END_MS)))
        }
        (None, SessionStatus::Ended { at: Some(at) }) => live.min(at),
        (None, _) => live,
    }
}

/// Surely after an end, grace and clock differences included.
const AFTER_END_MS: u64 = 60_000;
