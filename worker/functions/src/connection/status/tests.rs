use ingest::checkpoint::{Checkpoint, PastNumbering, Totals};
use ingest::gap::ParkedBatch;
use ingest::position::Position;
use media::time::Samples;
use serde_json::json;

use super::*;

const NOW: EpochMs = EpochMs(1_795_335_950_000);

fn status(checkpoint: &Checkpoint) -> Status {
    Status::read(Some(&checkpoint.encode()), SessionStatus::Active, NOW).unwrap()
}

fn withheld_to(withheld_to: u64) -> ingest::gap::Search {
    ingest::gap::Search { withheld_to, ..Default::default() }
}

fn gap(numbering: u32, from: u64, to: u64) -> Gap {
    Gap {
        chunks: ChunkRange { numbering, from, to },
        begins_at: EpochMs(1_000),
        ends_at: Some(EpochMs(1_900)),
        captured: (EpochMs(1_100), EpochMs(1_900)),
        snapshot: ingest::snapshot::SnapshotKey::default(),
        search: ingest::gap::Search::default(),
        unsure: None,
        tries: Vec::new(),
        parked: None,
        cause: String::new(),
        taken_until: None,
    }
}

/// A page that was reloaded once: 40 chunks before, 12 since.
fn reloaded() -> Checkpoint {
    Checkpoint {
        live: Position {
            numbering: 1,
            next: 12,
            numbering_began: EpochMs(1_795_335_936_000),
            last_captured: EpochMs(1_795_335_947_900),
            ..Position::default()
        },
        past: vec![PastNumbering {
            numbering: 0,
            next: 40,
            captured: (EpochMs(1_795_335_895_000), EpochMs(1_795_335_934_000)),
            connection_id: None,
        }],
        totals: Totals { fragments: 25, chunks: 52, samples: Samples(16_000 * 51 + 1), parked: 0 },
        ..Checkpoint::default()
    }
}

#[test]
fn a_page_learns_how_far_each_of_its_loads_has_come() {
    let answer = serde_json::to_value(status(&reloaded())).unwrap();
    let expected = json!({
        "type": "status",
        "session": "active",
        "now": 1_795_335_950_000_u64,
        "written": {"fragments": 25, "chunks": 52, "ms": 51_001},
        "parkedChunks": 0,
        "pages": [
            {"page": 0, "firstCapturedAt": 1_795_335_895_000_u64, "lastCapturedAt": 1_795_335_934_000_u64,
             "nextChunkIndex": 40},
            {"page": 1, "firstCapturedAt": 1_795_335_936_000_u64, "lastCapturedAt": 1_795_335_947_900_u64,
             "nextChunkIndex": 12},
        ],
        "gaps": [],
        "lagMs": 2_100,
        "complete": true,
    });
    assert_eq!(answer, expected);
}

#[test]
fn what_is_not_in_the_stream_is_named_with_its_fate_and_nothing_counts_as_complete() {
    let mut checkpoint = reloaded();
    checkpoint.given_up = vec![ChunkRange { numbering: 0, from: 1, to: 2 }];
    let parked = ParkedBatch { first: 5, at: EpochMs(2_000) };
    checkpoint.gaps = vec![
        Gap { parked: Some(parked), cause: "ack-4006".into(), ..gap(0, 5, 8) },
        Gap { parked: Some(parked), ..gap(0, 20, 22) }, // by an older writer
        Gap { cause: "UNDECODABLE_AUDIO".into(), ..gap(1, 2, 3) },
        Gap { ends_at: None, search: withheld_to(11), ..gap(1, 7, 9) },
    ];
    checkpoint.failing_since = Some(EpochMs(3_000));
    let status = status(&checkpoint);
    let row = |m: &Missing| (m.page, m.chunk_first, m.chunk_last, m.ms, m.reason);
    assert_eq!(
        status.gaps.iter().map(row).collect::<Vec<_>>(),
        [
            (0, 1, 1, None, MissingReason::GivenUp),
            (0, 5, 7, Some(900), MissingReason::Parked),
            (0, 20, 21, Some(900), MissingReason::Parked),
            (1, 2, 2, Some(900), MissingReason::Parked),
            (1, 7, 10, None, MissingReason::Missing),
        ],
        "chunks that are kept with a gap are not in the stream either"
    );
    assert!(!status.complete);
    assert_eq!(status.failing_since, Some(3_000));
    let told = serde_json::to_value(&status).unwrap()["gaps"].clone();
    let of = |field: &str| told.as_array().unwrap().iter().map(|gap| gap[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("reason"), ["GIVEN_UP", "PARKED", "PARKED", "PARKED", "MISSING"]);
    let causes = json!([null, "ack-4006", null, "UNDECODABLE_AUDIO", null]);
    assert_eq!(json!(of("cause")), causes, "the person cannot say why sound is missing");
}

#[test]
fn before_the_first_fragment_there_is_nothing_and_nothing_is_missing() {
    for stored in [None, Some(Checkpoint::default().encode())] {
        let status = Status::read(stored.as_deref(), SessionStatus::Ended { at: None }, NOW).unwrap();
        assert_eq!((status.session, status.written.chunks, status.lag_ms), ("ended", 0, None));
        assert!(status.pages.is_empty() && status.complete, "{status:?}");
    }
}

#[test]
fn the_longest_answer_fits_into_one_frame_of_the_websocket() {
    let mut checkpoint = reloaded();
    let large = |n: u32| u64::from(n) + (1 << 52);
    let past = |n| PastNumbering {
        numbering: n,
        next: large(n),
        captured: (EpochMs(large(n)), EpochMs(large(n))),
        connection_id: None,
    };
    checkpoint.past = (0..16).map(past).collect();
    let longest = ingest::gap::cause(&"C".repeat(500));
    checkpoint.gaps =
        (0..32).map(|n| Gap { cause: longest.clone(), ..gap(n, large(n), large(n) + 5) }).collect();
    checkpoint.given_up =
        (0..16).map(|n| ChunkRange { numbering: n, from: large(n), to: large(n) + 5 }).collect();
    let bytes = serde_json::to_string(&status(&checkpoint)).unwrap().len();
    assert!(bytes < 32 * 1024, "{bytes} bytes");
}

#[test]
fn state_of_a_newer_version_is_not_guessed_at() {
    let newer = br#"{"schema":4000000000}"#;
    let read = Status::read(Some(newer), SessionStatus::Active, NOW);
    assert!(matches!(read, Err(Unreadable::Newer { .. })), "{read:?}");
}
