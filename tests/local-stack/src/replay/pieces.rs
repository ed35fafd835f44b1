//! What a page does with a blob that does not fit one WebSocket frame: pieces of about 22 kB, each with its own index, all but the last
//! with `continues`. All that follows is numbered anew.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::recording::Line;
use super::speaker::FRAME_BYTES_MAX;

/// The most audio in one message: 30 KB in base64.
const PIECE_BYTES: usize = 22 * 1024;
/// No piece is smaller, however long a message's other fields are; then it stays whole.
const PIECE_BYTES_MIN: usize = 1024;
/// Room for what the speaker changes: another sessionId, a longer index.
const SPARE_BYTES: usize = 512;

/// The lines as a page sends them. What is no chunk with an index and base64 stays as it is.
pub fn cut(lines: Vec<Line>) -> Vec<Line> {
    let mut pages = Pages::default();
    let numbered: Vec<(usize, Line)> = lines.into_iter().map(|line| (pages.note(&line), line)).collect();
    numbered.into_iter().flat_map(|(page, line)| pages.send(page, line)).collect()
}

/// How many pieces more each chunk of a page becomes, by its index.
#[derive(Default)]
struct Pages {
    more: Vec<BTreeMap<u64, u64>>,
    /// The current page's chunk 0.
    first: Option<Value>,
}

impl Pages {
    /// Notes what becomes of a line; returns its page.
    fn note(&mut self, line: &Line) -> usize {
        let audio = line.field("audioData");
        if line.chunk_index() == Some(0) && audio.is_some() && self.first.as_ref() != audio {
            self.first = audio.cloned();
            self.more.push(BTreeMap::new());
        }
        if self.more.is_empty() {
            self.more.push(BTreeMap::new());
        }
        let page = self.more.len() - 1;
        if let (Some(index), Some(pieces)) = (line.chunk_index(), pieces_of(line)) {
            self.more[page].insert(index, pieces.len() as u64 - 1);
        }
        page
    }

    fn send(&self, page: usize, line: Line) -> Vec<Line> {
        let pieces = pieces_of(&line);
        let (Some(index), Line::Message(fields)) = (line.chunk_index(), &line) else { return vec![line] };
        let more = &self.more[page];
        let first = index.saturating_add(more.range(..index).map(|(_, more)| more).sum());
        let numbered = |n: u64| {
            let mut fields = fields.clone();
            fields.insert("chunkIndex".into(), json!(first.saturating_add(n)));
            fields
        };
        let Some(pieces) = pieces else {
            let is_end = fields.get("action").is_some_and(|action| action == "endStream");
            let behind = if is_end { more.get(&index).copied().unwrap_or_default() } else { 0 };
            return vec![Line::Message(numbered(behind))];
        };
        let last = pieces.len() - 1;
        let piece = |(n, bytes): (usize, Vec<u8>)| {
            let mut fields = numbered(n as u64);
            fields.insert("audioData".into(), json!(STANDARD.encode(bytes)));
            if n < last {
                fields.insert("continues".into(), json!(true));
            }
            Line::Message(fields)
        };
        pieces.into_iter().enumerate().map(piece).collect()
    }
}

/// The pieces of a chunk that is too large for one message.
fn pieces_of(line: &Line) -> Option<Vec<Vec<u8>>> {
    let Line::Message(fields) = line else { return None };
    line.chunk_index()?;
    let text = fields.get("audioData")?.as_str()?;
    let others = length(fields).saturating_sub(text.len()) + SPARE_BYTES;
    let room = FRAME_BYTES_MAX.saturating_sub(others) / 4 * 3;
    let piece_bytes = room.min(PIECE_BYTES) & !1; // a sample has two bytes
    if piece_bytes < PIECE_BYTES_MIN || text.len() / 4 * 3 <= piece_bytes {
        return None;
    }
    let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() > piece_bytes)?;
    Some(bytes.chunks(piece_bytes).map(<[u8]>::to_vec).collect())
}

fn length(fields: &Map<String, Value>) -> usize {
    serde_json::to_string(fields).map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(index: u64, bytes: usize) -> Line {
        let audio: Vec<u8> = (0..bytes).map(|n| (n as u64 * 31 + index * 7) as u8).collect();
        let fields = json!({"action": "writeToStream", "sessionId": "owl", "audioData": STANDARD.encode(audio),
            "timestamp": 1_000 + index, "format": "webm-opus", "chunkIndex": index});
        Line::Message(fields.as_object().unwrap().clone())
    }

    fn bytes(line: &Line) -> Vec<u8> {
        STANDARD.decode(line.field("audioData").unwrap().as_str().unwrap()).unwrap()
    }

    fn indices(lines: &[Line]) -> Vec<u64> {
        lines.iter().map(|line| line.chunk_index().unwrap()).collect()
    }

    #[test]
    fn a_blob_of_any_size_goes_in_pieces_that_fit_a_frame_and_are_the_blob_together() {
        for size in [0, 1, 22_527, 22_528, 22_529, 45_056, 45_057, 1_048_577] {
            let blob = chunk(0, size);
            let sent = cut(vec![blob.clone()]);
            assert_eq!(sent.iter().flat_map(bytes).collect::<Vec<u8>>(), bytes(&blob), "{size} bytes");
            assert_eq!(sent.len(), size.div_ceil(PIECE_BYTES).max(1));
            assert_eq!(indices(&sent), (0..sent.len() as u64).collect::<Vec<_>>());
            for (n, line) in sent.iter().enumerate() {
                let Line::Message(fields) = line else { panic!("{line:?}") };
                assert!(length(fields) < FRAME_BYTES_MAX, "{} bytes do not fit a frame", length(fields));
                let continues = fields.get("continues") == Some(&json!(true));
                assert_eq!(continues, n + 1 < sent.len(), "piece {n} of {}", sent.len());
                assert_eq!(line.captured_ms(), Some(1_000), "pieces have the blob's time");
            }
        }
    }

    #[test]
    fn what_follows_a_blob_in_pieces_is_numbered_anew_and_what_is_sent_again_is_the_same() {
        let end = json!({"action": "endStream", "chunkIndex": 3});
        let end = Line::Message(end.as_object().unwrap().clone());
        let lines =
            vec![chunk(0, 10), chunk(1, 50_000), chunk(2, 10), chunk(1, 50_000), chunk(3, 30_000), end];
        let sent = cut(lines);
        assert_eq!(indices(&sent), [0, 1, 2, 3, 4, 1, 2, 3, 5, 6, 6]);
        assert_eq!(sent[1..4], sent[5..8]);
        let reloaded = cut(vec![chunk(0, 50_000), chunk(1, 10), chunk(0, 12), chunk(1, 10)]);
        assert_eq!(
            indices(&reloaded),
            [0, 1, 2, 3, 0, 1],
            "a page that was loaded again counts its own pieces"
        );
    }

    #[test]
    fn what_is_no_chunk_stays_as_it_is() {
        let mut odd = vec![Line::Raw("{nope".into())];
        for fields in [
            json!({"action": "writeToStream", "audioData": "A".repeat(60_000), "chunkIndex": -1}),
            json!({"action": "writeToStream", "audioData": "%".repeat(60_000), "chunkIndex": 1}),
            json!({"action": "writeToStream", "audioData": "A".repeat(60_000), "chunkIndex": 2, "x": "y".repeat(40_000)}),
            json!({"action": "writeToStream", "audioData": 7, "chunkIndex": 3}),
        ] {
            odd.push(Line::Message(fields.as_object().unwrap().clone()));
        }
        assert_eq!(cut(odd.clone()), odd);
    }
}
