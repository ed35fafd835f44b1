//! Recordings as pieces, and batches as another process would write them.

use std::path::{Path, PathBuf};

use ingest::fold::Around;
use ingest::gap::Gap;
use ingest::message::{Chunk, Entry, Record, SessionId, parse};
use ingest::piece::Piece;
use ingest::plan::{Plan, plan};
use ingest::render::prime;
use ingest::snapshot::Snapshot;
use media::fragment::read::read_fragments;
use media::time::EpochMs;

pub fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/end-to-end/recordings");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    // A stalled page's bursts need the writer's patience: tests/end-to-end/src/stalls.rs plays those.
    found.retain(|folder| !folder.to_string_lossy().contains("-stall-"));
    found.sort();
    assert!(found.len() >= 5, "the recordings are missing");
    found
}

/// A recording's messages as pieces, as the queue would deliver them 40 ms after capture.
pub fn pieces(folder: &Path) -> Vec<Piece> {
    let lines = std::fs::read_to_string(folder.join("messages.jsonl")).unwrap();
    lines
        .lines()
        .enumerate()
        .map(|(i, body)| {
            let group_id = serde_json::from_str::<serde_json::Value>(body).unwrap()["sessionId"]
                .as_str()
                .unwrap()
                .to_owned();
            let record =
                Record { body: body.into(), group_id, sequence_number: i as u128 + 1, ..Record::default() };
            let (_, Entry::Chunk(chunk)) = parse(record).unwrap() else { panic!("not a chunk") };
            let sent_at = EpochMs(chunk.captured_at.0 + 40);
            let record = Record { sent_at, ..chunk.record.clone() };
            Piece::new(0, Chunk { record, connection_id: None, ..(*chunk).clone() })
        })
        .collect()
}

/// Plans and renders one batch as another process would: everything through its stored form.
pub fn batch(start: &Snapshot, gap: Option<&Gap>, pieces: &[Piece]) -> (Plan, Vec<i16>, Vec<u8>) {
    let start = Snapshot::decode(&start.encode()).unwrap();
    let plan = plan(&start, pieces, Around { gap, calm: gap.is_none(), ..Around::default() });
    if plan.is_silent() {
        return (plan, Vec::new(), Vec::new());
    }
    let mut decoder = prime(&plan.pre_roll).unwrap();
    let session = SessionId::parse("s").unwrap();
    let bytes = plan.render(&session, &mut decoder).unwrap();
    let read = read_fragments(&bytes).unwrap();
    assert_eq!(read.len(), 1, "one batch is one fragment");
    assert_eq!(read[0].cluster_ms, plan.advance.at);
    (plan, read[0].pcm(), bytes)
}
