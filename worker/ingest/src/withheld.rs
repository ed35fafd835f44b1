//! Chunks withheld behind a gap: acknowledged, while the state alone has their bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use media::hash::Fnv;
use serde_json::json;

use crate::gap::{Advance, ChunkRange, Gap, Line};
use crate::message::{Chunk, Record, SessionId};
use crate::piece::Piece;
use crate::snapshot::Residue;

/// What an Ogg page begins with (RFC 3533, 6).
const OGG_PAGE: &[u8] = b"OggS";

/// The chunks that a batch of live audio withholds: behind its own holes, and behind an earlier gap.
pub fn withheld_by(batch: &Advance) -> Vec<ChunkRange> {
    let of_gaps = batch.gaps.iter().map(|gap| (gap.chunks.to, gap.search.withheld_to));
    let of_earlier = batch.skipped.iter().map(|skipped| (skipped.from, skipped.search.withheld_to));
    let ranges = of_gaps.chain(of_earlier).filter(|(from, to)| to > from && batch.line == Line::Live);
    ranges.map(|(from, to)| ChunkRange { from, to, ..batch.chunks }).collect()
}

/// The chunks withheld behind a gap.
pub fn withheld_behind(gap: &Gap) -> ChunkRange {
    let from = gap.chunks.to;
    ChunkRange { from, to: gap.search.withheld_to.max(from), ..gap.chunks }
}

/// As messages, for the DLQ: the queue brings them no more. `residue` is all that was skipped behind the gap. (Bytes that the demuxer
/// had held back lie at the beginning of the next chunk.)
pub fn as_messages(session: &SessionId, gap: &Gap, residue: &[Residue]) -> Vec<Piece> {
    let chunks = withheld_behind(gap);
    let piece = |(index, residue): (u64, &Residue)| {
        let record = Record {
            message_id: format!(
                "withheld-{}-{}-{index}",
                Fnv::of(session.as_str().as_bytes()),
                chunks.numbering
            ),
            group_id: session.to_string(),
            body: body(session, index, residue),
            sent_at: residue.sent_at,
            ..Record::default()
        };
        Piece::new(
            chunks.numbering,
            Chunk { record, index, captured_at: residue.captured_at, ..Chunk::default() },
        )
    };
    (chunks.from..chunks.to).zip(residue).map(piece).collect()
}

fn body(session: &SessionId, index: u64, residue: &Residue) -> String {
    let is_ogg = residue.bytes.windows(OGG_PAGE.len()).any(|bytes| bytes == OGG_PAGE);
    let body = json!({
        "action": "writeToStream",
        "sessionId": session.as_str(),
        "audioData": STANDARD.encode(&residue.bytes),
        "timestamp": residue.captured_at.0,
        "format": if is_ogg { "ogg-opus" } else { "webm-opus" },
        "chunkIndex": index,
    });
    body.to_string()
}
