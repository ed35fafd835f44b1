//! Queue messages that libFuzzer makes up: each is a chunk, an end, or is refused for a reason that fits a DLQ attribute; and a chunk
//! of it goes through sorting, folding and planning.
#![no_main]

use ingest::checkpoint::Checkpoint;
use ingest::fold::Around;
use ingest::message::{Entry, MAX_AUDIO_BYTES, Record, Rejection, parse};
use ingest::plan::plan;
use ingest::snapshot::Snapshot;
use ingest::sort::sort;
use libfuzzer_sys::fuzz_target;
use media::time::EpochMs;
use worker_fuzz::within_budget;

const SENT_AT: EpochMs = EpochMs(1_732_622_783_000);

fuzz_target!(|input: &[u8]| {
    let body = String::from_utf8_lossy(input).into_owned();
    let bytes = body.len();
    let record =
        Record { body, group_id: "s".into(), sent_at: SENT_AT, receive_count: 1, ..Record::default() };
    within_budget(bytes, || match parse(record) {
        Ok((session, entry)) => {
            assert_eq!(session.as_str(), "s", "a message belongs to its group");
            take(entry);
        }
        Err(rejected) => is_told(&rejected.rejection),
    });
});

fn is_told(rejection: &Rejection) {
    assert!(Rejection::CODES.contains(&rejection.code()));
    assert!(rejection.to_string().len() <= 4_096, "{rejection}");
}

fn take(entry: Entry) {
    let Entry::Chunk(chunk) = &entry else { return };
    match &chunk.audio {
        Ok(audio) => assert!(audio.len() <= MAX_AUDIO_BYTES),
        Err(rejection) => is_told(rejection),
    }
    let sorted = sort(&Checkpoint::default(), &[entry], &[]);
    if !sorted.live.is_empty() {
        let plan = plan(&Snapshot::default(), &sorted.live, Around::default());
        assert!(plan.advance.until >= plan.advance.at, "no audio ends before it begins");
    }
}
