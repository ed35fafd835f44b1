//! The streams adapter against the emulator, which verifies signatures and validates every byte of a fragment.

#![allow(clippy::unwrap_used)] // a test's helpers may panic

use aws::Aws;
use aws::put_media::request::PayloadSigning;
use aws::settings::Settings;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use ingest::failure::ServiceFailure;
use ingest::message::SessionId;
use kvs_emulator::{Config, Emulator, Fault, FaultKind, Limits, Operation, Point, start};
use media::fragment::{Block, write};
use media::time::EpochMs;
use writer::ports::{Ports as _, Streams as _};

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const WITHIN_MS: u64 = 10_000;

async fn emulator() -> Emulator {
    let config = Config {
        credentials: Some((ACCESS_KEY.into(), SECRET.into())),
        region: "eu-central-1".into(),
        create_ms: 50,
        persist_ms: 5,
        limits: Limits { rates: false, ..Limits::default() },
        ..Config::strict()
    };
    start(config).await.unwrap()
}

fn aws(emulator: &Emulator, payload: PayloadSigning) -> Aws {
    let credentials = Credentials::new(ACCESS_KEY, SECRET, Some("session-token".into()), None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(emulator.endpoint())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    let settings = Settings {
        sessions_table: "sessions".into(),
        state_table: "state".into(),
        queue_url: "http://127.0.0.1/chunks.fifo".into(),
        dlq_url: "http://127.0.0.1/chunks-dlq.fifo".into(),
        retention_hours: 1,
        stream_key: None,
        payload,
        event_bus: None,
    };
    Aws::with_config(&config, &settings).unwrap()
}

fn session() -> SessionId {
    SessionId::parse("quiet-fox-1").unwrap()
}

/// A fragment of 2 s that ended some seconds ago, `index` fragments later than the first.
fn fragment(emulator: &Emulator, index: u64) -> (EpochMs, Vec<u8>) {
    let first = emulator.now_ms() - emulator.now_ms() % 1_000_000; // the same throughout a test, a little in the past
    let at = EpochMs(first - 1_000_000 + 2_000 * index + 7);
    let pcm = (0..32_000_i32).map(|i| (i % 4_001 - 2_000) as i16).collect();
    (at, write(&[Block::new(at, pcm)], &[("session", "quiet-fox-1".into())]).unwrap())
}

#[tokio::test]
async fn fragments_of_a_new_session_are_persisted_one_behind_the_other_and_found_again() {
    let emulator = emulator().await;
    let aws = aws(&emulator, PayloadSigning::Unsigned);
    for index in 0..5 {
        let (at, bytes) = fragment(&emulator, index);
        assert_eq!(aws.streams().find(&session(), at).await, Ok(None));
        // One connection per stream: a connection left open would refuse the next fragment.
        let persisted = aws.streams().put(&session(), at, bytes, WITHIN_MS).await.unwrap();
        let found = aws.streams().find(&session(), at).await.unwrap().unwrap();
        assert_eq!(found.fragment_number, persisted.fragment_number);
    }
    let stored = emulator.fragments("session-quiet-fox-1");
    let times: Vec<_> = stored.iter().map(|fragment| fragment.producer_timestamp_ms).collect();
    assert_eq!(times, (0..5).map(|index| fragment(&emulator, index).0.0).collect::<Vec<_>>());
    assert!(stored.iter().all(|fragment| fragment.media_ms == 2_000));
    emulator.shutdown().await;
}

#[tokio::test]
async fn both_ways_to_sign_the_payload_verify() {
    let emulator = emulator().await;
    for (index, payload) in [PayloadSigning::Unsigned, PayloadSigning::EmptyHash].into_iter().enumerate() {
        let (at, bytes) = fragment(&emulator, index as u64);
        aws(&emulator, payload).streams().put(&session(), at, bytes, WITHIN_MS).await.unwrap();
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn workers_that_create_the_same_stream_at_once_do_not_fail_at_that() {
    let emulator = emulator().await;
    let (one, two) = (aws(&emulator, PayloadSigning::Unsigned), aws(&emulator, PayloadSigning::Unsigned));
    let (first, second) = (fragment(&emulator, 0), fragment(&emulator, 1));
    let session = session();
    let (a, b) = tokio::join!(
        one.streams().put(&session, first.0, first.1, WITHIN_MS),
        two.streams().put(&session, second.0, second.1, WITHIN_MS)
    );
    // A stream has one PutMedia connection; whoever is second at that may be told to come again, no more.
    let told_to_wait =
        |failure: &ServiceFailure| failure.reason() == "PutMedia-ConnectionLimitExceededException";
    let outcomes = [a.map(drop), b.map(drop)];
    assert!(outcomes.iter().any(|outcome| outcome.is_ok()), "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().err().is_none_or(told_to_wait)), "{outcomes:?}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn an_error_ack_carries_its_id_and_leaves_the_stream_usable() {
    let emulator = emulator().await;
    let aws = aws(&emulator, PayloadSigning::Unsigned);
    let ack = FaultKind::ErrorAck { id: 4006, code: None, at: Point::Received, bare: true, stored: false };
    emulator.faults().add(Fault::new(ack).nth(1));
    let (at, bytes) = fragment(&emulator, 0);
    let failure = aws.streams().put(&session(), at, bytes.clone(), WITHIN_MS).await.unwrap_err();
    assert!(matches!(failure, ServiceFailure::Ack { id: 4006, .. }), "{failure}");
    aws.streams().put(&session(), at, bytes, WITHIN_MS).await.unwrap();
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_lost_acknowledgement_is_an_unknown_outcome_that_a_probe_settles() {
    let emulator = emulator().await;
    let aws = aws(&emulator, PayloadSigning::Unsigned);
    emulator.faults().add(Fault::new(FaultKind::Cut { at: Point::Persisted, stored: true }).nth(1));
    let (at, bytes) = fragment(&emulator, 0);
    let failure = aws.streams().put(&session(), at, bytes, WITHIN_MS).await.unwrap_err();
    assert!(failure.outcome_unknown(), "{failure}");
    assert!(aws.streams().find(&session(), at).await.unwrap().is_some());
    emulator.shutdown().await;
}

#[tokio::test]
async fn acks_sent_byte_by_byte_or_all_at_once_are_understood() {
    let emulator = emulator().await;
    let aws = aws(&emulator, PayloadSigning::Unsigned);
    emulator.faults().add(Fault::new(FaultKind::SplitAcks).nth(1));
    emulator.faults().add(Fault::new(FaultKind::MergeAcks).nth(2));
    for index in 0..2 {
        let (at, bytes) = fragment(&emulator, index);
        aws.streams().put(&session(), at, bytes, WITHIN_MS).await.unwrap();
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_service_that_never_acknowledges_is_left_when_time_is_up() {
    let emulator = emulator().await;
    let aws = aws(&emulator, PayloadSigning::Unsigned);
    let (at, bytes) = fragment(&emulator, 0);
    aws.streams().put(&session(), at, bytes, WITHIN_MS).await.unwrap();
    emulator
        .faults()
        .add(Fault::new(FaultKind::NoAcks { stored: false }).operation(Operation::PutMedia).nth(1));
    let (at, bytes) = fragment(&emulator, 1);
    let failure = aws.streams().put(&session(), at, bytes.clone(), 300).await.unwrap_err();
    assert_eq!(failure.reason(), "PutMedia-timeout");
    aws.streams().put(&session(), at, bytes, WITHIN_MS).await.unwrap();
    emulator.shutdown().await;
}
